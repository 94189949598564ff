//! Columns as bytes that a browser turns into typed arrays.
//!
//! A column is its values in little-endian order, *by planes*: the first bytes of all values, then the second bytes,
//! and so on. Bytes of the same significance are similar, so deflate compresses them better than consecutive values.
//!
//! ```text
//! numbers          planes of n values of the type; then, where there are nulls, a byte a value: 1 is null
//! differences      the same, of the first value and the differences of each to the one before (keys count up)
//! text             lengths in bytes, planes of n x u32 (2^32 - 1 is null); then all of it as UTF-8
//! dictionary       number of words, u32; their lengths, planes of u32; the words as UTF-8; codes, planes of n values
//! ```

use std::collections::HashMap;

use invar_dataset::ColumnData;
use serde::Serialize;

/// Integers beyond this are not exact in JavaScript.
const MAX_EXACT: i64 = 1 << 53;
/// The length of a missing text.
const NULL: u32 = u32::MAX;

/// A column as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    pub header: Header,
    pub bytes: Vec<u8>,
}

/// What is needed to unpack a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Header {
    pub kind: Kind,
    /// The type of the values of numbers and differences, or of the codes of a dictionary.
    #[serde(rename = "type")]
    pub value: Value,
    /// Whether there is one byte per value to mark nulls.
    pub nulls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Number,
    Bool,
    Difference,
    Text,
    Dictionary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    U8,
    U16,
    U32,
    I32,
    F32,
    F64,
}

/// Packs a column; `rounded` numbers keep four digits, all others those of single precision.
pub fn column(data: &ColumnData, rounded: bool) -> Packed {
    match data {
        ColumnData::Str(values) => text(values.iter().map(Option::as_deref).collect()),
        ColumnData::Bool(values) => {
            let values: Vec<Option<i64>> = values.iter().map(|value| value.map(i64::from)).collect();
            let mut packed = integers(&values);
            packed.header.kind = Kind::Bool;
            packed
        }
        ColumnData::U8(values) => integers(&values.iter().map(|value| value.map(i64::from)).collect::<Vec<_>>()),
        ColumnData::U32(values) => integers(&values.iter().map(|value| value.map(i64::from)).collect::<Vec<_>>()),
        ColumnData::I64(values) => integers(values),
        ColumnData::F32(values) => floats(values.iter().map(|value| value.unwrap_or(f32::NAN)), rounded),
        ColumnData::F64(values) => doubles(values, rounded),
    }
}

/// Places as `u16` between the smallest and the largest, or unchanged.
pub fn places(values: &[f32], rounded: bool) -> (Packed, [f32; 2]) {
    let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    if !rounded {
        return (floats(values.iter().copied(), false), [low, high]);
    }
    let (low_wide, width) = (f64::from(low), f64::from(high) - f64::from(low));
    let share = |value: f32| if width > 0.0 { (f64::from(value) - low_wide) / width } else { 0.0 };
    let code = |value: &f32| ((share(*value) * f64::from(u16::MAX)).round() as u16).to_le_bytes();
    (packed(Kind::Number, Value::U16, &values.iter().map(code).collect::<Vec<_>>(), None), [low, high])
}

/// Indices of samples.
pub fn rows(rows: &[u32]) -> Packed {
    integers(&rows.iter().map(|&row| Some(i64::from(row))).collect::<Vec<_>>())
}

fn packed<const W: usize>(kind: Kind, value: Value, values: &[[u8; W]], nulls: Option<Vec<u8>>) -> Packed {
    let mut bytes = planes(values);
    let header = Header { kind, value, nulls: nulls.is_some() };
    bytes.extend(nulls.into_iter().flatten());
    Packed { header, bytes }
}

fn planes<const W: usize>(values: &[[u8; W]]) -> Vec<u8> {
    (0..W).flat_map(|plane| values.iter().map(move |value| value[plane])).collect()
}

