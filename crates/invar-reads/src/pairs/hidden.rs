//! Hides bases, for a loss that predicts them from the rest of the view.

use invar_dataset::{
    View,
    seed::{self, Rng},
};

use crate::packed::CODE_N;

/// Names the random stream for hiding.
const MASKED: u64 = 0x6d61_736b_6564;

/// Hides about this fraction of the bases of token views, those of pair `index` drawn under `pair_seed`.
pub(super) fn hide<'a>(views: impl Iterator<Item = &'a mut View>, share: f64, pair_seed: u64, index: usize) {
    let mut rng = seed::rng(seed::mix(pair_seed, MASKED), index as u64);
    views.for_each(|view| hide_in(view, share, &mut rng));
}

/// Hides about this fraction of the bases of a token view, as N, and makes them its targets. Bases that are already N
/// are not targets.
fn hide_in(view: &mut View, share: f64, rng: &mut Rng) {
    let View::Tokens { ids, targets } = view else { return };
    let asked = ids.iter_mut().map(|id| {
        let is_base = *id < i32::from(CODE_N);
        if is_base && seed::uniform(rng) < share { std::mem::replace(id, i32::from(CODE_N)) } else { -1 }
    });
    *targets = Some(asked.collect());
}
