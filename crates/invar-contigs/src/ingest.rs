//! From the files of an assembly to a dataset directory.
//!
//! ```text
//! contigs-00000.shard    bases, names and GC; a shard closes after a fixed number of bases
//! depth-00000.bin        mean, variance and breadth of every contig in a sample
//! graph.bin              links of the assembly graph, and how the contigs run through it
//! ```
//! The FASTA is read first, by one thread. Then the samples are measured side by side, each in one pass; memory is that of
//! the longest contig (4 bytes a base) for each sample under way, and 12 bytes a contig and sample. The bytes do not
//! depend on the number of threads. An interrupted ingest keeps the samples that were finished.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use invar_dataset::{
    Progress,
    ingest::{self, InputIdentity, Key, State},
    manifest::{Input, Manifest, OtherFile, SCHEMA_VERSION, Shard},
    object,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Error, IngestConfig, Inputs,
    contigs::{Contigs, Names},
    depth::{self, Against, SampleDepth},
    error::{Place, listed},
    fasta::{Entry, Fasta},
    graph::{self, GraphFile},
    markers::{self, MarkerFile},
    memory,
    shard::Rows,
    stored::Lines,
};

/// Name of the domain in the manifest.
pub const DOMAIN: &str = "contigs";

/// The file of the assembly graph.
pub(crate) const GRAPH_FILE: &str = "graph.bin";
/// The markers of a dataset's contigs.
pub(crate) const MARKER_FILE: &str = "markers.bin";

const WARNINGS: &str = "warnings";

/// The result of an ingest.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The manifest of the dataset, with the counts.
    pub manifest: Manifest,
    /// Whether the dataset already existed, from the same inputs and parameters; nothing was written.
    pub already_done: bool,
}

impl Summary {
    /// What looked wrong with the inputs although they could be read; also for a dataset that already existed.
    pub fn warnings(&self) -> Vec<&str> {
        let texts = self.manifest.facts.get(WARNINGS).and_then(|warnings| warnings.as_array());
        texts.into_iter().flatten().filter_map(|text| text.as_str()).collect()
    }
}

/// A file of the output that is finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Checkpoint {
    shard: Shard,
    /// What was measured of a sample; `None` for a shard of contigs.
    sample: Option<Sample>,
}

/// A sample that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    name: String,
    input: Input,
    /// Whether some contig has depth.
    is_covered: bool,
    warnings: Vec<String>,
}

type Output = ingest::Output<Checkpoint>;

impl ingest::Checkpoint for Checkpoint {
    const DOMAIN: &'static str = DOMAIN;
    const NAMES: &'static [&'static str] = &[GRAPH_FILE];

    fn shard(&self) -> Option<&Shard> {
        Some(&self.shard)
    }

    /// The samples: the contigs are read again to measure the others.
    fn kept(finished: Vec<Self>, is_whole: &dyn Fn(&Self) -> bool) -> Vec<Self> {
        finished.into_iter().filter(|piece| piece.sample.is_some() && is_whole(piece)).collect()
    }
}

/// Name of the depth file of sample `number`.
pub(crate) fn depth_file(number: usize) -> String {
    format!("depth-{number:05}.bin")
}

/// Reads all `inputs` and writes the dataset directory `out`.
///
/// Uses as many threads as the current rayon pool has; the result does not depend on them. If `out` holds the same
/// dataset, nothing is done.
///
/// # Errors
/// The first problem in the order of the inputs ([`Error::is_bad_input`]), an output that holds something else, or a
/// system error. `out` is then as if nothing had been written.
pub fn ingest(inputs: &Inputs, out: &Path, config: &IngestConfig, progress: &dyn Progress) -> Result<Summary, Error> {
    object::look_at_all(inputs.all().map(|path| path.as_path()));
    let identities = inputs.all().map(|path| InputIdentity::of(path)).collect::<Result<_, _>>()?;
    let mut parameters = serde_json::to_value(config).expect("the configuration is plain data");
    parameters["alignments"] = json!(inputs.alignments.len());
    parameters["tables"] = json!(inputs.tables.len());
    parameters["graph"] = json!(inputs.graph.is_some());
    parameters["markers"] = json!(inputs.markers.is_some());
    let key = Key { tool_version: env!("CARGO_PKG_VERSION").into(), parameters, inputs: identities };
    let output = match Output::prepare(out, key, config.force)? {
        State::Done(manifest) => return Ok(Summary { manifest: *manifest, already_done: true }),
        State::Open(output) => *output,
    };
    match run(inputs, config, &output, progress) {
        Ok(manifest) => Ok(Summary { manifest: output.write(manifest)?.publish()?, already_done: false }),
        Err(error) => {
            output.give_up(matches!(error, Error::Io { .. } | Error::Interrupted { .. }));
            Err(error)
        }
    }
}

