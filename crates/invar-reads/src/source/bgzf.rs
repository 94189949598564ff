//! BGZF (SAM specification, section 4.1): gzip members of at most 64 KiB that state their own size, so that they can be
//! passed to workers unparsed. The last one is empty and shows that the file is complete.
//!
//! Written here rather than taken from noodles, whose threads read a whole file of BGZF: here blocks may occur among
//! other members, one pool of workers serves all inputs, and an error names the block.

use std::{
    cell::RefCell,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use crossbeam_channel::bounded;
use libdeflater::Decompressor;

use super::{Block, Buffers, Outlet, Stop, Stored, Workers};
use crate::{Error, error::Place};

/// Compressed bytes that one worker inflates at a time.
const GROUP_BYTES: usize = 1 << 18;

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

/// Collects blocks and passes them to the workers.
pub(super) struct Blocks<'a> {
    path: &'a Path,
    workers: &'a Workers,
    outlet: &'a Outlet,
    group: Group,
    /// Inflated size of the last block; `None` before the first. The end-of-file block is empty.
    pub last_size: Option<usize>,
}

impl<'a> Blocks<'a> {
    pub fn new(path: &'a Path, workers: &'a Workers, outlet: &'a Outlet) -> Self {
        Self { path, workers, outlet, group: Group::default(), last_size: None }
    }

    /// Reads the block of `size` bytes whose `header` was already taken from `stored`.
    ///
    /// # Errors
    /// If it is truncated or inconsistent.
    pub fn take(&mut self, stored: &mut Stored, header: &[u8], size: usize) -> Result<(), Stop> {
        let offset = stored.offset() - header.len() as u64;
        let place = || Place { offset: Some(offset), ..Place::file(self.path) };
        let Some(rest) = size.checked_sub(header.len()).filter(|&rest| rest >= TRAILER) else {
            return Err(Error::corrupt(place(), "BGZF block size", "room for the block's own header", size).into());
        };
        let group = &mut self.group;
        if group.bytes.is_empty() {
            group.bytes = self.workers.buffers.copy_of(&[]);
            group.offset = offset;
        }
        let start = group.bytes.len();
        group.bytes.extend_from_slice(header);
        let found = stored.take(rest as u64).read_to_end(&mut group.bytes).map_err(Error::io(self.path))?;
        if found < rest {
            group.bytes.truncate(start);
            let (expected, found) = (format!("{rest} more bytes of a BGZF block"), format!("{found} bytes"));
            return Err(Error::Truncated { place: place().into(), expected, found }.into());
        }
        let isize_bytes: [u8; 4] = group.bytes[group.bytes.len() - 4..].try_into().expect("four bytes");
        let inflated = u32::from_le_bytes(isize_bytes) as usize;
        if inflated > MAX_INFLATED {
            group.bytes.truncate(start);
            let expected = format!("at most {MAX_INFLATED}");
            return Err(Error::corrupt(place(), "inflated BGZF block size", expected, inflated).into());
        }
        group.ends.push(group.bytes.len());
        group.inflated_bytes += inflated;
        self.last_size = Some(inflated);
        if group.bytes.len() >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }

    /// Passes on the collected blocks.
    pub fn flush(&mut self) -> Result<(), Stop> {
        if self.group.ends.is_empty() {
            return Ok(());
        }
        submit(std::mem::take(&mut self.group), self.path, self.workers, self.outlet)
    }
}

/// BSIZE + 1 from the extra fields of a gzip header.
pub(super) fn block_size(mut extra: &[u8]) -> Option<usize> {
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
