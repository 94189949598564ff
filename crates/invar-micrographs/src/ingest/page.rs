//! One page of one file: pixels to the shard, grains, label map.

use std::path::{Path, PathBuf};

use invar_dataset::{
    DatasetError, Progress,
    manifest::{self, Input, OtherFile},
    path,
};

use super::{
    BAND_PX, LARGE_PX, classes,
    inputs::ImageInput,
    mask::{Grains, How, MaskFile},
    notes::OfFile,
    output::{self, Checkpoint, Output},
};
use crate::{
    Band, Banner, Error, GrainFacts, GrainSizes, ImageFacts, ImageRef, IngestConfig, LabelMap, Levels, MaskFacts,
    PageInfo, PixelSize, PixelSizeSource, Place, Region, Segmentation, Segments, TestLines,
    measured::Measured,
    read,
    shard::{Metadata, ShardWriter, StoredType},
};

/// Number of test lines in each direction for the intercept method.
const LINES: usize = 10;

/// A page to be ingested.
pub(super) struct Task<'a> {
    /// Index among the pages of all files.
    pub number: usize,
    pub source: &'a ImageInput,
    /// 0-based.
    pub page: usize,
    pub num_pages: usize,
    /// Unique in the dataset.
    pub name: String,
    pub info: PageInfo,
    /// Notes on the file, with its first page.
    pub of_file: OfFile,
}

/// See [`Task::side_by_side`].
fn fitting(bytes: usize, threads: usize, available: usize) -> Option<usize> {
    let fitting = available / bytes.max(1);
    (fitting < 4 * threads).then(|| fitting.clamp(1, threads))
}

impl Task<'_> {
    pub fn num_pixels(&self) -> u64 {
        u64::from(self.info.width) * u64::from(self.info.height)
    }

    fn place(&self) -> Place {
        match self.num_pages {
            1 => Place::file(&self.source.path),
            _ => Place::page(&self.source.path, self.page as u32 + 1),
        }
    }

    /// Its description in messages.
    pub(super) fn described(&self) -> String {
        self.place().to_string()
    }

    /// Checks that it can be segmented on this machine, before anything is read.
    ///
    /// # Errors
    /// If it is too large.
    pub fn check_size(&self, config: &IngestConfig) -> Result<(), Error> {
        if self.source.mask.is_some() {
            return Ok(());
        }
        let height = self.info.height.saturating_sub(config.crop_bottom_px);
        let checked = crate::segment::check_size(&config.segment, self.info.width as usize, height as usize);
        checked.map_err(|error| self.named(error))
    }

    /// How many pages like this one fit into `available` bytes side by side, at least one; `None` if so many that it does
    /// not matter to `threads`, which also take up a page while they wait for parts of another.
    pub fn side_by_side(&self, config: &IngestConfig, threads: usize, available: Option<usize>) -> Option<usize> {
        /// Of the pixels as read and as numbers, and of labels and regions from a mask.
        const IMAGE_BYTES: usize = 16;
        if self.num_pixels() > LARGE_PX {
            return Some(1);
        }
        let (width, height) = (self.info.width as usize, self.info.height as usize);
        let segmenting = match self.source.mask {
            Some(_) => 0,
            None => crate::segment::needed_bytes(&config.segment, width, height),
        };
        let bytes = segmenting + self.num_pixels() as usize * IMAGE_BYTES;
        fitting(bytes, threads, available?)
    }

    fn named(&self, error: Error) -> Error {
        match error {
            Error::Dataset(DatasetError::TooLarge { what, needed, available, remedy }) => {
                DatasetError::TooLarge { what: format!("{}: {what}", self.described()), needed, available, remedy }
                    .into()
            }
            error => error,
        }
    }

    /// The size of a pixel: from the user, then the sample sheet, then the file.
    fn pixel_size(&self, config: &IngestConfig) -> Option<PixelSize> {
        let square = |nm: f64, source| PixelSize { x_nm: nm, y_nm: nm, source };
        let user = config.pixel_size_nm.map(|nm| square(nm, PixelSizeSource::User));
        let sheet = || self.source.pixel_size_nm.map(|nm| square(nm, PixelSizeSource::Sheet));
        let is_size = |nm: f64| nm.is_finite() && nm > 0.0;
        let file = || self.info.pixel_size.filter(|size| is_size(size.x_nm) && is_size(size.y_nm));
        user.or_else(sheet).or_else(file)
    }
}

