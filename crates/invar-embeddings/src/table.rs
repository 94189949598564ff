use std::path::Path;

use invar_dataset::atomic::AtomicFile;
use polars::prelude as pl;
use serde_json::Value;

use crate::{EMBEDDING, EmbeddingsError, Provenance, parquet::FrameWriter};

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Table {
    frame: pl::DataFrame,
}

/// Values of a list that the text form shows.
const SHOWN_VALUES: usize = 3;

impl Table {
    pub(crate) fn new(frame: pl::DataFrame) -> Self {
        Self { frame }
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.frame.height()
    }

    /// Names of the columns, in order.
    pub fn column_names(&self) -> Vec<String> {
        self.frame.columns().iter().map(|column| column.name().to_string()).collect()
    }

    /// For people: a line of names, a rule, a line a row; numbers to the right with at most 6 digits, lists
    /// shortened to their first values. Columns that are too wide together for `width` characters are cut, the widest
    /// first; `width` 0 cuts nothing.
    pub fn to_text(&self, width: usize) -> String {
        let columns: Vec<TextColumn> = self.frame.columns().iter().map(TextColumn::new).collect();
        let mut widths: Vec<usize> = columns.iter().map(TextColumn::width).collect();
        shrink(&mut widths, width);
        let line = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&columns).zip(&widths).map(|((cell, column), &width)| {
                let cell = cut(cell, width);
                let padding = " ".repeat(width - cell.chars().count());
                if column.is_number { format!("{padding}{cell}") } else { format!("{cell}{padding}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut text = line(columns.iter().map(|column| column.name.as_str()).collect());
        text += &(widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  ") + "\n");
        for row in 0..self.num_rows() {
            text += &line(columns.iter().map(|column| column.cells[row].as_str()).collect());
        }
        text
    }

    /// For programs: RFC 4180, a line of names first; nulls are empty, lists are JSON.
    pub fn to_csv(&self) -> String {
        let mut text = csv_line(self.column_names().iter().map(String::as_str));
        for row in 0..self.num_rows() {
            let cells = self.row(row).map(|(_, value)| match value {
                Value::Null => String::new(),
                Value::String(text) => text,
                value => value.to_string(),
            });
            text += &csv_line(cells);
        }
        text
    }

    /// For programs: one JSON object a line. NaN and infinities are null: JSON has none.
    pub fn to_ndjson(&self) -> String {
        let object = |row| {
            let fields = self.row(row).map(|(name, value)| format!("{}:{value}", Value::from(name)));
            format!("{{{}}}\n", fields.collect::<Vec<_>>().join(","))
        };
        (0..self.num_rows()).map(object).collect()
    }

    /// Writes it as Parquet, atomically. A column `embedding` of the dimension in `provenance` stays one, so that
    /// the answer to `SELECT *` is an EMB.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_parquet(&self, path: &Path, provenance: &Provenance) -> Result<u64, EmbeddingsError> {
        self.write_parquet_to(AtomicFile::create(path).map_err(EmbeddingsError::io(path))?, provenance)
    }

    /// The same, to a file that was begun, so that nobody else writes it while the query runs.
    ///
    /// # Errors
    /// As [`Table::write_parquet`].
    pub fn write_parquet_to(&self, file: AtomicFile, provenance: &Provenance) -> Result<u64, EmbeddingsError> {
        let mut frame = self.frame.clone();
        let array = pl::DataType::Array(Box::new(pl::DataType::Float32), provenance.dim);
        if let Ok(column) = frame.column(EMBEDDING)
            && *column.dtype() == pl::DataType::List(Box::new(pl::DataType::Float32))
            && let Ok(column) = column.strict_cast(&array)
        {
            frame.replace(EMBEDDING, column).map_err(EmbeddingsError::parquet(file.path()))?;
        }
        let mut writer = FrameWriter::over(file, frame.schema(), "query", provenance)?;
        writer.write(&frame)?;
        writer.finish()
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (&str, Value)> {
        self.frame.columns().iter().map(move |column| (column.name().as_str(), json(&any(column, row))))
    }
}

fn any(column: &pl::Column, row: usize) -> pl::AnyValue<'_> {
    column.get(row).unwrap_or(pl::AnyValue::Null)
}

fn json(value: &pl::AnyValue<'_>) -> Value {
    use pl::AnyValue;
    let list = |values: &pl::Series| values.iter().map(|value| json(&value)).collect();
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => Value::from(*value),
        AnyValue::String(text) => Value::from(*text),
        AnyValue::StringOwned(text) => Value::from(text.as_str()),
        // The digits of the f32, not those of its f64.
        AnyValue::Float32(value) => format!("{value:?}").parse().map_or(Value::Null, Value::Number),
        AnyValue::Float64(value) => Value::from(*value),
        AnyValue::UInt8(value) => Value::from(*value),
        AnyValue::UInt16(value) => Value::from(*value),
        AnyValue::UInt32(value) => Value::from(*value),
        AnyValue::UInt64(value) => Value::from(*value),
        AnyValue::Int8(value) => Value::from(*value),
        AnyValue::Int16(value) => Value::from(*value),
        AnyValue::Int32(value) => Value::from(*value),
        AnyValue::Int64(value) => Value::from(*value),
        AnyValue::List(values) | AnyValue::Array(values, _) => Value::Array(list(values)),
        other => Value::from(other.to_string()),
    }
}

fn csv_line<S: AsRef<str>>(cells: impl Iterator<Item = S>) -> String {
    let quoted = cells.map(|cell| {
        let cell = cell.as_ref();
        if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.into() }
    });
    quoted.collect::<Vec<String>>().join(",") + "\n"
}

/// A column as text.
struct TextColumn {
    name: String,
    is_number: bool,
    cells: Vec<String>,
}

impl TextColumn {
    fn new(column: &pl::Column) -> Self {
        Self {
            name: column.name().to_string(),
            is_number: column.dtype().is_primitive_numeric(),
            cells: (0..column.len()).map(|row| shown(&any(column, row))).collect(),
        }
    }

    fn width(&self) -> usize {
        self.cells.iter().chain([&self.name]).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

fn shown(value: &pl::AnyValue<'_>) -> String {
    use pl::AnyValue;
    match value {
        AnyValue::Float32(value) => number(f64::from(*value)),
        AnyValue::Float64(value) => number(*value),
        AnyValue::List(values) | AnyValue::Array(values, _) => {
            let first: Vec<String> = values.iter().take(SHOWN_VALUES).map(|value| shown(&value)).collect();
            let rest = values.len().saturating_sub(SHOWN_VALUES);
            let rest = if rest > 0 { format!(", ... {rest} more") } else { String::new() };
            format!("[{}{rest}]", first.join(", "))
        }
        other => match json(other) {
            Value::String(text) => text.replace(char::is_control, " "),
            value => value.to_string(),
        },
    }
}

/// At most 6 significant digits, no needless zeros.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&exponent) {
        return format!("{value:.5e}");
    }
    let text = format!("{value:.*}", (5 - exponent).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Cuts the widest columns until they fit, two spaces between them; none below 8 characters.
fn shrink(widths: &mut [usize], width: usize) {
    const LEAST: usize = 8;
    while width > 0 && widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1) > width {
        match widths.iter_mut().max() {
            Some(widest) if *widest > LEAST => *widest -= 1,
            _ => return,
        }
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(3)).chain("...".chars().take(width)).collect()
}
