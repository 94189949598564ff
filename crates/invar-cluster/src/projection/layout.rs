//! Places for the nodes of a fuzzy graph: nodes joined by an edge attract each other, all others repel (McInnes, Healy
//! and Melville 2018, section 3.2). umap-learn moves both ends of an edge at once, in whatever order the threads run;
//! here a node moves along its own edges while all others stand still, so that nothing depends on the threads. (Letting
//! some nodes see how others moved in the same epoch preserves a few more neighbours, but a pair that lies apart
//! overshoots and separates.)

use invar_dataset::{Progress, seed};
use rayon::prelude::*;

use super::fuzzy::FuzzyGraph;
use crate::ClusterError;

/// `1 / (1 + A d^2B)` is the membership of nodes at distance `d` in the plane: umap-learn's fit for a minimal distance
/// of 0.1 and a spread of 1.
const A: f64 = 1.576_943_460_31;
const B: f64 = 0.895_060_878_123;
/// Number of random nodes that repel a node, for each edge that attracts it.
const PUSHES: usize = 5;
/// Maximum step along either axis.
const LONGEST_STEP: f32 = 4.0;
/// Half of the side of the square in which the layout begins.
const START_EXTENT: f32 = 10.0;
/// Maximum offset of a node from its principal components at the start, so that equal rows separate.
const START_NOISE: f64 = 1e-3;
/// Nodes per task of a thread.
const CHUNK: usize = 256;
/// Names the random streams of the start and of the epochs.
const STREAM: u64 = 0x756d_6170;

/// The initial layout: the principal components, scaled to a common size.
pub(super) fn start((x, y): (Vec<f32>, Vec<f32>), seed: u64) -> Vec<[f32; 2]> {
    let extent = x.iter().chain(&y).fold(0f32, |most, value| most.max(value.abs()));
    let scale = if extent > 0.0 { START_EXTENT / extent } else { 0.0 };
    let place = |(node, (x, y)): (usize, (f32, f32))| {
        let mut rng = seed::rng(seed::mix(seed, STREAM), node as u64);
        let mut noisy = |value: f32| value * scale + ((seed::uniform(&mut rng) - 0.5) * START_NOISE) as f32;
        [noisy(x), noisy(y)]
    };
    x.into_iter().zip(y).enumerate().map(place).collect()
}

/// Moves the nodes for the given number of epochs.
///
/// # Errors
/// If the user cancels.
pub(super) fn run(
    graph: &FuzzyGraph,
    mut places: Vec<[f32; 2]>,
    epochs: usize,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<[f32; 2]>, ClusterError> {
    let largest = graph.edges.iter().fold(0f32, |most, edge| most.max(edge.1));
    let forces = Forces::new();
    let mut moved = Vec::with_capacity(places.len());
    progress.set_total(epochs as u64);
    for epoch in 0..epochs {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let step = Step {
            graph,
            forces: &forces,
            rate: 1.0 - epoch as f32 / epochs as f32,
            epoch: epoch as f32,
            scale: 1.0 / largest,
            seed: seed::mix(seed, STREAM + 1 + epoch as u64),
        };
        let of = |node: usize| step.moved(node, &places);
        (0..places.len()).into_par_iter().with_min_len(CHUNK).map(of).collect_into_vec(&mut moved);
        std::mem::swap(&mut places, &mut moved);
        progress.advance(1);
    }
    Ok(places)
}

/// What is common to all nodes in an epoch.
struct Step<'a> {
    graph: &'a FuzzyGraph,
    forces: &'a Forces,
    /// Decreases from 1 to 0.
    rate: f32,
    epoch: f32,
    /// One over the largest weight: such an edge attracts in every epoch, one of half the weight in every other.
    scale: f32,
    seed: u64,
}

