use invar_dataset::{DatasetError, View, ViewShape};

use super::{Frame, ViewConfig, ViewMaker};
use crate::{Error, Grain, GrainDataset, resample::Placement};

/// The fields that a view shows, each with a maker of its own: what is seen as a whole, and where asked for a detail of it.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    /// The whole first.
    makers: Vec<ViewMaker>,
}

impl Fields {
    /// # Errors
    /// As [`ViewMaker::new`], of any field.
    pub(crate) fn new(grains: &GrainDataset, config: &ViewConfig) -> Result<Self, Error> {
        let mut makers = vec![ViewMaker::new(grains, config)?];
        if let Some(detail) = config.detail {
            makers.push(ViewMaker::of_detail(grains, config, detail)?);
        }
        Ok(Self { makers })
    }

    /// The field that is seen as a whole.
    pub(crate) fn whole(&self) -> &ViewMaker {
        &self.makers[0]
    }

    /// The field of a detail.
    pub(crate) fn detail(&self) -> Option<&ViewMaker> {
        self.makers.get(1)
    }

    /// What every view looks like: the planes of one field behind those of the other.
    pub(crate) fn shape(&self) -> ViewShape {
        let size = self.whole().size();
        ViewShape::Dense(vec![self.makers.iter().map(ViewMaker::channels).sum(), size, size])
    }

    /// A view of what `sample` samples of each field: its maker, frame and number are given.
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

    /// Offsets for `rotations` views at each of `crops` places of the whole: one a field, for each view. A detail lies
    /// elsewhere in every view, so that their mean is of the whole region.
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