/// Reads the page, and writes its shard and its label map into `out`.
///
/// # Errors
/// Those of the file and its mask, those of the output, and cancellation.
pub(super) fn ingest_page(
    task: &Task<'_>,
    output: &Output,
    config: &IngestConfig,
    progress: &dyn Progress,
) -> Result<Checkpoint, Error> {
    let mut writer = write_pixels(task, output, progress)?;
    let (crop_bottom_px, banner) = crop(task, &mut writer, config)?;
    let pixels = writer.pixels()?;
    let image = pixels.image();
    let levels = Levels::of(image, config.percentiles);
    let found = find(task, image, levels, crop_bottom_px, config)?;
    let labels = match &found.map {
        Some(map) => Some(write_labels(output.directory(), &task.name, map)?),
        None => None,
    };
    let pixel_size = task.pixel_size(config);
    let facts = facts(task, &found, image, pixel_size, (crop_bottom_px, banner.as_deref()));
    let metadata = Metadata {
        name: task.name.clone(),
        source: path::text(&task.source.path),
        page: task.page as u32 + 1,
        page_name: task.info.name.clone(),
        sample_type: task.info.sample_type,
        levels,
        pixel_size,
        crop_bottom_px,
        banner,
        columns: task.source.columns.clone(),
        facts: Some(facts.clone()),
        classes: found.classes,
    };
    drop(pixels);
    let shard = writer.finish(&metadata, &found.measured)?;
    let inputs = if task.page == 0 { digests(task.source)? } else { Vec::new() };
    Ok(Checkpoint { number: task.number, shard: Some(shard), skipped: None, inputs, facts: Some(facts), labels })
}

/// Size and checksum of the image, and of its mask and class map.
pub(super) fn digests(source: &ImageInput) -> Result<Vec<Input>, Error> {
    let digest = |path: &PathBuf| -> Result<Input, Error> {
        let (size_bytes, sha256) = manifest::file_digest(path)?;
        Ok(Input::new(path, size_bytes, sha256))
    };
    std::iter::once(&source.path).chain(&source.mask).chain(&source.classes).map(digest).collect()
}

fn write_pixels(task: &Task<'_>, output: &Output, progress: &dyn Progress) -> Result<ShardWriter, Error> {
    let PageInfo { width, height, channels, sample_type, .. } = task.info;
    let path = output.directory().join(output::shard_file(task.number));
    let size = [u32::from(channels), height, width];
    let mut writer = ShardWriter::create(&path, size, StoredType::of(sample_type))?;
    let (mut bad, mut first) = (0, None);
    let mut file = read::open(&task.source.path)?;
    file.read_bands(task.page, BAND_PX, &mut |Band { first_row, num_rows, samples }| {
        if progress.is_cancelled() {
            return Err(Error::Interrupted { path: output.target().into() });
        }
        let not_finite = writer.write_band(first_row, num_rows, &samples).map_err(Error::io(&path))?;
        bad += not_finite.count;
        first = first.or(not_finite.first.map(|(pixel, value)| {
            let (row, column) = (pixel as u64 / u64::from(width), pixel as u64 % u64::from(width));
            ((first_row + row as u32, column as u32), value)
        }));
        Ok(())
    })?;
    match first {
        None => Ok(writer),
        Some((pixel, found)) => {
            let place = Box::new(Place { pixel: Some(pixel), ..task.place() });
            Err(Error::NotFinite { place, found, count: bad, total: task.num_pixels() * u64::from(channels) })
        }
    }
}

