//! `invar` and `invar-learn`: which of them links LibTorch, and what happens where one of them is missing.
#![cfg(all(feature = "torch", target_os = "linux"))]

mod support;

use std::{fs, process::Command};

use support::{Bench, fastq};

/// The shared libraries loaded with a program, as listed by ld.so.
fn libraries(program: &str) -> String {
    let output = Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_invar_learn_loads_libtorch() {
    let [invar, learn] = [env!("CARGO_BIN_EXE_invar"), env!("CARGO_BIN_EXE_invar-learn")].map(libraries);
    assert!(invar.contains("libc.so") && !invar.contains("libtorch"), "{invar}");
    assert!(learn.contains("libtorch_cpu.so"), "{learn}");
}

#[test]
fn invar_on_its_own_ingests_and_says_what_training_needs() {
    let bench = Bench::new();
    let alone = bench.path("invar");
    fs::copy(env!("CARGO_BIN_EXE_invar"), &alone).unwrap();
    bench.write("reads.fastq", fastq(1, 3, 500));
    let run =
        |args: &[&str]| Command::new(&alone).args(args).current_dir(bench.path(".")).env_clear().output().unwrap();
    assert!(run(&["ingest", "reads", "reads.fastq", "--out", "data"]).status.success());
    for args in [
        ["train", "reads/quickstart", "--data", "data", "--out", "run"].as_slice(),
        &["run", "reads/quickstart", "--input", "reads.fastq", "--out", "out"],
        &["embed", "--model", "run", "--data", "data", "--out", "emb"],
    ] {
        let output = run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(&format!("{}: not there", bench.path("invar-learn").display())), "{args:?}: {error}");
    }
    // Nothing was begun.
    assert!(!bench.path("run").exists() && !bench.path("out").exists());
}
