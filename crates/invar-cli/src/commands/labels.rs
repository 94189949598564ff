//! Tables of true labels.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::{Column, ColumnData, SampleName};
use invar_embeddings::KEY;

use crate::exit::BadInput;

/// The column of names, and the ones that distinguish samples with the same name.
const ID: &str = "id";
const SOURCE: &str = "source";

/// The true labels of some samples.
#[derive(Clone)]
pub struct Labels {
    /// The column they came from.
    pub column: String,
    path: PathBuf,
    rows: Rows,
}

/// How the rows of a table identify samples.
#[derive(Clone)]
enum Rows {
    /// Labels by source and name; the source is empty if the table has none.
    ByName { has_source: bool, labels: HashMap<String, HashMap<String, String>> },
    /// Name (empty if the table has none) and label by key.
    ByKey(HashMap<u64, (String, String)>),
}

/// A sample, with everything a table can identify it by.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its human-readable name.
    pub id: &'a str,
    /// The file it came from, if known.
    pub source: Option<&'a str>,
    /// The number of that file, if known.
    pub source_number: Option<u64>,
    /// Its key, if known.
    pub key: Option<u64>,
    /// For a second mate, the index of the first among the samples: they are of one fragment, and share a label.
    pub first_mate: Option<usize>,
}

impl<'a> From<&'a SampleName> for Named<'a> {
    fn from(name: &'a SampleName) -> Self {
        Self {
            id: &name.id,
            source: Some(&name.source),
            source_number: Some(name.source_number),
            key: Some(name.key),
            first_mate: None,
        }
    }
}