/// Cuts off what the user requested, or else a banner that is found; returns the number of rows and the reason.
fn crop(task: &Task<'_>, writer: &mut ShardWriter, config: &IngestConfig) -> Result<(u32, Option<String>), Error> {
    let height = task.info.height;
    if config.crop_bottom_px > 0 {
        if config.crop_bottom_px >= height {
            return Err(Error::Config {
                what: "crop_bottom_px".into(),
                expected: format!("fewer than the {height} rows of {}", task.described()),
                found: config.crop_bottom_px.to_string(),
            });
        }
        writer.crop(height - config.crop_bottom_px)?;
        return Ok((config.crop_bottom_px, None));
    }
    // A mask defines what is looked at.
    if !config.detect_banner || task.source.mask.is_some() {
        return Ok((0, None));
    }
    let pixels = writer.pixels()?;
    let levels = Levels::of(pixels.image(), config.percentiles);
    match crate::find_banner(pixels.image(), levels).filter(|banner| banner.rows_px < height) {
        None => Ok((0, None)),
        Some(Banner { rows_px, reason }) => {
            drop(pixels);
            writer.crop(height - rows_px)?;
            Ok((rows_px, Some(reason)))
        }
    }
}

/// What was found on an image.
struct Found {
    map: Option<LabelMap>,
    measured: Measured,
    /// One per region, if there is a class map.
    classes: Option<Vec<u32>>,
    mask: Option<MaskFacts>,
    /// What was decided, if anything was.
    segmentation: Option<GrainFacts>,
}

fn find(
    task: &Task<'_>,
    image: ImageRef<'_>,
    levels: Levels,
    cropped_px: u32,
    config: &IngestConfig,
) -> Result<Found, Error> {
    let described = task.described();
    let file = |path| MaskFile {
        path,
        image: &described,
        page: task.page,
        num_pages: task.num_pages,
        size: [image.height as u32, image.width as u32],
        cropped_px,
    };
    let mut class_map = task.source.classes.as_deref().map(|path| file(path).values()).transpose()?;
    let (mut mask, mut segmentation) = (None, None);
    let segments = match (&task.source.mask, &config.segment) {
        (Some(path), _) => {
            let kind = task.source.mask_kind.unwrap_or(config.mask_kind);
            let Grains { map, classes, facts } =
                file(path).grains(How { kind, background: &config.mask_background })?;
            class_map = class_map.or(classes);
            mask = Some(facts);
            Segments::Labels(map)
        }
        (None, Segmentation::Labels {}) => {
            return Err(Error::Config {
                what: "segment".into(),
                expected: "masks (`labels`, or a column `mask` in the sample sheet)".into(),
                found: format!("none for {}", task.described()),
            });
        }
        (None, config) => {
            let found = crate::segment_with_facts(image, levels, config);
            let (segments, facts) = found.map_err(|error| task.named(error))?;
            segmentation = facts;
            segments
        }
    };
    match segments {
        Segments::Labels(mut map) => {
            if config.min_area_px > 1 {
                drop_small(&mut map, config.min_area_px);
            }
            let measured = Measured::labels(&map, image);
            let classes = class_map.map(|of_pixels| classes::of_labels(&measured.regions, &map, &of_pixels));
            if let Some(facts) = &mut segmentation {
                facts.look_at(&measured.regions);
            }
            Ok(Found { map: Some(map), measured, classes, mask, segmentation })
        }
        Segments::Boxes(boxes) => {
            let measured = Measured::boxes(&boxes, image);
            let classes = class_map.map(|of_pixels| classes::of_boxes(&measured.regions, &of_pixels));
            Ok(Found { map: None, measured, classes, mask, segmentation })
        }
    }
}

/// Turns regions of fewer than `min_area_px` pixels into background.
fn drop_small(map: &mut LabelMap, min_area_px: u64) {
    let mut areas = std::collections::HashMap::new();
    for &label in &map.labels {
        *areas.entry(label).or_insert(0u64) += 1;
    }
    for label in &mut map.labels {
        if areas[label] < min_area_px {
            *label = 0;
        }
    }
}

