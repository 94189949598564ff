use invar_dataset::Link;
use tch::{Device, Tensor};

use crate::{Batch, Encoded, Encoder, Error, Mode, SampleIds};

/// The views of a batch of pairs, stacked: rows `0..B` are the anchors, `B..2B` the second views, and so on.
#[derive(Debug)]
pub struct Views {
    /// All views `[num_views * B, ...]`.
    pub stacked: Batch,
    /// Of which sample each of them is.
    pub samples: SampleIds,
    /// Which items of the first two views of each pair belong together; empty where no pair says so.
    pub links: Vec<Vec<Link>>,
}

/// What a batch says beside its views, for losses that look at single positions.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What is hidden of each view `[B, L]`, as [`Batch::targets`]: one entry a view.
    pub targets: Vec<Option<Tensor>>,
    /// Links of each pair, or nothing.
    pub links: &'a [Vec<Link>],
    /// Columns of the pictures, where the views are pictures: items are pixels, row by row.
    pub width: Option<usize>,
}

impl Views {
    /// Number of pairs, `B`.
    pub fn num_pairs(&self) -> usize {
        self.samples.num_pairs()
    }

    /// The same numbers, not copied.
    pub fn shallow_clone(&self) -> Self {
        Self { stacked: self.stacked.shallow_clone(), samples: self.samples.clone(), links: self.links.clone() }
    }

    /// The same on a device, without waiting for a copy out of page-locked memory.
    pub fn to_device(&self, device: Device) -> Self {
        let (samples, links) = (self.samples.clone(), self.links.clone());
        Self { stacked: self.stacked.to_device(device), samples, links }
    }

    /// What is asked beside the views.
    pub fn asked(&self) -> Asked<'_> {
        let rows = self.num_pairs() as i64;
        let of_view = |view| self.stacked.targets().map(|targets| targets.narrow(0, view * rows, rows));
        let width = match &self.stacked {
            Batch::Dense { x } if x.dim() == 4 => x.size().last().map(|&width| width as usize),
            _ => None,
        };
        Asked { targets: (0..self.samples.num_views() as i64).map(of_view).collect(), links: &self.links, width }
    }
}

/// Which encoder sees which view.
pub enum Towers {
    /// One encoder sees every view.
    Siamese(Box<dyn Encoder>),
}

impl Towers {
    /// Encodes the views: one [`Encoded`] of `B` rows for each view.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode(&self, views: &Views, mode: Mode) -> Result<Vec<Encoded>, Error> {
        match self {
            Self::Siamese(encoder) => {
                let encoded = encoder.encode(&views.stacked, mode)?;
                let rows = views.num_pairs() as i64;
                Ok((0..views.samples.num_views() as i64).map(|view| encoded.rows(view * rows, rows)).collect())
            }
        }
    }

    /// Embedding dimensions, `D`.
    pub fn dim(&self) -> usize {
        match self {
            Self::Siamese(encoder) => encoder.dim(),
        }
    }
}
