//! `invar finetune` and `invar predict`: a few labels, the labels of the rest, and what is refused.
#![cfg(feature = "torch")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Bench, TRAINED, fastq, tree_digest, truth};

/// The labels of `each` reads of each of three genomes, of the 60 of [`Bench::trained`].
fn some(each: usize) -> String {
    let all = truth(3, 20);
    let lines: Vec<&str> = all.lines().take(1 + 3 * each).collect();
    lines.join("\n") + "\n"
}

/// A bench with a model, `labels.tsv` of three reads a genome, and the labels of all in `truth.tsv`.
fn bench() -> Bench {
    let bench = Bench::trained();
    bench.write("labels.tsv", some(3));
    bench.write("truth.tsv", truth(3, 20));
    bench
}

const FINETUNE: [&str; 7] = ["--model", "run", "--data", "data", "--labels", "labels.tsv", "--json"];
const PREDICT: [&str; 5] = ["predict", "--data", "data", "--labels", "truth.tsv"];
/// Enough for reads that differ so much.
const SHORT: [&str; 6] = ["--set", "train.steps=12", "--set", "train.warmup_steps=2", "--set", "train.batch_size=32"];

fn finetune(bench: &Bench, recipe: &str, out: &str, more: &[&str]) -> Value {
    bench.json(&[&["finetune", recipe, "--out", out], &FINETUNE[..], more].concat())
}

fn predict(bench: &Bench, model: &str, out: &str, more: &[&str]) -> Value {
    bench.json(&[&PREDICT[..], &["--model", model, "--out", out, "--json", "-q"], more].concat())
}

fn csv(bench: &Bench, sql: &str) -> String {
    bench.ok(&["query", "pred.parquet", sql, "--format", "csv"])
}

#[test]
fn three_labels_a_genome_name_the_other_reads() {
    let bench = bench();
    for (recipe, settings) in
        [("finetune/probe", &[][..]), ("finetune/full", &SHORT[..]), ("finetune/head", &["--set", "train.steps=60"])]
    {
        let name = recipe.rsplit('/').next().unwrap();
        let summary = finetune(&bench, recipe, name, settings);
        let column = &summary["labels"]["columns"][0];
        assert_eq!((&column["name"], &column["counts"]), (&"genome".into(), &serde_json::json!([3, 3, 3])), "{recipe}");
        assert_eq!(summary["labels"]["num_held_out"], 0, "{recipe}");
        assert!(column["before"]["accuracy"].as_f64().unwrap() > 0.7, "{recipe}: {summary}");
        // Only where two losses were kept apart.
        assert_eq!(summary["harmony"].is_null(), name != "full", "{recipe}: {summary}");
        let out = format!("{name}.parquet");
        let found = predict(&bench, name, &out, &["--confusion", &format!("{name}.svg")]);
        assert_eq!((found["num_rows"].as_u64(), &found["columns"][0]["name"]), (Some(60), &"genome".into()));
        let measured = &found["columns"][0]["measured"];
        assert_eq!(measured["num_samples"], 60);
        assert!(measured["accuracy"].as_f64().unwrap() > 0.9, "{recipe}: {found}");
        assert!(fs::read_to_string(bench.path(&format!("{name}.svg"))).unwrap().contains("genome 2"));
    }
}

