//! Symmetric InfoNCE in tiles of rows: exact value and gradients in memory that grows with `B`, not `B^2`. The *own*
//! rows are those of this process, or of one of its threads; a *share* is their part of a sum over all rows.
//!
//! With the logits `l = s q k^T`, the positives `p_i = l_ii - s margin`, and `n_i`, `m_j` the log-sum-exps of the
//! negatives of row `i` and of column `j`:
//!
//! ```text
//! L      = 1/2B sum_i [ softplus(n_i - p_i) + softplus(m_i - p_i) ]
//! G_ij   = exp(l_ij - r_i) + exp(l_ij - c_j),  r_i = logaddexp(n_i, p_i),  c_j = logaddexp(m_j, p_j)
//! G_ii   = -sigmoid(n_i - p_i) - sigmoid(m_i - p_i)
//! dL/dq  = s/2B G k     dL/dk = s/2B G^T q     dL/ds = 1/2B (sum_i q_i . (G k)_i - margin sum_i G_ii)
//! ```
//!
//! If groups are known (see `groups.rs`), pairs of one group are not negatives, and column `j` weighs `w_j` in `n_i`,
//! row `i` weighs `w_i` in `m_j`:
//!
//! ```text
//! n_i = ln sum_j w_j exp(l_ij)     m_j = ln sum_i w_i exp(l_ij)
//! G_ij = w_j exp(l_ij - r_i) + w_i exp(l_ij - c_j) = w_i w_j [ exp(l_ij - r_i - ln w_i) + exp(l_ij - c_j - ln w_j) ]
//! ```
//!
//! The last form leaves the passes over tiles unchanged: `r` and `c` become `r + ln w` and `c + ln w`, and `w_i` and
//! `w_j` multiply the rows of `q`, `k` and of the gradients instead of the tile.
//!
//! Positives are kept apart from negatives, because near a loss of zero nothing but rounding is left of `logsumexp -
//! p`. The logits of unit vectors lie in `[-s, s]`. So for all but very low temperatures `exp(l)` does not need a
//! maximum subtracted, and one exponential serves rows, columns and both terms of the gradient.

use std::{ops::Range, sync::Arc};

use tch::{Device, Kind, Tensor};

use crate::{LOWEST, groups::Weighing};

#[cfg(test)]
mod tests;

/// Elements of the tiles of all parts together, for up to 16,384 pairs: 32 MB of f32. The same everywhere, so that
/// results do not depend on the machine.
const TILE: i64 = 1 << 23;
/// Rows of the tiles of all parts together: matrix products of fewer rows are slow.
const MIN_ROWS: i64 = 512;
/// A part of fewer rows is not worth a thread.
const MIN_PART: i64 = 64;
/// Maximum number of columns of all parts together: each part has gradients of all `B` rows, half a kilobyte per row at
/// 128 dimensions.
const MAX_COLUMNS: i64 = 1 << 18;

/// Some rows of a batch, against the whole batch: those of a process, or of one of its threads.
pub(super) struct Rows {
    /// `[B, P]`, f32 or f64, no gradient.
    pub q: Tensor,
    /// `[B, P]`.
    pub k: Tensor,
    /// `1 / temperature`.
    pub scale: f64,
    /// Subtracted from the cosine of a positive.
    pub margin: f64,
    /// Rows and columns, by row, that are neither positives nor negatives of each other. Those of rows other than the
    /// own ones may be missing.
    pub ignored: Arc<[[i64; 2]]>,
    /// Which pairs share a group, and the weight of each as a negative, of the kind of `k`; `None` if all weigh 1.
    pub groups: Option<Weighing>,
    /// The rows of `q` whose tiles are computed.
    pub own: Range<i64>,
    /// Rows per tile.
    pub tile_rows: i64,
    /// Logits up to this are exponentiated directly.
    pub plain_limit: f64,
}

/// The row statistics of the own rows, and their share of the column statistics.
pub(super) struct Sums {
    is_plain: bool,
    /// Log-sum-exp of the negatives of each own row `[b]`.
    row_sums: Tensor,
    /// `l_ii` of the own rows `[b]`.
    diagonal: Tensor,
    /// Whether the positive is the nearest in its row `[b]`.
    row_hits: Tensor,
    /// For each column, over the own rows: log-sum-exp of the negatives and their maximum `[1, 2, B]`.
    pub columns: Tensor,
    /// The only tile, if one is enough.
    kept: Option<Tensor>,
}

