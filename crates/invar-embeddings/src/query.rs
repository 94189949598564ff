use std::{path::Path, sync::Arc};

use polars::{prelude as pl, sql::SQLContext};
use sqlparser::ast::Expr;

use crate::{EMBEDDING, EmbeddingsError, Provenance, Table, layout::Whole, parquet::unpanicked, scan, scan::Damage};

mod condition;
mod cosine;
mod mistake;
mod statement;

pub use self::condition::rows_where;
use self::{mistake::Mistake, statement::Statement};

/// SQL over Parquet files and directories of parts, each of which is a table.
///
/// Files are read when the query needs them, and only the columns it names. In SQL the embedding is a list:
/// `embedding[1]` is its first value, `ARRAY_SUM(embedding)` and the like work, and `cosine(a, b)` is the cosine of two
/// lists of numbers: columns, a literal (`[0.1, 0.2]`), or a query in parentheses that returns one value, as in
/// `cosine(embedding, (SELECT embedding FROM emb WHERE key = 7))`.
#[derive(Default)]
pub struct Query {
    context: SQLContext,
    tables: Vec<NamedTable>,
    damage: Damage,
}

/// A table that a query may name.
#[derive(Clone, Debug)]
pub(crate) struct NamedTable {
    pub name: String,
    pub columns: Vec<String>,
    /// Dimension of its column `embedding`, and who made it.
    pub embedding: Option<(usize, Option<Provenance>)>,
}

/// The alias of the first table.
const FIRST: &str = "self";

impl Query {
    /// Opens the EMB (or any Parquet file) at `path` as a table named by [`table_name`].
    ///
    /// # Errors
    /// If it is incomplete or damaged.
    pub fn new(path: &Path) -> Result<Self, EmbeddingsError> {
        Self::default().with_table(&table_name(path), path)
    }

    /// Adds the file or directory at `path` as table `name`, replacing another of that name. The first table is also
    /// called `self`.
    ///
    /// # Errors
    /// If it is incomplete or damaged.
    pub fn with_table(mut self, name: &str, path: &Path) -> Result<Self, EmbeddingsError> {
        let whole = Whole::open(path)?;
        let first = &whole.parts[0];
        let embedding = match first.column(EMBEDDING) {
            Some(pl::DataType::Array(_, dim)) => Some((*dim, whole.provenance.clone())),
            _ => None,
        };
        let columns = first.columns.iter().map(|(name, _)| name.clone()).collect();
        let frame = scan::table(whole, self.damage.clone()).map_err(EmbeddingsError::parquet(path))?;
        if self.tables.is_empty() {
            self.context.register(FIRST, frame.clone());
        }
        self.context.register(name, frame);
        self.context = self.context.with_function_registry(Arc::new(cosine::Functions));
        self.tables.push(NamedTable { name: name.into(), columns, embedding });
        Ok(self)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// If the SQL is wrong, or names something that does not exist: [`EmbeddingsError::Sql`], which marks the word if
    /// it is known.
    pub fn run(&self, sql: &str) -> Result<Table, EmbeddingsError> {
        let frame = self.answer(sql).map_err(|mistake| self.explained(mistake, sql))?;
        Ok(Table::new(frame, self.tables.iter().filter_map(|table| table.embedding.clone()).collect()))
    }

    /// Reports damage found in a file, or else the mistake in the query.
    fn explained(&self, mistake: Mistake, sql: &str) -> EmbeddingsError {
        self.damage.take().unwrap_or_else(|| mistake.in_query(sql, &self.tables))
    }

    fn answer(&self, sql: &str) -> Result<pl::DataFrame, Mistake> {
        let mut statement = Statement::parse(sql)?;
        statement.fill_in(|part| one_value(&self.execute(part)?, part))?;
        self.execute(&statement.to_text())
    }

    fn execute(&self, sql: &str) -> Result<pl::DataFrame, Mistake> {
        // A rejected statement leaves its aliases behind.
        let mut context = self.context.clone();
        unpanicked(|| context.execute(sql)?.collect()).map_err(Mistake::Told)
    }
}

/// The value of a query in parentheses.
fn one_value(answer: &pl::DataFrame, sql: &str) -> Result<Expr, Mistake> {
    let wrong = |found: String| Mistake::Said(format!("({sql}) gives {found}, one value is wanted"));
    let (rows, columns) = (answer.height(), answer.width());
    if rows != 1 || columns != 1 {
        let of = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        return Err(wrong(format!("{} of {}", of(rows, "row"), of(columns, "column"))));
    }
    let value = answer.columns()[0].get(0).unwrap_or(pl::AnyValue::Null);
    statement::literal(&value).ok_or_else(|| wrong(format!("a value without an SQL literal ({value})")))
}

/// The SQL name of the file or directory at `path`: its name without the extension, with `_` for anything but letters,
/// digits and underscores, and before a leading digit.
#[must_use]
pub fn table_name(path: &Path) -> String {
    let stem = path.canonicalize().ok();
    // A directory has no extension: `run.1` is not `run`.
    let name = if path.is_dir() { stem.as_deref().unwrap_or(path).file_name() } else { path.file_stem() };
    let name = name.unwrap_or_default().to_string_lossy();
    let valid = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = name.chars().map(valid).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}
