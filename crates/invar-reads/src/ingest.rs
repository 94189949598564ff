//! From files of reads to a dataset directory.
//!
//! ```text
//! source thread(s)      read, hash, gunzip         one an input
//! feeding thread        cut into records           records in the order of the input
//! workers               inflate BGZF, decode       in parallel, results taken in order
//! calling thread        collect rows into shards   a shard closes after a fixed number of bases or rows
//! writing thread        write, sync, journal
//! ```
//! Every queue is bounded, so memory does not grow with the input. Where a shard closes depends only on the rows, so
//! the bytes do not depend on the number of threads.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use invar_dataset::{
    Progress,
    ingest::State,
    manifest::{Manifest, SCHEMA_VERSION},
    object,
};

use crate::{
    Error, IngestConfig, Inputs, Pairing, counts::Counts, decode::Decoder, identify::identify, source::Workers,
};

use self::{
    assemble::{Assembler, Finished},
    output::Output,
    reader::{Message, Reader},
    units::{Unit, units},
};

mod assemble;
mod originals;
mod output;
mod reader;
mod units;
mod warning;

pub use originals::originals;

/// The result of an ingest.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The manifest of the dataset, with the counts.
    pub manifest: Manifest,
    /// Whether the dataset already existed, from the same inputs and parameters; nothing was written.
    pub already_done: bool,
    /// Number of shards finished by an interrupted ingest and kept.
    pub resumed_shards: usize,
}

/// The key in the manifest's facts for the warnings.
const WARNINGS: &str = "warnings";

impl Summary {
    /// What looked wrong with the inputs although they could be read, as text; also for a dataset that already existed.
    pub fn warnings(&self) -> Vec<&str> {
        let texts = self.manifest.facts.get(WARNINGS).and_then(|warnings| warnings.as_array());
        texts.into_iter().flatten().filter_map(|text| text.as_str()).collect()
    }
}

/// Name of the domain in the manifest.
pub const DOMAIN: &str = "reads";

/// The parameter for a sample sheet's metadata of each file of reads.
pub(crate) const SHEET_COLUMNS: &str = "columns";

/// Pieces of work queued between the feeding and the collecting thread.
const WORK_AHEAD: usize = 32;

/// How often cancellation is checked and progress reported.
const TICK: Duration = Duration::from_millis(100);

/// Reads all `inputs` and writes the dataset directory `out`.
///
/// Uses as many threads as the current rayon pool has; the result does not depend on them. If `out` holds the same
/// dataset, nothing is done; if it holds an unfinished ingest of the same inputs and parameters, its shards are kept.
/// Read names need not be unique.
///
/// # Errors
/// The first problem in the order of the inputs ([`Error::is_bad_input`]; `out` is then as if nothing had been
/// written), an output that holds something else, or a system error.
pub fn ingest(inputs: &Inputs, out: &Path, config: &IngestConfig, progress: &dyn Progress) -> Result<Summary, Error> {
    config.validate()?;
    let units = units(inputs)?;
    look_at(inputs)?;
    let key = output::key(inputs, config)?;
    let output = match Output::prepare(out, key, config.force)? {
        State::Done(manifest) => return Ok(Summary { manifest: *manifest, already_done: true, resumed_shards: 0 }),
        State::Open(output) => *output,
    };
    let resumed_shards = output.checkpoints().len();
    match run(inputs, units, config, &output, progress) {
        Ok(manifest) => {
            let manifest = output.write(manifest)?.publish()?;
            Ok(Summary { manifest, already_done: false, resumed_shards })
        }
        Err(error) => {
            output.give_up(matches!(error, Error::Io { .. } | Error::Interrupted { .. }));
            Err(error)
        }
    }
}

/// Opens every file once, so that a mistake in the last is reported before the first is read and anything is written.
fn look_at(inputs: &Inputs) -> Result<(), Error> {
    let all = || inputs.files.iter().chain(&inputs.reference);
    object::look_at_all(all().map(PathBuf::as_path));
    for path in all() {
        if object::is_url(path) {
            object::look(path).map_err(Error::io(path))?;
        } else if path.is_file() {
            std::fs::File::open(path).map_err(Error::io(path))?;
        }
    }
    if inputs.pairing == Pairing::Flags {
        return Ok(());
    }
    for path in inputs.files.iter().filter(|path| path.is_file()) {
        // Problems with its first bytes are reported when its turn comes.
        if identify(path).is_ok_and(|identity| identity.is_alignments()) {
            return Err(alignments_are_paired(path));
        }
    }
    Ok(())
}

