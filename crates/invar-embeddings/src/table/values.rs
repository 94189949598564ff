//! A table for programs to read: CSV and JSON.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use polars::prelude as pl;
use serde_json::Value;

/// RFC 4180, with a header line; nulls are empty, lists are JSON.
pub(super) fn write_csv(frame: &pl::DataFrame, to: &mut dyn Write) -> io::Result<()> {
    let names = frame.columns().iter().map(|column| quoted(column.name().as_str()));
    writeln!(to, "{}", names.collect::<Vec<_>>().join(","))?;
    for row in 0..frame.height() {
        let cells = frame.columns().iter().map(|column| match any(column, row) {
            pl::AnyValue::Null => String::new(),
            pl::AnyValue::String(text) => quoted(text),
            pl::AnyValue::StringOwned(text) => quoted(&text),
            value => quoted(&json(&value)),
        });
        writeln!(to, "{}", cells.collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// One JSON object per line. NaN and infinities are null: JSON has none.
pub(super) fn write_ndjson(frame: &pl::DataFrame, to: &mut dyn Write) -> io::Result<()> {
    for row in 0..frame.height() {
        writeln!(to, "{}", object(frame, row))?;
    }
    Ok(())
}

/// An array of the same objects.
pub(super) fn write_json(frame: &pl::DataFrame, to: &mut dyn Write) -> io::Result<()> {
    write!(to, "[")?;
    for row in 0..frame.height() {
        write!(to, "{}\n  {}", if row > 0 { "," } else { "" }, object(frame, row))?;
    }
    writeln!(to, "{}]", if frame.height() > 0 { "\n" } else { "" })
}

fn object(frame: &pl::DataFrame, row: usize) -> String {
    let fields = frame.columns().iter().map(|column| {
        let name = Value::from(column.name().as_str());
        format!("{name}:{}", json(&any(column, row)))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.into() }
}

pub(super) fn any(column: &pl::Column, row: usize) -> pl::AnyValue<'_> {
    column.get(row).unwrap_or(pl::AnyValue::Null)
}

/// A value as JSON.
pub(super) fn json(value: &pl::AnyValue<'_>) -> String {
    use pl::AnyValue;
    match value {
        AnyValue::Null => "null".into(),
        AnyValue::Boolean(value) => value.to_string(),
        AnyValue::String(text) => Value::from(*text).to_string(),
        AnyValue::StringOwned(text) => Value::from(text.as_str()).to_string(),
        AnyValue::Float32(value) if !value.is_finite() => "null".into(),
        // The digits of the f32, not those of its f64.
        AnyValue::Float32(value) => format!("{value:?}"),
        AnyValue::Float64(value) => Value::from(*value).to_string(),
        AnyValue::List(values) | AnyValue::Array(values, _) => {
            let mut text = String::from("[");
            for (place, value) in values.iter().enumerate() {
                let _ = write!(text, "{}{}", if place > 0 { "," } else { "" }, json(&value));
            }
            text + "]"
        }
        value if value.is_integer() => value.to_string(),
        other => Value::from(other.to_string()).to_string(),
    }
}
