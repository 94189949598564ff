//! The compression schemes of TIFF as streams of bytes.

use std::io::{self, BufRead, Read};

use weezl::{BitOrder, LzwStatus, decode};

use crate::read::tiff::layout::Compression;

/// The decompressed bytes of a strip or tile. JPEG is not a stream of bytes and passes through unchanged.
pub(crate) fn stream<'a>(compression: Compression, stored: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None | Compression::Jpeg => Box::new(stored),
        Compression::Deflate => Box::new(flate2::bufread::ZlibDecoder::new(stored)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(stored)?.single_frame()),
        Compression::PackBits => Box::new(PackBits { stored, run: Run::Literal(0) }),
        Compression::Lzw => {
            let mut stored = stored;
            // Before TIFF 6.0 the bits of a code were stored in reverse: an initial clear code begins with 0 and an odd
            // byte.
            if matches!(stored.fill_buf()?, [0, second, ..] if second & 1 == 1) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "LZW of before TIFF 6.0 (save it anew)"));
            }
            let decoder = decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build();
            Box::new(Lzw { stored, decoder })
        }
    })
}

/// Reverses the bits of bytes, for data with the least significant first (FillOrder 2).
pub(crate) fn reverse_bits(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
}

/// Bytes with their bits reversed.
pub(crate) struct Reversed<R>(pub(crate) R);

impl<R: Read> Read for Reversed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.0.read(buffer)?;
        reverse_bits(&mut buffer[..len]);
        Ok(len)
    }
}

/// LZW with the early code switch of TIFF 6.0, section 13.
struct Lzw<R> {
    stored: R,
    decoder: decode::Decoder,
}

impl<R: BufRead> Read for Lzw<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.stored.fill_buf()?;
            let is_over = input.is_empty();
            let result = self.decoder.decode_bytes(input, out);
            self.stored.consume(result.consumed_in);
            let status = result.status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if result.consumed_out > 0 || out.is_empty() || matches!(status, LzwStatus::Done) || is_over {
                return Ok(result.consumed_out);
            }
        }
    }
}

/// PackBits, TIFF 6.0, section 9.
struct PackBits<R> {
    stored: R,
    run: Run,
}

enum Run {
    Literal(usize),
    Repeat(usize, u8),
}

impl<R: BufRead> Read for PackBits<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.run {
                Run::Literal(0) | Run::Repeat(0, _) => {
                    let Some(code) = self.next()? else { return Ok(0) };
                    self.run = match code {
                        0..=127 => Run::Literal(usize::from(code) + 1),
                        128 => continue,
                        129..=255 => {
                            let byte = self.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                            Run::Repeat(257 - usize::from(code), byte)
                        }
                    };
                }
                Run::Literal(left) => {
                    let len = out.len().min(*left);
                    let read = self.stored.read(&mut out[..len])?;
                    *left -= read;
                    return Ok(read);
                }
                Run::Repeat(left, byte) => {
                    let len = out.len().min(*left);
                    out[..len].fill(*byte);
                    *left -= len;
                    return Ok(len);
                }
            }
            if out.is_empty() {
                return Ok(0);
            }
        }
    }
}

impl<R: BufRead> PackBits<R> {
    fn next(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.stored.read(&mut byte)? == 1).then_some(byte[0]))
    }
}
