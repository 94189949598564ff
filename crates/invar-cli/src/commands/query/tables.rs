//! The SQL names of the files of a query.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;
use invar_embeddings::table_name;

use crate::exit::Usage;

/// A file, and the name of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedFile {
    pub name: String,
    pub path: PathBuf,
}

impl NamedFile {
    /// From `PATH`, or `NAME=PATH` if no file has that name.
    fn parse(argument: &Path) -> Self {
        let is_name = |name: &str| {
            let letter = |c: char| c.is_alphabetic() || c == '_';
            name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_numeric())
        };
        let text = argument.to_str().filter(|_| !argument.exists());
        match text.and_then(|text| text.split_once('=')).filter(|(name, _)| is_name(name)) {
            Some((name, path)) => Self { name: name.into(), path: path.into() },
            None => Self { name: table_name(argument), path: argument.into() },
        }
    }
}

/// The tables of the files, in order.
///
/// # Errors
/// [`Usage`] if two share a name.
pub(super) fn named(arguments: &[OsString]) -> Result<Vec<NamedFile>> {
    let mut files: Vec<NamedFile> = vec![];
    for argument in arguments {
        let file = NamedFile::parse(Path::new(argument));
        if let Some(other) = files.iter().find(|other| other.name == file.name) {
            let (name, path) = (&file.name, file.path.display());
            let reason =
                format!("{} and {path} are both table {name:?}: call one {name}2={path}", other.path.display());
            return Err(Usage(reason).into());
        }
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_names_of_files_or_those_given() {
        let named = |arguments: &[&str]| named(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        let files = named(&["a/clusters.parquet", "old=b/clusters.parquet", "x=y=z", "1=2"]).unwrap();
        let files: Vec<(&str, &str)> =
            files.iter().map(|file| (file.name.as_str(), file.path.to_str().unwrap())).collect();
        let expected =
            [("clusters", "a/clusters.parquet"), ("old", "b/clusters.parquet"), ("x", "y=z"), ("_1_2", "1=2")];
        assert_eq!(files, expected);
        let error = named(&["a/clusters.parquet", "b/clusters.parquet"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "a/clusters.parquet and b/clusters.parquet are both table \"clusters\": call one clusters2=b/clusters.parquet"
        );
    }
}
