//! Both strands of a sequence through one set of weights.
//!
//! A network `f` sees a batch and its reverse complement stacked, and the mean of its two outputs is the answer: `g(x)
//! = (f(x) + f(rc(x))) / 2`. Since `rc(rc(x)) = x` and addition commutes, `g(x) = g(rc(x))`, before and after training;
//! no loss has to teach it. It is exact except for rounding, which can depend on a row's place in a batch. In training
//! it holds without dropout, which draws a separate mask for each strand.
//!
//! Tokens: 0..3 are A, C, G, T, so that `3 - t` is the complement; anything above (4 = N) is its own complement
//! and has no one-hot channel; -1 is padding.

use tch::{Kind, Tensor};

/// Number of one-hot channels: A, C, G, T.
pub const NUM_BASES: i64 = 4;

/// The reverse complement of each sequence, left-justified again.
///
/// `ids` `[B, L]` and `lengths` `[B]` as in [`crate::Batch::Tokens`]; returns `[B, L]`.
pub fn reverse_complement(ids: &Tensor, lengths: &Tensor) -> Tensor {
    let positions = Tensor::arange(ids.size()[1], (Kind::Int64, ids.device())).unsqueeze(0); // [1, L]
    let source = lengths.to_kind(Kind::Int64).unsqueeze(1) - 1 - &positions; // [B, L], negative in the padding
    let reversed = ids.gather(1, &source.clamp_min(0), false);
    let is_base = reversed.ge(0).logical_and(&reversed.lt(NUM_BASES));
    let complement = (NUM_BASES - 1 - &reversed).where_self(&is_base, &reversed);
    complement.masked_fill(&source.lt(0), -1)
}

/// Stacks the batch on its reverse complement: ids `[2B, L]`, lengths `[2B]`.
pub fn both(ids: &Tensor, lengths: &Tensor) -> (Tensor, Tensor) {
    (Tensor::cat(&[ids, &reverse_complement(ids, lengths)], 0), Tensor::cat(&[lengths, lengths], 0))
}

/// The rows of the sequences as given: `[2B, ...] -> [B, ...]`.
pub fn upright(stacked: &Tensor) -> Tensor {
    stacked.narrow(0, 0, stacked.size()[0] / 2)
}

/// The mean over the two strands: `[2B, C] -> [B, C]`.
pub fn merge(stacked: &Tensor) -> Tensor {
    let strands = stacked.chunk(2, 0);
    (&strands[0] + &strands[1]) * 0.5
}

/// One-hot bases `[B, 4, L]`, f32; N and padding have no channel.
pub fn one_hot(ids: &Tensor) -> Tensor {
    let bases = Tensor::arange(NUM_BASES, (Kind::Int, ids.device())).view([1, NUM_BASES, 1]);
    ids.unsqueeze(1).eq_tensor(&bases).to_kind(Kind::Float)
}

/// 1 at the first `lengths` of `num_positions`, 0 after them: `[B, L]`, f32. An empty sequence keeps its first
/// position, so that means and attention over it stay finite.
pub fn mask(lengths: &Tensor, num_positions: i64) -> Tensor {
    let positions = Tensor::arange(num_positions, (Kind::Int, lengths.device())).unsqueeze(0);
    positions.lt_tensor(&lengths.clamp_min(1).unsqueeze(1)).to_kind(Kind::Float)
}

/// Number of strides that cover each length, rounded up: `[B]`.
pub fn strided(lengths: &Tensor, stride: i64) -> Tensor {
    (lengths + (stride - 1)).divide_scalar_mode(stride, "floor")
}

/// The mean over valid positions: `x` `[B, C, L]`, mask `[B, 1, L]`, gives `[B, C]`.
pub fn masked_mean(x: &Tensor, mask: &Tensor) -> Tensor {
    (x * mask).sum_dim_intlist(-1, false, None) / mask.sum_dim_intlist(-1, false, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use invar_dataset::View;
    use proptest::prelude::*;

    fn batch(sequences: &[Vec<i32>]) -> Batch {
        let views: Vec<View> = sequences.iter().cloned().map(View::tokens).collect();
        Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap()
    }

    /// The plain definition, on the host.
    fn oracle(sequence: &[i32]) -> Vec<i32> {
        sequence.iter().rev().map(|&t| if t < 4 { 3 - t } else { t }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_device_agrees_with_the_host(
            sequences in prop::collection::vec(prop::collection::vec(0..5i32, 0..40), 1..8),
        ) {
            let forward = batch(&sequences);
            let (ids, lengths) = forward.sequences("test").unwrap();
            let expected = batch(&sequences.iter().map(|s| oracle(s)).collect::<Vec<_>>());
            let (expected, _) = expected.sequences("test").unwrap();
            prop_assert_eq!(&reverse_complement(ids, lengths), expected);
            prop_assert_eq!(&reverse_complement(&reverse_complement(ids, lengths), lengths), ids);
        }
    }

    #[test]
    fn bases_have_channels_and_the_rest_has_none() {
        let hot = one_hot(&Tensor::from_slice(&[0, 3, 4, -1]).unsqueeze(0));
        let expected = [1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 0., 0f32];
        assert_eq!(Vec::<f32>::try_from(hot.flatten(0, 2)).unwrap(), expected);
    }

    #[test]
    fn masks_count_in_strides() {
        let lengths = Tensor::from_slice(&[0, 1, 4, 5]);
        assert_eq!(Vec::<i32>::try_from(strided(&lengths, 4)).unwrap(), [0, 1, 1, 2]);
        let m = mask(&strided(&lengths, 4), 2);
        assert_eq!(Vec::<f32>::try_from(m.flatten(0, 1)).unwrap(), [1., 0., 1., 0., 1., 0., 1., 1.]);
    }
}
