//! Where windows are placed in a read: entirely in integers, so the same on every platform.

use std::ops::Range;

use invar_dataset::seed::Rng;
use rand::{Rng as _, RngExt};

use super::config::{WindowLength, WindowsConfig};

/// A window of a read of `num_bases` bases, anywhere in it: the whole read if it is shorter or `window` is `None`.
pub(super) fn window(num_bases: usize, window: Option<WindowLength>, rng: &mut Rng) -> Range<usize> {
    let len = window.map_or(num_bases, |window| length_up_to(num_bases, window, rng));
    let start = rng.random_range(0..=num_bases - len);
    start..start + len
}

/// A length from `window`, but at most `limit`.
pub(super) fn length_up_to(limit: usize, window: WindowLength, rng: &mut Rng) -> usize {
    if limit <= window.min as usize {
        return limit;
    }
    log_uniform(window.min as usize, limit.min(window.max as usize), rng)
}

/// Whether a read of `num_bases` bases holds two windows.
pub(super) fn holds_two_windows(num_bases: usize, config: &WindowsConfig) -> bool {
    let min = i64::from(config.window_bp.min);
    num_bases as i64 >= min.max(2 * min + config.min_distance())
}

/// Two windows of a read of `num_bases` bases, the first one starting first; `None` if it does not hold two. Each
/// distance allowed by the settings and the read is equally likely, and then each position.
pub(super) fn two_windows(num_bases: usize, config: &WindowsConfig, rng: &mut Rng) -> Option<[Range<usize>; 2]> {
    if !holds_two_windows(num_bases, config) {
        return None;
    }
    let (num_bases, distance) = (num_bases as i64, config.min_distance());
    let mut length = |limit: i64| length_up_to(limit.min(num_bases) as usize, config.window_bp, rng) as i64;
    let first_len = length(num_bases - distance - i64::from(config.window_bp.min));
    let second_len = length(num_bases - distance - first_len);
    let slack = num_bases - distance - first_len - second_len;
    let most = config.max_gap_bp.map_or(slack, |gap| slack.min(i64::from(gap) - distance));
    let more = rng.random_range(0..=most);
    let first = rng.random_range(0..=slack - more);
    let second = first + first_len + distance + more;
    let range = |start: i64, len: i64| start as usize..(start + len) as usize;
    Some([range(first, first_len), range(second, second_len)])
}

/// A number from `min` to `max`, `x` with probability proportional to `1 / x`: draws an octave, then a number in it,
/// and tries again with probability `1 - start of the octave / x`, or if it is beyond `max`.
fn log_uniform(min: usize, max: usize, rng: &mut Rng) -> usize {
    let (min, max) = (min as u64, max as u64);
    if min == max {
        return min as usize;
    }
    let octaves = (max / min).ilog2();
    loop {
        let start = min << rng.random_range(0..=octaves);
        let x = rng.random_range(start..2 * start);
        if x <= max && (u128::from(rng.next_u64()) * u128::from(x)) >> 64 < u128::from(start) {
            return x as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use invar_dataset::seed;
    use proptest::prelude::*;

    fn config() -> impl Strategy<Value = WindowsConfig> {
        let lengths = (1u32..300, 0u32..300);
        (lengths, 0u32..200, prop::option::of(0u32..200), any::<prop::sample::Index>()).prop_map(
            |((min, more), gap, above, overlap)| WindowsConfig {
                window_bp: WindowLength { min, max: min + more },
                min_gap_bp: gap,
                max_gap_bp: above.map(|above| gap + above),
                max_overlap_bp: if gap == 0 { overlap.index(min as usize) as u32 } else { 0 },
                ..WindowsConfig::default()
            },
        )
    }

    proptest! {
        #[test]
        fn two_windows_keep_to_the_settings(config in config(), num_bases in 0usize..2000, seed: u64) {
            let drawn = two_windows(num_bases, &config, &mut seed::rng(seed, 0));
            prop_assert_eq!(drawn.is_some(), holds_two_windows(num_bases, &config));
            if let Some([first, second]) = drawn {
                let lengths = config.window_bp.min as usize..=config.window_bp.max as usize;
                prop_assert!(lengths.contains(&first.len()) && lengths.contains(&second.len()));
                prop_assert!(first.end <= num_bases && second.end <= num_bases && first.start <= second.start);
                let distance = second.start as i64 - first.end as i64;
                prop_assert!(distance >= config.min_distance());
                prop_assert!(config.max_gap_bp.is_none_or(|most| distance <= i64::from(most)));
            }
        }

        #[test]
        fn one_window_is_as_long_as_can_be(min in 1u32..300, more in 0u32..300, num_bases in 0usize..900, seed: u64) {
            let length = WindowLength { min, max: min + more };
            let range = window(num_bases, Some(length), &mut seed::rng(seed, 0));
            prop_assert!(range.end <= num_bases);
            prop_assert!(range.len() >= num_bases.min(min as usize) && range.len() <= (min + more) as usize);
            prop_assert_eq!(window(num_bases, None, &mut seed::rng(seed, 0)), 0..num_bases);
        }
    }

    // Closed form: P(x <= t) = H(t) - H(min - 1) over H(max) - H(min - 1), H the harmonic numbers.
    #[test]
    fn lengths_are_log_uniform() {
        let (min, max, trials) = (100usize, 4_500usize, 100_000);
        let harmonic = |up_to: usize| (min..=up_to).map(|x| 1.0 / x as f64).sum::<f64>();
        let mut rng = seed::rng(5, 0);
        let draws: Vec<usize> = (0..trials).map(|_| log_uniform(min, max, &mut rng)).collect();
        assert!(draws.iter().all(|x| (min..=max).contains(x)));
        for limit in [150, 200, 799, 800, 3_000, 3_200, 4_400] {
            let p = harmonic(limit) / harmonic(max);
            let hits = draws.iter().filter(|&&x| x <= limit).count() as f64;
            let deviation = (trials as f64 * p * (1.0 - p)).sqrt();
            assert!((hits - trials as f64 * p).abs() < 5.0 * deviation, "{limit}: {hits} of {trials}, p = {p}");
        }
    }
}
