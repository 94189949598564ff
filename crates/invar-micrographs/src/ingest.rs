//! From image files to a dataset directory.
//!
//! ```text
//! inputs   files, directories, patterns, sample sheet  ->  pages, each with a name, a mask, columns
//! page     bands of rows -> pixels of the shard (on the disk) -> banner, levels, grains, label map -> shard whole
//! output   journal of finished pages -> manifest, last
//! ```
//! Each page is a separate shard, so its bytes depend on nothing else. Pages are processed in parallel, those of more
//! than 32 million pixels one after the other (and segmented in parallel inside). Reading needs the memory of a band,
//! levels that of a table of counts, tiles and whole images no more; masks and segmentation hold the label map (4 bytes
//! per pixel) plus what [`Segmentation`](crate::Segmentation) documents.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use invar_dataset::{
    DatasetError, Progress,
    ingest::{State, complete},
    manifest::{Input, Manifest, OtherFile, SCHEMA_VERSION},
};
use rayon::prelude::*;

use self::{
    inputs::{ImageInput, Resolved},
    output::{Checkpoint, Output},
    page::Task,
};
use crate::{DatasetFacts, Error, ImageFacts, IngestConfig, Inputs, facts::DOMAIN, read};

mod classes;
mod inputs;
mod mask;
mod notes;
mod output;
mod page;
mod warnings;

#[cfg(feature = "fuzzing")]
pub(crate) use self::{inputs::fuzz_sheet, mask::fuzz_mask};

/// The grain table, which the command line writes next to the shards.
pub const GRAINS_TABLE: &str = "grains.parquet";
/// The table of touching grains, likewise.
pub const NEIGHBORS_TABLE: &str = "neighbors.parquet";
/// The table of images, likewise.
pub const IMAGES_TABLE: &str = "images.parquet";
const TABLES: [&str; 3] = [GRAINS_TABLE, NEIGHBORS_TABLE, IMAGES_TABLE];
/// The directory, inside a dataset directory, for pictures of the segmentation: `NAME.png`. The manifest lists those to
/// be drawn, and the command line draws them.
pub const SEGMENTED: &str = "segmented";

/// The directory for label maps, inside a dataset directory.
const LABELS: &str = "labels";
/// Pixels per band.
const BAND_PX: u64 = 1 << 22;
/// Images with more pixels are processed one after the other.
const LARGE_PX: u64 = 1 << 25;

/// The result of an ingest.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The manifest of the dataset.
    pub manifest: Manifest,
    /// Its facts.
    pub facts: DatasetFacts,
    /// Whether the dataset already existed, from the same inputs and parameters; nothing was written.
    pub already_done: bool,
    /// Number of images finished by an interrupted ingest and kept.
    pub resumed_images: usize,
}

/// Reads all images and writes the dataset directory `out`.
///
/// Runs on the current rayon pool; the result does not depend on the number of threads. If `out` holds the same
/// dataset, nothing is done; if it holds an unfinished ingest of the same inputs and parameters, its images are kept.
///
/// # Errors
/// The first problem in the order of the inputs ([`Error::is_bad_input`]; `out` is then as if nothing had been
/// written), an output that holds something else, or a system error.
pub fn ingest(inputs: &Inputs, out: &Path, config: &IngestConfig, progress: &dyn Progress) -> Result<Summary, Error> {
    ingest_with(inputs, out, config, progress, |_| Ok(()))
}

