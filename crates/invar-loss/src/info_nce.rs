//! Symmetric InfoNCE: van den Oord, Li and Vinyals, *Representation learning with contrastive predictive coding*
//! (2018), in the two-directional form of CLIP (Radford et al. 2021).
//!
//! With unit vectors `q_i`, `k_i` of the two views of pair `i`, and `s = 1 / temperature`:
//!
//! ```text
//! l_ij = s q_i . k_j                                                              [B, B]
//! L    = 1/2 mean_i [ logsumexp_j l_ij - l_ii ] + 1/2 mean_j [ logsumexp_i l_ij - l_jj ]
//! ```
//!
//! With a margin, a positive's logit is `s (q_i . k_i - margin)`. A sample is never a negative of itself, nor of a
//! sample that it is paired with: such `l_ij` are left out of the sums. So are those of two pairs of one group; in the
//! others `e^l_ij` is multiplied by the weight of pair `j` in the sum over `j`, and by that of pair `i` in the sum over
//! `i`. The accuracy is how often a positive is nearer than every negative, averaged over both directions.
//!
//! Memory is `O(B)`: value and gradients are computed in tiles of rows, exactly, see `info_nce/tiles.rs`.
//!
//! An encoder for which all samples look alike has `L = ln B`, so `loss / ln B` near 1 means that nothing has been
//! learned yet. With groups, `B` is the number of groups plus that of pairs without one.

use std::sync::Arc;

use invar_nn::Relations;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    groups::{Groups, chance},
    pairs::{check_margin, check_two, over_chance},
};
use tiles::{Rows, Share, Sums};

#[cfg(test)]
mod tests;
mod tiles;

/// Its name in a recipe.
pub const NAME: &str = "info-nce";

/// Settings of [`InfoNce`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoNceConfig {
    /// Divides the cosines; if it is learned, its initial value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.info_nce.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, with ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// Subtracted from the cosine of a positive, in `[0, 2]`: an additive margin (Yang et al., *Improving multilingual
    /// sentence embedding using bi-directional dual encoder with additive margin softmax*, 2019; LaBSE uses 0.3).
    pub margin: f64,
}

impl Default for InfoNceConfig {
    fn default() -> Self {
        Self { temperature: 0.1, learn_temperature: false, projection: Vec::new(), margin: 0.0 }
    }
}

impl InfoNceConfig {
    /// Builds the loss over embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// If the temperature, a width or the margin is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<InfoNce, Error> {
        let Self { temperature, learn_temperature, projection, margin } = self;
        check_margin(*margin)?;
        Ok(InfoNce { margin: *margin, head: Head::new(path, dim, *temperature, *learn_temperature, projection)? })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct InfoNce {
    head: Head,
    margin: f64,
}

impl Loss for InfoNce {
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (q, k, num_pairs) = check_two(NAME, views, context)?;
        let kind = if q.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let scale = self.head.scale(kind, q.device());
        // Under a no-grad guard nothing that is computed has gradients.
        let with_gradients = [q, k, &scale].iter().any(|x| (x.flatten(0, -1).narrow(0, 0, 1) * 1.0).requires_grad());
        let own_part = context.relations.own().len() as f64 / num_pairs as f64;
        let ignored = ignored(context.relations);
        let groups = Groups::of_pairs(context.relations.samples());
        let chance = chance(num_pairs, num_pairs, groups.as_ref(), |negatives| (1.0 + negatives).ln());
        let mut share = tch::no_grad(|| -> Result<_, Error> {
            let (q, k) = (q.detach().to_kind(kind).contiguous(), k.detach().to_kind(kind).contiguous());
            let parts = tiles::parts(&context.own(), num_pairs, q.device());
            let weighing = groups.as_ref().map(|groups| groups.on(kind, q.device()));
            let all = Rows {
                q,
                k,
                scale: scale.f_double_value(&[])?,
                margin: self.margin,
                ignored,
                groups: weighing,
                own: context.own(),
                tile_rows: tiles::tile_rows(num_pairs, parts.len() as i64),
                plain_limit: tiles::plain_limit(kind),
            };
            let parts: Vec<Rows> = parts.into_iter().map(|own| all.of(own)).collect();
            let parts = invar_torch::side_by_side(parts, &|rows: Rows| (rows.sums(), rows))?;
            let own_columns =
                tiles::combine(&Tensor::cat(&parts.iter().map(|(sums, _)| &sums.columns).collect::<Vec<_>>(), 0));
            let columns = tiles::combine(&context.group.all_gather(&own_columns.unsqueeze(0))?);
            let parts = parts.into_iter().map(|(sums, rows)| (rows, sums, columns.shallow_clone())).collect();
            let shares = invar_torch::side_by_side(parts, &|(rows, sums, columns): (Rows, Sums, Tensor)| {
                rows.share(&sums, &columns, with_gradients)
            })?;
            Ok(shares.into_iter().reduce(Share::plus).unwrap_or_else(|| unreachable!("at least one part")))
        })?;
        let gradients = share.gradients.take();
        let mut loss = share.loss.to_kind(kind);
        let metrics = vec![
            ("loss_over_ln_n".to_owned(), over_chance(&share.loss, chance)),
            ("accuracy".to_owned(), share.accuracy),
            ("temperature".to_owned(), self.head.temperature() * own_part),
        ];
        if let Some([dq, dk, ds]) = gradients {
            loss = invar_torch::attach_gradients(&loss, &[(q, &dq), (k, &dk), (&scale, &ds)])?;
        }
        Ok(LossOutput { terms: vec![(NAME, loss)], metrics })
    }
}

/// Which own rows of the first view and columns of the second are related but of different pairs: `[row, column]`, by
/// row.
fn ignored(relations: &Relations) -> Arc<[[i64; 2]]> {
    let of_row = |row: usize| {
        let others = relations.of(0, row).iter().filter(move |other| other.view == 1 && other.pair != row);
        others.map(move |other| [row as i64, other.pair as i64])
    };
    relations.own().flat_map(of_row).collect()
}