/// The error for `--mates` and `--interleaved` with alignment records.
fn alignments_are_paired(path: &Path) -> Error {
    Error::Config {
        what: "mates or interleaved".into(),
        expected: "FASTQ or FASTA (BAM and CRAM records say themselves who their mate is)".into(),
        found: format!("BAM or CRAM: {}", path.display()),
    }
}

/// Inputs that are read from the beginning.
struct Reading<'a> {
    inputs: &'a Inputs,
    config: &'a IngestConfig,
    /// A directory for unnamed files.
    scratch: &'a Path,
    /// Whether the original records are passed on along with the rows.
    keeps_originals: bool,
}

impl Reading<'_> {
    /// Starts the threads that read, cut and decode. Their messages arrive in the order of the units; also returns the
    /// number of stored bytes read so far.
    fn start(&self, units: Vec<Unit>) -> Result<(Receiver<Message>, Arc<AtomicU64>), Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads())
            .thread_name(|number| format!("invar-decode-{number}"))
            .build()
            .map_err(|error| Error::io(self.scratch)(std::io::Error::other(error)))?;
        let bytes_read = Arc::new(AtomicU64::new(0));
        let workers = Workers { pool: Arc::new(pool), bytes_read: Arc::clone(&bytes_read), buffers: Arc::default() };
        let decoder = Decoder {
            config: Arc::new(self.config.clone()),
            paths: Arc::new(self.inputs.files.clone()),
            buffers: Arc::clone(&workers.buffers),
            keeps_originals: self.keeps_originals,
        };
        let (sender, fed) = bounded(WORK_AHEAD);
        let inputs = self.inputs.clone();
        let scratch = self.scratch.into();
        Reader { units, inputs, decoder, workers, scratch, reference: OnceCell::new() }.start(sender);
        Ok((fed, bytes_read))
    }
}

fn run(
    inputs: &Inputs,
    units: Vec<Unit>,
    config: &IngestConfig,
    output: &Output,
    progress: &dyn Progress,
) -> Result<Manifest, Error> {
    let files = output.key().inputs.iter().take(inputs.files.len());
    progress.set_total(files.filter_map(|input| Some(input.file.as_ref()?.size_bytes())).sum());

    let finished_units = output.checkpoints().last().map_or(0, |checkpoint| checkpoint.finished_units);
    let reading = Reading { inputs, config, scratch: output.directory(), keeps_originals: false };
    let (fed, bytes_read) = reading.start(units[finished_units..].to_vec())?;

    let Finished { shards, inputs: mut read, skipped, mut warnings } = std::thread::scope(|scope| {
        let mut assembler = Assembler::start(scope, output, config, &inputs.files, &units);
        let mut told = assembler.bytes_resumed();
        progress.advance(told);
        loop {
            match fed.recv_timeout(TICK) {
                Ok(Message::End) => return assembler.finish(),
                Ok(fed) => assembler.take(fed)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::io(output.target())(std::io::Error::other("the feeding thread died")));
                }
            }
            let read = assembler.bytes_resumed() + bytes_read.load(Ordering::Relaxed);
            progress.advance(read.saturating_sub(told));
            told = told.max(read);
            if progress.is_cancelled() {
                return Err(Error::Interrupted { path: output.target().into() });
            }
        }
    })?;
    let mut totals = BTreeMap::new();
    for (name, number) in read.iter().flat_map(|input| &input.counts) {
        *totals.entry(name.clone()).or_insert(0) += number;
    }
    for (name, number) in Counts::default().to_map() {
        totals.entry(name).or_insert(number);
    }
    warnings.extend(warning::of_copies(&read));
    let mut facts = BTreeMap::new();
    if !warnings.is_empty() {
        facts.insert(WARNINGS.to_owned(), warnings.into());
    }
    if let Some(reference) = &inputs.reference {
        read.push(output::reference(reference)?);
    }
    Ok(Manifest {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        domain: DOMAIN.into(),
        parameters: output.key().parameters.clone(),
        inputs: read,
        shards,
        files: Vec::new(),
        counts: totals,
        skipped,
        facts,
    })
}

#[cfg(test)]
mod tests;
