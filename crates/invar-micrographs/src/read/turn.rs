//! Pages whose stored rows and columns are not upright (TIFF 6.0, section 8, Orientation).

use crate::{
    Error, Orientation, PageInfo, Samples,
    read::{Band, ByteSource, raw::rows_per_band},
};

/// A page must be whole in memory to be turned.
const MAX_BYTES: u64 = 4 << 30;

/// Passes on the upright rows of a page; `read_stored` passes on the stored rows.
pub(crate) fn read_bands(
    source: &ByteSource,
    info: &PageInfo,
    max_pixels: u64,
    sink: &mut dyn FnMut(Band) -> Result<(), Error>,
    read_stored: impl FnOnce(&mut dyn FnMut(Band) -> Result<(), Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    let row_len = u64::from(info.width) * u64::from(info.channels);
    let num_values = u64::from(info.height).saturating_mul(row_len);
    let pixel_bytes = info.sample_type.num_bytes() * usize::from(info.channels);
    if num_values.saturating_mul(info.sample_type.num_bytes() as u64) > MAX_BYTES {
        let number = info.orientation.number();
        let feature = format!("orientation {number} of {} x {} pixels", info.height, info.width);
        return Err(source.unsupported(feature, "save the picture upright"));
    }
    let mut stored = Samples::zeros(info.sample_type, source.to_usize(num_values, "a page")?);
    let stored_row_bytes = info.stored_size()[1] as usize * pixel_bytes;
    read_stored(&mut |band| {
        let first = band.first_row as usize * stored_row_bytes;
        let values = band.samples.as_ne_bytes();
        stored.as_ne_bytes_mut()[first..first + values.len()].copy_from_slice(values);
        Ok(())
    })?;
    let rows_per_band = rows_per_band(info.width, max_pixels);
    let mut first_row = 0;
    while first_row < info.height {
        let num_rows = rows_per_band.min(info.height - first_row);
        let mut samples = Samples::zeros(info.sample_type, num_rows as usize * row_len as usize);
        let mut out = samples.as_ne_bytes_mut().chunks_exact_mut(pixel_bytes);
        for row in first_row..first_row + num_rows {
            for (column, out) in (0..info.width).zip(&mut out) {
                let [row, column] = stored_at(info.orientation, info.stored_size(), row, column);
                let at = row as usize * stored_row_bytes + column as usize * pixel_bytes;
                out.copy_from_slice(&stored.as_ne_bytes()[at..at + pixel_bytes]);
            }
        }
        sink(Band { first_row, num_rows, samples })?;
        first_row += num_rows;
    }
    Ok(())
}

/// Where the pixel of the upright picture at `row` and `column` is stored.
fn stored_at(orientation: Orientation, [height, width]: [u32; 2], row: u32, column: u32) -> [u32; 2] {
    match orientation.number() {
        2 => [row, width - 1 - column],
        3 => [height - 1 - row, width - 1 - column],
        4 => [height - 1 - row, column],
        5 => [column, row],
        6 => [height - 1 - column, row],
        7 => [height - 1 - column, width - 1 - row],
        8 => [column, width - 1 - row],
        _ => [row, column],
    }
}
