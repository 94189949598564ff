//! What can be said of embeddings without labels: how far a symmetry moves them, how close the two views of a pair
//! lie, how evenly all lie on the sphere.

use std::ops::Range;

use invar_cluster::{Rows, geometry};
use invar_dataset::{DatasetError, PairSource, Progress, View, ViewShape, ViewSource, drawn_symmetry, seed};
use invar_nn::Views;

use crate::{EmbedConfig, Error, Model, embed, feed};

/// Some samples' embeddings, as they are and after each symmetry of their source.
#[derive(Clone, Debug, PartialEq)]
pub struct Orbits {
    /// D.
    pub dim: usize,
    /// As they are, `[N, D]`.
    pub upright: Vec<f32>,
    /// Names of the symmetries ("reverse complement").
    pub symmetries: Vec<String>,
    /// After each symmetry, `[N, D]`.
    pub moved: Vec<Vec<f32>>,
}

/// How far the symmetries of a source move its embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct InvarianceReport {
    /// Number of samples looked at.
    pub num_samples: usize,
    /// One entry a symmetry.
    pub symmetries: Vec<SymmetryGap>,
    /// Mean cosine over samples and symmetries; 1 where there are none.
    pub cosine_mean: f64,
    /// First percentile of the cosines, between two of them by straight line; 1 where there are none.
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

/// Alignment and uniformity (Wang and Isola, *Understanding contrastive representation learning through alignment and
/// uniformity on the hypersphere*, 2020).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairQuality {
    /// Mean squared distance of the two views of a pair: 0 is best.
    pub alignment: f64,
    /// Log of the mean of `exp(-2 d^2)` over distinct samples; `-4` is about the best, 0 the worst.
    pub uniformity: f64,
}

/// Measures how far each symmetry of the source moves the embeddings of samples `indices`.
///
/// # Errors
/// As [`embed`].
pub fn invariance(
    model: &Model,
    source: &dyn ViewSource,
    indices: &[usize],
    config: &EmbedConfig,
    progress: &dyn Progress,
) -> Result<InvarianceReport, Error> {
    Ok(orbits(model, source, indices, config, progress)?.invariance())
}

/// Embeds samples `indices` as they are and after each symmetry of the source. Memory: `4 N D` bytes each.
///
/// # Errors
/// As [`embed`].
pub fn orbits(
    model: &Model,
    source: &dyn ViewSource,
    indices: &[usize],
    config: &EmbedConfig,
    progress: &dyn Progress,
) -> Result<Orbits, Error> {
    let of = |symmetry| embed_selected(model, &Selected { source, indices, symmetry }, config, progress);
    let symmetries = source.symmetries();
    let upright = of(None)?;
    let moved = (0..symmetries.len()).map(|symmetry| of(Some(symmetry))).collect::<Result<_, _>>()?;
    Ok(Orbits { dim: model.dim(), upright, symmetries, moved })
}

impl Orbits {
    /// Number of samples.
    pub fn num_samples(&self) -> usize {
        self.upright.len() / self.dim
    }

    /// How far each symmetry moves the embeddings.
    pub fn invariance(&self) -> InvarianceReport {
        let mut all = Vec::with_capacity(self.num_samples() * self.moved.len());
        let mut symmetries = vec![];
        for (name, moved) in self.symmetries.iter().zip(&self.moved) {
            let rows = self.upright.chunks_exact(self.dim).zip(moved.chunks_exact(self.dim));
            let gaps: Vec<f64> = rows.map(|(a, b)| cosine_gap(a, b)).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
            symmetries.push(SymmetryGap { name: name.clone(), mean, max: gaps.iter().copied().fold(0.0, f64::max) });
            all.extend(gaps);
        }
        let cosine_mean = 1.0 - all.iter().sum::<f64>() / all.len().max(1) as f64;
        let cosine_p1 = 1.0 - percentile(&mut all, 0.99);
        InvarianceReport { num_samples: self.num_samples(), symmetries, cosine_mean, cosine_p1 }
    }

