//! `cosine(a, b)` in SQL.

use polars::{
    prelude::{self as pl, IntoColumn},
    sql::{FunctionOptions, FunctionRegistry},
};
use polars_arrow::array::{Array, PrimitiveArray};
use rayon::prelude::*;

pub(super) const NAME: &str = "cosine";

/// Minimum number of rows per thread.
const ROWS_OF_A_TASK: usize = 1024;

/// The functions that the SQL of polars lacks.
pub(super) struct Functions;

impl FunctionRegistry for Functions {
    fn register(&mut self, name: &str, _: pl::UserDefinedFunction) -> pl::PolarsResult<()> {
        Err(pl::PolarsError::InvalidOperation(format!("{name}: functions are not added").into()))
    }

    fn get_udf(&self, name: &str) -> pl::PolarsResult<Option<pl::UserDefinedFunction>> {
        if !self.contains(name) {
            return Ok(None);
        }
        let call = |columns: &mut [pl::Column]| cosine(columns);
        let field = |_: &pl::Schema, fields: &[pl::Field]| {
            check(fields.iter().map(|field| (field.name().as_str(), field.dtype())))?;
            Ok(pl::Field::new(fields[0].name().clone(), pl::DataType::Float64))
        };
        Ok(Some(pl::UserDefinedFunction {
            name: NAME.into(),
            fun: pl::new_column_udf(pl::BaseColumnUdf::new(call, field)),
            options: FunctionOptions::elementwise(),
        }))
    }

    fn contains(&self, name: &str) -> bool {
        name == NAME
    }
}

/// Rejects anything but two lists of numbers.
fn check<'a>(arguments: impl ExactSizeIterator<Item = (&'a str, &'a pl::DataType)>) -> pl::PolarsResult<()> {
    if arguments.len() != 2 {
        return Err(misuse(format!("{NAME} is of two lists of numbers, here are {}", arguments.len())));
    }
    for (name, dtype) in arguments {
        let is_list = matches!(dtype, pl::DataType::List(inner) | pl::DataType::Array(inner, _)
            if inner.is_primitive_numeric() || **inner == pl::DataType::Null);
        if !is_list {
            return Err(misuse(format!("{NAME} is of two lists of numbers, {name:?} is {dtype}")));
        }
    }
    Ok(())
}

fn misuse(text: String) -> pl::PolarsError {
    pl::PolarsError::InvalidOperation(text.into())
}

/// The cosine of the lists of two columns, row by row, in double precision. A column of one row is compared with all
/// rows of the other. Null if a list is null, contains a null, or is zero and so has no direction.
fn cosine(columns: &mut [pl::Column]) -> pl::PolarsResult<pl::Column> {
    check(columns.iter().map(|column| (column.name().as_str(), column.dtype())))?;
    let (a, b) = (Vectors::of(&columns[0])?, Vectors::of(&columns[1])?);
    let num_rows = match (columns[0].len(), columns[1].len()) {
        (1, rows) | (rows, 1) => rows,
        (rows, others) if rows == others => rows,
        (rows, others) => return Err(misuse(format!("{NAME} of {rows} lists and {others}"))),
    };
    let values: Vec<Option<f64>> = (0..num_rows)
        .into_par_iter()
        .with_min_len(ROWS_OF_A_TASK)
        .map_init(
            || (vec![], vec![]),
            |(x, y), row| {
                if !a.read(row, x) || !b.read(row, y) {
                    return Ok(None);
                }
                if x.len() != y.len() {
                    return Err(misuse(format!("{NAME} of lists of {} and {} numbers", x.len(), y.len())));
                }
                let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
                let norms = (dot(x, x) * dot(y, y)).sqrt();
                Ok((norms != 0.0).then(|| (dot(x, y) / norms).clamp(-1.0, 1.0)))
            },
        )
        .collect::<pl::PolarsResult<_>>()?;
    let name = columns[0].name().clone();
    Ok(<pl::Series as pl::NamedFrom<_, _>>::new(name, values).into_column())
}

/// The lists of a column as rows of numbers.
pub(super) struct Vectors {
    lists: pl::ListChunked,
    /// Whether one row is used for all.
    is_one: bool,
}

impl Vectors {
    /// # Errors
    /// If it does not hold lists of numbers.
    pub fn of(column: &pl::Column) -> pl::PolarsResult<Self> {
        let series = match column.as_scalar_column() {
            Some(scalar) => scalar.as_single_value_series(),
            None => column.as_materialized_series().clone(),
        };
        let inner = match series.dtype() {
            pl::DataType::List(inner) | pl::DataType::Array(inner, _) if **inner == pl::DataType::Float32 => {
                pl::DataType::Float32
            }
            _ => pl::DataType::Float64,
        };
        let series = series.strict_cast(&pl::DataType::List(Box::new(inner)))?.rechunk();
        Ok(Self { is_one: series.len() == 1, lists: series.list()?.clone() })
    }

    /// Reads the list of a row; returns whether it has one, without missing numbers.
    pub fn read(&self, row: usize, into: &mut Vec<f64>) -> bool {
        let lists = self.lists.downcast_as_array();
        let row = if self.is_one { 0 } else { row };
        if lists.is_null(row) {
            return false;
        }
        let (start, end) = lists.offsets().start_end(row);
        let values = lists.values();
        if values.null_count() > 0 && (start..end).any(|at| values.is_null(at)) {
            return false;
        }
        into.clear();
        if let Some(values) = values.as_any().downcast_ref::<PrimitiveArray<f32>>() {
            into.extend(values.values()[start..end].iter().map(|&value| f64::from(value)));
        } else if let Some(values) = values.as_any().downcast_ref::<PrimitiveArray<f64>>() {
            into.extend_from_slice(&values.values()[start..end]);
        }
        true
    }
}
