use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{ObjectIdentity, look, stores, url};

/// The first bytes that are fetched of an object, and most at a time.
const FIRST_BYTES: u64 = 1 << 18;
const MOST_BYTES: u64 = 1 << 22;
/// Pieces that are kept.
const KEPT: usize = 4;

/// An object that is read here and there, as formats with a table of contents are. Pieces around what was read last are
/// kept: at most 16 MiB, and little where little is read.
#[derive(Debug)]
pub struct RangedObject {
    path: PathBuf,
    object: ObjectIdentity,
    /// The piece used last comes last.
    pieces: Mutex<Vec<Piece>>,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl RangedObject {
    /// Looks at an object.
    ///
    /// # Errors
    /// As [`look`].
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), object: look(path)?, pieces: Mutex::default() })
    }

    /// Its size in bytes.
    pub fn len(&self) -> u64 {
        self.object.size_bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// If the object ends before, has changed, or its store does not answer.
    pub fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.is_empty() {
            match pieces.iter().position(|piece| (piece.start..piece.end()).contains(&offset)) {
                Some(at) => {
                    let piece = pieces.remove(at);
                    pieces.push(piece);
                }
                None => {
                    let piece = self.fetch(offset, buffer.len() as u64, &pieces)?;
                    if pieces.len() == KEPT {
                        pieces.remove(0);
                    }
                    pieces.push(piece);
                }
            }
            let piece = pieces.last().expect("one was just pushed");
            let from = (offset - piece.start) as usize;
            let num = buffer.len().min(piece.bytes.len() - from);
            let (now, later) = buffer.split_at_mut(num);
            now.copy_from_slice(&piece.bytes[from..from + num]);
            (offset, buffer) = (offset + num as u64, later);
        }
        Ok(())
    }

    /// The piece from `offset` on: twice as long as the one that it follows, if it follows one.
    fn fetch(&self, offset: u64, needed: u64, pieces: &[Piece]) -> io::Result<Piece> {
        let before = pieces.iter().find(|piece| piece.end() == offset);
        let ahead = before.map_or(FIRST_BYTES, |piece| 2 * piece.bytes.len() as u64);
        let end = offset + ahead.max(needed).min(MOST_BYTES).min(self.len() - offset);
        let bytes = stores()?.read_range(&url::full(&self.path)?, &self.object, offset..end)?;
        if bytes.len() as u64 != end - offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Piece { start: offset, bytes })
    }
}
