//! Gzip (RFC 1952): a sequence of members. Those of BGZF state their size and go to the workers, the others are
//! inflated here; a file may contain both, for example after `cat` of the lanes of two instruments.
//!
//! What follows the last member is treated as gzip does: zeros are padding, other bytes are skipped with a warning.

use std::{
    io::{self, Cursor, Read},
    path::Path,
};

use flate2::bufread::GzDecoder;

use super::{Filler, Oddity, Outlet, Stop, Stored, Workers, bgzf, decompression_error};
use crate::{Error, error::Place};

/// Bytes of a member's header up to and including XLEN. A member is longer.
const HEADER_BYTES: usize = 12;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Flag of a header that has extra fields.
const HAS_EXTRA: u8 = 4;

/// The beginning of a BGZF header; the bytes in between are a time and two numbers.
const BGZF_START: [u8; 4] = [0x1f, 0x8b, 8, 4];
const BGZF_FIELD: (usize, &[u8]) = (12, b"BC\x02\0");

/// Sends the contents of the members of `stored`, up to its end.
pub(super) fn send_members(
    stored: &mut Stored,
    path: &Path,
    workers: &Workers,
    outlet: &Outlet,
) -> Result<Vec<Oddity>, Stop> {
    let mut blocks = bgzf::Blocks::new(path, workers, outlet);
    let mut plain = Filler::new(workers, outlet);
    let result = loop {
        let member = match next_header(stored, path) {
            Ok(Some(header)) => header,
            Ok(None) => break Ok(None),
            Err(error) => break Err(error.into()),
        };
        match member {
            Header::Bgzf { header, size } => {
                plain.flush()?;
                if let Err(error) = blocks.take(stored, &header, size) {
                    break Err(error);
                }
            }
            Header::Plain(header) => {
                blocks.flush()?;
                blocks.last_size = None;
                let failure = plain.fill(&mut GzDecoder::new(Cursor::new(header).chain(&mut *stored)))?;
                if let Some(error) = failure {
                    break Err(decompression_error(path, stored.offset(), error).into());
                }
            }
            Header::None(bytes) => {
                break skip_rest(stored, bytes, path, blocks.last_size.is_some()).map_err(Stop::from);
            }
        }
    };
    // Send what came before an error first.
    plain.flush()?;
    blocks.flush()?;
    let no_end = blocks.last_size.is_some_and(|size| size > 0).then_some(Oddity::NoEndBlock);
    Ok(no_end.into_iter().chain(result?).collect())
}

/// What is found where a member may begin.
enum Header {
    /// The header of a BGZF block, with its extra fields, and the size of the whole block.
    Bgzf { header: Vec<u8>, size: usize },
    /// The first bytes of a member.
    Plain(Vec<u8>),
    /// Bytes that are not a header.
    None(Vec<u8>),
}

fn next_header(stored: &mut Stored, path: &Path) -> Result<Option<Header>, Error> {
    let start = stored.offset();
    let mut header = Vec::with_capacity(HEADER_BYTES + 6);
    append(stored, &mut header, HEADER_BYTES).map_err(Error::io(path))?;
    let common = header.len().min(MAGIC.len());
    let truncated = |expected: &str, found: usize| Error::Truncated {
        place: Place { offset: Some(start), ..Place::file(path) }.into(),
        expected: expected.into(),
        found: format!("{found} bytes of it"),
    };
    if header.is_empty() {
        return Ok(None);
    }
    if header[..common] != MAGIC[..common] {
        return Ok(Some(Header::None(header)));
    }
    if header.len() < HEADER_BYTES {
        return Err(truncated("a whole gzip member", header.len()));
    }
    if header[3] & HAS_EXTRA == 0 {
        return Ok(Some(Header::Plain(header)));
    }
    let extra_bytes = usize::from(u16::from_le_bytes([header[10], header[11]]));
    append(stored, &mut header, extra_bytes).map_err(Error::io(path))?;
    if header.len() < HEADER_BYTES + extra_bytes {
        return Err(truncated("the whole header of a gzip member", header.len()));
    }
    Ok(Some(match bgzf::block_size(&header[HEADER_BYTES..]) {
        Some(size) => Header::Bgzf { header, size },
        None => Header::Plain(header),
    }))
}

fn append(stored: &mut Stored, bytes: &mut Vec<u8>, len: usize) -> io::Result<usize> {
    stored.take(len as u64).read_to_end(bytes)
}

/// Reads what follows the last member to its end. `follows_bgzf` tells whether that was a block of BGZF: if another one
/// comes later, what is between them was one too before it was damaged.
fn skip_rest(stored: &mut Stored, first: Vec<u8>, path: &Path, follows_bgzf: bool) -> Result<Option<Oddity>, Error> {
    let offset = stored.offset() - first.len() as u64;
    let excerpt = format!("{:02x?}", &first[..first.len().min(4)]);
    let (mut rest, mut size_bytes, mut are_zeros) = (first, 0, true);
    loop {
        are_zeros &= rest.iter().all(|&byte| byte == 0);
        if follows_bgzf && holds_bgzf(&rest) {
            let place = Place { offset: Some(offset), ..Place::file(path) };
            return Err(Error::corrupt(place, "BGZF block", "1f 8b 08 04", excerpt));
        }
        // A header may span two pieces.
        let kept = rest.len().min(BGZF_FIELD.0 + BGZF_FIELD.1.len() - 1);
        size_bytes += (rest.len() - kept) as u64;
        rest.drain(..rest.len() - kept);
        if append(stored, &mut rest, 1 << 16).map_err(Error::io(path))? == 0 {
            size_bytes += rest.len() as u64;
            return Ok((!are_zeros).then_some(Oddity::Garbage { offset, size_bytes }));
        }
    }
}

fn holds_bgzf(bytes: &[u8]) -> bool {
    let (at, field) = BGZF_FIELD;
    memchr::memmem::find_iter(bytes, &BGZF_START).any(|start| bytes[start..].get(at..at + 4) == Some(field))
}
