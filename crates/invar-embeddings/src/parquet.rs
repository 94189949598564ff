//! One Parquet file: the only place that opens or writes one.

use std::{
    fs::{self, File},
    io::{Cursor, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use invar_dataset::atomic::AtomicFile;
use polars::prelude as pl;
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;
use polars_io::{
    SerReader,
    parquet::write::BatchedWriter,
    prelude::{KeyValueMetadata, ParquetCompression, ParquetReader, ParquetWriter},
};
use polars_parquet::{
    parquet::{
        metadata::ColumnChunkMetadata,
        page::CompressedPage,
        read::{PageReader, read_metadata},
    },
    write::schema_to_metadata_key,
};

use crate::{
    EmbeddingsError, Provenance, frame, half,
    layout::Part,
    shard::ShardRows,
    sink::{Refusal, Sink},
};

/// Rows per row group.
pub(crate) const ROW_GROUP: usize = 65_536;

/// The key for what a file is: `embeddings` or `clusters`.
const KIND_KEY: &str = "invar.kind";
/// The key under which the last part of a directory lists those before it, as JSON. It is the end marker: a directory
/// without it is unfinished. A separate file would keep other readers from opening the directory as one table.
const PARTS_KEY: &str = "invar.parts";
/// The key under which a part of a shard states which rows the shard holds, as JSON.
const SHARD_KEY: &str = "invar.shard";

/// The content of a file's footer.
#[derive(Clone, Debug)]
pub(crate) struct Footer {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub num_rows: usize,
    /// Columns in order.
    pub columns: Vec<(String, pl::DataType)>,
    /// `embeddings` or `clusters`, for a file that Invar wrote.
    pub kind: Option<String>,
    pub provenance: Option<Provenance>,
    /// For the last part of a directory: those before it, in order.
    pub earlier_parts: Option<Vec<Part>>,
    /// For a part of a shard: what the shard holds.
    pub shard: Option<ShardRows>,
}

impl Footer {
    /// Reads the footer of `path`.
    ///
    /// # Errors
    /// If it is not a complete Parquet file, or its provenance has another schema version.
    pub fn read(path: &Path) -> Result<Self, EmbeddingsError> {
        let mut file = File::open(path).map_err(EmbeddingsError::io(path))?;
        let size_bytes = check_magic(&mut file, path)?;
        guarded(path, || {
            let mut reader = ParquetReader::new(file);
            let schema = reader.schema()?;
            let columns = schema
                .iter_values()
                .map(|field| {
                    let dtype = half::data_type(field).unwrap_or_else(|| pl::DataType::from_arrow_field(field));
                    (field.name.to_string(), dtype)
                })
                .collect();
            let metadata = reader.get_metadata()?;
            let key_values = || {
                let all = metadata.key_value_metadata().iter().flatten();
                all.filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?)))
            };
            let kind = key_values().find(|&(key, _)| key == KIND_KEY).map(|(_, kind)| kind.to_owned());
            let parts = key_values().find(|&(key, _)| key == PARTS_KEY).map(|(_, parts)| serde_json::from_str(parts));
            let shard = key_values().find(|&(key, _)| key == SHARD_KEY).map(|(_, shard)| serde_json::from_str(shard));
            let provenance = key_values().filter(|&(key, _)| ![KIND_KEY, PARTS_KEY, SHARD_KEY].contains(&key));
            let provenance = Provenance::from_key_values(provenance);
            Ok((metadata.num_rows, columns, kind, provenance, parts.transpose(), shard.transpose()))
        })
        .and_then(|(num_rows, columns, kind, provenance, parts, shard)| {
            let corrupt = |what, expected, found| EmbeddingsError::Corrupt { path: path.into(), what, expected, found };
            let provenance = provenance.map_err(|(what, expected, found)| corrupt(what, expected, found))?;
            let earlier_parts =
                parts.map_err(|error| corrupt(PARTS_KEY.into(), "a list of parts".into(), error.to_string()))?;
            let shard =
                shard.map_err(|error| corrupt(SHARD_KEY.into(), "rows of a shard".into(), error.to_string()))?;
            Ok(Self { path: path.into(), size_bytes, num_rows, columns, kind, provenance, earlier_parts, shard })
        })
    }

    /// The type of column `name`.
    pub fn column(&self, name: &str) -> Option<&pl::DataType> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, dtype)| dtype)
    }
}

/// Reads some columns of `path`, or all of them.
pub(crate) fn read(path: &Path, columns: Option<&[&str]>) -> Result<pl::DataFrame, EmbeddingsError> {
    read_rows(path, columns, 0, usize::MAX)
}