/// A process's share of loss, accuracy and gradients.
pub(super) struct Share {
    /// A scalar.
    pub loss: Tensor,
    /// Fraction of positives that are nearer than every negative, averaged over both directions: a scalar.
    pub accuracy: Tensor,
    /// With respect to `q` and `k` `[B, P]` and to the scale, a scalar.
    pub gradients: Option<[Tensor; 3]>,
}

impl Share {
    /// The shares of two parts combined.
    pub(super) fn plus(self, other: Self) -> Self {
        let gradients = self.gradients.zip(other.gradients);
        Self {
            loss: self.loss + other.loss,
            accuracy: self.accuracy + other.accuracy,
            gradients: gradients.map(|([q, k, s], [dq, dk, ds])| [q + dq, k + dk, s + ds]),
        }
    }
}

/// The number of rows for which a tile of `num_pairs` columns is fast and small, when `num_parts` are processed side by
/// side.
pub(super) fn tile_rows(num_pairs: i64, num_parts: i64) -> i64 {
    ((TILE / num_pairs).max(MIN_ROWS) / num_parts).max(MIN_PART)
}

/// Splits the rows of a process into parts for threads to process side by side: the same number on every machine with
/// this setting of LibTorch's threads. A single part if that many would take too much memory; then the threads share
/// its products.
pub(super) fn parts(own: &Range<i64>, num_pairs: i64, device: Device) -> Vec<Range<i64>> {
    let num_rows = own.end - own.start;
    let threads = if device == Device::Cpu { i64::from(tch::get_num_threads()) } else { 1 };
    let most = if threads * num_pairs <= MAX_COLUMNS { threads } else { 1 };
    let num = most.min(num_rows / MIN_PART).max(1);
    (0..num).map(|part| own.start + num_rows * part / num..own.start + num_rows * (part + 1) / num).collect()
}

/// The greatest logit whose exponential, and that of its negative, can be summed over any batch.
pub(super) fn plain_limit(kind: Kind) -> f64 {
    if kind == Kind::Double { 300.0 } else { 60.0 }
}

/// Vectors are summed in f64, if the device supports it.
fn wide(device: Device) -> Kind {
    if device == Device::Mps { Kind::Float } else { Kind::Double }
}

/// Combines [`Sums::columns`] of several parts or processes `[n, 2, B]` into those of all `[2, B]`.
pub(super) fn combine(columns: &Tensor) -> Tensor {
    let sums = columns.select(1, 0).logsumexp([0i64], false);
    Tensor::stack(&[sums, columns.select(1, 1).amax([0i64], false)], 0)
}

impl Rows {
    /// The same for other rows of the batch.
    pub(super) fn of(&self, own: Range<i64>) -> Self {
        let (q, k, ignored) = (self.q.shallow_clone(), self.k.shallow_clone(), Arc::clone(&self.ignored));
        Self { q, k, ignored, groups: self.groups.as_ref().map(Weighing::shallow_clone), own, ..*self }
    }

