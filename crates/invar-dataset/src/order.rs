//! The order of samples in training, without storing it: resuming at step `n` needs only the number `n`.

use crate::{DatasetError, seed};

/// A pseudo-random permutation of `0..len` in constant memory.
///
/// A four-round Feistel network over the next power of four, with cycle walking for what falls outside (Black and
/// Rogaway, *Ciphers with arbitrary finite domains*, 2002).
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Permutation {
    /// The permutation of `0..len` under `seed`.
    pub fn new(len: u64, seed: u64) -> Self {
        let bits = (64 - len.saturating_sub(1).leading_zeros()).max(2);
        Self { len, half_bits: bits.div_ceil(2), keys: [0, 1, 2, 3].map(|round| seed::mix(seed, round)) }
    }

    /// Where `position` is mapped to.
    ///
    /// # Panics
    /// If `position >= len`.
    pub fn get(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of a permutation of {}", self.len);
        let mut x = self.encrypt(position);
        while x >= self.len {
            x = self.encrypt(x);
        }
        x
    }

    fn encrypt(&self, x: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (x >> self.half_bits, x & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (seed::mix(key, right) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// Which samples make up batch number `step`, indefinitely: epoch after epoch of whole batches, each epoch in its own
/// order, no sample twice in an epoch.
#[derive(Clone, Debug)]
pub struct BatchOrder {
    num_samples: usize,
    batch_size: usize,
    seed: u64,
}

impl BatchOrder {
    /// Batches of `batch_size` out of `num_samples`; with fewer samples than that, every batch contains all of them.
    ///
    /// # Errors
    /// With fewer than two samples: a contrastive batch needs a negative.
    pub fn new(num_samples: usize, batch_size: usize, seed: u64) -> Result<Self, DatasetError> {
        if num_samples < 2 || batch_size < 2 {
            return Err(DatasetError::TooFew {
                what: "a contrastive batch".into(),
                needed: 2,
                found: num_samples.min(batch_size),
            });
        }
        Ok(Self { num_samples, batch_size: batch_size.min(num_samples), seed })
    }

    /// Number of samples in each batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Batches per epoch: the remainder that does not fill a batch is left out of this epoch, and another remainder is
    /// left out of the next.
    pub fn batches_per_epoch(&self) -> usize {
        self.num_samples / self.batch_size
    }

    /// The samples of batch `step`.
    pub fn batch(&self, step: u64) -> Vec<usize> {
        let per_epoch = self.batches_per_epoch() as u64;
        let (epoch, batch) = (step / per_epoch, step % per_epoch);
        let permutation = Permutation::new(self.num_samples as u64, seed::mix(self.seed, epoch));
        let first = batch * self.batch_size as u64;
        (first..first + self.batch_size as u64).map(|position| permutation.get(position) as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_permutation_hits_everything_once(len in 1u64..3000, seed: u64) {
            let permutation = Permutation::new(len, seed);
            let mut hits: Vec<u64> = (0..len).map(|i| permutation.get(i)).collect();
            hits.sort_unstable();
            prop_assert!(hits.into_iter().eq(0..len));
        }

        #[test]
        fn an_epoch_repeats_no_sample(n in 2usize..500, b in 2usize..64, seed: u64, epoch in 0u64..3) {
            let order = BatchOrder::new(n, b, seed).unwrap();
            let per_epoch = order.batches_per_epoch() as u64;
            let mut seen: Vec<usize> =
                (epoch * per_epoch..(epoch + 1) * per_epoch).flat_map(|step| order.batch(step)).collect();
            let drawn = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), drawn);
            prop_assert!(seen.into_iter().all(|i| i < n));
        }
    }

    #[test]
    fn neighbours_are_scattered() {
        // The mean distance between the images of neighbours in a random permutation of n is n / 3.
        let n = 100_000;
        let permutation = Permutation::new(n, 7);
        let total: u64 = (1..n).map(|i| permutation.get(i).abs_diff(permutation.get(i - 1))).sum();
        let mean = total as f64 / (n - 1) as f64;
        assert!((mean / (n as f64 / 3.0) - 1.0).abs() < 0.02, "mean distance {mean}");
    }

    #[test]
    fn one_sample_is_refused() {
        assert!(matches!(BatchOrder::new(1, 8, 0), Err(DatasetError::TooFew { needed: 2, found: 1, .. })));
    }
}
