//! Positive pairs of grains: two views that the encoder should recognise as the same.
//!
//! | kind | the two views |
//! |---|---|
//! | `rotations` | one grain, tile or image, turned twice |
//! | `crops` | two places of it, each turned: what they share is the texture |
//!
//! Both views are sampled from the full-resolution source, each at its own angle over the whole circle: an interpolated
//! view could be distinguished by its blur from one that is not, and whatever distinguishes the two views of a pair
//! from those of others is what a network learns first. Each is then jittered in place, scale and intensity separately.

mod augment;
mod config;
mod describe;
mod draw;

use std::sync::Arc;

use invar_dataset::{Dataset as _, DatasetError, Pair, PairSource, SampleId, SampleName, ViewShape, seed, seed::Rng};

pub use augment::Augmentation;
pub(crate) use augment::normal;
pub use config::{AugmentConfig, CropsConfig, Effect, GrainPairsConfig, PairKindConfig, RotationsConfig};

use crate::{
    Error, Grain, GrainDataset,
    resample::Placement,
    views::{Fields, Frame, Look, ViewConfig},
};

/// Draws pairs from grains.
pub struct GrainPairs {
    grains: Arc<GrainDataset>,
    config: GrainPairsConfig,
    /// Running sums of the weights of the kinds.
    cumulated_weights: Vec<f64>,
    fields: Fields,
}

/// A view before it is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
struct DrawnView {
    placement: Placement,
    /// Placement of the detail, if one is shown.
    detail: Option<Placement>,
    augmentation: Augmentation,
}

impl GrainPairs {
    /// Prepares to draw.
    ///
    /// # Errors
    /// If a setting is invalid, there are no grains, the images do not fit the view (see [`crate::GrainViews::new`]),
    /// or `crops` are requested and the field fills every region.
    pub fn new(grains: Arc<GrainDataset>, config: &GrainPairsConfig, view: &ViewConfig) -> Result<Self, Error> {
        config.validate()?;
        let fields = Fields::new(&grains, view)?;
        let mut weight = 0.0;
        let cumulated_weights = config.kinds.iter().map(|kind| {
            weight += kind.weight();
            weight
        });
        let source = Self { cumulated_weights: cumulated_weights.collect(), config: config.clone(), fields, grains };
        for (i, kind) in config.kinds.iter().enumerate() {
            if matches!(kind, PairKindConfig::Crops(_)) && kind.weight() > 0.0 && source.num_with_room()? == 0 {
                return Err(Error::Config {
                    what: format!("pairs.kinds[{i}]"),
                    expected: "a view.field (times pairs.scale) that leaves room for two crops in some region".into(),
                    found: "a field that fills all of them".into(),
                });
            }
        }
        Ok(source)
    }

    /// Number of regions in which two of the smallest crops can be a quarter of their side apart.
    fn num_with_room(&self) -> Result<usize, DatasetError> {
        let mut num = 0;
        for index in 0..self.grains.len() {
            let maker = self.fields.whole();
            let frame = maker.frame(&self.grains.get(index)?)?;
            let side = maker.fitting_side(&frame, self.config.scale[0]);
            let room = draw::room(maker, &frame, side);
            num += usize::from(room.iter().any(|range| range.end - range.start >= side / 4.0));
        }
        Ok(num)
    }

    fn draw(
        &self,
        index: usize,
        grain: &Grain,
        rng: &mut Rng,
    ) -> Result<(&PairKindConfig, [DrawnView; 2]), DatasetError> {
        debug_assert!(index < self.grains.len());
        let kind = &self.config.kinds[seed::weighted(&self.cumulated_weights, rng)];
        let frame = self.fields.whole().frame(grain)?;
        let detail = self.fields.detail().map(|maker| maker.frame(grain)).transpose()?;
        let first = self.draw_view(grain, &frame, detail.as_ref(), kind, rng);
        let second = self.draw_view(grain, &frame, detail.as_ref(), kind, rng);
        Ok((kind, [first, second]))
    }

    fn draw_view(
        &self,
        grain: &Grain,
        frame: &Frame,
        detail: Option<&Frame>,
        kind: &PairKindConfig,
        rng: &mut Rng,
    ) -> DrawnView {
        let (config, maker) = (&self.config, self.fields.whole());
        let scale = draw::log_uniform(config.scale, rng);
        let side = maker.fitting_side(frame, scale);
        let offset_px = match kind {
            PairKindConfig::Rotations(_) => draw::shift(frame, config.max_shift * side, rng),
            PairKindConfig::Crops(_) => draw::place(maker, grain, frame, side, rng),
        };
        let angle_deg = draw::between([-config.max_angle_deg, config.max_angle_deg], rng);
        let mirror = seed::coin(rng) && config.mirror;
        let look = Look { offset_px, scale, angle_deg, mirror };
        let augmentation = Augmentation::draw(&config.augment, rng);
        let detail = self.fields.detail().zip(detail).map(|(maker, frame)| {
            // Jittered like the whole, but about its own size; at any place, and rotated separately.
            let scale = scale / (config.scale[0] * config.scale[1]).sqrt();
            let offset_px = draw::place(maker, grain, frame, maker.fitting_side(frame, scale), rng);
            let angle_deg = draw::between([-config.max_angle_deg, config.max_angle_deg], rng);
            maker.place(frame, &Look { offset_px, scale, angle_deg, mirror })
        });
        DrawnView { placement: maker.place(frame, &look), detail, augmentation }
    }
}

impl PairSource for GrainPairs {
    fn len(&self) -> usize {
        self.grains.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![self.fields.shape()]
    }

    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        let grain = self.grains.get(index)?;
        let mut rng = seed::rng(seed, index as u64);
        let (_, drawn) = self.draw(index, &grain, &mut rng)?;
        let [first, second] = drawn.map(|DrawnView { placement, detail, augmentation }| {
            self.fields.view(&grain, |maker, _, field| {
                let placement = if field == 0 { placement } else { detail.unwrap_or(placement) };
                let mut values = maker.sample(&grain, &placement, augmentation.reach_px());
                // One instrument: the same strength for everything that a view shows.
                augmentation.apply(&mut values, maker.size(), &mut rng);
                (placement, values)
            })
        });
        Ok(Pair::of(self.grains.sample_id(index), [first?, second?]))
    }

    /// The image: its grains, and overlapping tiles, are never split.
    fn split_key(&self, index: usize) -> SampleId {
        self.grains.group(index)
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(self.grains.sample_name(index))
    }
}

#[cfg(test)]
mod tests;
