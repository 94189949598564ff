//! Contigs, with random access, as stored by [`crate::ingest()`].

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use invar_bases::PackedSlice;
use invar_dataset::{
    Column, ColumnData, DatasetError, FigureRule, GroupFigure, GroupFigures, SampleId, SampleName, SampleTable,
    Shortcuts,
    keys::{self, KeyRange, Opened},
    manifest::{self, Manifest, OtherFile},
    neighborhood::{Neighborhood, Neighborhoods},
};

use crate::{
    Depth,
    contigs::Contigs,
    depth::DepthFile,
    graph::GraphFile,
    ingest::{DOMAIN, GRAPH_FILE, MARKER_FILE, depth_file},
    markers::MarkerFile,
};

/// Contigs in one or more dataset directories, memory-mapped. The directories' contigs are concatenated in the order
/// given, those of one directory in the order of its FASTA. All must have the same samples.
pub struct ContigDataset {
    directories: Vec<Directory>,
    /// Contigs in directories `0..=d`.
    ends: Vec<u64>,
    samples: Vec<String>,
}

struct Directory {
    path: PathBuf,
    manifest: Manifest,
    contigs: Contigs,
    depths: Vec<DepthFile>,
    adjacency: Option<Adjacency>,
    /// Contigs in the directories before.
    first: usize,
    markers: Option<MarkerFile>,
    keys: KeyRange,
}

/// How the contigs of a directory lie in the assembly graph.
#[derive(Default)]
struct Adjacency {
    /// Of each contig the number of others that it is linked to, and whether it is a circle; `None` if it is not in the
    /// graph.
    linked: Vec<Option<(u32, bool)>>,
    /// Where the neighbours of each contig begin, and where the last ones end.
    starts: Vec<usize>,
    /// The neighbours of all contigs, in ascending order of each, never the contig itself.
    neighbors: Vec<u32>,
    /// How much each counts: 1.
    weights: Vec<f32>,
}

/// Segments of no contig that may lie between two neighbours.
const MOST_BETWEEN: usize = 2;

impl ContigDataset {
    /// Opens the union of dataset directories. Sizes are checked, checksums are not: see [`Manifest::verify`].
    ///
    /// # Errors
    /// If a directory does not hold a finished dataset of contigs, its samples are not those of the first, a directory is
    /// given twice, or two of them were made from one file.
    pub fn open(paths: &[PathBuf]) -> Result<Self, DatasetError> {
        let mut dataset = Self { directories: vec![], ends: vec![], samples: vec![] };
        for path in paths {
            let directory = Directory::open(path)?;
            let samples: Vec<String> = directory.depths.iter().map(|depth| depth.name().to_owned()).collect();
            if dataset.directories.is_empty() {
                dataset.samples = samples;
            } else if dataset.samples != samples {
                let (expected, found) = (dataset.samples.join(", "), samples.join(", "));
                return Err(DatasetError::corrupt(path, "samples, as in the directory given first", expected, found));
            }
            let first = dataset.len();
            dataset.ends.push((first + directory.contigs.len()) as u64);
            dataset.directories.push(Directory { first, ..directory });
        }
        let opened: Vec<Opened> = dataset.directories.iter().map(Directory::opened).collect();
        let ranges = keys::key_ranges(&opened)?;
        for (directory, keys) in dataset.directories.iter_mut().zip(ranges) {
            directory.keys = keys[0];
        }
        Ok(dataset)
    }

    /// The directories and their manifests.
    pub fn manifests(&self) -> impl Iterator<Item = (&Path, &Manifest)> {
        self.directories.iter().map(|directory| (directory.path.as_path(), &directory.manifest))
    }

    /// Number of contigs.
    pub fn len(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the samples whose depth was measured, in order.
    pub fn samples(&self) -> &[String] {
        &self.samples
    }

    /// The bases of contig `index`.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    ///
    /// # Panics
    /// If `index >= len()`, as for all methods below.
    pub fn sequence(&self, index: usize) -> Result<PackedSlice<'_>, DatasetError> {
        let (directory, row) = self.locate(index);
        directory.contigs.sequence(row)
    }

    /// Number of its bases.
    pub fn length_bp(&self, index: usize) -> u32 {
        let (directory, row) = self.locate(index);
        directory.contigs.length_bp(row)
    }

