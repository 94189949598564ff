//! Grains, with random access, as stored by [`crate::ingest`] or from memory.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use invar_dataset::{
    Dataset, DatasetError, SampleId, SampleName,
    keys::{self, KeyRange, Opened},
    manifest::{self, Manifest},
    sheet::SheetColumns,
};

use crate::{
    ImageFacts, ImageRef, LabelMap, Levels, Neighbors, PhysicalMeasures, PixelSize, PixelsRef, Region,
    facts::DOMAIN,
    measured::Measured,
    shard::{NO_MASK, ShardFile, mask_bytes},
};

mod columns;
mod neighbor_table;

/// The grains of one or several dataset directories. The pixels stay on disk and are mapped; for each grain its
/// [`Region`] is in memory (about 150 bytes), for each image its name and levels.
///
/// The images of the directories are in the order given, those of one directory in the order of its inputs; the grains
/// of an image are ordered by label. An image without grains is included. Each image is a separate mapping, of which
/// Linux allows a process 65,530 by default. Every grain has a [key](invar_dataset::keys) of its own; names are unique
/// only within a directory.
pub struct GrainDataset {
    images: Vec<Arc<StoredImage>>,
    /// Grains in images `0..=i`.
    ends: Vec<u64>,
    /// Keys of the grains of each image.
    keys: Vec<KeyRange>,
    directories: Vec<(PathBuf, Manifest)>,
    sheet: SheetColumns,
}

/// An image, cropped, with its metadata.
pub struct StoredImage {
    /// Unique in its dataset directory; without the file's extension.
    pub name: String,
    /// The file, as named by the user.
    pub source: String,
    /// Page of the file, 1-based.
    pub page: u32,
    /// The values that become 0 and 1 in views.
    pub levels: Levels,
    /// Physical size of a pixel, if known.
    pub pixel_size: Option<PixelSize>,
    /// Metadata from the sample sheet, by column: text, a number, or null.
    pub columns: BTreeMap<String, serde_json::Value>,
    /// What was measured on it at ingest; absent for an image in memory.
    pub facts: Option<ImageFacts>,
    /// The class of each grain from a class map; 0 if unknown.
    classes: Option<Vec<u32>>,
    /// By ascending label.
    regions: Vec<Region>,
    mask_offsets: Vec<u64>,
    store: Store,
}

enum Store {
    Mapped(ShardFile),
    Memory { pixels: Pixels, size: [usize; 3], mask_bits: Vec<u8>, edges: Vec<Neighbors> },
}

/// Pixels in memory, plane by plane: `[channels, height, width]`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Pixels {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// An image for a dataset in memory; see [`GrainDataset::from_images`].
#[derive(Clone, Debug)]
pub struct MemoryImage {
    /// Its name.
    pub name: String,
    /// `[channels, height, width]`.
    pub size: [usize; 3],
    /// As many values as the size requires.
    pub pixels: Pixels,
    /// Which pixels are grains, with the size of the image. `None` makes the whole image one grain.
    pub labels: Option<LabelMap>,
    /// Physical size of a pixel.
    pub pixel_size: Option<PixelSize>,
}

/// A region of an image, with the pixels around it.
#[derive(Clone)]
pub struct Grain {
    /// Its image.
    pub image: Arc<StoredImage>,
    /// Its index among the grains of the image, 0-based.
    pub index_in_image: usize,
}

/// Which pixels belong to a grain.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    bbox_px: [u32; 4],
    /// Row by row of the box, lowest bit first; `None` if the grain fills it.
    bits: Option<&'a [u8]>,
}

impl GrainDataset {
    /// Opens the union of dataset directories. Sizes are checked, checksums are not: see [`Manifest::verify`].
    ///
    /// # Errors
    /// If a directory does not hold a finished dataset of micrographs, a file does not match the manifest, a directory
    /// is given twice, or two of them were made from one file.
    pub fn open(directories: &[PathBuf]) -> Result<Self, DatasetError> {
        let (mut images, mut opened) = (Vec::<Arc<StoredImage>>::new(), Vec::new());
        for path in directories {
            let manifest = Manifest::read(path)?;
            if manifest.domain != DOMAIN {
                return Err(corrupt(path, "domain", DOMAIN, &manifest.domain));
            }
            for shard in &manifest.shards {
                images.push(Arc::new(open_shard(path, shard)?));
            }
            opened.push((path.clone(), manifest));
        }
        let keys = keys_of_images(&images, &opened)?;
        Ok(Self::of(images, keys, opened))
    }

