//! Cuts a graph whose edges attract or repel in two: as much attraction as possible within the parts, as much repulsion
//! as possible between them.

use invar_dataset::seed;

/// Number of eigenvectors computed, and how many of them are tried.
const VECTORS: usize = 8;
const TRIED: usize = 6;
/// Number of steps of orthogonal iteration.
const STEPS: usize = 400;
/// Seed of its first vectors.
const SEED: u64 = 0x6269_7365_6374;

/// A symmetric graph: for each node its neighbours and the weights of the edges, negative for nodes that repel.
pub(super) type Signed = Vec<Vec<(u32, f64)>>;

/// On which side each node is: the best of several local optima, which begin at the signs of the lowest eigenvectors of
/// the signed Laplacian (Kunegis et al. 2010, *Spectral analysis of signed graphs for clustering, prediction and
/// visualization*), normalised. `None` if no cut is better than none.
pub(super) fn bisection(graph: &Signed) -> Option<Vec<bool>> {
    let mut best = None;
    for vector in lowest_eigenvectors(graph).iter().take(TRIED) {
        let mut sides: Vec<bool> = vector.iter().map(|&x| x > 0.0).collect();
        improve(graph, &mut sides);
        let cost = cost(graph, &sides);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, sides));
        }
    }
    best.filter(|(cost, _)| *cost < 0.0).map(|(_, sides)| sides)
}

/// The total weight between the sides.
fn cost(graph: &Signed, sides: &[bool]) -> f64 {
    let between = |(node, edges): (usize, &Vec<(u32, f64)>)| -> f64 {
        edges.iter().filter(|(other, _)| sides[*other as usize] != sides[node]).map(|(_, weight)| weight).sum()
    };
    graph.iter().enumerate().map(between).sum::<f64>() / 2.0
}

/// Moves the node that gains most to the other side, while one does.
fn improve(graph: &Signed, sides: &mut [bool]) {
    /// What rounding may add up to.
    const LEAST: f64 = 1e-9;
    let gain = |node: usize, sides: &[bool]| -> f64 {
        let signed =
            |&(other, weight): &(u32, f64)| if sides[other as usize] == sides[node] { -weight } else { weight };
        graph[node].iter().map(signed).sum()
    };
    let mut gains: Vec<f64> = (0..graph.len()).map(|node| gain(node, sides)).collect();
    while let Some((node, _)) = (0..).zip(&gains).max_by(|a, b| a.1.total_cmp(b.1)).filter(|(_, gain)| **gain > LEAST) {
        let node: usize = node;
        sides[node] = !sides[node];
        gains[node] = gain(node, sides);
        graph[node].iter().for_each(|&(other, _)| gains[other as usize] = gain(other as usize, sides));
    }
}

/// Approximations, the lowest first.
fn lowest_eigenvectors(graph: &Signed) -> Vec<Vec<f64>> {
    let scales: Vec<f64> = graph
        .iter()
        .map(|edges| edges.iter().map(|(_, weight)| weight.abs()).sum::<f64>())
        .map(|degree| if degree > 0.0 { degree.sqrt().recip() } else { 0.0 })
        .collect();
    // The eigenvalues of the Laplacian are 0 to 2, so those of 2 - L have the same order by magnitude, reversed.
    let multiplied = |x: &[f64]| -> Vec<f64> {
        let of_node = |(node, edges): (usize, &Vec<(u32, f64)>)| {
            let sum: f64 =
                edges.iter().map(|&(other, weight)| weight * scales[other as usize] * x[other as usize]).sum();
            x[node] + scales[node] * sum
        };
        graph.iter().enumerate().map(of_node).collect()
    };
    let number = VECTORS.min(graph.len());
    let random =
        |vector: usize, node: usize| (seed::mix(SEED + vector as u64, node as u64) >> 11) as f64 * 2f64.powi(-53);
    let mut vectors: Vec<Vec<f64>> =
        (0..number).map(|vector| (0..graph.len()).map(|node| random(vector, node) - 0.5).collect()).collect();
    for _ in 0..STEPS {
        vectors.iter_mut().for_each(|x| *x = multiplied(x));
        orthonormalise(&mut vectors);
    }
    vectors
}

