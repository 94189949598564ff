use tch::{Device, Tensor};

use crate::{Batch, Encoded, Encoder, Error, Mode, SampleIds};

/// The views of a batch of pairs, stacked: rows `0..B` are the anchors, `B..2B` the second views, and so on.
#[derive(Debug)]
pub struct Views {
    /// All views `[num_views * B, ...]`.
    pub stacked: Batch,
    /// Of which sample each of them is.
    pub samples: SampleIds,
}

impl Views {
    /// Number of pairs, `B`.
    pub fn num_pairs(&self) -> usize {
        self.samples.num_pairs()
    }

    /// The same numbers, not copied.
    pub fn shallow_clone(&self) -> Self {
        Self { stacked: self.stacked.shallow_clone(), samples: self.samples.clone() }
    }

    /// The same on a device, without waiting for a copy out of page-locked memory.
    pub fn to_device(&self, device: Device) -> Self {
        Self { stacked: self.stacked.to_device(device), samples: self.samples.clone() }
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

    /// What a masked-token loss asks of each view, as [`Batch::targets`]: one entry a view.
    pub fn targets(views: &Views) -> Vec<Option<Tensor>> {
        let rows = views.num_pairs() as i64;
        let of_view = |view| views.stacked.targets().map(|targets| targets.narrow(0, view * rows, rows));
        (0..views.samples.num_views() as i64).map(of_view).collect()
    }

    /// Embedding dimensions, `D`.
    pub fn dim(&self) -> usize {
        match self {
            Self::Siamese(encoder) => encoder.dim(),
        }
    }
}
