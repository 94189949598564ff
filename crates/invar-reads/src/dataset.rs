mod blocks;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::{Path, PathBuf},
};

use invar_dataset::{
    Column, ColumnData, Dataset, DatasetError, FigureRule, GroupFigure, GroupFigures, SampleId, SampleName,
    SampleTable, Shortcuts,
    manifest::{self, Manifest},
    sheet::SheetColumns,
};
use serde_json::Value;

use crate::{
    Alignment, PackedSlice, Read, Reads,
    ingest::{DOMAIN, SHEET_COLUMNS},
    shard::{ShardAlignment, ShardFile},
};
use blocks::{Blocks, Origin};

/// Reads in one or more dataset directories, memory-mapped: opening is quick and takes little memory, whatever the
/// size.
///
/// The directories' reads are concatenated in the order given, those of one directory in the order of its inputs.
/// References with the same name are the same, even across directories. Every read has a [key](invar_dataset::keys) of
/// its own; names need not be unique.
pub struct ReadDataset {
    shards: Vec<Shard>,
    /// Rows in shards `0..=s`.
    ends: Vec<u64>,
    blocks: Blocks,
    directories: Vec<Directory>,
    references: Vec<String>,
    sheet: SheetColumns,
}

struct Shard {
    file: ShardFile,
    directory: usize,
    /// Indices of the shard's references in the dataset.
    references: Vec<u32>,
}

struct Directory {
    path: PathBuf,
    manifest: Manifest,
    /// Metadata of each input from a sample sheet.
    columns: Vec<BTreeMap<String, Value>>,
}

impl ReadDataset {
    /// Opens the union of dataset directories. Sizes are checked, checksums are not: see [`Manifest::verify`].
    ///
    /// # Errors
    /// If a directory does not hold a finished dataset of reads, a file does not match the manifest, a directory is
    /// given twice, or two of them were made from one file.
    pub fn open(directories: &[PathBuf]) -> Result<Self, DatasetError> {
        let mut dataset = Self {
            shards: vec![],
            ends: vec![],
            blocks: Blocks::default(),
            directories: vec![],
            references: vec![],
            sheet: SheetColumns::default(),
        };
        let mut numbers = HashMap::new();
        for path in directories {
            let manifest = Manifest::read(path)?;
            if manifest.domain != DOMAIN {
                return Err(corrupt(path, "domain", DOMAIN, &manifest.domain));
            }
            for shard in &manifest.shards {
                let file = open_shard(path, shard)?;
                let references = dataset.number_references(&file, &mut numbers)?;
                let end = dataset.ends.last().copied().unwrap_or(0) + shard.num_rows;
                dataset.ends.push(end);
                dataset.shards.push(Shard { file, directory: dataset.directories.len(), references });
            }
            let columns = sheet_columns(path, &manifest)?;
            dataset.directories.push(Directory { path: path.clone(), manifest, columns });
        }
        dataset.sheet = SheetColumns::of(dataset.directories.iter().flat_map(|directory| &directory.columns));
        dataset.blocks = Blocks::new(&dataset.manifests().collect::<Vec<_>>())?;
        Ok(dataset)
    }

    /// The directories and their manifests.
    pub fn manifests(&self) -> impl Iterator<Item = (&Path, &Manifest)> {
        self.directories.iter().map(|directory| (directory.path.as_path(), &directory.manifest))
    }

    /// Names of the reference sequences that reads are aligned to, by index.
    pub fn references(&self) -> &[String] {
        &self.references
    }

    /// The key of read `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn key(&self, index: usize) -> u64 {
        self.origin(index).key
    }

    /// Number of bases of read `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn length_bp(&self, index: usize) -> u32 {
        let (shard, row) = self.locate(index);
        shard.file.length_bp(row)
    }

    fn number_references(
        &mut self,
        file: &ShardFile,
        numbers: &mut HashMap<String, u32>,
    ) -> Result<Vec<u32>, DatasetError> {
        let mut of_shard = Vec::new();
        for name in file.reference_names()? {
            let number = *numbers.entry(name.into()).or_insert_with(|| {
                self.references.push(name.into());
                self.references.len() as u32 - 1
            });
            of_shard.push(number);
        }
        Ok(of_shard)
    }

    /// Appends the columns of the sample sheets to others.
    pub(crate) fn add_sheet(&self, columns: &mut Vec<Column>, range: Range<usize>) {
        let of_input = |index| {
            let (shard, _) = self.locate(index);
            self.directories[shard.directory].columns.get(self.origin(index).input as usize)
        };
        self.sheet.add_to(columns, range.map(of_input));
    }

    /// The names of the sample sheets' columns next to these.
    pub(crate) fn sheet_names(&self, others: &[Column]) -> Vec<String> {
        self.sheet.names(others)
    }

    fn origin(&self, index: usize) -> Origin {
        self.blocks.origin(index as u64)
    }

    fn locate(&self, index: usize) -> (&Shard, usize) {
        let (shard, row) = manifest::locate(&self.ends, index as u64);
        (&self.shards[shard], row as usize)
    }
}

