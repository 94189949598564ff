use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use invar_dataset::atomic::AtomicFile;
use polars::prelude::{self as pl, CompatLevel};
use polars_arrow::{
    datatypes::ArrowDataType,
    io::ipc::write::{FileWriter, WriteOptions},
};

use crate::{EMBEDDING, EmbeddingsError, Precision, Provenance, frame, parquet, sink::Sink};

mod text;
mod values;

/// The kind of file that an answer is.
const KIND: &str = "query";

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Table {
    frame: pl::DataFrame,
    /// Dimensions and makers of the embeddings that were queried.
    asked: Vec<(usize, Option<Provenance>)>,
}

/// The format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people, see [`Table::to_text`].
    Text {
        /// Characters per line; 0 for no limit.
        width: usize,
    },
    /// RFC 4180, with a header line; nulls are empty, lists are JSON.
    Csv,
    /// An array of objects. NaN and infinities are null: JSON has none.
    Json,
    /// One such object per line.
    Ndjson,
    /// Arrow's IPC file, also called Feather (version 2): text as `large_utf8`.
    Arrow,
    /// Parquet, as [`Table::write_parquet`].
    Parquet,
}

impl Table {
    pub(crate) fn new(mut frame: pl::DataFrame, asked: Vec<(usize, Option<Provenance>)>) -> Self {
        // In SQL it is a list; it remains an embedding if all lists have one of these dimensions.
        for &(dim, _) in &asked {
            let array = pl::DataType::Array(Box::new(pl::DataType::Float32), dim);
            if let Ok(column) = frame.column(EMBEDDING)
                && *column.dtype() == pl::DataType::List(Box::new(pl::DataType::Float32))
                && let Ok(column) = column.strict_cast(&array)
            {
                let _ = frame.replace(EMBEDDING, column);
            }
        }
        Self { frame, asked }
    }

    /// Columns from elsewhere.
    pub(crate) fn of_frame(frame: pl::DataFrame) -> Self {
        Self { frame, asked: vec![] }
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.frame.height()
    }

    /// Names of the columns, in order.
    pub fn column_names(&self) -> Vec<String> {
        self.frame.columns().iter().map(|column| column.name().to_string()).collect()
    }

    /// The maker of the embeddings in it, if it has any: with their dimension, and single precision.
    pub fn provenance(&self) -> Option<Provenance> {
        let pl::DataType::Array(_, dim) = self.frame.column(EMBEDDING).ok()?.dtype() else { return None };
        let provenance = self.asked.iter().find(|(of, _)| of == dim)?.1.clone()?;
        Some(Provenance { precision: Precision::Single, ..provenance })
    }

    /// For people: a header, a rule, one line per row; numbers right-aligned with at most 6 digits, lists shortened to
    /// their first values. Columns that are together too wide for `width` characters are cut, widest first; `width` 0
    /// cuts nothing.
    pub fn to_text(&self, width: usize) -> String {
        self.to_string_of(Form::Text { width })
    }

    /// As [`Form::Csv`].
    pub fn to_csv(&self) -> String {
        self.to_string_of(Form::Csv)
    }

    /// As [`Form::Ndjson`].
    pub fn to_ndjson(&self) -> String {
        self.to_string_of(Form::Ndjson)
    }

    fn to_string_of(&self, form: Form) -> String {
        let mut bytes = vec![];
        self.write(form, &Provenance::new("", 0), &mut bytes).expect("memory takes what is written");
        String::from_utf8(bytes).expect("this form is text")
    }

    /// Writes it; `provenance` is for the formats that can store it.
    ///
    /// # Errors
    /// Errors from writing to `to`, or the library's for a type that the format does not support.
    pub fn write(&self, form: Form, provenance: &Provenance, to: &mut dyn Write) -> io::Result<()> {
        match form {
            Form::Text { width } => text::write(&self.frame, width, to),
            Form::Csv => values::write_csv(&self.frame, to),
            Form::Json => values::write_json(&self.frame, to),
            Form::Ndjson => values::write_ndjson(&self.frame, to),
            Form::Arrow => by_library(to, |to| self.write_arrow(to)),
            Form::Parquet => by_library(to, |to| parquet::write_frame(&self.frame, KIND, provenance, to)),
        }
    }

    /// Writes it to a file that was already begun, so that nobody else writes it while the query runs. Returns its size
    /// in bytes.
    ///
    /// # Errors
    /// As [`Table::write`].
    pub fn write_to(&self, file: AtomicFile, form: Form, provenance: &Provenance) -> Result<u64, EmbeddingsError> {
        let path = file.path().to_path_buf();
        let write = || {
            let mut to = BufWriter::new(File::options().write(true).open(file.partial_path())?);
            self.write(form, provenance, &mut to)?;
            let size_bytes = to.into_inner().map_err(io::IntoInnerError::into_error)?.metadata()?.len();
            file.commit()?;
            Ok(size_bytes)
        };
        write().map_err(EmbeddingsError::io(path))
    }

    /// Writes it as Parquet, atomically. The answer to `SELECT *` from an EMB is an EMB. Returns its size in bytes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_parquet(&self, path: &Path, provenance: &Provenance) -> Result<u64, EmbeddingsError> {
        let file = AtomicFile::create(path).map_err(EmbeddingsError::io(path))?;
        self.write_to(file, Form::Parquet, provenance)
    }

    fn write_arrow(&self, to: impl Write) -> pl::PolarsResult<()> {
        // Text in the type that every Arrow reader knows, not as views.
        let level = CompatLevel::oldest();
        let mut frame = self.frame.clone();
        let batches = frame.align_chunks_par().iter_chunks(level, true);
        let schema = frame::arrow_schema(self.frame.schema(), ArrowDataType::LargeUtf8);
        let mut writer = FileWriter::try_new(to, Arc::new(schema), None, WriteOptions { compression: None })?;
        for batch in batches {
            writer.write(&batch, None)?;
        }
        writer.finish()
    }
}

/// Runs a library's writer, which loses the system's errors.
fn by_library<'a>(
    to: &'a mut dyn Write,
    write: impl FnOnce(Sink<&'a mut dyn Write>) -> pl::PolarsResult<()>,
) -> io::Result<()> {
    let sink = Sink::new(to);
    let refusal = sink.refusal();
    write(sink).map_err(|told| refusal.take().unwrap_or_else(|| io::Error::other(told.to_string())))
}
