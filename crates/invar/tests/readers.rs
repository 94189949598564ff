//! What other programs read from a result: pyarrow, polars, pandas and DuckDB open it, and the examples of the README
//! and of docs/schema.md run.
//!
//! Needs Python with these packages: `make test` installs them and runs this.
#![cfg(feature = "torch")]

mod support;

use std::{path::Path, process::Command};

use support::{Bench, fastq};

/// A short training; the network is as wide as in the examples.
const TRAINED: [&str; 6] = ["--set", "train.steps=4", "--set", "train.batch_size=16", "--set", "encoder.hidden=[32]"];

#[test]
#[ignore = "needs Python packages: `make test` runs it"]
fn other_programs_open_a_result_and_the_examples_of_the_docs_run() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    bench.ok(&[&["run", "reads/quickstart", "--input", "reads.fastq", "--out", "result"][..], &TRAINED].concat());
    bench.ok(&["embed", "--model", "result/run", "--data", "result/data", "--out", "emb.parquet"]);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("INVAR_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .arg(here.join("tests/readers.py"))
        .arg(env!("CARGO_BIN_EXE_invar"))
        .args([here.join("../../README.md"), here.join("../../docs/schema.md")])
        .current_dir(bench.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["4 programs, 3 files", "cosines of 4 programs agree", "groups are passed over", "vectors of other programs"]
    {
        assert!(said.contains(line), "{said}");
    }
    // From the README and the schema: SQL, Python, and commands.
    for line in ["README.md: 1 sql, 1 python, 3 invar query", "schema.md: 1 sql, 2 python, 1 invar query"] {
        assert!(said.contains(line), "{said}");
    }
}
