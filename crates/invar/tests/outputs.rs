//! What happens to an existing output, and to files that someone else put next to it.
#![cfg(all(feature = "torch", unix))]

mod support;

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, process::Stdio, time::Duration};

use invar_dataset::lock::Lock;
use support::{Bench, TRAINED, fastq, tree_digest};

const TRAIN: &[&str] = &["train", "reads/quickstart", "--data", "data", "--out", "run"];

fn trained(bench: &Bench, more: &[&str]) -> std::process::Output {
    bench.output(&[TRAIN, TRAINED, more].concat())
}

fn one_read(bench: &Bench) {
    bench.write("1.fastq", fastq(1, 1, 2500));
    bench.ok(&["ingest", "reads", "1.fastq", "--out", "one"]);
}

#[test]
fn a_forced_training_that_fails_leaves_the_old_run_as_it_was() {
    let bench = Bench::trained();
    one_read(&bench);
    let before = tree_digest(&bench.path("run"));
    let error =
        bench.fails(3, &[&["train", "reads/quickstart", "--data", "one", "--out", "run", "--force"], TRAINED].concat());
    assert!(error.contains("at least 2"), "{error}");
    bench.fails(2, &[TRAIN, TRAINED, &["--set", "train.batch_size=1", "--force"]].concat());
    assert!(tree_digest(&bench.path("run")) == before, "the old run was touched");
}

#[test]
fn a_forced_training_replaces_what_a_training_wrote_and_nothing_else() {
    let bench = Bench::trained();
    let theirs = ["run/notes.txt", "run/checkpoints/epoch-3.pt", "run/tensorboard/events.out.tfevents.1.host"];
    theirs.iter().for_each(|file| bench.write(file, "mine"));
    // Only from the old run: four steps, then two.
    bench.write("run/checkpoints/step-00000003.safetensors", "old");
    let output = trained(&bench, &["--set", "train.steps=2", "--force"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(theirs.iter().all(|file| fs::read_to_string(bench.path(file)).unwrap() == "mine"));
    assert_eq!(bench.json(&["info", "run", "--json"])["steps"], 2);
    let checkpoints: Vec<String> = tree_digest(&bench.path("run/checkpoints"))
        .into_keys()
        .map(|path| path.display().to_string())
        .filter(|name| name.starts_with("step-"))
        .collect();
    assert_eq!(checkpoints, ["step-00000002.safetensors"]);
    assert!(!bench.path("run/.invar-next").exists());
    // The new run is like any other.
    let again = bench.json(&[TRAIN, TRAINED, &["--set", "train.steps=2", "--json"]].concat());
    assert_eq!(again["done_before"], true);
}

#[test]
fn a_forced_training_that_was_killed_goes_on_while_the_old_run_stays_whole() {
    let bench = Bench::trained();
    let old = tree_digest(&bench.path("run"));
    let long = ["--set", "train.steps=80", "--set", "train.checkpoint_every=2", "--force"];
    let args = [TRAIN, TRAINED, &long].concat();
    let mut child = bench.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let checkpoints = bench.path("run/.invar-next/checkpoints");
    while !has_checkpoint(&checkpoints) {
        assert!(child.try_wait().unwrap().is_none(), "the training ended before a checkpoint was met");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut now = tree_digest(&bench.path("run"));
    now.retain(|path, _| !path.starts_with(".invar-next"));
    assert!(now == old, "the old run was touched");
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "by-old"]);
    let words = bench.words(&args);
    assert!(words.contains("going on from step "), "{words}");
    // As a run that was never killed.
    bench.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "whole"][..], TRAINED, &long[..4]].concat());
    let model = |run: &str| fs::read(bench.path(run).join("model.safetensors")).unwrap();
    assert!(model("run") == model("whole"), "the models differ");
    assert!(!bench.path("run/.invar-next").exists());
}

fn has_checkpoint(dir: &Path) -> bool {
    fs::read_dir(dir)
        .is_ok_and(|mut entries| entries.any(|e| e.unwrap().file_name().to_string_lossy().starts_with("step-")))
}

#[test]
fn a_training_that_refuses_leaves_nothing_in_the_way_of_the_corrected_one() {
    let bench = Bench::new();
    one_read(&bench);
    bench.write("reads.fastq", fastq(3, 20, 2500));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    bench.fails(3, &[&["train", "reads/quickstart", "--data", "one", "--out", "run"], TRAINED].concat());
    assert!(!bench.path("run").exists());
    // A setting that only the trainer can refuse, and one that its own check refuses.
    for wrong in ["encoder.dropout=2.0", "train.steps=0"] {
        let error = bench.fails(2, &[TRAIN, TRAINED, &["--set", wrong]].concat());
        assert!(error.contains(wrong.split(['.', '=']).nth(1).unwrap()), "{error}");
        assert!(!bench.path("run").exists(), "{wrong}");
    }
    assert!(trained(&bench, &[]).status.success());
}