    /// A dataset in memory, for tests and for callers with their own images. The levels are the 1st and 99th
    /// percentile.
    ///
    /// # Panics
    /// If the number of pixels or labels does not match the size, or an image has no pixels.
    pub fn from_images(images: Vec<MemoryImage>) -> Self {
        let images: Vec<_> = images.into_iter().map(|image| Arc::new(StoredImage::from_memory(image))).collect();
        let mut next = KeyRange::default();
        let keys = images.iter().map(|image| {
            let own = next;
            next = next.skip(image.regions.len() as u64);
            own
        });
        let keys = keys.collect();
        Self::of(images, keys, Vec::new())
    }

    /// The directories and their manifests.
    pub fn manifests(&self) -> impl Iterator<Item = (&Path, &Manifest)> {
        self.directories.iter().map(|(path, manifest)| (path.as_path(), manifest))
    }

    /// Number of images.
    pub fn num_images(&self) -> usize {
        self.images.len()
    }

    /// Image `index`.
    ///
    /// # Panics
    /// If `index >= num_images()`.
    pub fn image(&self, index: usize) -> &Arc<StoredImage> {
        &self.images[index]
    }

    /// Index of the image of grain `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn image_of(&self, index: usize) -> usize {
        manifest::locate(&self.ends, index as u64).0
    }

    /// Indices of the grains of image `index`.
    ///
    /// # Panics
    /// If `index >= num_images()`.
    pub fn grains_of(&self, index: usize) -> std::ops::Range<usize> {
        let end = self.ends[index] as usize;
        end - self.images[index].regions.len()..end
    }

    /// Grain `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn grain(&self, index: usize) -> Grain {
        let (image, index_in_image) = manifest::locate(&self.ends, index as u64);
        Grain { image: Arc::clone(&self.images[image]), index_in_image: index_in_image as usize }
    }

    /// What must not be split between training and validation: the image of grain `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn group(&self, index: usize) -> SampleId {
        self.keys[self.image_of(index)].id(0)
    }

    /// The key of grain `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn key(&self, index: usize) -> u64 {
        let (image, index_in_image) = manifest::locate(&self.ends, index as u64);
        self.keys[image].key(index_in_image)
    }

    /// The identity of grain `index` in training.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn sample_id(&self, index: usize) -> SampleId {
        let (image, index_in_image) = manifest::locate(&self.ends, index as u64);
        self.keys[image].id(index_in_image)
    }

    /// The name of grain `index` in outputs.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn sample_name(&self, index: usize) -> SampleName {
        let grain = self.grain(index);
        let source_number = self.keys[self.image_of(index)].source_number();
        SampleName { id: grain.id(), source: grain.image.source.clone(), source_number, key: self.key(index) }
    }

    fn of(images: Vec<Arc<StoredImage>>, keys: Vec<KeyRange>, directories: Vec<(PathBuf, Manifest)>) -> Self {
        let mut end = 0;
        let ends = images.iter().map(|image| {
            end += image.regions.len() as u64;
            end
        });
        let ends = ends.collect();
        let sheet = SheetColumns::of(images.iter().map(|image| &image.columns));
        Self { images, ends, keys, directories, sheet }
    }
}

impl Dataset for GrainDataset {
    type Sample = Grain;

    fn len(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    fn get(&self, index: usize) -> Result<Grain, DatasetError> {
        Ok(self.grain(index))
    }
}

impl StoredImage {
    /// Its pixels.
    pub fn pixels(&self) -> ImageRef<'_> {
        match &self.store {
            Store::Mapped(file) => file.image(),
            Store::Memory { pixels, size, .. } => pixels.image(*size),
        }
    }

    /// Its regions, by ascending label.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Which of its regions touch.
    pub fn neighbors(&self) -> Vec<Neighbors> {
        match &self.store {
            Store::Mapped(file) => file.edges(),
            Store::Memory { edges, .. } => edges.clone(),
        }
    }

