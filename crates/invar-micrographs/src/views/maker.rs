//! From a grain and a look at it to a view.

use std::ops::Range;

use invar_dataset::{Dataset as _, DatasetError};
use multiversion::multiversion;

use super::{Channels, Field, Masking, ViewConfig};
use crate::{
    Error, Grain, GrainDataset, Mask, StoredImage,
    resample::{Extent, Interpolation, Placement, Plane, resample, resample_plane},
};

/// Makes views of one [`ViewConfig`].
#[derive(Clone, Debug)]
pub struct ViewMaker {
    config: ViewConfig,
    /// Number of planes of a view.
    channels: usize,
    /// How visible each pixel of the inscribed disc is, 0 to 1.
    disc: Vec<f32>,
}

/// Where the views of a grain lie before any jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// `[row, column]` of the centre, in source pixels.
    pub center_px: [f64; 2],
    /// Side of the field, in square-equivalent source pixels.
    pub side_px: f64,
    /// Source pixels `[down, across]` for one square-equivalent pixel.
    pub aspect: [f64; 2],
    /// `[first row, first column, last row, last column]` of the region, source pixels.
    region_px: [f64; 4],
    /// What the field must lie in; `None` if the image continues beyond its edges.
    bounds_px: Option<[f64; 4]>,
}

impl Frame {
    /// First and last row (axis 0) or column (1) of the region.
    pub(crate) fn region_px(&self, axis: usize) -> [f64; 2] {
        [self.region_px[axis], self.region_px[axis + 2]]
    }
}

/// A look at a grain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// `[down, right]` of the centre of the frame, in source pixels.
    pub offset_px: [f64; 2],
    /// Side of the field relative to that of the frame.
    pub scale: f64,
    /// How far the specimen is rotated, counter-clockwise, in degrees.
    pub angle_deg: f64,
    /// Whether it is mirrored after that.
    pub mirror: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { offset_px: [0.0; 2], scale: 1.0, angle_deg: 0.0, mirror: false }
    }
}

/// Width of the edge of a disc, in view pixels.
const SOFT_EDGE_PX: f64 = 2.0;

impl ViewMaker {
    /// Prepares views of the grains of a dataset.
    ///
    /// # Errors
    /// If a setting is invalid, there are no grains, an image has other channels than the first, or its pixel size is
    /// unknown while the field is in micrometres.
    pub fn new(grains: &GrainDataset, config: &ViewConfig) -> Result<Self, Error> {
        Self::of(Shown::Whole, grains, config)
    }

    /// A maker for the field of a detail: if an image is smaller than that, the detail is the image.
    ///
    /// # Errors
    /// As [`ViewMaker::new`].
    pub(crate) fn of_detail(grains: &GrainDataset, config: &ViewConfig, detail: Field) -> Result<Self, Error> {
        Self::of(Shown::Detail, grains, &ViewConfig { field: detail, detail: None, ..config.clone() })
    }

    fn of(shown: Shown, grains: &GrainDataset, config: &ViewConfig) -> Result<Self, Error> {
        config.validate()?;
        if grains.is_empty() {
            return Err(DatasetError::TooFew { what: "showing grains".into(), needed: 1, found: 0 }.into());
        }
        let images = || (0..grains.num_images()).map(|index| grains.image(index));
        let first = grains.image(0);
        let stored = first.pixels().channels;
        for image in images() {
            let channels = image.pixels().channels;
            if config.channels == Channels::Stored && channels != stored {
                let reason = format!(
                    "it has {channels} channels, image {:?} has {stored} (view.channels = \"mean\" shows one of each)",
                    first.name
                );
                return Err(DatasetError::Sample { id: image.name.clone(), reason }.into());
            }
            check_field(shown, config.field, image)?;
            check_levels(config, image)?;
        }
        let channels = if config.channels == Channels::Mean { 1 } else { stored };
        Ok(Self { config: config.clone(), channels, disc: disc(config.size_px as usize) })
    }

    /// Side of a view, in pixels.
    pub fn size(&self) -> usize {
        self.config.size_px as usize
    }

    /// Number of planes of a view.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Where the views of a grain lie.
    ///
    /// # Errors
    /// If the pixel size of its image is needed and unknown.
    pub fn frame(&self, grain: &Grain) -> Result<Frame, DatasetError> {
        let (region, pixels) = (grain.region(), grain.image.pixels());
        let [top, left, bottom, right] = region.bbox_px.map(f64::from);
        // Tiles and whole images have no shape of their own.
        let is_box = grain.mask().is_full();
        let region_px = [top, left, bottom - 1.0, right - 1.0];
        let middle = [(top + bottom - 1.0) / 2.0, (left + right - 1.0) / 2.0];
        let diameter = if is_box { (bottom - top).min(right - left) } else { region.equivalent_diameter_px };
        let side_px = match self.config.field {
            Field::Grain(context) => context * diameter.max(1.0),
            Field::Px(px) => px,
            Field::Um(um) => um / pixel_um(&grain.image)?,
        };
        let bounds_px = is_box.then_some([0.0, 0.0, pixels.height as f64 - 1.0, pixels.width as f64 - 1.0]);
        let center_px = if is_box { middle } else { region.centroid_px };
        Ok(Frame { center_px, side_px, aspect: grain.image.aspect(), region_px, bounds_px })
    }

