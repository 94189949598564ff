//! The facts about reads that stand beside their embeddings.

use std::{ops::Range, sync::Arc};

use invar_dataset::{Column, ColumnData, DatasetError, FigureRule, GroupFigure, GroupFigures, SampleTable, Shortcuts};

use crate::{Overlaps, ReadDataset, Reads};

/// The columns of a [`ReadDataset`], and what its overlaps say of each read.
pub struct ReadTable {
    reads: Arc<ReadDataset>,
    overlaps: Arc<Overlaps>,
}

impl ReadTable {
    /// Of reads and their overlaps.
    ///
    /// # Panics
    /// When the overlaps are not those of as many reads.
    pub fn new(reads: Arc<ReadDataset>, overlaps: Arc<Overlaps>) -> Self {
        assert_eq!(overlaps.num_reads(), reads.len(), "overlaps of other reads");
        Self { reads, overlaps }
    }
}

impl SampleTable for ReadTable {
    /// Those of [`ReadDataset`], then `component` (null where a read overlaps no other one), `homologs` (the components
    /// that it is alike but not one with) and `depth`.
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let mut columns = self.reads.columns(range.clone())?;
        let component: Vec<Option<u32>> = range.clone().map(|read| self.overlaps.component(read)).collect();
        let homologs = component.iter().map(|component| homologs(self.overlaps.homologs((*component)?))).collect();
        let depth = range.map(|read| Some(self.overlaps.depth(read))).collect();
        columns.push(Column { name: "component".into(), data: ColumnData::U32(component) });
        columns.push(Column { name: "homologs".into(), data: ColumnData::Str(homologs) });
        columns.push(Column { name: "depth".into(), data: ColumnData::F32(depth) });
        Ok(columns)
    }

    fn shortcuts(&self) -> Shortcuts {
        self.reads.shortcuts()
    }

    /// Bases, N50 and GC; from the overlaps depth, the size of the genome that was read at this depth, and the share of reads
    /// that overlap no other.
    fn group_figures(&self) -> GroupFigures {
        let mut of = self.reads.group_figures();
        let depth = FigureRule::Mean { column: "depth".into(), weight: Some("length_bp".into()) };
        of.figures.extend([
            GroupFigure::new("depth", depth),
            GroupFigure::new("genome_bp", FigureRule::Ratio { of: "bases".into(), over: "depth".into() }),
            GroupFigure::new("without_partners", FigureRule::Missing { column: "component".into() }),
        ]);
        of
    }
}

fn homologs(components: &[u32]) -> Option<String> {
    let words: Vec<String> = components.iter().map(u32::to_string).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
