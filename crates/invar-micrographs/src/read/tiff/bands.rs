//! Strips and tiles to bands of rows.

use std::io::{BufReader, Read};

use rayon::prelude::*;

use crate::{
    Error, Place,
    read::{
        Band, ByteSource,
        raw::rows_per_band,
        samples,
        tiff::{
            decompress, jpeg,
            layout::{Compression, Layout},
        },
    },
};

/// Maximum number of bytes of a row, or of a tile.
const MAX_CHUNK_BYTES: u64 = 4 << 30;

type Sink<'a> = &'a mut dyn FnMut(Band) -> Result<(), Error>;

/// Passes on the rows of a page.
pub(crate) fn read_bands(source: &ByteSource, layout: &Layout, max_pixels: u64, sink: Sink<'_>) -> Result<(), Error> {
    let reader = Reader { source, layout, chunks: layout.chunks(source)? };
    let rows = rows_per_band(layout.width, max_pixels);
    let is_whole = layout.is_tiled || layout.compression == Compression::Jpeg;
    reader.check_memory(if is_whole { layout.chunk_height } else { 1 })?;
    let mut coloured = |band: Band| {
        let Some(palette) = &layout.palette else { return sink(band) };
        let corrupt = |what: &str, expected, found| source.corrupt_at(layout.place(source), what, expected, found);
        let samples = palette.colours(&band.samples).map_err(|index| palette.error(index, corrupt))?;
        sink(Band { samples, ..band })
    };
    let sink: Sink<'_> = &mut coloured;
    if is_whole || layout.chunk_height <= rows { reader.by_chunks(rows, sink) } else { reader.by_rows(rows, sink) }
}

struct Reader<'a> {
    source: &'a ByteSource,
    layout: &'a Layout,
    chunks: Vec<(u64, u64)>,
}

/// Where the rows of a strip or tile go in a band.
struct Target {
    plane: usize,
    first_column: usize,
}

