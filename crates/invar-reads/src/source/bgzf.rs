//! BGZF (SAM specification, section 4.1): gzip members of at most 64 KiB that state their own size, so that they can be
//! handed to workers unread. The last one is empty and marks that the file is whole.

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
    path::Path,
    sync::Arc,
};

use crossbeam_channel::bounded;
use libdeflater::Decompressor;

use super::{Block, Buffers, Outlet, Stop, Workers};
use crate::{Error, error::Place};

/// Compressed bytes that one worker inflates at a time.
const GROUP_BYTES: usize = 1 << 18;

/// Bytes of a member's header up to and with XLEN.
const FIXED_HEADER: usize = 12;

/// CRC32 and ISIZE at the end of a member.
const TRAILER: usize = 8;

const MAX_INFLATED: usize = 1 << 16;

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Members in one buffer.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Offset of the first byte in the file.
    offset: u64,
    inflated_bytes: usize,
}

/// Sends the inflated members of `stored`, up to its end.
pub(super) fn send_blocks(
    stored: &mut impl BufRead,
    path: &Path,
    workers: &Workers,
    outlet: &Outlet,
) -> Result<(), Stop> {
    let mut group = Group::default();
    let mut last_size = None;
    let result = loop {
        match read_member(stored, path, &mut group) {
            Ok(Some(size)) => last_size = Some(size),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if group.bytes.len() >= GROUP_BYTES {
            let bytes = workers.buffers.copy_of(&[]);
            let next = Group { offset: group.offset + group.bytes.len() as u64, bytes, ..Group::default() };
            submit(std::mem::replace(&mut group, next), path, workers, outlet)?;
        }
    };
    let end = group.offset + group.bytes.len() as u64;
    submit(group, path, workers, outlet)?;
    result?;
    match last_size {
        Some(0) => Ok(()),
        size => Err(Error::Truncated {
            place: Place { offset: Some(end), ..Place::file(path) }.into(),
            expected: "the empty BGZF block that marks the end of the file".into(),
            found: format!("the end of the file after a block of {} bytes", size.unwrap_or(0)),
        }
        .into()),
    }
}

/// Appends the next member to the group; its inflated size, or `None` at the end of the file.
fn read_member(stored: &mut impl BufRead, path: &Path, group: &mut Group) -> Result<Option<usize>, Error> {
    let start = group.bytes.len();
    let place = || Place { offset: Some(group.offset + start as u64), ..Place::file(path) };
    if stored.fill_buf().map_err(Error::io(path))?.is_empty() {
        return Ok(None);
    }
    let bytes = &mut group.bytes;
    take(stored, bytes, FIXED_HEADER, path, place)?;
    let header = &bytes[start..];
    if header[..3] != [0x1f, 0x8b, 8] || header[3] & 4 == 0 {
        return Err(Error::corrupt(place(), "BGZF block", "1f 8b 08 04", format!("{:02x?}", &header[..4])));
    }
    let extra_len = usize::from(u16::from_le_bytes([header[10], header[11]]));
    take(stored, bytes, extra_len, path, place)?;
    let Some(size) = block_size(&bytes[start + FIXED_HEADER..]) else {
        return Err(Error::corrupt(place(), "BGZF block", "a BC field with the block's size", "none"));
    };
    let Some(rest) = size.checked_sub(FIXED_HEADER + extra_len).filter(|&rest| rest >= TRAILER) else {
        return Err(Error::corrupt(place(), "BGZF block size", "room for the block's own header", size));
    };
    take(stored, bytes, rest, path, place)?;
    let isize_bytes: [u8; 4] = bytes[bytes.len() - 4..].try_into().expect("four bytes");
    let inflated = u32::from_le_bytes(isize_bytes) as usize;
    if inflated > MAX_INFLATED {
        return Err(Error::corrupt(place(), "inflated BGZF block size", format!("at most {MAX_INFLATED}"), inflated));
    }
    group.ends.push(group.bytes.len());
    group.inflated_bytes += inflated;
    Ok(Some(inflated))
}

/// Appends exactly `len` bytes; on an early end takes the unfinished member off again.
fn take(
    stored: &mut impl BufRead,
    bytes: &mut Vec<u8>,
    len: usize,
    path: &Path,
    place: impl Fn() -> Place,
) -> Result<(), Error> {
    let before = bytes.len();
    let found = stored.take(len as u64).read_to_end(bytes).map_err(Error::io(path))?;
    if found == len {
        return Ok(());
    }
    bytes.truncate(before);
    Err(Error::Truncated {
        place: place().into(),
        expected: format!("{len} more bytes of a BGZF block"),
        found: format!("{found} bytes"),
    })
}

/// BSIZE + 1 from the extra fields of a gzip header.
fn block_size(mut extra: &[u8]) -> Option<usize> {
    while let [id_1, id_2, len_low, len_high, rest @ ..] = extra {
        let len = usize::from(u16::from_le_bytes([*len_low, *len_high]));
        let value = rest.get(..len)?;
        if (*id_1, *id_2, len) == (b'B', b'C', 2) {
            return Some(usize::from(u16::from_le_bytes([value[0], value[1]])) + 1);
        }
        extra = &rest[len..];
    }
    None
}

fn submit(group: Group, path: &Path, workers: &Workers, outlet: &Outlet) -> Result<(), Stop> {
    let (sender, receiver) = bounded(1);
    let path = path.to_path_buf();
    let buffers = Arc::clone(&workers.buffers);
    workers.pool.spawn_fifo(move || {
        let result = inflate(&group, &path, &buffers);
        buffers.put(group.bytes);
        let _ = sender.send(result);
    });
    outlet.send(Block::Pending(receiver))
}

fn inflate(group: &Group, path: &Path, buffers: &Buffers) -> Result<Vec<u8>, Error> {
    let mut output = buffers.take(group.inflated_bytes);
    let (mut start, mut filled) = (0, 0);
    for &end in &group.ends {
        let place = || Place { offset: Some(group.offset + start as u64), ..Place::file(path) };
        let damaged = |error: &dyn std::fmt::Display| Error::corrupt(place(), "BGZF block", "an intact block", error);
        let member = &group.bytes[start..end];
        let size_bytes: [u8; 4] = member[member.len() - 4..].try_into().expect("a member ends with ISIZE");
        let room = u32::from_le_bytes(size_bytes) as usize;
        let target = &mut output[filled..filled + room];
        let inflated = DECOMPRESSOR
            .with_borrow_mut(|decompressor| decompressor.gzip_decompress(member, target))
            .map_err(|error| damaged(&io::Error::other(error)))?;
        if inflated != room {
            return Err(damaged(&format!("{inflated} bytes instead of {room}")));
        }
        filled += room;
        start = end;
    }
    Ok(output)
}