#[test]
fn a_row_says_what_is_likely_and_whether_to_believe_it() {
    let bench = bench();
    finetune(&bench, "finetune/probe", "probe", &[]);
    predict(&bench, "probe", "pred.parquet", &["--threshold", "1"]);
    let columns = csv(&bench, "SELECT * FROM pred LIMIT 1");
    let expected = "id,source,key,label,probability,entropy,second_label,second_probability,abstained";
    assert_eq!(columns.lines().next().unwrap(), expected);
    let bad = csv(
        &bench,
        "SELECT COUNT(*) AS n FROM pred WHERE probability < second_probability OR label = second_label
           OR probability + second_probability > 1.00001 OR entropy < 0 OR entropy > 1.0987 OR probability < 0.3333",
    );
    assert_eq!(bad, "n\n0\n");
    // Nothing is quite certain.
    assert_eq!(csv(&bench, "SELECT COUNT(*) AS n FROM pred WHERE abstained"), "n\n60\n");
    let kept = predict(&bench, "probe", "pred.parquet", &["--threshold", "0", "--force"]);
    assert_eq!(kept["columns"][0]["num_abstained"], 0);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_a_finished_run_is_left_alone() {
    let bench = bench();
    for (out, threads) in [("a", "1"), ("b", "2")] {
        finetune(&bench, "finetune/full", out, &[&SHORT[..], &["--threads", threads]].concat());
        predict(&bench, out, &format!("{out}.parquet"), &["--threads", threads]);
    }
    let read = |path: &str| fs::read(bench.path(path)).unwrap();
    for file in ["model.safetensors", "classifier.safetensors", "summary.json", "recipe.toml"] {
        assert_eq!(read(&format!("a/{file}")), read(&format!("b/{file}")), "{file}");
    }
    assert_eq!(read("a.parquet"), read("b.parquet"));
    let before = tree_digest(&bench.path("a"));
    let again = finetune(&bench, "finetune/full", "a", &SHORT);
    assert_eq!((&again["done_before"], tree_digest(&bench.path("a"))), (&true.into(), before));
    // With other labels it is another run.
    bench.write("labels.tsv", some(4));
    let error = bench.fails(2, &[&["finetune", "finetune/full", "--out", "a"], &FINETUNE[..], &SHORT].concat());
    assert!(error.contains("data.labels") || error.contains("loss"), "{error}");
    let forced = finetune(&bench, "finetune/full", "a", &[&SHORT[..], &["--force"]].concat());
    assert_eq!(forced["labels"]["columns"][0]["counts"], serde_json::json!([4, 4, 4]));
    // It is a model like others.
    bench.ok(&["embed", "--model", "a", "--data", "data", "--out", "tuned"]);
}

#[test]
fn enough_labels_are_held_out_to_measure_by() {
    let bench = Bench::trained();
    bench.write("truth.tsv", truth(3, 20));
    bench.write("labels.tsv", truth(3, 20));
    let groups: String = (0..60).map(|i| format!("r{i:04}\tgenome {}\tflow cell {}\n", i % 3, i / 6)).collect();
    bench.write("grouped.tsv", format!("id\tgenome\tcell\n{groups}"));
    let summary = finetune(&bench, "finetune/probe", "probe", &[]);
    let labels = &summary["labels"];
    assert_eq!(
        (labels["num_held_out"].as_u64(), &labels["columns"][0]["counts"]),
        (Some(12), &serde_json::json!([16, 16, 16]))
    );
    let column = &labels["columns"][0];
    assert_eq!(column["held_out"]["num_samples"], 12);
    assert!(column["held_out"]["accuracy"].as_f64().unwrap() > 0.8, "{summary}");
    assert!(bench.path("probe/confusion.svg").is_file());
    // Ten groups of six are too few by default, and are held out whole where they are asked to.
    let grouped = ["--group-column", "cell", "--label-column", "genome", "--set", "labels.held_out_from=10"];
    let args =
        ["finetune", "finetune/probe", "--out", "cells", "--model", "run", "--data", "data", "--labels", "grouped.tsv"];
    let summary = bench.json(&[&args[..], &["--json"], &grouped].concat());
    assert_eq!((&summary["labels"]["grouped_by"], &summary["labels"]["num_held_out"]), (&"cell".into(), &12.into()));
}

#[test]
fn info_tells_what_was_learned_and_from_which_model() {
    let bench = bench();
    let learned =
        finetune(&bench, "finetune/full", "tuned", &[&SHORT[..], &["--set", "labels.threshold=0.7"]].concat());
    let told = bench.json(&["info", "tuned", "--json"]);
    for key in ["columns", "grouped_by", "threshold", "classifier"] {
        assert_eq!(told["labels"][key], learned["labels"][key], "{key}");
    }
    assert_eq!((&told["kind"], &told["recipe"]["train"]["warm_start"]), (&"run".into(), &"run".into()));
    assert_eq!(told["harmony"], learned["harmony"]);
    let model = bench.json(&["info", "run", "--json"]);
    assert!(model["labels"].is_null(), "{model}");
    let model = &model["model_sha256"].as_str().unwrap()[..12];
    let text = bench.ok(&["info", "tuned"]);
    for line in [
        format!("began with the weights of run, model {model}..."),
        "genome: 3 labels, learned from 9 samples: genome 0 3, genome 1 3, genome 2 3".into(),
        "none held out".into(),
        "probabilities: calibrated by the cross-validation".into(),
        "`invar predict` abstains from what is less probable than 0.7".into(),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    // Of one that was ended, what goes on with it; of one that is damaged, the file.
    fs::remove_file(bench.path("tuned/summary.json")).unwrap();
    fs::remove_file(bench.path("tuned/classifier.safetensors")).unwrap();
    assert!(bench.ok(&["info", "tuned"]).contains("not finished (the same `invar finetune` continues it)"));
    bench.write("tuned/classifier.safetensors", "no tensors");
    assert!(bench.fails(3, &["info", "tuned"]).contains("tuned/classifier.safetensors"));
}

#[test]
fn several_columns_are_learned_together() {
    let bench = Bench::trained();
    let rows: String = (0..12).map(|i| format!("r{i:04}\tgenome {}\t{}\n", i % 3, ["even", "odd"][i % 2])).collect();
    bench.write("labels.tsv", format!("id\tgenome\tparity\n{rows}"));
    bench.write("truth.tsv", truth(3, 20));
    let columns = ["--label-column", "genome", "--label-column", "parity"];
    finetune(&bench, "finetune/full", "both", &[&SHORT[..], &columns].concat());
    let args = ["predict", "--data", "data", "--model", "both", "--out", "pred.parquet", "--json"];
    let found = bench.json(&args);
    assert_eq!((&found["columns"][0]["name"], &found["columns"][1]["name"]), (&"genome".into(), &"parity".into()));
    let header = csv(&bench, "SELECT * FROM pred LIMIT 1");
    assert!(header.contains("genome_label,genome_probability") && header.contains("parity_abstained"), "{header}");
}

#[test]
fn rules_of_harmony_are_logged_and_change_the_weights() {
    let bench = bench();
    let mut models = vec![];
    for method in ["sum", "pcgrad", "gradvac", "cagrad"] {
        let set = format!("train.harmony.method={method}");
        finetune(
            &bench,
            "finetune/full",
            method,
            &[&SHORT[..], &["--set", &set, "--set", "labels.contrastive=1"]].concat(),
        );
        let lines = fs::read_to_string(bench.path(&format!("{method}/metrics.jsonl"))).unwrap();
        let steps: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(steps.len(), 12, "{method}");
        for key in ["gradient_cosine", "gradient_conflicts", "gradient_norm/info-nce", "gradient_weight/classification"]
        {
            assert!(steps.iter().all(|step| step[key].is_number()), "{method}: {key}");
        }
        models.push(fs::read(bench.path(&format!("{method}/model.safetensors"))).unwrap());
    }
    // Without a conflict the first three come to the same; the mean that CAGrad starts from is another length.
    assert_ne!(models[0], models[3]);
}

#[test]
fn what_cannot_be_learned_is_refused_in_words() {
    let bench = bench();
    let refused = |code: i32, labels: &str, more: &[&str]| {
        bench.write("bad.tsv", labels);
        let args =
            ["finetune", "finetune/probe", "--model", "run", "--data", "data", "--labels", "bad.tsv", "--out", "bad"];
        let error = bench.fails(code, &[&args[..], more].concat());
        assert!(!bench.path("bad").exists(), "something was written");
        error
    };
    let error = refused(3, "id\tgenome\nr0001\tg\nr0002\tg\n", &[]);
    assert!(
        error.contains("bad.tsv: column \"genome\": expected at least two different labels, found only \"g\""),
        "{error}"
    );
    let error = refused(3, "id\tname\nr0001\tr0001\nr0002\tr0002\n", &[]);
    assert!(error.contains("column \"name\": every label is the sample's own id"), "{error}");
    let error = refused(3, "id\tgenome\nx\ta\ny\tb\n", &[]);
    assert!(error.contains("none of 60 samples has a label") && error.contains("r0000"), "{error}");
    let error = refused(3, "id\tgenome\nr0001\ta\nr0002\tb\n", &["--label-column", "species"]);
    assert!(error.contains("expected a column \"species\", found id, genome"), "{error}");
    let error = refused(3, "id\tgenome\nr0001\ta\nr0002\tb\n", &["--group-column", "cell"]);
    assert!(error.contains("--group-column cell"), "{error}");
    let error = refused(2, &some(2), &["--set", "labels.weight=0"]);
    assert!(error.contains("labels.weight must be above 0, got 0"), "{error}");
    let error = refused(2, &some(2), &["--set", "labels.hidden=[8]"]);
    assert!(error.contains("a head with hidden layers has to be trained"), "{error}");
    // One label of a class is enough for a probe, which then is not measured.
    bench.write("labels.tsv", some(1));
    let summary = finetune(&bench, "finetune/probe", "one", &[]);
    assert!(summary["labels"]["columns"][0]["before"].is_null(), "{summary}");

    let error = bench.fails(2, &["predict", "--model", "run", "--data", "data", "--out", "p.parquet"]);
    assert!(error.contains("the model has no classifier: `invar finetune` makes one"), "{error}");
    let predict = ["predict", "--model", "one", "--data", "data", "--out", "p.parquet"];
    let error = bench.fails(2, &[&predict[..], &["--threshold", "1.5"]].concat());
    assert!(error.contains("--threshold: expected a probability, 0 to 1, found 1.5"), "{error}");
    let file = bench.path("one/classifier.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 8]).unwrap();
    let error = bench.fails(3, &predict);
    assert!(error.contains("classifier.safetensors"), "{error}");
    // That of another model.
    fs::write(&file, &bytes).unwrap();
    fs::copy(bench.path("one/model.safetensors"), bench.path("kept")).unwrap();
    let train = ["train", "reads/quickstart", "--data", "data", "--out", "other", "--seed", "5"];
    bench.ok(&[&train[..], TRAINED].concat());
    fs::copy(bench.path("other/model.safetensors"), bench.path("one/model.safetensors")).unwrap();
    let error = bench.fails(3, &predict);
    assert!(error.contains("SHA-256 of the model"), "{error}");
    assert!(!bench.path("p.parquet").exists());
    fs::copy(bench.path("kept"), bench.path("one/model.safetensors")).unwrap();
    // Labels of other samples are told before anything is embedded.
    bench.write("others.tsv", "id\tgenome\nx\tgenome 0\n");
    let error = bench.fails(3, &[&predict[..], &["--labels", "others.tsv"]].concat());
    assert!(error.contains("none of 60 samples has a label"), "{error}");
    assert!(!bench.path("p.parquet").exists());
    // Labels that were never learned are counted apart.
    bench.write("truth.tsv", truth(3, 20).replace("genome 2", "another"));
    let said = bench.ok(&[&predict[..], &["--labels", "truth.tsv"]].concat());
    assert!(said.contains("20 have labels that were not learned"), "{said}");
}

#[test]
fn a_training_that_was_ended_goes_on_to_the_same_classifier() {
    let bench = bench();
    let settings = [&SHORT[..], &["--set", "train.checkpoint_every=4"]].concat();
    finetune(&bench, "finetune/full", "whole", &settings);
    finetune(&bench, "finetune/full", "parts", &settings);
    // As if it had been killed before the classifier was written, and the newest checkpoint were that of step 8.
    for file in ["summary.json", "classifier.safetensors", "model.safetensors", "checkpoints/step-00000012.safetensors"]
    {
        fs::remove_file(bench.path("parts").join(file)).unwrap();
    }
    finetune(&bench, "finetune/full", "parts", &settings);
    let read = |path: &str| fs::read(bench.path(path)).unwrap();
    for file in ["model.safetensors", "classifier.safetensors"] {
        assert_eq!(read(&format!("whole/{file}")), read(&format!("parts/{file}")), "{file}");
    }
}

#[test]
fn new_reads_are_named_by_the_labels_of_others() {
    let bench = bench();
    bench.write("new.fastq", fastq(3, 30, 2500));
    bench.ok(&["ingest", "reads", "new.fastq", "--out", "new"]);
    finetune(&bench, "finetune/probe", "probe", &[]);
    bench.write("new.tsv", truth(3, 30));
    let args =
        ["predict", "--model", "probe", "--data", "new", "--out", "new.parquet", "--labels", "new.tsv", "--json"];
    let found = bench.json(&args);
    assert!(found["columns"][0]["measured"]["accuracy"].as_f64().unwrap() > 0.9, "{found}");
}
