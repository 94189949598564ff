//! Contigs as they are seen by others: as wholes, with their depth as it was measured.

use std::sync::{Arc, OnceLock};

use invar_dataset::DatasetError;

use crate::{ContigDataset, Depth, views::Features};

/// The features of whole contigs.
///
/// Memory: 4 bytes a feature of each contig that was seen.
pub(crate) struct Wholes {
    contigs: Arc<ContigDataset>,
    features: Features,
    rows: Vec<OnceLock<Box<[f32]>>>,
}

impl Wholes {
    pub fn new(contigs: Arc<ContigDataset>, features: Features) -> Self {
        let rows = (0..contigs.len()).map(|_| OnceLock::new()).collect();
        Self { contigs, features, rows }
    }

    pub fn contigs(&self) -> &ContigDataset {
        &self.contigs
    }

    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Those of contig `index`.
    pub fn of(&self, index: usize) -> Result<&[f32], DatasetError> {
        if let Some(row) = self.rows[index].get() {
            return Ok(row);
        }
        let row = self.computed(index)?.into();
        Ok(self.rows[index].get_or_init(|| row))
    }

    /// The same, for once: nothing is kept.
    pub fn computed(&self, index: usize) -> Result<Vec<f32>, DatasetError> {
        let depths: Vec<Depth> = self.contigs.depths(index).collect();
        Ok(self.features.of(self.contigs.sequence(index)?, &depths))
    }
}
