//! Whole commands, as a user types them: a temporary directory, a command, what comes out.
#![cfg(feature = "torch")]

mod support;

use std::fs;

use support::{Bench, fastq, tree_digest};

/// A recipe small enough for a test: the built-in one with everything cut down.
const TINY: &[&str] = &[
    "--set",
    "train.steps=12",
    "--set",
    "train.batch_size=16",
    "--set",
    "train.checkpoint_every=4",
    "--set",
    "train.validate_every=6",
    "--set",
    "train.log_every=1",
    "--set",
    "encoder.hidden=[32]",
    "--set",
    "encoder.dim=16",
    "--set",
    "source.view.ks=[4]",
    "--set",
    "cluster.neighbors=10",
];

#[test]
fn run_does_every_stage_and_a_second_run_does_none() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 40, 2500));
    bench.write("truth.tsv", support::truth(3, 40));
    let args = ["run", "reads/quickstart", "--input", "reads.fastq", "--out", "out", "--labels", "truth.tsv", "--json"];
    let first = bench.json(&[&args[..], TINY].concat());
    assert_eq!(first["stages"]["ingest"]["num_rows"], 120);
    assert_eq!(first["stages"]["embed"]["num_rows"], 120);
    assert!(first["stages"]["evaluate"]["kmeans"]["ari"].as_f64().is_some());
    assert!(first["stages"]["evaluate"]["symmetry_gap_max"].as_f64().unwrap() <= 1e-6);
    // Measured on as many samples as a quarter of the work of embedding 120 allows; each takes itself, its other
    // strand, and two for a pair.
    // a pair.
    assert_eq!(first["stages"]["evaluate"]["invariance_samples"], 7);
    assert!(first["stages"]["evaluate"]["alignment"].as_f64().unwrap() > 0.0);
    for file in [
        "data/manifest.json",
        "run/recipe.toml",
        "run/metrics.jsonl",
        "embeddings/part-00000.parquet",
        "clusters.parquet",
        "clusters.tsv",
        "clusters.svg",
        "evaluation.json",
        "report.html",
    ] {
        assert!(bench.path("out").join(file).exists(), "{file}");
    }
    // Reads have bases, and a depth from their overlaps; sums are over all.
    let groups = &first["stages"]["groups"];
    assert_eq!(groups["noun"], "reads");
    let members = groups["groups"].as_array().unwrap().iter().map(|group| group["members"].as_u64().unwrap());
    assert_eq!(members.sum::<u64>(), 120);
    let table = fs::read_to_string(bench.path("out/clusters.tsv")).unwrap();
    let (names, rows) = table.split_once('\n').unwrap();
    let num_clusters = first["stages"]["cluster"]["num_clusters"].as_u64().unwrap();
    assert_eq!((num_clusters, num_clusters > 1), (rows.lines().count() as u64, true));
    let at = |name: &str| names.split('\t').position(|there| there == name).unwrap();
    let sum = |name: &str| -> u64 {
        rows.lines().map(|row| row.split('\t').nth(at(name)).unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!((sum("reads"), sum("bases")), (120, 120 * 2500));
    assert!(["n50_bp", "gc", "depth", "genome_bp", "without_partners", "cosine_distance"].iter().all(|&f| at(f) > 1));
    let before = tree_digest(&bench.path("out"));
    let again = bench.json(&[&args[..], TINY].concat());
    assert_eq!(tree_digest(&bench.path("out")), before);
    assert_eq!(&again["stages"]["groups"], groups);
    let args = &args[..args.len() - 1];
    let words = bench.ok(&[args, TINY].concat());
    assert!(words.contains(": groups of 50 reads or more, with ") && words.contains("98 % identity"), "{words}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_one_and_two_threads() {
    // From the same file: a dataset also identifies its inputs by inode and times.
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 40, 2500));
    let digests: Vec<_> = ["1", "2"]
        .iter()
        .map(|threads| {
            bench.ok(&[
                &["run", "reads/quickstart", "--input", "reads.fastq", "--out", threads, "--threads", threads],
                TINY,
            ]
            .concat());
            let out = bench.path(threads);
            let file = |name: &str| fs::read(out.join(name)).unwrap();
            (
                tree_digest(&out.join("data")),
                tree_digest(&out.join("embeddings")),
                file("clusters.parquet"),
                file("run/model.safetensors"),
            )
        })
        .collect();
    assert!(digests[0] == digests[1]);
}

