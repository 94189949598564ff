//! `tensorboard/`: the content of `metrics.jsonl`, for TensorBoard.
//!
//! The events file is a pure function of the lines of `metrics.jsonl`: it is rewritten from them when a run is opened,
//! and a line appended there is appended here. So a resumed run reads as if it had never stopped. Its name contains the
//! time it was rewritten: TensorBoard keeps files open, and would not notice a different file of the same name.
//!
//! ```text
//! file     = record*                                                             TFRecord
//! record   = length u64, mask(crc32c(length)), bytes, mask(crc32c(bytes))        little-endian
//! bytes    = protobuf Event { wall_time = 1, step = 2, file_version = 3, summary = 5 }
//! summary  = Summary { value = 1: Value { tag = 1, simple_value = 2, tensor = 8, metadata = 9 }* }
//! ```
//!
//! Sources: TensorFlow's `record_writer.h`; TensorBoard's `event.proto`, `summary.proto`, `tensor.proto`.

mod proto;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use invar_dataset::{RunDir, atomic, run_dir::EVENTS_PREFIX};
use proto::Message;
use serde_json::Value;

use crate::{Error, Timing};

/// The content of the first record.
const VERSION: &str = "brain.Event:2";

/// The events file of a run, open for appending.
pub(crate) struct EventsFile {
    path: PathBuf,
    file: File,
    encoder: Encoder,
}

impl EventsFile {
    /// Writes the file anew from the lines of `metrics.jsonl`, replacing any other.
    ///
    /// # Errors
    /// If writing fails.
    pub(crate) fn create(run: &RunDir, events: impl Iterator<Item = Value>) -> Result<Self, Error> {
        let directory = run.tensorboard();
        fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
        let path = directory.join(format!("{EVENTS_PREFIX}{}.invar", Timing::now() as u64));
        let mut encoder = Encoder::default();
        let records: Vec<u8> = events.flat_map(|event| encoder.encode(&event)).collect();
        atomic::write(&path, &records).map_err(Error::io(&path))?;
        remove_others(&directory, &path).map_err(Error::io(&directory))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file, encoder })
    }

    /// Appends a line of `metrics.jsonl`, in one write.
    ///
    /// # Errors
    /// If writing fails.
    pub(crate) fn append(&mut self, event: &Value) -> Result<(), Error> {
        let records = self.encoder.encode(event);
        self.file.write_all(&records).map_err(Error::io(&self.path))
    }
}

/// Removes our events files except `path`, including those that a kill left unfinished.
fn remove_others(directory: &Path, path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let other = entry?;
        if RunDir::is_events(&other.file_name().to_string_lossy()) && other.path() != path {
            fs::remove_file(other.path())?;
        }
    }
    Ok(())
}

/// Turns lines of `metrics.jsonl` into records.
#[derive(Default)]
struct Encoder {
    /// When the last step with a time was logged, in seconds since 1970: used for events without a time of their own.
    wall_time: f64,
    has_version: bool,
    /// The step of the last warning, and how many there were at that step.
    warned: (u64, u64),
}

impl Encoder {
    fn encode(&mut self, event: &Value) -> Vec<u8> {
        self.wall_time = event["timing"]["unix_s"].as_f64().unwrap_or(self.wall_time);
        let mut records = vec![];
        if !std::mem::replace(&mut self.has_version, true) {
            // It takes the first event's time, so that the file does not depend on when it was rewritten.
            record(&mut records, &Message::default().double(1, self.wall_time).bytes(3, VERSION.as_bytes()));
        }
        let step = event["step"].as_u64().unwrap_or_default();
        let summary = match event["event"].as_str() {
            Some("warning") => {
                // TensorBoard shows only one text per tag and step.
                self.warned = (step, if self.warned.0 == step { self.warned.1 + 1 } else { 1 });
                text(&format!("warnings/{}", self.warned.1), event["message"].as_str().unwrap_or_default())
            }
            Some("step") => scalars(event, "train"),
            Some(group) => scalars(event, group),
            None => Message::default(),
        };
        record(&mut records, &Message::default().double(1, self.wall_time).varint(2, step).bytes(5, summary.as_ref()));
        records
    }
}

/// Every number of the line, as `GROUP/NAME`. Those in its object `timing` form a group of their own; a number of the
/// line itself takes precedence over one of the same name in its object `metrics`. Non-finite values are left out.
fn scalars(event: &Value, group: &str) -> Message {
    let mut values = BTreeMap::new();
    for (name, value) in event.as_object().into_iter().flatten() {
        match value {
            Value::Number(value) if name != "step" => {
                let name = name.strip_prefix(group).map_or(name.as_str(), |name| name.trim_start_matches('_'));
                values.insert(format!("{group}/{name}"), value.as_f64());
            }
            Value::Object(inner) => {
                let group = if name == "timing" { "timing" } else { group };
                for (name, value) in inner.iter().filter(|(name, _)| *name != "unix_s") {
                    values.entry(format!("{group}/{name}")).or_insert(value.as_f64());
                }
            }
            _ => {}
        }
    }
    let values = values.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
    values.fold(Message::default(), |summary, (tag, value)| {
        summary.bytes(1, Message::default().bytes(1, tag.as_bytes()).float(2, value as f32).as_ref())
    })
}

/// A warning, as a summary of the plugin `text`: a tensor of one string, without dimensions.
fn text(tag: &str, message: &str) -> Message {
    const STRING: u64 = 7; // DataType.DT_STRING
    let tensor = Message::default().varint(1, STRING).bytes(2, &[]).bytes(8, message.as_bytes());
    let plugin = Message::default().bytes(1, b"text");
    let metadata = Message::default().bytes(1, plugin.as_ref());
    let value = Message::default().bytes(1, tag.as_bytes()).bytes(8, tensor.as_ref()).bytes(9, metadata.as_ref());
    Message::default().bytes(1, value.as_ref())
}

/// Appends a TFRecord.
fn record(records: &mut Vec<u8>, message: &Message) {
    let bytes = message.as_ref();
    let length = (bytes.len() as u64).to_le_bytes();
    records.extend(length);
    records.extend(masked_crc(&length).to_le_bytes());
    records.extend(bytes);
    records.extend(masked_crc(bytes).to_le_bytes());
}

/// CRC-32C, masked as in TensorFlow (`crc32c.h`): the CRC of bytes that contain their own CRC is of little use.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests;