    /// The placement of a view: as given by the look, but within the bounds of the frame.
    pub fn place(&self, frame: &Frame, look: &Look) -> Placement {
        let side = self.fitting_side(frame, look.scale);
        let mut center_px = [0, 1].map(|axis| frame.center_px[axis] + look.offset_px[axis]);
        if frame.bounds_px.is_some() {
            for (axis, center) in center_px.iter_mut().enumerate() {
                let travel = self.travel(frame, axis, side);
                *center = center.clamp(travel.start, travel.end);
            }
        }
        let step_px = frame.aspect.map(|aspect| aspect * side / self.size() as f64);
        Placement { center_px, angle_deg: look.angle_deg, step_px, mirror: look.mirror }
    }

    /// Rows (axis 0) or columns (1) where the centre of a field of this side may lie for the field to be within the
    /// bounds; the centre of the bounds if the field fills them. `[f64]` range, both ends included.
    pub(crate) fn travel(&self, frame: &Frame, axis: usize, side_px: f64) -> Range<f64> {
        let [first, last] = frame.bounds_px.map_or([f64::MIN, f64::MAX], |b| [b[axis], b[axis + 2]]);
        // Half a pixel more than from centre to centre.
        let reach = self.reach(side_px) * frame.aspect[axis] - 0.5;
        let (start, end) = (first + reach, last - reach);
        if start <= end { start..end } else { (first + last) / 2.0..(first + last) / 2.0 }
    }

    /// Places for `num` crops, as offsets: evenly spread over the disc in the region within which a field can move and
    /// rotate. A single one if it cannot move. (A sunflower: Vogel 1979.)
    pub(crate) fn spread(&self, frame: &Frame, num: usize) -> Vec<[f64; 2]> {
        let [top, left, bottom, right] = frame.region_px;
        let half = ((bottom - top + 1.0) / frame.aspect[0]).min((right - left + 1.0) / frame.aspect[1]) / 2.0;
        let room = half - self.reach(self.fitting_side(frame, 1.0));
        if num == 1 || room <= 0.5 {
            return vec![[0.0; 2]];
        }
        let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
        let at = |k: usize| {
            let (radius, (sin, cos)) = (room * ((k as f64 + 0.5) / num as f64).sqrt(), (golden * k as f64).sin_cos());
            [radius * sin * frame.aspect[0], radius * cos * frame.aspect[1]]
        };
        (0..num).map(at).collect()
    }

    /// Side of the field after scaling, as large as the bounds allow.
    pub(crate) fn fitting_side(&self, frame: &Frame, scale: f64) -> f64 {
        let wanted = frame.side_px * scale;
        let Some([top, left, bottom, right]) = frame.bounds_px else { return wanted };
        let room = ((bottom - top + 1.0) / frame.aspect[0]).min((right - left + 1.0) / frame.aspect[1]);
        wanted.min(room / (2.0 * self.reach(1.0)))
    }

    /// Distance from the centre of a field to its farthest point, for a given side.
    fn reach(&self, side_px: f64) -> f64 {
        match self.config.mask {
            Masking::None => side_px * std::f64::consts::FRAC_1_SQRT_2,
            Masking::Circle | Masking::Grain => side_px / 2.0,
        }
    }

    /// Samples the pixels at a place, hiding nothing: `[channels, size, size]`. With a mask, whatever is farther than
    /// `margin_px` from the disc stays empty.
    pub fn sample(&self, grain: &Grain, placement: &Placement, margin_px: f64) -> Vec<f32> {
        let (image, size) = (&grain.image, self.size());
        let extent = self.extent(margin_px);
        // Checked when the maker was made.
        let levels = self.config.levels().of(image).unwrap_or(image.levels);
        let values = resample(image.pixels(), levels, size, placement, self.config.interpolation, extent);
        match self.config.channels {
            Channels::Mean if values.len() > size * size => mean_plane(&values, size * size),
            _ => values,
        }
    }

    /// Hides what the mask hides in sampled values `[channels, size, size]`.
    pub fn finish(&self, grain: &Grain, placement: &Placement, mut values: Vec<f32>) -> Vec<f32> {
        let size = self.size();
        let planes = values.chunks_exact_mut(size * size);
        match self.config.mask {
            Masking::None => {}
            Masking::Circle => planes.for_each(|plane| hide(plane, &self.disc)),
            Masking::Grain => {
                let mut visible = vec![0.0; size * size];
                let source = MaskPlane { mask: grain.mask(), image: &grain.image };
                let extent = self.extent(0.0);
                resample_plane(&source, size, placement, Interpolation::Bilinear, extent, &mut visible);
                for (visible, disc) in visible.iter_mut().zip(&self.disc) {
                    *visible *= disc;
                }
                planes.for_each(|plane| hide(plane, &visible));
            }
        }
        values
    }