/// The same, with the files that `write_tables` writes next to the shards: [`GRAINS_TABLE`], [`NEIGHBORS_TABLE`],
/// [`IMAGES_TABLE`] and the pictures under [`SEGMENTED`] that the manifest lists, before the dataset replaces an old
/// one. Also called if the dataset already existed.
///
/// # Errors
/// As [`ingest`], and those of `write_tables`.
pub fn ingest_with<E: From<Error> + From<DatasetError>>(
    inputs: &Inputs,
    out: &Path,
    config: &IngestConfig,
    progress: &dyn Progress,
    write_tables: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Summary, E> {
    config.validate()?;
    let resolved = inputs::resolve(inputs, config, out)?;
    let key = output::key(inputs, &resolved.sources, config)?;
    let output = match Output::prepare(out, key, config.force).map_err(Error::from)? {
        State::Done(mut manifest) => {
            complete(out, &mut manifest, write_tables)?;
            let facts = DatasetFacts::of(out, &manifest).map_err(Error::from)?;
            return Ok(Summary { manifest: *manifest, facts, already_done: true, resumed_images: 0 });
        }
        State::Open(output) => *output,
    };
    let resumed_images = output.checkpoints().len();
    match run(&resolved, inputs, &output, config, progress) {
        Ok((manifest, facts)) => {
            let mut written = output.write(manifest).map_err(Error::from)?;
            if let Err(error) = written.complete(write_tables) {
                written.give_up(true);
                return Err(error);
            }
            let manifest = written.publish().map_err(Error::from)?;
            Ok(Summary { manifest, facts, already_done: false, resumed_images })
        }
        Err(error) => {
            output.give_up(matches!(error, Error::Io { .. } | Error::Interrupted { .. }));
            Err(error.into())
        }
    }
}

fn run(
    Resolved { sources, notes }: &Resolved,
    inputs: &Inputs,
    output: &Output,
    config: &IngestConfig,
    progress: &dyn Progress,
) -> Result<(Manifest, DatasetFacts), Error> {
    progress.message("looking at the files");
    let (tasks, mut skipped) = tasks(sources, config)?;
    tasks.iter().try_for_each(|task| task.check_size(config))?;
    let files = |task: &Task<'_>| [output::shard_file(task.number), output::labels_file(&task.name)];
    let possible = tasks.iter().map(|task| output::picture_file(&task.name));
    output.announce(tasks.iter().flat_map(files).chain(TABLES.map(String::from)).chain(possible))?;
    progress.set_total(tasks.iter().map(Task::num_pixels).sum());
    let mut done: BTreeMap<usize, Checkpoint> = output.checkpoints().iter().map(|c| (c.number, c.clone())).collect();
    for task in tasks.iter().filter(|task| done.contains_key(&task.number)) {
        progress.advance(task.num_pixels());
    }
    let open: Vec<&Task<'_>> = tasks.iter().filter(|task| !done.contains_key(&task.number)).collect();
    let failures = Failures::default();
    let ingest_file = |task: &&Task<'_>| -> Option<Checkpoint> {
        if failures.is_after_first(task.number) {
            return None;
        }
        if progress.is_cancelled() {
            failures.add(task.number, Error::Interrupted { path: output.target().into() });
            return None;
        }
        progress.message(&task.name);
        let taken = page::ingest_page(task, output, config, progress);
        let taken = taken.or_else(|error| leave_out(task, error, config));
        let pushed = taken.and_then(|checkpoint| {
            output.push(&checkpoint)?;
            Ok(checkpoint)
        });
        progress.advance(task.num_pixels());
        pushed.map_err(|error| failures.add(task.number, error)).ok()
    };
    // Most first: any number, then as many as fit into the memory, then one by one.
    let (threads, memory) = (rayon::current_num_threads(), invar_dataset::host_memory());
    let mut waves = BTreeMap::<Reverse<usize>, Vec<&Task<'_>>>::new();
    for task in open {
        let number = task.side_by_side(config, threads, memory).unwrap_or(usize::MAX);
        waves.entry(Reverse(number)).or_default().push(task);
    }
    let mut taken: Vec<Checkpoint> = vec![];
    for (Reverse(number), tasks) in &waves {
        for some in tasks.chunks(*number) {
            taken.par_extend(some.par_iter().with_max_len(1).filter_map(ingest_file));
        }
    }
    failures.first()?;
    done.extend(taken.into_iter().map(|checkpoint| (checkpoint.number, checkpoint)));

    skipped.extend(done.values().filter_map(|checkpoint| checkpoint.skipped.clone()));
    let inputs = all_inputs(sources, inputs, &tasks, &done)?;
    let warnings = notes.iter().cloned().chain(warnings::of_copies(sources, &inputs));
    let facts = facts(&done, &tasks, warnings.collect());
    let manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        domain: DOMAIN.into(),
        parameters: output.key().parameters.clone(),
        inputs,
        files: done
            .values()
            .filter_map(|checkpoint| checkpoint.labels.clone())
            .chain(TABLES.map(String::from).into_iter().chain(pictures(&done, config)).map(OtherFile::to_be_written))
            .collect(),
        shards: done.values().filter_map(|checkpoint| checkpoint.shard.clone()).collect(),
        counts: counts(&done, skipped.len()),
        facts: facts.to_manifest(),
        skipped,
    };
    Ok((manifest, facts))
}

/// The images for which there will be a picture: the first that were segmented here.
fn pictures(done: &BTreeMap<usize, Checkpoint>, config: &IngestConfig) -> Vec<String> {
    let segmented = done.values().filter(|checkpoint| checkpoint.labels.is_some());
    let facts = segmented.filter_map(|checkpoint| checkpoint.facts.as_ref()).filter(|facts| facts.mask.is_none());
    facts.take(config.segmented_pictures).map(|facts| output::picture_file(&facts.image)).collect()
}

