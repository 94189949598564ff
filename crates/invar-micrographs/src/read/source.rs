//! The bytes of a file or an object, read in place. Nothing is read past its end, so a length that a header claims is checked
//! against the file before memory is allocated for it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use invar_dataset::object::{self, RangedObject};

use crate::{Error, Place};

/// A file or an object of known length.
#[derive(Debug)]
pub(crate) struct ByteSource {
    path: PathBuf,
    data: Data,
    len: u64,
}

#[derive(Debug)]
enum Data {
    File(File),
    Object(RangedObject),
    #[cfg_attr(not(any(test, feature = "fuzzing")), allow(dead_code))]
    Memory(Vec<u8>),
}

impl ByteSource {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        if object::is_url(path) {
            let object = RangedObject::open(path).map_err(Error::io(path))?;
            return Ok(Self { path: path.into(), len: object.len(), data: Data::Object(object) });
        }
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::io(path)(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        Ok(Self { path: path.into(), data: Data::File(file), len: metadata.len() })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { path: "x".into(), len: bytes.len() as u64, data: Data::Memory(bytes) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8], what: &str) -> Result<(), Error> {
        self.check_range(offset, buffer.len() as u64, what)?;
        self.fill(offset, buffer).map_err(Error::io(&self.path))
    }

    /// `len` bytes from `offset` on.
    pub(crate) fn bytes_at(&self, offset: u64, len: u64, what: &str) -> Result<Vec<u8>, Error> {
        self.check_range(offset, len, what)?;
        let mut bytes = vec![0; self.to_usize(len, what)?];
        self.fill(offset, &mut bytes).map_err(Error::io(&self.path))?;
        Ok(bytes)
    }

    /// As many of `len` bytes from `offset` on as there are.
    pub(crate) fn head(&self, len: usize) -> Result<Vec<u8>, Error> {
        self.bytes_at(0, self.len.min(len as u64), "the first bytes")
    }

    /// Reads `len` bytes from `offset` on sequentially; ends early if the file does.
    pub(crate) fn stream(&self, offset: u64, len: u64) -> Stream<'_> {
        let end = offset.saturating_add(len).min(self.len);
        let start = offset.min(end);
        Stream { source: self, start, next: start, end }
    }

    /// Checks that `len` bytes from `offset` on are all in the file.
    pub(crate) fn check_range(&self, offset: u64, len: u64, what: &str) -> Result<(), Error> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        Err(Error::Truncated {
            place: Box::new(Place { offset: Some(offset), ..Place::file(&self.path) }),
            expected: format!("{what} of {len} bytes"),
            found: format!("a file of {} bytes", self.len),
        })
    }

    pub(crate) fn to_usize(&self, number: u64, what: &str) -> Result<usize, Error> {
        usize::try_from(number).map_err(|_| self.corrupt(what, "a size that fits the machine", number))
    }

    pub(crate) fn corrupt(
        &self,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Error {
        self.corrupt_at(Place::file(&self.path), what, expected, found)
    }

    pub(crate) fn corrupt_at(
        &self,
        place: Place,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Error {
        Error::Corrupt {
            place: Box::new(place),
            what: what.into(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }

    pub(crate) fn unsupported(&self, feature: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::Unsupported { place: Box::new(Place::file(&self.path)), feature: feature.into(), remedy: remedy.into() }
    }

    #[cfg(unix)]
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.data {
            Data::File(file) => std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset),
            Data::Object(object) => object.read_exact_at(offset, buffer),
            Data::Memory(bytes) => fill_from(bytes, offset, buffer),
        }
    }

    #[cfg(windows)]
    fn fill(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let file = match &self.data {
            Data::File(file) => file,
            Data::Object(object) => return object.read_exact_at(offset, buffer),
            Data::Memory(bytes) => return fill_from(bytes, offset, buffer),
        };
        while !buffer.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += read as u64;
            buffer = &mut buffer[read..];
        }
        Ok(())
    }
}

fn fill_from(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let start = offset as usize;
    buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
    Ok(())
}

/// A part of a source, read from front to back.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    source: &'a ByteSource,
    start: u64,
    next: u64,
    end: u64,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (self.end - self.next).min(buffer.len() as u64) as usize;
        self.source.fill(self.next, &mut buffer[..len])?;
        self.next += len as u64;
        Ok(len)
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::Current(offset) => self.next.checked_add_signed(offset),
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
        };
        match position.filter(|position| (self.start..=self.end).contains(position)) {
            Some(position) => self.next = position,
            None => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
        Ok(self.next - self.start)
    }
}
