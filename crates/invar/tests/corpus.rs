//! Every specimen of `test-data/reads/index.toml` through the command line: a valid one gives the reads that the index
//! says; an invalid one ends with exit code 3, a message that names the file and the record, and nothing left behind.
//! The kind of the error is asked of the library, which the command line only prints.

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use invar_dataset::NoProgress;
use invar_reads::{IngestConfig, Inputs, Pairing};
use serde::Deserialize;
use support::Bench;

#[derive(Deserialize)]
struct Index {
    valid: Vec<Specimen>,
    invalid: Vec<Specimen>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Specimen {
    file: String,
    #[allow(dead_code)]
    description: String,
    origin: String,
    licence: String,
    mates: Option<String>,
    pairing: Option<String>,
    reference: Option<String>,
    reads: Option<u64>,
    bases: Option<u64>,
    #[serde(default)]
    dropped: BTreeMap<String, u64>,
    error: Option<String>,
    record: Option<u64>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/reads").canonicalize().unwrap()
}

fn index() -> Index {
    toml::from_str(&std::fs::read_to_string(corpus().join("index.toml")).unwrap()).unwrap()
}

impl Specimen {
    fn path(name: &str) -> String {
        corpus().join(name).display().to_string()
    }

    fn arguments(&self) -> Vec<String> {
        let mut args: Vec<String> = ["ingest", "reads"].map(String::from).to_vec();
        args.push(Self::path(&self.file));
        if let Some(mates) = &self.mates {
            args.extend([Self::path(mates), "--mates".into()]);
        }
        if self.pairing.is_some() {
            args.push("--interleaved".into());
        }
        if let Some(reference) = &self.reference {
            args.extend(["--reference".into(), Self::path(reference)]);
        }
        args.extend(["--out", "data", "--json"].map(String::from));
        args
    }

    fn inputs(&self) -> Inputs {
        let files = std::iter::once(&self.file).chain(&self.mates).map(|name| corpus().join(name)).collect();
        let pairing = match (&self.mates, &self.pairing) {
            (Some(_), _) => Pairing::Files,
            (_, Some(_)) => Pairing::Interleaved,
            _ => Pairing::Flags,
        };
        Inputs { files, pairing, reference: self.reference.as_ref().map(|name| corpus().join(name)) }
    }
}

#[test]
fn valid_specimens_give_their_reads() {
    for specimen in index().valid {
        let bench = Bench::new();
        let args = specimen.arguments();
        let summary = bench.json(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let name = &specimen.file;
        assert_eq!(summary["num_rows"].as_u64(), specimen.reads, "{name}: reads");
        assert_eq!(summary["counts"]["kept_bp"].as_u64(), specimen.bases, "{name}: bases");
        for (reason, count) in &specimen.dropped {
            assert_eq!(summary["counts"][reason].as_u64(), Some(*count), "{name}: {reason}: {summary}");
        }
    }
}

#[test]
fn invalid_specimens_are_named_and_leave_nothing() {
    for specimen in index().invalid {
        let bench = Bench::new();
        let args = specimen.arguments();
        let message = bench.fails(3, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let name = &specimen.file;
        let file_names = std::iter::once(name).chain(&specimen.mates).map(|n| n.rsplit('/').next().unwrap());
        assert!(file_names.into_iter().any(|file| message.contains(file)), "{name}: {message}");
        if let Some(record) = specimen.record {
            assert!(message.contains(&format!("record {record}")), "{name}: {message}");
        }
        assert!(!message.contains("panicked"), "{name}: {message}");
        assert!(!bench.path("data").exists(), "{name} left something behind");

        let dir = tempfile::tempdir().unwrap();
        let error =
            invar_reads::ingest(&specimen.inputs(), &dir.path().join("data"), &IngestConfig::default(), &NoProgress)
                .expect_err(name);
        assert_eq!(Some(error.kind().name()), specimen.error.as_deref(), "{name}: {error}");
    }
}

#[test]
fn every_specimen_has_an_origin_and_a_licence() {
    let index = index();
    assert!(index.valid.len() > 30 && index.invalid.len() > 30);
    for specimen in index.valid.iter().chain(&index.invalid) {
        assert!(!specimen.origin.is_empty() && !specimen.licence.is_empty(), "{}", specimen.file);
        assert!(corpus().join(&specimen.file).is_file(), "{}", specimen.file);
    }
}