fn run(inputs: &Inputs, config: &IngestConfig, output: &Output, progress: &dyn Progress) -> Result<Manifest, Error> {
    let sizes = output.key().inputs.iter().filter_map(|input| Some(input.file.as_ref()?.size_bytes()));
    progress.set_total(sizes.sum());
    progress.message("contigs");
    let (names, shards, fasta) = read_contigs(inputs, config, output)?;
    progress.advance(fasta.size_bytes);
    let mut contigs = Contigs::default();
    contigs.open(output.directory(), &shards)?;
    let contigs = Arc::new(contigs);
    let measured = measure(inputs, config, output, &names, &contigs, progress)?;
    let (samples, files): (Vec<Sample>, Vec<OtherFile>) = measured.into_iter().unzip();
    let mut manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        domain: DOMAIN.into(),
        parameters: output.key().parameters.clone(),
        inputs: vec![],
        shards,
        counts: BTreeMap::new(),
        files,
        skipped: vec![],
        facts: BTreeMap::new(),
    };
    for (name, count) in
        [("kept", names.num_kept()), ("too_short", names.len() - names.num_kept()), ("samples", samples.len())]
    {
        manifest.counts.insert(name.into(), count as u64);
    }
    let mut warnings: Vec<String> = samples.iter().flat_map(|sample| sample.warnings.clone()).collect();
    manifest.facts.insert("samples".into(), samples.iter().map(|sample| sample.name.as_str()).collect());
    // A table has several samples; it is one input.
    let mut read: Vec<Input> = vec![fasta];
    read.extend(samples.iter().map(|sample| sample.input.clone()));
    read.dedup_by(|one, other| one.path == other.path && one.sha256 == other.sha256);
    if let Some(path) = &inputs.graph {
        progress.message("graph");
        read.extend(read_graph(path, inputs, output, &names, &contigs, &mut manifest, &mut warnings)?);
    }
    if let Some(path) = &inputs.markers {
        progress.message("markers");
        read.push(read_markers(path, output, &names, &mut manifest)?);
    }
    manifest.inputs = read;
    if !warnings.is_empty() {
        manifest.facts.insert(WARNINGS.into(), warnings.into());
    }
    Ok(manifest)
}

/// Writes the contigs into shards.
fn read_contigs(inputs: &Inputs, config: &IngestConfig, output: &Output) -> Result<(Names, Vec<Shard>, Input), Error> {
    let path = &inputs.fasta;
    let mut fasta = Fasta::new(Lines::open(path)?)?;
    let (mut names, mut rows, mut entry) = (Names::new(path.clone()), Rows::default(), Entry::default());
    let mut shards = vec![];
    let close = |rows: &Rows, shards: &mut Vec<Shard>| -> Result<(), Error> {
        let file = format!("contigs-{:05}.shard", shards.len());
        output.announce([file.clone()])?;
        let shard = rows.write(output.directory(), &file)?;
        output.push(&Checkpoint { shard: shard.clone(), sample: None })?;
        shards.push(shard);
        Ok(())
    };
    while fasta.next(&mut entry)? {
        let length_bp = u32::try_from(entry.letters.len()).map_err(|_| {
            Error::bad(
                entry.place(path),
                "length of the contig",
                format!("at most {} bp", u32::MAX),
                entry.letters.len(),
            )
        })?;
        let is_kept = length_bp >= config.min_length_bp;
        if let Some(first) = names.add(&entry.name, entry.line, length_bp, is_kept) {
            let expected = format!("one, in line {} ({} bp)", first.line, first.length_bp);
            return Err(Error::bad(
                entry.place(path),
                "contig of this name",
                expected,
                format!("a second one ({length_bp} bp)"),
            ));
        }
        memory::check_names(&names)?;
        if is_kept {
            rows.push(&entry, path)?;
        }
        if rows.is_full() {
            close(&rows, &mut shards)?;
            rows = Rows::default();
        }
    }
    if rows.len() > 0 {
        close(&rows, &mut shards)?;
    }
    let mut input = fasta.finish()?;
    input.counts.insert("kept".into(), names.num_kept() as u64);
    Ok((names, shards, input))
}