#[test]
fn info_knows_every_file() {
    let bench = Bench::trained();
    bench.ok(&["cluster", "emb", "--out", "clusters.parquet", "--k", "3"]);
    for (path, kind) in [("data", "dataset"), ("run", "run"), ("emb", "embeddings"), ("clusters.parquet", "clusters")] {
        assert_eq!(bench.json(&["info", path, "--json"])["kind"], kind, "{path}");
    }
    bench.ok(&["info", "data", "--verify"]);
    let shard = fs::read_dir(bench.path("data"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e != "json"))
        .unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let error = bench.fails(3, &["info", "data", "--verify"]);
    assert!(error.contains("SHA-256"), "{error}");
}

#[test]
fn none_one_and_two_reads_have_a_defined_outcome() {
    let bench = Bench::new();
    bench.write("0.fastq", "");
    let error = bench.fails(3, &["ingest", "reads", "0.fastq", "--out", "d0"]);
    assert!(error.contains("0.fastq: expected at least one read"), "{error}");
    assert!(!bench.path("d0").join("manifest.json").exists());
    bench.write("1.fastq", fastq(1, 1, 2500));
    bench.ok(&["ingest", "reads", "1.fastq", "--out", "d1"]);
    let error = bench.fails(3, &[&["train", "reads/quickstart", "--data", "d1", "--out", "r1"], TINY].concat());
    assert!(error.contains("at least 2"), "{error}");
    // Two reads can be trained on, embedded, clustered and evaluated.
    bench.write("2.fastq", fastq(2, 1, 2500));
    bench.write("2.tsv", support::truth(2, 1));
    let two = bench.json(
        &[&["run", "reads/quickstart", "--input", "2.fastq", "--out", "r2", "--labels", "2.tsv", "--json"], TINY]
            .concat(),
    );
    assert_eq!(two["stages"]["embed"]["num_rows"], 2);
    // A single read can be embedded by a model that was trained on others.
    bench.ok(&["embed", "--model", "r2/run", "--data", "d1", "--out", "e1"]);
    bench.ok(&["cluster", "e1", "--out", "c1.parquet"]);
    assert_eq!(bench.json(&["evaluate", "e1", "--json"])["num_rows"], 1);
}

#[test]
fn overlaps_are_found_once_and_anew_where_they_are_damaged() {
    let bench = Bench::trained();
    let kept = bench.path("data/overlaps.bin");
    let first = fs::read(&kept).unwrap();
    let whole = bench.json(&["info", "data", "--verify", "--json"]);
    assert_eq!(whole["has_overlaps"], true);
    let embed = |out| ["embed", "--model", "run", "--data", "data", "--out", out];
    assert!(!bench.words(&embed("e1")).contains("overlaps"));
    let columns = |emb: &str| bench.ok(&["query", emb, &format!("SELECT id, component, homologs, depth FROM {emb}")]);

    let mut damaged = first.clone();
    damaged[first.len() / 2] ^= 8;
    fs::write(&kept, damaged).unwrap();
    let error = bench.fails(3, &["info", "data", "--verify"]);
    assert!(error.contains("overlaps.bin: SHA-256: expected"), "{error}");
    let words = bench.words(&embed("e2"));
    assert!(words.contains("overlaps are found anew"), "{words}");
    assert_eq!(fs::read(&kept).unwrap(), first);
    assert_eq!(columns("e1"), columns("e2"));
}

#[test]
fn another_recipe_does_not_continue_a_run() {
    let bench = Bench::trained();
    let args = ["train", "reads/quickstart", "--data", "data", "--out", "run"];
    let changed = [&args[..], support::TRAINED, &["--set", "train.learning_rate=0.5"]].concat();
    let error = bench.fails(2, &changed);
    assert!(error.contains("learning_rate"), "{error}");
    bench.ok(&[&changed[..], &["--force"]].concat());
}

#[test]
fn other_data_do_not_continue_a_finished_run() {
    let bench = Bench::trained();
    bench.write("others.fastq", fastq(2, 20, 2500));
    bench.ok(&["ingest", "reads", "others.fastq", "--out", "others"]);
    let args = [&["train", "reads/quickstart", "--data", "others", "--out", "run"][..], support::TRAINED].concat();
    let error = bench.fails(2, &args);
    assert!(error.contains("run/summary.json was made with data.shards"), "{error}");
}

