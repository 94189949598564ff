use super::*;
use crate::graph::Edge;

#[test]
fn rows_of_one_value_are_one_node() {
    let values = [None, Some(7), None, Some(-1), Some(7)];
    assert_eq!(nodes(values.into_iter()), (vec![0, 1, 2, 3, 1], 4));
}

/// Friendships in a karate club (Zachary 1977), as networkx has them; members are counted from 0.
const KARATE: [&[u32]; 34] = [
    &[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31],
    &[2, 3, 7, 13, 17, 19, 21, 30],
    &[3, 7, 8, 9, 13, 27, 28, 32],
    &[7, 12, 13],
    &[6, 10],
    &[6, 10, 16],
    &[16],
    &[],
    &[30, 32, 33],
    &[33],
    &[],
    &[],
    &[],
    &[33],
    &[32, 33],
    &[32, 33],
    &[],
    &[],
    &[32, 33],
    &[33],
    &[32, 33],
    &[],
    &[32, 33],
    &[25, 27, 29, 32, 33],
    &[25, 27, 31],
    &[31],
    &[29, 33],
    &[33],
    &[31, 33],
    &[32, 33],
    &[32, 33],
    &[32, 33],
    &[33],
    &[],
];

fn karate(nodes: Vec<u32>, num_nodes: usize) -> Part {
    let edges: Vec<Edge> = KARATE
        .iter()
        .zip(0..)
        .flat_map(|(others, a)| others.iter().map(move |&b| Edge { a, b, weight: 1.0 }))
        .collect();
    assert_eq!(edges.len(), 78);
    let graph = Graph { num_nodes: 34, edges }.contracted(&nodes, num_nodes);
    let mut sizes = vec![0.0; num_nodes];
    nodes.iter().for_each(|&node| sizes[node as usize] += 1.0);
    Part { rows: (0..34).collect(), nodes, graph, sizes, small: 1.0 }
}

#[test]
fn the_largest_modularity_of_the_karate_club_is_found() {
    let club = karate((0..34).collect(), 34);
    let found = club.communities(&club.prepared().unwrap(), Quality::Modularity, 1.0, 1).unwrap();
    // The optimum is 0.4198 with four communities (Brandes et al. 2008, "On modularity clustering").
    assert!((club.graph.modularity(&found, 1.0) - 0.4198).abs() < 5e-5, "{}", club.graph.modularity(&found, 1.0));
    assert_eq!(found.iter().max(), Some(&3));
    // The two leaders are in different communities.
    assert_ne!(found[0], found[33]);
}

#[test]
fn leaders_who_must_stay_together_do_at_the_modularity_of_the_whole_graph() {
    // 0 and 33 become one node.
    let nodes: Vec<u32> = (0..33).chain([0]).collect();
    let (club, whole) = (karate(nodes, 33), karate((0..34).collect(), 34));
    let prepared = club.prepared().unwrap();
    let found = club.communities(&prepared, Quality::Modularity, 1.0, 1).unwrap();
    assert_eq!(found[0], found[33]);
    // What the library calls the quality of the contracted graph equals the modularity of the partition in the whole
    // graph.
    let settings = Settings { seed: Some(1), quality: QualityType::RBConfiguration, ..Settings::default() };
    let output = Leiden::new(settings).run(&prepared).unwrap();
    let of_members: Vec<i32> =
        (0..34).map(|member| output.partition.community_of(if member == 33 { 0 } else { member }) as i32).collect();
    assert!((output.quality - whole.graph.modularity(&of_members, 1.0)).abs() < 1e-12);
    // And the best that the constraint allows is worse than the unconstrained best.
    assert!(whole.graph.modularity(&found, 1.0) < 0.4197);
}

/// Weight within communities less `density` for each pair of members (Traag, Van Dooren and Nesterov 2011, equation 3).
fn potts(of: &Part, labels: &[i32], density: f64) -> f64 {
    let within = of.graph.edges.iter().filter(|edge| labels[edge.a as usize] == labels[edge.b as usize]);
    let weight: f64 = within.map(|edge| edge.weight).sum();
    let pairs: usize = (0..=33)
        .map(|label| labels.iter().filter(|&&of| of == label).count())
        .map(|n| n * n.saturating_sub(1) / 2)
        .sum();
    weight - density * pairs as f64
}

#[test]
fn the_constant_potts_model_has_its_optimum() {
    let club = Part { small: 0.0, ..karate((0..34).collect(), 34) };
    let prepared = club.prepared().unwrap();
    let mean_density = 2.0 * 78.0 / (34.0 * 34.0);
    // The best of 200 runs of leidenalg 0.12 (CPMVertexPartition), single members among its communities.
    for (density, best) in [(0.05, 54.4), (0.1, 43.1), (0.2, 30.6), (0.4, 17.4)] {
        let quality = |seed| {
            let found = club.communities(&prepared, Quality::Cpm, density / mean_density, seed).unwrap();
            potts(&club, &found, density)
        };
        let quality = (0..20).map(quality).fold(f64::NEG_INFINITY, f64::max);
        assert!((quality - best).abs() < 1e-9, "{density}: {quality}, expected {best}");
    }
}

#[test]
fn a_node_of_several_rows_counts_as_so_many_in_the_potts_model() {
    // Two triangles that share an edge with each other; rows 0, 1 and 2 are one node.
    let edge = |a: u32, b: u32| Edge { a, b, weight: 1.0 };
    let edges = vec![edge(0, 1), edge(1, 2), edge(0, 2), edge(3, 4), edge(4, 5), edge(3, 5), edge(2, 3)];
    let nodes = vec![0, 0, 0, 1, 2, 3];
    let graph = Graph { num_nodes: 6, edges }.contracted(&nodes, 4);
    let part = Part { rows: (0..6).collect(), nodes, graph, sizes: vec![3.0, 1.0, 1.0, 1.0], small: 1.0 };
    let found = part.communities(&part.prepared().unwrap(), Quality::Cpm, 1.0, 1).unwrap();
    assert_eq!(found[0], found[2]);
    assert!(found[3] == found[5] && found[0] != found[3], "{found:?}");
}