/// The sample sheet's metadata for each input of reads, from the manifest.
fn sheet_columns(directory: &Path, manifest: &Manifest) -> Result<Vec<BTreeMap<String, Value>>, DatasetError> {
    match manifest.parameters.get(SHEET_COLUMNS) {
        None => Ok(vec![]),
        Some(columns) => serde_json::from_value(columns.clone()).map_err(|error| {
            corrupt(&manifest::path(directory), "columns of the sample sheet", "an object for each input", error)
        }),
    }
}

fn open_shard(directory: &Path, shard: &manifest::Shard) -> Result<ShardFile, DatasetError> {
    let path = directory.join(&shard.file);
    let file = ShardFile::open(&path)?;
    if file.size_bytes() != shard.size_bytes {
        return Err(corrupt(&path, "size in bytes", shard.size_bytes, file.size_bytes()));
    }
    if file.num_rows() as u64 != shard.num_rows {
        return Err(corrupt(&path, "number of rows", shard.num_rows, file.num_rows()));
    }
    Ok(file)
}

fn corrupt(path: &Path, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
    DatasetError::Corrupt {
        path: path.into(),
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

impl Shard {
    fn place(&self, alignment: ShardAlignment) -> Option<Alignment> {
        Some(Alignment {
            reference: *self.references.get(alignment.reference as usize)?,
            position: alignment.position,
            span_bp: alignment.span_bp,
            is_reverse: alignment.is_reverse,
            mapping_quality: alignment.mapping_quality,
        })
    }

    /// The alignment of a row; an error if its reference is not in the dictionary.
    fn alignment(&self, row: usize) -> Result<Option<Alignment>, DatasetError> {
        let Some(stored) = self.file.alignment(row) else { return Ok(None) };
        let num_references = self.references.len();
        self.place(stored).map(Some).ok_or_else(|| {
            let what = format!("reference of row {row}");
            corrupt(self.file.path(), &what, format!("below {num_references}"), stored.reference)
        })
    }
}

impl Reads for ReadDataset {
    fn len(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    fn name(&self, index: usize) -> Result<&str, DatasetError> {
        let (shard, row) = self.locate(index);
        shard.file.name(row)
    }

    fn sequence(&self, index: usize) -> Result<PackedSlice<'_>, DatasetError> {
        let (shard, row) = self.locate(index);
        shard.file.sequence(row)
    }

    fn sample_id(&self, index: usize) -> Result<SampleId, DatasetError> {
        let first = self.mate_of(index).map_or(index, |mate| mate.min(index));
        Ok(SampleId::of_name(self.origin(first).source_number, self.name(first)?.as_bytes()))
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        let (shard, row) = self.locate(index);
        let origin = self.origin(index);
        let source = self.source(shard, row, origin)?.into();
        Ok(SampleName {
            id: shard.file.name(row)?.into(),
            source,
            source_number: origin.source_number,
            key: origin.key,
        })
    }

    fn are_one_molecule(&self, a: usize, b: usize) -> bool {
        let same_name = || match (self.name(a), self.name(b)) {
            (Ok(a), Ok(b)) => a == b,
            // Unreadable values are reported where they are needed.
            _ => false,
        };
        self.mate_of(a) == Some(b) || (self.origin(a).block == self.origin(b).block && same_name())
    }

    fn mate_of(&self, index: usize) -> Option<usize> {
        let (shard, row) = self.locate(index);
        match shard.file.mate(row)? {
            1 => (row + 1 < shard.file.num_rows() && shard.file.mate(row + 1) == Some(2)).then(|| index + 1),
            _ => (row > 0 && shard.file.mate(row - 1) == Some(1)).then(|| index - 1),
        }
    }

    fn alignment(&self, index: usize) -> Option<Alignment> {
        let (shard, row) = self.locate(index);
        shard.place(shard.file.alignment(row)?)
    }

    fn reference_name(&self, reference: u32) -> Option<&str> {
        self.references.get(reference as usize).map(String::as_str)
    }
}

impl Dataset for ReadDataset {
    type Sample = Read;

    fn len(&self) -> usize {
        Reads::len(self)
    }

    fn get(&self, index: usize) -> Result<Read, DatasetError> {
        let (shard, row) = self.locate(index);
        Ok(Read {
            name: shard.file.name(row)?.into(),
            description: shard.file.description(row)?.into(),
            sequence: shard.file.sequence(row)?.to_owned(),
            mean_quality: shard.file.mean_quality(row),
            mate: shard.file.mate(row),
            alignment: shard.alignment(row)?,
        })
    }
}

impl ReadDataset {
    /// `id`, `source`, `key`, `description` (null if empty), `length_bp`, `mean_quality`, `gc`, `mate`, and from BAM
    /// and CRAM `reference`, `position` (1-based), `mapping_quality`, `is_reverse`.
    pub(crate) fn own_columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let mut columns = Columns::default();
        for index in range {
            let (shard, row) = self.locate(index);
            let file = &shard.file;
            let origin = self.origin(index);
            let alignment = shard.alignment(row)?;
            columns.id.push(Some(file.name(row)?.into()));
            columns.source.push(Some(self.source(shard, row, origin)?.into()));
            columns.key.push(i64::try_from(origin.key).ok());
            columns.description.push(Some(file.description(row)?).filter(|text| !text.is_empty()).map(Into::into));
            columns.length_bp.push(Some(file.length_bp(row)));
            columns.mean_quality.push(file.mean_quality(row));
            columns.gc.push(Some(file.gc(row)));
            columns.mate.push(file.mate(row));
            columns.reference.push(alignment.map(|a| self.references[a.reference as usize].clone()));
            columns.position.push(alignment.map(|a| a.position));
            columns.mapping_quality.push(alignment.and_then(|a| a.mapping_quality));
            columns.is_reverse.push(alignment.map(|a| a.is_reverse));
        }
        Ok(columns.named())
    }
}

impl SampleTable for ReadDataset {
    /// The reads' columns, then those of the sample sheets.
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let mut columns = self.own_columns(range.clone())?;
        self.add_sheet(&mut columns, range);
        Ok(columns)
    }

    fn shortcuts(&self) -> Shortcuts {
        let of_sheet = self.sheet_names(&Columns::default().named());
        Shortcuts { suspects: [vec!["source".into()], of_sheet].concat(), group: "source".into() }
    }

    /// Bases, N50 and GC.
    fn group_figures(&self) -> GroupFigures {
        let gc = FigureRule::Mean { column: "gc".into(), weight: Some("length_bp".into()) };
        let figures = vec![
            GroupFigure::new("bases", FigureRule::Sum { column: "length_bp".into() }),
            GroupFigure::new("n50_bp", FigureRule::N50 { column: "length_bp".into() }),
            GroupFigure::new("gc", gc),
        ];
        GroupFigures { noun: "reads".into(), figures }
    }
}

