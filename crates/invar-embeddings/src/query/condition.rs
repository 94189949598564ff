use std::path::Path;

use polars::prelude as pl;

use super::{FIRST, Query, mistake::Mistake, statement};
use crate::{EmbeddingsError, layout::Whole, scan};

/// The temporary name of the row number while a condition is evaluated.
const ROW: &str = "invar row number";

/// Indices of the rows of the EMB (or any Parquet file) at `path` that satisfy an SQL condition on its columns,
/// ascending; the columns that it names are read. A row for which it is unknown is left out, as with `WHERE`.
///
/// # Errors
/// If the file is damaged, the condition is wrong, or it names something that does not exist.
pub fn rows_where(path: &Path, condition: &str) -> Result<Vec<u32>, EmbeddingsError> {
    let query = Query::new(path)?;
    let table = scan::table(Whole::open(path)?, query.damage.clone()).map_err(EmbeddingsError::parquet(path))?;
    query.context.register(FIRST, table.with_row_index(ROW, None));
    let answer = || -> Result<Vec<u32>, Mistake> {
        statement::check_condition(condition)?;
        // On separate lines, so that a trailing comment in it ends.
        let found = query.answer(&format!("SELECT \"{ROW}\" FROM {FIRST} WHERE (\n{condition}\n)"))?;
        let rows = found.column(ROW).and_then(|column| column.idx().cloned()).map_err(Mistake::Told)?;
        let mut rows: Vec<pl::IdxSize> = rows.iter().flatten().collect();
        rows.sort_unstable();
        Ok(rows)
    };
    answer().map_err(|mistake| query.explained(mistake, condition))
}
