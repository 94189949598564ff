//! Reads the records that a dataset was made from again: shards only keep bases and the mean of the qualities, but an
//! assembler wants what the sequencer wrote.

use std::path::{Path, PathBuf};

use crossbeam_channel::RecvTimeoutError;
use invar_dataset::{
    DatasetError, Progress,
    ingest::InputIdentity,
    manifest::{Change, Input, Manifest},
    path,
};
use serde_json::Value;
use std::sync::atomic::Ordering;

use super::{Reading, SHEET_COLUMNS, TICK, reader::Message, units::units};
use crate::{Error, IngestConfig, Inputs, Pairing, ReadDataset, Reads};

/// Passes the record of every read of `directory` to `each`, in the order of the dataset: the index of the read in the
/// directory, and the record as text, FASTQ in four lines or FASTA (BAM and CRAM as the sequencer read them, FASTA
/// without qualities). Name, description, letters and qualities are unchanged; what follows the plus of FASTQ is left
/// out.
///
/// The inputs are those that the manifest names, relative to the current directory; they must be the same files, byte
/// for byte. `scratch` is a directory for unnamed files.
///
/// # Errors
/// If an input is missing, has changed or came through a pipe, or does not give the reads that are in the dataset;
/// whatever `each` returns; if the user cancels.
pub fn originals(
    directory: &Path,
    scratch: &Path,
    progress: &dyn Progress,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let dataset = ReadDataset::open(&[directory.to_path_buf()])?;
    let manifest = Manifest::read(directory)?;
    let Made { config, inputs, read } = made_from(directory, &manifest)?;
    for (input, path) in manifest.inputs.iter().zip(inputs.files.iter().chain(&inputs.reference)) {
        check_unchanged(input, path, directory)?;
    }
    progress.set_total(read.iter().map(|input| input.size_bytes).sum());
    let (fed, bytes_read) =
        Reading { inputs: &inputs, config: &config, scratch, keeps_originals: true }.start(units(&inputs)?)?;
    let (mut next, mut told, mut digests) = (0, 0, vec![]);
    loop {
        match fed.recv_timeout(TICK) {
            Ok(Message::Records(decoded, _permit)) => {
                let died = |_| Error::io(directory)(std::io::Error::other("a decoding thread died"));
                let batch = decoded.recv().map_err(died)?;
                for row in 0..batch.rows.len() {
                    check_row(&dataset, next, &batch.rows, row, directory)?;
                    each(next, batch.originals.get(row))?;
                    next += 1;
                }
                if let Some(error) = batch.error {
                    return Err(error);
                }
            }
            Ok(Message::References(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::UnitEnd(end)) => digests.extend(end.digests),
            Ok(Message::Failed(error)) => return Err(error),
            Ok(Message::End) => break,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::io(directory)(std::io::Error::other("the feeding thread died")));
            }
        }
        let now = bytes_read.load(Ordering::Relaxed);
        progress.advance(now.saturating_sub(told));
        told = told.max(now);
        if progress.is_cancelled() {
            return Err(Error::Interrupted { path: scratch.into() });
        }
    }
    // They may have changed while being read.
    for ((input, path), digest) in read.iter().zip(&inputs.files).zip(&digests) {
        if digest.sha256 != input.sha256 {
            return Err(changed(path, directory, "SHA-256", &input.sha256, &digest.sha256));
        }
    }
    if next != dataset.len() {
        return Err(corrupt(directory, "reads that its inputs give", dataset.len(), next));
    }
    Ok(())
}

/// What a dataset was made from, according to its manifest.
struct Made<'a> {
    config: IngestConfig,
    inputs: Inputs,
    /// The inputs that hold reads.
    read: &'a [Input],
}

fn made_from<'a>(directory: &Path, manifest: &'a Manifest) -> Result<Made<'a>, Error> {
    let mut parameters = manifest.parameters.clone();
    let mut take =
        |name: &str| parameters.as_object_mut().and_then(|fields| fields.remove(name)).unwrap_or(Value::Null);
    let (pairing, reference, _) = (take("pairing"), take("reference"), take(SHEET_COLUMNS));
    let bad = |error: serde_json::Error| corrupt(directory, "parameters of the ingest", "those of this version", error);
    let pairing: Pairing =
        if pairing.is_null() { Ok(Pairing::default()) } else { serde_json::from_value(pairing) }.map_err(bad)?;
    let config: IngestConfig = serde_json::from_value(parameters).map_err(bad)?;
    let reference: Option<PathBuf> = reference.as_str().map(path::parse);
    let num_files = manifest.inputs.len() - usize::from(reference.is_some()).min(manifest.inputs.len());
    let read = &manifest.inputs[..num_files];
    let files = read.iter().map(|input| path::parse(&input.path)).collect();
    Ok(Made { config, inputs: Inputs { files, pairing, reference, columns: vec![] }, read })
}

fn check_unchanged(input: &Input, path: &Path, directory: &Path) -> Result<(), Error> {
    let pipe = || {
        let expected = "a file, which can be read again";
        corrupt(directory, "input", expected, format!("{}, which came through a pipe", input.path))
    };
    if path == Path::new("-") || (input.identity.is_none() && input.size_bytes == 0) {
        return Err(pipe());
    }
    let now = match InputIdentity::of(path) {
        Ok(now) => now,
        Err(DatasetError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("input of {}", directory.display());
            return Err(corrupt(path, &what, "the file to be there still", "none"));
        }
        Err(error) => return Err(error.into()),
    };
    match input.change(&now)? {
        Change::None => Ok(()),
        Change::Pipe => Err(pipe()),
        Change::Size { then, now } => Err(changed(path, directory, "size in bytes", then, now)),
        Change::Bytes { then, now } => Err(changed(path, directory, "SHA-256", then, now)),
    }
}

/// Checks that the read is the one in the dataset.
fn check_row(
    dataset: &ReadDataset,
    index: usize,
    rows: &crate::rows::Rows,
    row: usize,
    directory: &Path,
) -> Result<(), Error> {
    if index >= dataset.len() {
        return Err(corrupt(directory, "reads that its inputs give", dataset.len(), "more"));
    }
    let start = if row == 0 { 0 } else { rows.name_ends[row - 1] as usize };
    let name = &rows.names[start..rows.name_ends[row] as usize];
    let (expected, found) =
        ((dataset.name(index)?, dataset.length_bp(index)), (String::from_utf8_lossy(name), rows.lengths_bp[row]));
    if expected.0 == found.0 && expected.1 == found.1 {
        return Ok(());
    }
    let told = |name: &str, length_bp: u32| format!("{name:?} of {length_bp} bases");
    let what = format!("read {index} that its inputs give");
    Err(corrupt(directory, &what, told(expected.0, expected.1), told(&found.0, found.1)))
}

fn changed(path: &Path, directory: &Path, what: &str, then: impl ToString, now: impl ToString) -> Error {
    corrupt(path, &format!("{what}, since {} was made from it", directory.display()), then, now)
}

fn corrupt(path: &Path, what: &str, expected: impl ToString, found: impl ToString) -> Error {
    let (what, expected, found) = (what.to_owned(), expected.to_string(), found.to_string());
    Error::Dataset(DatasetError::Corrupt { path: path.into(), what, expected, found })
}
