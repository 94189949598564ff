use std::path::Path;

use polars::prelude as pl;

use super::{FIRST, Query, mistake::Mistake, statement};
use crate::{EmbeddingsError, layout::Whole, scan};

/// What the number of a row is called while a condition is looked at.
const ROW: &str = "invar row number";

/// Numbers of the rows of the EMB (or any Parquet file) at `path` for which an SQL condition on its columns holds, rising; the
/// columns that it names are read. A row for which it is unknown is left out, as by `WHERE`.
///
/// # Errors
/// When the file is damaged, the condition is wrong, or it names what is not there.
pub fn rows_where(path: &Path, condition: &str) -> Result<Vec<u32>, EmbeddingsError> {
    let query = Query::new(path)?;
    let table = scan::table(Whole::open(path)?, query.damage.clone()).map_err(EmbeddingsError::parquet(path))?;
    query.context.register(FIRST, table.with_row_index(ROW, None));
    let answer = || -> Result<Vec<u32>, Mistake> {
        statement::check_condition(condition)?;
        // Lines of its own, so that a comment in it ends.
        let found = query.answer(&format!("SELECT \"{ROW}\" FROM {FIRST} WHERE (\n{condition}\n)"))?;
        let rows = found.column(ROW).and_then(|column| column.idx().cloned()).map_err(Mistake::Told)?;
        let mut rows: Vec<pl::IdxSize> = rows.iter().flatten().collect();
        rows.sort_unstable();
        Ok(rows)
    };
    answer().map_err(|mistake| query.explained(mistake, condition))
}