    /// The class of its grain `index`, if there is a class map.
    pub fn class(&self, index: usize) -> Option<u32> {
        self.classes.as_ref()?.get(index).copied().filter(|&class| class > 0)
    }

    /// Area of a pixel in square micrometres, if known.
    pub fn pixel_area_um2(&self) -> Option<f64> {
        self.pixel_size.map(|size| size.x_nm * size.y_nm * 1e-6)
    }

    /// Side of a square with the area of a pixel, in micrometres, if known: the unit for lengths in no particular
    /// direction.
    pub fn pixel_um(&self) -> Option<f64> {
        self.pixel_area_um2().map(f64::sqrt)
    }

    /// Number of rows and columns that are as long on the specimen as the side of a square with a pixel's area: 1 and 1
    /// if pixels are square, or nothing is known.
    pub fn aspect(&self) -> [f64; 2] {
        self.pixel_size.map_or([1.0; 2], |size| {
            let tall = (size.x_nm / size.y_nm).sqrt();
            [tall, 1.0 / tall]
        })
    }

    fn open(file: ShardFile) -> Result<Self, DatasetError> {
        let metadata = file.metadata()?;
        let (regions, mask_offsets) = file.regions()?;
        Ok(Self {
            name: metadata.name,
            source: metadata.source,
            page: metadata.page,
            levels: metadata.levels,
            pixel_size: metadata.pixel_size,
            columns: metadata.columns,
            facts: metadata.facts,
            classes: metadata.classes,
            regions,
            mask_offsets,
            store: Store::Mapped(file),
        })
    }

    fn from_memory(image: MemoryImage) -> Self {
        let [channels, height, width] = image.size;
        assert!(channels * height * width > 0, "an image of {channels} x {height} x {width}");
        let view = image.pixels.image(image.size);
        let levels = Levels::of(view, [1.0, 99.0]);
        let Measured { regions, masks, edges } = match &image.labels {
            Some(map) => {
                assert_eq!((map.height, map.width), (height, width), "size of the label map");
                Measured::labels(map, view)
            }
            None => Measured::boxes(&[[0, 0, height as u32, width as u32]], view),
        };
        Self {
            source: image.name.clone(),
            name: image.name,
            page: 1,
            levels,
            pixel_size: image.pixel_size,
            columns: BTreeMap::new(),
            facts: None,
            classes: None,
            regions,
            mask_offsets: masks.offsets,
            store: Store::Memory { pixels: image.pixels, size: image.size, mask_bits: masks.bits, edges },
        }
    }

    fn mask(&self, index: usize) -> Mask<'_> {
        let bbox_px = self.regions[index].bbox_px;
        let bits = match &self.store {
            Store::Mapped(file) => file.masks(),
            Store::Memory { mask_bits, .. } => mask_bits,
        };
        let offset = self.mask_offsets[index];
        // Offsets were checked when the file was opened.
        let bits = (offset != NO_MASK).then(|| &bits[offset as usize..offset as usize + mask_bytes(bbox_px)]);
        Mask { bbox_px, bits }
    }
}

impl fmt::Debug for StoredImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image {:?} with {} regions", self.name, self.regions.len())
    }
}

impl Pixels {
    /// As a picture `[channels, height, width]`.
    ///
    /// # Panics
    /// If the number of values differs.
    pub fn image(&self, [channels, height, width]: [usize; 3]) -> ImageRef<'_> {
        let (len, pixels) = match self {
            Self::U8(values) => (values.len(), PixelsRef::U8(values)),
            Self::U16(values) => (values.len(), PixelsRef::U16(values)),
            Self::F32(values) => (values.len(), PixelsRef::F32(values)),
        };
        assert_eq!(len, channels * height * width, "values of an image of {channels} x {height} x {width}");
        ImageRef { width, height, channels, pixels }
    }
}

impl Grain {
    /// Where it is and what was measured on it.
    pub fn region(&self) -> &Region {
        &self.image.regions[self.index_in_image]
    }

