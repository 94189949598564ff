//! Quality of embeddings without labels: how close the two views of a pair lie, how evenly all lie on the sphere.

use invar_cluster::{Rows, geometry};
use invar_dataset::{DatasetError, PairSource, Progress};

use crate::{
    EmbedConfig, Error, Model,
    embed::{Made, embed_all},
};

/// Alignment and uniformity (Wang and Isola, *Understanding contrastive representation learning through alignment and
/// uniformity on the hypersphere*, 2020).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairQuality {
    /// Mean squared distance between the two views of a pair: 0 is best.
    pub alignment: f64,
    /// Log of the mean of `exp(-2 d^2)` over distinct samples; `-4` is about the best, 0 the worst.
    pub uniformity: f64,
}

/// Alignment and uniformity over pairs of samples `indices`, drawn under `seed`.
///
/// Progress is reported in views.
///
/// # Errors
/// As [`embed`](crate::embed()), also if the views are of two kinds or a pair does not have two views.
pub fn pair_quality(
    model: &Model,
    source: &dyn PairSource,
    indices: &[usize],
    seed: u64,
    config: &EmbedConfig,
    progress: &dyn Progress,
) -> Result<PairQuality, Error> {
    // The first views of the pairs, then their last ones.
    let views = |index: usize| {
        let (side, at) = (index / indices.len(), index % indices.len());
        let mut views = source.pair(indices[at], seed)?.views;
        if views.len() < 2 {
            let reason = format!("{} views, a pair has 2", views.len());
            return Err(DatasetError::Sample { id: source.sample_name(indices[at])?.id, reason });
        }
        Ok(vec![views.swap_remove(if side == 0 { 0 } else { views.len() - 1 }).1])
    };
    let sides = Made { len: 2 * indices.len(), shape: model.view_shape(), views };
    let rows = embed_all(model, &sides, config, progress)?;
    let (first, second) = rows.split_at(indices.len() * model.dim());
    of_pairs(first, second, model.dim())
}

/// Alignment of the rows of `first` with those of `second`, and uniformity of `first`: `[N, D]`, row-major, unit
/// length. With fewer than two rows the uniformity is 0. With more than [`geometry::UNIFORMITY_MAX_ROWS`], it is that
/// of a random sample of this many rows, always the same one.
///
/// # Errors
/// If the lists differ in shape, or a value is not finite.
pub fn of_pairs(first: &[f32], second: &[f32], dim: usize) -> Result<PairQuality, Error> {
    const SAMPLE_SEED: u64 = 0;
    let (first, second) = (Rows::new(first, dim)?, Rows::new(second, dim)?);
    let alignment = geometry::alignment(first, second)?;
    Ok(PairQuality { alignment, uniformity: geometry::uniformity(first, SAMPLE_SEED).unwrap_or(0.0) })
}

/// `1 - cos` of two vectors, computed as half the squared distance of their directions: exact even if it is tiny.
pub fn cosine_gap(a: &[f32], b: &[f32]) -> f64 {
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let (norm_a, norm_b) = (norm(a), norm(b));
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) / norm_a - f64::from(y) / norm_b).powi(2)).sum::<f64>() / 2.0
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
}
