//! How far the symmetries of a source move the embeddings of its samples.

use invar_dataset::{Progress, ViewSource, drawn_symmetry, seed};

use crate::{
    EmbedConfig, Error, Model,
    embed::{Made, embed_all},
    quality::cosine_gap,
};

/// Which symmetries of its source a sample is transformed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Each of them.
    All,
    /// Two of them, drawn for each sample, or the only one.
    Two {
        /// Determines the draw.
        seed: u64,
    },
}

impl Moves {
    /// The maximum number of symmetries that [`Moves::Two`] draws.
    pub const TWO: usize = 2;

    /// For each round, the symmetry applied to each of `num_samples` samples.
    fn rounds(self, num_samples: usize, num_symmetries: usize) -> Vec<Vec<usize>> {
        match self {
            Self::Two { seed } if num_symmetries > Self::TWO => {
                let draw = |row| two_symmetries(seed, row, num_symmetries);
                [0, 1].map(|round| (0..num_samples).map(|row| draw(row)[round]).collect()).into()
            }
            Self::All | Self::Two { .. } => (0..num_symmetries).map(|symmetry| vec![symmetry; num_samples]).collect(),
        }
    }
}

/// Two different symmetries for the sample in `row`; there must be at least two.
fn two_symmetries(seed: u64, row: usize, num_symmetries: usize) -> [usize; 2] {
    let first = drawn_symmetry(seed, row, num_symmetries);
    // Any of the others.
    let further = 1 + drawn_symmetry(seed::mix(seed, 1), row, num_symmetries - 1);
    [first, (first + further) % num_symmetries]
}

/// Embeddings of some samples, untransformed and after symmetries of their source.
#[derive(Clone, Debug, PartialEq)]
pub struct Orbits {
    /// D.
    pub dim: usize,
    /// Untransformed, `[N, D]`.
    pub upright: Vec<f32>,
    /// Names of the symmetries ("reverse complement").
    pub symmetries: Vec<String>,
    /// Per round, all samples after one symmetry each.
    pub moved: Vec<Round>,
}

/// Samples after one symmetry each.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Index of each sample's symmetry.
    pub symmetries: Vec<usize>,
    /// `[N, D]`.
    pub rows: Vec<f32>,
}

/// How far the symmetries of a source move its embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct InvarianceReport {
    /// Number of samples measured.
    pub num_samples: usize,
    /// One entry per symmetry that was applied to a sample.
    pub symmetries: Vec<SymmetryGap>,
    /// Mean of `1 - cos` over samples and symmetries; 0 where there are none.
    pub gap_mean: f64,
    /// Largest of these gaps.
    pub gap_max: f64,
    /// First percentile of the cosines, linearly interpolated; 1 if there are none.
    pub cosine_p1: f64,
}

/// `1 - cos` between the embeddings of a sample and of the transformed sample.
#[derive(Clone, Debug, PartialEq)]
pub struct SymmetryGap {
    /// "reverse complement".
    pub name: String,
    /// Mean over the samples.
    pub mean: f64,
    /// Largest of the samples.
    pub max: f64,
}

/// Embeds samples `indices` untransformed and after symmetries of the source. Memory: `4 N D` bytes for each.
///
/// Progress is reported in embedded samples, where a transformed sample counts as another one.
///
/// # Errors
/// As [`embed`](crate::embed()).
pub fn orbits(
    model: &Model,
    source: &dyn ViewSource,
    indices: &[usize],
    moves: Moves,
    config: &EmbedConfig,
    progress: &dyn Progress,
) -> Result<Orbits, Error> {
    let symmetries = source.symmetries();
    let rounds = moves.rounds(indices.len(), symmetries.len());
    let upright = indices.iter().map(|&index| (index, None));
    let moved =
        rounds.iter().flat_map(|round| indices.iter().zip(round).map(|(&index, &symmetry)| (index, Some(symmetry))));
    let items: Vec<(usize, Option<usize>)> = upright.chain(moved).collect();
    let views = |item: usize| match items[item] {
        (sample, None) => source.views(sample),
        (sample, Some(symmetry)) => source.transformed(sample, symmetry),
    };
    let selected = Made { len: items.len(), shape: source.view_shape(), views };
    let mut rows = embed_all(model, &selected, config, progress)?;
    let mut rest = rows.split_off(indices.len() * model.dim());
    let moved = rounds.into_iter().map(|symmetries| {
        let others = rest.split_off(indices.len() * model.dim());
        Round { symmetries, rows: std::mem::replace(&mut rest, others) }
    });
    let moved = moved.collect();
    Ok(Orbits { dim: model.dim(), upright: rows, symmetries, moved })
}

impl Orbits {
    /// Number of samples.
    pub fn num_samples(&self) -> usize {
        self.upright.len() / self.dim
    }

    /// How far the symmetries move the embeddings.
    pub fn invariance(&self) -> InvarianceReport {
        let mut by_symmetry = vec![vec![]; self.symmetries.len()];
        for Round { symmetries, rows } in &self.moved {
            let pairs = self.upright.chunks_exact(self.dim).zip(rows.chunks_exact(self.dim));
            for (&symmetry, (a, b)) in symmetries.iter().zip(pairs) {
                by_symmetry[symmetry].push(cosine_gap(a, b));
            }
        }
        let mean = |gaps: &[f64]| gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
        let max = |gaps: &[f64]| gaps.iter().copied().fold(0.0, f64::max);
        let gap =
            |(name, gaps): (&String, &Vec<f64>)| SymmetryGap { name: name.clone(), mean: mean(gaps), max: max(gaps) };
        let named = self.symmetries.iter().zip(&by_symmetry).filter(|(_, gaps)| !gaps.is_empty());
        let symmetries = named.map(gap).collect();
        let mut all = by_symmetry.concat();
        let (gap_mean, gap_max) = (mean(&all), max(&all));
        let cosine_p1 = 1.0 - percentile(&mut all, 0.99);
        InvarianceReport { num_samples: self.num_samples(), symmetries, gap_mean, gap_max, cosine_p1 }
    }

