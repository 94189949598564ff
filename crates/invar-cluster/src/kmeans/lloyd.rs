//! Lloyd's iteration with Hamerly's bounds (Hamerly 2010, "Making k-means even faster").
//!
//! Each row keeps an upper bound of the distance to its own centre and a lower bound of the distance to every other.
//! When the centres move, the bounds move with them; only rows whose bounds cross are compared again. All bounds are
//! widened by the rounding error of single precision.

use invar_dataset::Progress;
use rayon::prelude::*;

use super::{
    CHUNK, Prepared,
    nearest::{Centers, Scratch},
};
use crate::{ClusterError, rows};

/// The result of one start.
#[derive(Debug)]
pub(super) struct Run {
    /// `[k, D]`.
    pub centers: Vec<f32>,
    pub inertia: f64,
    pub iterations: usize,
    pub converged: bool,
}

/// Runs from `centers` `[k, D]` until nothing changes, or the total squared movement of the centres is at most
/// `tolerance`, or `max_iterations` are done.
pub(super) fn run(
    data: &Prepared<'_>,
    centers: Vec<f32>,
    max_iterations: usize,
    tolerance: f64,
    progress: &dyn Progress,
) -> Result<Run, ClusterError> {
    let mut state = State::new(data, centers);
    let (mut iterations, mut converged) = (0, false);
    while iterations < max_iterations && !converged {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        iterations += 1;
        let moves = state.assign();
        let reseeded = state.update(&moves);
        converged = !reseeded && (moves.is_empty() || state.squared_movement() <= tolerance);
    }
    state.assign();
    let inertia = state.inertia();
    Ok(Run { centers: state.centers, inertia, iterations, converged })
}

/// No centre yet.
const NONE: u32 = u32::MAX;

/// The bounds of a row.
#[derive(Clone, Copy)]
struct Bounds {
    label: u32,
    /// An upper bound of the distance to its own centre.
    upper: f32,
    /// A lower bound of the distance to any other.
    lower: f32,
}

/// A row that changes its centre.
#[derive(Clone, Copy)]
struct Move {
    row: u32,
    from: u32,
    to: u32,
}

struct State<'a> {
    data: &'a Prepared<'a>,
    centers: Vec<f32>,
    bounds: Vec<Bounds>,
    /// Sum of the members of each centre, `[k, D]`.
    sums: Vec<f64>,
    counts: Vec<u64>,
    /// How far each centre moved in the last update.
    movement: Vec<f32>,
}

impl<'a> State<'a> {
    fn new(data: &'a Prepared<'a>, centers: Vec<f32>) -> Self {
        let k = centers.len() / data.dim;
        Self {
            data,
            bounds: vec![Bounds { label: NONE, upper: f32::INFINITY, lower: 0.0 }; data.len()],
            sums: vec![0.0; centers.len()],
            counts: vec![0; k],
            movement: vec![0.0; k],
            centers,
        }
    }

    fn center(&self, label: u32) -> &[f32] {
        &self.centers[label as usize * self.data.dim..][..self.data.dim]
    }