/// Measures all samples and reads all tables, and writes a depth file for each sample.
fn measure(
    inputs: &Inputs,
    config: &IngestConfig,
    output: &Output,
    names: &Names,
    contigs: &Arc<Contigs>,
    progress: &dyn Progress,
) -> Result<Vec<(Sample, OtherFile)>, Error> {
    progress.message("depth");
    let write = |number: usize, depth: &SampleDepth, input: Input, warnings| -> Result<_, Error> {
        let file = depth_file(number);
        output.announce([file.clone()])?;
        let shard = depth.write(output.directory(), &file)?;
        let is_covered = depth.mean.iter().any(|&mean| mean > 0.0);
        let sample = Sample { name: depth.name.clone(), input, is_covered, warnings };
        output.push(&Checkpoint { shard: shard.clone(), sample: Some(sample.clone()) })?;
        Ok((sample, shard.into()))
    };
    let num_threads = (rayon::current_num_threads() / inputs.alignments.len().max(1)).max(1);
    let against = Against { names, contigs, config: &config.depth, num_threads };
    let of_file = |(number, path): (usize, &std::path::PathBuf)| {
        let file = depth_file(number);
        let before = output.checkpoints().iter().find(|piece| piece.shard.file == file);
        if let Some((sample, shard)) = before.and_then(|piece| Some((piece.sample.clone()?, piece.shard.clone()))) {
            progress.advance(sample.input.size_bytes);
            return Ok((sample, shard.into()));
        }
        let measured = depth::measure(path, &against, progress)?;
        write(number, &measured.depth, measured.input, measured.warnings)
    };
    memory::check_depth(names, names.longest_bp(), &inputs.alignments, rayon::current_num_threads())?;
    let found: Vec<Result<_, Error>> = inputs.alignments.par_iter().enumerate().map(of_file).collect();
    let mut measured = found.into_iter().collect::<Result<Vec<_>, _>>()?;
    for path in &inputs.tables {
        let mut lines = Lines::open(path)?;
        let table = depth::parse(&mut lines, names)?;
        let input = lines.finish()?;
        progress.advance(input.size_bytes);
        for depth in table {
            measured.push(write(measured.len(), &depth, input.clone(), vec![])?);
        }
    }
    let samples: Vec<&Sample> = measured.iter().map(|(sample, _)| sample).collect();
    for (at, sample) in samples.iter().enumerate() {
        if let Some(first) = samples[..at].iter().find(|first| first.name == sample.name) {
            let place = Place::file(&sample.input.path).named(&sample.name);
            let expected = format!("one, as in {}", first.input.path);
            return Err(Error::bad(place, "sample of this name", expected, "a second one"));
        }
        // Columns are called `depth_SAMPLE` and `depth_variance_SAMPLE`.
        if let Some(other) = samples.iter().find(|other| format!("variance_{}", other.name) == sample.name) {
            let place = Place::file(&sample.input.path).named(&sample.name);
            let expected = format!("one that is not the variance of {:?}, of {}", other.name, other.input.path);
            return Err(Error::bad(place, "name of the sample", expected, format!("{:?}", sample.name)));
        }
    }
    if names.num_kept() > 0 && !samples.is_empty() && samples.iter().all(|sample| !sample.is_covered) {
        let expected = format!("above 0 for one of the {} contigs at least", names.num_kept());
        return Err(Error::bad(Place::file(&samples[0].input.path), "depth", expected, "0 everywhere, in all samples"));
    }
    Ok(measured)
}

/// Writes the graph, and says in the manifest how many contigs it has. Returns the files.
fn read_graph(
    path: &Path,
    inputs: &Inputs,
    output: &Output,
    names: &Names,
    contigs: &Contigs,
    manifest: &mut Manifest,
    warnings: &mut Vec<String>,
) -> Result<Vec<Input>, Error> {
    let mut lines = Lines::open(path)?;
    let graph = graph::parse(&mut lines)?;
    let mut read = vec![lines.finish()?];
    let mut told = vec![];
    if let Some(paths) = &inputs.paths {
        let mut lines = Lines::open(paths)?;
        told = graph::parse_paths(&mut lines, &graph.numbers())?;
        read.push(lines.finish()?);
    }
    let matched = graph::match_contigs(&graph, &told, names, contigs, path)?;
    output.announce([GRAPH_FILE.to_owned()])?;
    manifest.files.push(GraphFile::write(&graph, &matched, output.directory(), GRAPH_FILE)?.into());
    let [by_path, by_name, by_sequence] = matched.found;
    let counts = [
        ("segments", graph.segments.len()),
        ("links", graph.links.len()),
        ("in_graph_by_path", by_path),
        ("in_graph_by_name", by_name),
        ("in_graph_by_sequence", by_sequence),
        ("not_in_graph", matched.contigs_left.len()),
    ];
    manifest.counts.extend(counts.map(|(name, count)| (name.to_owned(), count as u64)));
    let left = |what: &str, of: usize, names: &[String]| {
        let path = path.display();
        format!("{path}: {} of {of} {what}: {}", names.len(), listed(names))
    };
    if !matched.contigs_left.is_empty() {
        warnings.push(left("contigs are not in the graph", contigs.len(), &matched.contigs_left));
        if !matched.others_left.is_empty() {
            let what = "segments and paths are of no contig that was kept";
            warnings.push(left(what, graph.segments.len(), &matched.others_left));
        }
    }
    Ok(read)
}

/// Writes the markers, and says in the manifest how many there are. Returns the file.
fn read_markers(path: &Path, output: &Output, names: &Names, manifest: &mut Manifest) -> Result<Input, Error> {
    let mut lines = Lines::open(path)?;
    let markers = markers::parse(&mut lines, names)?;
    let read = lines.finish()?;
    output.announce([MARKER_FILE.to_owned()])?;
    manifest.files.push(MarkerFile::write(&markers, &output.directory().join(MARKER_FILE))?.into());
    let distinct: BTreeSet<&String> = markers.iter().flatten().collect();
    manifest.counts.insert("markers".into(), distinct.len() as u64);
    let with = markers.iter().filter(|of| !of.is_empty()).count();
    manifest.counts.insert("with_markers".into(), with as u64);
    Ok(read)
}

#[cfg(test)]
mod tests;
