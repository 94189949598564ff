use proptest::prelude::*;

use super::*;

fn edge(a: u32, b: u32, weight: f64) -> Edge {
    Edge { a, b, weight }
}

#[test]
fn neighbours_are_joined_once_from_either_side_and_gaps_are_filled() {
    // 0: 1, 2; 1: 0, 2; 2: 3, 0; 3: 2, 1.
    let neighbors = Neighbors { k: 2, indices: vec![1, 2, 0, 2, 3, 0, 2, 1], values: vec![0.0; 8], recall: 1.0 };
    let all: Vec<Option<u32>> = (0..4).map(Some).collect();
    let nearest = Graph::of_neighbors(&neighbors, 1, &all);
    assert_eq!(nearest.edges, [edge(0, 1, 1.0), edge(2, 3, 1.0)]);
    // Without row 2, whose place in the lists is taken by the next one: 0 - 1 and 3 - 1, by their new numbers.
    let part = Graph::of_neighbors(&neighbors, 1, &[Some(0), Some(1), None, Some(2)]);
    assert_eq!((part.num_nodes, part.edges), (3, vec![edge(0, 1, 1.0), edge(1, 2, 1.0)]));
}

#[test]
fn what_is_contracted_keeps_its_weight() {
    let graph = Graph { num_nodes: 4, edges: vec![edge(0, 1, 1.0), edge(0, 2, 2.0), edge(1, 3, 3.0), edge(2, 3, 4.0)] };
    let contracted = graph.contracted(&[0, 1, 1, 0], 2);
    // 1 + 2 + 3 + 4 all run between {0, 3} and {1, 2}.
    assert_eq!(contracted.edges, [edge(0, 1, 10.0)]);
    assert_eq!(graph.contracted(&[0, 0, 1, 1], 2).edges, [edge(0, 0, 1.0), edge(0, 1, 5.0), edge(1, 1, 4.0)]);
    assert_eq!(graph.contracted(&[0, 0, 1, 1], 2).degrees(), [7.0, 13.0]);
    assert_eq!(graph.contracted(&[0, 0, 1, 1], 2).shares_within(&[0, 1]), [2.0 / 7.0, 8.0 / 13.0]);
}

#[test]
fn a_community_without_its_bridge_is_parted() {
    let path = Graph { num_nodes: 5, edges: vec![edge(0, 1, 1.0), edge(1, 2, 1.0), edge(2, 3, 1.0), edge(3, 4, 1.0)] };
    assert_eq!(path.connected(&[5, 5, 9, 5, 5]), [0, 0, 1, 2, 2]);
}

/// Edges between few nodes, those of a node with itself among them.
fn graphs() -> impl Strategy<Value = Graph> {
    (2..9u32).prop_flat_map(|n| {
        prop::collection::vec((0..n, 0..n, 1..5u8), 1..20).prop_map(move |edges| {
            let edges = edges.into_iter().map(|(a, b, weight)| edge(a.min(b), a.max(b), f64::from(weight))).collect();
            Graph { num_nodes: n as usize, edges }.contracted(&(0..n).collect::<Vec<_>>(), n as usize)
        })
    })
}

/// `1 / 2m sum over pairs in one community of (A_ij - resolution k_i k_j / 2m)`: the definition, pair by pair.
fn by_pairs(graph: &Graph, labels: &[i32], resolution: f64) -> f64 {
    let n = graph.num_nodes;
    let mut adjacency = vec![0.0; n * n];
    for edge in &graph.edges {
        adjacency[edge.a as usize * n + edge.b as usize] += edge.weight;
        adjacency[edge.b as usize * n + edge.a as usize] += edge.weight;
    }
    let degree = |i: usize| adjacency[i * n..][..n].iter().sum::<f64>();
    let two_m: f64 = (0..n).map(degree).sum();
    let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|&(i, j)| labels[i] == labels[j]);
    pairs.map(|(i, j)| adjacency[i * n + j] - resolution * degree(i) * degree(j) / two_m).sum::<f64>() / two_m
}