    /// Which pixels belong to it.
    pub fn mask(&self) -> Mask<'_> {
        self.image.mask(self.index_in_image)
    }

    /// What was measured on it, in micrometres; `None` where the pixel size is unknown.
    pub fn in_um(&self) -> Option<PhysicalMeasures> {
        let mask = self.mask();
        let is_inside = |row, column| mask.contains(row, column);
        let size = self.image.pixel_size?;
        Some(self.region().in_um(size, if mask.is_full() { None } else { Some(&is_inside) }))
    }

    /// Its name: `image#label`.
    pub fn id(&self) -> String {
        format!("{}#{}", self.image.name, self.region().label)
    }
}

impl Mask<'_> {
    /// `[first row, first column, last row + 1, last column + 1]`, image pixels.
    pub fn bbox_px(&self) -> [u32; 4] {
        self.bbox_px
    }

    /// Whether all of the box belongs to the grain (tiles, whole images).
    pub fn is_full(&self) -> bool {
        self.bits.is_none()
    }

    /// Whether the pixel belongs to the grain; in image pixels, also outside of the box.
    #[inline]
    pub fn contains(&self, row: u32, column: u32) -> bool {
        let [top, left, bottom, right] = self.bbox_px;
        if row < top || row >= bottom || column < left || column >= right {
            return false;
        }
        self.bits.is_none_or(|bits| {
            let bit = (row - top) as usize * (right - left) as usize + (column - left) as usize;
            bits[bit / 8] >> (bit % 8) & 1 != 0
        })
    }
}

/// For the fuzz target: all pixels of all masks.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_open(file: ShardFile) -> Result<u64, DatasetError> {
    let image = StoredImage::open(file)?;
    let corners = |[top, left, bottom, right]: [u32; 4]| [(top, left), (bottom - 1, right - 1), (bottom, right)];
    let inside = (0..image.regions.len()).map(|index| {
        let mask = image.mask(index);
        corners(mask.bbox_px()).into_iter().filter(|&(row, column)| mask.contains(row, column)).count() as u64
    });
    Ok(inside.sum())
}

/// The keys of the grains of each image: those of its file, in page order.
fn keys_of_images(
    images: &[Arc<StoredImage>],
    directories: &[(PathBuf, Manifest)],
) -> Result<Vec<KeyRange>, DatasetError> {
    let mut rest = images;
    // For each image the index of its directory and of its input there.
    let (mut inputs_of_images, mut opened) = (Vec::new(), Vec::new());
    for (number, (path, manifest)) in directories.iter().enumerate() {
        let (own, others) = rest.split_at(manifest.shards.len());
        rest = others;
        let mut by_path: HashMap<&str, usize> = HashMap::new();
        for (input, of) in manifest.inputs.iter().enumerate() {
            by_path.entry(&of.path).or_insert(input);
        }
        let mut num_samples = vec![0; manifest.inputs.len()];
        for (image, shard) in own.iter().zip(&manifest.shards) {
            let input = *by_path.get(image.source.as_str()).ok_or_else(|| {
                corrupt(&path.join(&shard.file), "input of the image", "one of the manifest", &image.source)
            })?;
            num_samples[input] += image.regions.len() as u64;
            inputs_of_images.push((number, input));
        }
        opened.push(Opened { path, manifest, num_samples });
    }
    let mut next = keys::key_ranges(&opened)?;
    let of_image = |((directory, input), image): ((usize, usize), &Arc<StoredImage>)| {
        let keys = &mut next[directory][input];
        std::mem::replace(keys, keys.skip(image.regions.len() as u64))
    };
    Ok(inputs_of_images.into_iter().zip(images).map(of_image).collect())
}

fn open_shard(directory: &Path, shard: &manifest::Shard) -> Result<StoredImage, DatasetError> {
    let path = directory.join(&shard.file);
    let file = ShardFile::open(&path)?;
    if file.size_bytes() != shard.size_bytes {
        return Err(corrupt(&path, "size in bytes", shard.size_bytes, file.size_bytes()));
    }
    if u64::from(file.num_grains()) != shard.num_rows {
        return Err(corrupt(&path, "number of grains", shard.num_rows, file.num_grains()));
    }
    StoredImage::open(file)
}

fn corrupt(path: &Path, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
    DatasetError::Corrupt {
        path: path.into(),
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests;