/// The same, for `num_rows` rows from row `first` on.
pub(crate) fn read_rows(
    path: &Path,
    columns: Option<&[&str]>,
    first: usize,
    num_rows: usize,
) -> Result<pl::DataFrame, EmbeddingsError> {
    let open = || File::open(path).map_err(EmbeddingsError::io(path));
    let (mut file, again) = (open()?, open()?);
    guarded(path, || {
        let mut reader = ParquetReader::new(again);
        let (schema, metadata) = (reader.schema()?, reader.get_metadata()?.clone());
        let wanted: Vec<&str> = match columns {
            Some(names) => names.to_vec(),
            None => schema.iter_names().map(|name| name.as_str()).collect(),
        };
        let is_half = |name: &str| schema.get(name).is_some_and(|field| half::data_type(field).is_some());
        let others: Vec<String> = wanted.iter().filter(|name| !is_half(name)).map(|&name| name.to_owned()).collect();
        if others.len() == wanted.len() {
            let columns = columns.map(|_| others);
            return reader.with_columns(columns).with_slice(Some((first, num_rows))).finish();
        }
        let mut plain = match others.is_empty() {
            true => vec![],
            false => {
                let frame = reader.with_columns(Some(others)).with_slice(Some((first, num_rows))).finish()?;
                frame.into_columns()
            }
        };
        let mut all = Vec::with_capacity(wanted.len());
        for name in wanted {
            all.push(match plain.iter().position(|column| column.name() == name) {
                Some(at) => plain.swap_remove(at),
                None => {
                    let field = schema.get(name).expect("a column of half precision");
                    half::read(&mut file, &metadata, field, first, num_rows)?
                }
            });
        }
        pl::DataFrame::new_infer_height(all)
    })
}

/// A file that is written frame by frame and appears when it is complete.
pub(crate) struct FrameWriter {
    file: AtomicFile,
    writer: BatchedWriter<Sink<File>>,
    refusal: Refusal,
    path: PathBuf,
}

impl FrameWriter {
    /// Starts `path` with the columns of `schema`.
    pub fn create(
        path: &Path,
        schema: &pl::Schema,
        kind: &str,
        provenance: &Provenance,
    ) -> Result<Self, EmbeddingsError> {
        Self::over(AtomicFile::create(path).map_err(EmbeddingsError::io(path))?, schema, kind, provenance)
    }

    /// Continues a file that was begun, and is still empty.
    pub fn over(
        file: AtomicFile,
        schema: &pl::Schema,
        kind: &str,
        provenance: &Provenance,
    ) -> Result<Self, EmbeddingsError> {
        Self::start(file, schema, vec![(KIND_KEY.to_owned(), kind.to_owned())], provenance)
    }

    /// Starts a part of a directory: of a `shard`, if given, and as the last one, after `earlier`, if given.
    pub fn create_part(
        path: &Path,
        schema: &pl::Schema,
        kind: &str,
        provenance: &Provenance,
        earlier: Option<&[Part]>,
        shard: Option<&ShardRows>,
    ) -> Result<Self, EmbeddingsError> {
        let json = |value: serde_json::Result<String>| value.expect("parts and shards have string keys only");
        let mut keys = vec![(KIND_KEY.to_owned(), kind.to_owned())];
        keys.extend(earlier.map(|parts| (PARTS_KEY.to_owned(), json(serde_json::to_string(parts)))));
        keys.extend(shard.map(|shard| (SHARD_KEY.to_owned(), json(serde_json::to_string(shard)))));
        Self::start(AtomicFile::create(path).map_err(EmbeddingsError::io(path))?, schema, keys, provenance)
    }

    fn start(
        file: AtomicFile,
        schema: &pl::Schema,
        key_values: Vec<(String, String)>,
        provenance: &Provenance,
    ) -> Result<Self, EmbeddingsError> {
        let path = file.path().to_path_buf();
        let sink = Sink::open(file.partial_path()).map_err(EmbeddingsError::io(&path))?;
        let refusal = sink.refusal();
        let writer = writer(sink, schema, key_values, provenance).map_err(|told| refusal.explain(&path, told))?;
        Ok(Self { file, writer, refusal, path })
    }

    /// Adds the rows of `frame`, in row groups of [`ROW_GROUP`].
    pub fn write(&mut self, frame: &pl::DataFrame) -> Result<(), EmbeddingsError> {
        write_groups(&mut self.writer, frame).map_err(|told| self.refusal.explain(&self.path, told))
    }

    /// Adds the row groups of a file that this type wrote with the same columns, as they are stored, without decoding.
    pub fn copy(&mut self, path: &Path) -> Result<(), EmbeddingsError> {
        let bytes = Buffer::from(fs::read(path).map_err(EmbeddingsError::io(path))?);
        let metadata = guarded(path, || Ok(read_metadata(&mut Cursor::new(bytes.as_slice()))?))?;
        for group in &metadata.row_groups {
            let columns = guarded(path, || {
                let columns = group.parquet_columns().iter().map(|column| pages(&bytes, group.num_rows(), column));
                columns.collect::<pl::PolarsResult<Vec<_>>>()
            })?;
            let written = self.writer.write_row_group(group.num_rows() as u64, &columns);
            written.map_err(|told| self.refusal.explain(&self.path, told))?;
        }
        Ok(())
    }

