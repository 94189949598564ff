use proptest::prelude::*;

use super::*;
use crate::specimen::{blobs, on_threads, sines};

// X = sin(1 + 3 i + 7 d + i d), 200 x 6; folds i % 5. scikit-learn 1.8: cross_val_predict(make_pipeline(
// StandardScaler(), RidgeClassifier(alpha=10) or Ridge(alpha=10)), X, y, cv=PredefinedSplit(arange(200) % 5)).

#[test]
fn classes_as_scikit_learn_predicts_them() {
    let values = sines(200, 6);
    let x = |row: usize, d: usize| f64::from(values[row * 6 + d]);
    // y = (X[:, 0] + X[:, 1] * 0.5 > 0.4).astype(int) + (X[:, 2] > 0.6)
    let class = |i: usize| u32::from(x(i, 0) + x(i, 1) * 0.5 > 0.4) + u32::from(x(i, 2) > 0.6);
    let classes: Vec<u32> = (0..200).map(class).collect();
    let folds: Vec<usize> = (0..200).map(|i| i % 5).collect();
    let design = Design { values: &values, dim: 6, folds: &folds, num_folds: 5 };
    let predicted = design.predict(&Target::Classes(&classes, 3), 10.0);
    assert_eq!(predicted[..12], [1., 1., 1., 0., 0., 0., 2., 0., 0., 1., 1., 2.]);
    // accuracy_score: 0.845
    let hits = predicted.iter().zip(&classes).filter(|(p, c)| **p == f64::from(**c)).count();
    assert_eq!(hits, 169);
}

#[test]
fn numbers_as_scikit_learn_predicts_them() {
    let values = sines(200, 6);
    let x = |row: usize, d: usize| f64::from(values[row * 6 + d]);
    // y = 2 * X[:, 3] - X[:, 5] + 0.3 * np.cos(np.arange(200.))
    let numbers: Vec<f64> = (0..200).map(|i| 2.0 * x(i, 3) - x(i, 5) + 0.3 * (i as f64).cos()).collect();
    let folds: Vec<usize> = (0..200).map(|i| i % 5).collect();
    let design = Design { values: &values, dim: 6, folds: &folds, num_folds: 5 };
    let predicted = design.predict(&Target::Numbers(&numbers), 10.0);
    let expected = [0.9171609922691977, 0.4799290977540143, 0.08305733467758276];
    assert!(predicted.iter().zip(expected).all(|(ours, theirs)| (ours - theirs).abs() < 1e-6), "{:?}", &predicted[..3]);
    // r2_score: 0.9784308459081779
    let mean = numbers.iter().sum::<f64>() / 200.0;
    let total: f64 = numbers.iter().map(|y| (y - mean).powi(2)).sum();
    let left: f64 = numbers.iter().zip(&predicted).map(|(y, p)| (y - p).powi(2)).sum();
    assert!((1.0 - left / total - 0.9784308459081779).abs() < 1e-6);
}

#[test]
fn what_is_there_is_told_and_what_is_not_is_chance() {
    let (values, labels) = blobs(400, 8, 4, 5.0, 3);
    let rows = Rows::new(&values, 8).unwrap();
    let config = ProbeConfig::default();
    let there: Vec<Option<i32>> = labels.iter().map(|&label| Some(label)).collect();
    let score = probe_classes(rows, &there, None, &config).unwrap().unwrap();
    assert!(score.score > 0.95 && score.is_telling(), "{score:?}");
    let not: Vec<Option<u64>> = (0..400).map(|i| Some(seed::mix(9, i) % 4)).collect();
    let score = probe_classes(rows, &not, None, &config).unwrap().unwrap();
    // Binomial(400, 0.25): standard deviation 0.022; four of them.
    assert!((score.score - 0.25).abs() < 0.09 && !score.is_telling(), "{score:?}");
    let numbers: Vec<Option<f64>> = (0..400).map(|i| Some(f64::from(values[i * 8]))).collect();
    let score = probe_numbers(rows, &numbers, None, &config).unwrap().unwrap();
    assert!(score.score > 0.99 && score.is_telling() && score.chance == 0.0, "{score:?}");
    let noise: Vec<Option<f64>> = (0..400).map(|i| Some((seed::mix(9, i) % 1000) as f64)).collect();
    let score = probe_numbers(rows, &noise, None, &config).unwrap().unwrap();
    assert!(score.score < 0.1 && !score.is_telling(), "{score:?}");
}

