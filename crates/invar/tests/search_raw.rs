//! Search with the reads of a new file: they are embedded first.
#![cfg(feature = "torch")]

mod support;

use std::{fs, process::Output};

use support::{Bench, TRAINED, fastq};

/// A search whose temporary files are in `tmp`, which must be empty afterwards.
fn search(bench: &Bench, args: &[&str]) -> Output {
    let tmp = bench.path("tmp");
    fs::create_dir_all(&tmp).unwrap();
    let output = bench.command(&[&["search", "emb"], args].concat()).env("TMPDIR", &tmp).output().unwrap();
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0, "{args:?} leaves something behind");
    output
}

fn csv(bench: &Bench, args: &[&str]) -> Vec<Vec<String>> {
    let output = search(bench, &[args, &["--format", "csv"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn fails(bench: &Bench, code: i32, args: &[&str]) -> String {
    let output = search(bench, args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    error
}

#[test]
fn reads_of_a_new_file_find_what_they_are_of() {
    let bench = Bench::trained();
    // Two reads of the old file, reverse-complemented, under other names.
    let text = fastq(3, 20, 2500);
    let records: Vec<&str> = text.lines().collect();
    let turned = |number: usize| {
        let complement = |base: char| match base {
            'A' => 'T',
            'C' => 'G',
            'G' => 'C',
            _ => 'A',
        };
        let bases: String = records[4 * number + 1].chars().rev().map(complement).collect();
        format!("@turned{number}\n{bases}\n+\n{}\n", records[4 * number + 3])
    };
    bench.write("new.fastq", [7, 41].map(turned).concat());
    let found = csv(&bench, &["--query", "new.fastq", "-k", "2"]);
    assert_eq!(found.len(), 4);
    for (query, name) in [(0, "r0007"), (2, "r0041")] {
        let best = &found[query];
        assert_eq!(
            (best[0].as_str(), best[2].as_str(), best[3].as_str()),
            (&*name.replace("r00", "turned").replace("d0", "d"), "1", name)
        );
        // The encoder is invariant to the strand by construction.
        assert!(best[5].parse::<f64>().unwrap() > 1.0 - 1e-5, "{best:?}");
    }
    // The file that EMB was made from: each read is in EMB, and finds another read, unless asked otherwise.
    let others = csv(&bench, &["--query", "reads.fastq", "-k", "1"]);
    assert!(others.len() == 60 && others.iter().all(|answer| answer[0] != answer[3]));
    let themselves = csv(&bench, &["--query", "reads.fastq", "-k", "1", "--itself"]);
    assert!(themselves.iter().all(|answer| answer[0] == answer[3]));
    // The dataset gives the same answer, and so do files and embeddings together.
    assert_eq!(csv(&bench, &["--query", "data", "-k", "1"]), others);
    let both = csv(&bench, &["--query", "emb", "new.fastq", "-k", "1", "--model", "run"]);
    assert_eq!(both[..60], others);
    assert_eq!(both[60], found[0]);
    assert!(bench.path("emb").is_dir() && bench.path("data").is_dir());
}

#[test]
fn another_model_and_files_that_are_none_are_refused() {
    let bench = Bench::trained();
    bench.write("new.fastq", fastq(1, 1, 300));
    bench.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "other", "--seed", "9"], TRAINED].concat());
    let error = fails(&bench, 3, &["--query", "new.fastq", "--model", "other"]);
    let sha256 =
        |emb: &str| invar_embeddings::info(&bench.path(emb)).unwrap().provenance.unwrap().model_sha256.unwrap();
    bench.ok(&["embed", "--model", "other", "--data", "data", "--out", "emb2"]);
    assert!(error.contains(&sha256("emb")) && error.contains(&sha256("emb2")), "{error}");
    let error = fails(&bench, 3, &["--query", "emb2"]);
    assert!(error.contains(&sha256("emb")) && error.contains(&sha256("emb2")), "{error}");
    assert!(fails(&bench, 2, &["--query", "absent.fastq"]).contains("absent.fastq: no such file"));
    bench.write("notes.txt", "no reads at all\n");
    assert!(fails(&bench, 3, &["--query", "notes.txt"]).contains("notes.txt"));
    assert!(fails(&bench, 2, &["--query", "new.fastq", "--model", "absent"]).contains("absent"));
    fs::rename(bench.path("run"), bench.path("moved")).unwrap();
    let error = fails(&bench, 2, &["--query", "new.fastq"]);
    assert!(error.contains("--model names the run"), "{error}");
    assert_eq!(csv(&bench, &["--query", "new.fastq", "--model", "moved", "-k", "3"]).len(), 3);
}
