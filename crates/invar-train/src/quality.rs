//! What can be said of embeddings without labels: how far a symmetry moves them, how close the two views of a pair
//! lie, how evenly all lie on the sphere. Distances are taken in double precision.

use std::ops::Range;

use invar_dataset::{DatasetError, PairSource, Progress, View, ViewShape, ViewSource};
use invar_nn::Views;

use crate::{EmbedConfig, Error, Model, embed, feed};

/// How far the symmetries of a source move its embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct InvarianceReport {
    /// Number of samples looked at.
    pub num_samples: usize,
    /// One entry a symmetry.
    pub symmetries: Vec<SymmetryGap>,
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
    let plain = embed_selected(model, &Selected { source, indices, symmetry: None }, config, progress)?;
    let mut symmetries = vec![];
    for (number, name) in source.symmetries().into_iter().enumerate() {
        let selected = Selected { source, indices, symmetry: Some(number) };
        let moved = embed_selected(model, &selected, config, progress)?;
        let rows = plain.chunks_exact(model.dim()).zip(moved.chunks_exact(model.dim()));
        let gaps: Vec<f64> = rows.map(|(a, b)| cosine_gap(a, b)).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
        symmetries.push(SymmetryGap { name, mean, max: gaps.iter().copied().fold(0.0, f64::max) });
    }
    Ok(InvarianceReport { num_samples: indices.len(), symmetries })
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
    Ok(of_pairs(&first, &second, model.dim()))
}

/// Alignment of the rows of `first` with those of `second`, and uniformity of `first`: `[N, D]`, row-major, unit
/// length. Without two rows the uniformity is 0.
pub fn of_pairs(first: &[f32], second: &[f32], dim: usize) -> PairQuality {
    let rows: Vec<&[f32]> = first.chunks_exact(dim).collect();
    let squares = rows.iter().zip(second.chunks_exact(dim)).map(|(a, b)| squared_distance(a, b));
    let alignment = squares.sum::<f64>() / rows.len().max(1) as f64;
    let mut sum = 0.0;
    for (i, a) in rows.iter().enumerate() {
        sum += rows[..i].iter().map(|b| (-2.0 * squared_distance(a, b)).exp()).sum::<f64>();
    }
    let num_distinct = rows.len() * rows.len().saturating_sub(1) / 2;
    let uniformity = if num_distinct == 0 { 0.0 } else { (sum / num_distinct as f64).ln() };
    PairQuality { alignment, uniformity }
}

/// `1 - cos` of two vectors, as half the squared distance of their directions: exact also where it is tiny.
pub fn cosine_gap(a: &[f32], b: &[f32]) -> f64 {
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let (norm_a, norm_b) = (norm(a), norm(b));
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) / norm_a - f64::from(y) / norm_b).powi(2)).sum::<f64>() / 2.0
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
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
        let quality = of_pairs(&q, &k, 2);
        assert!((quality.alignment - 1.0).abs() < 1e-12 && (quality.uniformity + 4.0).abs() < 1e-12);
        assert_eq!(of_pairs(&q[..2], &q[..2], 2), PairQuality { alignment: 0.0, uniformity: 0.0 });
        assert_eq!(of_pairs(&[], &[], 2), PairQuality { alignment: 0.0, uniformity: 0.0 });
    }

    #[test]
    fn the_gap_is_one_minus_the_cosine() {
        assert_eq!(cosine_gap(&[2.0, 0.0], &[5.0, 0.0]), 0.0);
        assert!((cosine_gap(&[1.0, 0.0], &[0.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!((cosine_gap(&[1.0, 0.0], &[-1.0, 0.0]) - 2.0).abs() < 1e-12);
        // An angle of 1e-5: 1 - cos = 5e-11, far below the resolution of f32 cosines.
        assert!((cosine_gap(&[1.0, 0.0], &[1.0, 1e-5]) / 5e-11 - 1.0).abs() < 1e-5);
    }
}