#[test]
fn bad_records_are_left_out_and_listed_on_request() {
    let bench = Bench::new();
    bench.write("bad.fastq", "@a\nACGT\n+\nIIII\n@b\nACGT\n+\nIII\n@c\nACGT\n+\nIIII\n");
    bench.fails(3, &["ingest", "reads", "bad.fastq", "--out", "data"]);
    let summary = bench.json(&["ingest", "reads", "bad.fastq", "--out", "data", "--skip-bad-records", "--json"]);
    assert_eq!((summary["num_rows"].as_u64(), summary["counts"]["bad_record"].as_u64()), (Some(2), Some(1)));
    let listed = summary["skipped"][0].as_str().unwrap();
    assert!(listed.contains("record 2") && listed.contains("4 bases but 3 quality values"), "{listed}");
}

#[test]
fn outputs_are_not_overwritten_without_force() {
    let bench = Bench::trained();
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "2"]);
    bench.fails(2, &["cluster", "emb", "--out", "c.parquet", "--k", "3"]);
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "3", "--force"]);
}

#[test]
fn help_names_the_recipes_and_gives_examples() {
    let bench = Bench::new();
    let help = bench.ok(&["run", "--help"]);
    for word in ["reads/quickstart", "reads/mapped-bam", "Examples:"] {
        assert!(help.contains(word), "{help}");
    }
    bench.fails(2, &["trian"]);
}

#[test]
fn an_unknown_key_and_an_unknown_recipe_are_usage_errors() {
    let bench = Bench::new();
    let error = bench.fails(2, &["train", "reads/quickstart", "--data", "d", "--out", "r", "--set", "train.stpes=3"]);
    assert!(error.contains("did you mean `steps`?"), "{error}");
    let error = bench.fails(2, &["train", "reads/quickstrat", "--data", "d", "--out", "r"]);
    assert!(error.contains("reads/quickstart"), "{error}");
}

#[test]
fn settings_that_cannot_be_are_usage_errors() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(1, 4, 2500));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    let kinds = "source.pairs.kinds=[{ type = \"overlap-walk\", max_steps = 0 }]";
    let message = bench.fails(2, &["views", "data", "--recipe", "reads/quickstart", "--set", kinds]);
    assert!(message.contains("kinds[0].max_steps = 0: it must be at least 1"), "{message}");
}

#[test]
fn every_encoder_is_strand_invariant_after_training() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 16, 400));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    bench.write("conv.toml", support::recipe("type = \"conv\"", "tokens"));
    bench.write("transformer.toml", support::recipe("type = \"transformer\"", "tokens"));
    bench.write("kmer.toml", support::recipe("type = \"kmer-mlp\"", "kmers"));
    for name in ["conv", "transformer", "kmer"] {
        let (run, emb) = (format!("run-{name}"), format!("emb-{name}"));
        bench.ok(&["train", &format!("{name}.toml"), "--data", "data", "--out", &run]);
        bench.ok(&["embed", "--model", &run, "--data", "data", "--out", &emb, "--probe", "48"]);
        let gap = bench.json(&["evaluate", &emb, "--json"])["symmetry_gap_max"].as_f64().unwrap();
        assert!(gap <= 1e-6, "{name}: {gap}");
    }
}

#[test]
fn labels_may_be_a_column_of_the_embeddings() {
    let bench = Bench::trained();
    bench.write("truth.tsv", support::truth(3, 20));
    // The mate column is null throughout; the source is one file; the description is what the name line says.
    let found = bench.json(&["evaluate", "emb", "--label-column", "description", "--json"]);
    assert_eq!(found["labels"]["column"], "description");
    assert_eq!(found["labels"]["num_labels"], 1);
    assert_eq!(found["recall_at_1"], 1.0);
    let error = bench.fails(2, &["evaluate", "emb", "--label-column", "specis"]);
    assert!(error.contains("expected a column \"specis\", found id, source"), "{error}");
    let table = bench.json(&["evaluate", "emb", "--labels", "truth.tsv", "--json"]);
    assert_eq!(table["labels"]["num_labels"], 3);
    let accuracy = table["kmeans"]["accuracy"].as_f64().unwrap();
    assert!((1.0 / 3.0..=1.0).contains(&accuracy) && accuracy <= table["kmeans"]["purity"].as_f64().unwrap() + 1e-9);
    let error = bench.fails(2, &["evaluate", "emb", "--clusters", "c.parquet"]);
    assert!(error.contains("--labels") || error.contains("--label-column"), "{error}");
}