impl ReadDataset {
    /// The input of a row; an error if the shard and the counts of the manifest disagree about it.
    fn source(&self, shard: &Shard, row: usize, origin: Origin) -> Result<&str, DatasetError> {
        let number = shard.file.source(row);
        match self.directories[shard.directory].manifest.inputs.get(number as usize) {
            Some(input) if number == origin.input => Ok(&input.path),
            _ => Err(corrupt(shard.file.path(), &format!("input of row {row}"), origin.input, number)),
        }
    }
}

#[derive(Default)]
struct Columns {
    id: Vec<Option<String>>,
    source: Vec<Option<String>>,
    key: Vec<Option<i64>>,
    description: Vec<Option<String>>,
    length_bp: Vec<Option<u32>>,
    mean_quality: Vec<Option<f32>>,
    gc: Vec<Option<f32>>,
    mate: Vec<Option<u8>>,
    reference: Vec<Option<String>>,
    position: Vec<Option<u32>>,
    mapping_quality: Vec<Option<u8>>,
    is_reverse: Vec<Option<bool>>,
}

impl Columns {
    fn named(self) -> Vec<Column> {
        let columns = [
            ("id", ColumnData::Str(self.id)),
            ("source", ColumnData::Str(self.source)),
            ("key", ColumnData::I64(self.key)),
            ("description", ColumnData::Str(self.description)),
            ("length_bp", ColumnData::U32(self.length_bp)),
            ("mean_quality", ColumnData::F32(self.mean_quality)),
            ("gc", ColumnData::F32(self.gc)),
            ("mate", ColumnData::U8(self.mate)),
            ("reference", ColumnData::Str(self.reference)),
            ("position", ColumnData::U32(self.position)),
            ("mapping_quality", ColumnData::U8(self.mapping_quality)),
            ("is_reverse", ColumnData::Bool(self.is_reverse)),
        ];
        columns.into_iter().map(|(name, data)| Column { name: name.into(), data }).collect()
    }
}
