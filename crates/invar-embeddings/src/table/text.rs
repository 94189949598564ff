//! A table for people to read.

use std::io::{self, Write};

use polars::prelude as pl;

use super::values;

/// Number of values of a list that are shown.
const SHOWN_VALUES: usize = 3;

/// A header, a rule, one line per row; see [`super::Table::to_text`].
pub(super) fn write(frame: &pl::DataFrame, width: usize, to: &mut dyn Write) -> io::Result<()> {
    let columns: Vec<TextColumn> = frame.columns().iter().map(TextColumn::new).collect();
    let mut widths: Vec<usize> = columns.iter().map(TextColumn::width).collect();
    shrink(&mut widths, width);
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&columns).zip(&widths).map(|((cell, column), &width)| {
            let cell = cut(cell, width);
            let padding = " ".repeat(width - cell.chars().count());
            if column.is_number { format!("{padding}{cell}") } else { format!("{cell}{padding}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    writeln!(to, "{}", line(columns.iter().map(|column| column.name.as_str()).collect()))?;
    writeln!(to, "{}", widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  "))?;
    for row in 0..frame.height() {
        writeln!(to, "{}", line(columns.iter().map(|column| column.cells[row].as_str()).collect()))?;
    }
    Ok(())
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
            cells: (0..column.len()).map(|row| shown(&values::any(column, row))).collect(),
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
        AnyValue::String(text) => text.replace(char::is_control, " "),
        AnyValue::StringOwned(text) => text.replace(char::is_control, " "),
        other => values::json(other),
    }
}

/// At most 6 significant digits, no trailing zeros.
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

/// Cuts the widest columns until they fit, with two spaces between them; none below 8 characters.
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
