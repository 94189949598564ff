use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_depth_file_comes_back(values in proptest::collection::vec((0f32..1e6, 0f32..1e6, 0f32..1.0), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut sample = SampleDepth::new("S 1", values.len());
        for (row, &(mean, variance, breadth)) in values.iter().enumerate() {
            (sample.mean[row], sample.variance[row], sample.breadth[row]) = (mean, variance, breadth);
        }
        sample.write(dir.path(), "d").unwrap();
        let path = dir.path().join("d");
        let file = DepthFile::open(&path, values.len()).unwrap();
        prop_assert_eq!((file.name(), file.read_bp()), ("S 1", 150.0));
        for (row, &(mean, variance, breadth)) in values.iter().enumerate() {
            prop_assert_eq!(file.of(row), Depth { mean, variance, breadth });
        }
        prop_assert!(DepthFile::open(&path, values.len() + 1).is_err());
    }
}

#[test]
fn a_depth_that_is_no_number_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let mut sample = SampleDepth::new("S", 2);
        sample.variance[1] = bad;
        sample.write(dir.path(), "d").unwrap();
        let error = DepthFile::open(&dir.path().join("d"), 2).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("section 4"), "{error}");
    }
}

#[test]
fn samples_are_called_after_their_files() {
    assert_eq!(["x/S1.bam", "S1.sorted.cram", "S1", "a/b.c"].map(sample_name), ["S1", "S1.sorted", "S1", "b.c"]);
}
