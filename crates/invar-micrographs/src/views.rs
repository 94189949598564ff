//! The views of a grain as it is embedded: unrotated, or rotated and shifted evenly, so that their mean is invariant to
//! both.

mod config;
mod fields;
mod maker;

use std::sync::Arc;

use invar_dataset::{Dataset as _, DatasetError, View, ViewShape, ViewSource};

pub(crate) use config::refuse;
pub use config::{Channels, EmbedConfig, Field, LevelsFrom, Masking, ViewConfig};
pub(crate) use fields::Fields;
pub use maker::{Frame, Look, ViewMaker};

use crate::{Error, Grain, GrainDataset};

/// Angle between two of the rotations that an embedding must ignore, in degrees.
const TURN_DEG: u32 = 15;

/// Number of rotations that an embedding must ignore, not counting the one by 0.
const NUM_TURNS: usize = 360 / TURN_DEG as usize - 1;

/// The views of grains for embedding.
pub struct GrainViews {
    grains: Arc<GrainDataset>,
    config: EmbedConfig,
    mirror: bool,
    fields: Fields,
}

impl GrainViews {
    /// The views of `grains`; `mirror` if pairs are mirrored, so that mirror images are the same to the encoder.
    ///
    /// # Errors
    /// If a setting is invalid, or an image does not fit it: a field in micrometres and a pixel of unknown size, or
    /// another number of channels than the first image.
    pub fn new(grains: Arc<GrainDataset>, view: &ViewConfig, config: EmbedConfig, mirror: bool) -> Result<Self, Error> {
        config.validate()?;
        let fields = Fields::new(&grains, view)?;
        Ok(Self { grains, config, mirror, fields })
    }

    /// All views of a grain that is rotated by `turn_deg` and then mirrored or not.
    fn views_of(&self, grain: &Grain, turn_deg: f64, mirror: bool) -> Result<Vec<View>, DatasetError> {
        let rotations = self.config.rotations as usize;
        let places = self.fields.spread(grain, self.config.crops as usize, rotations)?;
        let view = |(number, offsets): (usize, Vec<[f64; 2]>)| {
            let turned_by = 360.0 * (number % rotations) as f64 / rotations as f64;
            let angle_deg = self.config.angle_deg + turn_deg + turned_by;
            self.fields.view(grain, |maker, frame, field| {
                let look = Look { offset_px: offsets[field], angle_deg, mirror, ..Look::default() };
                let placement = maker.place(frame, &look);
                (placement, maker.sample(grain, &placement, 0.0))
            })
        };
        places.into_iter().enumerate().map(view).collect()
    }
}

impl ViewSource for GrainViews {
    fn len(&self) -> usize {
        self.grains.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.fields.shape()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        self.views_of(&self.grains.get(index)?, 0.0, false)
    }

    fn symmetries(&self) -> Vec<String> {
        let turns = (1..=NUM_TURNS as u32).map(|turn| format!("rotated by {} degrees", turn * TURN_DEG));
        turns.chain(self.mirror.then(|| "mirrored".to_owned())).collect()
    }

    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        assert!(symmetry < NUM_TURNS + usize::from(self.mirror), "symmetry {symmetry} of {}", self.symmetries().len());
        let grain = self.grains.get(index)?;
        match symmetry {
            NUM_TURNS => self.views_of(&grain, 0.0, true),
            turn => self.views_of(&grain, f64::from(TURN_DEG) * (turn + 1) as f64, false),
        }
    }
}

#[cfg(test)]
mod tests;