proptest! {
    #[test]
    fn modularity_is_that_of_the_definition_and_outlives_contraction(
        graph in graphs(),
        nodes in prop::collection::vec(0..4u32, 9),
        labels in prop::collection::vec(0..3i32, 4),
        resolution in 0.05..2.0f64,
    ) {
        let nodes = &nodes[..graph.num_nodes];
        let of_rows: Vec<i32> = nodes.iter().map(|&node| labels[node as usize]).collect();
        let expected = by_pairs(&graph, &of_rows, resolution);
        prop_assert!((graph.modularity(&of_rows, resolution) - expected).abs() < 1e-12);
        prop_assert!((graph.contracted(nodes, 4).modularity(&labels, resolution) - expected).abs() < 1e-12);
    }

    #[test]
    fn parted_communities_hang_together_and_have_no_less_modularity(
        graph in graphs(),
        labels in prop::collection::vec(0..3i32, 9),
    ) {
        let labels = &labels[..graph.num_nodes];
        let parted = graph.connected(labels);
        prop_assert!(graph.modularity(&parted, 0.7) >= graph.modularity(labels, 0.7) - 1e-12);
        for (a, b) in (0..graph.num_nodes).flat_map(|a| (0..a).map(move |b| (a, b))) {
            // One community: its nodes reach each other within the labels, by steps along edges.
            let mut reached = vec![false; graph.num_nodes];
            reached[a] = true;
            for _ in 0..graph.num_nodes {
                for edge in &graph.edges {
                    let (x, y) = (edge.a as usize, edge.b as usize);
                    if labels[x] == labels[y] && (reached[x] || reached[y]) {
                        (reached[x], reached[y]) = (true, true);
                    }
                }
            }
            prop_assert_eq!(parted[a] == parted[b], reached[b], "{} and {}", a, b);
        }
    }
}

#[test]
fn small_communities_join_the_one_that_is_nearest() {
    // Nodes of 40, 3, 2, 50 and 1 rows; the last has no edge. 1 is nearer to 0 than to 3, and 2 is nearest to 1.
    let edge = |a, b, weight| Edge { a, b, weight };
    let edges = vec![edge(0, 1, 5.0), edge(1, 2, 4.0), edge(1, 3, 3.0), edge(2, 3, 1.0)];
    let graph = Graph { num_nodes: 5, edges };
    let (labels, sizes) = ([0, 1, 2, 3, 4], [40.0, 3.0, 2.0, 50.0, 1.0]);
    assert_eq!(graph.without_small(&labels, &sizes, 15.0), [0, 0, 0, 1, 2]);
    assert_eq!(graph.without_small(&labels, &sizes, 2.0), [0, 1, 1, 2, 3]);
    assert_eq!(graph.without_small(&labels, &sizes, 0.0), labels);
    assert_eq!(graph.without_small(&[3, 3, 1, 0, 2], &sizes, 0.0), [0, 0, 1, 2, 3]);
}

#[test]
fn a_heavy_row_needs_few_neighbours_and_shares_its_weight_among_them() {
    // Row 0 weighs 3, the others 1: of mean weight 1.5. Row 3 has no node.
    let indices = vec![1, 2, 3, 0, 2, 3, 3, 1, 0, 2, 1, 0];
    let neighbors = Neighbors { k: 3, indices, values: vec![1.0; 12], recall: 1.0 };
    let places = [Some(0), Some(1), Some(2), None];
    let graph = Graph::of_weighed_neighbors(&neighbors, 3, &places, &[3.0, 0.75, 0.75, 9.0], 1.0);
    // 0 -> 1, 2 (0.75 each are needed to reach 1); 1 -> 0; 2 -> 1, 0. Shares 1 each, 0.5, 0.25 each.
    assert_eq!(graph.edges, [edge(0, 1, 1.5), edge(0, 2, 1.25), edge(1, 2, 0.25)]);
    // A tenth less of the cosine takes an edge down to 1 / e.
    let far = Neighbors { values: vec![0.9; 12], ..neighbors.clone() };
    let graph = Graph::of_weighed_neighbors(&far, 3, &places, &[3.0, 0.75, 0.75, 9.0], 1.0);
    assert!((graph.edges[0].weight - 1.5 / std::f64::consts::E).abs() < 1e-6, "{:?}", graph.edges);
    // What is asked of the neighbours can be 0: one is taken all the same.
    let graph = Graph::of_weighed_neighbors(&neighbors, 3, &places, &[3.0, 0.75, 0.75, 9.0], 0.0);
    assert_eq!(graph.edges, [edge(0, 1, 2.5), edge(1, 2, 0.5)]);
}
