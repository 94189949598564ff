//! Whether a probability of 0.9 is right nine times in ten: temperature scaling and the expected calibration error (Guo
//! et al., *On calibration of modern neural networks*, 2017).

use crate::logistic::softmax;

/// Range of the logarithm of a temperature, and how closely it is found.
const LOG_RANGE: (f64, f64) = (-4.6, 4.6);
const STEPS: usize = 60;

/// The number that the logits of held-out rows, one list of `K` per row, must be divided by for their classes to be as
/// likely as possible. 1 if there are no rows.
///
/// However few rows there are, all of which may be right, it is finite: as if of `n` rows one in `n + 1` had been of any
/// class.
pub fn temperature(logits: &[Vec<f64>], classes: &[u32]) -> f64 {
    if logits.is_empty() {
        return 1.0;
    }
    let any = 1.0 / (logits.len() + 1) as f64;
    let unlikely = |log: f64| -> f64 {
        let of_row = |(logits, &class): (&Vec<f64>, &u32)| {
            let mut z: Vec<f64> = logits.iter().map(|z| z / log.exp()).collect();
            let (own, mean) = (z[class as usize], z.iter().sum::<f64>() / z.len() as f64);
            softmax(&mut z) - (1.0 - any) * own - any * mean
        };
        logits.iter().zip(classes).map(of_row).sum()
    };
    // In 1 / T it is convex, so along ln T it has one minimum: golden section.
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = LOG_RANGE;
    for _ in 0..STEPS {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if unlikely(a) <= unlikely(b) { high = b } else { low = a }
    }
    f64::midpoint(low, high).exp()
}

/// The number that the logits of rows without labels must be divided by for the most probable class to have a probability of
/// `accuracy` on average: where that is how often it is right. 1 if there are no rows.
pub fn temperature_for(logits: &[Vec<f64>], accuracy: f64) -> f64 {
    if logits.is_empty() {
        return 1.0;
    }
    let mean = |log: f64| -> f64 {
        let of_row = |logits: &Vec<f64>| {
            let mut z: Vec<f64> = logits.iter().map(|z| z / log.exp()).collect();
            softmax(&mut z);
            z.into_iter().fold(0.0, f64::max)
        };
        logits.iter().map(of_row).sum::<f64>() / logits.len() as f64
    };
    // The colder, the surer.
    let (mut low, mut high) = LOG_RANGE;
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if mean(middle) > accuracy { low = middle } else { high = middle }
    }
    f64::midpoint(low, high).exp()
}

/// The mean distance between confidence and accuracy over 15 equal bins of confidence, each weighted by its rows:
/// `confidence` is the probability of the predicted class. NaN without rows.
pub fn expected_calibration_error(confidence: &[f64], is_right: &[bool]) -> f64 {
    const BINS: usize = 15;
    let mut sums = [(0.0, 0.0); BINS];
    for (&confidence, &is_right) in confidence.iter().zip(is_right) {
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        sums[bin].0 += confidence;
        sums[bin].1 += f64::from(u8::from(is_right));
    }
    sums.iter().map(|(confidence, right)| (confidence - right).abs()).sum::<f64>() / confidence.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_sure_logits_are_cooled_to_the_frequencies() {
        // Two classes, the first right in 3 of 4 cases, and a case of either: (300 - 300/401 + 200/401) of 400.
        let share = (300.0 * 400.0 / 401.0 + 400.0 / 401.0 / 2.0) / 400.0;
        let classes: Vec<u32> = (0..400).map(|row| u32::from(row % 4 == 0)).collect();
        for claimed in [0.5, 3f64.ln(), 8.0] {
            let found = temperature(&vec![vec![claimed, 0.0]; 400], &classes);
            assert!((1.0 / (1.0 + (-claimed / found).exp()) - share).abs() < 1e-6, "{claimed}: {found}");
        }
        assert_eq!(temperature(&[], &[]), 1.0);
        // Never wrong in one case: as sure as three in four.
        let found = temperature(&[vec![1.0, 0.0]], &[0]);
        assert!((1.0 / (1.0 + (-1.0 / found).exp()) - 0.75).abs() < 1e-6);
    }

    #[test]
    fn without_labels_it_is_as_sure_on_average_as_it_is_right() {
        let logits: Vec<Vec<f64>> = (0..50).map(|row| vec![f64::from(row) / 10.0, 0.0, 1.0]).collect();
        for accuracy in [0.5, 0.8, 0.95] {
            let found = temperature_for(&logits, accuracy);
            let sure = |z: &Vec<f64>| {
                let mut z: Vec<f64> = z.iter().map(|z| z / found).collect();
                softmax(&mut z);
                z.into_iter().fold(0.0, f64::max)
            };
            let mean = logits.iter().map(sure).sum::<f64>() / 50.0;
            assert!((mean - accuracy).abs() < 1e-6, "{accuracy}: {mean}");
        }
        assert_eq!(temperature_for(&[], 0.5), 1.0);
    }

    #[test]
    fn the_error_is_confidence_less_accuracy() {
        assert!((expected_calibration_error(&[0.95; 4], &[true, true, true, false]) - 0.2).abs() < 1e-12);
        assert_eq!(expected_calibration_error(&[1.0, 0.5, 0.5], &[true, true, false]), 0.0);
        assert!(expected_calibration_error(&[], &[]).is_nan());
    }
}