impl Step<'_> {
    fn moved(&self, node: usize, places: &[[f32; 2]]) -> [f32; 2] {
        let (mut own, num) = (places[node], places.len() as u32);
        let mut rng = seed::rng(self.seed, node as u64);
        for &(other, weight) in self.graph.of(node) {
            let share = weight * self.scale;
            if ((self.epoch + 1.0) * share) as u32 == (self.epoch * share) as u32 {
                continue;
            }
            let [x, y] = self.step(own, places[other as usize], &self.forces.draw);
            own = [own[0] + x, own[1] + y];
            // All from one place, so that none depends on the one before.
            let mut pushed = [0.0; 2];
            for _ in 0..PUSHES {
                let other = seed::below_u32(num, &mut rng) as usize;
                if other != node {
                    let [x, y] = self.step(own, places[other], &self.forces.push);
                    pushed = [pushed[0] + x, pushed[1] + y];
                }
            }
            own = [own[0] + pushed[0], own[1] + pushed[1]];
        }
        own
    }

    fn step(&self, own: [f32; 2], other: [f32; 2], table: &Table) -> [f32; 2] {
        let apart = [own[0] - other[0], own[1] - other[1]];
        let force = table.at(apart[0] * apart[0] + apart[1] * apart[1]);
        apart.map(|apart| (force * apart).clamp(-LONGEST_STEP, LONGEST_STEP) * self.rate)
    }
}

/// The two forces over the squared distance, as factors of the difference of the places.
struct Forces {
    draw: Table,
    push: Table,
}

impl Forces {
    fn new() -> Self {
        // Each edge is stored at both ends, and umap-learn moves both for either.
        let draw = |squared: f64| -4.0 * A * B * squared.powf(B - 1.0) / (1.0 + A * squared.powf(B));
        let push = |squared: f64| 2.0 * B / ((0.001 + squared) * (1.0 + A * squared.powf(B)));
        Self { draw: Table::new(draw), push: Table::new(push) }
    }
}

/// A function of positive numbers, tabulated at 32 points per power of 2 and linear between them: otherwise powers with
/// fractional exponents take nine tenths of the time. Constant below `2^-40` and above `2^40`.
struct Table {
    values: Vec<f32>,
}

impl Table {
    /// Bits of a number that are ignored in choosing the interval: 18 of 23 of the fraction.
    const REST: u32 = 18;
    /// Bits of `2^-40`.
    const FIRST: u32 = (127 - 40) << 23;
    /// Bits of `2^40`.
    const LAST: u32 = (127 + 40) << 23;

    fn new(of: impl Fn(f64) -> f64) -> Self {
        let point = |interval: u32| of(f64::from(f32::from_bits(interval << Self::REST))) as f32;
        Self { values: (Self::FIRST >> Self::REST..=(Self::LAST >> Self::REST) + 1).map(point).collect() }
    }

    fn at(&self, x: f32) -> f32 {
        let bits = x.to_bits().clamp(Self::FIRST, Self::LAST) - Self::FIRST;
        let at = (bits >> Self::REST) as usize;
        let between = (bits & ((1 << Self::REST) - 1)) as f32 / (1 << Self::REST) as f32;
        let (low, high) = (self.values[at], self.values[at + 1]);
        low + (high - low) * between
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn forces_are_those_of_the_formulas(exponent in -30.0..30f64) {
            let squared = 2f64.powf(exponent);
            let table = Forces::new();
            let power = squared.powf(B);
            let draw = -2.0 * A * B * power / squared / (1.0 + A * power) * 2.0;
            let push = 2.0 * B / (0.001 + squared) / (1.0 + A * power);
            let near = |found: f32, expected: f64| (f64::from(found) / expected - 1.0).abs() < 1e-3;
            prop_assert!(near(table.draw.at(squared as f32), draw));
            prop_assert!(near(table.push.at(squared as f32), push));
        }
    }

    #[test]
    fn forces_at_the_ends_are_finite() {
        let forces = Forces::new();
        for squared in [0.0, f32::MIN_POSITIVE, 1e-20, 1e20, f32::MAX] {
            assert!(forces.draw.at(squared).is_finite() && forces.push.at(squared).is_finite(), "{squared}");
        }
    }
}