/// Opens every file to see which pages it has. Also returns the files that were skipped on request.
fn tasks<'a>(sources: &'a [ImageInput], config: &IngestConfig) -> Result<(Vec<Task<'a>>, Vec<String>), Error> {
    let open = |source: &ImageInput| -> Result<_, Error> {
        let file = read::open(&source.path)?;
        Ok((file.pages().to_vec(), notes::OfFile::new(&file)))
    };
    let opened: Vec<_> = sources.par_iter().map(open).collect();
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    for (source, opened) in sources.iter().zip(opened) {
        match opened {
            Ok((pages, of_file)) => files.push((source, pages, of_file)),
            Err(error) if config.skip_bad_images && Error::is_bad_input(&error) => skipped.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let names = inputs::names(&files.iter().map(|(source, p, _)| (source.path.as_path(), p.len())).collect::<Vec<_>>());
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for ((source, pages, mut of_file), names) in files.into_iter().zip(names) {
        let num_pages = pages.len();
        for (page, (info, name)) in pages.into_iter().zip(names).enumerate() {
            let of_file = std::mem::take(&mut of_file);
            tasks.push(Task { number: tasks.len(), source, page, num_pages, name, info, of_file });
        }
    }
    Ok((tasks, skipped))
}

/// Skips a page that cannot be read, if the user asked for that.
fn leave_out(task: &Task<'_>, error: Error, config: &IngestConfig) -> Result<Checkpoint, Error> {
    if !(config.skip_bad_images && error.is_bad_input()) {
        return Err(error);
    }
    let inputs = if task.page == 0 { page::digests(task.source)? } else { Vec::new() };
    let skipped = Some(error.to_string());
    Ok(Checkpoint { number: task.number, shard: None, skipped, inputs, facts: None, labels: None })
}

/// The first error in the order of the pages, whichever happened first.
#[derive(Default)]
struct Failures {
    /// Its index plus one; 0 for none.
    first: AtomicUsize,
    error: Mutex<Option<(usize, Error)>>,
}

impl Failures {
    fn is_after_first(&self, number: usize) -> bool {
        let first = self.first.load(Ordering::Relaxed);
        first > 0 && number >= first
    }

    fn add(&self, number: usize, error: Error) {
        let mut kept = self.error.lock().expect("no thread panics here");
        if kept.as_ref().is_none_or(|(other, _)| number < *other) {
            self.first.store(number + 1, Ordering::Relaxed);
            *kept = Some((number, error));
        }
    }

    fn first(self) -> Result<(), Error> {
        let kept = self.error.into_inner().expect("no thread panicked");
        kept.map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// Images, masks, sheet: in the order of the journal's key.
fn all_inputs(
    sources: &[ImageInput],
    inputs: &Inputs,
    tasks: &[Task<'_>],
    done: &BTreeMap<usize, Checkpoint>,
) -> Result<Vec<Input>, Error> {
    let mut of_path: BTreeMap<&Path, Vec<Input>> = BTreeMap::new();
    for task in tasks {
        let Some(checkpoint) = done.get(&task.number) else { continue };
        let files = of_path.entry(&task.source.path).or_default();
        if task.page == 0 {
            files.clone_from(&checkpoint.inputs);
        }
        for (name, count) in page_counts(checkpoint) {
            if let Some(image) = files.first_mut() {
                *image.counts.entry(name.into()).or_insert(0) += count;
            }
        }
    }
    let (mut images, mut masks) = (Vec::new(), Vec::new());
    for source in sources {
        let mut files = match of_path.get(source.path.as_path()) {
            Some(files) => files.clone(),
            None => page::digests(source)?,
        };
        masks.extend(files.drain(1.min(files.len())..));
        images.extend(files);
    }
    let sheet = inputs.sheet.iter().map(|sheet| ImageInput { path: sheet.clone(), ..ImageInput::default() });
    let sheet = sheet.map(|sheet| page::digests(&sheet)).collect::<Result<Vec<_>, _>>()?;
    Ok(images.into_iter().chain(masks).chain(sheet.into_iter().flatten()).collect())
}

fn page_counts(checkpoint: &Checkpoint) -> Vec<(&'static str, u64)> {
    match &checkpoint.facts {
        None => vec![("bad_images", 1)],
        Some(facts) => vec![("images", 1), ("grains", facts.grains), ("border_grains", facts.border_grains)],
    }
}

fn counts(done: &BTreeMap<usize, Checkpoint>, num_skipped: usize) -> BTreeMap<String, u64> {
    let names = ["images", "grains", "border_grains", "images_without_grains", "images_without_pixel_size"];
    let mut counts: BTreeMap<String, u64> = names.into_iter().map(|name| (name.to_string(), 0)).collect();
    let mut add = |name: &str, count: u64| *counts.entry(name.into()).or_insert(0) += count;
    for checkpoint in done.values() {
        let Some(facts) = &checkpoint.facts else { continue };
        for (name, count) in page_counts(checkpoint) {
            add(name, count);
        }
        add("images_without_grains", u64::from(facts.grains == 0));
        add("images_without_pixel_size", u64::from(facts.pixel_size.is_none()));
    }
    if num_skipped > 0 {
        counts.insert("bad_images".into(), num_skipped as u64);
    }
    counts
}

fn facts(done: &BTreeMap<usize, Checkpoint>, tasks: &[Task<'_>], mut sentences: Vec<String>) -> DatasetFacts {
    let images: Vec<ImageFacts> = done.values().filter_map(|checkpoint| checkpoint.facts.clone()).collect();
    sentences.extend(warnings::of_images(&images, tasks));
    DatasetFacts { images, warnings: sentences }
}

#[cfg(test)]
mod tests;