    fn extent(&self, margin_px: f64) -> Extent {
        match self.config.mask {
            Masking::None => Extent::Square,
            Masking::Circle | Masking::Grain => Extent::Disc { margin_px },
        }
    }
}

/// Fields of more than this many times the longer side of an image are taken to be a mistake in the unit.
const MAX_SIDES: f64 = 4.0;

fn check_levels(config: &ViewConfig, image: &StoredImage) -> Result<(), DatasetError> {
    if config.levels().of(image).is_some() {
        return Ok(());
    }
    let reason = "its pixels are floating-point numbers, which have no range of their own: view.levels needs one";
    Err(DatasetError::Sample { id: image.name.clone(), reason: reason.into() })
}

/// What a field refers to.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    Whole,
    Detail,
}

fn check_field(shown: Shown, field: Field, image: &StoredImage) -> Result<(), DatasetError> {
    let key = if shown == Shown::Whole { "field" } else { "detail" };
    let refuse = |reason| Err(DatasetError::Sample { id: image.name.clone(), reason });
    let (side_px, setting) = match (field, image.pixel_um()) {
        (Field::Grain(_), _) => return Ok(()),
        (Field::Px(px), _) => (px, format!("view.{key}.px = {px}")),
        (Field::Um(um), Some(pixel_um)) => (um / pixel_um, format!("view.{key}.um = {um}")),
        (Field::Um(um), None) => {
            return refuse(format!("its pixel size is not known, view.{key}.um = {um} needs it"));
        }
    };
    let (width, height) = (image.pixels().width, image.pixels().height);
    if shown == Shown::Whole && side_px > MAX_SIDES * width.max(height) as f64 {
        return refuse(format!("{setting} is {side_px:.0} px wide, the image has {width} x {height}"));
    }
    Ok(())
}

fn pixel_um(image: &StoredImage) -> Result<f64, DatasetError> {
    image.pixel_um().ok_or_else(|| DatasetError::Sample {
        id: image.name.clone(),
        reason: "its pixel size is not known, a field in micrometres needs it".into(),
    })
}

fn mean_plane(values: &[f32], len: usize) -> Vec<f32> {
    let (first, others) = values.split_at(len);
    let mut mean = first.to_vec();
    for plane in others.chunks_exact(len) {
        mean.iter_mut().zip(plane).for_each(|(mean, value)| *mean += value);
    }
    let scale = len as f32 / values.len() as f32;
    mean.iter_mut().for_each(|value| *value *= scale);
    mean
}

/// Blends pixels with the mean of the visible ones to the extent that they are hidden.
#[multiversion(targets("x86_64+avx"))]
fn hide(plane: &mut [f32], visible: &[f32]) {
    // Several sums at a time, so that additions overlap.
    const LANES: usize = 16;
    let (mut sums, mut totals) = ([0.0f64; LANES], [0.0f64; LANES]);
    let mut add = |values: &[f32], visible: &[f32]| {
        for (k, (&value, &visible)) in values.iter().zip(visible).enumerate() {
            sums[k] += f64::from(value * visible);
            totals[k] += f64::from(visible);
        }
    };
    let ((values, rest), (parts, rest_of_parts)) = (plane.as_chunks::<LANES>(), visible.as_chunks::<LANES>());
    values.iter().zip(parts).for_each(|(values, visible)| add(values, visible));
    add(rest, rest_of_parts);
    let (sum, total) = (sums.iter().sum::<f64>(), totals.iter().sum::<f64>());
    let fill = if total > 0.0 { (sum / total) as f32 } else { 0.5 };
    for (value, &visible) in plane.iter_mut().zip(visible) {
        *value = visible * *value + (1.0 - visible) * fill;
    }
}

fn disc(size: usize) -> Vec<f32> {
    let middle = (size as f64 - 1.0) / 2.0;
    let visible = |k: usize| {
        let distance = ((k / size) as f64 - middle).hypot((k % size) as f64 - middle);
        ((size as f64 / 2.0 - distance) / SOFT_EDGE_PX).clamp(0.0, 1.0) as f32
    };
    (0..size * size).map(visible).collect()
}

/// A grain as 1, the rest of its image as 0.
struct MaskPlane<'a> {
    mask: Mask<'a>,
    image: &'a StoredImage,
}

impl Plane for MaskPlane<'_> {
    fn width(&self) -> usize {
        self.image.pixels().width
    }

    fn height(&self) -> usize {
        self.image.pixels().height
    }

    fn value(&self, row: usize, column: usize) -> f32 {
        if self.mask.contains(row as u32, column as u32) { 1.0 } else { 0.0 }
    }

    fn add_row(&self, row: usize, columns: Range<usize>, sums: &mut [f32]) {
        columns.zip(sums).for_each(|(column, sum)| *sum += self.value(row, column));
    }

    fn copy_row(&self, row: usize, columns: Range<usize>, out: &mut [f32]) {
        columns.zip(out).for_each(|(column, out)| *out = self.value(row, column));
    }
}
