//! Other ways to install Invar: completions and manual pages, and the recipes of containers and packages, which name
//! versions that are set elsewhere.
#![cfg(feature = "torch")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use support::Bench;

const COMMANDS: [&str; 21] = [
    "federate",
    "finetune",
    "predict",
    "bins",
    "edges",
    "ingest",
    "views",
    "train",
    "embed",
    "cluster",
    "evaluate",
    "gallery",
    "paint",
    "extract",
    "query",
    "search",
    "report",
    "run",
    "info",
    "completions",
    "man",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What follows `before` in a text, up to `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in\n{text}"));
    rest.split_once(after).expect(after).0.trim()
}

/// The value of a build argument.
fn setting<'a>(text: &'a str, name: &str) -> &'a str {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("ARG "));
    lines.filter_map(|line| line.strip_prefix(name)).next().expect(name)
}

/// What bash completes after these words.
fn completed(bench: &Bench, words: &[&str]) -> BTreeSet<String> {
    let (last, previous) = (words.len(), words[words.len() - 2]);
    let script = format!(
        "source completions.bash; COMP_WORDS=(invar {}); COMP_CWORD={last}; _invar invar '{}' '{previous}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[words.len() - 1],
    );
    let output = Command::new("bash").args(["-c", &script]).current_dir(bench.path(".")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete_commands_and_options() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.ok(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        // For both programs, and for a command within a command.
        for option in ["label-column", "peer-timeout", "min-length"] {
            assert!(script.contains(option), "{shell}: {option}");
        }
        bench.write(&format!("completions.{shell}"), script);
    }
    assert_eq!(completed(&bench, &["ingest", "mic"]), BTreeSet::from(["micrographs".to_owned()]));
    assert_eq!(completed(&bench, &["embed", "--sh"]), BTreeSet::from(["--shard".to_owned()]));
    assert_eq!(
        completed(&bench, &["cluster", "--method", ""]),
        ["auto", "kmeans", "hdbscan", "leiden"].map(str::to_owned).into()
    );
    let error = bench.fails(2, &["completions", "tcsh"]);
    assert!(error.contains("'tcsh'") && error.contains("bash"), "{error}");
}

#[test]
fn every_command_has_a_manual_page_and_pages_of_others_are_left_alone() {
    let bench = Bench::new();
    bench.ok(&["man", "--out", "share/man1"]);
    let pages: BTreeSet<String> = fs::read_dir(bench.path("share/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: BTreeSet<String> = COMMANDS.iter().map(|command| format!("invar-{command}.1")).collect();
    expected.insert("invar.1".to_owned());
    let domains = ["reads", "contigs", "micrographs", "graph", "grain-graph"];
    expected.extend(domains.map(|domain| format!("invar-ingest-{domain}.1")));
    let of_sites = ["init", "step", "merge", "simulate", "client", "membership"];
    expected.extend(of_sites.map(|command| format!("invar-federate-{command}.1")));
    assert_eq!(pages, expected);

    bench.write("share/man1/ls.1", "of another");
    bench.write("share/man1/invar-run.1", "of an older version");
    let error = bench.fails(2, &["man", "--out", "share/man1"]);
    assert!(error.contains("share/man1/invar") && error.contains("--force"), "{error}");
    let told = bench.json(&["man", "--out", "share/man1", "--force", "--json"]);
    assert_eq!(told["pages"].as_array().unwrap().len(), expected.len());
    assert_eq!(fs::read(bench.path("share/man1/ls.1")).unwrap(), b"of another");
    assert!(fs::read_to_string(bench.path("share/man1/invar-run.1")).unwrap().contains("reads/quickstart"));
}

#[test]
fn recipes_name_the_versions_that_the_build_takes() {
    let torch = between(&read("Makefile"), "TORCH_VERSION := ", "\n").to_owned();
    let manifest = read("Cargo.toml");
    let rust = between(&manifest, "rust-version = \"", "\"");
    let (docker, apptainer, conda) =
        (read("containers/Dockerfile"), read("containers/invar.def"), read("packaging/bioconda/meta.yaml"));
    for text in [&docker, &apptainer] {
        assert_eq!(setting(text, "TORCH_VERSION="), torch);
        assert_eq!(between(text, "rust:", "-slim"), rust);
        // Both run on the same system, and are built as on any other machine.
        assert!(text.contains("debian:12-slim") && text.contains("LIBTORCH=/opt/libtorch/torch make build"), "{text}");
        assert_eq!(setting(text, "TORCH_INDEX="), "https://download.pytorch.org/whl/cpu");
    }
    assert_eq!(between(&conda, "set pytorch = \"", "\""), torch);
    assert_eq!(between(&conda, "set version = \"", "\""), env!("CARGO_PKG_VERSION"));
    assert_eq!(between(&conda, "license: ", "\n"), between(&manifest, "license = \"", "\""));
    assert!(read("packaging/bioconda/build.sh").contains("LIBTORCH=\"$PREFIX\" make build"));
}

#[test]
fn both_kinds_of_container_are_built_from_the_same_files() {
    let docker: BTreeSet<String> = read("containers/Dockerfile.dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .filter(|name| !name.starts_with("LICENSE"))
        .collect();
    let apptainer = read("containers/invar.def");
    let files = between(&apptainer, "%files\n", "%post");
    let apptainer: BTreeSet<String> = files
        .lines()
        .map(|line| {
            let (from, to) = line.trim().split_once(' ').unwrap();
            assert_eq!(to, format!("/src/{from}"));
            from.to_owned()
        })
        .collect();
    assert_eq!(docker, apptainer);
    assert!(docker.len() > 5, "{docker:?}");
    for name in docker {
        assert!(root().join(&name).exists(), "{name}");
    }
}

#[test]
fn a_container_holds_the_programs_and_the_libraries_that_they_load() {
    let bench = Bench::new();
    for file in [
        "torch/lib/libtorch_cpu.so",
        "torch/lib/libtorch_python.so",
        "torch/include/a.h",
        "torch/a.py",
        "nvidia/cu13/lib/libcudart.so.13",
        "nvidia/cu13/include/b.h",
        "numpy/core.so",
    ] {
        let path = bench.path("site").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    symlink("libcudart.so.13", bench.path("site/nvidia/cu13/lib/libcudart.so")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_invar")).parent().unwrap();
    let output = Command::new(root().join("containers/gather.sh"))
        .args([programs, Path::new("site"), Path::new("image")])
        .current_dir(bench.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let image = bench.path("image");
    let site = image.join(fs::canonicalize(bench.path("site")).unwrap().strip_prefix("/").unwrap());
    let mut libraries: Vec<PathBuf> = support::tree_digest(&site).into_keys().collect();
    libraries.sort();
    let expected = ["nvidia/cu13/lib/libcudart.so", "nvidia/cu13/lib/libcudart.so.13", "torch/lib/libtorch_cpu.so"];
    assert_eq!(libraries, expected.map(PathBuf::from));
    assert!(site.join("nvidia/cu13/lib/libcudart.so").is_symlink());
    for file in [
        "local/bin/invar",
        "local/bin/invar-learn",
        "local/share/man/man1/invar.1",
        "share/bash-completion/completions/invar",
    ] {
        assert!(image.join("usr").join(file).is_file(), "{file}");
    }
}