/// A column that only the group determines: with whole groups held out the score is chance, without that it is perfect.
#[test]
fn held_out_groups_cannot_be_remembered() {
    let (values, groups) = blobs(600, 8, 20, 5.0, 4);
    let rows = Rows::new(&values, 8).unwrap();
    let groups: Vec<u32> = groups.iter().map(|&group| group as u32).collect();
    let classes: Vec<Option<u64>> = groups.iter().map(|&group| Some(seed::mix(5, u64::from(group)) % 2)).collect();
    let config = ProbeConfig::default();
    let open = probe_classes(rows, &classes, None, &config).unwrap().unwrap();
    let held_out = probe_classes(rows, &classes, Some(&groups), &config).unwrap().unwrap();
    assert!(held_out.grouped && !open.grouped);
    assert!(open.score > held_out.score + 0.15, "{open:?} {held_out:?}");
    // Each value of the group itself belongs to one group: it falls back to folds by class.
    let own: Vec<Option<u32>> = groups.iter().map(|&group| Some(group)).collect();
    let score = probe_classes(rows, &own, Some(&groups), &config).unwrap().unwrap();
    assert!(!score.grouped && score.score > 0.9, "{score:?}");
}

#[test]
fn columns_without_anything_to_tell_are_none() {
    let values = sines(40, 3);
    let rows = Rows::new(&values, 3).unwrap();
    let config = ProbeConfig::default();
    let of = |class: &dyn Fn(usize) -> Option<usize>| {
        probe_classes(rows, &(0..40).map(class).collect::<Vec<_>>(), None, &config).unwrap()
    };
    assert_eq!(of(&|_| Some(1)), None);
    assert_eq!(of(&|_| None), None);
    assert_eq!(of(&Some), None); // a name of every row
    assert_eq!(of(&|i| Some(i % 2)).unwrap().num_rows, 40);
    let numbers = |number: &dyn Fn(usize) -> Option<f64>| {
        probe_numbers(rows, &(0..40).map(number).collect::<Vec<_>>(), None, &config).unwrap()
    };
    assert_eq!(numbers(&|_| Some(2.5)), None);
    assert_eq!(numbers(&|i| (i < 9).then_some(i as f64)), None);
    assert_eq!(numbers(&|_| Some(f64::NAN)), None);
}

#[test]
fn lengths_and_settings_are_checked() {
    let values = sines(4, 3);
    let rows = Rows::new(&values, 3).unwrap();
    let error = probe_numbers(rows, &[None; 3], None, &ProbeConfig::default()).unwrap_err().to_string();
    assert_eq!(error, "values of the probed column: expected 4, found 3");
    let error = probe_numbers(rows, &[None; 4], Some(&[1]), &ProbeConfig::default()).unwrap_err().to_string();
    assert_eq!(error, "groups: expected 4, found 1");
    let error = probe_numbers(rows, &[None; 4], None, &ProbeConfig { folds: 1, ..Default::default() });
    assert_eq!(error.unwrap_err().to_string(), "folds = 1: must be at least 2");
}

#[test]
fn a_collapsed_embedding_tells_nothing() {
    let values = vec![0.5; 200];
    let classes: Vec<Option<usize>> = (0..100).map(|i| Some(i % 2)).collect();
    let score = probe_classes(Rows::new(&values, 2).unwrap(), &classes, None, &ProbeConfig::default());
    assert!(!score.unwrap().unwrap().is_telling());
}

#[test]
fn threads_change_no_bit() {
    let (values, labels) = blobs(700, 5, 3, 1.0, 6);
    let labels: Vec<Option<i32>> = labels.into_iter().map(Some).collect();
    let all = |threads| {
        on_threads(threads, || {
            probe_classes(Rows::new(&values, 5).unwrap(), &labels, None, &ProbeConfig::default()).unwrap()
        })
    };
    assert_eq!(all(1), all(2));
}

proptest! {
    #[test]
    fn folds_are_even_and_hold_groups_whole(
        groups in prop::collection::vec(0u32..12, 1..200), folds in 2usize..7, seed in any::<u64>(),
    ) {
        let config = ProbeConfig { folds, seed, ..Default::default() };
        let by_group = folds_by_group(&groups, &config);
        let mut fold_of = HashMap::new();
        for (group, fold) in groups.iter().zip(&by_group) {
            prop_assert!(*fold < folds && fold_of.insert(group, fold).is_none_or(|other| other == fold));
        }
        let by_class = folds_by_class(&groups, &config);
        for class in 0..12 {
            let mut sizes = vec![0usize; folds];
            by_class.iter().zip(&groups).filter(|(_, c)| **c == class).for_each(|(&fold, _)| sizes[fold] += 1);
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        }
    }
}
