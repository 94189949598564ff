//! The index next to an EMB.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cluster::neighbors::{Head, Index, IndexError};
use invar_dataset::{
    atomic::AtomicFile,
    ingest::InputIdentity,
    manifest::{Change, Input, file_digest},
    path,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    exit::BadInput,
    ui::{Summary, Ui, counted, thousands},
};

/// `EMB.index`: it belongs to the EMB whose name it has.
pub struct Stored {
    embeddings: PathBuf,
    /// The column of the vectors.
    column: String,
    path: PathBuf,
    /// Whether a file of that name is not ours.
    is_foreign: std::cell::Cell<bool>,
}

/// What an index was built from.
#[derive(Debug, Deserialize, Serialize)]
pub struct MadeOf {
    tool_version: String,
    model_sha256: Option<String>,
    /// The column that holds the vectors.
    column: String,
    /// Rows that are not in it because they hold no vector, ascending.
    dropped: Vec<u32>,
    /// The files of the EMB, by name.
    parts: Vec<Input>,
}

impl MadeOf {
    /// The same without some rows.
    pub fn without(mut self, rows: &[u32]) -> Self {
        self.dropped = rows.to_vec();
        self
    }
}

impl Stored {
    /// The index of the vectors in `column` of the EMB at `embeddings`, which need not exist.
    ///
    /// # Errors
    /// If the EMB has no name.
    pub fn beside(embeddings: &Path, column: &str) -> Result<Self> {
        let named = if embeddings.file_name().is_some() { embeddings.to_owned() } else { embeddings.canonicalize()? };
        let mut name = named.file_name().map_or_else(OsString::new, OsString::from);
        name.push(".index");
        let is_foreign = std::cell::Cell::new(false);
        let (embeddings, path) = (embeddings.to_owned(), named.with_file_name(name));
        Ok(Self { embeddings, column: column.into(), path, is_foreign })
    }

    /// Where it is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The index, and the rows that it was built without, if there is one for the EMB as it is now. Reports why an
    /// existing one is not used. `may_drop` allows rows to be missing.
    ///
    /// # Errors
    /// If the EMB cannot be read.
    pub fn read(&self, may_drop: bool, ui: &Ui) -> Result<Option<(Index, Vec<u32>)>> {
        let anew = |reason: &str| ui.note(&format!("{}: {reason}: it is made anew", self.path.display()));
        let dropped = match self.open() {
            Ok((_, made_of)) => {
                if let Some(reason) = self.difference(&made_of, may_drop)? {
                    anew(&reason);
                    return Ok(None);
                }
                made_of.dropped
            }
            Err(IndexError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                self.is_foreign.set(!is_index(&self.path));
                if !self.is_foreign.get() {
                    anew(&error.to_string());
                }
                return Ok(None);
            }
        };
        let read = || -> Result<Index, IndexError> {
            let mut file = File::open(&self.path)?;
            let size_bytes = file.metadata()?.len();
            Ok(Index::read(&mut file, size_bytes)?.0)
        };
        match read() {
            Ok(index) => Ok(Some((index, dropped))),
            Err(error) => {
                anew(&error.to_string());
                Ok(None)
            }
        }
    }

    fn open(&self) -> Result<(Head, MadeOf), IndexError> {
        let mut file = File::open(&self.path)?;
        let size_bytes = file.metadata()?.len();
        let head = Head::read(&mut file, size_bytes)?;
        let made_of = serde_json::from_str(&head.note).map_err(|error| IndexError::Damaged {
            what: "note",
            expected: "what the index was made of".into(),
            found: error.to_string(),
        })?;
        Ok((head, made_of))
    }

    /// How the EMB differs from the one that the index was built from, in words.
    fn difference(&self, made_of: &MadeOf, may_drop: bool) -> Result<Option<String>> {
        if made_of.column != self.column {
            return Ok(Some(format!("made of column {:?}, now of {:?}", made_of.column, self.column)));
        }
        if !made_of.dropped.is_empty() && !may_drop {
            let num = counted(made_of.dropped.len() as u64, "row");
            return Ok(Some(format!("made without {num} that hold no vector, now of all")));
        }
        let files = invar_embeddings::part_files(&self.embeddings)?;
        if files.len() != made_of.parts.len() {
            let (then, now) = (made_of.parts.len(), files.len());
            return Ok(Some(format!("made of {}, now there are {now}", counted(then as u64, "part"))));
        }
        for (file, part) in files.iter().zip(&made_of.parts) {
            if name(file) != part.path {
                return Ok(Some(format!("made of {}, now there is {}", part.path, name(file))));
            }
            let changed = |then: &dyn std::fmt::Display, now: &dyn std::fmt::Display| {
                Some(format!("made of another {}: {then}, now {now}", part.path))
            };
            match part.change(&InputIdentity::of(file)?)? {
                Change::None => {}
                Change::Pipe => return Ok(changed(&"a file", &"a pipe")),
                Change::Size { then, now } => return Ok(changed(&format!("{then} bytes"), &format!("{now} bytes"))),
                Change::Bytes { then, now } => {
                    return Ok(changed(
                        &format!("SHA-256 {}...", &then[..12.min(then.len())]),
                        &format!("{}...", &now[..12]),
                    ));
                }
            }
        }
        Ok(None)
    }

