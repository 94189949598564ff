//! Seeds: every random choice is a pure function of `(seed, index, stream)`. Here are the generator, the streams that a
//! recipe's seed is divided into, and the basic draws from which the rest of Invar builds its own.

use rand::{Rng as _, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator of Invar: xoshiro256++ (Blackman and Vigna 2019), whose output is the same on every platform.
pub type Rng = Xoshiro256PlusPlus;

/// The generator of item `index` under `seed`: neighbouring indices and seeds give unrelated streams.
pub fn rng(seed: u64, index: u64) -> Rng {
    Rng::seed_from_u64(mix(seed, index))
}

/// Derives the seed of a named part (an epoch, a worker, a stage) from a seed.
///
/// SplitMix64's finaliser (Steele, Lea, Flood 2014) over both words.
pub fn mix(seed: u64, part: u64) -> u64 {
    splitmix(splitmix(seed).wrapping_add(part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The streams that the single seed of a recipe is divided into. A stream's number determines every result drawn from
/// it: it is never changed or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Stream {
    /// The initial weights.
    Weights = 0,
    /// Dropout.
    Dropout = 1,
    /// The order of the training samples.
    Order = 2,
    /// The views of the training samples.
    Pairs = 3,
    /// Which samples are held out.
    Split = 4,
    /// Which held-out samples are used, and their views. (Both share a stream, in which the order of the first epoch
    /// and the views of the first batch have the same seed. They draw from it in different ways, and with two streams
    /// the model of the best validation would be a different one.)
    Validation = 5,
    /// The symmetry by which a sample is transformed.
    Moves = 0x6d6f_7665,
    /// The order in which the gradients of several losses are projected.
    Harmony = 0x6861_726d,
    /// Which samples with labels are held out from learning them.
    Labels = 0x6c61_626c,
    /// Which samples of a site other sites are given keys of, and their views.
    Keys = 0x6b65_7973,
}

impl Stream {
    /// The seed of this stream under the seed of the recipe.
    pub fn seed(self, recipe_seed: u64) -> u64 {
        mix(recipe_seed, self as u64)
    }
}

/// A uniform number in `[0, 1)`: the upper 53 bits of one draw.
pub fn uniform(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * 2f64.powi(-53)
}

/// A uniform number in `0..n`, from one draw. Suitable for `n` far below `2^53`.
///
/// # Panics
/// If `n` is 0.
pub fn below(n: usize, rng: &mut Rng) -> usize {
    assert!(n > 0, "nothing to draw from");
    ((uniform(rng) * n as f64) as usize).min(n - 1)
}

/// A uniform number in `0..n`, from the upper 32 bits of one draw: a third of the time of [`below`], for when very many
/// are drawn. The relative bias between numbers is at most `n / 2^32`.
#[inline]
pub fn below_u32(n: u32, rng: &mut Rng) -> u32 {
    (((rng.next_u64() >> 32) * u64::from(n)) >> 32) as u32
}

/// True or false with equal probability: the highest bit of one draw.
pub fn coin(rng: &mut Rng) -> bool {
    rng.next_u64() >> 63 == 1
}

/// Draws an index with probability proportional to its weight, given the running sums `cumulated`; a weight of 0 is
/// never drawn.
///
/// # Panics
/// If there are no weights.
pub fn weighted(cumulated: &[f64], rng: &mut Rng) -> usize {
    let total = *cumulated.last().expect("a weight to draw");
    let point = uniform(rng) * total; // in [0, total)
    cumulated.partition_point(|&limit| limit <= point).min(cumulated.len() - 1)
}

fn splitmix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_reference_values() {
        // First outputs of the reference splitmix64.c for state 0 and state 1234567 (prng.di.unimi.it).
        assert_eq!(splitmix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |seed, index| rng(seed, index).next_u64();
        assert_eq!(first(1, 2), first(1, 2));
        let mut all: Vec<u64> = (0..64).flat_map(|s| (0..64).map(move |i| first(s, i))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 64 * 64);
    }

    #[test]
    fn draws_are_bits_of_the_generator() {
        let bits = |index| rng(3, index).next_u64();
        for index in 0..200 {
            assert_eq!(coin(&mut rng(3, index)), bits(index) >= 1 << 63);
            // Exact: 53 bits fit in a double.
            assert_eq!(uniform(&mut rng(3, index)) * 2f64.powi(53), (bits(index) >> 11) as f64);
            assert_eq!(below_u32(10, &mut rng(3, index)), ((u128::from(bits(index) >> 32) * 10) >> 32) as u32);
            assert_eq!(below(10, &mut rng(3, index)), ((u128::from(bits(index) >> 11) * 10) >> 53) as usize);
        }
        assert_eq!((0..1000).filter(|&index| below(3, &mut rng(4, index)) > 2).count(), 0);
    }

    #[test]
    fn weights_are_met() {
        let mut rng = rng(9, 0);
        let mut hits = [0; 3];
        for _ in 0..40_000 {
            hits[weighted(&[3.0, 3.0, 4.0], &mut rng)] += 1; // weights 3, 0, 1
        }
        assert_eq!(hits[1], 0);
        // Five standard deviations of a binomial with p = 1/4.
        assert!((hits[2] as f64 - 10_000.0).abs() < 5.0 * (40_000.0f64 * 0.25 * 0.75).sqrt());
    }

    #[test]
    fn numbers_of_streams_stay() {
        use Stream::*;
        let numbers = [Weights, Dropout, Order, Pairs, Split, Validation, Moves].map(|stream| stream as u64);
        // As in version 0.1.0: other numbers mean other weights.
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 0x6d6f_7665]);
        assert_eq!(Pairs.seed(42), mix(42, 3));
    }
}
