//! The notebooks: kept without outputs, and they run to the end on a result, with all their pictures.
//!
//! Running them takes Python with the packages in notebooks/requirements.txt: `make test` installs these and runs this.
#![cfg(feature = "torch")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use support::Bench;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The cells of a notebook that hold code.
fn code(notebook: &Value) -> Vec<&Value> {
    notebook["cells"].as_array().unwrap().iter().filter(|cell| cell["cell_type"] == "code").collect()
}

#[test]
fn notebooks_are_kept_without_outputs() {
    let files = fs::read_dir(root().join("notebooks")).unwrap().map(|entry| entry.unwrap().path());
    let notebooks: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "ipynb")).collect();
    assert!(notebooks.len() >= 3, "{notebooks:?}");
    for path in notebooks {
        let notebook: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(code(&notebook).len() > 5, "{}", path.display());
        for cell in code(&notebook) {
            let is_bare = cell["outputs"] == Value::Array(vec![]) && cell["execution_count"].is_null();
            assert!(is_bare, "{}: `jupyter nbconvert --clear-output --inplace` it: {}", path.display(), cell["source"]);
        }
    }
}

/// Runs a notebook of the repository on the result that the variable names, into `executed.ipynb`.
fn execute(bench: &Bench, notebook: &str, variable: &str, result: &Path) -> Output {
    let python = std::env::var_os("INVAR_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.args(["-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir"]).arg(bench.path("."));
    command.args(["--output", "executed"]).arg(root().join("notebooks").join(notebook));
    // Whatever Jupyter and matplotlib store for themselves goes to the directory of the test.
    command.env("HOME", bench.path("home")).env_remove("JUPYTER_PATH").env(variable, result).output().unwrap()
}

/// Runs a notebook that must succeed, with a picture for each plot and no warnings.
fn executes(bench: &Bench, notebook: &str, variable: &str, num_plots: usize) {
    let output = execute(bench, notebook, variable, &bench.path("result"));
    assert!(output.status.success(), "{notebook}: {}", String::from_utf8_lossy(&output.stderr));
    let executed: Value = serde_json::from_slice(&fs::read(bench.path("executed.ipynb")).unwrap()).unwrap();
    let outputs: Vec<&Value> = code(&executed).iter().flat_map(|cell| cell["outputs"].as_array().unwrap()).collect();
    let warnings: Vec<&&Value> = outputs.iter().filter(|output| output["name"] == "stderr").collect();
    assert!(warnings.is_empty(), "{notebook}: {warnings:?}");
    let is_plot = |output: &&&Value| output["data"]["image/png"].as_str().is_some_and(|png| png.len() > 5_000);
    assert_eq!(outputs.iter().filter(is_plot).count(), num_plots, "{notebook}");
}

#[test]
#[ignore = "needs Python packages: `make test` runs it"]
fn the_notebook_of_reads_runs() {
    let bench = Bench::new();
    let reads = root().join("test-data/reads/mock-community/reads.fastq.gz");
    bench.ok(&[
        "run",
        "reads/quickstart",
        "--input",
        reads.to_str().unwrap(),
        "--out",
        "result",
        "--set",
        "train.steps=60",
    ]);
    executes(&bench, "reads.ipynb", "INVAR_READS", 6);
}

#[test]
#[ignore = "needs Python packages: `make test` runs it"]
fn the_notebook_of_grains_runs() {
    let bench = Bench::new();
    let [images, classes] =
        ["images", "kinds"].map(|name| root().join("test-data/micrographs/polycrystals").join(name));
    let classes = format!("source.ingest.classes={}", classes.display());
    let input = images.join("polycrystal-3.tif");
    let few = ["--set", "train.steps=4", "--set", "train.batch_size=32", "--set", &classes];
    let run = ["run", "micrographs/quickstart", "--input", input.to_str().unwrap(), "--out", "result"];
    bench.ok(&[&run[..], &few].concat());
    executes(&bench, "grains.ipynb", "INVAR_GRAINS", 9);
}

#[test]
#[ignore = "needs Python packages: `make test` runs it"]
fn the_notebook_of_contigs_runs() {
    let bench = Bench::new();
    let files = ["contigs.fa.gz", "depth.txt", "assembly_graph.gfa.gz", "contigs.paths"];
    let files = files.map(|file| root().join("test-data/contigs").join(file).to_str().unwrap().to_owned());
    let mut run = vec!["run", "contigs/quickstart", "--out", "result", "--input"];
    run.extend(files.iter().map(String::as_str));
    for setting in ["train.steps=20", "source.ingest.min_length_bp=500", "cluster.weight.least=40000"] {
        run.extend(["--set", setting]);
    }
    bench.ok(&run);
    let bins = ["bins", "result/clusters.parquet", "--data", "result/data", "--out", "result/bins"];
    bench.ok(&[&bins[..], &["--min-bin-bp", "40000"]].concat());
    executes(&bench, "contigs.ipynb", "INVAR_CONTIGS", 7);
}

#[test]
#[ignore = "needs Python packages: `make test` runs it"]
fn notebooks_say_where_a_result_comes_from_that_is_not_there() {
    let bench = Bench::new();
    let notebooks =
        [("reads.ipynb", "INVAR_READS"), ("grains.ipynb", "INVAR_GRAINS"), ("contigs.ipynb", "INVAR_CONTIGS")];
    for (notebook, variable) in notebooks {
        let output = execute(&bench, notebook, variable, &bench.path("nothing"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{notebook}");
        let told =
            format!("{}: no result of `invar run` there; run `make demo` first", bench.path("nothing").display());
        assert!(error.contains(&told) && error.contains(variable), "{notebook}: {error}");
    }
}
