//! The rows that are searched.

use std::path::Path;

use anyhow::Result;
use invar_cluster::neighbors::Index;
use invar_dataset::check_memory;
use invar_embeddings::{EMBEDDING, Embeddings, Vectors};

use super::{rows, stored::Stored};
use crate::ui::{Ui, Unit};

/// What determines how to search.
pub struct Plan<'a> {
    /// Restricts the rows.
    pub condition: Option<&'a str>,
    /// Whether every row is searched.
    pub exact: bool,
    /// Number of queries.
    pub num_queries: usize,
}

/// The rows that are searched.
pub struct Base {
    /// The rows.
    pub index: Index,
    /// Their indices in EMB, ascending, if they are not all of it.
    kept: Option<Vec<u32>>,
}

/// Rows as read.
struct Read {
    /// `[n, dim]`.
    values: Vec<f32>,
    dim: usize,
    /// Rows of EMB that are left out because they hold no vector.
    dropped: Vec<u32>,
}

impl Base {
    /// All rows of the EMB at `path`: from the index next to it, which is created if that pays off, or from EMB itself.
    ///
    /// # Errors
    /// If EMB is damaged, or does not fit into memory.
    pub fn open(path: &Path, vectors: &Vectors, plan: &Plan<'_>, ui: &Ui) -> Result<Self> {
        let info = invar_embeddings::info(path)?;
        let column = vectors.column.as_deref().unwrap_or(EMBEDDING);
        let dim = invar_embeddings::dimension(path, column)?.unwrap_or(1);
        let needed = Index::memory_bytes(info.num_rows, dim).saturating_mul(2);
        check_memory(needed, || format!("searching {}", rows(info.num_rows)), || "search a part of them".into())?;
        if info.num_rows <= Index::EXACT_ROWS {
            return Self::flat(Read::of(path, vectors)?);
        }
        let stored = Stored::beside(path, column)?;
        if let Some((index, dropped)) = stored.read(vectors.drop_bad_rows, ui)? {
            return Ok(Self::of(index, &dropped));
        }
        // A part of the rows gets a temporary index, or none.
        if plan.exact || plan.condition.is_some() {
            return Self::flat(Read::of(path, vectors)?);
        }
        let begun = stored.begin();
        let kept_apart = match &begun {
            Ok(_) => None,
            Err(reason) => Some(format!("{}: {reason}: no index is kept", stored.path().display())),
        };
        if let Some(text) = &kept_apart {
            ui.note(text);
            if !Index::pays(info.num_rows, plan.num_queries) {
                return Self::flat(Read::of(path, vectors)?);
            }
        }
        let made_of = stored.made_of()?;
        let Read { values, dim, dropped } = Read::of(path, vectors)?;
        let made_of = made_of.without(&dropped);
        let index = build(values, dim, ui)?;
        if let Ok(file) = begun {
            match stored.write(file, &index, &made_of) {
                Ok(()) => ui.note(&format!("{}: kept for the next search", stored.path().display())),
                Err(error) => ui.warn(&format!("{}: {error}: the index is not kept", stored.path().display())),
            }
        }
        Ok(Self::of(index, &dropped))
    }

    /// All rows in one cell.
    fn flat(Read { values, dim, dropped }: Read) -> Result<Self> {
        Ok(Self::of(Index::flat(values, dim)?, &dropped))
    }

    /// The rows of EMB, except for some.
    fn of(index: Index, dropped: &[u32]) -> Self {
        if dropped.is_empty() {
            return Self { index, kept: None };
        }
        let num_rows = (index.len() + dropped.len()) as u32;
        let kept = (0..num_rows).filter(|row| dropped.binary_search(row).is_err()).collect();
        Self { index, kept: Some(kept) }
    }

    /// Restricted to these rows, if given, and the places of the queries' own rows among them.
    ///
    /// # Errors
    /// If the remainder does not fit into memory.
    pub fn narrowed(
        self,
        wanted: Option<Vec<u32>>,
        own: &[Option<u32>],
        plan: &Plan<'_>,
        ui: &Ui,
    ) -> Result<(Self, Vec<Option<u32>>)> {
        let base = match wanted {
            Some(wanted) => self.only(wanted, plan, ui)?,
            None => self,
        };
        let own = own.iter().map(|own| own.and_then(|row| base.place(row))).collect();
        Ok((base, own))
    }

    fn only(self, wanted: Vec<u32>, plan: &Plan<'_>, ui: &Ui) -> Result<Self> {
        let (kept, places): (Vec<u32>, Vec<u32>) =
            wanted.into_iter().filter_map(|row| Some((row, self.place(row)?))).unzip();
        ui.detail(&format!("the condition holds for {} of {}", rows(kept.len()), rows(self.index.len())));
        let values = self.index.rows(&places);
        let dim = self.index.dim();
        drop(self);
        let is_many = !plan.exact && Index::pays(kept.len(), plan.num_queries);
        let index = if is_many { build(values, dim, ui)? } else { Index::flat(values, dim)? };
        Ok(Self { index, kept: Some(kept) })
    }

    /// The index in EMB of a row that was found.
    pub fn number(&self, row: u32) -> u32 {
        self.kept.as_ref().map_or(row, |kept| kept[row as usize])
    }

    /// The place of a row of EMB; `None` if it is not searched.
    pub fn place(&self, row: u32) -> Option<u32> {
        match &self.kept {
            Some(kept) => kept.binary_search(&row).ok().map(|at| at as u32),
            None => Some(row),
        }
    }
}

impl Read {
    fn of(path: &Path, vectors: &Vectors) -> Result<Self> {
        let embeddings = Embeddings::read_as(path, vectors)?;
        let dropped = embeddings.dropped.into_iter().map(|row| row as u32).collect();
        Ok(Self { values: embeddings.values, dim: embeddings.dim, dropped })
    }
}

fn build(values: Vec<f32>, dim: usize, ui: &Ui) -> Result<Index> {
    ui.note(&format!("making an index of {}", rows(values.len() / dim)));
    let bar = ui.bar("index", Unit::Items);
    Ok(Index::build(values, dim, &bar)?)
}
