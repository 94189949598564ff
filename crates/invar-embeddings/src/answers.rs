use std::path::Path;

use invar_dataset::{Column, ColumnData};
use polars::prelude as pl;

use crate::{EmbeddingsError, KEY, Table, frame, layout::Whole, names::check_ids, parquet};

/// SEARCH: the search results, one answer per row. Columns `query`, `query_key`, `rank`, `id`, `key`, `cosine`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Name of the query.
    pub queries: Vec<String>,
    /// Its key; `None` if it has none.
    pub query_keys: Vec<Option<i64>>,
    /// 1 is the nearest.
    pub ranks: Vec<u32>,
    /// The row of the EMB that was found.
    pub rows: Vec<u32>,
    /// Cosine of the angle between the two.
    pub cosines: Vec<f32>,
}

/// Which columns to add for each row that was found, besides its name and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// Nothing.
    None,
    /// All columns but the embedding.
    All,
    /// For reading: those of these columns (or of all) that differ between rows; keys if names repeat.
    Telling(Option<Vec<String>>),
}

/// Columns of SEARCH; a column of the EMB with one of these names is prefixed with [`OTHER`].
const OWN: [&str; 6] = ["query", "query_key", "rank", "id", KEY, "cosine"];
const OTHER: &str = "its_";

impl Answers {
    /// The table, with the columns that the EMB (or any Parquet file) at `path` has for the rows, except for their
    /// vectors, column `vectors`.
    ///
    /// # Errors
    /// If the file is damaged, or has no such rows.
    pub fn to_table(&self, path: &Path, vectors: &str, facts: &Facts) -> Result<Table, EmbeddingsError> {
        let whole = Whole::open(path)?;
        let mut wanted = self.rows.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let found = rows(&whole, vectors, &wanted, *facts == Facts::None)?;
        let at: Vec<u32> =
            self.rows.iter().map(|row| wanted.binary_search(row).map_or(u32::MAX, |at| at as u32)).collect();
        let error = EmbeddingsError::parquet(path);
        let table = || {
            let found = found.take(&pl::IdxCa::from_vec("rows".into(), at))?;
            let column = |name: &str, data| frame::to_polars(&Column { name: name.into(), data });
            let queries = self.queries.iter().map(|query| Some(query.clone())).collect();
            let mut columns = vec![
                column("query", ColumnData::Str(queries)),
                column("query_key", ColumnData::I64(self.query_keys.clone())),
                column("rank", ColumnData::U32(self.ranks.iter().copied().map(Some).collect())),
                found.column("id")?.clone(),
            ];
            let is_key = |column: &pl::Column| column.name() == KEY && column.dtype() == &pl::DataType::Int64;
            columns.extend(found.columns().iter().find(|column| is_key(column)).cloned());
            columns.push(column("cosine", ColumnData::F32(self.cosines.iter().copied().map(Some).collect())));
            for fact in found.columns().iter().filter(|fact| fact.name() != "id" && !is_key(fact)) {
                let mut fact = fact.clone();
                if OWN.contains(&fact.name().as_str()) {
                    fact.rename(format!("{OTHER}{}", fact.name()).into());
                }
                columns.push(fact);
            }
            if let Facts::Telling(named) = facts {
                let names_repeat = self.names_repeat(found.column("id")?)?;
                let is_named = |name: &str| named.as_ref().is_none_or(|named| named.iter().any(|other| other == name));
                columns.retain(|column| match column.name().as_str() {
                    "query_key" | KEY => names_repeat,
                    name => OWN.contains(&name) || (is_named(name) && tells(column)),
                });
            }
            pl::DataFrame::new(self.rows.len(), columns)
        };
        table().map(|frame| Table::new(frame, vec![])).map_err(error)
    }

    /// Whether two rows share a name, or two queries do.
    fn names_repeat(&self, ids: &pl::Column) -> pl::PolarsResult<bool> {
        let mut of_rows: Vec<(Option<&str>, u32)> = ids.str()?.iter().zip(self.rows.iter().copied()).collect();
        let mut of_queries: Vec<(Option<&str>, Option<i64>)> =
            self.queries.iter().map(|query| Some(query.as_str())).zip(self.query_keys.iter().copied()).collect();
        of_rows.sort_unstable();
        of_rows.dedup();
        of_queries.sort_unstable();
        of_queries.dedup();
        let repeat_rows = of_rows.windows(2).any(|two| two[0].0 == two[1].0);
        Ok(repeat_rows || of_queries.windows(2).any(|two| two[0].0 == two[1].0))
    }
}

/// Whether a column has more than one value, or a value for the only row.
fn tells(column: &pl::Column) -> bool {
    match column.len() {
        1 => column.null_count() == 0,
        _ => column.n_unique().is_ok_and(|values| values > 1),
    }
}

/// Some rows, ascending, without their vectors; their column `id` is text, as in [`crate::names`].
fn rows(whole: &Whole, vectors: &str, wanted: &[u32], names_only: bool) -> Result<pl::DataFrame, EmbeddingsError> {
    let has_ids = check_ids(whole)?;
    let is_wanted = |name: &str| name != vectors && (!names_only || ["id", KEY].contains(&name));
    let of_first = whole.parts[0].columns.iter().map(|(name, _)| name.as_str());
    let names: Vec<&str> = of_first.filter(|name| is_wanted(name)).collect();
    let mut all: Option<pl::DataFrame> = None;
    let mut first = 0;
    for part in &whole.parts {
        let here = wanted.partition_point(|&row| (row as usize) < first)
            ..wanted.partition_point(|&row| (row as usize) < first + part.num_rows);
        let is_last = first + part.num_rows == whole.num_rows();
        if !here.is_empty() || (is_last && all.is_none()) {
            let here = &wanted[here];
            let places: Vec<u32> = here.iter().map(|&row| row - first as u32).collect();
            // With no column requested, polars does not report the number of rows either.
            let frame = if names.is_empty() { None } else { Some(parquet::read(&part.path, Some(&names))?) };
            let error = EmbeddingsError::parquet(&part.path);
            let taken = || {
                let mut taken = match frame {
                    Some(frame) => frame.take(&pl::IdxCa::from_vec("rows".into(), places))?,
                    None => pl::DataFrame::empty_with_height(here.len()),
                };
                let ids = match has_ids {
                    true => taken.column("id")?.cast(&pl::DataType::String)?,
                    false => {
                        let ids = here.iter().map(|row| Some(row.to_string())).collect();
                        frame::to_polars(&Column { name: "id".into(), data: ColumnData::Str(ids) })
                    }
                };
                taken.with_column(ids)?;
                Ok(taken)
            };
            let stacked = taken().and_then(|taken| match all.take() {
                Some(all) => all.vstack(&taken),
                None => Ok(taken),
            });
            all = Some(stacked.map_err(error)?);
        }
        first += part.num_rows;
    }
    let mut all = all.expect("the last part was read");
    all.rechunk_mut();
    Ok(all)
}

/// The files of the EMB (or Parquet file) at `path`, in order.
///
/// # Errors
/// If it is incomplete or damaged.
pub fn part_files(path: &Path) -> Result<Vec<std::path::PathBuf>, EmbeddingsError> {
    Ok(Whole::open(path)?.paths().map(Path::to_path_buf).collect())
}