#[test]
fn moved_reads_are_found_by_their_own() {
    let bench = Bench::trained();
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb", "--probe", "60", "--force"]);
    let embedded = bench.json(&["info", "emb", "--json"]);
    let figures = &embedded["provenance"]["invariance"];
    assert_eq!(figures["invariance_samples"], 60.0);
    // The encoder is strand-invariant by construction.
    assert!(figures["symmetry_cosine_p1"].as_f64().unwrap() > 1.0 - 1e-6, "{figures}");
    assert_eq!(figures["retrieval_upright_moved"], 1.0);
    assert!(figures["retrieval_moved_moved"].is_null(), "one symmetry: {figures}");
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "moved", "--moved"]);
    let found = bench.json(&["evaluate", "emb", "--against", "moved", "--label-column", "description", "--json"]);
    assert_eq!((&found["against"]["retrieval"], &found["against"]["retrieval_back"]), (&1.0.into(), &1.0.into()));
    assert!(found["against"]["cosine_mean"].as_f64().unwrap() > 1.0 - 1e-6, "{found}");
    assert_eq!(found["against"]["recall_at_1"], 1.0);
    assert_eq!(bench.json(&["evaluate", "moved", "--json"])["moved"], true);
    // Moved embeddings do not continue unmoved ones.
    bench.fails(2, &["embed", "--model", "run", "--data", "data", "--out", "emb", "--moved"]);
    let error = bench.fails(3, &["evaluate", "emb", "--against", "data"]);
    assert!(error.contains("data"), "{error}");
}

#[test]
fn a_recipe_says_in_how_many_bits_embeddings_are_and_an_option_says_otherwise() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    let run = ["run", "reads/quickstart", "--input", "reads.fastq", "--out", "out", "--set", "embed.dtype=float16"];
    bench.ok(&[&run, TINY].concat());
    let (by_recipe, by_option) = ("out/embeddings", "single");
    bench.ok(&["embed", "--model", "out/run", "--data", "out/data", "--out", by_option, "--dtype", "float32"]);
    for (path, precision) in [(by_recipe, "half"), (by_option, "single")] {
        let info = bench.json(&["info", path, "--json"]);
        assert_eq!((&info["provenance"]["precision"], &info["num_rows"]), (&precision.into(), &60.into()), "{info}");
    }
}

#[test]
fn probes_tell_what_the_embedding_gives_away() {
    let bench = Bench::trained();
    let found = bench.json(&["evaluate", "emb", "--probe", "gc", "--probe", "source", "--json"]);
    // The three genomes differ in composition, which the k-mer profile shows; there is only one source.
    let gc = &found["probes"]["gc"];
    assert_eq!((&gc["measure"], &gc["num_rows"]), (&"r2".into(), &60.into()), "{found}");
    assert!(found["probes"]["source"].is_null(), "{found}");
    let text = bench.ok(&["evaluate", "emb", "--probe", "gc"]);
    assert!(text.contains("what a linear model predicts from the embedding"), "{text}");
    assert!(bench.json(&["evaluate", "emb", "--json"])["probes"].is_null());
    let error = bench.fails(2, &["evaluate", "emb", "--probe", "gcc"]);
    assert!(error.contains("--probe gcc") && error.contains("gc"), "{error}");
}

#[test]
fn pictures_are_of_micrographs() {
    let bench = Bench::trained();
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "2"]);
    for (command, out) in [("gallery", "g.png"), ("paint", "painted")] {
        let error = bench.fails(3, &[command, "c.parquet", "--data", "data", "--out", out]);
        assert!(error.contains("micrographs") && error.contains("reads"), "{error}");
        assert!(!bench.path(out).exists());
        bench.write(out, "");
        let error = bench.fails(2, &[command, "c.parquet", "--data", "data", "--out", out]);
        assert!(error.contains("exists already"), "{error}");
    }
}

#[test]
fn views_of_reads_are_text() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 4, 2500));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    let args = ["views", "data", "--recipe", "reads/quickstart", "-n", "5"];
    let text = bench.ok(&args);
    assert_eq!(text.matches("windows pair").count(), 5, "{text}");
    assert_eq!(text.matches("  view 2: read ").count(), 5, "{text}");
    assert_eq!(bench.ok(&args), text);
    assert_ne!(bench.ok(&[&args[..], &["--seed", "7"]].concat()), text);
    bench.ok(&[&args[..], &["--out", "views.txt"]].concat());
    assert_eq!(fs::read_to_string(bench.path("views.txt")).unwrap().trim_end(), text.trim_end());
    let error = bench.fails(2, &[&args[..], &["--out", "views.txt"]].concat());
    assert!(error.contains("--force"), "{error}");
    let error = bench.fails(2, &[&args[..], &["--out", "views.png"]].concat());
    assert!(error.contains("the views of this recipe are text, not a .png file"), "{error}");
}