    /// The first pass over the tiles.
    pub(super) fn sums(&self) -> Sums {
        let (num_pairs, wide) = (self.k.size()[0], wide(self.k.device()));
        let on = (wide, self.k.device());
        let is_plain = self.greatest_logit() <= self.plain_limit;
        let buffer = self.buffer();
        let mut column_sums =
            if is_plain { Tensor::zeros([num_pairs], on) } else { Tensor::full([num_pairs], f64::NEG_INFINITY, on) };
        let mut column_maxima = Tensor::full([num_pairs], f64::NEG_INFINITY, (self.k.kind(), self.k.device()));
        let (mut row_sums, mut diagonals, mut row_hits) = (vec![], vec![], vec![]);
        for (first, count) in self.tiles() {
            let mut tile = buffer.narrow(0, 0, count); // [T, B]
            let diagonal = self.logits(first, &tile); // [T]
            row_hits.push(diagonal.gt_tensor(&tile.amax([1i64], false)));
            column_maxima = column_maxima.maximum(&tile.amax([0i64], false));
            let weights = self.groups.as_ref().map(|all| (&all.weights, all.weights.narrow(0, first, count)));
            if is_plain {
                self.raise(&mut tile);
                let (of_rows, of_columns) = match weights {
                    None => (tile.sum_dim_intlist(1, false, None), tile.sum_dim_intlist(0, false, None)),
                    Some((columns, rows)) => (tile.mv(columns), tile.tr().mv(&rows)),
                };
                row_sums.push(of_rows.to_kind(wide).log());
                column_sums += of_columns.to_kind(wide);
            } else {
                let (of_rows, of_columns) = match weights {
                    None => (tile.logsumexp([1i64], false), tile.logsumexp([0i64], false)),
                    Some((columns, rows)) => (
                        (&tile + columns.log()).logsumexp([1i64], false),
                        (&tile + rows.log().unsqueeze(1)).logsumexp([0i64], false),
                    ),
                };
                row_sums.push(of_rows.to_kind(wide));
                column_sums = column_sums.logaddexp(&of_columns.to_kind(wide));
            }
            diagonals.push(diagonal);
        }
        let column_sums = if is_plain { column_sums.log() } else { column_sums };
        Sums {
            is_plain,
            kept: (row_sums.len() == 1).then_some(buffer),
            row_sums: Tensor::cat(&row_sums, 0),
            diagonal: Tensor::cat(&diagonals, 0),
            row_hits: Tensor::cat(&row_hits, 0),
            columns: Tensor::stack(&[column_sums, column_maxima.to_kind(wide)], 0).unsqueeze(0),
        }
    }

    /// First row and number of rows of each tile.
    fn tiles(&self) -> impl Iterator<Item = (i64, i64)> {
        let end = self.own.end;
        let rows = self.tile_rows;
        self.own.clone().step_by(rows as usize).map(move |first| (first, rows.min(end - first)))
    }

    fn buffer(&self) -> Tensor {
        let rows = self.tile_rows.min(self.own.end - self.own.start);
        Tensor::empty([rows, self.k.size()[0]], (self.k.kind(), self.k.device()))
    }

    /// An upper bound, from the longest rows.
    fn greatest_logit(&self) -> f64 {
        let longest = |x: &Tensor| x.norm_scalaropt_dim(2.0, [1i64], false).max().double_value(&[]);
        self.scale * longest(&self.q) * longest(&self.k)
    }

    /// Fills a tile with logits, `-inf` or nearly so where there is no negative; returns the original diagonal.
    fn logits(&self, first: i64, tile: &Tensor) -> Tensor {
        let count = tile.size()[0];
        let q = self.q.narrow(0, first, count) * self.scale; // [T, P]
        let tile = match &self.groups {
            None => q.mm_out(tile, &self.k.tr()),
            Some(groups) => {
                // The product is added to it: a third of the time of a mask.
                let mut tile = groups.same_out(first, tile);
                let _ = tile.diagonal(first, 0, 1).fill_(0.0);
                tile *= LOWEST;
                tile.addmm_(&q, &self.k.tr())
            }
        };
        let mut diagonal = tile.diagonal(first, 0, 1);
        let before = diagonal.copy();
        let _ = diagonal.fill_(f64::NEG_INFINITY);
        let before_row = |row: i64| self.ignored.partition_point(|cell| cell[0] < row);
        let ignored = &self.ignored[before_row(first)..before_row(first + count)];
        if !ignored.is_empty() {
            let num_columns = tile.size()[1];
            let places: Vec<i64> = ignored.iter().map(|[row, column]| (row - first) * num_columns + column).collect();
            let places = Tensor::from_slice(&places).to_device(tile.device());
            let _ = tile.view([-1]).index_fill_(0, &places, f64::NEG_INFINITY);
        }
        before
    }

    /// Exponentiates plain logits; 0 where there is no negative.
    fn raise(&self, tile: &mut Tensor) {
        if self.groups.is_none() {
            let _ = tile.exp_();
            return;
        }
        // An exponential that underflows takes ten times as long, and a group can fill half of a tile. Logits that
        // count are above -limit.
        let limit = self.plain_limit;
        let _ = tile.clamp_min_(-limit - 10.0).exp_();
        let _ = tile.threshold_((-limit - 5.0).exp(), 0.0);
    }

    /// `p` of every pair `[B]`.
    fn positives(&self) -> Tensor {
        let cosines = (&self.q * &self.k).sum_dim_intlist(1, false, wide(self.k.device()));
        (cosines - self.margin) * self.scale
    }

