//! Pixels stored row by row, uncompressed.

use crate::{
    Error, PageInfo,
    read::{
        Band, ByteSource,
        samples::{self, Stored},
    },
};

/// A picture as stored in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    /// Offset of the first pixel.
    pub(crate) offset: u64,
    /// Number type.
    pub(crate) stored: Stored,
    /// Byte order.
    pub(crate) big_endian: bool,
    /// The content of each pixel.
    pub(crate) pixel: Pixel,
}

/// The content of a stored pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixel {
    /// The channels, interleaved.
    Channels,
    /// Blue, green, red and alpha bytes.
    Bgra,
}

impl Plane {
    /// Bytes per row.
    pub(crate) fn row_bytes(&self, info: &PageInfo) -> u64 {
        let channels = match self.pixel {
            Pixel::Channels => u64::from(info.channels),
            Pixel::Bgra => 4,
        };
        u64::from(info.width) * channels * self.stored.num_bytes() as u64
    }
}

/// Passes on the rows.
pub(crate) fn read_bands(
    source: &ByteSource,
    info: &PageInfo,
    plane: &Plane,
    max_pixels: u64,
    sink: &mut dyn FnMut(Band) -> Result<(), Error>,
) -> Result<(), Error> {
    let rows_per_band = rows_per_band(info.width, max_pixels);
    let row_bytes = plane.row_bytes(info);
    let row_len = source.to_usize(u64::from(info.width) * u64::from(info.channels), "a row")?;
    let mut first_row = 0;
    while first_row < info.height {
        let num_rows = rows_per_band.min(info.height - first_row);
        let offset = plane.offset + u64::from(first_row) * row_bytes;
        source.check_range(offset, u64::from(num_rows) * row_bytes, "pixels")?;
        let len = row_len * num_rows as usize;
        let samples = samples::collect(plane.stored, len, |bytes| match plane.pixel {
            Pixel::Channels => {
                source.read_at(offset, bytes, "pixels")?;
                samples::to_native(bytes, plane.stored.num_bytes(), plane.big_endian);
                Ok(())
            }
            Pixel::Bgra => {
                let stored = source.bytes_at(offset, u64::from(num_rows) * row_bytes, "pixels")?;
                for (pixel, out) in stored.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
                    out.copy_from_slice(&[pixel[2], pixel[1], pixel[0]]);
                }
                Ok(())
            }
        })?;
        sink(Band { first_row, num_rows, samples })?;
        first_row += num_rows;
    }
    Ok(())
}

/// How many rows fit into a band.
pub(crate) fn rows_per_band(width: u32, max_pixels: u64) -> u32 {
    u32::try_from(max_pixels / u64::from(width.max(1))).unwrap_or(u32::MAX).max(1)
}