#[test]
fn a_run_that_was_made_otherwise_is_refused_by_key_and_both_values() {
    let bench = Bench::trained();
    let error = bench.fails(2, &[TRAIN, TRAINED, &["--set", "train.learning_rate=0.5"]].concat());
    assert!(error.contains("train.learning_rate = ") && error.contains("this recipe has 0.5"), "{error}");
    // As after a kill: not finished, but with checkpoints.
    fs::remove_file(bench.path("run/summary.json")).unwrap();
    let error = bench.fails(2, &[TRAIN, TRAINED, &["--seed", "5"]].concat());
    assert!(
        error.contains("step-00000004.safetensors was made with train.seed = ") && error.contains("has 5"),
        "{error}"
    );
    // Settings that do not affect the weights may change.
    let output = trained(&bench, &["--set", "train.log_every=3", "--set", "train.view_workers=1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn files_of_a_runs_names_that_no_training_wrote_are_left_alone() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    fs::create_dir(bench.path("work")).unwrap();
    let recipe = support::recipe("type = \"kmer-mlp\"", "kmers");
    bench.write("work/recipe.toml", &recipe);
    for force in [&[][..], &["--force"]] {
        let error =
            bench.fails(2, &[&["train", "work/recipe.toml", "--data", "data", "--out", "work"], force].concat());
        assert!(error.contains("holds recipe.toml, which no training wrote"), "{error}");
        assert_eq!(fs::read_to_string(bench.path("work/recipe.toml")).unwrap(), recipe);
    }
    fs::create_dir_all(bench.path("other/checkpoints")).unwrap();
    bench.write("other/checkpoints/step-00000001.safetensors", "mine");
    let args = ["train", "work/recipe.toml", "--data", "data", "--out", "other", "--force"];
    assert!(bench.fails(2, &args).contains("holds checkpoints"));
    assert_eq!(tree_digest(&bench.path("other")).len(), 1);
}

#[test]
fn forced_embeddings_replace_the_old_ones_when_they_are_whole() {
    let bench = Bench::trained();
    bench.write("emb/notes.txt", "mine");
    let before = tree_digest(&bench.path("emb"));
    // A shard that does not match its manifest.
    let shard = fs::read_dir(bench.path("data"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension != "json"))
        .unwrap();
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() / 2]).unwrap();
    let args = ["embed", "--model", "run", "--data", "data", "--out", "emb", "--force"];
    bench.fails(3, &args);
    assert!(tree_digest(&bench.path("emb")) == before, "the old embeddings were touched");
    fs::remove_file(&shard).unwrap();
    let error = bench.fails(3, &args);
    assert!(error.contains("file of the dataset"), "{error}");
    fs::write(&shard, whole).unwrap();
    let moved = [&args[..], &["--moved", "--json"]].concat();
    assert_eq!(bench.json(&moved)["moved"], true);
    assert_eq!(bench.json(&["evaluate", "emb", "--json"])["moved"], true);
    assert_eq!(fs::read_to_string(bench.path("emb/notes.txt")).unwrap(), "mine");
    assert!(!bench.path("emb/.invar-next").exists());
    // The same in a single file.
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb.parquet"]);
    bench.fails(2, &["embed", "--model", "run", "--data", "data", "--out", "emb.parquet", "--moved"]);
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb.parquet", "--moved", "--force"]);
    assert_eq!(bench.json(&["evaluate", "emb.parquet", "--json"])["moved"], true);
}

#[test]
fn embeddings_do_not_go_among_other_files() {
    let bench = Bench::trained();
    for out in ["data", "run"] {
        for force in [&[][..], &["--force"]] {
            let before = tree_digest(&bench.path(out));
            let args = [&["embed", "--model", "run", "--data", "data", "--out", out][..], force].concat();
            let error = bench.fails(2, &args);
            assert!(error.contains("not a part of embeddings"), "{error}");
            assert!(tree_digest(&bench.path(out)) == before, "{out}");
        }
    }
}

#[test]
fn a_difference_of_recipes_is_told_by_its_line() {
    let bench = Bench::trained();
    bench.ok(&[TRAIN, TRAINED, &["--set", "train.steps=5", "--force"]].concat());
    let error = bench.fails(2, &["embed", "--model", "run", "--data", "data", "--out", "emb"]);
    assert!(error.contains("of the recipe was `steps = 4`, is now `steps = 5`"), "{error}");
    assert!(error.lines().all(|line| line.len() < 200), "{error}");
}

#[test]
fn results_do_not_go_over_files_that_no_run_wrote() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    fs::create_dir(bench.path("figures")).unwrap();
    bench.write("figures/clusters.svg", "mine");
    let args = ["run", "reads/quickstart", "--input", "reads.fastq", "--out", "figures", "--force"];
    let error = bench.fails(2, &args);
    assert!(error.contains("holds clusters.svg"), "{error}");
    assert_eq!(tree_digest(&bench.path("figures")).len(), 1);
}