fn integers(values: &[Option<i64>]) -> Packed {
    let (low, high) = values.iter().flatten().fold((0, 0), |(low, high), &value| (value.min(low), value.max(high)));
    if low < -MAX_EXACT || high > MAX_EXACT {
        let texts: Vec<Option<String>> = values.iter().map(|value| value.map(|value| value.to_string())).collect();
        return text(texts.iter().map(Option::as_deref).collect());
    }
    let is_null: Vec<u8> = values.iter().map(|value| u8::from(value.is_none())).collect();
    let nulls = is_null.contains(&1).then_some(is_null);
    let all = || values.iter().map(|value| value.unwrap_or(0));
    let number = Kind::Number;
    if low >= 0 && high <= i64::from(u8::MAX) {
        packed(number, Value::U8, &all().map(|value| [value as u8]).collect::<Vec<_>>(), nulls)
    } else if low >= 0 && high <= i64::from(u16::MAX) {
        packed(number, Value::U16, &all().map(|value| (value as u16).to_le_bytes()).collect::<Vec<_>>(), nulls)
    } else if low >= 0 && high <= i64::from(u32::MAX) {
        packed(number, Value::U32, &all().map(|value| (value as u32).to_le_bytes()).collect::<Vec<_>>(), nulls)
    } else if low >= i64::from(i32::MIN) && high <= i64::from(i32::MAX) {
        packed(number, Value::I32, &all().map(|value| (value as i32).to_le_bytes()).collect::<Vec<_>>(), nulls)
    } else {
        let mut before = 0;
        let difference = |value| (value - std::mem::replace(&mut before, value)) as f64;
        let differences: Vec<[u8; 8]> = all().map(difference).map(f64::to_le_bytes).collect();
        packed(Kind::Difference, Value::F64, &differences, nulls)
    }
}

fn floats(values: impl Iterator<Item = f32>, rounded: bool) -> Packed {
    let bytes = |value: f32| {
        let bits = value.to_bits();
        // Rounds the last byte, then drops it: 15 bits of the fraction stay. An infinity must not become NaN.
        let bits = if rounded && value.is_finite() { (bits + 0x80) & !0xff } else { bits };
        bits.to_le_bytes()
    };
    packed(Kind::Number, Value::F32, &values.map(bytes).collect::<Vec<_>>(), None)
}

fn doubles(values: &[Option<f64>], rounded: bool) -> Packed {
    let fits = |value: f64| !value.is_finite() || value == 0.0 || (value.abs() as f32).is_normal();
    if values.iter().flatten().all(|&value| fits(value)) {
        return floats(values.iter().map(|value| value.map_or(f32::NAN, |value| value as f32)), rounded);
    }
    let bytes = |value: &Option<f64>| value.unwrap_or(f64::NAN).to_le_bytes();
    packed(Kind::Number, Value::F64, &values.iter().map(bytes).collect::<Vec<_>>(), None)
}

fn text(values: Vec<Option<&str>>) -> Packed {
    if let Some(packed) = dictionary(&values) {
        return packed;
    }
    let mut bytes = lengths(values.iter().copied());
    values.iter().flatten().for_each(|text| bytes.extend(text.as_bytes()));
    Packed { header: Header { kind: Kind::Text, value: Value::U32, nulls: false }, bytes }
}

fn lengths<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Vec<u8> {
    let length = |text: Option<&str>| text.map_or(NULL, |text| text.len() as u32).to_le_bytes();
    planes(&texts.map(length).collect::<Vec<_>>())
}

/// For texts that repeat: at most half as many different ones as rows, and at most 65,535. Null is a word of its own.
fn dictionary(values: &[Option<&str>]) -> Option<Packed> {
    let most = (values.len() / 2).clamp(1, usize::from(u16::MAX));
    let mut codes: HashMap<Option<&str>, u16> = HashMap::new();
    let mut words: Vec<Option<&str>> = vec![];
    let mut of_row = Vec::with_capacity(values.len());
    for &value in values {
        let code = *codes.entry(value).or_insert_with(|| {
            words.push(value);
            (words.len() - 1).min(most) as u16
        });
        if words.len() > most {
            return None;
        }
        of_row.push(code);
    }
    let mut bytes = (words.len() as u32).to_le_bytes().to_vec();
    bytes.extend(lengths(words.iter().copied()));
    words.iter().flatten().for_each(|word| bytes.extend(word.as_bytes()));
    let codes = if words.len() <= 256 {
        packed(Kind::Dictionary, Value::U8, &of_row.iter().map(|&code| [code as u8]).collect::<Vec<_>>(), None)
    } else {
        packed(Kind::Dictionary, Value::U16, &of_row.iter().map(|code| code.to_le_bytes()).collect::<Vec<_>>(), None)
    };
    bytes.extend(codes.bytes);
    Some(Packed { header: codes.header, bytes })
}

#[cfg(test)]
mod tests;
