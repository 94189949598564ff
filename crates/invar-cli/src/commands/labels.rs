//! Tables of true labels.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result};
use invar_dataset::{Column, ColumnData};

use crate::exit::BadInput;

/// The true labels of some samples.
#[derive(Clone)]
pub struct Labels {
    /// The column they came from.
    pub column: String,
    by_id: HashMap<String, String>,
}

/// A column as labels, a text each: what numbers and flags say when they are printed.
pub fn as_labels(column: &Column) -> Vec<Option<String>> {
    fn texts<T: ToString>(values: &[Option<T>]) -> Vec<Option<String>> {
        values.iter().map(|value| value.as_ref().map(T::to_string)).collect()
    }
    match &column.data {
        ColumnData::Str(values) => values.clone(),
        ColumnData::Bool(values) => texts(values),
        ColumnData::U8(values) => texts(values),
        ColumnData::U32(values) => texts(values),
        ColumnData::I64(values) => texts(values),
        ColumnData::F32(values) => texts(values),
        ColumnData::F64(values) => texts(values),
    }
}

impl Labels {
    /// Labels by sample id.
    pub fn into_map(self) -> HashMap<String, String> {
        self.by_id
    }

    /// Reads a tab-separated table with a header that has a column `id`; the labels are in `column`, by default the
    /// first other one. Empty labels are left out.
    ///
    /// # Errors
    /// When a column is missing, a row has another number of fields, or an id has two different labels.
    pub fn read(path: &Path, column: Option<&str>) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(b'\t')
            .quoting(false)
            .comment(None)
            .from_path(path)
            .with_context(|| path.display().to_string())?;
        let bad = |reason: String| BadInput(format!("{}: {reason}", path.display()));
        let header: Vec<String> = reader
            .headers()
            .map_err(|error| bad(error.to_string()))?
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        let find = |name: &str| {
            let position = header.iter().position(|h| h == name);
            position.ok_or_else(|| bad(format!("expected a column {name:?}, found {}", header.join(", "))))
        };
        let id_at = find("id")?;
        let label_at = match column {
            Some(name) => find(name)?,
            None => (0..header.len())
                .find(|&i| i != id_at)
                .ok_or_else(|| bad("expected a column of labels beside `id`, found none".into()))?,
        };
        let mut by_id = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| bad(error.to_string()))?;
            let (id, label) = (&record[id_at], &record[label_at]);
            if label.is_empty() {
                continue;
            }
            let old = by_id.insert(id.to_owned(), label.to_owned());
            if let Some(old) = old.filter(|old| old != label) {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(bad(format!("line {line}: {id:?} is {label:?} here and {old:?} before")).into());
            }
        }
        Ok(Self { column: header[label_at].clone(), by_id })
    }

    /// The label of each id, `None` where the table has none.
    ///
    /// # Errors
    /// When not one id has a label: the table is of other samples.
    pub fn of<'a>(&'a self, ids: &[String]) -> Result<Vec<Option<&'a str>>> {
        let labels: Vec<_> = ids.iter().map(|id| self.by_id.get(id).map(String::as_str)).collect();
        if !ids.is_empty() && labels.iter().all(Option::is_none) {
            let first = self.by_id.keys().min().map_or("none at all", String::as_str);
            let reason = format!(
                "not one of {} samples has a label: the samples are named like {:?}, the labels like {first:?}",
                ids.len(),
                ids[0]
            );
            return Err(BadInput(reason).into());
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, column: Option<&str>) -> Result<Labels> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Labels::read(file.path(), column)
    }

    #[test]
    fn the_first_other_column_or_the_named_one() {
        let text = "species\tid\tstrand\r\nE. coli\ta\t+\r\n\tb\t-\r\n";
        let ids = ["a".to_owned(), "b".to_owned()];
        assert_eq!(read(text, None).unwrap().of(&ids).unwrap(), [Some("E. coli"), None]);
        assert_eq!(read(text, Some("strand")).unwrap().of(&ids).unwrap(), [Some("+"), Some("-")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_both_values() {
        let error = |text, column| read(text, column).err().unwrap().to_string();
        assert!(error("id\tx\na\t1\na\t2\n", None).ends_with("line 3: \"a\" is \"2\" here and \"1\" before"));
        assert!(error("id\tx\n", Some("y")).ends_with("expected a column \"y\", found id, x"));
        assert!(error("name\tx\n", None).ends_with("expected a column \"id\", found name, x"));
        let labels = read("id\tx\na\t1\n", None).unwrap();
        let error = labels.of(&["b".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("\"b\"") && error.contains("\"a\""), "{error}");
    }
}
