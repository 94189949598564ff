//! Figures of a step: sums over the processes' shares, and how far the embeddings spread.

use invar_torch::ProcessGroup;
use tch::{Device, Kind, Tensor};

use crate::Error;

/// Over the rows of all views: their number, the sums of their values and the sums of squares, `[1 + 2 D]`.
pub(super) fn moments(views: &[Tensor]) -> Tensor {
    let all = wide(&Tensor::cat(views, 0)); // [2B, D]
    let sum = |x: &Tensor| x.sum_dim_intlist(0, false, Kind::Double);
    let number = Tensor::full([1], all.size()[0], (Kind::Double, all.device()));
    Tensor::cat(&[number, sum(&all), sum(&all.square())], 0)
}

/// Standard deviation of each dimension, averaged, times `sqrt(D)`: about 1 when the embeddings fill the sphere, 0 when
/// they have collapsed to a point. Computed from [`moments`], summed over processes and batches.
pub(super) fn embedding_std(moments: &[f64]) -> f64 {
    let (number, dim) = (moments[0], (moments.len() - 1) / 2);
    let (sums, squares) = moments[1..].split_at(dim);
    let deviation = |(sum, square): (&f64, &f64)| (square / number - (sum / number).powi(2)).max(0.0).sqrt();
    sums.iter().zip(squares).map(deviation).sum::<f64>() / dim as f64 * (dim as f64).sqrt()
}

/// In double precision; Metal lacks it, so there on the CPU.
pub(super) fn wide(x: &Tensor) -> Tensor {
    let x = if x.device() == Device::Mps { x.to_device(Device::Cpu) } else { x.shallow_clone() };
    x.to_kind(Kind::Double)
}

/// The values of scalars and moments, summed over the processes' shares, and of a norm that all of them know, in one
/// copy from the device.
pub(super) fn host_values<'a>(
    shares: impl Iterator<Item = &'a Tensor>,
    moments: &'a Tensor,
    norm: &Tensor,
    group: &ProcessGroup,
) -> Result<Vec<f64>, Error> {
    let flat = |s: &Tensor| wide(s).to_device(moments.device()).view([-1]);
    let mut sums = Tensor::f_cat(&shares.chain([moments]).map(flat).collect::<Vec<_>>(), 0)?;
    group.all_reduce(&mut sums)?;
    Ok(Vec::<f64>::try_from(Tensor::f_cat(&[sums, flat(norm)], 0)?)?)
}

/// The rows of a matrix, row-major.
pub(crate) fn host_rows(x: &Tensor) -> Result<Vec<f32>, Error> {
    let host = x.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![0f32; host.numel()];
    host.f_copy_data(&mut values, host.numel())?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_directions_have_a_spread_of_about_one() {
        // A coordinate of a uniform unit vector has variance 1 / D; 4000 x 32 values estimate it to about 1 %.
        let wild = (Tensor::arange(4000 * 32, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43758.5453; // a hash
        let centred = invar_nn::unit_length(&(wild.frac().abs() - 0.5).view([4000, 32]));
        let spread = |x: Tensor| embedding_std(&Vec::<f64>::try_from(moments(&[x])).unwrap());
        assert!((spread(centred) - 1.0).abs() < 0.02);
        assert_eq!(spread(Tensor::ones([10, 4], (Kind::Double, Device::Cpu))), 0.0);
        // Counts and sums of several batches add up.
        let [a, b] = [1.0, -1.0].map(|sign| moments(&[Tensor::full([3, 4], 0.5 * sign, (Kind::Float, Device::Cpu))]));
        assert_eq!(embedding_std(&Vec::<f64>::try_from(a + b).unwrap()), 1.0);
    }
}