impl Reader<'_> {
    fn check_memory(&self, rows: u32) -> Result<(), Error> {
        let bytes = self.layout.row_bytes().saturating_mul(u64::from(rows));
        let row = u64::from(self.layout.width) * u64::from(self.layout.channels) * self.layout.value_bytes() as u64;
        if bytes.max(row) <= MAX_CHUNK_BYTES {
            return Ok(());
        }
        let place = Box::new(self.layout.place(self.source));
        let feature = format!("a row or tile of {} bytes", bytes.max(row));
        Err(Error::Unsupported { place, feature, remedy: format!("write tiles of less than {MAX_CHUNK_BYTES} bytes") })
    }

    /// Whole rows of strips or tiles at a time, decoded in parallel.
    fn by_chunks(&self, rows_per_band: u32, sink: Sink<'_>) -> Result<(), Error> {
        let layout = self.layout;
        let step = (rows_per_band / layout.chunk_height).max(1) * layout.chunk_height;
        let mut first_row = 0;
        while first_row < layout.height {
            let num_rows = step.min(layout.height - first_row);
            let first_chunk = u64::from(first_row / layout.chunk_height);
            let samples = samples::collect(layout.stored, self.band_len(num_rows), |out| {
                if self.is_direct() { self.strips(first_chunk, out) } else { self.tiles(first_chunk, out) }
            })?;
            sink(Band { first_row, num_rows, samples })?;
            first_row += num_rows;
        }
        Ok(())
    }

    fn band_len(&self, num_rows: u32) -> usize {
        num_rows as usize * self.layout.width as usize * usize::from(self.layout.channels)
    }

    fn out_row_bytes(&self) -> usize {
        self.band_len(1) * self.layout.value_bytes()
    }

    /// Whether decompressed strips are already rows of the band.
    fn is_direct(&self) -> bool {
        let layout = self.layout;
        !layout.is_tiled && !layout.is_planar && layout.channels == layout.num_stored && layout.is_whole_bytes()
    }

    fn strips(&self, first_chunk: u64, out: &mut [u8]) -> Result<(), Error> {
        let strip_bytes = self.out_row_bytes() * self.layout.chunk_height as usize;
        let results: Vec<_> = out
            .par_chunks_mut(strip_bytes)
            .enumerate()
            .map(|(index, out)| {
                self.decode(first_chunk + index as u64, out)?;
                self.layout.finish(out);
                Ok(())
            })
            .collect();
        results.into_iter().collect()
    }

    fn tiles(&self, first_chunk: u64, out: &mut [u8]) -> Result<(), Error> {
        let layout = self.layout;
        let row_bytes = self.out_row_bytes();
        let results: Vec<_> = out
            .par_chunks_mut(row_bytes * layout.chunk_height as usize)
            .enumerate()
            .map(|(index, out)| self.row_of_tiles(first_chunk + index as u64, out))
            .collect();
        results.into_iter().collect()
    }

    fn row_of_tiles(&self, chunk_row: u64, out: &mut [u8]) -> Result<(), Error> {
        let layout = self.layout;
        let across = layout.chunks_across();
        let per_plane = across * layout.chunks_down();
        let num_tiles = across * layout.num_planes();
        let decode = |number: u64| {
            let (plane, column) = (number / across, number % across);
            let index = plane * per_plane + chunk_row * across + column;
            let mut rows = vec![0; (layout.row_bytes() * layout.chunk_rows(index)) as usize];
            self.decode(index, &mut rows)?;
            if let std::borrow::Cow::Owned(values) = layout.unpack(&mut rows) {
                rows = values;
            }
            Ok(rows)
        };
        // A few at a time, so that a row of tiles does not take its memory twice.
        let at_once = 2 * rayon::current_num_threads() as u64;
        let mut first = 0;
        while first < num_tiles {
            let last = num_tiles.min(first + at_once);
            let decoded: Vec<Result<Vec<u8>, Error>> = (first..last).into_par_iter().map(decode).collect();
            for (number, rows) in (first..last).zip(decoded) {
                let first_column = (number % across) as usize * layout.chunk_width as usize;
                self.place(&rows?, &Target { plane: (number / across) as usize, first_column }, out);
            }
            first = last;
        }
        Ok(())
    }

    /// Copies rows of whole-byte values to their places in the band.
    fn place(&self, rows: &[u8], target: &Target, out: &mut [u8]) {
        let layout = self.layout;
        let size = layout.value_bytes();
        let (stored, kept) = (layout.per_pixel() as usize, usize::from(layout.channels));
        if layout.is_planar && target.plane >= kept {
            return;
        }
        let columns = (layout.chunk_width as usize).min(layout.width as usize - target.first_column);
        let row_bytes = layout.chunk_width as usize * stored * size;
        let out_rows = out.chunks_exact_mut(self.out_row_bytes());
        for (row, out) in rows.chunks_exact(row_bytes).zip(out_rows) {
            let row = &row[..columns * stored * size];
            let out = &mut out[target.first_column * kept * size..][..columns * kept * size];
            if stored == kept {
                out.copy_from_slice(row);
                continue;
            }
            let from = if layout.is_planar { target.plane * size } else { 0 };
            let len = if layout.is_planar { size } else { kept * size };
            for (pixel, out) in row.chunks_exact(stored * size).zip(out.chunks_exact_mut(kept * size)) {
                out[from..from + len].copy_from_slice(&pixel[..len]);
            }
        }
    }

    /// Decompresses a strip or tile; `out` has room for all its rows.
    fn decode(&self, index: u64, out: &mut [u8]) -> Result<(), Error> {
        let (offset, len) = self.chunks[index as usize];
        let layout = self.layout;
        if layout.compression == Compression::None {
            self.source.read_at(offset, out, "pixels")?;
            if layout.reversed_bits {
                decompress::reverse_bits(out);
            }
            return Ok(());
        }
        let mut stored = self.source.bytes_at(offset, len, "pixels")?;
        if layout.reversed_bits {
            decompress::reverse_bits(&mut stored);
        }
        if layout.compression == Compression::Jpeg {
            return jpeg::decode(layout, &stored, out).map_err(|found| self.damaged(index, &found));
        }
        let mut stream = decompress::stream(layout.compression, stored.as_slice())
            .map_err(|error| self.undecodable(index, &error))?;
        stream.read_exact(out).map_err(|error| self.undecodable(index, &error))?;
        self.finish(index, &mut stream)
    }

    /// Reads what follows the pixels if there is a checksum: padding to a whole strip, then the checksum of everything.
    fn finish(&self, index: u64, stream: &mut dyn Read) -> Result<(), Error> {
        let layout = self.layout;
        if !matches!(layout.compression, Compression::Deflate | Compression::Zstd) {
            return Ok(());
        }
        let padding = layout.row_bytes().saturating_mul(u64::from(layout.chunk_height)).saturating_add(1);
        match std::io::copy(&mut stream.take(padding), &mut std::io::sink()) {
            // The checksum may be cut off: all pixels are there.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(self.undecodable(index, &error)),
            _ => Ok(()),
        }
    }

    fn undecodable(&self, index: u64, error: &std::io::Error) -> Error {
        if error.kind() != std::io::ErrorKind::UnexpectedEof {
            return self.damaged(index, &error.to_string());
        }
        Error::Truncated {
            place: Box::new(self.place_of(index)),
            expected: format!("{} rows in {}", self.layout.chunk_rows(index), self.name(index)),
            found: "the end of its data".into(),
        }
    }

    fn damaged(&self, index: u64, found: &str) -> Error {
        self.source.corrupt_at(self.place_of(index), self.name(index), "data that can be decompressed", found)
    }

    fn name(&self, index: u64) -> String {
        format!("{} {index}", if self.layout.is_tiled { "tile" } else { "strip" })
    }

    fn place_of(&self, index: u64) -> Place {
        Place { offset: Some(self.chunks[index as usize].0), ..self.layout.place(self.source) }
    }

    /// Strips that are too large for a band, a few rows at a time.
    fn by_rows(&self, rows_per_band: u32, sink: Sink<'_>) -> Result<(), Error> {
        let layout = self.layout;
        for chunk_row in 0..layout.chunks_down() {
            let rows_of_strip = layout.chunk_rows(chunk_row) as u32;
            let mut planes = (0..layout.num_planes())
                .map(|plane| plane * layout.chunks_down() + chunk_row)
                .map(|index| Ok((index, self.stream(index)?)))
                .collect::<Result<Vec<_>, Error>>()?;
            let mut done = 0;
            while done < rows_of_strip {
                let num_rows = rows_per_band.min(rows_of_strip - done);
                let samples = samples::collect(layout.stored, self.band_len(num_rows), |out| {
                    for (plane, (index, stream)) in planes.iter_mut().enumerate() {
                        self.next_rows(*index, stream, plane, num_rows, out)?;
                    }
                    Ok(())
                })?;
                sink(Band { first_row: chunk_row as u32 * layout.chunk_height + done, num_rows, samples })?;
                done += num_rows;
            }
            for (index, stream) in &mut planes {
                self.finish(*index, stream)?;
            }
        }
        Ok(())
    }

    fn stream(&self, index: u64) -> Result<Box<dyn Read + '_>, Error> {
        let (offset, len) = self.chunks[index as usize];
        let stored: Box<dyn Read + '_> = match self.layout.reversed_bits {
            false => Box::new(self.source.stream(offset, len)),
            true => Box::new(decompress::Reversed(self.source.stream(offset, len))),
        };
        if self.layout.compression == Compression::None {
            return Ok(stored);
        }
        let stored = BufReader::with_capacity(1 << 16, stored);
        decompress::stream(self.layout.compression, stored).map_err(|error| self.undecodable(index, &error))
    }

    fn next_rows(
        &self,
        index: u64,
        stream: &mut dyn Read,
        plane: usize,
        num_rows: u32,
        out: &mut [u8],
    ) -> Result<(), Error> {
        if self.is_direct() {
            stream.read_exact(out).map_err(|error| self.undecodable(index, &error))?;
            self.layout.finish(out);
            return Ok(());
        }
        let mut rows = vec![0; self.layout.row_bytes() as usize * num_rows as usize];
        stream.read_exact(&mut rows).map_err(|error| self.undecodable(index, &error))?;
        self.place(&self.layout.unpack(&mut rows), &Target { plane, first_column: 0 }, out);
        Ok(())
    }
}
