//! Collects decoded rows into shards, in order, and has them written by a separate thread.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    thread::{Scope, ScopedJoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use invar_dataset::manifest::{Input, Shard};

use super::{
    Unit,
    output::{self, Checkpoint, Output},
    reader::Message,
    warning::{self, UnitEnd},
};
use crate::{
    Error, IngestConfig,
    counts::Counts,
    decode::{Decoded, Evidence, MAX_LISTED},
    rows::{FLAG_ALIGNED, FLAG_MATE, Rows},
    shard::{self, References},
};

/// Size of names and descriptions in a shard, in bytes, at which it is closed.
const SHARD_TEXT_BYTES: usize = 64 << 20;

/// Number of runs of N in a shard at which it is closed.
const SHARD_RUNS: usize = 4 << 20;

/// What a finished dataset was made from.
pub(super) struct Finished {
    pub shards: Vec<Shard>,
    pub inputs: Vec<Input>,
    /// Bad records that were skipped.
    pub skipped: Vec<String>,
    /// What looked wrong with the inputs.
    pub warnings: Vec<String>,
}

/// Rows that make a shard.
struct ClosedShard {
    file: String,
    rows: Rows,
    references: References,
    finished_units: usize,
    rows_of_unit: u64,
    inputs: Vec<Input>,
    skipped: Vec<String>,
    warnings: Vec<String>,
}

pub(super) struct Assembler<'scope, 'env> {
    config: &'env IngestConfig,
    paths: &'env [PathBuf],
    units: &'env [Unit],
    rows: Rows,
    references: References,
    /// Names of the references of the current input, and their indices in `references`.
    dictionary: Arc<Vec<String>>,
    numbers: Vec<Option<u32>>,
    num_shards: usize,
    finished_units: usize,
    rows_of_unit: u64,
    /// Rows of the current unit that finished shards already contain.
    rows_to_skip: u64,
    counts: BTreeMap<u32, Counts>,
    /// Inputs of the finished units.
    inputs: Vec<Input>,
    skipped: Vec<String>,
    skipped_of_unit: Vec<String>,
    evidence_of_unit: Evidence,
    warnings: Vec<String>,
    bytes_resumed: u64,
    closed: Option<Sender<ClosedShard>>,
    /// Rows that were written, emptied for reuse of their memory.
    written: Receiver<Rows>,
    writer: Option<ScopedJoinHandle<'scope, Result<Vec<Shard>, Error>>>,
}

