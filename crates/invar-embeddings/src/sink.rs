use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use polars::prelude::PolarsError;

use crate::EmbeddingsError;

/// Where the Parquet library writes to. It turns the system's errors into texts, or loses them ("File out of
/// specification", "transport error"); so the first is kept here.
pub(crate) struct Sink<W> {
    to: W,
    refusal: Refusal,
}

/// The first error of a [`Sink`].
#[derive(Clone, Default)]
pub(crate) struct Refusal {
    first: Arc<Mutex<Option<io::Error>>>,
}

impl Sink<File> {
    /// Writes over an existing file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(File::options().write(true).open(path)?))
    }
}

impl<W> Sink<W> {
    pub fn new(to: W) -> Self {
        Self { to, refusal: Refusal::default() }
    }

    /// A handle on the sink's first error, even when the library owns the sink.
    pub fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }
}

impl Refusal {
    /// The error to report for one of the library's: the system's, if that was the cause.
    pub fn explain(&self, path: &Path, told: PolarsError) -> EmbeddingsError {
        match self.take() {
            Some(source) => EmbeddingsError::Io { path: path.into(), source },
            None => EmbeddingsError::NotWritten { path: path.into(), source: told },
        }
    }

    /// The system's first error.
    pub fn take(&self) -> Option<io::Error> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            // An I/O error cannot be copied: the library gets one of the same kind.
            let copy = io::Error::new(error.kind(), error.to_string());
            self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            copy
        })
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.refusal.note(self.to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.refusal.note(self.to.flush())
    }
}

impl<W: Seek> Seek for Sink<W> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.refusal.note(self.to.seek(position))
    }
}

#[cfg(test)]
mod tests {
    use invar_dataset::{Fault, FaultClass};
    use polars::prelude::{self as pl, IntoColumn, NamedFrom};

    use super::*;

    /// A disk with room for this many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_as_such_wherever_it_is_met() {
        let column = pl::Series::new("x".into(), (0..1000).collect::<Vec<i32>>()).into_column();
        let frame = pl::DataFrame::new(1000, vec![column]).unwrap();
        let write = |room| {
            let sink = Sink::new(Full(room));
            let refusal = sink.refusal();
            let written = polars_io::prelude::ParquetWriter::new(sink)
                .batched(frame.schema())
                .and_then(|mut writer| writer.write_batch(&frame).and_then(|()| writer.finish()));
            written.map_err(|told| refusal.explain(Path::new("out.parquet"), told))
        };
        let size = write(1 << 20).unwrap() as usize;
        for room in (0..size).step_by(1.max(size / 50)) {
            let error = write(room).unwrap_err();
            assert_eq!(error.class(), FaultClass::Failed, "room for {room} of {size} bytes: {error}");
            assert_eq!(error.to_string(), "out.parquet: no storage space", "room for {room} of {size} bytes");
        }
    }
}
