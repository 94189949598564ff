//! One line of JSON per stage, for those who run many of them: time, memory, input and output, and how it ended.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use invar_dataset::{forget_peak_memory, manifest::Manifest, object, path, peak_memory, process_cpu_s};
use serde_json::{Value, json};

use crate::{
    cli::{Cli, Command, Ingest},
    ui::{Summary, joined},
};

/// Where the lines go.
pub struct StageLog {
    file: PathBuf,
    started: Started,
}

#[derive(Clone, Copy)]
struct Started {
    at: SystemTime,
    clock: Instant,
    cpu_s: Option<f64>,
}

/// What a stage reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Files and directories that it reads.
    pub inputs: Vec<PathBuf>,
    /// The file or directory that it makes.
    pub out: Option<PathBuf>,
}

impl StageLog {
    /// Appends measurements to `file` from now on.
    ///
    /// # Errors
    /// If it cannot be opened: better now than after an hour's work.
    pub fn open(file: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).open(file);
        opened.with_context(|| file.display().to_string())?;
        Ok(Self { file: file.into(), started: Started::now() })
    }

    /// Measures the next stage from here on, including its memory.
    pub fn begin(&mut self) {
        forget_peak_memory();
        self.started = Started::now();
    }

    /// Writes the line of a stage that has ended.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn end(&self, stage: &str, traffic: &Traffic, ended: Ended) -> Result<()> {
        let started = self.started;
        let mut line = json!({
            "stage": stage,
            "tool_version": env!("CARGO_PKG_VERSION"),
            "host": fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned()),
            "out": traffic.out.as_deref().map(path::text),
            "started_unix_s": started.at.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
            "elapsed_s": started.clock.elapsed().as_secs_f64(),
            "cpu_s": process_cpu_s().zip(started.cpu_s).map(|(now, then)| now - then),
            "peak_memory_bytes": peak_memory(),
            "bytes_in": traffic.bytes_in(),
        });
        match ended {
            Ended::Done(summary) => {
                let before = summary["done_before"] == true;
                line["status"] = if before { "done before" } else { "done" }.into();
                line["num_rows"] = summary["num_rows"].clone();
                let written = summary["size_bytes"].as_u64();
                line["bytes_out"] = written.or(traffic.out.as_deref().map(size_bytes)).into();
            }
            Ended::Failed { error, exit_code } => {
                line["status"] = "failed".into();
                line["error"] = joined(error, ": ").into();
                line["exit_code"] = exit_code.into();
            }
        }
        // One write for the whole line, so that stages ending at the same time do not mix theirs.
        let file = OpenOptions::new().append(true).create(true).open(&self.file);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.with_context(|| self.file.display().to_string())
    }
}

/// How a stage ended.
#[derive(Clone, Copy)]
pub enum Ended<'a> {
    /// With this summary, as `--json` prints it.
    Done(&'a Value),
    /// With an error.
    Failed {
        /// What went wrong.
        error: &'a anyhow::Error,
        /// Exit code of the command.
        exit_code: u8,
    },
}

impl<'a> From<&'a Summary> for Ended<'a> {
    fn from(summary: &'a Summary) -> Self {
        Self::Done(&summary.json)
    }
}

impl Started {
    fn now() -> Self {
        Self { at: SystemTime::now(), clock: Instant::now(), cpu_s: process_cpu_s() }
    }
}

impl Traffic {
    /// From `inputs` to `out`.
    pub fn new<'a>(inputs: impl IntoIterator<Item = &'a PathBuf>, out: &Path) -> Self {
        Self { inputs: inputs.into_iter().cloned().collect(), out: Some(out.into()) }
    }

    /// Sizes of what was read. For a dataset those of its inputs: a sheet or a pattern does not list the files.
    fn bytes_in(&self) -> u64 {
        let read = self.out.as_deref().and_then(|out| Manifest::read(out).ok());
        match read {
            Some(manifest) => manifest.inputs.iter().map(|input| input.size_bytes).sum(),
            None => self.inputs.iter().map(|path| size_bytes(path)).sum(),
        }
    }
}

/// Size of a file, of an object that was used, or of all files below a directory; 0 if it does not exist.
fn size_bytes(path: &Path) -> u64 {
    if object::is_url(path) {
        return object::known(path).map_or(0, |object| object.size_bytes);
    }
    let Ok(metadata) = fs::symlink_metadata(path).and_then(|_| fs::metadata(path)) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    below.map(|entry| size_bytes(&entry.path())).sum()
}

