use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use invar_dataset::DatasetError;
use memmap2::Mmap;

use super::{
    EDGE_BYTES, ENTRY_BYTES, GRAIN_BYTES, HEADER_BYTES, MAGIC, Metadata, NO_MASK, NUM_SECTIONS, Section, StoredType,
    VERSION, mask_bytes,
};
use crate::{ImageRef, Neighbors, Region};

/// A shard, memory-mapped. Nothing in the file is trusted: everything but the pixels is checked at opening.
pub(crate) struct ShardFile {
    path: PathBuf,
    map: Mmap,
    sections: [Range<usize>; NUM_SECTIONS],
    width: u32,
    height: u32,
    channels: u32,
    stored: StoredType,
    num_grains: u32,
}

impl ShardFile {
    /// Maps the file and checks its layout.
    ///
    /// # Errors
    /// If it cannot be mapped or is not a shard of this version.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(DatasetError::stored(path))?;
        // SAFETY: shards are written once, under a temporary name, and never changed; should another program change the
        // file, pixels get other values, and everything else was copied when the file was opened.
        let map = unsafe { Mmap::map(&file) }.map_err(DatasetError::io(path))?;
        let mut shard = Self {
            path: path.into(),
            map,
            sections: [const { 0..0 }; NUM_SECTIONS],
            width: 0,
            height: 0,
            channels: 0,
            stored: StoredType::U8,
            num_grains: 0,
        };
        shard.read_layout()?;
        Ok(shard)
    }

    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub fn num_grains(&self) -> u32 {
        self.num_grains
    }

    /// The image, mapped.
    pub fn image(&self) -> ImageRef<'_> {
        let pixels = self.stored.view(self.section(Section::Pixels)).expect("checked at opening");
        ImageRef { width: self.width as usize, height: self.height as usize, channels: self.channels as usize, pixels }
    }

    /// The metadata of the image.
    ///
    /// # Errors
    /// If it is not the expected JSON.
    pub fn metadata(&self) -> Result<Metadata, DatasetError> {
        let metadata: Metadata = serde_json::from_slice(self.section(Section::Metadata))
            .map_err(|error| self.corrupt("metadata", "JSON of an image", error))?;
        let levels = metadata.levels;
        if !(levels.low.is_finite() && levels.high.is_finite() && levels.low < levels.high) {
            let found = format!("{} and {}", levels.low, levels.high);
            return Err(self.corrupt("levels", "two numbers, the lower first", found));
        }
        if let Some(size) = metadata.pixel_size.filter(|size| !(size.x_nm > 0.0 && size.y_nm > 0.0)) {
            return Err(self.corrupt("pixel size", "more than 0 nm", format!("{} x {}", size.x_nm, size.y_nm)));
        }
        Ok(metadata)
    }

    /// All regions, and where each one's mask begins.
    ///
    /// # Errors
    /// If a box is not in the image or a mask not in the file.
    pub fn regions(&self) -> Result<(Vec<Region>, Vec<u64>), DatasetError> {
        let masks = self.section(Section::Masks).len() as u64;
        let (mut regions, mut offsets) = (Vec::new(), Vec::new());
        for (number, bytes) in self.section(Section::Grains).chunks_exact(GRAIN_BYTES).enumerate() {
            let (region, offset) = grain_at(bytes);
            let [top, left, bottom, right] = region.bbox_px;
            if top >= bottom || left >= right || bottom > self.height || right > self.width {
                let expected = format!("within {} x {}", self.height, self.width);
                return Err(self.corrupt(&format!("box of grain {number}"), expected, format!("{:?}", region.bbox_px)));
            }
            if let Some(centre) = region.centroid_px.iter().find(|centre| !centre.is_finite()) {
                return Err(self.corrupt(&format!("centroid of grain {number}"), "a finite number", centre));
            }
            let end = offset.checked_add(mask_bytes(region.bbox_px) as u64);
            if offset != NO_MASK && end.is_none_or(|end| end > masks) {
                let expected = format!("within {masks} bytes");
                return Err(self.corrupt(&format!("mask of grain {number}"), expected, format!("from {offset}")));
            }
            regions.push(region);
            offsets.push(offset);
        }
        Ok((regions, offsets))
    }

    /// The bytes of all masks.
    pub fn masks(&self) -> &[u8] {
        self.section(Section::Masks)
    }

    /// Which regions touch.
    pub fn edges(&self) -> Vec<Neighbors> {
        let edge = |bytes: &[u8]| Neighbors {
            a: u32_at(bytes, 0),
            b: u32_at(bytes, 4),
            boundary_px: u64_at(bytes, 8),
            upright_px: u64_at(bytes, 16),
        };
        self.section(Section::Edges).chunks_exact(EDGE_BYTES).map(edge).collect()
    }

    fn read_layout(&mut self) -> Result<(), DatasetError> {
        let size = self.map.len();
        let head = HEADER_BYTES + ENTRY_BYTES * NUM_SECTIONS;
        if size < head {
            return Err(self.corrupt("size in bytes", format!("at least {head}"), size));
        }
        if self.map[..8] != *MAGIC {
            let found = String::from_utf8_lossy(&self.map[..8]).into_owned();
            return Err(self.corrupt("magic", String::from_utf8_lossy(MAGIC), format!("{found:?}")));
        }
        let word = |number: usize| u32_at(&self.map, 8 + 4 * number);
        let (version, code) = (word(0), word(1));
        if version != VERSION {
            return Err(self.corrupt("shard version", VERSION, version));
        }
        let (width, height, channels, num_grains) = (word(2), word(3), word(4), word(5));
        self.stored = StoredType::from_code(code).ok_or_else(|| self.corrupt("pixel type", "0, 1 or 2", code))?;
        (self.width, self.height, self.channels, self.num_grains) = (width, height, channels, num_grains);
        for number in 0..NUM_SECTIONS {
            let entry = HEADER_BYTES + ENTRY_BYTES * number;
            let (offset, len) = (u64_at(&self.map, entry), u64_at(&self.map, entry + 8));
            let Some(end) = offset.checked_add(len).filter(|&end| end <= size as u64) else {
                let what = format!("end of section {number}");
                return Err(self.corrupt(&what, format!("at most {size}"), format!("{offset} + {len}")));
            };
            self.sections[number] = offset as usize..end as usize;
        }
        self.check_sections()
    }

    fn check_sections(&self) -> Result<(), DatasetError> {
        if self.width == 0 || self.height == 0 || self.channels == 0 {
            let found = format!("{} x {} x {}", self.channels, self.height, self.width);
            return Err(self.corrupt("size of the image", "at least one pixel", found));
        }
        let num_values = u128::from(self.width) * u128::from(self.height) * u128::from(self.channels);
        let pixels = num_values * self.stored.bytes() as u128;
        let grains = u128::from(self.num_grains) * GRAIN_BYTES as u128;
        for (section, expected) in [(Section::Pixels, pixels), (Section::Grains, grains)] {
            let found = self.section(section).len();
            if found as u128 != expected {
                return Err(self.corrupt(&format!("size of section {section:?} in bytes"), expected, found));
            }
        }
        let edges = self.section(Section::Edges).len();
        if !edges.is_multiple_of(EDGE_BYTES) {
            return Err(self.corrupt("size of section Edges in bytes", format!("a multiple of {EDGE_BYTES}"), edges));
        }
        if self.stored.view(self.section(Section::Pixels)).is_none() {
            let found = self.sections[Section::Pixels as usize].start;
            return Err(self.corrupt("offset of the pixels", "aligned, on a little-endian machine", found));
        }
        Ok(())
    }

    fn section(&self, section: Section) -> &[u8] {
        &self.map[self.sections[section as usize].clone()]
    }

    fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
        DatasetError::Corrupt {
            path: self.path.clone(),
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

fn grain_at(bytes: &[u8]) -> (Region, u64) {
    let word = |number: usize| u32_at(bytes, 4 * number);
    let number = |number: usize| f64::from_bits(u64_at(bytes, 48 + 8 * number));
    let region = Region {
        label: word(0),
        bbox_px: [word(1), word(2), word(3), word(4)],
        num_neighbors: word(5),
        touches_border: word(6) & 1 != 0,
        area_px: u64_at(bytes, 32),
        centroid_px: [number(0), number(1)],
        equivalent_diameter_px: number(2),
        major_axis_px: number(3),
        minor_axis_px: number(4),
        eccentricity: number(5),
        orientation_rad: number(6),
        perimeter_px: number(7),
        solidity: number(8),
        mean_intensity: number(9),
        min_intensity: number(10),
        max_intensity: number(11),
    };
    (region, u64_at(bytes, 40))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
