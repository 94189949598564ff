use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    sync::Arc,
};

use invar_dataset::{Dataset as _, NoProgress, PairSource as _, View, ViewSource as _};
use proptest::prelude::*;

use super::*;
use crate::{EmbedConfig, GraphPairs, GraphPairsConfig, GraphViews, IngestConfig, Inputs, ingest};

/// A graph of `num` nodes, each with a feature of its own and one that a third of them have.
pub(crate) fn graph(num: usize, edges: &[(usize, usize)]) -> Arc<GraphDataset> {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, mut list) = ("id\tfeatures\n".to_owned(), "a\tb\n".to_owned());
    for node in 0..num {
        writeln!(nodes, "n{node}\t{},{}", node + 3, node % 3).unwrap();
    }
    for (a, b) in edges {
        writeln!(list, "n{a}\tn{b}").unwrap();
    }
    let inputs = Inputs { nodes: dir.path().join("n.tsv"), edges: dir.path().join("e.tsv") };
    fs::write(&inputs.nodes, nodes).unwrap();
    fs::write(&inputs.edges, list).unwrap();
    let data = dir.path().join("data");
    ingest(&inputs, &data, &IngestConfig::default(), &NoProgress).unwrap();
    Arc::new(GraphDataset::open(&[data]).unwrap())
}

const ALL: Glance = Glance { look: Look { hops: 2, fanout: 1000, seed: 5, drop_edges: 0.0 }, mask_features: 0.0 };

/// The edges of a view, by the features that name the nodes.
fn named_edges(around: &Surroundings) -> BTreeSet<(u32, u32)> {
    let NodeFeatures::Sparse { ends, columns, .. } = &around.features else { panic!("sparse") };
    let name = |node: u32| columns[ends[node as usize] as usize - 1] - 3;
    around.edge_index.iter().map(|&(source, target)| (name(source), name(target))).collect()
}

proptest! {
    // Each makes a dataset.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_within_two_edges_is_seen(
        edges in prop::collection::vec((0usize..15, 0usize..15), 0..40), index in 0usize..15,
    ) {
        let graph = graph(15, &edges);
        let mut neighbors = BTreeMap::<usize, BTreeSet<usize>>::new();
        for &(a, b) in edges.iter().filter(|(a, b)| a != b) {
            neighbors.entry(a).or_default().insert(b);
            neighbors.entry(b).or_default().insert(a);
        }
        let of = |node: &usize| neighbors.get(node).cloned().unwrap_or_default();
        let within: BTreeSet<usize> = of(&index).into_iter().chain([index]).collect();
        let expected: BTreeSet<(u32, u32)> =
            within.iter().flat_map(|node| of(node).into_iter().map(|other| (other as u32, *node as u32))).collect();
        let around = ALL.at(&graph, index);
        prop_assert_eq!(named_edges(&around), expected.clone());
        prop_assert_eq!(around.edge_index.len(), expected.len());
        prop_assert_eq!(around.nodes[0], mix(5, index as u64));
        prop_assert_eq!(around.nodes.iter().collect::<BTreeSet<_>>().len(), around.nodes.len());
    }

    #[test]
    fn views_of_one_seed_agree_in_what_they_share(
        edges in prop::collection::vec((0usize..20, 0usize..20), 20..90), seed: u64, fanout in 1usize..6,
    ) {
        let graph = graph(20, &edges);
        let look = Glance { look: Look { fanout, seed, drop_edges: 0.3, ..ALL.look }, mask_features: 0.3 };
        let (mut incoming, mut features) = (BTreeMap::new(), BTreeMap::new());
        for index in 0..graph.len() {
            let around = look.at(&graph, index);
            prop_assert!(around.nodes.len() <= 1 + fanout + fanout * fanout);
            prop_assert_eq!(&around, &look.at(&graph, index));
            let NodeFeatures::Sparse { ends, columns, values } = &around.features else { panic!("sparse") };
            for (node, &id) in around.nodes.iter().enumerate() {
                let own = if node == 0 { 0 } else { ends[node - 1] as usize }..ends[node] as usize;
                let row = (columns[own.clone()].to_vec(), values[own].to_vec());
                prop_assert_eq!(features.entry(id).or_insert_with(|| row.clone()), &row);
                let leads_here = around.edge_index.iter().zip(&around.edge_weight);
                let leads_here = leads_here.filter(|((_, target), _)| *target == node as u32);
                let list: Vec<(u64, f32)> = leads_here.map(|(&(s, _), &w)| (around.nodes[s as usize], w)).collect();
                prop_assert!(list.len() <= fanout);
                if !list.is_empty() {
                    prop_assert_eq!(incoming.entry(id).or_insert_with(|| list.clone()), &list);
                }
            }
        }
    }
}

#[test]
fn a_hub_is_no_larger_than_others() {
    let star: Vec<(usize, usize)> = (1..3000).map(|leaf| (0, leaf)).collect();
    let graph = graph(3000, &star);
    let look = Look { fanout: 4, drop_edges: 0.4, ..ALL.look };
    let hub = Glance { look, ..ALL }.at(&graph, 0);
    assert_eq!((hub.nodes.len(), hub.edge_index.len()), (5, 8));
    // Another seed draws others; a leaf sees the hub as the hub sees itself.
    let others = Glance { look: Look { seed: 6, ..look }, ..ALL }.at(&graph, 0);
    assert_ne!(named_edges(&hub), named_edges(&others));
    let views = GraphViews::new(graph.clone(), &GraphView::default(), &EmbedConfig { fanout: 8 }).unwrap();
    let View::Node(leaf) = &views.views(7).unwrap()[0] else { panic!("a node") };
    assert_eq!(leaf.edge_index.iter().filter(|(_, target)| *target == 1).count(), 8);
    for symmetry in 0..views.symmetries().len() {
        assert_ne!(views.transformed(0, symmetry).unwrap(), views.views(0).unwrap());
    }
}

#[test]
fn edges_and_features_are_left_out_at_the_rates_asked_for() {
    let ring: Vec<(usize, usize)> = (0..2000).map(|node| (node, (node + 1) % 2000)).collect();
    let graph = graph(2000, &ring);
    let config = GraphPairsConfig { drop_edges: [0.2, 0.5], mask_features: [0.0, 0.3], ..GraphPairsConfig::default() };
    let view = GraphView { hops: 1, ..GraphView::default() };
    let pairs = GraphPairs::new(graph.clone(), &config, &view).unwrap();
    let (mut kept, mut features) = ([0usize; 2], [0usize; 2]);
    for index in 0..graph.len() {
        for (number, view) in pairs.pair(index, 9).unwrap().views().enumerate() {
            let View::Node(around) = view else { panic!("a node") };
            kept[number] += around.edge_index.len();
            let NodeFeatures::Sparse { ends, .. } = &around.features else { panic!("sparse") };
            features[number] += ends[0] as usize;
        }
    }
    // Of 4,000 directed edges, 2,000 draws: five standard deviations are 5.6 %. Of 2,000 features of one node each,
    // and three of a third of all nodes each.
    let share = kept.map(|kept| kept as f64 / 4000.0);
    assert!((share[0] - 0.8).abs() < 0.045 && (share[1] - 0.5).abs() < 0.056, "{share:?}");
    assert_eq!(features[0], 4000);
    let of_all =
        [0, 1, 2, 3].map(|masked: usize| (masked as f64 * 667.0 - (4000.0 - features[1] as f64 - 600.0)).abs());
    assert!(of_all.into_iter().any(|off| off < 110.0), "{features:?}");
}