/// The name of the stage that a command line requests, and what it reads and writes.
pub fn of(cli: &Cli) -> (&'static str, Traffic) {
    let to = |inputs: &[&PathBuf], out: Option<&PathBuf>| Traffic {
        inputs: inputs.iter().map(|&input| input.clone()).collect(),
        out: out.cloned(),
    };
    match &cli.command {
        Command::Ingest(Ingest::Reads(args)) => ("ingest", Traffic::new(&args.inputs, &args.out)),
        Command::Ingest(Ingest::Micrographs(args)) => ("ingest", Traffic::new(&args.inputs, &args.out)),
        Command::Ingest(Ingest::Contigs(args)) => ("ingest", Traffic::new(&args.inputs(), &args.out)),
        Command::Ingest(Ingest::Graph(args)) => ("ingest", Traffic::new([&args.nodes, &args.edges], &args.out)),
        Command::Ingest(Ingest::GrainGraph(args)) => {
            ("ingest", Traffic::new([&args.data].into_iter().chain(&args.embeddings), &args.out))
        }
        Command::Edges(args) => ("edges", Traffic::new(args.data.iter().chain([&args.embeddings]), &args.out)),
        Command::Views(args) => ("views", Traffic { inputs: args.data.clone(), out: args.out.clone() }),
        Command::Train(args) => ("train", Traffic { inputs: args.data.clone(), out: args.out.clone() }),
        Command::Embed(args) => ("embed", Traffic::new(&args.data, &args.out)),
        Command::Finetune(args) => ("finetune", Traffic::new(&args.data, &args.out)),
        Command::Predict(args) => ("predict", Traffic::new(&args.data, &args.out)),
        Command::Federate(command) => {
            ("federate", Traffic { inputs: command.inputs(), out: command.out().map(Path::to_path_buf) })
        }
        Command::Cluster(args) => (
            "cluster",
            to(
                &[Some(&args.embeddings), args.assign.as_ref()].into_iter().flatten().collect::<Vec<_>>(),
                Some(&args.out),
            ),
        ),
        Command::Evaluate(args) => ("evaluate", to(&[&args.embeddings], None)),
        Command::Gallery(args) => ("gallery", Traffic::new(args.of.inputs(), &args.out)),
        Command::Paint(args) => ("paint", Traffic::new(args.of.inputs(), &args.out)),
        Command::Extract(args) => ("extract", Traffic::new(args.of.inputs(), &args.out)),
        Command::Bins(args) => ("bins", Traffic::new(args.of.inputs(), &args.out)),
        Command::Query(args) => ("query", to(&[], args.out.as_ref())),
        Command::Search(args) => ("search", to(&[&args.embeddings], None)),
        Command::Report(args) => ("report", to(&[&args.result], Some(&args.out))),
        Command::Run(args) => ("run", Traffic::new(&args.input, &args.out)),
        Command::Info(args) => ("info", to(&[&args.path], None)),
        Command::Completions(_) => ("completions", to(&[], None)),
        Command::Man(args) => ("man", to(&[], Some(&args.out))),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use invar_dataset::DatasetError;

    use super::*;

    #[test]
    fn sizes_are_those_of_all_files_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/x"), [0; 10]).unwrap();
        fs::write(dir.path().join("a/b/y"), [0; 5]).unwrap();
        assert_eq!(size_bytes(&dir.path().join("a")), 15);
        assert_eq!(size_bytes(&dir.path().join("a/x")), 10);
        assert_eq!(size_bytes(&dir.path().join("none")), 0);
    }

    #[test]
    fn a_line_a_stage_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let (path, out) = (dir.path().join("log.jsonl"), dir.path().join("out"));
        fs::write(&out, [0; 7]).unwrap();
        let mut log = StageLog::open(&path).unwrap();
        let traffic = Traffic::new([&out, &out], &out);
        log.end("embed", &traffic, Ended::Done(&json!({"num_rows": 3, "done_before": true}))).unwrap();
        log.begin();
        let error = anyhow::anyhow!("damaged").context("a.fastq");
        log.end("ingest", &traffic, Ended::Failed { error: &error, exit_code: 3 }).unwrap();
        // Its text has that of its cause.
        let error = DatasetError::io("b.fastq")(io::ErrorKind::StorageFull.into()).into();
        log.end("ingest", &traffic, Ended::Failed { error: &error, exit_code: 1 }).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["stage"], &lines[0]["status"]), (&"embed".into(), &"done before".into()));
        assert_eq!(
            (&lines[0]["num_rows"], &lines[0]["bytes_in"], &lines[0]["bytes_out"]),
            (&3.into(), &14.into(), &7.into())
        );
        assert_eq!((&lines[1]["status"], &lines[1]["error"]), (&"failed".into(), &"a.fastq: damaged".into()));
        assert_eq!((lines.len(), &lines[1]["exit_code"]), (3, &3.into()));
        assert_eq!(lines[2]["error"], "b.fastq: no storage space");
        assert!(lines.iter().all(|line| line["peak_memory_bytes"].as_u64().unwrap() > 1 << 20), "{text}");
    }
}
