//! The names of the parts of a directory, which sort in the order of their rows.

use std::{fmt, fs, io, path::Path};

use crate::{EmbeddingsError, Shard};

/// The name of a part file: `part-00012.parquet`, or for a shard `part-0003-of-0016-00012.parquet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    pub shard: Option<Shard>,
    pub index: usize,
}

impl PartName {
    /// Parses the name of a part.
    pub fn of(name: &str) -> Option<Self> {
        let numbers = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
        let found = match numbers.split_once("-of-") {
            None => Self { shard: None, index: numbers.parse().ok()? },
            Some((number, rest)) => {
                let (count, index) = rest.split_once('-')?;
                let shard = Shard::new(number.parse().ok()?, count.parse().ok()?)?;
                Self { shard: Some(shard), index: index.parse().ok()? }
            }
        };
        (found.to_string() == name).then_some(found)
    }

    /// The number of shards that the rows are divided into.
    fn division(self) -> Option<usize> {
        self.shard.map(Shard::count)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            None => write!(f, "part-{:05}.parquet", self.index),
            Some(shard) => {
                write!(f, "part-{:04}-of-{:04}-{:05}.parquet", shard.number(), shard.count(), self.index)
            }
        }
    }
}

/// The complete parts in `dir`, in order.
///
/// # Errors
/// If it cannot be listed; a directory that does not exist has none.
pub(crate) fn names(dir: &Path) -> Result<Vec<PartName>, EmbeddingsError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(EmbeddingsError::io(dir)(error)),
    };
    let mut names = vec![];
    for entry in entries {
        names.extend(PartName::of(&entry.map_err(EmbeddingsError::io(dir))?.file_name().to_string_lossy()));
    }
    names.sort_unstable();
    Ok(names)
}

/// Refuses a directory with a part of a division other than that of `shard`, or of no division.
///
/// # Errors
/// [`EmbeddingsError::OtherDivision`].
pub(crate) fn refuse_other_division(dir: &Path, shard: Option<Shard>) -> Result<(), EmbeddingsError> {
    of_division(dir, &names(dir)?, shard)
}

/// Whether some of the file names of an EMB, of whose directory no more is known, are of undivided embeddings or of this
/// shard of them.
///
/// # Errors
/// [`EmbeddingsError::OtherDivision`] if they are of another number of shards.
pub fn has_parts<'a>(
    dir: &Path,
    names: impl IntoIterator<Item = &'a str>,
    shard: Option<Shard>,
) -> Result<bool, EmbeddingsError> {
    let names: Vec<PartName> = names.into_iter().filter_map(PartName::of).collect();
    of_division(dir, &names, shard)?;
    Ok(names.iter().any(|name| name.shard == shard))
}

fn of_division(dir: &Path, names: &[PartName], shard: Option<Shard>) -> Result<(), EmbeddingsError> {
    let division = shard.map(Shard::count);
    match names.iter().find(|name| name.division() != division) {
        None => Ok(()),
        Some(other) => Err(EmbeddingsError::OtherDivision {
            path: dir.into(),
            expected: words(division),
            found: format!("{} ({other})", words(other.division())),
        }),
    }
}

/// The common division of these parts.
///
/// # Errors
/// If there are two.
pub(super) fn division(dir: &Path, names: &[PartName]) -> Result<Option<usize>, EmbeddingsError> {
    let Some(first) = names.first() else { return Ok(None) };
    match names.iter().find(|name| name.division() != first.division()) {
        None => Ok(first.division()),
        Some(other) => Err(EmbeddingsError::Corrupt {
            path: dir.into(),
            what: "parts".into(),
            expected: format!("all of {}, as {first}", words(first.division())),
            found: format!("{other}, of {}", words(other.division())),
        }),
    }
}

fn words(division: Option<usize>) -> String {
    match division {
        None => "embeddings in one piece".into(),
        Some(1) => "1 shard".into(),
        Some(count) => format!("{count} shards"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_in_order() {
        let mut names = vec![PartName { shard: None, index: 12 }];
        for (number, index) in [(1, 0), (1, 1), (2, 0), (16, 0), (16, 10)] {
            names.push(PartName { shard: Shard::new(number, 16), index });
        }
        assert!(names.is_sorted());
        let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!((texts[0].as_str(), texts[2].as_str()), ("part-00012.parquet", "part-0001-of-0016-00001.parquet"));
        assert!(texts[1..].is_sorted());
        for (name, text) in names.iter().zip(&texts) {
            assert_eq!(PartName::of(text), Some(*name));
        }
        for other in ["part-1.parquet", "part-0017-of-0016-00000.parquet", "part-1-of-2-3.parquet", "part-x", ""] {
            assert_eq!(PartName::of(other), None, "{other}");
        }
    }
}
