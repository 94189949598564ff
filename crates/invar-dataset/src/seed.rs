//! Seeds: every random choice is a pure function of `(seed, index, stream)`.

use rand::SeedableRng;
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

fn splitmix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

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
}
