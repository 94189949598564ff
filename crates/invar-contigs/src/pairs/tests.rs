use std::{collections::HashSet, path::Path};

use invar_dataset::{NoProgress, View, ViewSource};
use proptest::prelude::*;

use super::*;
use crate::{ContigViews, IngestConfig, Inputs, Shown, ingest, views::FeatureConfig};

/// Letters that look random.
fn letters(length: usize, stream: u64) -> String {
    let mut rng = seed::rng(17, stream);
    (0..length).map(|_| char::from(b"ACGT"[seed::below(4, &mut rng)])).collect()
}

/// A dataset of contigs of these lengths, and one of only N, with depth in two samples.
fn dataset(dir: &Path, lengths: &[usize], has_depth: bool) -> Arc<ContigDataset> {
    let (fasta, table) = (dir.join("c.fa"), dir.join("depth.tsv"));
    let mut text = format!(">n\n{}\n", "N".repeat(900));
    let mut depths = String::from(",S1_mean,S1_var,S2_mean,S2_var\nn,0,0,0,0\n");
    for (number, &length) in lengths.iter().enumerate() {
        text += &format!(">c{number}\n{}\n", letters(length, number as u64));
        depths += &format!("c{number},8,9,{number},{number}\n");
    }
    std::fs::write(&fasta, text).unwrap();
    std::fs::write(&table, depths).unwrap();
    let tables = if has_depth { vec![table] } else { vec![] };
    let inputs = Inputs { fasta, tables, ..Inputs::default() };
    let config = IngestConfig { min_length_bp: 0, ..IngestConfig::default() };
    let data = dir.join(format!("data{has_depth}"));
    ingest(&inputs, &data, &config, &NoProgress).unwrap();
    Arc::new(ContigDataset::open(&[data]).unwrap())
}

proptest! {
    #[test]
    fn fragments_lie_in_the_contig_and_are_shorter(length in 0usize..5000, least in 1usize..3000, number in 0u64..50) {
        let range = fragment(length, least, &mut seed::rng(number, 1));
        prop_assert!(range.end <= length);
        prop_assert!(range.len() * 10 <= length * 9);
        prop_assert!(range.len() >= least.min(length / 2));
    }
}

#[test]
fn no_two_views_of_a_contig_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for (has_depth, shown) in
        [(true, Shown::Both), (true, Shown::Composition), (true, Shown::Depth), (false, Shown::Both)]
    {
        let contigs = dataset(dir.path(), &[1000, 1001, 5000, 300], has_depth);
        let features = FeatureConfig { shown, ..FeatureConfig::default() };
        let pairs = ContigPairs::new(contigs.clone(), &ContigPairsConfig::default(), &features).unwrap();
        assert_eq!(pairs.len(), 5);
        for index in 1..5 {
            let pair = pairs.pair(index, 7).unwrap();
            assert_eq!(pair.views.len(), 6);
            let bits = |view: &View| match view {
                View::Dense { data, .. } => data.iter().map(|value| value.to_bits()).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            };
            let different: HashSet<_> = pair.views().map(bits).collect();
            assert_eq!(different.len(), 6, "{index} {shown:?}");
            assert_eq!(pair, pairs.pair(index, 7).unwrap());
            assert_ne!(pair, pairs.pair(index, 8).unwrap());
            assert!(pair.views.iter().all(|(id, _)| *id == contigs.sample_id(index)));
        }
        // Only N, depth 0: all views are the same, and finite.
        for view in pairs.pair(0, 7).unwrap().views() {
            assert!(matches!(view, View::Dense { data, .. } if data.iter().all(|value| value.is_finite())), "{view:?}");
        }
    }
}

#[test]
fn the_other_strand_has_the_same_features() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = dataset(dir.path(), &[777, 4000], true);
    let views = ContigViews::new(contigs, &FeatureConfig { ks: vec![3, 4], ..FeatureConfig::default() }).unwrap();
    assert_eq!(views.view_shape(), ViewShape::Dense(vec![32 + 136 + 4]));
    for index in 0..views.len() {
        assert_eq!(views.views(index).unwrap(), views.transformed(index, 0).unwrap());
    }
}

#[test]
fn features_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = dataset(dir.path(), &[50], true);
    let config = FeatureConfig { shown: Shown::Depth, depth_weight: 2.0, ..FeatureConfig::default() };
    let views = ContigViews::new(contigs, &config).unwrap().views(1).unwrap();
    let expected = [8.1f32, 0.1, 9.1, 0.1].map(|value| 2.0 * value.ln());
    assert_eq!(views, [View::features(expected.to_vec())]);
}

#[test]
fn impossible_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = dataset(dir.path(), &[50], false);
    let pairs = |pairs: &str, view: &str| {
        let (pairs, view) = (toml::from_str(pairs).unwrap(), toml::from_str(view).unwrap());
        ContigPairs::new(contigs.clone(), &pairs, &view).err().unwrap().to_string()
    };
    assert_eq!(pairs("views = 1", ""), "pairs.views = 1: 2 to 32");
    assert_eq!(pairs("min_fragment_bp = 0", ""), "pairs.min_fragment_bp = 0: at least 1");
    assert!(pairs("", "depth_weight = 0").starts_with("view.depth_weight = 0: "));
    assert!(pairs("", "shown = 'depth'").contains("the dataset has no depth"));
    assert!(pairs("", "ks = [9]").starts_with("view.ks = [9]"));
}
