//! A small U-Net that marks boundaries, run without LibTorch.
//!
//! It was trained only on [synthetic micrographs](crate::synthetic), by `crates/invar/examples/train_boundaries.rs`;
//! see `boundaries.md` next to the weights.

mod conv;
mod inputs;
mod rows;
mod stream;
mod weights;

#[cfg(test)]
mod tests;

pub use weights::WeightsError;

use std::sync::LazyLock;

use inputs::Inputs;

/// A pixel belongs to a boundary if the middle of one is within this distance.
pub(crate) const BOUNDARY_PX: f32 = 0.8;

/// The network that comes with Invar.
pub(crate) fn shipped() -> &'static BoundaryNetwork {
    static SHIPPED: LazyLock<BoundaryNetwork> = LazyLock::new(|| {
        let bytes = include_bytes!("learned/boundaries.weights");
        BoundaryNetwork::from_bytes(bytes).expect("a test reads the weights that come with Invar")
    });
    &SHIPPED
}

/// The inputs of the network for a pixel: grey relative to the picture's spread, and to the local one.
pub const NUM_INPUTS: usize = 2;

/// A convolution of 3 x 3 or 1 x 1 pixels, with zeros beyond the edges.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Channels out, channels in, side of the kernel.
    pub extents: [usize; 3],
    /// `[out, in, side, side]`.
    pub kernel: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// The boundary network: for each pixel, the probability that the middle of a boundary is within 0.8 pixels.
///
/// A U-Net of convolutions followed by ReLU, two per level of resolution, on the way down and up again; the last one,
/// of 1 x 1, gives logits.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundaryNetwork {
    channels: Vec<usize>,
    layers: Vec<Layer>,
}

impl BoundaryNetwork {
    /// A network whose levels, finest first, have `channels`, from `layers` in the order in which they are applied.
    ///
    /// # Errors
    /// If the layers are not those of such a network.
    pub fn new(channels: Vec<usize>, layers: Vec<Layer>) -> Result<Self, WeightsError> {
        let shapes = weights::shapes(&channels);
        let none = Layer { extents: [0; 3], kernel: Vec::new(), bias: Vec::new() };
        for index in 0..shapes.len().max(layers.len()) {
            let layer = layers.get(index).unwrap_or(&none);
            let [out, num_in, side] = layer.extents;
            let expected = shapes.get(index).copied().unwrap_or([0; 3]);
            if layer.extents != expected || (layer.kernel.len(), layer.bias.len()) != (out * num_in * side * side, out)
            {
                return Err(WeightsError::Shape { index, expected, found: layer.extents });
            }
        }
        Ok(Self { channels, layers })
    }

    /// Reads a file of weights, as written by [`BoundaryNetwork::to_bytes`].
    ///
    /// # Errors
    /// If the bytes are truncated, changed, or something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let (channels, layers) = weights::read(bytes)?;
        Ok(Self { channels, layers })
    }

    /// The probability of a boundary at each pixel of `grey` `[height, width]`, in fractions of the picture's levels;
    /// NaN counts as 0. The same as in one pass over the whole picture, which is mirrored to whole pixels of the
    /// coarsest level; the same bytes with any number of threads. Memory besides the result: about 6 kB per column.
    ///
    /// # Panics
    /// If the number of values is not `width * height`.
    pub fn probability(&self, grey: &[f32], width: usize, height: usize) -> Vec<f32> {
        assert_eq!(grey.len(), width * height, "one value a pixel");
        stream::probability(self, grey, width, height)
    }

    /// The file of weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        weights::write(&self.channels, &self.layers)
    }
}

/// The inputs of the network for `grey` `[height, width]`, in fractions of the picture's levels: `[2, height, width]`.
///
/// # Panics
/// If the number of values is not `width * height`.
pub fn inputs(grey: &[f32], width: usize, height: usize) -> Vec<f32> {
    assert_eq!(grey.len(), width * height, "one value a pixel");
    let mut both = vec![0.0; NUM_INPUTS * grey.len()];
    if !grey.is_empty() {
        let (global, local) = both.split_at_mut(grey.len());
        let mut rows = Inputs::new(grey, width, height, [width, height]);
        global.chunks_mut(width).zip(local.chunks_mut(width)).for_each(|(global, local)| rows.next(global, local));
    }
    both
}
