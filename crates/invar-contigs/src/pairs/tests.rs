use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use invar_dataset::{NoProgress, Surroundings, View, ViewSource};
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
    linked(dir, lengths, has_depth, None)
}

/// The same with links between contigs of these numbers, the end of one to the beginning of the other.
fn linked(dir: &Path, lengths: &[usize], has_depth: bool, links: Option<&[(usize, usize)]>) -> Arc<ContigDataset> {
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
    let graph = links.map(|links| {
        let segments = (0..lengths.len()).map(|number| format!("S\tc{number}\t*\tLN:i:{}\n", lengths[number]));
        let links = links.iter().map(|(from, to)| format!("L\tc{from}\t+\tc{to}\t+\t0M\n"));
        let path = dir.join("g.gfa");
        std::fs::write(&path, segments.chain(links).collect::<String>()).unwrap();
        path
    });
    let inputs = Inputs { fasta, tables, graph, ..Inputs::default() };
    let config = IngestConfig { min_length_bp: 0, force: true, ..IngestConfig::default() };
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

fn around(view: &View) -> &Surroundings {
    match view {
        View::Node(around) => around,
        other => panic!("{other:?}"),
    }
}

/// The features of node `node` of a view.
fn row(around: &Surroundings, node: usize) -> &[f32] {
    let NodeFeatures::Dense(rows) = &around.features else { panic!("dense") };
    &rows[node * around.num_features..][..around.num_features]
}

fn with_graph() -> FeatureConfig {
    FeatureConfig { graph: Some(AssemblyView::default()), ..FeatureConfig::default() }
}

/// A chain of four contigs, 1 to 4 in the dataset, and one that is linked to none.
const CHAIN: (&[usize], &[(usize, usize)]) = (&[900, 4000, 1200, 600, 2000], &[(0, 1), (1, 2), (2, 3)]);

#[test]
fn neighbours_are_seen_as_wholes_and_fragments_as_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = linked(dir.path(), CHAIN.0, true, Some(CHAIN.1));
    let config = ContigPairsConfig { drop_edges: 0.0, ..ContigPairsConfig::default() };
    let with = ContigPairs::new(Arc::clone(&contigs), &config, &with_graph()).unwrap();
    let without = ContigPairs::new(Arc::clone(&contigs), &config, &FeatureConfig::default()).unwrap();
    let wholes = ContigViews::new(Arc::clone(&contigs), &FeatureConfig::default()).unwrap();
    let whole = |index: usize| match wholes.views(index).unwrap().remove(0) {
        View::Dense { data, .. } => data,
        other => panic!("{other:?}"),
    };
    let [pair, plain] = [&with, &without].map(|pairs| pairs.pair(1, 7).unwrap());
    for (view, plain) in pair.views().zip(plain.views()) {
        let around = around(view);
        assert!(matches!(plain, View::Dense { data, .. } if data == row(around, 0)));
        // The first of the chain sees the second, which sees the first as a whole, and the third.
        assert_eq!(around.edge_index, [(1, 0), (2, 1), (3, 1)]);
        for (node, index) in [(1, 2), (2, 1), (3, 3)] {
            assert_eq!(row(around, node), whole(index));
        }
        assert_eq!(around.edge_weight, [0.2; 3]);
    }
    // What is linked to nothing is seen alone.
    for (view, plain) in with.pair(5, 7).unwrap().views().zip(without.pair(5, 7).unwrap().views()) {
        assert_eq!((around(view).nodes.len(), around(view).edge_index.len()), (1, 0));
        assert!(matches!(plain, View::Dense { data, .. } if data == row(around(view), 0)));
    }
    assert!(with.describe(1, 7).unwrap().contains("beside 3 contigs, 3 edges\n"));
    assert!(with.describe(1, 7).unwrap().ends_with("\n  neighbours are negatives\n"));
}

