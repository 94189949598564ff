//! The core that the losses share: each anchor is compared with all keys, row by row.
//!
//! Which key belongs to which anchor is a sparse weighted list; a weight of 0 means that the two are neither positives
//! nor negatives of each other. Everything not on the list is a negative. With `l_ij = s a_i . k_j`, positives `P(i)`
//! of weights `w_ip`, and negatives `N(i)`, the rows of the softmax criterion are
//!
//! ```text
//! mean:  sum_p w_ip (D_i - l_ip) / sum_p w_ip        D_i = ln( sum_p e^l_ip + sum_n h_in e^l_in )
//! any:   D_i - ln sum_p w_ip e^l_ip                  D_i = ln( sum_p w_ip e^l_ip + sum_n h_in e^l_in )
//! h_in = e^(beta l_in) / mean_n' e^(beta l_in')      1 where beta = 0
//! ```
//!
//! and those of the sigmoid criterion `sum_p w_ip softplus(-l_ip - b) + sum_n softplus(l_in + b)`. A row without
//! positives, or a decoupled one without negatives, is 0.
//!
//! If groups are known (see `groups.rs`), keys of the anchor's group that are not positives are not negatives either,
//! and each negative has a weight `v_n`: the sums over `n` and the mean are weighted by it. The sigmoid criterion
//! judges a pair of rows once, as negatives of each other, and so weights it by the mean of the weights of anchor and
//! key.
//!
//! Rows are computed one tile at a time, forward and backward together, so memory is O(tile x keys). Shapes: `A`
//! anchors, `K` keys, `P` dimensions, `T` rows per tile.

use tch::{Device, Kind, Tensor};

use crate::{Error, LOWEST, groups::Weighing};

/// Values in a tile of logits: 8 MB in f32, of which a few are alive at a time.
const TILE_NUMBERS: i64 = 1 << 21;

/// A relation between an anchor and a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Positive {
    /// Index of the anchor.
    pub(crate) row: i64,
    /// Index of the key.
    pub(crate) col: i64,
    /// How much the key counts among the anchor's positives; 0: neither positive nor negative.
    pub(crate) weight: f64,
}

/// How the positives of one anchor are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// The mean of their losses (SupCon's `L_out`): all positives are drawn near.
    #[default]
    Mean,
    /// The loss of their sum (MIL-NCE): it is enough that one of them is near.
    Any,
}

/// How a row of logits becomes a loss.
pub(crate) enum Criterion<'a> {
    Softmax {
        aggregate: Aggregate,
        /// Whether the positives are left out of the denominator.
        decoupled: bool,
        /// Subtracted from the cosine of every positive.
        margin: f64,
        /// Concentration of the weights of negatives; 0 weights all equally.
        beta: f64,
    },
    Sigmoid {
        /// A scalar, added to all logits.
        bias: &'a Tensor,
    },
}

impl Criterion<'_> {
    /// Plain cross-entropy.
    pub(crate) const SOFTMAX: Self =
        Self::Softmax { aggregate: Aggregate::Mean, decoupled: false, margin: 0.0, beta: 0.0 };
}

/// What is compared.
pub(crate) struct Rows<'a> {
    /// `[A, P]`.
    pub(crate) anchors: Tensor,
    /// `[K, P]`.
    pub(crate) keys: Tensor,
    /// Sorted by row, no duplicates.
    pub(crate) positives: &'a [Positive],
    /// For the anchors and the keys; `None` if all negatives weigh 1.
    pub(crate) groups: Option<[Weighing; 2]>,
    /// `1 / temperature`, a scalar.
    pub(crate) scale: &'a Tensor,
    /// How each row becomes a loss.
    pub(crate) criterion: Criterion<'a>,
}

/// The sums over rows.
pub(crate) struct Sums {
    /// The sum of the rows' losses: a scalar, with gradients to anchors, keys, scale and bias.
    pub(crate) loss: Tensor,
    /// The number of rows whose nearest key is a positive: a scalar.
    pub(crate) hits: Tensor,
}