    /// Writes the footer and renames the file into place. Returns its size in bytes.
    pub fn finish(self) -> Result<u64, EmbeddingsError> {
        let size = self.writer.finish().map_err(|told| self.refusal.explain(&self.path, told))?;
        self.file.commit().map_err(EmbeddingsError::io(&self.path))?;
        Ok(size)
    }
}

/// Writes a table that does not become a file of its own: to standard output.
pub(crate) fn write_frame<W: Write>(
    frame: &pl::DataFrame,
    kind: &str,
    provenance: &Provenance,
    to: W,
) -> pl::PolarsResult<()> {
    let mut writer = writer(to, frame.schema(), vec![(KIND_KEY.to_owned(), kind.to_owned())], provenance)?;
    write_groups(&mut writer, frame)?;
    writer.finish().map(|_| ())
}

fn writer<W: Write>(
    to: W,
    schema: &pl::Schema,
    mut key_values: Vec<(String, String)>,
    provenance: &Provenance,
) -> pl::PolarsResult<BatchedWriter<W>> {
    key_values.extend(provenance.to_key_values());
    // Otherwise the library adds its own, which makes pyarrow read text as `string_view`, which it can neither filter
    // nor sort nor join.
    let types = schema_to_metadata_key(&frame::arrow_schema(schema, ArrowDataType::Utf8));
    key_values.push((types.key, types.value.unwrap_or_default()));
    ParquetWriter::new(to)
        // `None` is zstd's own default, level 3.
        .with_compression(ParquetCompression::Zstd(None))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(key_values)))
        .batched(schema)
}

fn write_groups<W: Write>(writer: &mut BatchedWriter<W>, frame: &pl::DataFrame) -> pl::PolarsResult<()> {
    for first in (0..frame.height()).step_by(ROW_GROUP) {
        let mut group = frame.slice(first as i64, ROW_GROUP);
        group.align_chunks_par();
        writer.write_batch(&group)?;
    }
    Ok(())
}

/// The pages of a column of a row group. All rows hold the same number of values.
fn pages(file: &Buffer<u8>, num_rows: usize, column: &ColumnChunkMetadata) -> pl::PolarsResult<Vec<CompressedPage>> {
    let range = column.byte_range();
    let stored = file.clone().sliced(range.start as usize..range.end as usize);
    let width = column.num_values() as usize / num_rows.max(1);
    let page = |page: Result<CompressedPage, _>| {
        let mut page = page?;
        if let CompressedPage::Data(data) = &mut page {
            // Missing from page headers, but needed by the writer.
            data.num_rows = Some(data.num_values() / width.max(1));
        }
        Ok(page)
    };
    PageReader::new(Cursor::new(stored), column, vec![], usize::MAX).map(page).collect()
}

/// Checks that a Parquet file begins and ends with `PAR1`. Returns its size.
fn check_magic(file: &mut File, path: &Path) -> Result<u64, EmbeddingsError> {
    const MAGIC: [u8; 4] = *b"PAR1";
    let not = |reason: String| EmbeddingsError::NotParquet { path: path.into(), reason };
    let size = file.seek(SeekFrom::End(0)).map_err(EmbeddingsError::io(path))?;
    if size < 12 {
        return Err(not(format!("{size} bytes, minimum 12")));
    }
    for (from, place) in [(SeekFrom::Start(0), "begins"), (SeekFrom::End(-4), "ends")] {
        let mut found = [0; 4];
        let read = file.seek(from).and_then(|_| file.read_exact(&mut found));
        read.map_err(EmbeddingsError::io(path))?;
        if found != MAGIC {
            return Err(not(format!("it {place} with {:?}, not \"PAR1\"", String::from_utf8_lossy(&found))));
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(EmbeddingsError::io(path))?;
    Ok(size)
}

/// Runs the Parquet library on a file whose bytes may be damaged.
fn guarded<T>(path: &Path, work: impl FnOnce() -> pl::PolarsResult<T>) -> Result<T, EmbeddingsError> {
    unpanicked(work).map_err(EmbeddingsError::parquet(path))
}

/// Runs polars, which panics on some damaged files and on some SQL that it does not support: those are errors of the
/// file or the query, not of the program.
pub(crate) fn unpanicked<T>(work: impl FnOnce() -> pl::PolarsResult<T>) -> pl::PolarsResult<T> {
    invar_dataset::guarded(work).unwrap_or_else(|panic| Err(pl::PolarsError::ComputeError(panic.into())))
}
