use std::path::Path;

use invar_dataset::Column;
use polars::prelude as pl;

use crate::{EmbeddingsError, Provenance, frame, parquet::FrameWriter};

const KIND: &str = "facts";

/// Writes a table of plain columns to `path`, atomically, as returned by `blocks`: each call returns the next rows, all
/// with the same columns, until there are no more. The first block is written even if it has no rows, for its columns.
///
/// # Errors
/// If a block fails, its columns differ in length or from those of the first block, or the disk is full.
pub fn write_facts<E: From<EmbeddingsError>>(
    path: &Path,
    provenance: &Provenance,
    mut blocks: impl FnMut() -> Result<Option<Vec<Column>>, E>,
) -> Result<u64, E> {
    let mut writer: Option<FrameWriter> = None;
    let mut num_rows = 0;
    while let Some(columns) = blocks()? {
        let height = columns.first().map_or(0, |column| column.data.len());
        let columns = columns.iter().map(frame::to_polars).collect();
        let frame = pl::DataFrame::new(height, columns).map_err(EmbeddingsError::parquet(path))?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(FrameWriter::create(path, frame.schema(), KIND, provenance)?),
        };
        writer.write(&frame)?;
        num_rows += height as u64;
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    Ok(num_rows)
}