impl Rows<'_> {
    /// Sums over all rows, in tiles that fit into memory.
    pub(crate) fn sums(&self) -> Result<Sums, Error> {
        self.sums_by(TILE_NUMBERS / self.keys.size()[0].max(1))
    }

    /// As [`Rows::sums`], in tiles of `tile` rows.
    pub(crate) fn sums_by(&self, tile: i64) -> Result<Sums, Error> {
        // bf16 has too few bits for sums over keys.
        let kind = if self.anchors.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let bias = match &self.criterion {
            Criterion::Sigmoid { bias } => bias.shallow_clone(),
            Criterion::Softmax { .. } => Tensor::zeros([], (kind, self.anchors.device())),
        };
        // Views, so that nothing is tracked when gradients are switched off.
        let inputs = [&self.anchors, &self.keys, self.scale, &bias].map(|t| t.view_as(t).to_kind(kind));
        let [anchors, keys, scale, bias] = inputs.each_ref().map(|t| t.detach().set_requires_grad(t.requires_grad()));
        let wanted: Vec<usize> = (1..4).filter(|&i| inputs[i].requires_grad()).collect();
        let with_gradient = inputs.iter().any(Tensor::requires_grad);
        let zero = || Tensor::zeros([], (kind, anchors.device()));
        let (mut loss, mut hits) = (zero(), zero());
        let mut along_rows = vec![]; // gradients of the anchors, tile by tile
        let mut sums: Vec<Tensor> = wanted.iter().map(|&i| inputs[i].zeros_like().detach()).collect();
        let (num_rows, num_keys) = (anchors.size()[0], keys.size()[0]);
        let mut list = self.positives;
        for first in (0..num_rows).step_by(usize::try_from(tile.max(1)).unwrap_or(1)) {
            let height = tile.max(1).min(num_rows - first);
            let (own, rest) = list.split_at(list.partition_point(|p| p.row < first + height));
            list = rest;
            let groups = self.groups.as_ref().map(|[rows, keys]| [rows.narrow(first, height), keys.shallow_clone()]);
            let relations = Relations::new(own, groups, first, [height, num_keys], (kind, anchors.device()));
            let part = anchors.detach().narrow(0, first, height).set_requires_grad(inputs[0].requires_grad());
            let cosines = part.matmul(&keys.tr()); // [T, K]
            let value = self.criterion.rows(&cosines, &relations, &scale, &bias).sum(kind);
            tch::no_grad(|| {
                hits += relations.hits(&cosines);
                loss += value.detach();
            });
            if with_gradient && value.requires_grad() {
                let leaves = [&part, &keys, &scale, &bias];
                let tracked: Vec<&Tensor> = leaves.into_iter().filter(|t| t.requires_grad()).collect();
                let mut found = Tensor::f_run_backward(&[&value], &tracked, false, false)?;
                if part.requires_grad() {
                    along_rows.push(found.remove(0));
                }
                for (sum, gradient) in sums.iter_mut().zip(found).filter(|(_, gradient)| gradient.defined()) {
                    *sum += gradient;
                }
            }
        }
        let along = if along_rows.is_empty() { None } else { Some(Tensor::cat(&along_rows, 0)) };
        let mut pairs: Vec<(&Tensor, &Tensor)> = along.iter().map(|gradient| (&inputs[0], gradient)).collect();
        pairs.extend(wanted.iter().zip(&sums).map(|(&i, gradient)| (&inputs[i], gradient)));
        Ok(Sums { loss: invar_torch::attach_gradients(&loss, &pairs)?, hits })
    }
}

/// How the anchors of a tile and the keys relate to each other.
struct Relations {
    /// Weights of positives `[n]`, and where they are: row `[n]`, index in the flat tile `[n]`.
    weights: Tensor,
    rows: Tensor,
    places: Tensor,
    /// `[T, K]`.
    positive: Tensor,
    /// Neither positive nor negative `[T, K]`.
    ignored: Tensor,
    /// For the rows and the keys.
    groups: Option<[Weighing; 2]>,
    options: (Kind, Device),
}

impl Relations {
    fn new(
        list: &[Positive],
        groups: Option<[Weighing; 2]>,
        first: i64,
        [height, num_keys]: [i64; 2],
        options: (Kind, Device),
    ) -> Self {
        let device = options.1;
        let place = |p: &Positive| (p.row - first) * num_keys + p.col;
        let (real, ignored): (Vec<&Positive>, Vec<&Positive>) = list.iter().partition(|p| p.weight != 0.0);
        let numbers = |numbers: Vec<i64>| Tensor::from_slice(&numbers).to_device(device);
        let mask = |places: &Tensor| {
            let mask = Tensor::zeros([height * num_keys], (Kind::Bool, device));
            mask.index_fill(0, places, 1).view([height, num_keys])
        };
        let places = numbers(real.iter().map(|p| place(p)).collect());
        let weights: Vec<f64> = real.iter().map(|p| p.weight).collect();
        let positive = mask(&places);
        let mut ignored = mask(&numbers(ignored.iter().map(|p| place(p)).collect()));
        if let Some([rows, keys]) = &groups {
            ignored = ignored.logical_or(&rows.same(keys).logical_and(&positive.logical_not()));
        }
        Self {
            weights: Tensor::from_slice(&weights).to_kind(options.0).to_device(device),
            rows: numbers(real.iter().map(|p| p.row - first).collect()),
            positive,
            ignored,
            groups,
            places,
            options,
        }
    }