    /// The second pass, given the column statistics of all rows of the batch `[2, B]`.
    pub(super) fn share(&self, sums: &Sums, columns: &Tensor, with_gradients: bool) -> Share {
        let own = |x: &Tensor| x.narrow(0, self.own.start, self.own.end - self.own.start);
        let part = 0.5 / self.k.size()[0] as f64;
        let positives = self.positives(); // [B]
        let own_positives = own(&positives);
        let (column_sums, column_maxima) = (columns.get(0), columns.get(1));
        let ahead = Tensor::stack(&[&sums.row_sums - &own_positives, own(&column_sums) - &own_positives], 0); // [2, b]
        // LibTorch's softplus is linear from 20 on, which is too early for f64.
        let loss = ahead.logaddexp(&ahead.zeros_like()).sum(None::<Kind>) * part;
        let column_hits = sums.diagonal.gt_tensor(&own(&column_maxima).to_kind(sums.diagonal.kind()));
        let hits = (sums.row_hits.to_kind(Kind::Float) + column_hits.to_kind(Kind::Float)).sum(None::<Kind>);
        let gradients = with_gradients.then(|| {
            let rows = sums.row_sums.logaddexp(&own_positives); // [b]
            let columns = column_sums.logaddexp(&positives); // [B]
            let diagonal = -ahead.sigmoid().sum_dim_intlist(0, false, None); // [b]
            self.gradients(sums, &rows, &columns, &diagonal, part)
        });
        Share { loss, accuracy: hits * part, gradients }
    }

    /// `rows` is `r` `[b]`, `columns` is `c` `[B]`, `diagonal` is `G_ii` `[b]`.
    fn gradients(&self, sums: &Sums, rows: &Tensor, columns: &Tensor, diagonal: &Tensor, part: f64) -> [Tensor; 3] {
        let Self { q, k, own, .. } = self;
        let (scale, margin) = (self.scale, self.margin);
        let narrow = |x: &Tensor| x.to_kind(k.kind());
        let weights = self.groups.as_ref().map(|groups| &groups.weights);
        let own_of = |x: &Tensor| x.narrow(0, own.start, own.end - own.start);
        let (shifted_rows, shifted_columns, weighed_diagonal) = match weights {
            None => (rows.shallow_clone(), columns.shallow_clone(), diagonal.shallow_clone()),
            Some(w) => (rows + own_of(w).log(), columns + w.log(), diagonal / own_of(w).square()),
        };
        let (rows, columns) = if sums.is_plain {
            (narrow(&(-shifted_rows).exp()), narrow(&(-shifted_columns).exp()))
        } else {
            (narrow(&shifted_rows), narrow(&shifted_columns))
        };
        let weigh = |x: &Tensor| weights.map_or_else(|| x.shallow_clone(), |w| x * w.unsqueeze(1));
        let (weighed_q, weighed_k) = (weigh(q), weigh(k));
        let buffer = sums.kept.as_ref().map_or_else(|| self.buffer(), Tensor::shallow_clone);
        let second = self.buffer();
        let (dq, mut dk) = (q.zeros_like(), k.zeros_like());
        for (first, count) in self.tiles() {
            let (mut tile, mut other) = (buffer.narrow(0, 0, count), second.narrow(0, 0, count)); // [T, B]
            if sums.kept.is_none() {
                let _ = self.logits(first, &tile);
                if sums.is_plain {
                    self.raise(&mut tile);
                }
            }
            let row = rows.narrow(0, first - own.start, count).unsqueeze(1); // [T, 1]
            if sums.is_plain {
                let _ = tile.g_mul_(&row.add_out(&other, &columns));
            } else {
                let _ = tile.sub_out(&other, &row);
                let _ = other.exp_();
                let _ = tile.g_sub_(&columns);
                let _ = tile.exp_();
                tile += &other;
            }
            tile.diagonal(first, 0, 1).copy_(&weighed_diagonal.narrow(0, first - own.start, count));
            let _ = tile.mm_out(&dq.narrow(0, first, count), &weighed_k);
            let _ = dk.addmm_(&tile.tr(), &weighed_q.narrow(0, first, count));
        }
        let (dq, dk) = (weigh(&dq), weigh(&dk));
        let ds = ((q * &dq).sum(wide(k.device())) - diagonal.sum(None::<Kind>) * margin) * part;
        [dq * (scale * part), dk * (scale * part), ds]
    }
}
