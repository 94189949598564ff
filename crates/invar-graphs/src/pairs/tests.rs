use invar_dataset::{Dataset as _, PairSource as _, neighborhood::MOST_RELATED};

use super::*;
use crate::surroundings::tests::graph;

fn pairs(neighbors: NeighborRole, edges: &[(usize, usize)]) -> GraphPairs {
    let config = GraphPairsConfig { neighbors, neighbor_weight: 0.5, ..GraphPairsConfig::default() };
    GraphPairs::new(graph(400, edges), &config, &GraphView::default()).unwrap()
}

#[test]
fn neighbours_are_what_the_recipe_says() {
    let edges = [(0, 1), (0, 2), (3, 4)];
    let related = |role| pairs(role, &edges).pair(0, 1).unwrap().related;
    assert!(related(NeighborRole::Negatives).is_empty());
    let of = pairs(NeighborRole::Positives, &edges);
    let samples = [1, 2].map(|node| of.graph.sample_id(node));
    for (role, weight) in [(NeighborRole::Ignored, 0.0), (NeighborRole::Positives, 0.5)] {
        let found: Vec<_> =
            related(role).into_iter().map(|related| (related.sample.0 - samples[0].0, related.weight)).collect();
        assert_eq!(found, [(0, weight), (samples[1].0 - samples[0].0, weight)]);
    }
    let text = of.describe(0, 1).unwrap();
    assert!(text.contains("\"n0\"") && text.contains("2 neighbours are positives"), "{text}");
    // A hub names some of its neighbours, each once.
    let star: Vec<(usize, usize)> = (1..400).map(|leaf| (0, leaf)).collect();
    let related = pairs(NeighborRole::Positives, &star).pair(0, 1).unwrap().related;
    let distinct: std::collections::BTreeSet<_> = related.iter().map(|related| related.sample).collect();
    assert_eq!((related.len(), distinct.len()), (MOST_RELATED, MOST_RELATED));
}

#[test]
fn a_pair_is_fixed_by_index_and_seed() {
    let source = pairs(NeighborRole::Negatives, &[(0, 1), (1, 2), (2, 3)]);
    assert_eq!(source.pair(1, 7).unwrap(), source.pair(1, 7).unwrap());
    assert_ne!(source.pair(1, 7).unwrap(), source.pair(1, 8).unwrap());
    let pair = source.pair(1, 7).unwrap();
    assert_ne!(pair.views[0].1, pair.views[1].1);
    assert_eq!(source.len(), source.graph.len());
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = |config: GraphPairsConfig, view: GraphView| {
        GraphPairs::new(graph(2, &[]), &config, &view).err().unwrap().to_string()
    };
    let good = GraphPairsConfig::default;
    for (config, view, expected) in [
        (
            GraphPairsConfig { drop_edges: [0.0, 1.0], ..good() },
            GraphView::default(),
            "pairs.drop_edges: expected fractions from 0 to 0.95, found 1",
        ),
        (
            GraphPairsConfig { mask_features: [f64::NAN, 0.0], ..good() },
            GraphView::default(),
            "pairs.mask_features: expected fractions from 0 to 0.95, found NaN",
        ),
        (
            GraphPairsConfig { neighbor_weight: 0.0, ..good() },
            GraphView::default(),
            "pairs.neighbor_weight: expected a number above 0, found 0",
        ),
        (good(), GraphView { hops: 0, fanout: 3 }, "view.hops: expected 1 to 16, found 0"),
        (good(), GraphView { hops: 2, fanout: 0 }, "view.fanout: expected 1 to 1048576, found 0"),
    ] {
        assert_eq!(refused(config, view), expected);
    }
}