impl<'scope, 'env: 'scope> Assembler<'scope, 'env> {
    /// Resumes where `output` stands.
    pub fn start(
        scope: &'scope Scope<'scope, 'env>,
        output: &'env Output,
        config: &'env IngestConfig,
        paths: &'env [PathBuf],
        units: &'env [Unit],
    ) -> Self {
        let last = output.checkpoints().last().cloned();
        let num_shards = output.checkpoints().len();
        // Without buffer: at most one closed shard waits, besides the one being written and the one being filled.
        let (closed, receiver) = bounded(0);
        let (emptied, written) = bounded(1);
        let writer = scope.spawn(move || write_shards(output, &receiver, &emptied));
        let inputs = last.as_ref().map(|last| last.inputs.clone()).unwrap_or_default();
        Self {
            config,
            paths,
            units,
            rows: Rows::default(),
            references: References::default(),
            dictionary: Arc::default(),
            numbers: Vec::new(),
            num_shards,
            finished_units: last.as_ref().map_or(0, |last| last.finished_units),
            rows_of_unit: 0,
            rows_to_skip: last.as_ref().map_or(0, |last| last.rows_of_unit),
            counts: BTreeMap::new(),
            bytes_resumed: inputs.iter().map(|input| input.size_bytes).sum(),
            inputs,
            skipped: last.as_ref().map(|last| last.skipped.clone()).unwrap_or_default(),
            warnings: last.map(|last| last.warnings).unwrap_or_default(),
            skipped_of_unit: Vec::new(),
            evidence_of_unit: Evidence::default(),
            closed: Some(closed),
            written,
            writer: Some(writer),
        }
    }

    /// Stored bytes of the inputs finished by an earlier run.
    pub fn bytes_resumed(&self) -> u64 {
        self.bytes_resumed
    }

    /// Takes the next message in the order of the inputs.
    ///
    /// # Errors
    /// Errors of the feeding thread, a worker or the writing thread.
    pub fn take(&mut self, fed: Message) -> Result<(), Error> {
        match fed {
            Message::Records(decoded, _permit) => {
                let died = |_| Error::io(&self.paths[0])(std::io::Error::other("a decoding thread died"));
                let batch = decoded.recv().map_err(died)?;
                self.add(batch)
            }
            Message::References(names) => {
                self.dictionary = names;
                self.forget_numbers();
                Ok(())
            }
            Message::UnitEnd(end) => {
                self.end_unit(end);
                Ok(())
            }
            Message::Failed(error) => Err(error),
            Message::End => Ok(()),
        }
    }

    /// Closes the last shard and waits until all are on disk.
    ///
    /// # Errors
    /// Errors of the writing thread.
    pub fn finish(mut self) -> Result<Finished, Error> {
        if self.rows.len() > 0 {
            self.close_shard()?;
        }
        let shards = self.join_writer()?;
        Ok(Finished { shards, inputs: self.inputs, skipped: self.skipped, warnings: self.warnings })
    }

    fn add(&mut self, batch: Decoded) -> Result<(), Error> {
        for (input, counts) in &batch.counts {
            self.counts.entry(*input).or_default().add(counts);
        }
        self.evidence_of_unit.add(&batch.evidence);
        let room = MAX_LISTED.saturating_sub(self.skipped.len() + self.skipped_of_unit.len());
        self.skipped_of_unit.extend(batch.skipped.into_iter().take(room));
        let num_rows = batch.rows.len();
        let mut start = (self.rows_to_skip.min(num_rows as u64)) as usize;
        self.rows_to_skip -= start as u64;
        self.rows_of_unit += start as u64;
        while start < num_rows {
            let (end, is_full) = self.fitting(&batch.rows, start);
            self.append(&batch.rows, start, end);
            self.rows_of_unit += (end - start) as u64;
            start = end;
            if is_full {
                self.close_shard()?;
            }
        }
        batch.error.map_or(Ok(()), Err)
    }

    /// The rows from `start` on that fit into the current shard, and whether they fill it. Mates stay together.
    fn fitting(&self, rows: &Rows, start: usize) -> (usize, bool) {
        let mut num_bp = self.rows.total_bp;
        let text_before = |row: usize| {
            if row == 0 { 0 } else { rows.name_ends[row - 1] as usize + rows.description_ends[row - 1] as usize }
        };
        let runs_before = |row: usize| if row == 0 { 0 } else { rows.n_run_ends[row - 1] as usize };
        let text = self.rows.names.len() + self.rows.descriptions.len();
        for row in start..rows.len() {
            num_bp += u64::from(rows.lengths_bp[row]);
            let num_rows = self.rows.len() + row + 1 - start;
            let is_full = num_bp >= self.config.shard_bp
                || num_rows >= self.config.shard_rows as usize
                || text + text_before(row + 1) - text_before(start) >= SHARD_TEXT_BYTES
                || self.rows.n_runs.len() + runs_before(row + 1) - runs_before(start) >= SHARD_RUNS;
            if is_full && rows.flags[row] & FLAG_MATE != 1 {
                return (row + 1, true);
            }
        }
        (rows.len(), false)
    }

    fn append(&mut self, rows: &Rows, start: usize, end: usize) {
        let first = self.rows.len();
        self.rows.append(rows, start..end);
        for row in first..self.rows.len() {
            if self.rows.flags[row] & FLAG_ALIGNED != 0 {
                let reference = self.rows.references[row] as usize;
                let number = &mut self.numbers[reference];
                self.rows.references[row] =
                    *number.get_or_insert_with(|| self.references.number(&self.dictionary[reference]));
            }
        }
    }

    fn close_shard(&mut self) -> Result<(), Error> {
        let shard = ClosedShard {
            file: output::shard_file(self.num_shards),
            rows: std::mem::replace(&mut self.rows, self.written.try_recv().unwrap_or_default()),
            references: std::mem::take(&mut self.references),
            finished_units: self.finished_units,
            rows_of_unit: self.rows_of_unit,
            inputs: self.inputs.clone(),
            skipped: self.skipped.clone(),
            warnings: self.warnings.clone(),
        };
        self.num_shards += 1;
        self.forget_numbers();
        match &self.closed {
            Some(closed) if closed.send(shard).is_ok() => Ok(()),
            // The writer ends early only with an error.
            _ => self.join_writer().map(|_| ()),
        }
    }

    fn forget_numbers(&mut self) {
        self.numbers.clear();
        self.numbers.resize(self.dictionary.len(), None);
    }

    fn end_unit(&mut self, end: UnitEnd) {
        let numbers = self.units[self.finished_units].inputs();
        let paths: Vec<_> = numbers.iter().map(|&number| self.paths[number as usize].as_path()).collect();
        let evidence = std::mem::take(&mut self.evidence_of_unit);
        self.warnings.extend(end.warnings);
        self.warnings.extend(warning::of_evidence(&paths, &evidence, end.encoding, self.config.quality_encoding));
        for (number, digest) in numbers.into_iter().zip(end.digests) {
            let input = Input::new(&self.paths[number as usize], digest.size_bytes, digest.sha256);
            self.inputs.push(Input { counts: self.counts.remove(&number).unwrap_or_default().to_map(), ..input });
        }
        self.skipped.append(&mut self.skipped_of_unit);
        self.finished_units += 1;
        self.rows_of_unit = 0;
        self.rows_to_skip = 0;
    }

    fn join_writer(&mut self) -> Result<Vec<Shard>, Error> {
        drop(self.closed.take());
        match self.writer.take().map(ScopedJoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(Vec::new()),
        }
    }
}

fn write_shards(output: &Output, closed: &Receiver<ClosedShard>, emptied: &Sender<Rows>) -> Result<Vec<Shard>, Error> {
    let mut shards: Vec<Shard> = output.checkpoints().iter().map(|checkpoint| checkpoint.shard.clone()).collect();
    for mut closed in closed {
        output.announce([closed.file.clone()])?;
        let shard = shard::write(output.directory(), &closed.file, &closed.rows, &closed.references)?;
        output.push(&Checkpoint {
            shard: shard.clone(),
            finished_units: closed.finished_units,
            rows_of_unit: closed.rows_of_unit,
            inputs: closed.inputs,
            skipped: closed.skipped,
            warnings: closed.warnings,
        })?;
        shards.push(shard);
        closed.rows.truncate(0);
        let _ = emptied.try_send(closed.rows);
    }
    Ok(shards)
}
