//! The dependency rules of ARCHITECTURE.md, read off `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each of our crates may depend on directly, among our crates and tch.
const ALLOWED: &[(&str, &[&str])] = &[
    ("invar-dataset", &[]),
    ("invar-bases", &["invar-dataset"]),
    ("invar-contigs", &["invar-bases", "invar-dataset"]),
    ("invar-flower", &["invar-dataset"]),
    ("invar-graphs", &["invar-dataset"]),
    ("invar-micrographs", &["invar-dataset"]),
    ("invar-reads", &["invar-bases", "invar-dataset"]),
    ("invar-torch", &["tch", "torch-sys"]),
    ("invar-nn", &["invar-dataset", "invar-torch", "tch", "torch-sys"]),
    ("invar-loss", &["invar-dataset", "invar-nn", "invar-torch", "tch", "torch-sys"]),
    ("invar-train", &["invar-cluster", "invar-dataset", "invar-loss", "invar-nn", "invar-torch", "tch", "torch-sys"]),
    ("invar-embeddings", &["invar-dataset"]),
    ("invar-cluster", &["invar-dataset"]),
    ("invar-federation", &["invar-dataset", "invar-embeddings"]),
    ("invar-report", &["invar-dataset"]),
    ("invar-store", &["invar-dataset"]),
    (
        "invar-cli",
        &[
            "invar-cluster",
            "invar-contigs",
            "invar-dataset",
            "invar-embeddings",
            "invar-federation",
            "invar-flower",
            "invar-graphs",
            "invar-micrographs",
            "invar-reads",
            "invar-report",
            "invar-store",
        ],
    ),
    ("invar-python", &["invar-cli", "invar-cluster", "invar-dataset", "invar-embeddings"]),
];

/// Crates that must never reach LibTorch, however indirectly.
const WITHOUT_TORCH: &[&str] = &[
    "invar-dataset",
    "invar-bases",
    "invar-contigs",
    "invar-reads",
    "invar-micrographs",
    "invar-graphs",
    "invar-embeddings",
    "invar-federation",
    "invar-cluster",
    "invar-report",
    "invar-store",
    "invar-flower",
    "invar-cli",
    "invar-python",
];

/// The library that talks to people; all others leave that to it.
const COMMAND_LINE: &str = "invar-cli";

/// The packages of `cargo metadata`, with every feature on.
fn packages() -> Vec<Value> {
    let arguments = ["metadata", "--format-version=1", "--locked", "--all-features"];
    let output = Command::new(env!("CARGO")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Those in the workspace: name and directory.
fn our_packages() -> Vec<(String, PathBuf)> {
    let ours = packages().into_iter().filter(|package| package["source"].is_null());
    let place = |package: &Value| Path::new(text(&package["manifest_path"])).parent().unwrap().to_path_buf();
    ours.map(|package| (text(&package["name"]).to_owned(), place(&package))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Names of the normal and build dependencies of each package.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let of_package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let names = dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| text(&dependency["name"]).to_owned())
            .collect();
        (text(&package["name"]).to_owned(), names)
    };
    packages().iter().map(of_package).collect()
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
    let edges = edges();
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
    let edges = edges();
    for name in WITHOUT_TORCH {
        for library in ["tch", "torch-sys"] {
            assert!(!reaches(&edges, name, library), "{name} reaches {library}");
        }
    }
    // The search finds a path where there is one.
    assert!(reaches(&edges, "invar-train", "torch-sys"));
}

#[test]
fn the_trainer_does_not_know_parquet() {
    assert!(!reaches(&edges(), "invar-train", "polars"));
}

#[test]
fn the_report_takes_plain_columns() {
    assert!(!reaches(&edges(), "invar-report", "polars"));
}

#[test]
fn anyhow_and_clap_stay_in_the_command_line() {
    let edges = edges();
    for (name, dependencies) in edges.iter().filter(|(name, _)| name.starts_with("invar-") && *name != COMMAND_LINE) {
        for library in ["anyhow", "clap", "indicatif"] {
            assert!(!dependencies.contains(library), "{name} must not depend on {library}");
        }
    }
}

/// What only the command line may do is refused by Clippy everywhere else; see the lints of the workspace.
#[test]
fn only_the_command_line_allows_itself_to_talk_and_exit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let workspace: toml::Table = workspace.parse().unwrap();
    for lint in ["exit", "print_stderr", "print_stdout", "undocumented_unsafe_blocks"] {
        assert_eq!(workspace["workspace"]["lints"]["clippy"][lint].as_str(), Some("warn"), "{lint}");
    }
    for (name, directory) in our_packages() {
        let manifest: toml::Table = fs::read_to_string(directory.join("Cargo.toml")).unwrap().parse().unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name}");
        if name == COMMAND_LINE || name == "invar" {
            continue;
        }
        for (path, text) in sources(&directory) {
            for lint in ["clippy::exit", "clippy::print_std", "clippy::undocumented_unsafe_blocks", "clippy::all"] {
                assert!(!text.contains(lint), "{} switches off {lint}", path.display());
            }
        }
    }
}

#[test]
fn the_trainer_names_no_domain() {
    let (_, trainer) = our_packages().into_iter().find(|(name, _)| name == "invar-train").unwrap();
    let mut num_lines = 0;
    for (path, text) in sources(&trainer) {
        // Tests at the end of a file, or in a separate one, may.
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

/// The source files of a package, without separate tests and benches.
fn sources(package: &Path) -> Vec<(PathBuf, String)> {
    rust_files(&package.join("src")).into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// Name, version and features of each package that is compiled.
fn compiled(arguments: &[&str]) -> BTreeSet<String> {
    let tree = ["tree", "--locked", "--offline", "--prefix=none", "--no-dedupe", "--format={p} {f}"];
    let output = Command::new(env!("CARGO")).args(tree).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter(|line| !line.contains("(/")).map(str::to_owned).collect()
}

/// Otherwise `make demo`, `make wheels` and `make test` would each compile polars.
#[test]
fn the_programs_the_module_and_the_tests_share_their_dependencies() {
    let tests = compiled(&["--workspace"]);
    for package in ["invar", "invar-python"] {
        let built = compiled(&[&format!("--package={package}"), "--edges=no-dev"]);
        assert!(built.iter().any(|line| line.starts_with("polars-core ")), "{built:?}");
        let other: Vec<&String> = built.difference(&tests).collect();
        assert!(other.is_empty(), "with other features in tests; name them in crates/{package}/Cargo.toml: {other:?}");
    }
}
