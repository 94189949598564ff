use super::*;
use crate::specimen::{on_threads, sines};

/// X = sin(1 + 3 i + 7 d + i d) * [5, 3, 1, 0.5, 0.2], 12 x 5.
fn specimen() -> Vec<f32> {
    let scales = [5.0, 3.0, 1.0, 0.5, 0.2f64];
    let sines = sines(12, 5);
    sines.chunks(5).flat_map(|row| row.iter().zip(scales).map(|(&x, s)| (f64::from(x) * s) as f32)).collect()
}

fn close(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?}, expected {theirs:?}");
}

#[test]
fn against_scikit_learn() {
    // q = sklearn.decomposition.PCA(2, svd_solver="full").fit(X), signs turned so that the largest loading is positive
    let values = specimen();
    let rows = Rows::new(&values, 5).unwrap();
    let pca = Pca::fit(rows, 2);
    let first = [0.8411789039923434, 0.5403087166262578, 0.0007524108435541, -0.0218660391455073, -0.0024191787731450];
    let second =
        [-0.5404628230053633, 0.8412601424740842, -0.0127181346597794, -0.0044037195347744, 0.0004073556086685];
    close(&pca.components, &[first, second].concat());
    close(&pca.explained_variance, &[7.077054909544895, 4.482739168610382]);
    close(&pca.explained_variance_ratio, &[0.5825134754980218, 0.36897494879353265]);
    let (x, y) = project_2d(rows);
    close(
        &[x[0], y[0], x[11], y[11]].map(f64::from),
        &[4.759556434723807, 0.1762103082012715, 3.440898396524924, 1.01181504265916],
    );
}

#[test]
fn little_is_defined() {
    for n in 0..3usize {
        let values: Vec<f32> = (0..n * 3).map(|x| x as f32).collect();
        let (x, y) = project_2d(Rows::new(&values, 3).unwrap());
        assert_eq!((x.len(), y.len()), (n, n));
        assert!(x.iter().chain(&y).all(|v| v.is_finite()));
    }
    // Two rows at distance 3 sqrt(3) lie half of it on either side of the mean.
    let (x, _) = project_2d(Rows::new(&[0.0, 0.0, 0.0, 3.0, 3.0, 3.0], 3).unwrap());
    assert!((x[1] - 1.5 * 3f32.sqrt()).abs() < 1e-6 && (x[0] + x[1]).abs() < 1e-6, "{x:?}");
    let (x, y) = project_2d(Rows::new(&[1.0, 3.0], 1).unwrap());
    assert_eq!((x, y), (vec![-1.0, 1.0], vec![0.0, 0.0]));
}

#[test]
fn another_dimension_is_refused() {
    let pca = Pca::fit(Rows::new(&[1.0, 2.0], 2).unwrap(), 1);
    let error = pca.transform(Rows::new(&[1.0; 3], 3).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "dimension of the rows to project: expected 2, found 3");
}

#[test]
fn components_are_orthonormal_and_keep_distances() {
    let values = sines(50, 7);
    let rows = Rows::new(&values, 7).unwrap();
    let pca = Pca::fit(rows, 7);
    let projected = pca.transform(rows).unwrap();
    let of = |values: &[f32]| crate::rows::squared_distance(&values[..7], &values[7 * 31..][..7]);
    assert!((of(&values) - of(&projected)).abs() < 1e-4);
    assert!((pca.explained_variance_ratio.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(pca.explained_variance.is_sorted_by(|a, b| a >= b));
}

#[test]
fn threads_change_no_bit() {
    let values = sines(9000, 11);
    let of = |threads| on_threads(threads, || Pca::fit(Rows::new(&values, 11).unwrap(), 3));
    assert_eq!(of(1), of(2));
}
