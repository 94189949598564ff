use invar_dataset::{DatasetError, View, ViewShape};

use super::{Frame, ViewConfig, ViewMaker};
use crate::{Error, Grain, GrainDataset, resample::Placement};

/// The fields that a view shows, each with its own maker: the whole, and optionally a detail of it.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    /// The whole first.
    makers: Vec<ViewMaker>,
}

impl Fields {
    /// # Errors
    /// As [`ViewMaker::new`], for any field.
    pub(crate) fn new(grains: &GrainDataset, config: &ViewConfig) -> Result<Self, Error> {
        let mut makers = vec![ViewMaker::new(grains, config)?];
        if let Some(detail) = config.detail {
            makers.push(ViewMaker::of_detail(grains, config, detail)?);
        }
        Ok(Self { makers })
    }

    /// The field of the whole.
    pub(crate) fn whole(&self) -> &ViewMaker {
        &self.makers[0]
    }

    /// The field of a detail.
    pub(crate) fn detail(&self) -> Option<&ViewMaker> {
        self.makers.get(1)
    }

    /// The shape of every view: the planes of one field after those of the other.
    pub(crate) fn shape(&self) -> ViewShape {
        let size = self.whole().size();
        ViewShape::Dense(vec![self.makers.iter().map(ViewMaker::channels).sum(), size, size])
    }

    /// A view composed of what `sample` returns for each field, given its maker, frame and index.
    ///
    /// # Errors
    /// As [`ViewMaker::frame`].
    pub(crate) fn view(
        &self,
        grain: &Grain,
        mut sample: impl FnMut(&ViewMaker, &Frame, usize) -> (Placement, Vec<f32>),
    ) -> Result<View, DatasetError> {
        let mut planes = Vec::new();
        for (number, maker) in self.makers.iter().enumerate() {
            let frame = maker.frame(grain)?;
            let (placement, values) = sample(maker, &frame, number);
            let shown = maker.finish(grain, &placement, values);
            if planes.is_empty() {
                planes = shown;
            } else {
                planes.extend(shown);
            }
        }
        let ViewShape::Dense(shape) = self.shape() else { unreachable!("views of pictures are dense") };
        Ok(View::Dense { shape, data: planes })
    }

    /// Offsets for `rotations` views at each of `crops` places of the whole: one per field, for each view. A detail
    /// lies elsewhere in every view, so that their mean covers the whole region.
    ///
    /// # Errors
    /// As [`ViewMaker::frame`].
    pub(crate) fn spread(
        &self,
        grain: &Grain,
        crops: usize,
        rotations: usize,
    ) -> Result<Vec<Vec<[f64; 2]>>, DatasetError> {
        let places = self.whole().spread(&self.whole().frame(grain)?, crops);
        let num_views = places.len() * rotations;
        let details = match self.detail() {
            Some(maker) => Some(maker.spread(&maker.frame(grain)?, num_views)),
            None => None,
        };
        let offsets = |view: usize| {
            let whole = places[view / rotations];
            [whole].into_iter().chain(details.as_ref().map(|details| details[view % details.len()])).collect()
        };
        Ok((0..num_views).map(offsets).collect())
    }
}
