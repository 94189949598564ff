//! A bench to run commands on. (The only `mod.rs`: Cargo would take `support.rs` for a test.)
#![allow(dead_code)] // each test file uses a part

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary directory in which the `invar` under test is run.
pub struct Bench {
    dir: TempDir,
}

/// The overrides with which [`Bench::trained`] trained.
pub const TRAINED: &[&str] = &[
    "--set",
    "train.steps=4",
    "--set",
    "train.batch_size=16",
    "--set",
    "encoder.hidden=[32]",
    "--set",
    "encoder.dim=16",
    "--set",
    "source.view.ks=[4]",
];

impl Bench {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With a dataset `data` of 60 reads, a model `run` and embeddings `emb`.
    pub fn trained() -> Self {
        let bench = Self::new();
        bench.write("reads.fastq", fastq(3, 20, 2500));
        bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
        bench.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
        bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb"]);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// The command, not yet run, with an empty environment: the binary needs none.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_invar"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command
    }

    /// The output of a command, however it ends.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "invar {args:?}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must succeed.
    pub fn words(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "invar {args:?}\n{words}");
        words
    }

    /// Standard output of a command that must succeed and print JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Standard error of a command that must end with this code, and print nothing on standard output.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "invar {args:?}\n{error}");
        assert!(output.stdout.is_empty(), "invar {args:?}");
        error
    }
}

/// Reads of `genomes` random genomes of different composition, in FASTQ; read `i` is of genome `i % genomes`.
pub fn fastq(genomes: usize, reads_each: usize, length: usize) -> String {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random >> 11
    };
    let mut text = String::new();
    for i in 0..genomes * reads_each {
        // Genome g prefers one base, and one base after another.
        let genome = i % genomes;
        let mut last = 0;
        let sequence: String = (0..length)
            .map(|_| {
                let preferred = (last + genome) % 4;
                last = if next() % 3 == 0 { preferred } else { (next() % 4) as usize };
                char::from(b"ACGT"[last])
            })
            .collect();
        text += &format!("@r{i:04} genome is hidden\n{sequence}\n+\n{}\n", "5".repeat(length));
    }
    text
}

/// The genome of each read of [`fastq`].
pub fn truth(genomes: usize, reads_each: usize) -> String {
    let rows = (0..genomes * reads_each).map(|i| format!("r{i:04}\tgenome {}\n", i % genomes));
    format!("id\tgenome\n{}", rows.collect::<String>())
}

/// A recipe for a few steps of a small encoder.
pub fn recipe(encoder: &str, view: &str) -> String {
    let size = match view {
        "tokens" => "",
        _ => "hidden = [32]\n",
    };
    format!(
        "name = \"test\"\n[source]\ntype = \"reads\"\n[source.view]\ntype = \"{view}\"\n
        [[source.pairs.kinds]]\ntype = \"windows\"\nwindow_bp = [100, 150]\n
        [encoder]\n{encoder}\n{size}[train]\nsteps = 3\nbatch_size = 8\nwarmup_steps = 1\nlearning_rate = 1e-3\n"
    )
}

/// Every file below a directory by its path inside it, with its bytes.
pub fn tree_digest(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}
