//! An EMB as a table for polars' lazy engine: a query reads the columns that it names, 65,536 rows at a time, and keeps
//! the rows that pass its filter.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
};

use polars::prelude::{self as pl, IntoLazy};
use rayon::prelude::*;

use crate::{
    EMBEDDING, EmbeddingsError, half,
    layout::Whole,
    parquet::{self, Footer, ROW_GROUP},
};

/// The EMB or Parquet file as a table.
///
/// # Errors
/// If polars rejects its columns.
pub(crate) fn table(whole: Whole, damage: Damage) -> pl::PolarsResult<pl::LazyFrame> {
    let arguments = pl::ScanArgsAnonymous { name: "EMB", ..Default::default() };
    pl::LazyFrame::anonymous_scan(Arc::new(Parts { parts: whole.parts, damage }), arguments)
}

/// The first error of a file that a query reads: polars only passes on its text, and it is the file's error, not the
/// query's.
#[derive(Clone, Default)]
pub(crate) struct Damage {
    first: Arc<Mutex<Option<EmbeddingsError>>>,
}

impl Damage {
    /// The error found since the last call.
    pub fn take(&self) -> Option<EmbeddingsError> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: EmbeddingsError) -> pl::PolarsError {
        let told = pl::PolarsError::ComputeError(error.to_string().into());
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        told
    }
}

/// The files of a table, at least one.
struct Parts {
    parts: Vec<Footer>,
    damage: Damage,
}

/// Some rows of a part.
struct Piece<'a> {
    part: &'a Footer,
    first: usize,
    num_rows: usize,
}

impl Parts {
    /// The first `num_rows` rows in pieces, at least one.
    fn pieces(&self, num_rows: usize) -> Vec<Piece<'_>> {
        let mut left = num_rows;
        let mut pieces = vec![];
        for part in &self.parts {
            let wanted = left.min(part.num_rows);
            left -= wanted;
            for first in (0..wanted).step_by(ROW_GROUP) {
                pieces.push(Piece { part, first, num_rows: ROW_GROUP.min(wanted - first) });
            }
        }
        if pieces.is_empty() {
            pieces.push(Piece { part: &self.parts[0], first: 0, num_rows: 0 });
        }
        pieces
    }
}

impl pl::AnonymousScan for Parts {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self, _: Option<usize>) -> pl::PolarsResult<pl::SchemaRef> {
        let fields = self.parts[0].columns.iter().map(|(name, dtype)| {
            let dtype = half::as_read(dtype);
            let dtype = as_list(name, &dtype).unwrap_or(dtype);
            pl::Field::new(name.as_str().into(), dtype)
        });
        Ok(Arc::new(fields.collect()))
    }

    fn scan(&self, wanted: pl::AnonymousScanArgs) -> pl::PolarsResult<pl::DataFrame> {
        let columns: Option<Vec<String>> =
            wanted.with_columns.map(|names| names.iter().map(|name| name.to_string()).collect());
        let filter = wanted.predicate.and_then(without_hints);
        let read = |piece: &Piece<'_>| {
            let frame = piece.read(columns.as_deref()).map_err(|error| self.damage.note(error))?;
            match &filter {
                Some(predicate) => frame.lazy().filter(predicate.clone()).collect(),
                None => Ok(frame),
            }
        };
        let pieces = self.pieces(wanted.n_rows.unwrap_or(usize::MAX));
        let frames: Vec<pl::DataFrame> = pieces.par_iter().map(read).collect::<pl::PolarsResult<_>>()?;
        let mut frames = frames.into_iter();
        let mut all = frames.next().expect("there is at least one piece");
        for frame in frames {
            all.vstack_mut_owned(frame)?;
        }
        Ok(all)
    }

    fn allows_predicate_pushdown(&self) -> bool {
        true
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}

impl Piece<'_> {
    fn read(&self, columns: Option<&[String]>) -> Result<pl::DataFrame, EmbeddingsError> {
        let columns: Option<Vec<&str>> = columns.map(|names| names.iter().map(String::as_str).collect());
        let mut frame = parquet::read_rows(&self.part.path, columns.as_deref(), self.first, self.num_rows)?;
        if let Ok(column) = frame.column(EMBEDDING)
            && let Some(list) = as_list(EMBEDDING, column.dtype())
        {
            let column = column.cast(&list).map_err(EmbeddingsError::parquet(&self.part.path))?;
            frame.replace(EMBEDDING, column).map_err(EmbeddingsError::parquet(&self.part.path))?;
        }
        Ok(frame)
    }
}

/// The filter without what the planner adds if only the first rows of a sorted table are wanted: a bound that it learns
/// on the way, which an expression can only display (`Expr::Display`). Rows that it would exclude are excluded later
/// anyway.
fn without_hints(filter: pl::Expr) -> Option<pl::Expr> {
    match filter {
        pl::Expr::Display { .. } => None,
        pl::Expr::BinaryExpr { left, op: pl::Operator::And, right } => {
            let sides = (without_hints(Arc::unwrap_or_clone(left)), without_hints(Arc::unwrap_or_clone(right)));
            match sides {
                (Some(left), Some(right)) => Some(left.and(right)),
                (left, right) => left.or(right),
            }
        }
        other => Some(other),
    }
}

/// The functions of SQL take lists, not arrays of fixed size.
fn as_list(name: &str, dtype: &pl::DataType) -> Option<pl::DataType> {
    match dtype {
        pl::DataType::Array(inner, _) if name == EMBEDDING => Some(pl::DataType::List(inner.clone())),
        _ => None,
    }
}