    /// Assigns every row to its nearest centre; returns the changes, in row order.
    fn assign(&mut self) -> Vec<Move> {
        let centers = Centers::new(&self.centers, self.data.dim);
        let half_gaps = half_gaps(&self.centers, self.data.dim);
        let shift = Shift::new(&self.movement);
        let max_norm = centers.max_squared_norm();
        let data = self.data;
        let chunks: Vec<Vec<Move>> = self
            .bounds
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(chunk, bounds)| {
                let first = chunk * CHUNK;
                let mut active = Vec::new();
                for (offset, bounds) in bounds.iter_mut().enumerate() {
                    let exact = |label: u32| {
                        let center = &self.centers[label as usize * data.dim..][..data.dim];
                        rows::squared_distance(data.row(first + offset), center).sqrt()
                    };
                    if shift.crosses(bounds, &half_gaps, exact) {
                        active.push((first + offset) as u32);
                    }
                }
                let mut moves = Vec::new();
                centers.nearest(data, &active, &mut Scratch::default(), |row, two| {
                    let bounds = &mut bounds[row as usize - first];
                    // Rounding error of |x|^2 - 2 x.c + |c|^2.
                    let error = 2e-6 * (data.squared_norms[row as usize] + max_norm);
                    if two.first != bounds.label {
                        moves.push(Move { row, from: bounds.label, to: two.first });
                    }
                    *bounds = Bounds {
                        label: two.first,
                        upper: (two.first_squared + error).sqrt() * (1.0 + 1e-6),
                        lower: (two.second_squared - error).max(0.0).sqrt(),
                    };
                });
                moves
            })
            .collect();
        self.movement.fill(0.0);
        chunks.concat()
    }

    /// Moves the centres to the means of their members. Returns whether an empty one had to be reseeded.
    fn update(&mut self, moves: &[Move]) -> bool {
        self.move_members(moves);
        let reseeded = self.reseed_empty();
        let dim = self.data.dim;
        let spherical = self.data.spherical;
        let (sums, counts) = (&self.sums, &self.counts);
        self.movement = self
            .centers
            .par_chunks_mut(dim)
            .enumerate()
            .map(|(label, center)| {
                if counts[label] == 0 {
                    return 0.0;
                }
                let mut new: Vec<f32> =
                    sums[label * dim..][..dim].iter().map(|sum| (sum / counts[label] as f64) as f32).collect();
                if spherical {
                    rows::normalize(&mut new);
                }
                let moved = rows::squared_distance(center, &new).sqrt();
                center.copy_from_slice(&new);
                moved
            })
            .collect();
        reseeded
    }

    /// Adds and subtracts the rows that changed centres, centre by centre in row order.
    fn move_members(&mut self, moves: &[Move]) {
        let k = self.counts.len();
        let (mut gained, mut lost) = (vec![Vec::new(); k], vec![Vec::new(); k]);
        for change in moves {
            gained[change.to as usize].push(change.row);
            if change.from != NONE {
                lost[change.from as usize].push(change.row);
            }
        }
        let data = self.data;
        self.sums.par_chunks_mut(data.dim).zip(&mut self.counts).zip(gained.par_iter().zip(&lost)).for_each(
            |((sum, count), (gained, lost))| {
                for &row in gained {
                    sum.iter_mut().zip(data.row(row as usize)).for_each(|(sum, &x)| *sum += f64::from(x));
                }
                for &row in lost {
                    sum.iter_mut().zip(data.row(row as usize)).for_each(|(sum, &x)| *sum -= f64::from(x));
                }
                *count = *count + gained.len() as u64 - lost.len() as u64;
            },
        );
    }

    /// Gives each centre without members the row that is farthest from its own centre, the first of equally far rows.
    /// If every row lies on its centre, the centre stays empty.
    fn reseed_empty(&mut self) -> bool {
        let empty: Vec<u32> = (0..self.counts.len() as u32).filter(|&label| self.counts[label as usize] == 0).collect();
        if empty.is_empty() {
            return false;
        }
        let mut squared = self.squared_distances();
        let mut reseeded = false;
        for label in empty {
            let takeable = |row: usize| self.counts[self.bounds[row].label as usize] > 1;
            let farthest = squared.iter().enumerate().filter(|&(row, &d)| d > 0.0 && takeable(row));
            let farthest = farthest.fold(None, |best: Option<(usize, f32)>, (row, &d)| match best {
                Some((_, most)) if most >= d => best,
                _ => Some((row, d)),
            });
            let Some((row, _)) = farthest else { break };
            squared[row] = 0.0;
            let from = self.bounds[row].label;
            self.move_members(&[Move { row: row as u32, from, to: label }]);
            self.bounds[row] = Bounds { label, upper: f32::INFINITY, lower: 0.0 };
            reseeded = true;
        }
        reseeded
    }

    /// Squared distance of each row to its centre.
    fn squared_distances(&self) -> Vec<f32> {
        self.bounds
            .par_iter()
            .enumerate()
            .map(|(row, bounds)| rows::squared_distance(self.data.row(row), self.center(bounds.label)))
            .collect()
    }

    fn inertia(&self) -> f64 {
        let squared = self.squared_distances();
        let chunks: Vec<f64> = squared.par_chunks(CHUNK).map(|c| c.iter().map(|&d| f64::from(d)).sum()).collect();
        chunks.iter().sum()
    }

    fn squared_movement(&self) -> f64 {
        self.movement.iter().map(|&m| f64::from(m) * f64::from(m)).sum()
    }
}

/// Half the distance of each centre to the nearest other: a row closer than that to its own centre has no nearer one.
fn half_gaps(centers: &[f32], dim: usize) -> Vec<f32> {
    let half_gap = |(label, center): (usize, &[f32])| {
        let others = centers.chunks(dim).enumerate().filter(|&(other, _)| other != label);
        let nearest = others.map(|(_, other)| rows::squared_distance(center, other)).fold(f32::INFINITY, f32::min);
        0.5 * nearest.sqrt() * (1.0 - 1e-6)
    };
    centers.par_chunks(dim).enumerate().map(half_gap).collect()
}

/// How the last update moved the centres.
struct Shift<'a> {
    movement: &'a [f32],
    /// The centre that moved farthest, how far, and how far any other moved.
    farthest: u32,
    most: f32,
    second: f32,
}

impl<'a> Shift<'a> {
    fn new(movement: &'a [f32]) -> Self {
        let mut shift = Self { movement, farthest: 0, most: 0.0, second: 0.0 };
        for (label, &moved) in movement.iter().enumerate() {
            if moved > shift.most {
                shift.second = shift.most;
                (shift.farthest, shift.most) = (label as u32, moved);
            } else {
                shift.second = shift.second.max(moved);
            }
        }
        shift
    }

    /// Moves the bounds of a row, and returns whether they then leave its centre in doubt. `exact` measures the
    /// distance to its own centre.
    fn crosses(&self, bounds: &mut Bounds, half_gaps: &[f32], exact: impl Fn(u32) -> f32) -> bool {
        if bounds.label == NONE {
            return true;
        }
        let others = if bounds.label == self.farthest { self.second } else { self.most };
        bounds.upper = (bounds.upper + self.movement[bounds.label as usize]) * (1.0 + f32::EPSILON);
        bounds.lower = (bounds.lower - others) * (1.0 - f32::EPSILON) - f32::EPSILON * others;
        let safe = bounds.lower.max(half_gaps[bounds.label as usize]);
        if bounds.upper <= safe {
            return false;
        }
        bounds.upper = exact(bounds.label) * (1.0 + 1e-6);
        bounds.upper > safe
    }
}