    /// For each row the sum over its positives of weight times value: `[T, K]` to `[T]`.
    fn weighted_sum(&self, values: &Tensor) -> Tensor {
        let picked = values.flatten(0, -1).index_select(0, &self.places) * &self.weights;
        self.per_row(&picked)
    }

    fn per_row(&self, of_positives: &Tensor) -> Tensor {
        Tensor::zeros([self.positive.size()[0]], self.options).index_add(0, &self.rows, of_positives)
    }

    /// The logits, with the logarithms of the negatives' weights added.
    fn weighed(&self, logits: &Tensor) -> Tensor {
        match &self.groups {
            None => logits.shallow_clone(),
            Some([_, keys]) => logits + keys.weights.log().masked_fill(&self.positive, 0.0),
        }
    }

    /// The total weight of the negatives outside the mask, or their number `[T]`.
    fn weight_outside(&self, mask: &Tensor) -> Tensor {
        let outside = mask.logical_not();
        let (kind, _) = self.options;
        match &self.groups {
            None => outside.sum_dim_intlist(1, false, kind),
            Some([_, keys]) => outside.to_kind(kind).mv(&keys.weights),
        }
    }

    /// Rows whose nearest key is a positive, a scalar.
    fn hits(&self, cosines: &Tensor) -> Tensor {
        let nearest = cosines.masked_fill(&self.ignored, LOWEST).argmax(1, true); // [T, 1]
        self.positive.gather(1, &nearest, false).to_kind(self.options.0).sum(None::<Kind>)
    }
}

impl Criterion<'_> {
    /// The loss of each row `[T]`, from cosines `[T, K]`.
    fn rows(&self, cosines: &Tensor, relations: &Relations, scale: &Tensor, bias: &Tensor) -> Tensor {
        let (positive, ignored) = (&relations.positive, &relations.ignored);
        let kind = cosines.kind();
        match self {
            Self::Sigmoid { .. } => {
                let logits = cosines * scale + bias;
                // softplus(x) = -ln sigmoid(-x), which LibTorch computes to the last digit.
                let towards = logits.log_sigmoid().neg();
                let mut away = logits.neg().log_sigmoid().neg().masked_fill(&positive.logical_or(ignored), 0.0);
                if let Some([rows, keys]) = &relations.groups {
                    away = away * (rows.weights.unsqueeze(1) + &keys.weights) * 0.5;
                }
                away.sum_dim_intlist(1, false, kind) + relations.weighted_sum(&towards)
            }
            Self::Softmax { aggregate, decoupled, margin, beta } => {
                let logits = match margin {
                    0.0 => cosines * scale,
                    margin => (cosines - positive.to_kind(kind) * *margin) * scale,
                };
                let total = relations.per_row(&relations.weights); // [T]
                let not_negative = positive.logical_or(ignored);
                let any = (*aggregate == Aggregate::Any).then(|| {
                    let weights = Tensor::ones([logits.numel() as i64], relations.options)
                        .index_put(&[Some(&relations.places)], &relations.weights, false)
                        .view_as(&logits);
                    masked_log_sum_exp(&(&logits + weights.log()), &positive.logical_not())
                });
                let denominator = if *beta == 0.0 && !decoupled && any.is_none() {
                    masked_log_sum_exp(&relations.weighed(&logits), ignored)
                } else {
                    let negatives = log_sum_exp_of_negatives(&logits, relations, &not_negative, *beta);
                    match &any {
                        _ if *decoupled => negatives,
                        Some(any) => any.logaddexp(&negatives),
                        None => masked_log_sum_exp(&logits, &positive.logical_not()).logaddexp(&negatives),
                    }
                };
                let attraction = match any {
                    Some(any) => any,
                    None => relations.weighted_sum(&logits) / total.masked_fill(&total.le(0.0), 1.0),
                };
                let mut counts = total.gt(0.0);
                if *decoupled {
                    counts = counts.logical_and(&not_negative.logical_not().any_dim(1, false));
                }
                (denominator - attraction).masked_fill(&counts.logical_not(), 0.0)
            }
        }
    }
}

/// The log-sum-exp over each row's entries outside the mask, or [`LOWEST`] if there are none.
fn masked_log_sum_exp(logits: &Tensor, mask: &Tensor) -> Tensor {
    logits.masked_fill(mask, LOWEST).logsumexp(1, false)
}

