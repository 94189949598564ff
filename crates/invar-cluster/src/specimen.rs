//! Values for the tests.

use invar_dataset::seed::{self, uniform};

/// `x[i, d] = sin(1 + 3 i + 7 d + i d)`: numpy can reproduce these values without a generator.
pub(crate) fn sines(n: usize, dim: usize) -> Vec<f32> {
    let value = |i: usize, d: usize| (1.0 + 3.0 * i as f64 + 7.0 * d as f64 + (i * d) as f64).sin() as f32;
    (0..n).flat_map(|i| (0..dim).map(move |d| value(i, d))).collect()
}

/// `n` rows around `k` centres, row `i` around centre `i % k`: each coordinate of a centre is uniform in
/// `[-spread, spread]`, and that of a row is off by the sum of four uniform numbers less 2 (variance 1 / 3).
pub(crate) fn blobs(n: usize, dim: usize, k: usize, spread: f64, seed: u64) -> (Vec<f32>, Vec<i32>) {
    let mut rng = seed::rng(seed, 0);
    let centers: Vec<f64> = (0..k * dim).map(|_| (2.0 * uniform(&mut rng) - 1.0) * spread).collect();
    let labels: Vec<i32> = (0..n).map(|i| (i % k) as i32).collect();
    let mut values = Vec::with_capacity(n * dim);
    for &label in &labels {
        for d in 0..dim {
            let noise: f64 = (0..4).map(|_| uniform(&mut rng)).sum::<f64>() - 2.0;
            values.push((centers[label as usize * dim + d] + noise) as f32);
        }
    }
    (values, labels)
}

/// Runs `work` on the given number of rayon threads.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