    /// The samples after one random symmetry each, and after another one each: `[N, D]` twice. `None` without two
    /// symmetries.
    pub fn two_at_random(&self, seed: u64) -> Option<(Vec<f32>, Vec<f32>)> {
        let num = self.moved.len();
        if num < 2 {
            return None;
        }
        let draw = |row: usize| {
            let first = drawn_symmetry(seed, row, num);
            // Any of the others.
            (first, (first + 1 + drawn_symmetry(seed::mix(seed, 1), row, num - 1)) % num)
        };
        let row = |(symmetry, row): (usize, usize)| self.moved[symmetry][row * self.dim..][..self.dim].iter().copied();
        let pick = |of: &dyn Fn(usize) -> usize| (0..self.num_samples()).flat_map(|at| row((of(at), at))).collect();
        Some((pick(&|at| draw(at).0), pick(&|at| draw(at).1)))
    }

    /// The samples after one random symmetry each, `[N, D]`. `None` without a symmetry.
    pub fn one_at_random(&self, seed: u64) -> Option<Vec<f32>> {
        if self.moved.is_empty() {
            return None;
        }
        let rows = (0..self.num_samples()).flat_map(|row| {
            let symmetry = drawn_symmetry(seed, row, self.moved.len());
            self.moved[symmetry][row * self.dim..][..self.dim].iter().copied()
        });
        Some(rows.collect())
    }
}

/// The value below which `share` of the values lie, by straight line between neighbours (numpy's `percentile`); 0
/// where there are none.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = share * values.len().saturating_sub(1) as f64;
    let at = |index: usize| values.get(index).copied();
    let below = at(position as usize).unwrap_or(0.0);
    let above = at(position as usize + 1).unwrap_or(below);
    below + (above - below) * position.fract()
}

/// Alignment and uniformity over pairs of samples `indices`, drawn under `seed`.
///
/// # Errors
/// When a pair cannot be drawn, does not have two views, or its views are not those of the model.
pub fn pair_quality(
    model: &Model,
    source: &dyn PairSource,
    indices: &[usize],
    seed: u64,
) -> Result<PairQuality, Error> {
    /// Pairs drawn at a time.
    const CHUNK: usize = 256;
    let (mut first, mut second) = (vec![], vec![]);
    for chunk in indices.chunks(CHUNK) {
        let Views { stacked, .. } = feed::draw(source, chunk, seed)?;
        let rows = model.encode(&stacked)?;
        let size = chunk.len() * model.dim();
        first.extend_from_slice(&rows[..size]);
        second.extend_from_slice(&rows[rows.len() - size..]);
    }
    of_pairs(&first, &second, model.dim())
}

/// Alignment of the rows of `first` with those of `second`, and uniformity of `first`: `[N, D]`, row-major, unit
/// length. Without two rows the uniformity is 0. Above [`geometry::UNIFORMITY_MAX_ROWS`] it is that of a random sample
/// of so many rows, always the same.
///
/// # Errors
/// When the lists are not of the same shape, or a value is not finite.
pub fn of_pairs(first: &[f32], second: &[f32], dim: usize) -> Result<PairQuality, Error> {
    const SAMPLE_SEED: u64 = 0;
    let (first, second) = (Rows::new(first, dim)?, Rows::new(second, dim)?);
    let alignment = geometry::alignment(first, second)?;
    Ok(PairQuality { alignment, uniformity: geometry::uniformity(first, SAMPLE_SEED).unwrap_or(0.0) })
}

/// `1 - cos` of two vectors, as half the squared distance of their directions: exact also where it is tiny.
pub fn cosine_gap(a: &[f32], b: &[f32]) -> f64 {
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let (norm_a, norm_b) = (norm(a), norm(b));
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) / norm_a - f64::from(y) / norm_b).powi(2)).sum::<f64>() / 2.0
}

/// Some samples of a source, as they are or moved by a symmetry.
struct Selected<'a> {
    source: &'a dyn ViewSource,
    indices: &'a [usize],
    symmetry: Option<usize>,
}