#[test]
fn an_output_is_no_input_and_its_directory_is_there() {
    let bench = Bench::trained();
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "e.parquet"]);
    for args in [
        &["cluster", "e.parquet", "--out", "e.parquet", "--force"][..],
        &["query", "e.parquet", "SELECT id FROM e", "--out", "e.parquet", "--force"],
    ] {
        assert!(bench.fails(2, args).contains("is an input of this command"));
    }
    for args in [
        &["cluster", "e.parquet", "--out", "nowhere/c.parquet"][..],
        &["cluster", "e.parquet", "--out", "c.parquet", "--plot", "nowhere/c.svg"],
        &["query", "e.parquet", "SELECT id FROM e", "--out", "nowhere/q.parquet"],
    ] {
        assert!(bench.fails(2, args).contains("there is no directory nowhere"));
    }
    // Nor is someone else's picture replaced without being asked.
    bench.write("c.svg", "mine");
    let args = ["cluster", "e.parquet", "--out", "c.parquet", "--plot", "c.svg"];
    assert!(bench.fails(2, &args).contains("c.svg: exists already"));
    bench.ok(&[&args[..], &["--force"]].concat());
}

#[test]
fn two_commands_do_not_write_into_one_output() {
    let bench = Bench::trained();
    let train = [&["train", "reads/quickstart", "--data", "data", "--out", "run2"][..], TRAINED].concat();
    let embed = ["embed", "--model", "run", "--data", "data", "--out", "emb2"];
    for (args, out) in [(&train[..], "run2"), (&embed, "emb2")] {
        let lock = Lock::directory(&bench.path(out)).unwrap();
        let error = bench.fails(1, args);
        assert!(error.contains("another command is writing there"), "{error}");
        drop(lock);
        assert!(!bench.path(out).exists(), "nothing was begun");
        bench.ok(args);
    }
}

#[test]
fn several_commands_that_write_one_file_leave_one_answer_whole() {
    let bench = Bench::trained();
    let sql = |number| format!("SELECT a.id, {number} AS n, a.embedding FROM emb AS a, emb AS b");
    let query = |number, out: &[&str]| {
        let sql = sql(number);
        bench.command(&[&["query", "emb", &sql, "--format", "csv"], out].concat())
    };
    let answers: Vec<_> = (0..4).map(|number| query(number, &[]).output().unwrap().stdout).collect();
    let mut children: Vec<_> = (0..4)
        .map(|number| query(number, &["--out", "same.csv", "--force"]).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let found = fs::read(bench.path("same.csv")).unwrap();
    assert!(!found.is_empty() && answers.contains(&found));
    let hidden = fs::read_dir(bench.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(
        hidden.filter(|name| name.to_string_lossy().starts_with('.')).collect::<Vec<_>>(),
        Vec::<std::ffi::OsString>::new()
    );
}

#[test]
fn outputs_may_have_names_of_any_bytes() {
    let bench = Bench::trained();
    let train = [&["train", "reads/quickstart", "--data", "data"][..], TRAINED].concat();
    for (number, args) in [
        &train[..],
        &["embed", "--model", "run", "--data", "data"],
        &["cluster", "emb", "--k", "3"],
        &["query", "emb", "SELECT id FROM emb", "--format", "parquet"],
        &["views", "data", "--recipe", "reads/quickstart"],
    ]
    .into_iter()
    .enumerate()
    {
        let name = [b"out-\xff-", number.to_string().as_bytes()].concat();
        let output = bench.command(args).args(["--json", "--out"]).arg(OsStr::from_bytes(&name)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["out"], format!("out-\\xff-{number}"), "{args:?}");
    }
}

#[test]
fn a_table_of_somebody_else_beside_the_clusters_is_not_replaced_even_on_force() {
    let bench = Bench::trained();
    let cluster = ["cluster", "emb", "--out", "c.parquet", "--k", "2", "--force"];
    bench.write("c.tsv", "id\tspecies\n");
    let error = bench.fails(2, &cluster);
    assert!(error.contains("c.tsv: exists already and is no table of clusters: --groups names another"), "{error}");
    assert!(!bench.path("c.parquet").exists());
    bench.ok(&[&cluster[..], &["--groups", "groups.tsv"]].concat());
    assert_eq!(fs::read_to_string(bench.path("c.tsv")).unwrap(), "id\tspecies\n");
    // Its own tables are replaced, either both or none.
    fs::remove_file(bench.path("c.tsv")).unwrap();
    bench.ok(&cluster);
    bench.ok(&cluster);
    assert!(fs::read_to_string(bench.path("c.tsv")).unwrap().starts_with("cluster\treads\tbases\t"));
    let error = bench.fails(2, &["cluster", "emb", "--out", "d.parquet", "--groups", "d.parquet", "--k", "2"]);
    assert!(error.contains("d.parquet: --out and --groups are one file"), "{error}");
}
