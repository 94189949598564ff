use super::*;
use crate::specimen::{blobs, on_threads, sines};

fn close(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 1e-5, "{ours}, expected {theirs}");
}

#[test]
fn against_numpy() {
    // Y = sin(1 + 3 i + 7 d + i d), 12 x 5; U = Y / |Y|.
    let values = sines(12, 5);
    let unit = Rows::new(&values, 5).unwrap().normalized();
    let unit = Rows::new(&unit, 5).unwrap();
    // d2 = ((U[:, None] - U[None])**2).sum(-1); iu = np.triu_indices(12, 1); np.log(np.exp(-2 * d2[iu]).mean())
    close(uniformity(unit, 0).unwrap(), -2.243195220430633);
    // ((U[:6] - U[6:])**2).sum(1).mean()
    let (anchors, keys) = unit.values().split_at(30);
    close(alignment(Rows::new(anchors, 5).unwrap(), Rows::new(keys, 5).unwrap()).unwrap(), 1.6886531763942445);
    // s = np.linalg.svd(Y, compute_uv=False); p = s / s.sum(); np.exp(-(p * np.log(p)).sum())
    close(effective_rank(Rows::new(&values, 5).unwrap()), 4.922633366476723);
    // U.std(0).mean()
    close(embedding_std(Rows::new(&values, 5).unwrap()), 0.3885535826435508);
}

#[test]
fn closed_forms() {
    // Two opposite points of the circle: exp(-2 * 4), the only pair.
    close(uniformity(Rows::new(&[1.0, 0.0, -1.0, 0.0], 2).unwrap(), 0).unwrap(), -8.0);
    // Four axes of equal weight fill four dimensions; one direction fills one.
    let axes = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    close(effective_rank(Rows::new(&axes, 4).unwrap()), 4.0);
    close(effective_rank(Rows::new(&[1.0, 2.0, 2.0, 4.0, -3.0, -6.0], 2).unwrap()), 1.0);
    close(embedding_std(Rows::new(&[3.0, 4.0, 6.0, 8.0], 2).unwrap()), 0.0);
}

#[test]
fn collapse_is_seen() {
    let rows = [0.6, 0.8].repeat(50);
    let rows = Rows::new(&rows, 2).unwrap();
    close(uniformity(rows, 0).unwrap(), 0.0);
    close(effective_rank(rows), 1.0);
    close(embedding_std(rows), 0.0);
}

#[test]
fn too_little_is_defined() {
    let none = Rows::new(&[], 3).unwrap();
    let one = Rows::new(&[0.0, 1.0, 0.0], 3).unwrap();
    assert_eq!((uniformity(none, 0), uniformity(one, 0)), (None, None));
    assert_eq!((alignment(none, none).unwrap(), alignment(one, one).unwrap()), (0.0, 0.0));
    assert_eq!((effective_rank(none), embedding_std(none)), (0.0, 0.0));
    close(effective_rank(one), 1.0);
    assert_eq!(embedding_std(one), 0.0);
}

#[test]
fn lists_of_pairs_must_agree() {
    let (a, b) = (Rows::new(&[0.0; 6], 3).unwrap(), Rows::new(&[0.0; 3], 3).unwrap());
    assert_eq!(alignment(a, b).unwrap_err().to_string(), "number of keys: expected 2, found 1");
}

#[test]
fn a_sample_estimates_the_whole() {
    let (values, _) = blobs(UNIFORMITY_MAX_ROWS + 2000, 4, 5, 1.0, 9);
    let unit = Rows::new(&values, 4).unwrap().normalized();
    let whole = Rows::new(&unit, 4).unwrap();
    let part = Rows::new(&unit[..UNIFORMITY_MAX_ROWS * 4], 4).unwrap();
    let (sampled, exact) = (uniformity(whole, 1).unwrap(), uniformity(part, 1).unwrap());
    // Both are means over 33 million pairs of rows from one distribution.
    assert!((sampled - exact).abs() < 0.02, "{sampled} {exact}");
    assert_eq!(uniformity(whole, 1), uniformity(whole, 1));
    assert_ne!(uniformity(whole, 1), uniformity(whole, 2));
}

#[test]
fn threads_change_no_bit() {
    let values = sines(5000, 7);
    let all = |threads| {
        on_threads(threads, || {
            let rows = Rows::new(&values, 7).unwrap();
            (uniformity(rows, 0), effective_rank(rows), embedding_std(rows))
        })
    };
    assert_eq!(all(1), all(2));
}

#[test]
fn distances_to_means_by_hand() {
    // Means (1, 0) and (4, 4); the noise is 5 from the first and 1 from the second; cluster 1 is empty.
    let values = [0.0, 0.0, 2.0, 0.0, 4.0, 4.0, 4.0, 5.0];
    let found = distances_to_means(Rows::new(&values, 2).unwrap(), &[0, 0, 2, -1]).unwrap();
    assert_eq!(found, [1.0, 1.0, 0.0, 1.0]);
    assert_eq!(distances_to_means(Rows::new(&values, 2).unwrap(), &[-1; 4]).unwrap(), [0.0; 4]);
    assert!(distances_to_means(Rows::new(&values, 2).unwrap(), &[0]).is_err());
}