impl ViewSource for Selected<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.source.view_shape()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        match self.symmetry {
            None => self.source.views(self.indices[index]),
            Some(symmetry) => self.source.transformed(self.indices[index], symmetry),
        }
    }

    fn symmetries(&self) -> Vec<String> {
        vec![]
    }

    fn transformed(&self, index: usize, _: usize) -> Result<Vec<View>, DatasetError> {
        self.views(index)
    }
}

fn embed_selected(
    model: &Model,
    selected: &Selected,
    config: &EmbedConfig,
    progress: &dyn Progress,
) -> Result<Vec<f32>, Error> {
    let mut all = Vec::with_capacity(selected.indices.len() * model.dim());
    let mut keep = |_: Range<usize>, rows: &[f32]| {
        all.extend_from_slice(rows);
        Ok(())
    };
    embed(model, selected, 0..selected.indices.len(), config, &mut keep, progress)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        // Two orthogonal unit vectors: squared distance 2, so uniformity ln exp(-4) = -4.
        let (q, k) = ([1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]);
        let quality = of_pairs(&q, &k, 2).unwrap();
        assert!((quality.alignment - 1.0).abs() < 1e-12 && (quality.uniformity + 4.0).abs() < 1e-12);
        let nothing = PairQuality { alignment: 0.0, uniformity: 0.0 };
        assert_eq!(of_pairs(&q[..2], &q[..2], 2).unwrap(), nothing);
        assert_eq!(of_pairs(&[], &[], 2).unwrap(), nothing);
        assert!(of_pairs(&q, &k[..2], 2).is_err() && of_pairs(&[f32::NAN; 2], &[0.0; 2], 2).is_err());
    }

    #[test]
    fn the_gap_is_one_minus_the_cosine() {
        assert_eq!(cosine_gap(&[2.0, 0.0], &[5.0, 0.0]), 0.0);
        assert!((cosine_gap(&[1.0, 0.0], &[0.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!((cosine_gap(&[1.0, 0.0], &[-1.0, 0.0]) - 2.0).abs() < 1e-12);
        // An angle of 1e-5: 1 - cos = 5e-11, far below the resolution of f32 cosines.
        assert!((cosine_gap(&[1.0, 0.0], &[1.0, 1e-5]) / 5e-11 - 1.0).abs() < 1e-5);
    }

    /// Two samples in the plane, turned by 0.1 and 0.2 radians, and by a right angle.
    fn turned() -> Orbits {
        let at = |angle: f32| [angle.cos(), angle.sin()];
        let right = std::f32::consts::FRAC_PI_2;
        Orbits {
            dim: 2,
            upright: [at(0.0), at(1.0)].concat(),
            symmetries: vec!["a little".into(), "a right angle".into()],
            moved: vec![[at(0.1), at(1.2)].concat(), [at(right), at(1.0 + right)].concat()],
        }
    }

    #[test]
    fn cosines_over_all_symmetries() {
        let report = turned().invariance();
        // c = numpy.cos([0.1, 0.2, pi / 2, pi / 2]); c.mean(), numpy.percentile(c, 1)
        assert!((report.cosine_mean - 0.4937676857798169).abs() < 1e-6, "{report:?}");
        assert!((report.cosine_p1 - 0.0).abs() < 1e-6, "{report:?}");
        assert!((report.symmetries[0].max - (1.0 - 0.2f64.cos())).abs() < 1e-6, "{report:?}");
        let none = Orbits { symmetries: vec![], moved: vec![], ..turned() };
        assert_eq!((none.invariance().cosine_mean, none.invariance().cosine_p1), (1.0, 1.0));
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
        let moved = (0..num).map(|symmetry| vec![symmetry as f32; 200]).collect();
        let names = vec![String::new(); num];
        let orbits = Orbits { dim: 1, upright: vec![-1.0; 200], symmetries: names, moved };
        let (first, second) = orbits.two_at_random(5).unwrap();
        assert!(first.iter().zip(&second).all(|(a, b)| a != b));
        assert_eq!(Some(&first), orbits.one_at_random(5).as_ref());
        for drawn in [first, second] {
            // Each symmetry about 200 / 7 = 29 times; standard deviation 4.9.
            assert!((0..num).all(|s| drawn.iter().filter(|&&d| d == s as f32).count() > 8));
        }
    }
}
