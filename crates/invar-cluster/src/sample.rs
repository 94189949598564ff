use invar_dataset::seed::{Rng, uniform};

/// `size` of the numbers `0..n`, or all of them if `size >= n`, each once, ascending.
///
/// Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
pub(crate) fn subset(rng: &mut Rng, n: usize, size: usize) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(size.min(n));
    for index in 0..n {
        let needed = size.min(n) - chosen.len();
        if uniform(rng) * ((n - index) as f64) < needed as f64 {
            chosen.push(index);
        }
    }
    chosen
}

/// A random half of the numbers `0..n`, and the other half, ascending.
pub(crate) fn halves(rng: &mut Rng, n: usize) -> [Vec<u32>; 2] {
    let first = subset(rng, n, n / 2);
    let mut is_first = vec![false; n];
    first.iter().for_each(|&at| is_first[at] = true);
    [true, false].map(|half| (0..n as u32).filter(|&at| is_first[at as usize] == half).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use invar_dataset::seed;

    #[test]
    fn a_subset_has_the_size_asked_for_and_no_bias() {
        let mut hits = [0; 10];
        for trial in 0..2_000 {
            let chosen = subset(&mut seed::rng(1, trial), 10, 3);
            assert_eq!(chosen.len(), 3);
            assert!(chosen.is_sorted());
            chosen.iter().for_each(|&i| hits[i] += 1);
        }
        // Binomial(2000, 0.3): mean 600, standard deviation 20.5; five of them.
        assert!(hits.iter().all(|&h| (497..=703).contains(&h)), "{hits:?}");
        assert_eq!(subset(&mut seed::rng(1, 0), 4, 9), [0, 1, 2, 3]);
    }
}
