//! The rows that are searched.

use std::path::Path;

use anyhow::Result;
use invar_cluster::neighbors::Index;
use invar_dataset::check_memory;
use invar_embeddings::Embeddings;

use super::{rows, stored::Stored};
use crate::ui::{Ui, Unit};

/// What decides how to search.
pub struct Plan<'a> {
    /// Which rows only.
    pub condition: Option<&'a str>,
    /// Whether every row is looked at.
    pub exact: bool,
    /// How many queries there are.
    pub num_queries: usize,
}

/// The rows that are searched.
pub struct Base {
    /// The rows.
    pub index: Index,
    /// Their numbers in EMB, rising, where they are not all.
    kept: Option<Vec<u32>>,
}

impl Base {
    /// All rows of the EMB at `path`: from the index beside it, which is made where that pays, or from EMB itself.
    ///
    /// # Errors
    /// When EMB is damaged, or does not fit into memory.
    pub fn open(path: &Path, plan: &Plan<'_>, ui: &Ui) -> Result<Self> {
        let info = invar_embeddings::info(path)?;
        let dim = info.dim.unwrap_or(1);
        let needed = Index::memory_bytes(info.num_rows, dim).saturating_mul(2);
        check_memory(needed, || format!("searching {}", rows(info.num_rows)), || "search a part of them".into())?;
        if info.num_rows <= Index::EXACT_ROWS {
            return Ok(Self { index: flat(path)?, kept: None });
        }
        let stored = Stored::beside(path)?;
        if let Some(index) = stored.read(ui)? {
            return Ok(Self { index, kept: None });
        }
        // A part of the rows has an index of its own, or none.
        if plan.exact || plan.condition.is_some() {
            return Ok(Self { index: flat(path)?, kept: None });
        }
        let begun = stored.begin();
        let kept_apart = match &begun {
            Ok(_) => None,
            Err(reason) => Some(format!("{}: {reason}: no index is kept", stored.path().display())),
        };
        if let Some(text) = &kept_apart {
            ui.note(text);
            if !Index::pays(info.num_rows, plan.num_queries) {
                return Ok(Self { index: flat(path)?, kept: None });
            }
        }
        let made_of = stored.made_of()?;
        let (values, dim) = values(path)?;
        let index = build(values, dim, ui)?;
        if let Ok(file) = begun {
            match stored.write(file, &index, &made_of) {
                Ok(()) => ui.note(&format!("{}: kept for the next search", stored.path().display())),
                Err(error) => ui.warn(&format!("{}: {error}: the index is not kept", stored.path().display())),
            }
        }
        Ok(Self { index, kept: None })
    }

    /// The rows of numbers `kept` alone, and where the queries' own rows are among them.
    ///
    /// # Errors
    /// When what is left does not fit into memory.
    pub fn narrowed(
        self,
        kept: Option<Vec<u32>>,
        own: &[Option<u32>],
        plan: &Plan<'_>,
        ui: &Ui,
    ) -> Result<(Self, Vec<Option<u32>>)> {
        let Some(kept) = kept else { return Ok((self, own.to_vec())) };
        let place = |row: u32| kept.binary_search(&row).ok().map(|at| at as u32);
        let own = own.iter().map(|own| own.and_then(place)).collect();
        ui.detail(&format!("the condition is true of {} of {}", rows(kept.len()), rows(self.index.len())));
        let values = self.index.rows(&kept);
        let dim = self.index.dim();
        drop(self);
        let is_many = !plan.exact && Index::pays(kept.len(), plan.num_queries);
        let index = if is_many { build(values, dim, ui)? } else { Index::flat(values, dim)? };
        Ok((Self { index, kept: Some(kept) }, own))
    }

    /// The number in EMB of a row that was found.
    pub fn number(&self, row: u32) -> u32 {
        self.kept.as_ref().map_or(row, |kept| kept[row as usize])
    }
}

fn build(values: Vec<f32>, dim: usize, ui: &Ui) -> Result<Index> {
    ui.note(&format!("making an index of {}", rows(values.len() / dim)));
    let bar = ui.bar("index", Unit::Items);
    Ok(Index::build(values, dim, &bar)?)
}

/// The rows of EMB, to be compared with every query.
fn flat(path: &Path) -> Result<Index> {
    let (values, dim) = values(path)?;
    Ok(Index::flat(values, dim)?)
}

/// The values of an EMB.
fn values(path: &Path) -> Result<(Vec<f32>, usize)> {
    let embeddings = Embeddings::read(path)?;
    Ok((embeddings.values, embeddings.dim))
}
