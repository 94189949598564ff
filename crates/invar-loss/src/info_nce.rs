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
//! Keys of samples that are nobody's here (`b_n` of other sites, in federated training: Zhang et al., *Federated
//! unsupervised representation learning*, 2020) are negatives of the rows of both views:
//!
//! ```text
//! L = 1/2 mean_i [ ln( sum_j e^l_ij + sum_n e^(s q_i . b_n) ) - l_ii ] + 1/2 mean_j [ ln( sum_i e^l_ij + sum_n e^(s k_j . b_n) ) - l_jj ]
//! ```
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
    Aggregate, Context, Error, Head, Loss, LossOutput,
    groups::{Groups, chance},
    pairs::{check_margin, check_two, one_with_other, over_chance, own_with_all, report, scale_of},
    rows::{self, Criterion},
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
        if let Some(foreign) = context.foreign_keys.filter(|keys| keys.numel() > 0) {
            return self.beside_foreign([q, k], foreign, context);
        }
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

    fn takes_foreign_keys(&self) -> bool {
        true
    }
}

impl InfoNce {
    /// The loss with keys `[N, P]` of samples that are nobody's here. They have no group: each is a negative of its own.
    fn beside_foreign(&self, views: [&Tensor; 2], foreign: &Tensor, context: &Context) -> Result<LossOutput, Error> {
        let num_pairs = context.num_pairs() as i64;
        let (expected, found) = (vec![foreign.size()[0], views[0].size()[1]], foreign.size());
        if expected != found {
            return Err(Error::Beside { loss: NAME, what: "foreign keys", expected, found });
        }
        let num_foreign = found[0];
        let scale = scale_of(&self.head, views[0]);
        let samples = context.relations.samples();
        let of_batch = (0..num_pairs as usize).map(|pair| samples.group(pair));
        let groups = Groups::new(of_batch.chain((0..num_foreign).map(|_| None)));
        let mut both = vec![];
        for view in 0..2 {
            let (anchors, keys) = (views[view], views[1 - view]);
            let positives = one_with_other(context.relations, view);
            let rows = rows::Rows {
                anchors: anchors.narrow(0, context.own().start, context.relations.own().len() as i64),
                keys: Tensor::f_cat(&[keys, &foreign.detach().to_kind(keys.kind()).to_device(keys.device())], 0)?,
                positives: &positives,
                groups: groups.as_ref().map(|groups| own_with_all(groups, context, &scale)),
                scale: &scale,
                criterion: Criterion::Softmax {
                    aggregate: Aggregate::Mean,
                    decoupled: false,
                    margin: self.margin,
                    beta: 0.0,
                },
            };
            both.push(rows.sums()?);
        }
        let sums = rows::Sums { loss: &both[0].loss + &both[1].loss, hits: &both[0].hits + &both[1].hits };
        let chance = chance(num_pairs, num_pairs + num_foreign, groups.as_ref(), |negatives| (1.0 + negatives).ln());
        Ok(report(NAME, &sums, 2 * num_pairs, Some(chance), context, &self.head))
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