#[test]
fn views_differ_in_their_edges_and_agree_in_what_they_share() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = linked(dir.path(), CHAIN.0, true, Some(CHAIN.1));
    let config = ContigPairsConfig { drop_edges: 0.5, ..ContigPairsConfig::default() };
    let pairs = ContigPairs::new(contigs, &config, &with_graph()).unwrap();
    let mut edges = HashSet::new();
    for seed in 0..8 {
        let (mut rows, mut lists) = (BTreeMap::new(), BTreeMap::new());
        for index in 0..pairs.len() {
            let pair = pairs.pair(index, seed).unwrap();
            assert_eq!(pair, pairs.pair(index, seed).unwrap());
            for view in pair.views().map(around) {
                if index == 2 {
                    edges.insert(view.edge_index.clone());
                }
                for (node, &id) in view.nodes.iter().enumerate() {
                    let own = row(view, node).to_vec();
                    assert_eq!(rows.entry(id).or_insert_with(|| own.clone()), &own);
                    let leading = view.edge_index.iter().filter(|(_, target)| *target == node as u32);
                    let list: Vec<u64> = leading.map(|(source, _)| view.nodes[*source as usize]).collect();
                    if !list.is_empty() {
                        assert_eq!(lists.entry(id).or_insert_with(|| list.clone()), &list);
                    }
                }
            }
        }
        // Six views of each of six contigs, and what is seen around them.
        assert!(rows.len() > 36, "{}", rows.len());
    }
    assert!(edges.len() > 3, "{edges:?}");
}

#[test]
fn the_other_strand_of_all_contigs_is_seen_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = linked(dir.path(), CHAIN.0, true, Some(CHAIN.1));
    let views = ContigViews::new(contigs, &with_graph()).unwrap();
    assert_eq!(views.view_shape(), ViewShape::Node { num_features: 140, hops: 2 });
    for (index, num_nodes) in [1, 3, 4, 4, 3, 1].into_iter().enumerate() {
        let own = views.views(index).unwrap();
        assert_eq!(own, views.transformed(index, 0).unwrap());
        assert_eq!(around(&own[0]).nodes.len(), num_nodes);
    }
}

#[test]
fn neighbours_are_what_the_recipe_says() {
    let dir = tempfile::tempdir().unwrap();
    let contigs = linked(dir.path(), CHAIN.0, true, Some(CHAIN.1));
    for (neighbors, weight) in [(NeighborRole::Ignored, 0.0), (NeighborRole::Positives, 0.5)] {
        let config = ContigPairsConfig { neighbors, neighbor_weight: 0.5, ..ContigPairsConfig::default() };
        let pairs = ContigPairs::new(Arc::clone(&contigs), &config, &FeatureConfig::default()).unwrap();
        let expected = [1, 3].map(|index| Related { sample: contigs.sample_id(index), weight });
        assert_eq!(pairs.pair(2, 1).unwrap().related, expected);
        assert!(pairs.pair(5, 1).unwrap().related.is_empty());
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
    assert_eq!(pairs("drop_edges = 1", ""), "pairs.drop_edges = 1: fractions from 0 to 0.95");
    assert_eq!(pairs("neighbor_weight = 0", ""), "pairs.neighbor_weight = 0: a number above 0");
    let no_graph = "the dataset has no assembly graph";
    assert!(pairs("neighbors = 'positives'", "").starts_with(&format!("pairs.neighbors = positives: {no_graph}")));
    assert!(pairs("", "graph = {}").starts_with(&format!("view.graph = set: {no_graph}")));
    assert!(pairs("", "graph = { weight = 0 }").starts_with("view.graph.weight = 0: "));
    assert_eq!(pairs("", "graph = { hops = 0 }"), "view.graph.hops = 0: 1 to 16");
    assert!(pairs("", "depth_weight = 0").starts_with("view.depth_weight = 0: "));
    assert!(pairs("", "shown = 'depth'").contains("the dataset has no depth"));
    assert!(pairs("", "ks = [9]").starts_with("view.ks = [9]"));
}
