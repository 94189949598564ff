//! The orientations of an image through one set of weights.
//!
//! A network `f` sees copies of a batch under a group of rotations stacked, and the mean of its outputs is the answer:
//! `g(x) = 1/|G| sum_r f(r x)` (Cohen and Welling, *Group equivariant convolutional networks*, 2016, in its simplest
//! form: the group acts on the input). For the four multiples of 90 degrees a rotation of the input only changes the
//! order of the copies, so `g(x) = g(r x)` exactly, before, during and after training.
//!
//! On a lattice of pixels only those four are exact. [`Orientations::C8`] adds the four at 45 degrees, resampled
//! bilinearly: still exact under 90 degrees, closer under 45, with no guarantee in between.

use tch::{Device, Kind, Tensor};

/// A group of rotations about the centre of a square image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientations {
    /// The image as it is.
    One,
    /// Multiples of 90 degrees.
    C4,
    /// Multiples of 45 degrees. Pixels outside the inscribed disc are set to 0, in all copies, because the odd
    /// multiples lack some of them.
    C8,
}

impl Orientations {
    /// Number of rotations, `R`.
    pub fn len(self) -> usize {
        match self {
            Self::One => 1,
            Self::C4 => 4,
            Self::C8 => 8,
        }
    }

    /// Whether there are no rotations: never.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Stacks the copies: `x` `[B, C, S, S]` gives `[R B, C, S, S]`, the first `B` rows upright.
    pub fn stack(self, x: &Tensor) -> Tensor {
        match self {
            Self::One => x.shallow_clone(),
            Self::C4 => Tensor::cat(&quarter_turns(x), 0),
            Self::C8 => {
                let disc = disc(x.size()[3], x.device());
                let mut copies = quarter_turns(&(x * &disc));
                copies.extend(quarter_turns(&(eighth_turn(x) * disc)));
                Tensor::cat(&copies, 0)
            }
        }
    }

    /// The mean over the copies: `[R B, F] -> [B, F]`. Opposite copies are added first, so that a quarter turn of the
    /// input swaps terms of commutative sums, and rounding is not affected either.
    pub fn merge(self, stacked: &Tensor) -> Tensor {
        let copies = stacked.chunk(self.len() as i64, 0);
        let quarter_sum = |c: &[Tensor]| (&c[0] + &c[2]) + (&c[1] + &c[3]);
        match self {
            Self::One => stacked.shallow_clone(),
            Self::C4 => quarter_sum(&copies) * 0.25,
            Self::C8 => (quarter_sum(&copies[..4]) + quarter_sum(&copies[4..])) * 0.125,
        }
    }
}

fn quarter_turns(x: &Tensor) -> Vec<Tensor> {
    (0..4).map(|turns| x.rot90(turns, [2i64, 3])).collect()
}

/// The image rotated by 45 degrees about its centre, bilinearly; 0 where there are no pixels.
fn eighth_turn(x: &Tensor) -> Tensor {
    let size = x.size();
    let side = size[3];
    let across = centres(side, x.device()); // [S], in [-1, 1]
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let (row, column) = (across.view([side, 1]), across.view([1, side]));
    let grid = Tensor::stack(&[(&column - &row) * half, (&column + &row) * half], -1); // [S, S, 2]: x, y
    let grid = grid.to_kind(x.kind()).unsqueeze(0).expand([size[0], side, side, 2], false);
    const BILINEAR: i64 = 0;
    const ZEROS: i64 = 0;
    x.grid_sampler(&grid, BILINEAR, ZEROS, false)
}

/// 1 for pixels whose centres lie in the inscribed disc, 0 outside: `[S, S]`, f32.
fn disc(side: i64, device: Device) -> Tensor {
    let across = centres(side, device).square();
    (across.view([side, 1]) + across.view([1, side])).le(1.0).to_kind(Kind::Float)
}

/// The centres of the pixels of a row of an image extending from -1 to 1: `[S]`.
fn centres(side: i64, device: Device) -> Tensor {
    let positions: Vec<f32> = (0..side).map(|i| ((2 * i + 1 - side) as f64 / side as f64) as f32).collect();
    Tensor::from_slice(&positions).to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(batch: i64, side: i64) -> Tensor {
        let numbers = Tensor::arange(batch * side * side, (Kind::Float, Device::Cpu));
        (numbers * 12.9898).sin().view([batch, 1, side, side])
    }

    fn largest(x: &Tensor) -> f64 {
        x.abs().max().double_value(&[])
    }

    #[test]
    fn a_quarter_turn_permutes_the_copies() {
        let x = image(2, 5);
        let (plain, turned) = (Orientations::C4.stack(&x), Orientations::C4.stack(&x.rot90(1, [2i64, 3])));
        assert_eq!(plain.size(), [8, 1, 5, 5]);
        for copy in 0..4 {
            assert_eq!(turned.narrow(0, 2 * copy, 2), plain.narrow(0, 2 * ((copy + 1) % 4), 2));
        }
        assert_eq!(plain.narrow(0, 0, 2), x);
    }

    #[test]
    fn the_merged_mean_is_exact_under_a_quarter_turn() {
        let x = image(3, 6);
        for group in [Orientations::C4, Orientations::C8] {
            // Something that depends on the orientation: a fixed, lopsided functional.
            let weight = Tensor::arange(36, (Kind::Float, Device::Cpu)).cos();
            let f = |x: &Tensor| group.merge(&(group.stack(x).view([-1, 36]) * &weight).sum_dim_intlist(1, true, None));
            let (plain, turned) = (f(&x), f(&x.rot90(1, [2i64, 3])));
            let allowed = if group == Orientations::C4 { 0.0 } else { 1e-5 };
            assert!(largest(&(&plain - &turned)) <= allowed, "{group:?}");
            let one = |x: &Tensor| (x.view([-1, 36]) * &weight).sum(Kind::Float);
            assert!(largest(&(one(&x) - one(&x.rot90(1, [2i64, 3]).contiguous()))) > 0.1);
        }
    }

    #[test]
    fn an_eighth_turn_is_that_of_the_plane() {
        // A linear ramp is reproduced exactly by bilinear interpolation: x at (row, column) turned by 45 degrees
        // is (column - row) / sqrt 2, where all four neighbours lie inside the image.
        let side = 9;
        let across = centres(side, Device::Cpu);
        let ramp = across.view([1, 1, 1, side]).expand([1, 1, side, side], false);
        let turned = eighth_turn(&ramp);
        for (row, column) in [(4i64, 4i64), (2, 4), (4, 6), (3, 3), (5, 2)] {
            let at = |i: i64| (2 * i + 1 - side) as f64 / side as f64;
            let expected = (at(column) - at(row)) * std::f64::consts::FRAC_1_SQRT_2;
            let found = turned.double_value(&[0, 0, row, column]);
            assert!((found - expected).abs() < 1e-6, "({row}, {column}): {found} {expected}");
        }
    }

    #[test]
    fn the_disc_leaves_the_corners_out() {
        let disc = disc(4, Device::Cpu);
        let expected = [0., 1., 1., 0., 1., 1., 1., 1., 1., 1., 1., 1., 0., 1., 1., 0f32];
        assert_eq!(Vec::<f32>::try_from(disc.flatten(0, 1)).unwrap(), expected);
        let c8 = Orientations::C8.stack(&Tensor::ones([1, 1, 4, 4], (Kind::Float, Device::Cpu)));
        assert_eq!(largest(&(c8 * (1.0 - disc))), 0.0);
    }
}
