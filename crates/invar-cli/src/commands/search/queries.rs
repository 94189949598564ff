//! The queries of a search.

use std::{collections::HashMap, path::PathBuf};

use anyhow::Result;
use invar_dataset::{Column, ColumnData, check_memory};
use invar_embeddings::{Embeddings, KEY};

use super::Base;

use crate::{
    cli::Search,
    commands::same_model,
    exit::{BadInput, Usage},
};

/// Number of names listed if none is similar.
const LISTED: usize = 3;
/// Similarity above which a name may have been meant.
const ALIKE: f64 = 0.8;

/// The queries, before their values are read.
pub struct Queries<'a> {
    args: &'a Search,
    files: &'a [PathBuf],
    /// Rows of EMB that are queries.
    rows: Vec<u32>,
    /// Names and keys of EMB, if they are needed.
    ids: Vec<String>,
    keys: Option<HashMap<i64, u32>>,
    num_in_files: usize,
}

/// Queries in order: those of EMB, then those of the files.
pub struct Asked {
    /// Names.
    pub ids: Vec<String>,
    /// Keys, if they have any.
    pub keys: Vec<Option<i64>>,
    /// The row of EMB that each query is, and must not find.
    pub own: Vec<Option<u32>>,
    /// `[n, dim]`.
    pub values: Vec<f32>,
}

impl<'a> Queries<'a> {
    /// Looks up names and keys, and checks that the files are from EMB's model.
    ///
    /// # Errors
    /// If there is no such sample, or a file does not fit.
    pub fn named(args: &'a Search, files: &'a [PathBuf]) -> Result<Self> {
        let info = invar_embeddings::info(&args.embeddings)?;
        let has_keys = info.columns.iter().any(|column| column.name == KEY && column.data_type == "i64");
        let mut queries = Self { args, files, rows: vec![], ids: vec![], keys: None, num_in_files: 0 };
        if has_keys && (!args.key.is_empty() || !files.is_empty()) {
            queries.keys = Some(numbered(&invar_embeddings::column(&args.embeddings, KEY)?));
        }
        if !args.like.is_empty() || !args.key.is_empty() {
            queries.ids = invar_embeddings::names(&args.embeddings)?;
            queries.rows = queries.rows_of_names()?;
        }
        for file in files {
            same_model::check(&args.embeddings, file)?;
            queries.num_in_files += invar_embeddings::info(file)?.num_rows;
        }
        let dim = invar_embeddings::dimension(&args.embeddings, args.vectors.column())?.unwrap_or(1);
        let needed = queries.num() * (dim * 4 + args.top as usize * 64);
        let what = || format!("searching for {} samples", queries.num());
        check_memory(needed, what, || "give the queries in parts, or ask for fewer with --top".into())?;
        Ok(queries)
    }

    /// Number of queries.
    pub fn num(&self) -> usize {
        self.rows.len() + self.num_in_files
    }

    /// Reads their values: those of samples of EMB from `base`, all of its rows that hold a vector.
    ///
    /// # Errors
    /// If a file is damaged, or holds something that is not a number, or a requested sample of EMB has no vector.
    pub fn read(self, base: &Base, itself: bool) -> Result<Asked> {
        let place = |&row: &u32| {
            let (path, name) = (self.args.embeddings.display(), &self.ids[row as usize]);
            base.place(row).ok_or_else(|| BadInput(format!("{path}: row {row} ({name:?}) holds no vector")))
        };
        let places = self.rows.iter().map(place).collect::<Result<Vec<u32>, _>>()?;
        let ids = self.rows.iter().map(|&row| self.ids[row as usize].clone()).collect();
        let keys = self.rows_keys()?;
        let own = self.rows.iter().map(|&row| Some(row)).collect();
        let mut asked = Asked { ids, keys, own, values: base.index.rows(&places) };
        for file in self.files {
            let embeddings = Embeddings::read_as(file, &self.args.vectors.to_reader())?;
            if embeddings.dim != base.index.dim() && !embeddings.is_empty() {
                let (of, path) = (self.args.embeddings.display(), file.display());
                let (expected, found) = (base.index.dim(), embeddings.dim);
                let reason =
                    format!("the dimension is {expected} in {of} and {found} in {path}: they cannot be compared");
                return Err(BadInput(reason).into());
            }
            let keys: Vec<Option<i64>> = match embeddings.keys {
                Some(keys) => keys.into_iter().map(Some).collect(),
                None => vec![None; embeddings.ids.len()],
            };
            let own_row = |key: &Option<i64>| self.keys.as_ref()?.get(key.as_ref()?).copied();
            asked.own.extend(keys.iter().map(own_row));
            asked.ids.extend(embeddings.ids);
            asked.keys.extend(keys);
            asked.values.extend(embeddings.values);
        }
        if itself {
            asked.own.fill(None);
        }
        Ok(asked)
    }

