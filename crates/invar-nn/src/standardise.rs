//! Rows of mean 0 and variance 1.

use half::bf16;
use multiversion::multiversion;
use tch::{Device, Kind, Tensor};

/// Number of parallel sums: the same for every width of vector instructions, so that the results are too.
const LANES: usize = 32;

/// Added to the variance, so that a constant row becomes zeros.
const EPSILON: f32 = 1e-12;

/// `x` `[B, F]`, f32, with each row scaled to mean 0 and (biased) variance 1, like a layer norm without weights; as f32
/// or rounded to bf16. No gradient passes through it: `x` is data.
///
/// On the CPU this is one pass of our own: LibTorch's takes three times as long, and needs another pass for rounding.
pub(crate) fn standardise(x: &Tensor, kind: Kind) -> Tensor {
    let width = x.size()[1];
    if x.device() != Device::Cpu || x.numel() == 0 {
        return x.layer_norm([width], None::<Tensor>, None::<Tensor>, f64::from(EPSILON), true).to_kind(kind);
    }
    let x = x.detach().to_kind(Kind::Float).contiguous();
    let out = Tensor::empty(x.size(), (kind, Device::Cpu));
    // SAFETY: both are contiguous, on the host, of this length and type; `out` was just created and is not shared.
    let rows = unsafe { std::slice::from_raw_parts(x.data_ptr().cast::<f32>(), x.numel()) };
    let rows = rows.chunks_exact(width as usize);
    match kind {
        Kind::BFloat16 => {
            // SAFETY: as above.
            let out = unsafe { std::slice::from_raw_parts_mut(out.data_ptr().cast::<bf16>(), out.numel()) };
            rows.zip(out.chunks_exact_mut(width as usize)).for_each(|(row, out)| rounded(row, out));
        }
        Kind::Float => {
            // SAFETY: as above.
            let out = unsafe { std::slice::from_raw_parts_mut(out.data_ptr().cast::<f32>(), out.numel()) };
            rows.zip(out.chunks_exact_mut(width as usize)).for_each(|(row, out)| exact(row, out));
        }
        other => unreachable!("standardised as {other:?}"),
    }
    out
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn exact(row: &[f32], out: &mut [f32]) {
    let (mean, scale) = moments(row);
    out.iter_mut().zip(row).for_each(|(out, &value)| *out = (value - mean) * scale);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn rounded(row: &[f32], out: &mut [bf16]) {
    let (mean, scale) = moments(row);
    out.iter_mut().zip(row).for_each(|(out, &value)| *out = bf16::from_f32((value - mean) * scale));
}

/// The mean of a row, and one over its standard deviation.
#[inline(always)]
fn moments(row: &[f32]) -> (f32, f32) {
    let mean = sum(row, |value| value) / row.len() as f32;
    let variance = sum(row, |value| (value - mean) * (value - mean)) / row.len() as f32;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

#[inline(always)]
fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for (sum, &value) in sums.iter_mut().zip(block) {
            *sum += term(value);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&value| term(value)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_a_layer_norm() {
        // As wide as the k-mer profiles, narrower than a block, of one value, and with an offset that a sum of squares
        // would lose.
        for (width, offset) in [(2080, 0.0), (2080, 1000.0), (7, -3.0), (1, 5.0)] {
            let x = (Tensor::arange(5 * width, (Kind::Double, Device::Cpu)) * 0.7).sin().view([5, width]) + offset;
            let expected = x.layer_norm([width], None::<Tensor>, None::<Tensor>, f64::from(EPSILON), true);
            let x = x.to_kind(Kind::Float);
            let found = standardise(&x, Kind::Float);
            let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
            let rounding = 2f64.powi(-22) * f64::from(1 + offset.abs() as i32);
            assert!(error < 4.0 * rounding, "{width} {offset}: {error}");
            let halved = standardise(&x, Kind::BFloat16);
            assert_eq!(halved, found.to_kind(Kind::BFloat16), "rounded to the nearest, ties to even");
        }
    }

    #[test]
    fn constant_rows_become_zeros_and_columns_need_not_be_contiguous() {
        let x = Tensor::full([3, 40], 0.25, (Kind::Float, Device::Cpu));
        assert_eq!(standardise(&x, Kind::Float), x.zeros_like());
        let x = (Tensor::arange(120, (Kind::Float, Device::Cpu)) * 0.3).sin().view([40, 3]).tr();
        assert_eq!(standardise(&x, Kind::Float), standardise(&x.contiguous(), Kind::Float));
        assert_eq!(standardise(&x.narrow(0, 0, 0), Kind::BFloat16).size(), [0, 40]);
    }
}
