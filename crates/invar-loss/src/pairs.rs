//! What the losses built on the [core](crate::rows) share: checks, which rows belong together, what is reported.

use invar_nn::{Relation, Relations};
use tch::{Kind, Tensor};

use crate::{
    Context, Error, Head, LossOutput,
    groups::{Groups, Weighing},
    rows::{Criterion, Positive, Rows, Sums},
};

/// Checks that all views have the same shape `[B, P]`, at least 2 rows, and an id each; returns `B`.
///
/// # Errors
/// The first mismatch.
pub(crate) fn check(loss: &'static str, views: &[Tensor], context: &Context) -> Result<i64, Error> {
    let first = views.first().ok_or(Error::Views { loss, expected: 2, found: 0 })?.size();
    for (view, found) in views.iter().map(Tensor::size).enumerate() {
        if found != first {
            return Err(Error::Shape { loss, first, view, found });
        }
    }
    if first[0] < 2 {
        return Err(Error::TooFew { loss, found: first[0] });
    }
    let found = vec![context.relations.samples().num_views() as i64, context.num_pairs() as i64];
    let expected = vec![views.len() as i64, first[0]];
    if found != expected {
        return Err(Error::Beside { loss, what: "sample ids", expected, found });
    }
    Ok(first[0])
}

/// As [`check`], for two views.
pub(crate) fn check_two<'a>(
    loss: &'static str,
    views: &'a [Tensor],
    context: &Context,
) -> Result<(&'a Tensor, &'a Tensor, i64), Error> {
    let [q, k] = views else { return Err(Error::Views { loss, expected: 2, found: views.len() }) };
    Ok((q, k, check(loss, views, context)?))
}

/// How a loss treats the relations of rows of different pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// As neither positives nor negatives.
    Ignored,
    /// With their weights.
    Weighed,
}

impl Others {
    fn weight(self, relation: &Relation, pair: usize) -> f64 {
        if relation.pair == pair || self == Self::Weighed { f64::from(relation.weight) } else { 0.0 }
    }
}

/// How view `view` of the own pairs and the other view of all pairs relate to each other, for two views. Rows count
/// from the first own pair.
pub(crate) fn one_with_other(relations: &Relations, view: usize) -> Vec<Positive> {
    let of_row = |(row, pair)| {
        let others = relations.of(view, pair).iter().filter(|other| other.view != view);
        others.map(move |other| Positive { row, col: other.pair as i64, weight: Others::Ignored.weight(other, pair) })
    };
    (0..).zip(relations.own()).flat_map(of_row).collect()
}

/// Relates the own rows of every view to all rows of every view; a row and itself are neither positives nor negatives.
pub(crate) fn all_with_all(
    views: &[Tensor],
    groups: Option<&Groups>,
    context: &Context,
    head: &Head,
    others: Others,
    criterion: Criterion,
) -> Result<Sums, Error> {
    let num_pairs = views[0].size()[0];
    let (own, num_views) = (context.own(), views.len() as i64);
    let length = own.end - own.start;
    let mut positives = vec![];
    let rows = (0..views.len()).flat_map(|view| context.relations.own().map(move |pair| (view, pair)));
    for (row, (view, pair)) in (0..).zip(rows) {
        let col = |view: usize, pair: usize| view as i64 * num_pairs + pair as i64;
        let first = positives.len();
        positives.push(Positive { row, col: col(view, pair), weight: 0.0 });
        let relations = context.relations.of(view, pair).iter();
        positives.extend(relations.map(|other| Positive {
            row,
            col: col(other.view, other.pair),
            weight: others.weight(other, pair),
        }));
        positives[first..].sort_unstable_by_key(|positive| positive.col);
    }
    let anchors: Vec<Tensor> = views.iter().map(|view| view.narrow(0, own.start, length)).collect();
    let scale = scale_of(head, &views[0]);
    let weighing = groups.map(|groups| {
        let pairs = groups.on(scale.kind(), scale.device());
        [pairs.narrow(own.start, length), pairs].map(|pairs| pairs.repeat(num_views))
    });
    let rows = Rows {
        anchors: Tensor::cat(&anchors, 0),
        keys: Tensor::cat(views, 0),
        positives: &positives,
        groups: weighing,
        scale: &scale,
        criterion,
    };
    rows.sums()
}

/// Relates one row of each own pair to one of each key, where the pairs of the batch come first.
pub(crate) fn own_with_all(groups: &Groups, context: &Context, scale: &Tensor) -> [Weighing; 2] {
    let keys = groups.on(scale.kind(), scale.device());
    let own = context.own();
    [keys.narrow(own.start, own.end - own.start), keys]
}

/// The scale for the logits of these projections; never in bf16, which has only 8 bits.
pub(crate) fn scale_of(head: &Head, projections: &Tensor) -> Tensor {
    let kind = if projections.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    head.scale(kind, projections.device())
}

/// The mean over the `num_anchors` of all processes, with accuracy and temperature; and, if `chance` is given, the
/// ratio to it. `chance` is the loss of an encoder for which all samples look alike.
pub(crate) fn report(
    name: &'static str,
    sums: &Sums,
    num_anchors: i64,
    chance: Option<f64>,
    context: &Context,
    head: &Head,
) -> LossOutput {
    let loss = &sums.loss / num_anchors as f64;
    let share = context.relations.own().len() as f64 / context.num_pairs() as f64;
    let mut metrics = vec![];
    if let Some(chance) = chance {
        metrics.push(("loss_over_ln_n".to_owned(), over_chance(&loss.detach(), chance)));
    }
    metrics.push(("accuracy".to_owned(), sums.hits.detach() / num_anchors as f64));
    metrics.push(("temperature".to_owned(), head.temperature() * share));
    LossOutput { terms: vec![(name, loss)], metrics }
}

/// A loss divided by that of an encoder for which all samples look alike; 0 if there is nothing to distinguish.
pub(crate) fn over_chance(loss: &Tensor, chance: f64) -> Tensor {
    if chance > 0.0 { loss / chance } else { loss.zeros_like() }
}

/// Checks a margin.
pub(crate) fn check_margin(margin: f64) -> Result<(), Error> {
    let expected = "in [0, 2], the range of differences of cosines";
    let error = || Error::Config { key: "loss.margin", expected, found: margin.to_string() };
    (0.0..=2.0).contains(&margin).then_some(()).ok_or_else(error)
}

/// Checks a concentration of hard negatives.
pub(crate) fn check_hard_negatives(beta: f64) -> Result<(), Error> {
    let error = || Error::Config { key: "loss.hard_negatives", expected: "at least 0", found: beta.to_string() };
    (beta >= 0.0 && beta.is_finite()).then_some(()).ok_or_else(error)
}