    /// Its name.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    pub fn name(&self, index: usize) -> Result<&str, DatasetError> {
        let (directory, row) = self.locate(index);
        directory.contigs.name(row)
    }

    /// The rest of its header.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    pub fn description(&self, index: usize) -> Result<&str, DatasetError> {
        let (directory, row) = self.locate(index);
        directory.contigs.description(row)
    }

    /// The fraction of G and C among its known bases.
    pub fn gc(&self, index: usize) -> f32 {
        let (directory, row) = self.locate(index);
        directory.contigs.gc(row)
    }

    /// Its depth in each sample.
    pub fn depths(&self, index: usize) -> impl Iterator<Item = Depth> {
        let (directory, row) = self.locate(index);
        directory.depths.iter().map(move |depth| depth.of(row))
    }

    /// Mean length of the reads of each sample.
    pub fn read_lengths(&self, index: usize) -> impl Iterator<Item = f32> {
        self.locate(index).0.depths.iter().map(DepthFile::read_bp)
    }

    /// Its [key](invar_dataset::keys).
    pub fn key(&self, index: usize) -> u64 {
        let (directory, row) = self.locate(index);
        directory.keys.key(row as u64)
    }

    /// Its identity in training.
    pub fn sample_id(&self, index: usize) -> SampleId {
        let (directory, row) = self.locate(index);
        directory.keys.id(row as u64)
    }

    /// How outputs name it.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    pub fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        let (directory, row) = self.locate(index);
        Ok(SampleName {
            id: directory.contigs.name(row)?.into(),
            source: directory.manifest.inputs[0].path.clone(),
            source_number: directory.keys.source_number(),
            key: directory.keys.key(row as u64),
        })
    }

    /// The number of contigs that it is linked to in the graph, and whether it is a circle; `None` where that is not known.
    pub fn linked(&self, index: usize) -> Option<(u32, bool)> {
        let (directory, row) = self.locate(index);
        directory.adjacency.as_ref()?.linked[row]
    }

    /// Whether there is an assembly graph of some of them.
    pub fn has_graph(&self) -> bool {
        self.directories.iter().any(|directory| directory.adjacency.is_some())
    }

    /// Its single-copy markers, separated by spaces, one word for each copy; `None` where none were looked for.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    pub fn markers(&self, index: usize) -> Result<Option<&str>, DatasetError> {
        let (directory, row) = self.locate(index);
        directory.markers.as_ref().map(|markers| markers.of(row)).transpose()
    }

    fn locate(&self, index: usize) -> (&Directory, usize) {
        let (directory, row) = manifest::locate(&self.ends, index as u64);
        (&self.directories[directory], row as usize)
    }
}

impl Directory {
    fn open(path: &Path) -> Result<Self, DatasetError> {
        let manifest = Manifest::read(path)?;
        if manifest.domain != DOMAIN {
            return Err(DatasetError::corrupt(path, "domain", DOMAIN, &manifest.domain));
        }
        if manifest.inputs.is_empty() {
            return Err(DatasetError::corrupt(manifest::path(path), "inputs", "a FASTA file", "none"));
        }
        let mut contigs = Contigs::default();
        contigs.open(path, &manifest.shards)?;
        for OtherFile { file, digest } in &manifest.files {
            digest.iter().try_for_each(|digest| digest.check_size(&path.join(file)))?;
        }
        let files = (0..).map(depth_file).take_while(|file| manifest.file(file).is_some());
        let depths = files.map(|file| DepthFile::open(&path.join(file), contigs.len())).collect::<Result<_, _>>()?;
        let adjacency = if manifest.file(GRAPH_FILE).is_some() {
            let graph = GraphFile::open(&path.join(GRAPH_FILE), contigs.len())?;
            Some(Adjacency::of(&graph))
        } else {
            None
        };
        let markers = match manifest.file(MARKER_FILE) {
            Some(_) => Some(MarkerFile::open(&path.join(MARKER_FILE), contigs.len())?),
            None => None,
        };
        Ok(Self {
            path: path.into(),
            manifest,
            contigs,
            depths,
            adjacency,
            markers,
            first: 0,
            keys: KeyRange::default(),
        })
    }

    fn opened(&self) -> Opened<'_> {
        let mut num_samples = vec![0; self.manifest.inputs.len()];
        num_samples[0] = self.contigs.len() as u64;
        Opened { path: &self.path, manifest: &self.manifest, num_samples }
    }
}

impl Adjacency {
    fn of(graph: &GraphFile) -> Self {
        let of = |(row, neighbors): (usize, Vec<u32>)| {
            let is_circle = neighbors.contains(&(row as u32));
            graph.has(row).then(|| (neighbors.len() as u32 - u32::from(is_circle), is_circle))
        };
        let linked = graph.neighbors(0).into_iter().enumerate().map(of).collect();
        let mut adjacency = Self { linked, starts: vec![0], ..Self::default() };
        for (row, list) in graph.neighbors(MOST_BETWEEN).into_iter().enumerate() {
            for other in list.into_iter().filter(|&other| other as usize != row) {
                adjacency.neighbors.push(other);
            }
            adjacency.starts.push(adjacency.neighbors.len());
        }
        adjacency.weights.resize(adjacency.neighbors.len(), 1.0);
        adjacency
    }
}

