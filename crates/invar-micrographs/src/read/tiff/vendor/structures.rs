//! Pixel sizes in vendors' binary structures.

use super::Tags;
use crate::{
    PixelSize, PixelSizeSource,
    read::{
        tiff::directory::{decode_text, tag},
        units::{self, NM_PER_METRE},
    },
};

const OLYMPUS_TAG: u16 = 33560;
const TVIPS_TAG: u16 = 37706;
const LSM_TAG: u16 = 34412;

/// Size of EM-MENU's first header, which contains the version; and of the second, up to the mark at its end.
const TVIPS_FIRST_BYTES: u64 = 244;
const TVIPS_SECOND_BYTES: u64 = 6068;
const TVIPS_PIXEL_SIZE_AT: usize = 2724;

impl Tags<'_> {
    /// The structure "SIS0" (`tifffile`, `read_sis`): a list of blocks, of which block 1 has the calibration.
    pub(super) fn olympus(&self) -> Option<PixelSize> {
        // The value of the tag is the offset of the structure.
        let start = self.directory.number(self.source, self.header, OLYMPUS_TAG).ok()??;
        let head = self.source.bytes_at(start, 60, "the Olympus structure").ok()?;
        if !head.starts_with(b"SIS0") {
            return None;
        }
        let num_blocks = u64::from(u16::from_le_bytes([head[58], head[59]]));
        let blocks = self.source.bytes_at(start.checked_add(60)?, 8 * num_blocks, "the Olympus blocks").ok()?;
        let block = blocks.chunks_exact(8).find(|block| block[..2] == [1, 0])?;
        let offset = u32::from_le_bytes(block[4..].try_into().ok()?);
        let data = self.source.bytes_at(u64::from(offset), 28, "the Olympus calibration").ok()?;
        let exponent = i16::from_le_bytes([data[10], data[11]]);
        let metres = 10f64.powi(i32::from(exponent));
        let length = |at: usize| Some(f64::from_le_bytes(data[at..at + 8].try_into().ok()?) * metres * NM_PER_METRE);
        PixelSize::new(length(12)?, length(20)?, PixelSizeSource::Olympus)
    }

    /// EM-MENU, version 2 (`tifffile`, `TVIPS_HEADER_V2`): single-precision nanometres.
    pub(super) fn tvips(&self) -> Option<PixelSize> {
        let start = self.directory.number(self.source, self.header, TVIPS_TAG).ok()??;
        let len = TVIPS_FIRST_BYTES + TVIPS_SECOND_BYTES;
        let data = self.source.bytes_at(start, len, "the TVIPS header").ok()?;
        let (first, second) = data.split_at(TVIPS_FIRST_BYTES as usize);
        let is_second = self.header.u32(first) == 2 && second.ends_with(&[0xaa; 4]);
        let length = |at: usize| f64::from(f32::from_bits(self.header.u32(&second[at..])));
        let size = PixelSize::new(length(TVIPS_PIXEL_SIZE_AT), length(TVIPS_PIXEL_SIZE_AT + 4), PixelSizeSource::Tvips);
        size.filter(|_| is_second)
    }

    /// MetaMorph's list of numbered values, of which 4 and 5 are the calibration, as fractions, and 6 is the unit.
    pub(super) fn metamorph(&self) -> Option<PixelSize> {
        let num_values = self.directory.count(tag::UIC1);
        // Each value consists of two numbers, though the tag says one.
        let start = self.directory.values_at(tag::UIC1)?;
        let list = self.source.bytes_at(start, num_values.checked_mul(8)?, "the MetaMorph values").ok()?;
        let value = |number: u32| {
            let entry = list.chunks_exact(8).find(|entry| self.header.u32(entry) == number)?;
            Some(u64::from(self.header.u32(&entry[4..])))
        };
        let length = |number: u32| {
            let fraction = self.source.bytes_at(value(number)?, 8, "a MetaMorph fraction").ok()?;
            Some(f64::from(self.header.u32(&fraction)) / f64::from(self.header.u32(&fraction[4..])))
        };
        let unit_at = value(6)?;
        let len = self.header.u32(&self.source.bytes_at(unit_at, 4, "a MetaMorph unit").ok()?);
        let unit = self.source.bytes_at(unit_at + 4, u64::from(len), "a MetaMorph unit").ok()?;
        let unit_nm = units::nanometres(decode_text(&unit).trim_matches(['\0', ' ']))?;
        PixelSize::new(length(4)? * unit_nm, length(5)? * unit_nm, PixelSizeSource::Metamorph)
    }

    /// Zeiss LSM: doubles in metres in a structure that is always little-endian.
    pub(super) fn lsm(&self) -> Option<PixelSize> {
        let data = self.directory.bytes(self.source, LSM_TAG).ok()??;
        let length = |at: usize| Some(f64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?) * NM_PER_METRE);
        PixelSize::new(length(40)?, length(48)?, PixelSizeSource::Zeiss)
    }
}
