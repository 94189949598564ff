//! Mean quality of a read.
//!
//! The mean is that of the error probabilities, `Q = -10 log10(mean(10^(-q/10)))`, as basecallers and NanoFilt
//! compute it: one base of Q3 costs more than a hundred of Q40 can mend. (De Coster 2017, "Averaging basecall quality
//! scores the right way".)

/// Largest Phred value that FASTQ can write (`~`).
pub(crate) const MAX_PHRED: u8 = 93;

/// Error probabilities are summed as integers of this scale, so that the sum does not depend on the order: a read and
/// its reverse complement have the same mean to the last bit. 2^28 bases of Q0 still fit 64 bits.
const SCALE: f64 = (1u64 << 36) as f64;

/// `10^(-q/10)` in units of `1/SCALE` for each Phred value.
struct Table([u64; 256]);

static PROBABILITIES: std::sync::LazyLock<Table> = std::sync::LazyLock::new(|| {
    let mut table = [0; 256];
    for (phred, value) in table.iter_mut().enumerate() {
        *value = (10f64.powf(-(phred as f64) / 10.0) * SCALE).round() as u64;
    }
    Table(table)
});

/// Mean error probability of Phred values stored with `offset` added (33 in FASTQ, 0 in BAM). `None` where there are none.
pub(crate) fn mean_error(values: &[u8], offset: u8) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let table = &PROBABILITIES.0;
    let mut sums = [0u64; 4];
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        for (sum, value) in sums.iter_mut().zip(four) {
            *sum += table[usize::from(value.wrapping_sub(offset))];
        }
    }
    let mut sum: u64 = sums.iter().sum();
    for value in rest {
        sum += table[usize::from(value.wrapping_sub(offset))];
    }
    Some((sum as f64 / SCALE / values.len() as f64) as f32)
}

/// The Phred value of an error probability.
pub(crate) fn phred(error: f32) -> f32 {
    // Not -0 for an error that is certain.
    (-10.0 * f64::from(error).log10()) as f32 + 0.0
}

/// Position (0-based) of the first byte that is no FASTQ quality (`!` to `~`).
pub(crate) fn first_bad(values: &[u8]) -> Option<usize> {
    let is_bad = |value: u8| value.wrapping_sub(33) > MAX_PHRED;
    let any_bad = values.iter().fold(false, |bad, &value| bad | is_bad(value));
    if any_bad { values.iter().position(|&value| is_bad(value)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean_quality(values: &[u8], offset: u8) -> Option<f32> {
        mean_error(values, offset).map(phred)
    }

    #[test]
    fn known_means() {
        assert_eq!(mean_quality(b"", 33), None);
        assert_eq!(mean_quality(b"IIII", 33), Some(40.0));
        assert_eq!(mean_quality(&[0; 7], 0), Some(0.0));
        // mean(10^-0.3, 10^-4) = 0.25064360 -> 6.0094389 (Python: -10*math.log10((10**-.3+10**-4)/2)).
        let q = mean_quality(&[3, 40], 0).unwrap();
        assert!((q - 6.009_439).abs() < 1e-5, "{q}");
        // The highest FASTQ value keeps a relative error of the scale: 0.06 of a Phred unit.
        assert!((mean_quality(b"~~~", 33).unwrap() - 93.0).abs() < 0.1);
    }

    #[test]
    fn bad_bytes_are_found() {
        assert_eq!(first_bad(b"!~IIIII"), None);
        assert_eq!(first_bad(b"!~ I"), Some(2));
        assert_eq!(first_bad(b"I\x7f"), Some(1));
        assert_eq!(first_bad(b""), None);
    }

    proptest! {
        #[test]
        fn agrees_with_floating_point_and_ignores_order(mut values in proptest::collection::vec(0u8..=60, 1..300)) {
            let sum: f64 = values.iter().map(|&q| 10f64.powf(-f64::from(q) / 10.0)).sum();
            let expected = -10.0 * (sum / values.len() as f64).log10();
            let forward = mean_quality(&values, 0).unwrap();
            prop_assert!((f64::from(forward) - expected).abs() < 1e-3, "{} {}", forward, expected);
            values.reverse();
            prop_assert_eq!(mean_quality(&values, 0).unwrap().to_bits(), forward.to_bits());
        }
    }
}
