//! The dependency rules of ARCHITECTURE.md, read off `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package};

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

/// What only the command line may do, Clippy refuses everywhere else; see the lints of the workspace.
#[test]
fn only_the_command_line_allows_itself_to_talk_and_exit() {
    let metadata = metadata();
    let workspace = std::fs::read_to_string(metadata.workspace_root.join("Cargo.toml")).unwrap();
    let workspace: toml::Table = workspace.parse().unwrap();
    for lint in ["exit", "print_stderr", "print_stdout", "undocumented_unsafe_blocks"] {
        assert_eq!(workspace["workspace"]["lints"]["clippy"][lint].as_str(), Some("warn"), "{lint}");
    }
    for package in metadata.workspace_packages() {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest_path).unwrap().parse().unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{}", package.name);
        if package.name.as_str() == COMMAND_LINE || package.name.as_str() == "invar" {
            continue;
        }
        for (path, text) in sources(package) {
            for lint in ["clippy::exit", "clippy::print_std", "clippy::undocumented_unsafe_blocks", "clippy::all"] {
                assert!(!text.contains(lint), "{} switches off {lint}", path.display());
            }
        }
    }
}

#[test]
fn the_trainer_names_no_domain() {
    let metadata = metadata();
    let trainer = metadata.workspace_packages().into_iter().find(|p| p.name.as_str() == "invar-train").unwrap();
    let mut num_lines = 0;
    for (path, text) in sources(trainer) {
        // Tests at the end of a file, or in one of their own, may.
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !is_test && !line.trim_start().starts_with("//")) {
            num_lines += 1;
            for word in ["kmer", "Kmer", "strand", "nucleotide", "micrograph", "InfoNce", "Transformer"] {
                assert!(!line.contains(word), "{} knows a domain: {line}", path.display());
            }
        }
    }
    assert!(num_lines > 2_000, "{num_lines} lines were looked at");
}

/// The source files of a package, without tests and benches of their own.
fn sources(package: &Package) -> Vec<(std::path::PathBuf, String)> {
    let files = rust_files(package.manifest_path.parent().unwrap().join("src").as_std_path());
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn rust_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}