    /// The rows that --like and --key name: each once, ascending.
    fn rows_of_names(&self) -> Result<Vec<u32>> {
        let path = self.args.embeddings.display();
        let mut rows = vec![];
        if !self.args.like.is_empty() {
            let mut by_name: HashMap<&str, Vec<u32>> =
                self.args.like.iter().map(|name| (name.as_str(), vec![])).collect();
            for (row, id) in self.ids.iter().enumerate() {
                if let Some(rows) = by_name.get_mut(id.as_str()) {
                    rows.push(row as u32);
                }
            }
            if let Some(name) = self.args.like.iter().find(|name| by_name[name.as_str()].is_empty()) {
                return Err(Usage(format!("{path}: no sample is called {name:?}{}", self.meant(name))).into());
            }
            rows = by_name.into_values().flatten().collect();
        }
        if !self.args.key.is_empty() {
            let Some(keys) = &self.keys else {
                return Err(
                    BadInput(format!("{path}: no column `{KEY}`: an older version wrote it (embed again)")).into()
                );
            };
            let row =
                |key: &i64| keys.get(key).copied().ok_or_else(|| Usage(format!("{path}: no sample has the key {key}")));
            let of_keys = self.args.key.iter().map(row).collect::<Result<Vec<u32>, _>>()?;
            if self.args.like.is_empty() {
                rows = of_keys;
            } else {
                if let Some((row, key)) = of_keys.iter().zip(&self.args.key).find(|(row, _)| !rows.contains(row)) {
                    let name = &self.ids[*row as usize];
                    return Err(Usage(format!("--key {key} is {name:?}, which --like does not name")).into());
                }
                rows.retain(|row| of_keys.contains(row));
            }
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    /// The keys of the rows.
    fn rows_keys(&self) -> Result<Vec<Option<i64>>> {
        if self.rows.is_empty() {
            return Ok(vec![]);
        }
        match invar_embeddings::column(&self.args.embeddings, KEY).map(|column| column.data) {
            Ok(ColumnData::I64(keys)) => Ok(self.rows.iter().map(|&row| keys[row as usize]).collect()),
            _ => Ok(vec![None; self.rows.len()]),
        }
    }

    /// The names most similar to one that does not exist.
    fn meant(&self, name: &str) -> String {
        let mut alike: Vec<(f64, &str)> =
            self.ids.iter().map(|id| (strsim::jaro_winkler(name, id), id.as_str())).collect();
        alike.retain(|&(score, _)| score >= ALIKE);
        alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        alike.dedup_by_key(|(_, id)| *id);
        let names: Vec<String> = alike.iter().take(LISTED).map(|(_, id)| format!("{id:?}")).collect();
        match (names.as_slice(), self.ids.first()) {
            ([], Some(first)) => format!(" (the first is {first:?})"),
            ([], None) => ": it is empty".into(),
            (names, _) => format!("; did you mean {}?", names.join(" or ")),
        }
    }
}

/// The row of each key.
fn numbered(keys: &Column) -> HashMap<i64, u32> {
    let ColumnData::I64(keys) = &keys.data else { return HashMap::new() };
    keys.iter().enumerate().filter_map(|(row, key)| Some(((*key)?, row as u32))).collect()
}