    /// Starts the file, so that nobody else writes it.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn begin(&self) -> io::Result<AtomicFile> {
        if self.is_foreign.get() {
            return Err(io::Error::other("there is a file of this name that is no index"));
        }
        AtomicFile::create(&self.path)
    }

    /// The EMB as it is, before it is read: if it changes in the meantime, the index will not match it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn made_of(&self) -> Result<MadeOf> {
        let part = |file: PathBuf| -> Result<Input> {
            let identity = InputIdentity::of(&file)?;
            let (size_bytes, sha256) = file_digest(&file)?;
            let mut part = Input::new(Path::new(&name(&file)), size_bytes, sha256);
            part.identity = identity.file;
            Ok(part)
        };
        let parts = invar_embeddings::part_files(&self.embeddings)?.into_iter().map(part).collect::<Result<_>>()?;
        let model_sha256 = invar_embeddings::info(&self.embeddings)?.provenance.and_then(|of| of.model_sha256);
        let (tool_version, column) = (env!("CARGO_PKG_VERSION").into(), self.column.clone());
        Ok(MadeOf { tool_version, model_sha256, column, dropped: vec![], parts })
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn write(&self, mut file: AtomicFile, index: &Index, made_of: &MadeOf) -> io::Result<()> {
        let note = serde_json::to_string(made_of).expect("what it is made of has string keys only");
        index.write(&note, &mut file)?;
        file.commit()
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a file begins like an index; an empty file is nobody's loss.
pub fn is_index(path: &Path) -> bool {
    use std::io::Read;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut start));
    read.is_ok() && (Head::is_of(&start) || start.is_empty() && path.is_file())
}

/// The output of `invar info` for the index at `path`, if it is one; `verify` reads all of it.
///
/// # Errors
/// If it is damaged.
pub fn info(path: &Path, verify: bool) -> Result<Option<Summary>> {
    if path.is_dir() || !is_index(path) {
        return Ok(None);
    }
    let stored = Stored {
        embeddings: PathBuf::new(),
        column: String::new(),
        path: path.to_owned(),
        is_foreign: std::cell::Cell::new(false),
    };
    let size_bytes = path.metadata().with_context(|| path.display().to_string())?.len();
    let damaged = |error: IndexError| match error {
        IndexError::Io(error) => anyhow::Error::new(error).context(path.display().to_string()),
        error => BadInput(format!("{}: {error}", path.display())).into(),
    };
    let (head, made_of) = stored.open().map_err(damaged)?;
    if verify {
        Index::read(&mut File::open(path)?, size_bytes).map_err(damaged)?;
    }
    let mut text = format!(
        "{}: index for search of {} of {} dimensions in {}, {} bytes\n",
        path.display(),
        counted(head.num_rows as u64, "row"),
        head.dim,
        counted(head.num_cells as u64, "cell"),
        thousands(size_bytes)
    );
    text += &format!("  written by invar {}", made_of.tool_version);
    if let Some(sha256) = &made_of.model_sha256 {
        text += &format!(", model {}...", &sha256[..12.min(sha256.len())]);
    }
    text += &format!(", column {}", made_of.column);
    if !made_of.dropped.is_empty() {
        text += &format!(", without {} that hold no vector", counted(made_of.dropped.len() as u64, "row"));
    }
    text += "\n";
    for part in &made_of.parts {
        text += &format!(
            "  of {} ({} bytes, SHA-256 {}...)\n",
            part.path,
            thousands(part.size_bytes),
            &part.sha256[..12.min(part.sha256.len())]
        );
    }
    for depth in &head.depths {
        text += &format!(
            "  up to {} nearest: {:.1} % of them, in {} of the cells\n",
            depth.k,
            100.0 * depth.recall,
            depth.probes
        );
    }
    text += if verify {
        "  whole: every checksum is right"
    } else {
        "  of the expected size (--verify reads every checksum)"
    };
    let depths: Vec<_> =
        head.depths.iter().map(|depth| json!({"k": depth.k, "cells": depth.probes, "recall": depth.recall})).collect();
    let json = json!({
        "path": path::text(path), "kind": "index", "num_rows": head.num_rows, "dim": head.dim,
        "num_cells": head.num_cells,
        "size_bytes": size_bytes, "depths": depths, "made_of": made_of, "verified": verify,
    });
    Ok(Some(Summary { text, json }))
}