/// Modified Gram-Schmidt. What depends on those before becomes zero.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(i);
        let x = &mut rest[0];
        for other in before {
            let along = product(x, other);
            x.iter_mut().zip(&*other).for_each(|(x, other)| *x -= along * other);
        }
        let length = product(x, x).sqrt();
        let scale = if length > 0.0 { length.recip() } else { 0.0 };
        x.iter_mut().for_each(|x| *x *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(len: usize, edges: impl IntoIterator<Item = (usize, usize, f64)>) -> Signed {
        let mut graph = vec![Vec::new(); len];
        for (a, b, weight) in edges {
            graph[a].push((b as u32, weight));
            graph[b].push((a as u32, weight));
        }
        graph
    }

    /// Two rings of `n`, whose nodes repel those opposite, joined at one place by two strong edges.
    fn rings(n: usize) -> Signed {
        let ring = |first: usize| (0..n).map(move |i| (first + i, first + (i + 1) % n, 1.0));
        let opposite = (1..n).map(|i| (i, n + i, -0.4));
        graph(2 * n, ring(0).chain(ring(n)).chain(opposite).chain([(0, n, 2.0), (0, n + 1, 0.5)]))
    }

    #[test]
    fn two_rings_are_told_apart() {
        for n in [8, 12, 30] {
            let sides = bisection(&rings(n)).unwrap();
            // The node at the bridge may be on either side.
            assert!(sides[1..n].iter().all(|&side| side == sides[1]), "{n}: {sides:?}");
            assert!(sides[n + 1..].iter().all(|&side| side != sides[1]), "{n}: {sides:?}");
        }
    }

    #[test]
    fn where_nothing_repels_there_is_no_cut() {
        let attracting: Signed =
            rings(6).into_iter().map(|edges| edges.into_iter().filter(|edge| edge.1 > 0.0).collect()).collect();
        assert!(bisection(&attracting).is_none());
        assert!(bisection(&vec![]).is_none() && bisection(&vec![vec![]; 3]).is_none());
    }

    /// A graph of seven nodes, and the least that any cut of it costs.
    fn of_seven(weights: &[f64]) -> (Signed, f64) {
        let pairs = (0..7).flat_map(|a| (0..a).map(move |b| (a, b)));
        let graph = graph(7, pairs.zip(weights).map(|((a, b), &weight)| (a, b, weight)));
        let of = |bits: u32| cost(&graph, &(0..7).map(|node| bits >> node & 1 > 0).collect::<Vec<bool>>());
        let least = (0..64).map(of).fold(0.0, f64::min);
        (graph, least)
    }

    proptest::proptest! {
        // What holds for every graph: the cut is one, no node alone is better on the other side, and no cut is cheaper than the best.
        #[test]
        fn no_move_betters_a_cut(weights in proptest::collection::vec(-1.0..1.0f64, 21)) {
            let (graph, least) = of_seven(&weights);
            if let Some(mut sides) = bisection(&graph) {
                let found = cost(&graph, &sides);
                proptest::prop_assert!(least - 1e-9 <= found && found < 0.0, "{found}, least {least}");
                for node in 0..7 {
                    sides[node] = !sides[node];
                    let moved = cost(&graph, &sides);
                    proptest::prop_assert!(moved >= found - 1e-8, "{node}: {moved} below {found}");
                    sides[node] = !sides[node];
                }
            }
        }
    }

    // A local optimum may be far from the best, so how good cuts are is a matter of many graphs, always the same ones.
    #[test]
    fn cuts_are_nearly_always_the_best() {
        const GRAPHS: usize = 2000;
        let number = |graph: usize, edge: u64| (seed::mix(graph as u64, edge) >> 11) as f64 * 2f64.powi(-52) - 1.0;
        let ratios: Vec<f64> = (0..GRAPHS)
            .map(|graph| of_seven(&(0..21).map(|edge| number(graph, edge)).collect::<Vec<f64>>()))
            .filter(|(_, least)| *least < -1e-9)
            .map(|(graph, least)| bisection(&graph).map_or(0.0, |sides| cost(&graph, &sides)) / least)
            .collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let best = ratios.iter().filter(|&&ratio| ratio > 1.0 - 1e-9).count();
        assert!(
            ratios.len() > GRAPHS * 9 / 10 && mean > 0.98 && best > ratios.len() * 9 / 10,
            "{mean}, {best} of {}",
            ratios.len()
        );
    }
}
