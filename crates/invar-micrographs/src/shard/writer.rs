use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use invar_dataset::{
    DatasetError,
    atomic::AtomicFile,
    manifest::{self, Shard},
};
use memmap2::Mmap;

use super::{
    ALIGNMENT, ENTRY_BYTES, GRAIN_BYTES, HEADER_BYTES, MAGIC, Metadata, NUM_SECTIONS, StoredType, VERSION,
    pixels::{self, NotFinite},
};
use crate::{ImageRef, PixelsRef, Region, Samples, measured::Measured};

const PIXELS_AT: usize = (HEADER_BYTES + ENTRY_BYTES * NUM_SECTIONS).next_multiple_of(ALIGNMENT);
const COPY_BYTES: usize = 1 << 20;

/// A shard being written: the pixels first, band by band; then what was found on them.
pub(crate) struct ShardWriter {
    atomic: AtomicFile,
    file: File,
    path: PathBuf,
    width: u32,
    height: u32,
    channels: u32,
    stored: StoredType,
    buffer: Vec<u8>,
}

/// The pixels of a shard being written, mapped from disk.
pub(crate) struct WrittenPixels {
    map: Option<Mmap>,
    width: usize,
    height: usize,
    channels: usize,
    stored: StoredType,
}

impl WrittenPixels {
    pub fn image(&self) -> ImageRef<'_> {
        let len = self.width * self.height * self.channels * self.stored.bytes();
        let bytes = self.map.as_ref().map_or(&[][..], |map| &map[PIXELS_AT..PIXELS_AT + len]);
        let pixels = self.stored.view(bytes).unwrap_or(PixelsRef::U8(&[]));
        ImageRef { width: self.width, height: self.height, channels: self.channels, pixels }
    }
}

