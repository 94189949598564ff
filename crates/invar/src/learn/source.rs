//! The domains, as the command line sees them: the one place that lists them.

use std::{
    cell::{OnceCell, RefCell},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use invar_cli::{
    commands::{bins, genomes, ingest, kinds},
    exit::Usage,
    result_dir::ResultDir,
    ui::{Summary, Ui, thousands},
};
use invar_cluster::groups::GroupTable;
use invar_contigs::{ContigDataset, ContigPairs, ContigPairsConfig, ContigViews, FeatureConfig};
use invar_dataset::{DatasetError, PairSource, SampleTable, ViewSource, neighborhood::NeighborRole};
use invar_graphs::{GraphDataset, GraphPairs, GraphPairsConfig, GraphView, GraphViews};
use invar_micrographs::{GrainDataset, GrainPairs, GrainPairsConfig, GrainViews, LevelsFrom, ViewConfig};
use invar_nn::{EncoderConfig, Sees};
use invar_reads::{
    Inputs, KeptOverlaps, Overlaps, OverlapsConfig, Pairing, ReadDataset, ReadPairs, ReadPairsConfig, ReadTable,
    ReadViews, Reads, Representation, kmer::KmerConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `[source]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum SourceConfig {
    /// `type = "reads"`.
    Reads(Box<ReadsSource>),
    /// `type = "micrographs"`.
    Micrographs(Box<MicrographsSource>),
    /// `type = "contigs"`.
    Contigs(Box<ContigsSource>),
    /// `type = "graphs"`.
    Graphs(Box<GraphsSource>),
}

/// Contigs of an assembly: what is kept of them, and how they are paired and embedded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContigsSource {
    /// What is kept, and how depth is measured.
    pub ingest: invar_contigs::IngestConfig,
    /// What the encoder is shown of a contig.
    pub view: FeatureConfig,
    /// Which views are considered the same.
    pub pairs: ContigPairsConfig,
}

impl ContigsSource {
    fn needs_graph(&self) -> bool {
        self.view.graph.is_some() || self.pairs.neighbors != NeighborRole::Negatives
    }
}

/// Sequencing reads: how they are read, paired and embedded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadsSource {
    /// How mates are recognised when `invar run` ingests.
    pub pairing: Pairing,
    /// Reference genome for CRAM inputs.
    #[serde(with = "invar_dataset::path::option")]
    pub reference: Option<PathBuf>,
    /// Table that names the files, instead of the command line, with metadata of each sample.
    #[serde(skip_serializing_if = "Option::is_none", with = "invar_dataset::path::option")]
    pub sample_sheet: Option<PathBuf>,
    /// What is kept.
    pub ingest: invar_reads::IngestConfig,
    /// How a read is represented for the encoder; by default as the encoder needs.
    pub view: Option<Representation>,
    /// Which two views are considered the same.
    pub pairs: ReadPairsConfig,
    /// Which views make up the embedding of a read.
    pub embed: invar_reads::EmbedConfig,
}

/// Micrographs: how they are read and divided, and how their grains are paired and embedded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MicrographsSource {
    /// Table of images with metadata of each.
    #[serde(with = "invar_dataset::path::option")]
    pub sample_sheet: Option<PathBuf>,
    /// How grains are found.
    pub ingest: invar_micrographs::IngestConfig,
    /// Whether the brightness and contrast of an image are meaningful: used if `view.levels` is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light: Option<Light>,
    /// What the encoder is shown of a grain.
    pub view: ViewConfig,
    /// Which two views are considered the same.
    pub pairs: GrainPairsConfig,
    /// Which views make up the embedding of a grain.
    pub embed: invar_micrographs::EmbedConfig,
}

/// Graphs: how they are read, and how their nodes are shown, paired and embedded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphsSource {
    /// How the tables of `invar run` are read.
    pub ingest: invar_graphs::IngestConfig,
    /// What the encoder is shown of a node.
    pub view: GraphView,
    /// Which two views are considered the same.
    pub pairs: GraphPairsConfig,
    /// Which view the embedding of a node is of.
    pub embed: invar_graphs::EmbedConfig,
}

/// Whether the brightness and contrast of an image are meaningful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Light {
    /// All images were taken under one light, with one exposure: their brightness is a property of the specimen.
    Same,
    /// Light or exposure vary from image to image: brightness and contrast are not properties of the specimen.
    Varies,
}

impl MicrographsSource {
    /// What the encoder is shown of a grain, with the levels appropriate for the light.
    fn view(&self) -> ViewConfig {
        let levels = self.view.levels.or(self.light.map(Light::levels)).unwrap_or_default();
        ViewConfig { levels: Some(levels), ..self.view.clone() }
    }
}

impl Light {
    /// What counts as black and white then.
    fn levels(self) -> LevelsFrom {
        match self {
            Self::Same => LevelsFrom::Type,
            Self::Varies => LevelsFrom::Image,
        }
    }
}

/// Samples ready to be embedded: their views, and their metadata.
pub struct Samples {
    /// The views.
    pub views: Box<dyn ViewSource>,
    /// The columns.
    pub table: Arc<dyn SampleTable>,
}

/// Pairs that can also be described in words.
pub trait ShownPairs: PairSource {
    /// What `pair(index, seed)` draws.
    ///
    /// # Errors
    /// As `pair`.
    fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError>;

    /// For how many samples each kind of pair can be drawn, if there are several kinds.
    fn kinds(&self) -> Option<String> {
        None
    }
}

impl ShownPairs for ReadPairs {
    fn kinds(&self) -> Option<String> {
        let able = self.able();
        let kind = |(kind, number): &(_, usize)| format!("{kind} {}", thousands(*number as u64));
        let kinds = able.iter().map(kind).collect::<Vec<_>>().join(", ");
        let overlaps = self.overlaps().map(|overlaps| format!("; {}", partners(overlaps)));
        (able.len() > 1).then(|| kinds + &overlaps.unwrap_or_default())
    }

    fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        Self::describe(self, index, seed)
    }
}

/// How many reads have partners other than themselves, in words.
fn partners(overlaps: &Overlaps) -> String {
    let share = 100.0 * overlaps.num_joined() as f64 / overlaps.num_reads().max(1) as f64;
    let components = thousands(overlaps.num_components() as u64);
    match overlaps.num_components() {
        0 => "no two reads overlap".into(),
        _ => {
            let largest = thousands(overlaps.members(0).len() as u64);
            format!("{share:.0} % of the reads overlap others: {components} components, the largest of {largest} reads")
        }
    }
}

impl ShownPairs for ContigPairs {
    fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        Self::describe(self, index, seed)
    }
}

impl ShownPairs for GrainPairs {
    fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        Self::describe(self, index, seed)
    }
}

impl ShownPairs for GraphPairs {
    fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        Self::describe(self, index, seed)
    }
}

impl SourceConfig {
    /// Fills in what follows from the encoder, and checks that it can read what this source provides.
    ///
    /// # Errors
    /// A sentence that names both.
    pub fn resolve(&mut self, encoder: &EncoderConfig) -> Result<(), String> {
        let misfit =
            |needs: &str, found: &str| Err(format!("encoder `{}` needs {needs}, found {found}", encoder.name()));
        match (self, encoder.sees()) {
            (Self::Reads(reads), sees @ (Sees::Features | Sees::Tokens)) => {
                let (needed, name, other) = match sees {
                    Sees::Features => (Representation::Kmers(KmerConfig::default()), "kmers", "tokens"),
                    _ => (Representation::Tokens, "tokens", "kmers"),
                };
                let view = reads.view.get_or_insert_with(|| needed.clone());
                if std::mem::discriminant(view) != std::mem::discriminant(&needed) {
                    return misfit(&format!("source.view of type `{name}`"), &format!("`{other}`"));
                }
            }
            (Self::Micrographs(images), Sees::Pictures) => {
                let (shown, scales) = (images.view.num_fields(), scales(encoder));
                if scales != shown {
                    return misfit(
                        &format!("views of encoder.scales = {scales} fields"),
                        &format!("{shown} (source.view.detail)"),
                    );
                }
            }
            (Self::Contigs(contigs), Sees::Nodes) => {
                contigs.view.graph.get_or_insert_default();
            }
            (Self::Contigs(contigs), Sees::Features) => {
                if contigs.view.graph.is_some() {
                    return misfit("views without what surrounds them", "source.view.graph");
                }
            }
            (Self::Graphs(_), Sees::Nodes) => {}
            (source, sees) => return misfit(needed(sees), source.in_a_sentence()),
        }
        Ok(())
    }

    fn in_a_sentence(&self) -> &'static str {
        match self {
            Self::Reads(_) => "a source of reads",
            Self::Micrographs(_) => "a source of micrographs",
            Self::Contigs(_) => "a source of contigs",
            Self::Graphs(_) => "a source of graphs",
        }
    }

    /// The part of it that training depends on.
    pub fn drawing(&self) -> Value {
        match self {
            Self::Reads(reads) => serde_json::json!({"type": "reads", "view": reads.view, "pairs": reads.pairs}),
            Self::Micrographs(images) => {
                serde_json::json!({"type": "micrographs", "view": images.view(), "pairs": images.pairs})
            }
            Self::Contigs(contigs) => {
                serde_json::json!({"type": "contigs", "view": contigs.view, "pairs": contigs.pairs})
            }
            Self::Graphs(graphs) => {
                serde_json::json!({"type": "graphs", "view": graphs.view, "pairs": graphs.pairs})
            }
        }
    }

    /// Reads instrument files into a dataset directory, and returns a summary.
    ///
    /// # Errors
    /// As the domain.
    pub fn ingest(&self, files: &[PathBuf], out: &Path, force: bool, ui: &Ui) -> Result<Summary> {
        match self {
            Self::Reads(reads) => {
                let inputs = match &reads.sample_sheet {
                    None => Inputs { pairing: reads.pairing, ..Inputs::files(files) },
                    Some(sheet) if files.is_empty() => ingest::of_sheet(sheet, &[], reads.pairing)?,
                    Some(sheet) => {
                        let text = "names the files of reads: give no others";
                        return Err(Usage(format!("source.sample_sheet: {} {text}", sheet.display())).into());
                    }
                };
                let inputs = Inputs { reference: reads.reference.clone(), ..inputs };
                let config = invar_reads::IngestConfig { force, ..reads.ingest.clone() };
                ingest::take_in_reads(&inputs, out, &config, ui)
            }
            Self::Micrographs(images) => {
                let (paths, sheet) = (files.to_vec(), images.sample_sheet.clone());
                let inputs = invar_micrographs::Inputs { paths, sheet, samples: vec![] };
                let config = invar_micrographs::IngestConfig { force, ..images.ingest.clone() };
                ingest::ingest_micrographs(&inputs, out, &config, ui)
            }
            Self::Contigs(contigs) => {
                let inputs = invar_contigs::Inputs::told_apart(files)?;
                if contigs.needs_graph() && inputs.graph.is_none() {
                    let text = "the recipe looks at the assembly graph: give its GFA or FASTG with the other files";
                    return Err(Usage(text.into()).into());
                }
                let config = invar_contigs::IngestConfig { force, ..contigs.ingest.clone() };
                ingest::ingest_contigs(&inputs, out, &config, ui)
            }
            Self::Graphs(graphs) => {
                let [nodes, edges] = files else {
                    let text = format!("a graph is two tables, of nodes and of edges: {} were given", files.len());
                    return Err(Usage(text).into());
                };
                let inputs = invar_graphs::Inputs { nodes: nodes.clone(), edges: edges.clone() };
                let config = invar_graphs::IngestConfig { force, ..graphs.ingest.clone() };
                ingest::ingest_graph(&inputs, out, &config, ui)
            }
        }
    }

    /// The same for files other than it was made for: metadata of those do not apply to these.
    #[must_use]
    pub fn of_other_files(&self) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Reads(reads) => reads.sample_sheet = None,
            Self::Micrographs(images) => {
                images.sample_sheet = None;
                images.ingest.classes = None;
            }
            Self::Contigs(_) | Self::Graphs(_) => {}
        }
        other
    }

    /// Takes the metadata of the samples from another table.
    ///
    /// # Errors
    /// [`Usage`] if this domain's samples have none.
    pub fn set_sample_sheet(&mut self, sheet: &Path) -> Result<()> {
        let refuse = |reason: &str| Err(Usage(format!("--sample-sheet {}: {reason}", sheet.display())).into());
        let own = match self {
            Self::Reads(reads) => &mut reads.sample_sheet,
            Self::Micrographs(images) => &mut images.sample_sheet,
            Self::Contigs(_) => return refuse("the files of an assembly are given by --input, which tells them apart"),
            Self::Graphs(_) => return refuse("the table of nodes, given by --input, has all columns"),
        };
        *own = Some(sheet.to_path_buf());
        Ok(())
    }

    /// What the clusters of a run mean, in the domain's own words, and what can be done next. `found` is what the
    /// clustering tried, `evaluation` what was measured afterwards.
    ///
    /// # Errors
    /// If the results needed for this cannot be read.
    pub fn in_words(
        &self,
        groups: &GroupTable,
        found: &Value,
        evaluation: &Value,
        results: &ResultDir,
    ) -> Result<String> {
        let out = results.path().join("groups");
        match self {
            Self::Reads(_) => Ok(genomes::in_words(groups, &results.clusters(), &results.data(), &out)),
            Self::Contigs(_) => {
                Ok(bins::next_in_words(&results.clusters(), &results.data(), &results.path().join("bins")))
            }
            Self::Micrographs(_) | Self::Graphs(_) => {
                kinds::in_words(groups, found, evaluation, results, self.has_pictures())
            }
        }
    }

    /// Whether clusters can be shown as pictures of the samples.
    pub fn has_pictures(&self) -> bool {
        matches!(self, Self::Micrographs(_))
    }
}

/// The dataset directories of a command: opened when they are first needed, and only once.
pub struct Datasets<'a> {
    source: &'a SourceConfig,
    dirs: &'a [PathBuf],
    ui: &'a Ui,
    opened: OnceCell<Opened>,
    overlaps: OnceCell<Arc<Overlaps>>,
    pairs: RefCell<Option<Arc<dyn ShownPairs>>>,
}

enum Opened {
    Reads(Arc<ReadDataset>),
    Micrographs(Arc<GrainDataset>),
    Contigs(Arc<ContigDataset>),
    Graphs(Arc<GraphDataset>),
}

impl<'a> Datasets<'a> {
    /// Opens nothing yet. Reports what cannot be kept or read.
    pub fn new(source: &'a SourceConfig, dirs: &'a [PathBuf], ui: &'a Ui) -> Self {
        Self { source, dirs, ui, opened: OnceCell::new(), overlaps: OnceCell::new(), pairs: RefCell::default() }
    }

    /// The directories.
    pub fn dirs(&self) -> &'a [PathBuf] {
        self.dirs
    }

    /// What pairs are drawn from. Created once, and kept until [`Datasets::forget_pairs`].
    ///
    /// # Errors
    /// If a directory is not a complete dataset, or the recipe's pairs cannot be drawn from it.
    pub fn pairs(&self) -> Result<Arc<dyn ShownPairs>> {
        if let Some(pairs) = &*self.pairs.borrow() {
            return Ok(Arc::clone(pairs));
        }
        let pairs: Arc<dyn ShownPairs> = match (self.source, self.opened()?) {
            (SourceConfig::Reads(reads), Opened::Reads(dataset)) => {
                let overlaps = if reads.pairs.needs_overlaps() { Some(self.overlaps(dataset)?) } else { None };
                Arc::new(ReadPairs::with_overlaps(dataset.clone(), overlaps, &reads.pairs, &reads.representation())?)
            }
            (SourceConfig::Micrographs(images), Opened::Micrographs(dataset)) => {
                Arc::new(GrainPairs::new(dataset.clone(), &images.pairs, &images.view())?)
            }
            (SourceConfig::Contigs(contigs), Opened::Contigs(dataset)) => {
                let needed = invar_contigs::pairs_memory_bytes(dataset, &contigs.view)?;
                let what = || format!("drawing pairs of {} contigs", dataset.len());
                let remedy = || "leave out short contigs (--min-length), or use a smaller k (source.view.ks)".into();
                invar_dataset::check_memory(needed, what, remedy)?;
                Arc::new(ContigPairs::new(dataset.clone(), &contigs.pairs, &contigs.view)?)
            }
            (SourceConfig::Graphs(graphs), Opened::Graphs(dataset)) => {
                Arc::new(GraphPairs::new(dataset.clone(), &graphs.pairs, &graphs.view)?)
            }
            _ => unreachable!("opened as what the source says"),
        };
        Ok(Arc::clone(self.pairs.borrow_mut().insert(pairs)))
    }

    /// Releases the memory of [`Datasets::pairs`], unless someone else still holds them.
    pub fn forget_pairs(&self) {
        self.pairs.take();
    }

    /// All samples, ready to be embedded.
    ///
    /// # Errors
    /// If a directory is not a complete dataset.
    pub fn samples(&self) -> Result<Samples> {
        Ok(match (self.source, self.opened()?) {
            (SourceConfig::Reads(reads), Opened::Reads(dataset)) => {
                let views = ReadViews::new(dataset.clone(), reads.embed, &reads.representation())?;
                let table = ReadTable::new(dataset.clone(), self.overlaps(dataset)?);
                Samples { views: Box::new(views), table: Arc::new(table) }
            }
            (SourceConfig::Micrographs(images), Opened::Micrographs(dataset)) => {
                let views = GrainViews::new(dataset.clone(), &images.view(), images.embed, images.pairs.mirror)?;
                Samples { views: Box::new(views), table: dataset.clone() }
            }
            (SourceConfig::Contigs(contigs), Opened::Contigs(dataset)) => {
                let views = ContigViews::new(dataset.clone(), &contigs.view)?;
                Samples { views: Box::new(views), table: dataset.clone() }
            }
            (SourceConfig::Graphs(graphs), Opened::Graphs(dataset)) => {
                let views = GraphViews::new(dataset.clone(), &graphs.view, &graphs.embed)?;
                Samples { views: Box::new(views), table: dataset.clone() }
            }
            _ => unreachable!("opened as what the source says"),
        })
    }

    /// The overlaps of all reads, for the pairs and for the columns: those stored with the data, or computed here and
    /// stored.
    fn overlaps(&self, reads: &ReadDataset) -> Result<Arc<Overlaps>> {
        if let Some(overlaps) = self.overlaps.get() {
            return Ok(Arc::clone(overlaps));
        }
        let overlaps = Arc::new(self.kept_overlaps(reads)?);
        Ok(Arc::clone(self.overlaps.get_or_init(|| overlaps)))
    }

    fn kept_overlaps(&self, reads: &ReadDataset) -> Result<Overlaps> {
        let config = OverlapsConfig::default();
        let kept = KeptOverlaps::of(reads, &config);
        match kept.read() {
            Ok(Some(overlaps)) => return Ok(overlaps),
            Ok(None) => {}
            Err(error) => self.ui.note(&format!("{error}: overlaps are found anew")),
        }
        let num_bases = (0..Reads::len(reads)).map(|read| u64::from(reads.length_bp(read))).sum();
        let needed = Overlaps::memory_bytes(Reads::len(reads), num_bases, &config) as usize;
        invar_dataset::check_memory(needed, || "finding overlaps".into(), || "give fewer reads".into())?;
        let overlaps = Overlaps::find(reads, &config)?;
        if let Err(error) = kept.write(&overlaps) {
            // Nothing is lost but the time to find them again.
            self.ui.note(&format!("{}: {error}: overlaps are not kept", kept.path().display()));
        }
        Ok(overlaps)
    }

    fn opened(&self) -> Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = match self.source {
            SourceConfig::Reads(_) => Opened::Reads(Arc::new(ReadDataset::open(self.dirs)?)),
            SourceConfig::Micrographs(_) => Opened::Micrographs(Arc::new(GrainDataset::open(self.dirs)?)),
            SourceConfig::Contigs(_) => Opened::Contigs(Arc::new(ContigDataset::open(self.dirs)?)),
            SourceConfig::Graphs(_) => Opened::Graphs(Arc::new(GraphDataset::open(self.dirs)?)),
        };
        Ok(self.opened.get_or_init(|| opened))
    }
}

/// What an encoder reads, in words.
fn needed(sees: Sees) -> &'static str {
    match sees {
        Sees::Features | Sees::Tokens => "reads",
        Sees::Pictures => "pictures",
        Sees::Graphs => "graphs",
        Sees::Nodes => "nodes of a graph",
    }
}

/// Number of fields that an encoder splits a view into.
fn scales(encoder: &EncoderConfig) -> usize {
    match encoder {
        EncoderConfig::Resnet(net) | EncoderConfig::ResnetC4(net) | EncoderConfig::ResnetC8(net) => net.scales,
        _ => 1,
    }
}

impl ReadsSource {
    fn representation(&self) -> Representation {
        self.view.clone().expect("the recipe was resolved when it was loaded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_decides_where_levels_are_not_given() {
        let levels = |light: &str, levels: &str| {
            let source = format!("type = \"micrographs\"\n{light}\n[view]\n{levels}\n");
            let SourceConfig::Micrographs(images) = toml_edit::de::from_str(&source).unwrap() else {
                panic!("micrographs")
            };
            images.view().levels()
        };
        assert_eq!(levels("", ""), LevelsFrom::Image);
        assert_eq!(levels("light = \"same\"", ""), LevelsFrom::Type);
        assert_eq!(levels("light = \"varies\"", ""), LevelsFrom::Image);
        let given = "levels = { range = [1, 2] }";
        for light in ["", "light = \"same\"", "light = \"varies\""] {
            assert_eq!(levels(light, given), LevelsFrom::Range([1.0, 2.0]));
        }
    }

    #[test]
    fn fields_that_the_encoder_does_not_take_apart_are_refused() {
        let mut source: SourceConfig =
            toml_edit::de::from_str("type = \"micrographs\"\nview = { detail = { px = 64 } }").unwrap();
        let encoder: EncoderConfig = toml_edit::de::from_str("type = \"resnet\"").unwrap();
        let error = source.resolve(&encoder).unwrap_err();
        assert_eq!(error, "encoder `resnet` needs views of encoder.scales = 1 fields, found 2 (source.view.detail)");
    }
}