/// `ln sum_n v_n h_n e^l_n = lse((1 + beta) l + ln v) - lse(beta l + ln v) + ln sum_n v_n` (see the [module](self)).
fn log_sum_exp_of_negatives(logits: &Tensor, relations: &Relations, mask: &Tensor, beta: f64) -> Tensor {
    let log_sum_exp = |logits: &Tensor| masked_log_sum_exp(&relations.weighed(logits), mask);
    if beta == 0.0 {
        return log_sum_exp(logits);
    }
    let total = relations.weight_outside(mask); // [T]
    let none = total.eq(0.0);
    let sum = log_sum_exp(&(logits * (1.0 + beta))) - log_sum_exp(&(logits * beta));
    (sum + total.masked_fill(&none, 1.0).log()).masked_fill(&none, LOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::vectors;

    fn sums(tile: i64, kind: Kind, criterion: Criterion) -> (f64, f64, Vec<Tensor>) {
        let [anchors, keys] = [(7, 1.0), (9, 0.7)].map(|(n, f)| vectors(n, 3, f).to_kind(kind).set_requires_grad(true));
        let scale = Tensor::from(5.0).set_requires_grad(true);
        // Row 3 has no positive, row 4 two of different weight, row 5 one pair left out.
        let list =
            [(0, 1, 1.0), (1, 1, 1.0), (2, 8, 2.0), (4, 0, 0.5), (4, 5, 1.5), (5, 2, 0.0), (5, 3, 1.0), (6, 6, 1.0)];
        let positives = list.map(|(row, col, weight)| Positive { row, col, weight });
        let rows = Rows {
            anchors: anchors.shallow_clone(),
            keys: keys.shallow_clone(),
            positives: &positives,
            groups: None,
            scale: &scale,
            criterion,
        };
        let sums = rows.sums_by(tile).unwrap();
        let gradients = Tensor::run_backward(&[&sums.loss], &[&anchors, &keys, &scale], false, false);
        (sums.loss.double_value(&[]), sums.hits.double_value(&[]), gradients)
    }

    #[test]
    fn tiles_change_nothing() {
        let bias = Tensor::from(-1.0);
        let criterion = |number: usize| match number {
            0 => Criterion::SOFTMAX,
            1 => Criterion::Softmax { aggregate: Aggregate::Any, decoupled: false, margin: 0.2, beta: 0.5 },
            _ => Criterion::Sigmoid { bias: &bias },
        };
        for number in 0..3 {
            let (loss, hits, gradients) = sums(100, Kind::Double, criterion(number));
            for tile in [1, 2, 3, 7] {
                let (other, other_hits, others) = sums(tile, Kind::Double, criterion(number));
                assert!((loss - other).abs() < 1e-12 && hits == other_hits, "tile {tile}: {loss} {other}");
                for (a, b) in gradients.iter().zip(others) {
                    assert!((a - b).abs().max().double_value(&[]) < 1e-12, "tile {tile}");
                }
            }
        }
    }

    #[test]
    fn weights_are_those_of_a_mean_and_zero_is_left_out() {
        let (anchors, keys) = (vectors(7, 3, 1.0), vectors(9, 3, 0.7));
        let logits = anchors.matmul(&keys.tr()) * 5.0;
        let l = |i: i64, j: i64| logits.double_value(&[i, j]);
        let row = |i: i64, positives: &[(i64, f64)], left_out: &[i64]| {
            let sum: f64 = (0..9).filter(|j| !left_out.contains(j)).map(|j| l(i, j).exp()).sum();
            let total: f64 = positives.iter().map(|p| p.1).sum();
            sum.ln() - positives.iter().map(|&(j, w)| w * l(i, j)).sum::<f64>() / total
        };
        let expected = row(0, &[(1, 1.0)], &[])
            + row(1, &[(1, 1.0)], &[])
            + row(2, &[(8, 2.0)], &[])
            + row(4, &[(0, 0.5), (5, 1.5)], &[])
            + row(5, &[(3, 1.0)], &[2])
            + row(6, &[(6, 1.0)], &[]);
        let (found, _, gradients) = sums(3, Kind::Double, Criterion::SOFTMAX);
        assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        assert_eq!(gradients[0].get(3).abs().max().double_value(&[]), 0.0, "a row without positives");
    }

    #[test]
    fn bf16_is_summed_in_f32_and_gets_bf16_gradients() {
        let (exact, _, expected) = sums(3, Kind::Double, Criterion::SOFTMAX);
        let (found, _, gradients) = sums(3, Kind::BFloat16, Criterion::SOFTMAX);
        // Inputs of 8 bits, logits up to 5: each row is off by less than 5 / 2^7.
        assert!((found - exact).abs() < 7.0 * 5.0 / 128.0, "{found} {exact}");
        assert_eq!(gradients[0].kind(), Kind::BFloat16);
        assert!((gradients[0].to_kind(Kind::Double) - &expected[0]).abs().max().double_value(&[]) < 0.1);
    }
}