impl ShardWriter {
    /// Starts the shard that will become `path`, for an image `[channels, height, width]`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path, [channels, height, width]: [u32; 3], stored: StoredType) -> Result<Self, DatasetError> {
        let atomic = AtomicFile::create(path).map_err(DatasetError::io(path))?;
        let partial = File::options().read(true).write(true).open(atomic.partial_path());
        let file = partial.map_err(DatasetError::io(path))?;
        Ok(Self { atomic, file, path: path.into(), width, height, channels, stored, buffer: Vec::new() })
    }

    /// Stores rows from `first_row` on, interleaved `[rows, width, channels]`; returns which values are not finite.
    ///
    /// # Errors
    /// A sentence for a band that differs in size or type from the image, or system errors.
    pub fn write_band(&mut self, first_row: u32, num_rows: u32, samples: &Samples) -> io::Result<NotFinite> {
        let (len, sample_type) = (samples.len(), samples.sample_type());
        let expected = num_rows as usize * self.width as usize * self.channels as usize;
        let fits = first_row.checked_add(num_rows).is_some_and(|end| end <= self.height);
        if len != expected || StoredType::of(sample_type) != self.stored || !fits {
            return Err(io::Error::other(format!("a band of {len} {sample_type:?} values at row {first_row}")));
        }
        let mut bad = NotFinite::default();
        for channel in 0..self.channels {
            let of_channel = pixels::plane_bytes(samples, self.channels as usize, channel as usize, &mut self.buffer);
            bad.count += of_channel.count;
            bad.first = bad.first.or(of_channel.first);
            self.file.seek(SeekFrom::Start(self.row_at(channel, self.height, first_row)))?;
            self.file.write_all(&self.buffer)?;
        }
        Ok(bad)
    }

    /// Keeps the top `height` rows.
    ///
    /// # Errors
    /// System errors.
    pub fn crop(&mut self, height: u32) -> Result<(), DatasetError> {
        let crop = || -> io::Result<()> {
            let mut buffer = vec![0; COPY_BYTES];
            let plane = u64::from(height) * u64::from(self.width) * self.stored.bytes() as u64;
            // The first plane stays where it is; the others move forward, starting with the foremost.
            for channel in 1..self.channels {
                let (from, to) = (self.row_at(channel, self.height, 0), self.row_at(channel, height, 0));
                let mut done = 0;
                while done < plane {
                    let len = ((plane - done) as usize).min(COPY_BYTES);
                    (&self.file).seek(SeekFrom::Start(from + done))?;
                    (&self.file).read_exact(&mut buffer[..len])?;
                    (&self.file).seek(SeekFrom::Start(to + done))?;
                    (&self.file).write_all(&buffer[..len])?;
                    done += len as u64;
                }
            }
            self.file.set_len(PIXELS_AT as u64 + plane * u64::from(self.channels))
        };
        crop().map_err(DatasetError::io(&self.path))?;
        self.height = height;
        Ok(())
    }

    /// The pixels so far, as an image.
    ///
    /// # Errors
    /// If the file cannot be mapped.
    pub fn pixels(&self) -> Result<WrittenPixels, DatasetError> {
        // An image that was not written to its end has its full length, and zeros there.
        let end = self.row_at(self.channels, self.height, 0);
        if self.file.metadata().map_err(DatasetError::io(&self.path))?.len() < end {
            self.file.set_len(end).map_err(DatasetError::io(&self.path))?;
        }
        // SAFETY: nobody else knows the file, and `self` is not written to while the map is used.
        let map = unsafe { Mmap::map(&self.file) }.map_err(DatasetError::io(&self.path))?;
        Ok(WrittenPixels {
            map: Some(map),
            width: self.width as usize,
            height: self.height as usize,
            channels: self.channels as usize,
            stored: self.stored,
        })
    }

    /// Writes what belongs to the pixels, and renames the file into place.
    ///
    /// # Errors
    /// System errors.
    pub fn finish(mut self, metadata: &Metadata, measured: &Measured) -> Result<Shard, DatasetError> {
        let path = self.path.clone();
        self.write_rest(metadata, measured).map_err(DatasetError::io(&path))?;
        let partial = self.atomic.partial_path().to_path_buf();
        drop(self.file);
        let (size_bytes, sha256) = manifest::file_digest(&partial)?;
        self.atomic.commit().map_err(DatasetError::io(&path))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Shard { file, num_rows: measured.regions.len() as u64, size_bytes, sha256 })
    }

    fn write_rest(&mut self, metadata: &Metadata, measured: &Measured) -> io::Result<()> {
        let Measured { regions, masks, edges } = measured;
        let mut grains = Vec::with_capacity(regions.len() * GRAIN_BYTES);
        for (region, &mask) in regions.iter().zip(&masks.offsets) {
            put_grain(&mut grains, region, mask);
        }
        let mut edge_bytes = Vec::new();
        for edge in edges {
            edge_bytes.extend_from_slice(&edge.a.to_le_bytes());
            edge_bytes.extend_from_slice(&edge.b.to_le_bytes());
            edge_bytes.extend_from_slice(&edge.boundary_px.to_le_bytes());
            edge_bytes.extend_from_slice(&edge.upright_px.to_le_bytes());
        }
        let json = serde_json::to_vec(metadata).map_err(io::Error::other)?;

        let mut head = Vec::with_capacity(PIXELS_AT);
        head.extend_from_slice(MAGIC);
        let num_grains = u32::try_from(regions.len()).map_err(io::Error::other)?;
        for word in [VERSION, self.stored.code(), self.width, self.height, self.channels, num_grains] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        let mut end = self.row_at(self.channels, self.height, 0);
        head.extend_from_slice(&(PIXELS_AT as u64).to_le_bytes());
        head.extend_from_slice(&(end - PIXELS_AT as u64).to_le_bytes());
        self.file.seek(SeekFrom::Start(end))?;
        for bytes in [&grains, &masks.bits, &edge_bytes, &json] {
            let start = end.next_multiple_of(ALIGNMENT as u64);
            head.extend_from_slice(&start.to_le_bytes());
            head.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            self.file.write_all(&[0; ALIGNMENT][..(start - end) as usize])?;
            self.file.write_all(bytes)?;
            end = start + bytes.len() as u64;
        }
        head.resize(PIXELS_AT, 0);
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&head)
    }

    /// Where a row begins in an image of `height` rows.
    fn row_at(&self, channel: u32, height: u32, row: u32) -> u64 {
        let rows = u64::from(channel) * u64::from(height) + u64::from(row);
        PIXELS_AT as u64 + rows * u64::from(self.width) * self.stored.bytes() as u64
    }
}

fn put_grain(out: &mut Vec<u8>, region: &Region, mask: u64) {
    let start = out.len();
    let words = [&[region.label][..], &region.bbox_px, &[region.num_neighbors, u32::from(region.touches_border), 0]];
    out.extend(words.concat().iter().flat_map(|word| word.to_le_bytes()));
    out.extend_from_slice(&region.area_px.to_le_bytes());
    out.extend_from_slice(&mask.to_le_bytes());
    let numbers = [
        region.centroid_px[0],
        region.centroid_px[1],
        region.equivalent_diameter_px,
        region.major_axis_px,
        region.minor_axis_px,
        region.eccentricity,
        region.orientation_rad,
        region.perimeter_px,
        region.solidity,
        region.mean_intensity,
        region.min_intensity,
        region.max_intensity,
    ];
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    debug_assert_eq!(out.len() - start, GRAIN_BYTES);
}