/// A column as labels, one text each: numbers and flags as printed.
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
    /// Reads a tab-separated table with a header. Its rows identify samples by the column `key`; or by `id`, and also
    /// by `source` if it exists. The labels are in `column`, by default the first that is none of these. Empty labels
    /// are left out.
    ///
    /// # Errors
    /// If a column is missing, a row has another number of fields, a key is not a number, or a sample has two different
    /// labels.
    pub fn read(path: &Path, column: Option<&str>) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').quoting(false).comment(None).from_reader(file);
        let bad = |reason: String| BadInput(format!("{}: {reason}", path.display()));
        let header: Vec<String> = reader
            .headers()
            .map_err(|error| bad(error.to_string()))?
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        let position = |name: &str| header.iter().position(|h| h == name);
        let missing = |name: &str| bad(format!("expected a column {name:?}, found {}", header.join(", ")));
        let names_samples = |name: &str| [ID, SOURCE, KEY].contains(&name) && column != Some(name);
        let [id_at, source_at, key_at] = [ID, SOURCE, KEY].map(|name| position(name).filter(|_| names_samples(name)));
        if id_at.is_none() && key_at.is_none() {
            return Err(missing(ID).into());
        }
        let label_at = match column {
            Some(name) => position(name).ok_or_else(|| missing(name))?,
            None => header
                .iter()
                .position(|name| !names_samples(name))
                .ok_or_else(|| bad(format!("expected a column of labels, found {}", header.join(", "))))?,
        };
        let mut rows = match key_at {
            Some(_) => Rows::ByKey(HashMap::new()),
            None => Rows::ByName { has_source: source_at.is_some(), labels: HashMap::new() },
        };
        for record in reader.records() {
            let record = record.map_err(|error| bad(error.to_string()))?;
            let at = |column: Option<usize>| column.map_or("", |column| &record[column]);
            let line = record.position().map_or(0, csv::Position::line);
            let label = &record[label_at];
            if label.is_empty() {
                continue;
            }
            let (id, source) = (at(id_at), at(source_at));
            let (name, old) = match &mut rows {
                Rows::ByName { labels, .. } => {
                    let old = labels.entry(source.to_owned()).or_default().insert(id.to_owned(), label.to_owned());
                    (format!("{id:?}"), old)
                }
                Rows::ByKey(labels) => {
                    let key = at(key_at);
                    let number = key
                        .parse()
                        .map_err(|_| bad(format!("line {line}: expected a key, a number, found {key:?}")))?;
                    (format!("key {key}"), labels.insert(number, (id.to_owned(), label.to_owned())).map(|(_, old)| old))
                }
            };
            if let Some(old) = old.filter(|old| old != label) {
                return Err(bad(format!("line {line}: {name} is {label:?} here and {old:?} before")).into());
            }
        }
        Ok(Self { column: header[label_at].clone(), path: path.into(), rows })
    }

    /// The label of each sample, `None` if the table has none.
    ///
    /// # Errors
    /// If no sample has a label (the table is for others), if a row fits samples of several files, or if the name that
    /// goes with a key is not that of the sample.
    pub fn of<'a>(&'a self, samples: &[Named]) -> Result<Vec<Option<&'a str>>> {
        let mut labels = Vec::with_capacity(samples.len());
        let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
        for (number, sample) in samples.iter().enumerate() {
            let mut label = self.label(sample)?;
            if let (None, Some(first)) = (label, sample.first_mate) {
                label = self.label(&samples[first])?;
            }
            labels.push(label);
            if let (Some(_), Rows::ByName { has_source, .. }) = (label, &self.rows) {
                let fragment = sample.first_mate.unwrap_or(number);
                let source = if *has_source { samples[fragment].source.unwrap_or_default() } else { "" };
                match seen.entry((source, sample.id)) {
                    Entry::Vacant(entry) => drop(entry.insert(fragment)),
                    Entry::Occupied(entry) => self.one_place(&samples[*entry.get()], &samples[fragment])?,
                }
            }
        }
        if !samples.is_empty() && labels.iter().all(Option::is_none) {
            return Err(self.bad(format!(
                "none of {} samples has a label: the samples are named like {}, the labels like {}",
                samples.len(),
                self.like(&samples[0]),
                self.first()
            )));
        }
        Ok(labels)
    }

    fn label(&self, sample: &Named) -> Result<Option<&str>> {
        match &self.rows {
            Rows::ByName { has_source, labels } => {
                let source = if *has_source { sample.source.ok_or_else(|| self.unknown(SOURCE))? } else { "" };
                Ok(labels.get(source).and_then(|of_source| of_source.get(sample.id)).map(String::as_str))
            }
            Rows::ByKey(labels) => {
                let key = sample.key.ok_or_else(|| self.unknown(KEY))?;
                let Some((id, label)) = labels.get(&key) else { return Ok(None) };
                if !id.is_empty() && id != sample.id {
                    return Err(self.bad(format!("key {key} is {id:?} here, but that sample is {:?}", sample.id)));
                }
                Ok(Some(label))
            }
        }
    }

    /// Rejects a row that fits samples of two files.
    fn one_place(&self, first: &Named, second: &Named) -> Result<()> {
        if first.source == second.source && first.source_number == second.source_number {
            return Ok(());
        }
        let place = |sample: &Named| {
            let key = sample.key.filter(|_| first.source == second.source);
            let key = key.map_or(String::new(), |key| format!(" (key {key})"));
            format!("{}{key}", sample.source.unwrap_or("an unknown file"))
        };
        let columns = if first.source == second.source { "`key`" } else { "`source` or `key`" };
        Err(self.bad(format!(
            "{:?} fits a sample of {} and one of {}: a column {columns}, with the values of the embeddings, must tell \
             them apart",
            second.id,
            place(first),
            place(second)
        )))
    }

    fn like(&self, sample: &Named) -> String {
        match (&self.rows, sample.key) {
            (Rows::ByKey(_), Some(key)) => format!("key {key}"),
            (Rows::ByName { has_source: true, .. }, _) => {
                format!("{:?} of {:?}", sample.id, sample.source.unwrap_or_default())
            }
            _ => format!("{:?}", sample.id),
        }
    }

    /// The first name of the table in order.
    fn first(&self) -> String {
        let none = || "none at all".to_owned();
        match &self.rows {
            Rows::ByKey(labels) => labels.keys().min().map_or_else(none, |key| format!("key {key}")),
            Rows::ByName { has_source, labels } => {
                let named = labels.iter().flat_map(|(source, ids)| ids.keys().map(move |id| (source, id)));
                named.min().map_or_else(none, |(source, id)| match has_source {
                    true => format!("{id:?} of {source:?}"),
                    false => format!("{id:?}"),
                })
            }
        }
    }

    fn unknown(&self, column: &str) -> anyhow::Error {
        self.bad(format!(
            "it names samples by `{column}`, which the embeddings have no column of (an older version wrote them: embed again)"
        ))
    }

    fn bad(&self, reason: String) -> anyhow::Error {
        BadInput(format!("{}: {reason}", self.path.display())).into()
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

    fn sample<'a>(id: &'a str, source: &'a str, number: u64, key: u64) -> Named<'a> {
        Named { id, source: Some(source), source_number: Some(number), key: Some(key), first_mate: None }
    }

    /// A sample of which only the name is known.
    fn bare(id: &str) -> Named<'_> {
        Named { id, source: None, source_number: None, key: None, first_mate: None }
    }

    #[test]
    fn the_first_other_column_or_the_named_one() {
        let text = "species\tid\tstrand\r\nE. coli\ta\t+\r\n\tb\t-\r\n";
        let samples = [bare("a"), bare("b")];
        assert_eq!(read(text, None).unwrap().of(&samples).unwrap(), [Some("E. coli"), None]);
        assert_eq!(read(text, Some("strand")).unwrap().of(&samples).unwrap(), [Some("+"), Some("-")]);
        // A column that usually identifies samples can be the labels.
        let text = "id\tsource\na\tx\nb\ty\n";
        assert_eq!(read(text, Some("source")).unwrap().of(&samples).unwrap(), [Some("x"), Some("y")]);
        assert!(read(text, None).err().unwrap().to_string().ends_with("expected a column of labels, found id, source"));
    }

    #[test]
    fn what_is_wrong_is_said_with_both_values() {
        let error = |text, column| read(text, column).err().unwrap().to_string();
        assert!(error("id\tx\na\t1\na\t2\n", None).ends_with("line 3: \"a\" is \"2\" here and \"1\" before"));
        assert!(error("key\tx\n5\t1\n5\t2\n", None).ends_with("line 3: key 5 is \"2\" here and \"1\" before"));
        assert!(error("key\tx\n5a\t1\n", None).ends_with("line 2: expected a key, a number, found \"5a\""));
        assert!(error("id\tx\n", Some("y")).ends_with("expected a column \"y\", found id, x"));
        assert!(error("name\tx\n", None).ends_with("expected a column \"id\", found name, x"));
        let labels = read("id\tx\na\t1\n", None).unwrap();
        let error = labels.of(&[bare("b")]).unwrap_err().to_string();
        assert!(error.contains("\"b\"") && error.contains("\"a\""), "{error}");
    }

    #[test]
    fn a_name_of_two_files_needs_a_source_or_a_key() {
        let contigs = [sample("contig_1", "x.fa", 10, 10), sample("contig_1", "y.fa", 50, 50)];
        let labels = read("id\tspecies\ncontig_1\tE. coli\n", None).unwrap();
        let error = labels.of(&contigs).unwrap_err().to_string();
        assert!(
            error.contains("\"contig_1\" fits a sample of x.fa and one of y.fa: a column `source` or `key`"),
            "{error}"
        );
        assert_eq!(labels.of(&contigs[..1]).unwrap(), [Some("E. coli")]);
        let by_source = "id\tsource\tspecies\ncontig_1\tx.fa\tE. coli\ncontig_1\ty.fa\tB. subtilis\n";
        assert_eq!(read(by_source, None).unwrap().of(&contigs).unwrap(), [Some("E. coli"), Some("B. subtilis")]);
        let by_key = "key\tspecies\n50\tB. subtilis\n";
        assert_eq!(read(by_key, None).unwrap().of(&contigs).unwrap(), [None, Some("B. subtilis")]);
        // Two files with the same path, ingested in two places.
        let images = [sample("a#1", "img/a.png", 10, 10), sample("a#1", "img/a.png", 50, 50)];
        let by_source = read("id\tsource\tphase\na#1\timg/a.png\tferrite\n", None).unwrap();
        let error = by_source.of(&images).unwrap_err().to_string();
        assert!(error.contains("img/a.png (key 10) and one of img/a.png (key 50): a column `key`"), "{error}");
        // Reads with the same name in one file are indistinguishable to a person, too.
        let reads = [sample("r", "x.fq", 10, 10), sample("r", "x.fq", 10, 11)];
        assert_eq!(read("id\tx\nr\t1\n", None).unwrap().of(&reads).unwrap(), [Some("1"), Some("1")]);
    }

    #[test]
    fn mates_share_a_label_whichever_of_them_has_it() {
        let mates = [sample("f", "r1.fq", 10, 10), Named { first_mate: Some(0), ..sample("f", "r2.fq", 50, 50) }];
        for table in ["id\tx\nf\t1\n", "id\tsource\tx\nf\tr1.fq\t1\n", "key\tx\n10\t1\n"] {
            assert_eq!(read(table, None).unwrap().of(&mates).unwrap(), [Some("1"), Some("1")], "{table}");
        }
    }

    #[test]
    fn a_key_with_another_name_and_what_embeddings_lack_are_errors() {
        let samples = [sample("a", "x.fa", 10, 10)];
        let error = read("id\tkey\tx\nb\t10\t1\n", None).unwrap().of(&samples).unwrap_err().to_string();
        assert!(error.ends_with("key 10 is \"b\" here, but that sample is \"a\""), "{error}");
        for table in ["key\tx\n10\t1\n", "id\tsource\tx\na\tx.fa\t1\n"] {
            let error = read(table, None).unwrap().of(&[bare("a")]).unwrap_err().to_string();
            assert!(error.contains("have no column of"), "{error}");
        }
    }
}