/// The contigs that a contig may continue into, all alike.
impl Neighborhoods for ContigDataset {
    fn neighborhood(&self, node: usize) -> Neighborhood<'_> {
        let (directory, row) = self.locate(node);
        let (others, weights) = directory.adjacency.as_ref().map_or((&[][..], &[][..]), |adjacency| {
            let own = adjacency.starts[row]..adjacency.starts[row + 1];
            (&adjacency.neighbors[own.clone()], &adjacency.weights[own])
        });
        Neighborhood { first: directory.first, others, weights, scale: 1.0 }
    }
}

impl SampleTable for ContigDataset {
    /// `id`, `source`, `key`, `description` (null if empty), `length_bp`, `gc`; with depth `depth` (the sum of the means),
    /// and for each sample `depth_SAMPLE`, `depth_variance_SAMPLE` and `breadth_SAMPLE`; with a graph `links` and
    /// `is_circular`, with markers `markers` (null where a contig has none).
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let text = |of: &dyn Fn(usize) -> Result<String, DatasetError>| -> Result<Vec<Option<String>>, DatasetError> {
            range.clone().map(|index| of(index).map(Some)).collect()
        };
        let mut columns = vec![];
        let mut add = |name: String, data| columns.push(Column { name, data });
        add("id".into(), ColumnData::Str(text(&|index| self.name(index).map(Into::into))?));
        add("source".into(), ColumnData::Str(text(&|index| Ok(self.locate(index).0.manifest.inputs[0].path.clone()))?));
        let keys = range.clone().map(|index| i64::try_from(self.key(index)).ok());
        add("key".into(), ColumnData::I64(keys.collect()));
        let descriptions = text(&|index| self.description(index).map(Into::into))?;
        let descriptions = descriptions.into_iter().map(|text| text.filter(|text| !text.is_empty()));
        add("description".into(), ColumnData::Str(descriptions.collect()));
        add("length_bp".into(), ColumnData::U32(range.clone().map(|index| Some(self.length_bp(index))).collect()));
        add("gc".into(), ColumnData::F32(range.clone().map(|index| Some(self.gc(index))).collect()));
        if !self.samples.is_empty() {
            let sum = |index| Some(self.depths(index).map(|depth| depth.mean).sum());
            add("depth".into(), ColumnData::F32(range.clone().map(sum).collect()));
        }
        for (number, sample) in self.samples.iter().enumerate() {
            let values = |of: &dyn Fn(Depth) -> f32| {
                let value = |index| self.depths(index).nth(number).map(of).filter(|value| !value.is_nan());
                ColumnData::F32(range.clone().map(value).collect())
            };
            add(format!("depth_{sample}"), values(&|depth| depth.mean));
            add(format!("depth_variance_{sample}"), values(&|depth| depth.variance));
            add(format!("breadth_{sample}"), values(&|depth| depth.breadth));
        }
        if self.has_graph() {
            let links = range.clone().map(|index| self.linked(index).map(|(links, _)| links));
            add("links".into(), ColumnData::U32(links.collect()));
            let circles = range.clone().map(|index| self.linked(index).map(|(_, is_circle)| is_circle));
            add("is_circular".into(), ColumnData::Bool(circles.collect()));
        }
        if self.directories.iter().any(|directory| directory.markers.is_some()) {
            let of = |index| Ok(self.markers(index)?.filter(|text| !text.is_empty()).map(Into::into));
            add("markers".into(), ColumnData::Str(range.map(of).collect::<Result<_, DatasetError>>()?));
        }
        Ok(columns)
    }

    fn shortcuts(&self) -> Shortcuts {
        Shortcuts { suspects: vec!["source".into()], group: "source".into() }
    }

    /// Bases, N50 and GC, and the mean depth in each sample, by bases.
    fn group_figures(&self) -> GroupFigures {
        let mean = |column: &str| FigureRule::Mean { column: column.into(), weight: Some("length_bp".into()) };
        let mut figures = vec![
            GroupFigure::new("bases", FigureRule::Sum { column: "length_bp".into() }),
            GroupFigure::new("n50_bp", FigureRule::N50 { column: "length_bp".into() }),
            GroupFigure::new("gc", mean("gc")),
        ];
        let depths = self.samples.iter().map(|sample| format!("depth_{sample}"));
        figures.extend(depths.map(|column| GroupFigure::new(&column, mean(&column))));
        GroupFigures { noun: "contigs".into(), figures }
    }
}
