use std::{
    collections::{BTreeMap, HashSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use invar_dataset::{Column, ColumnData, Fault, FaultClass, lock::Lock};
use polars::prelude as pl;

use crate::{
    EMBEDDING, EmbeddingsError, Provenance, Shard,
    frame::{self, ColumnType},
    layout::{self, Part, PartName},
    parquet::{self, Footer, FrameWriter},
    shard::ShardRows,
};

/// Maximum number of rows per part.
const MAX_PART_ROWS: usize = 65_536;
/// Maximum number of embedding values per part: 64 MiB.
const MAX_PART_VALUES: usize = 1 << 24;

pub(crate) const KIND: &str = "embeddings";

/// Streams rows into an EMB: a single file if the path ends in `.parquet`, else a directory of parts.
///
/// Memory: one part (65,536 rows, fewer if the embedding has more than 256 dimensions), whatever the number of rows.
/// The bytes depend only on the rows, not on how they were split over calls, nor on the number of threads.
#[derive(Debug)]
pub struct EmbeddingWriter {
    path: PathBuf,
    parts_dir: PathBuf,
    provenance: Provenance,
    rows_per_part: usize,
    /// Known from the first rows on.
    types: Option<Vec<ColumnType>>,
    /// Rows of the part that is being filled.
    columns: Vec<Column>,
    embeddings: Vec<f32>,
    parts: Vec<Part>,
    /// This task's part of what all tasks write together.
    shard: Option<ShardRows>,
    /// Summary of an output that was already complete.
    whole: Option<Summary>,
    /// Whether the parts are written next to a complete directory that they will replace.
    is_beside: bool,
    /// Keeps others from writing there.
    lock: Option<Lock>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of rows.
    pub num_rows: u64,
    /// Number of part files; 1 for a single file.
    pub num_parts: usize,
    /// Total size of all parts.
    pub size_bytes: u64,
}

impl EmbeddingWriter {
    /// Starts a new EMB at `path`; its parent directory must exist.
    ///
    /// # Errors
    /// If there is one already, complete or half written.
    pub fn create(path: &Path, provenance: Provenance) -> Result<Self, EmbeddingsError> {
        let (writer, rows) = Self::resume(path, provenance)?;
        if rows > 0 || writer.whole.is_some() {
            return Err(EmbeddingsError::Exists { path: path.into() });
        }
        Ok(writer)
    }

    /// Continues the EMB at `path`, or starts it. Returns the number of rows that already exist: the caller continues
    /// with the next one. If the EMB is complete, that is all of them, and the writer accepts no more.
    ///
    /// # Errors
    /// If the existing parts have another provenance (except for the invariance figures), or are damaged; if the
    /// directory contains something else.
    pub fn resume(path: &Path, provenance: Provenance) -> Result<(Self, u64), EmbeddingsError> {
        let mut writer = Self::new(path, provenance)?;
        if !layout::is_single_file(path) {
            layout::refuse_other_division(path, None)?;
        }
        if layout::Whole::is_at(path)? {
            let whole = layout::Whole::open(path)?;
            writer.check_provenance(whole.provenance.as_ref())?;
            let summary = Summary {
                num_rows: whole.num_rows() as u64,
                num_parts: whole.parts.len(),
                size_bytes: whole.parts.iter().map(|part| part.size_bytes).sum(),
            };
            writer.whole = Some(summary);
            return Ok((writer, summary.num_rows));
        }
        writer.take_up_parts()?;
        let rows = writer.rows_written();
        Ok((writer, rows))
    }

    /// Continues a shard of the EMB at `path`, a directory, or starts it: rows `rows` of `total_rows`. Tasks can write
    /// the shards at the same time or one after the other, without waiting for each other; the EMB is complete when the
    /// last of them is. Returns the number of rows of the shard that already exist.
    ///
    /// # Errors
    /// As [`EmbeddingWriter::resume`], and if the directory holds undivided embeddings or another number of shards, or
    /// another shard has another provenance.
    pub fn resume_shard(
        path: &Path,
        shard: Shard,
        rows: Range<u64>,
        total_rows: u64,
        provenance: Provenance,
    ) -> Result<(Self, u64), EmbeddingsError> {
        if layout::is_single_file(path) {
            let expected = "a directory".into();
            return Err(EmbeddingsError::OtherDivision { path: path.into(), expected, found: "a single file".into() });
        }
        let mut writer = Self::new(path, provenance)?;
        writer.shard = Some(ShardRows { shard, first_row: rows.start, end_row: rows.end, total_rows });
        layout::refuse_other_division(path, Some(shard))?;
        writer.lock = Some(Lock::shared_directory(path).map_err(EmbeddingsError::io(path))?);
        if let Some(other) = layout::names(path)?.into_iter().find(|name| name.shard != Some(shard)) {
            writer.check_provenance(Footer::read(&path.join(other.to_string()))?.provenance.as_ref())?;
        }
        if let Some(parts) = layout::shard_parts(path, shard)? {
            parts.iter().try_for_each(|part| writer.take_up(part))?;
            writer.whole = Some(writer.summary(writer.rows_written()));
            return Ok((writer, rows.end - rows.start));
        }
        writer.take_up_parts()?;
        let rows = writer.rows_written();
        Ok((writer, rows))
    }

    /// Writes a new EMB that replaces a complete one at `path` once it is complete itself. What a killed replacement,
    /// or an EMB that was never completed, left with the same provenance is continued; anything else of theirs is
    /// restarted. Returns the number of rows that already exist.
    ///
    /// # Errors
    /// If the directory contains something else, or the system fails.
    pub fn replace(path: &Path, provenance: Provenance) -> Result<(Self, u64), EmbeddingsError> {
        let mut writer = Self::new(path, provenance)?;
        let has_parts = !layout::is_single_file(path) && !layout::files(path)?.is_empty();
        // Damaged parts may have been complete: they stay too, and so do shards, which may be hours of work by several
        // tasks.
        let is_divided = has_parts && layout::names(path)?.iter().any(|name| name.shard.is_some());
        if is_divided || has_parts && layout::Whole::is_at(path).unwrap_or(true) {
            writer.parts_dir = layout::next_parts(path);
            writer.is_beside = true;
        }
        if let Err(error) = writer.take_up_parts() {
            if error.class() == FaultClass::Failed {
                return Err(error);
            }
            layout::clear_parts(&writer.parts_dir)?;
            (writer.types, writer.columns, writer.embeddings, writer.parts) = (None, vec![], vec![], vec![]);
        }
        let rows = writer.rows_written();
        Ok((writer, rows))
    }

    fn new(path: &Path, provenance: Provenance) -> Result<Self, EmbeddingsError> {
        if provenance.dim == 0 {
            return Err(misfit("dimension of the embedding", "at least 1", 0));
        }
        let single = layout::is_single_file(path);
        if !single {
            layout::recover(path)?;
            layout::refuse_foreign(path)?;
        }
        Ok(Self {
            path: path.into(),
            parts_dir: if single { layout::hidden_parts(path) } else { path.to_owned() },
            rows_per_part: (MAX_PART_VALUES / provenance.dim).clamp(1, MAX_PART_ROWS),
            provenance,
            types: None,
            columns: vec![],
            embeddings: vec![],
            parts: vec![],
            shard: None,
            whole: None,
            is_beside: false,
            lock: None,
        })
    }

    /// Continues after the existing parts.
    fn take_up_parts(&mut self) -> Result<(), EmbeddingsError> {
        let locked = if layout::is_single_file(&self.path) { &self.parts_dir } else { &self.path };
        if self.lock.is_none() {
            self.lock = Some(Lock::directory(locked).map_err(EmbeddingsError::io(locked))?);
        }
        for part in layout::finished_parts(&self.parts_dir, self.shard.as_ref().map(|rows| rows.shard)) {
            self.take_up(&Footer::read(&part)?)?;
        }
        if self.parts.last().is_some_and(|part| part.num_rows < self.rows_per_part as u64) {
            self.reopen_last()?;
        }
        Ok(())
    }

    /// Sets the number of rows per part, which otherwise follows from the dimension.
    ///
    /// # Panics
    /// If `rows` is 0.
    #[must_use]
    pub fn with_rows_per_part(mut self, rows: usize) -> Self {
        assert!(rows > 0, "a part holds at least one row");
        self.rows_per_part = rows;
        self
    }

    /// Rows written so far, including those of an earlier run.
    pub fn rows_written(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.num_rows).sum::<u64>();
        self.whole.map_or(parts + (self.embeddings.len() / self.provenance.dim) as u64, |whole| whole.num_rows)
    }

    /// Whether the EMB, or the shard, was complete when it was resumed.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Adds rows: `columns` of one length, `id` (text, no nulls) first and the same ones in every call, and the same
    /// number of `embeddings`, `[rows, D]` row-major. A call without rows determines the columns of an empty EMB.
    ///
    /// # Errors
    /// If the lengths, names or types do not fit, or the disk is full.
    pub fn write(&mut self, columns: &[Column], embeddings: &[f32]) -> Result<(), EmbeddingsError> {
        if self.whole.is_some() {
            return Err(EmbeddingsError::Exists { path: self.path.clone() });
        }
        self.check_rows(columns, embeddings)?;
        for (all, more) in self.columns.iter_mut().zip(columns) {
            frame::append(&mut all.data, &more.data);
        }
        self.embeddings.extend_from_slice(embeddings);
        while self.embeddings.len() >= self.rows_per_part * self.provenance.dim {
            self.write_part(self.rows_per_part, false)?;
        }
        Ok(())
    }

    /// Writes the remaining rows and completes the EMB, with the figures that are only known now.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn finish(mut self, invariance: &BTreeMap<String, f64>) -> Result<Summary, EmbeddingsError> {
        if let Some(whole) = self.whole {
            return Ok(whole);
        }
        let single = layout::is_single_file(&self.path);
        self.provenance.invariance = invariance.clone();
        if self.types.is_none() {
            self.types = Some(vec![ColumnType { name: "id".into(), dtype: pl::DataType::String }]);
            self.columns = self.types.iter().flatten().map(ColumnType::empty).collect();
        }
        if single {
            return self.merge();
        }
        if let Some(rows) = &self.shard
            && rows.first_row + self.rows_written() != rows.end_row
        {
            return Err(misfit("rows of the shard", rows.end_row - rows.first_row, self.rows_written()));
        }
        // The last part is the end marker; those before it are the same as those of a run that was killed.
        if self.embeddings.is_empty() && !self.parts.is_empty() {
            self.reopen_last()?;
        }
        self.write_part(self.embeddings.len() / self.provenance.dim, true)?;
        if self.is_beside {
            layout::replace(&self.path)?;
        }
        Ok(self.summary(self.rows_written()))
    }

    fn summary(&self, num_rows: u64) -> Summary {
        let size_bytes = self.parts.iter().map(|part| part.size_bytes).sum();
        Summary { num_rows, num_parts: self.parts.len(), size_bytes }
    }

    fn check_rows(&mut self, columns: &[Column], embeddings: &[f32]) -> Result<(), EmbeddingsError> {
        let types: Vec<ColumnType> = columns.iter().map(ColumnType::of).collect();
        match &self.types {
            Some(known) if *known != types => {
                return Err(misfit("columns", describe(known), describe(&types)));
            }
            Some(_) => {}
            None => {
                check_types(&types)?;
                self.columns = types.iter().map(ColumnType::empty).collect();
                self.types = Some(types);
            }
        }
        let dim = self.provenance.dim;
        if !embeddings.len().is_multiple_of(dim) {
            return Err(misfit("number of values", format!("a multiple of the dimension {dim}"), embeddings.len()));
        }
        let rows = embeddings.len() / dim;
        for column in columns {
            if column.data.len() != rows {
                return Err(misfit(&format!("length of column {:?}", column.name), rows, column.data.len()));
            }
        }
        if let ColumnData::Str(ids) = &columns[0].data
            && let Some(row) = ids.iter().position(Option::is_none)
        {
            return Err(misfit("id", "a name", format!("null in row {}", self.rows_written() + row as u64)));
        }
        Ok(())
    }

    /// Writes the first `rows` waiting rows as the next part, or as the last.
    fn write_part(&mut self, rows: usize, is_last: bool) -> Result<(), EmbeddingsError> {
        let frame = self.take_rows(rows)?;
        fs::create_dir_all(&self.parts_dir).map_err(EmbeddingsError::io(&self.parts_dir))?;
        let shard = self.shard.as_ref();
        let file = PartName { shard: shard.map(|rows| rows.shard), index: self.parts.len() }.to_string();
        let (path, earlier) = (self.parts_dir.join(&file), is_last.then_some(self.parts.as_slice()));
        let mut writer = FrameWriter::create_part(&path, frame.schema(), KIND, &self.provenance, earlier, shard)?;
        writer.write(&frame)?;
        let size_bytes = writer.finish()?;
        self.parts.push(Part { file, num_rows: rows as u64, size_bytes });
        Ok(())
    }

    fn take_rows(&mut self, rows: usize) -> Result<pl::DataFrame, EmbeddingsError> {
        let take = |column: &mut Column| Column {
            name: column.name.clone(),
            data: frame::split_off_front(&mut column.data, rows),
        };
        let columns: Vec<Column> = self.columns.iter_mut().map(take).collect();
        let rest = self.embeddings.split_off(rows * self.provenance.dim);
        let embeddings = std::mem::replace(&mut self.embeddings, rest);
        let (dim, precision) = (self.provenance.dim, self.provenance.precision);
        frame::with_embedding(&columns, embeddings, dim, precision).map_err(EmbeddingsError::parquet(&self.path))
    }

    /// Copies the hidden parts and the waiting rows into the single file, in row groups of the same rows whether the
    /// run was killed or not.
    fn merge(mut self) -> Result<Summary, EmbeddingsError> {
        let last = self.take_rows(self.embeddings.len() / self.provenance.dim)?;
        let mut writer = FrameWriter::create(&self.path, last.schema(), KIND, &self.provenance)?;
        let mut num_rows = last.height() as u64;
        for part in &self.parts {
            writer.copy(&self.parts_dir.join(&part.file))?;
            num_rows += part.num_rows;
        }
        writer.write(&last)?;
        let size_bytes = writer.finish()?;
        layout::remove_parts(&self.parts_dir)?;
        Ok(Summary { num_rows, num_parts: 1, size_bytes })
    }

    fn check_provenance(&self, found: Option<&Provenance>) -> Result<(), EmbeddingsError> {
        let path = self.path.clone();
        let Some(found) = found else {
            let (field, expected, found) = ("provenance".into(), "one of this program".into(), "none".into());
            return Err(EmbeddingsError::OtherProvenance { path, field, expected, found });
        };
        match self.provenance.difference(found) {
            Some((field, expected, found)) => Err(EmbeddingsError::OtherProvenance { path, field, expected, found }),
            None => Ok(()),
        }
    }

    /// Counts a part of an earlier run.
    fn take_up(&mut self, part: &Footer) -> Result<(), EmbeddingsError> {
        self.check_provenance(part.provenance.as_ref())?;
        layout::same_rows(part, self.shard.as_ref())?;
        let types = part.columns.iter().filter(|(name, _)| name != EMBEDDING);
        let types: Vec<ColumnType> =
            types.map(|(name, dtype)| ColumnType { name: name.clone(), dtype: dtype.clone() }).collect();
        match &self.types {
            Some(known) if *known != types => return Err(misfit("columns", describe(known), describe(&types))),
            _ => {
                self.columns = types.iter().map(ColumnType::empty).collect();
                self.types = Some(types);
            }
        }
        let file = part.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.parts.push(Part { file, num_rows: part.num_rows as u64, size_bytes: part.size_bytes });
        Ok(())
    }

    /// Takes the rows of the last part back into memory, because more may follow them or because the part was not
    /// written as the last. It stays on disk until it is rewritten.
    fn reopen_last(&mut self) -> Result<(), EmbeddingsError> {
        let part = self.parts.pop().expect("a last part");
        let path = self.parts_dir.join(&part.file);
        let frame = parquet::read(&path, None)?;
        for column in &mut self.columns {
            let found = frame.column(&column.name).map_err(EmbeddingsError::parquet(&path))?;
            *column = frame::from_polars(found)?;
        }
        let embedding = frame.column(EMBEDDING).map_err(EmbeddingsError::parquet(&path))?;
        self.embeddings = crate::reader::values(embedding, self.provenance.dim, &path)?;
        Ok(())
    }
}

fn check_types(types: &[ColumnType]) -> Result<(), EmbeddingsError> {
    match types.first() {
        Some(ColumnType { name, dtype: pl::DataType::String }) if name == "id" => {}
        first => {
            let found = first.map_or("none".into(), |first| format!("{} {}", first.name, first.dtype));
            return Err(misfit("first column", "id str", found));
        }
    }
    let mut names = HashSet::from([EMBEDDING]);
    match types.iter().find(|column| !names.insert(&column.name)) {
        Some(column) => Err(misfit("column names", "all different, none \"embedding\"", format!("{:?}", column.name))),
        None => Ok(()),
    }
}

fn describe(types: &[ColumnType]) -> String {
    types.iter().map(|column| format!("{} {}", column.name, column.dtype)).collect::<Vec<_>>().join(", ")
}

fn misfit(what: &str, expected: impl ToString, found: impl ToString) -> EmbeddingsError {
    EmbeddingsError::Rows { what: what.into(), expected: expected.to_string(), found: found.to_string() }
}
