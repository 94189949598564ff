//! Mean quality of a read.
//!
//! The mean is taken over the error probabilities, `Q = -10 log10(mean(10^(-q/10)))`, as basecallers and NanoFilt
//! compute it: a hundred bases of Q40 cannot make up for one of Q3. (De Coster 2017, "Averaging basecall quality scores
//! the right way".)

mod encoding;

pub use encoding::QualityEncoding;
pub(crate) use encoding::{Encoding, QualityRange};

/// Error probabilities are summed as integers on this scale, so that the sum does not depend on the order: a read and
/// its reverse complement have the same mean to the last bit. Fine enough that the error for Q93, the highest that
/// FASTQ can express, is below the resolution of an `f32`.
const SCALE: f64 = (1u64 << 52) as f64;

/// Values summed before the sum moves to 128 bits: each of four sums gets a quarter of them, at most `SCALE` (less for
/// Solexa) each.
const CHUNK: usize = 4096;

/// Mean error probability of the stored bytes. `None` if there are none.
pub(crate) fn mean_error(values: &[u8], encoding: Encoding) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let table = encoding.probabilities();
    let mut total = 0u128;
    for chunk in values.chunks(CHUNK) {
        let mut sums = [0u64; 4];
        let (fours, rest) = chunk.as_chunks::<4>();
        for four in fours {
            for (sum, value) in sums.iter_mut().zip(four) {
                *sum += table[usize::from(*value)];
            }
        }
        for value in rest {
            sums[0] += table[usize::from(*value)];
        }
        total += sums.iter().map(|&sum| u128::from(sum)).sum::<u128>();
    }
    Some((total as f64 / SCALE / values.len() as f64) as f32)
}

/// The Phred value of an error probability.
pub(crate) fn phred(error: f32) -> f32 {
    // Not -0 for a certain error.
    (-10.0 * f64::from(error).log10()) as f32 + 0.0
}

/// Position (0-based) of the first byte that is not a quality in this encoding: from its lowest value to `~`.
pub(crate) fn first_bad(values: &[u8], encoding: Encoding) -> Option<usize> {
    let lowest = encoding.lowest_byte();
    let is_bad = |value: u8| value.wrapping_sub(lowest) > b'~' - lowest;
    let any_bad = values.iter().fold(false, |bad, &value| bad | is_bad(value));
    if any_bad { values.iter().position(|&value| is_bad(value)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean_quality(values: &[u8], encoding: Encoding) -> Option<f32> {
        mean_error(values, encoding).map(phred)
    }

    #[test]
    fn known_means() {
        assert_eq!(mean_quality(b"", Encoding::Phred33), None);
        assert_eq!(mean_quality(b"IIII", Encoding::Phred33), Some(40.0));
        assert_eq!(mean_quality(&[0; 7], Encoding::Raw), Some(0.0));
        // mean(10^-0.3, 10^-4) = 0.25064360 -> 6.0094389 (Python: -10*math.log10((10**-.3+10**-4)/2)).
        let q = mean_quality(&[3, 40], Encoding::Raw).unwrap();
        assert!((q - 6.009_439).abs() < 1e-5, "{q}");
        // Many values of Q0 do not overflow.
        assert_eq!(mean_quality(&vec![b'!'; 3_000_000], Encoding::Phred33), Some(0.0));
    }

    #[test]
    fn a_read_of_one_quality_has_that_mean() {
        for phred in 0..=93u8 {
            for length in [1, 3, 150, 20_001] {
                let mean = mean_quality(&vec![phred + 33; length], Encoding::Phred33).unwrap();
                // As close as a 32-bit probability can be.
                assert!((mean - f32::from(phred)).abs() < 8e-6, "{length} values of Q{phred}: {mean}");
            }
        }
    }

    #[test]
    fn encodings_start_at_their_own_byte() {
        assert_eq!(mean_quality(b"hhhh", Encoding::Phred64), Some(40.0));
        assert_eq!(mean_quality(b"EEEE", Encoding::Phred64), Some(5.0));
        assert_eq!(mean_quality(b"EEEE", Encoding::Phred33), Some(36.0));
        // Solexa scores are of the odds (Cock et al. 2010, equation 3): Q-5 is 10 log10(1 + 10^-0.5) = 1.1933 in Phred.
        let q = mean_quality(b";;", Encoding::Solexa).unwrap();
        assert!((q - 1.193_311).abs() < 1e-5, "{q}");
        // And high ones are the same: 10 log10(10^4 + 1) = 40.00043.
        let q = mean_quality(b"hh", Encoding::Solexa).unwrap();
        assert!((q - 40.000_43).abs() < 1e-4, "{q}");
    }

    #[test]
    fn bad_bytes_are_found() {
        assert_eq!(first_bad(b"!~IIIII", Encoding::Phred33), None);
        assert_eq!(first_bad(b"!~ I", Encoding::Phred33), Some(2));
        assert_eq!(first_bad(b"I\x7f", Encoding::Phred33), Some(1));
        assert_eq!(first_bad(b"", Encoding::Phred33), None);
        assert_eq!(first_bad(b"@h?", Encoding::Phred64), Some(2));
        assert_eq!(first_bad(b";h:", Encoding::Solexa), Some(2));
    }

    proptest! {
        #[test]
        fn agrees_with_floating_point_and_ignores_order(mut values in proptest::collection::vec(0u8..=93, 1..300)) {
            let sum: f64 = values.iter().map(|&q| 10f64.powf(-f64::from(q) / 10.0)).sum();
            let expected = -10.0 * (sum / values.len() as f64).log10();
            let forward = mean_quality(&values, Encoding::Raw).unwrap();
            prop_assert!((f64::from(forward) - expected).abs() < 1e-5, "{} {}", forward, expected);
            values.reverse();
            prop_assert_eq!(mean_quality(&values, Encoding::Raw).unwrap().to_bits(), forward.to_bits());
        }
    }
}