/// Writes `labels/NAME.tif`, which napari opens as labels; returns its path inside the dataset directory.
fn write_labels(out: &Path, name: &str, map: &LabelMap) -> Result<OtherFile, Error> {
    let file = output::labels_file(name);
    let path = out.join(&file);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    crate::write_label_map(&path, map)?;
    Ok(OtherFile::of(out, file)?)
}

/// The manifest's facts about an image.
fn facts(
    task: &Task<'_>,
    found: &Found,
    image: ImageRef<'_>,
    pixel_size: Option<PixelSize>,
    (crop_bottom_px, banner): (u32, Option<&str>),
) -> ImageFacts {
    let regions = &found.measured.regions;
    let num_border = regions.iter().filter(|region| region.touches_border).count();
    let inner = || regions.iter().filter(|region| !region.touches_border);
    let mean = |total: f64, count: usize| (count > 0).then(|| total / count as f64);
    let mean_area_px = mean(regions.iter().map(|region| region.area_px as f64).sum(), regions.len());
    let area_um2 = pixel_size.map(|size| size.x_nm * size.y_nm * 1e-6);
    ImageFacts {
        image: task.name.clone(),
        source: path::text(&task.source.path),
        page: task.page as u32 + 1,
        width_px: image.width as u32,
        height_px: image.height as u32,
        grains: regions.len() as u64,
        border_grains: num_border as u64,
        mean_area_px,
        mean_area_um2: mean_area_px.zip(area_um2).map(|(px, um2)| px * um2),
        mean_area_of_inner_px: mean(inner().map(|region| region.area_px as f64).sum(), regions.len() - num_border),
        pixel_size,
        crop_bottom_px,
        banner: banner.map(str::to_owned),
        grain_size: found.map.as_ref().zip(pixel_size).and_then(|(map, size)| {
            let sizes = grain_size(map, size, regions)?;
            Some(GrainSizes { intercept_numbers_moved: numbers_moved(&sizes, found.segmentation.as_ref()), ..sizes })
        }),
        mask: found.mask.clone(),
        segmentation: found.segmentation.clone(),
    }
}

/// ASTM grain-size numbers if the grains fill the image; loose particles have none.
fn grain_size(map: &LabelMap, pixel_size: PixelSize, regions: &[Region]) -> Option<GrainSizes> {
    let covered: u64 = regions.iter().map(|region| region.area_px).sum();
    if regions.len() < 2 || covered * 2 < map.labels.len() as u64 {
        return None;
    }
    // Fields of about 50 grains, as E112 requires, but four of them if possible, for a confidence interval.
    let per_side = if regions.len() < 8 { 1 } else { ((regions.len() as f64 / 50.0).sqrt() as usize).clamp(2, 6) };
    let fields = crate::planimetric_fields(map, pixel_size, per_side);
    let lines = [TestLines::Horizontal(LINES), TestLines::Vertical(LINES)];
    let lines: Vec<_> = lines.into_iter().flat_map(|lines| crate::intercepts(map, pixel_size, lines)).collect();
    Some(GrainSizes {
        planimetric: crate::grain_size_by_counting(&fields),
        intercept: crate::grain_size_by_intercepts(&lines),
        intercept_numbers_moved: None,
    })
}

/// G with the threshold divided and multiplied by 1.25: a mean intercept longer by a factor lowers G by 6.64 times its
/// logarithm.
fn numbers_moved(sizes: &GrainSizes, segmentation: Option<&GrainFacts>) -> Option<[f64; 2]> {
    let [over, here, times] = segmentation?.intercepts_px;
    let (number, here) = (sizes.intercept?.number, here?);
    Some([over?, times?].map(|length| number - 6.643_856 * (length / here).log10()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_pages_are_worked_on_as_fit_into_the_memory() {
        let of = |megabytes: usize, threads: usize| fitting(megabytes << 20, threads, 64 << 30);
        // 1.3 GB each: 50 fit into 64 GB.
        assert_eq!((of(1300, 2), of(1300, 16), of(1300, 64)), (None, Some(16), Some(50)));
        assert_eq!((of(40_000, 64), of(100_000, 64), fitting(0, 64, 1 << 30)), (Some(1), Some(1), None));
    }
}
