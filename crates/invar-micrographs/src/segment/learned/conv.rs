use multiversion::multiversion;
use rayon::prelude::*;

use super::{
    Layer,
    rows::{LANES, Rows, stride},
};

/// Number of output channels computed at a time.
const GROUP: usize = 4;

/// A convolution of 3 x 3 followed by ReLU, with its weights in the order of use.
pub(super) struct Conv {
    pub channels: usize,
    /// Group by group of output channels, `[in, 3, 3, GROUP]` each; zeros where there are no more channels.
    kernels: Vec<Vec<f32>>,
    biases: Vec<[f32; GROUP]>,
}

/// Planes that a convolution reads, and by how many halvings their rows are coarser than its own.
pub(super) type Source<'a> = (&'a Rows, usize);

impl Conv {
    pub fn new(layer: &Layer) -> Self {
        let [channels, num_in, side] = layer.extents;
        let size = num_in * side * side;
        let groups = 0..channels.div_ceil(GROUP);
        let of = |group: usize, slot: usize| Some(group * GROUP + slot).filter(|&channel| channel < channels);
        let kernel = |group: usize| {
            let at = |i: usize| of(group, i % GROUP).map_or(0.0, |channel| layer.kernel[channel * size + i / GROUP]);
            (0..size * GROUP).map(at).collect()
        };
        let bias =
            |group: usize| std::array::from_fn(|slot| of(group, slot).map_or(0.0, |channel| layer.bias[channel]));
        Self { channels, kernels: groups.clone().map(kernel).collect(), biases: groups.map(bias).collect() }
    }

    /// Fills `rows`, the first of which is row `first` of `height`, from the planes of `sources`. Each value is
    /// computed in the same order on any thread.
    /// same order whoever does it.
    pub fn fill(&self, rows: &mut [Vec<f32>], first: usize, width: usize, height: usize, sources: &[Source<'_>]) {
        let stride = stride(width);
        let zeros = vec![0.0; stride];
        let lines: Vec<Vec<[&[f32]; 3]>> =
            (first..first + rows.len()).map(|row| lines(row, height, sources, &zeros)).collect();
        let jobs = rows.iter_mut().zip(&lines).flat_map(|(row, lines)| {
            row.chunks_mut(GROUP * stride).zip(&self.kernels).zip(&self.biases).map(move |job| (job, lines))
        });
        let jobs: Vec<_> = jobs.collect();
        jobs.into_par_iter().for_each(|(((out, kernel), bias), lines)| group(out, stride, width, kernel, *bias, lines));
    }
}

/// The three rows around `row` of each plane; `zeros` above the first and below the last.
fn lines<'a>(row: usize, height: usize, sources: &[Source<'a>], zeros: &'a [f32]) -> Vec<[&'a [f32]; 3]> {
    let planes =
        sources.iter().flat_map(|&(rows, coarser)| (0..rows.channels).map(move |plane| (rows, coarser, plane)));
    let around = |(rows, coarser, plane): (&'a Rows, usize, usize)| {
        std::array::from_fn(|offset| match (row + offset).checked_sub(1).filter(|&row| row < height) {
            Some(row) => rows.line(row >> coarser, plane),
            None => zeros,
        })
    };
    planes.map(around).collect()
}

/// Some output channels of a row. Products are not fused with sums, so that all processors give the same values.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn group(out: &mut [f32], stride: usize, width: usize, kernel: &[f32], bias: [f32; GROUP], lines: &[[&[f32]; 3]]) {
    for from in (0..width).step_by(LANES) {
        let [mut a, mut b, mut c, mut d] = bias.map(|bias| [bias; LANES]);
        for (lines, kernel) in lines.iter().zip(kernel.as_chunks::<{ 9 * GROUP }>().0) {
            for (line, kernel) in lines.iter().zip(kernel.as_chunks::<{ 3 * GROUP }>().0) {
                let line: &[f32; LANES + 2] = line[from..].first_chunk().expect("zeros follow a row");
                for (offset, weights) in kernel.as_chunks::<GROUP>().0.iter().enumerate() {
                    let values = line[offset..].first_chunk().expect("two more than the lanes");
                    // One by one, or the compiler leaves the sums in memory.
                    a = add_scaled(a, weights[0], values);
                    b = add_scaled(b, weights[1], values);
                    c = add_scaled(c, weights[2], values);
                    d = add_scaled(d, weights[3], values);
                }
            }
        }
        let end = (from + LANES).min(width);
        for (out, sums) in out.chunks_mut(stride).zip([a, b, c, d]) {
            out[1 + from..1 + end].iter_mut().zip(sums).for_each(|(out, sum)| *out = sum.max(0.0));
        }
    }
}

#[inline(always)]
fn add_scaled(sums: [f32; LANES], weight: f32, values: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|lane| sums[lane] + weight * values[lane])
}
