//! The metadata of reads that accompany their embeddings.

use std::{ops::Range, sync::Arc};

use invar_dataset::{Column, ColumnData, DatasetError, FigureRule, GroupFigure, GroupFigures, SampleTable, Shortcuts};

use crate::{Overlaps, ReadDataset, Reads};

/// The columns of a [`ReadDataset`], and those from its overlaps.
pub struct ReadTable {
    reads: Arc<ReadDataset>,
    overlaps: Arc<Overlaps>,
}

impl ReadTable {
    /// The table of reads and their overlaps.
    ///
    /// # Panics
    /// If the overlaps are those of another number of reads.
    pub fn new(reads: Arc<ReadDataset>, overlaps: Arc<Overlaps>) -> Self {
        assert_eq!(overlaps.num_reads(), reads.len(), "overlaps of other reads");
        Self { reads, overlaps }
    }
}

impl SampleTable for ReadTable {
    /// Those of [`ReadDataset`], then `component` (null if a read overlaps no other one), `homologs` (the components
    /// that it is similar to but distinct from) and `depth`; then those of the sample sheets.
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let mut columns = self.reads.own_columns(range.clone())?;
        let component: Vec<Option<u32>> = range.clone().map(|read| self.overlaps.component(read)).collect();
        let homologs = component.iter().map(|component| homologs(self.overlaps.homologs((*component)?))).collect();
        let depth = range.clone().map(|read| Some(self.overlaps.depth(read))).collect();
        columns.push(Column { name: "component".into(), data: ColumnData::U32(component) });
        columns.push(Column { name: "homologs".into(), data: ColumnData::Str(homologs) });
        columns.push(Column { name: "depth".into(), data: ColumnData::F32(depth) });
        self.reads.add_sheet(&mut columns, range);
        Ok(columns)
    }

    fn shortcuts(&self) -> Shortcuts {
        let ours = self.reads.own_columns(0..0).unwrap_or_default().into_iter();
        let added =
            ["component", "homologs", "depth"].map(|name| Column { name: name.into(), data: ColumnData::U32(vec![]) });
        let of_sheet = self.reads.sheet_names(&ours.chain(added).collect::<Vec<_>>());
        Shortcuts { suspects: [vec!["source".into()], of_sheet].concat(), group: "source".into() }
    }

    /// Bases, N50 and GC; from the overlaps depth, the size of the genome sequenced at this depth, and the fraction of
    /// reads that overlap no other.
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use invar_dataset::NoProgress;

    use super::*;
    use crate::{IngestConfig, Inputs, OverlapsConfig, ingest};

    #[test]
    fn the_figures_of_a_group_are_made_of_columns_and_figures_that_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let (fastq, data) = (dir.path().join("x.fastq"), dir.path().join("data"));
        std::fs::write(&fastq, "@a\nACGT\n+\nIIII\n").unwrap();
        ingest(&Inputs::files([&fastq]), &data, &IngestConfig::default(), &NoProgress).unwrap();
        let reads = Arc::new(ReadDataset::open(&[data]).unwrap());
        let overlaps = Arc::new(Overlaps::find(reads.as_ref(), &OverlapsConfig::default()).unwrap());
        let table = ReadTable::new(reads, overlaps);
        let columns: HashSet<String> = table.columns(0..1).unwrap().into_iter().map(|column| column.name).collect();
        let asked = table.group_figures();
        let mut before = HashSet::new();
        for figure in &asked.figures {
            assert!(figure.columns().iter().all(|name| columns.contains(*name)), "{figure:?}");
            if let FigureRule::Ratio { of, over } = &figure.rule {
                assert!(before.contains(of) && before.contains(over), "{figure:?}");
            }
            before.insert(figure.name.clone());
        }
        assert!(
            ["bases", "n50_bp", "gc", "depth", "genome_bp", "without_partners"].iter().all(|&f| before.contains(f))
        );
    }
}