    /// The samples after one random symmetry each, and after another one each: `[N, D]` twice. `None` with fewer than
    /// two symmetries. For [`Moves::Two`] these are the two that were drawn, in order.
    pub fn two_at_random(&self, seed: u64) -> Option<(Vec<f32>, Vec<f32>)> {
        if self.moved.len() < 2 {
            return None;
        }
        let draw = |row| if self.is_drawn() { [0, 1] } else { two_symmetries(seed, row, self.moved.len()) };
        let [first, second] = [0, 1].map(|which| self.pick(|row| draw(row)[which]));
        Some((first, second))
    }

    /// The samples after one random symmetry each, `[N, D]`: the first result of [`Orbits::two_at_random`]. `None`
    /// without a symmetry.
    pub fn one_at_random(&self, seed: u64) -> Option<Vec<f32>> {
        if self.moved.is_empty() {
            return None;
        }
        let num = self.moved.len();
        Some(self.pick(|row| if self.is_drawn() { 0 } else { drawn_symmetry(seed, row, num) }))
    }

    /// Whether each sample was transformed by some symmetries only.
    fn is_drawn(&self) -> bool {
        self.moved.len() < self.symmetries.len()
    }

    /// Each sample as it is in one of the rounds.
    fn pick(&self, round: impl Fn(usize) -> usize) -> Vec<f32> {
        let row = |row: usize| self.moved[round(row)].rows[row * self.dim..][..self.dim].iter().copied();
        (0..self.num_samples()).flat_map(row).collect()
    }
}

/// The value below which a fraction `share` of the values lies, linearly interpolated (numpy's `percentile`); 0 if
/// there are none.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = share * values.len().saturating_sub(1) as f64;
    let at = |index: usize| values.get(index).copied();
    let below = at(position as usize).unwrap_or(0.0);
    let above = at(position as usize + 1).unwrap_or(below);
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two samples in the plane, turned by 0.1 and 0.2 radians, and by a right angle.
    fn turned() -> Orbits {
        let at = |angle: f32| [angle.cos(), angle.sin()];
        let right = std::f32::consts::FRAC_PI_2;
        Orbits {
            dim: 2,
            upright: [at(0.0), at(1.0)].concat(),
            symmetries: vec!["a little".into(), "a right angle".into()],
            moved: vec![
                Round { symmetries: vec![0; 2], rows: [at(0.1), at(1.2)].concat() },
                Round { symmetries: vec![1; 2], rows: [at(right), at(1.0 + right)].concat() },
            ],
        }
    }

    #[test]
    fn cosines_over_all_symmetries() {
        let report = turned().invariance();
        // c = numpy.cos([0.1, 0.2, pi / 2, pi / 2]); c.mean(), numpy.percentile(c, 1)
        assert!((1.0 - report.gap_mean - 0.4937676857798169).abs() < 1e-6, "{report:?}");
        assert!((report.gap_max - 1.0).abs() < 1e-6, "{report:?}");
        assert!((report.cosine_p1 - 0.0).abs() < 1e-6, "{report:?}");
        assert!((report.symmetries[0].max - (1.0 - 0.2f64.cos())).abs() < 1e-6, "{report:?}");
        let none = Orbits { symmetries: vec![], moved: vec![], ..turned() };
        assert_eq!((none.invariance().gap_mean, none.invariance().cosine_p1), (0.0, 1.0));
        assert_eq!((none.one_at_random(1), none.two_at_random(1)), (None, None));
    }

    #[test]
    fn percentiles_as_numpy() {
        // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], 99) == 8.79
        assert!((percentile(&mut [3., 1., 4., 1., 5., 9., 2., 6.], 0.99) - 8.79).abs() < 1e-12);
        assert_eq!((percentile(&mut [], 0.99), percentile(&mut [7.0], 0.99)), (0.0, 7.0));
    }

    #[test]
    fn two_symmetries_at_random_are_never_the_same() {
        let num = 7;
        let round = |symmetries: Vec<usize>| Round {
            rows: symmetries.iter().map(|&symmetry| symmetry as f32).collect(),
            symmetries,
        };
        let of = |moves: Moves| Orbits {
            dim: 1,
            upright: vec![-1.0; 200],
            symmetries: vec![String::new(); num],
            moved: moves.rounds(200, num).into_iter().map(round).collect(),
        };
        let orbits = of(Moves::All);
        assert_eq!(orbits.moved.len(), num);
        let (first, second) = orbits.two_at_random(5).unwrap();
        assert!(first.iter().zip(&second).all(|(a, b)| a != b));
        assert_eq!(Some(&first), orbits.one_at_random(5).as_ref());
        // The same two if only those were drawn.
        let drawn = of(Moves::Two { seed: 5 });
        assert_eq!((drawn.moved.len(), drawn.two_at_random(5)), (2, orbits.two_at_random(5)));
        assert_eq!(drawn.one_at_random(5), orbits.one_at_random(5));
        assert_eq!(Moves::Two { seed: 5 }.rounds(3, 1), [[0; 3]]);
        assert_eq!(Moves::Two { seed: 5 }.rounds(3, 2), [[0; 3], [1; 3]]);
        assert!(Moves::Two { seed: 5 }.rounds(3, 0).is_empty());
        for drawn in [first, second] {
            // Each symmetry occurs about 200 / 7 = 29 times; standard deviation 4.9.
            assert!((0..num).all(|s| drawn.iter().filter(|&&d| d == s as f32).count() > 8));
        }
    }
}
