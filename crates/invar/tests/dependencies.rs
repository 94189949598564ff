//! The dependency rules of ARCHITECTURE.md, read off `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand};

/// What each crate of ours may depend on directly, among ours and tch.
const ALLOWED: &[(&str, &[&str])] = &[
    ("invar-dataset", &[]),
    ("invar-micrographs", &["invar-dataset"]),
    ("invar-reads", &["invar-dataset"]),
    ("invar-torch", &["tch", "torch-sys"]),
    ("invar-nn", &["invar-dataset", "invar-torch", "tch", "torch-sys"]),
    ("invar-loss", &["invar-dataset", "invar-nn", "invar-torch", "tch", "torch-sys"]),
    ("invar-train", &["invar-cluster", "invar-dataset", "invar-loss", "invar-nn", "invar-torch", "tch", "torch-sys"]),
    ("invar-embeddings", &["invar-dataset"]),
    ("invar-cluster", &["invar-dataset"]),
    ("invar-cli", &["invar-cluster", "invar-dataset", "invar-embeddings", "invar-micrographs", "invar-reads"]),
];

/// Crates that must never reach LibTorch, however indirectly.
const WITHOUT_TORCH: &[&str] =
    &["invar-dataset", "invar-reads", "invar-micrographs", "invar-embeddings", "invar-cluster", "invar-cli"];

/// The library that talks to people; all others leave that to it.
const COMMAND_LINE: &str = "invar-cli";

fn metadata() -> Metadata {
    MetadataCommand::new().features(CargoOpt::AllFeatures).other_options(["--locked".to_owned()]).exec().unwrap()
}

/// Names of the normal and build dependencies of each package.
fn edges(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .packages
        .iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), names)
        })
        .collect()
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name.clone()) {
            open.extend(edges.get(&name).into_iter().flatten().cloned());
        }
    }
    false
}

#[test]
fn crates_depend_only_on_what_the_contract_allows() {
    let edges = edges(&metadata());
    for (name, dependencies) in edges.iter().filter(|(name, _)| name.starts_with("invar-")) {
        let allowed =
            ALLOWED.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name} is not in the contract")).1;
        for dependency in dependencies.iter().filter(|d| d.starts_with("invar") || *d == "tch" || *d == "torch-sys") {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn domains_and_analysis_never_reach_libtorch() {
    let edges = edges(&metadata());
    for name in WITHOUT_TORCH {
        for library in ["tch", "torch-sys"] {
            assert!(!reaches(&edges, name, library), "{name} reaches {library}");
        }
    }
    // The search can find a path where there is one.
    assert!(reaches(&edges, "invar-train", "torch-sys"));
}

#[test]
fn the_trainer_does_not_know_parquet() {
    assert!(!reaches(&edges(&metadata()), "invar-train", "polars"));
}

#[test]
fn anyhow_and_clap_stay_in_the_command_line() {
    let edges = edges(&metadata());
    for (name, dependencies) in edges.iter().filter(|(name, _)| name.starts_with("invar-") && *name != COMMAND_LINE) {
        for library in ["anyhow", "clap", "indicatif"] {
            assert!(!dependencies.contains(library), "{name} must not depend on {library}");
        }
    }
}

#[test]
fn libraries_do_not_print_and_the_trainer_names_no_domain() {
    let metadata = metadata();
    let is_library = |name: &str| name.starts_with("invar-") && name != COMMAND_LINE;
    for package in metadata.workspace_packages().iter().filter(|p| is_library(&p.name)) {
        for path in rust_files(package.manifest_path.parent().unwrap().join("src").as_std_path()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in lines {
                for word in ["println!", "eprintln!", "print!(", "process::exit"] {
                    assert!(!line.contains(word), "{} prints or exits: {line}", path.display());
                }
                if package.name.as_str() == "invar-train" {
                    for word in ["kmer", "Kmer", "strand", "nucleotide", "micrograph", "InfoNce", "Transformer"] {
                        assert!(!line.contains(word), "{} knows a domain: {line}", path.display());
                    }
                }
            }
        }
    }
}

fn rust_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}
