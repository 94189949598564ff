//! Every built-in recipe on real or realistic input: those that state expected figures in full, the others for a few
//! steps, so that none is shipped that refuses its own kind of data.
#![cfg(feature = "torch")]

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use image::GrayImage;
use invar_micrographs::read_label_map;
use support::Bench;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `[expected]` of a recipe file.
fn expected(recipe: &str) -> toml::Table {
    let file = std::fs::read_to_string(project(&format!("pipelines/{recipe}.toml"))).unwrap();
    file.parse::<toml::Table>().unwrap()["expected"].as_table().unwrap().clone()
}

#[test]
fn the_quickstart_comes_to_what_it_says() {
    let (bench, expected) = (Bench::new(), expected("reads/quickstart"));
    let data = project(expected["data"].as_str().unwrap());
    let (reads, truth) = (text(&data.join("reads.fastq.gz")), text(&data.join("truth.tsv")));
    let args = ["run", "reads/quickstart", "--input", &reads, "--labels", &truth, "--out", "out", "--json", "-q"];
    let found = bench.json(&[&args[..], &["--probe", "1000"]].concat())["stages"]["evaluate"].clone();
    let figure = |value: &serde_json::Value| value.as_f64().unwrap();
    assert!(figure(&found["kmeans"]["ari"]) >= expected["min_ari"].as_float().unwrap(), "{found}");
    let least = expected["min_nearest_neighbour"].as_float().unwrap();
    assert!(figure(&found["recall_at_1"]) >= least, "{found}");
    assert!(figure(&found["symmetry_gap_max"]) <= 1e-6, "{found}");
}

/// Steps and figures of a whole training of images take minutes unoptimised; what is tested here is everything around
/// it.
#[test]
fn recipes_of_micrographs_run_to_their_pictures() {
    let images = text(&project("test-data/micrographs/polycrystals/images/polycrystal-1.tif"));
    let kinds = format!(
        "source.ingest.classes={}",
        text(&project("test-data/micrographs/polycrystals/kinds/polycrystal-1.tif"))
    );
    let cases: [(&str, &[&str], std::ops::RangeInclusive<u64>); 4] = [
        // 72 grains were made.
        ("micrographs/quickstart", &[], 60..=110),
        ("micrographs/grains", &["source.ingest.segment.min_size_px=400"], 20..=400),
        ("micrographs/particles", &[], 20..=2000),
        ("micrographs/textures", &["source.ingest.segment={method=\"tiles\",size_px=128,overlap_px=0}"], 16..=16),
    ];
    for (recipe, settings, expected) in cases {
        let bench = Bench::new();
        let mut args = vec!["run", recipe, "--input", &images, "--out", "out", "--json", "-q", "--set", &kinds];
        args.extend(["--set", "train.steps=2", "--set", "train.batch_size=8", "--set", "train.warmup_steps=1"]);
        args.extend(["--set", "train.validation_fraction=0", "--set", "source.embed.rotations=1"]);
        args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        args.extend(["--label-column", "class"]);
        let stages = bench.json(&args)["stages"].clone();
        let grains = stages["ingest"]["num_rows"].as_u64().unwrap();
        assert!(expected.contains(&grains), "{recipe}: {grains} grains");
        assert_eq!(stages["embed"]["num_rows"].as_u64(), Some(grains), "{recipe}");
        assert!(stages["evaluate"]["labels"]["num_labels"].as_u64().unwrap() >= 2, "{recipe}: {stages}");
        for picture in ["views.png", "gallery.png", "painted/polycrystal-1.png", "painted/polycrystal-1.tif"] {
            assert!(bench.path(&format!("out/{picture}")).is_file(), "{recipe}: {picture}");
        }
    }
}

/// F1 of the regions of two label maps: a region of one is found where one of the other has more than half of the pixels of both
/// together (PQ's rule, Kirillov et al. 2019, by which at most one can). Regions of fewer than 30 pixels do not count.
fn f1(found: &[u32], truth: &[u32]) -> f64 {
    let sizes = |labels: &[u32]| {
        let mut sizes = BTreeMap::new();
        labels.iter().filter(|&&label| label != 0).for_each(|&label| *sizes.entry(label).or_insert(0usize) += 1);
        sizes
    };
    let (of_found, of_truth) = (sizes(found), sizes(truth));
    let mut common = BTreeMap::new();
    found.iter().zip(truth).for_each(|(&a, &b)| *common.entry((a, b)).or_insert(0usize) += 1);
    let large = |sizes: &BTreeMap<u32, usize>| sizes.values().filter(|&&size| size >= 30).count();
    let is_match = |(&(a, b), &both): (&(u32, u32), &usize)| match (of_found.get(&a), of_truth.get(&b)) {
        (Some(&of_a), Some(&of_b)) => of_a.min(of_b) >= 30 && 2 * both > of_a + of_b - both,
        _ => false,
    };
    let matches = common.iter().filter(|&pair| is_match(pair)).count();
    2.0 * matches as f64 / (large(&of_found) + large(&of_truth)).max(1) as f64
}

/// Grey discs on a ground that is lit from the left, with noise; eight pairs overlap. With the disc of each pixel, from 1.
fn discs() -> (GrayImage, Vec<u32>) {
    const SIDE: u32 = 400;
    let centre = |disc: u32| {
        let (column, row) = (disc % 8, disc / 8);
        // Each second disc of the first two columns comes near the one before it.
        let near = if disc % 8 == 1 { 29.0 } else { 0.0 };
        (f64::from(25 + 50 * column) - near, f64::from(25 + 50 * row), f64::from(10 + (disc * 7) % 4))
    };
    let mut labels = Vec::new();
    let mut noise = 1u32;
    let image = GrayImage::from_fn(SIDE, SIDE, |x, y| {
        let nearest = (0..64)
            .map(|disc| (disc, centre(disc)))
            .map(|(disc, (cx, cy, radius))| (disc, (f64::from(x) - cx).hypot(f64::from(y) - cy) / radius));
        let (disc, share) = nearest.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        labels.push(if share <= 1.0 { disc + 1 } else { 0 });
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grey = 90.0 + 40.0 * f64::from(x) / f64::from(SIDE) + f64::from(noise >> 28);
        image::Luma([(grey + if share <= 1.0 { 60.0 } else { 0.0 }) as u8])
    });
    (image, labels)
}

/// What is found by the recipes as they are, against what was made. On all six polycrystals F1 is 0.996.
#[test]
fn recipes_of_grains_and_particles_find_those_that_were_made() {
    let bench = Bench::new();
    let (image, truth) = discs();
    image.save(bench.path("discs.png")).unwrap();
    let polycrystal = |what: &str| project(&format!("test-data/micrographs/polycrystals/{what}/polycrystal-2.tif"));
    let grains = read_label_map(polycrystal("labels"), 1).unwrap().labels;
    let cases = [
        ("micrographs/grains", polycrystal("images"), "polycrystal-2", grains, 0.95),
        ("micrographs/particles", bench.path("discs.png"), "discs", truth, 0.95),
    ];
    for (recipe, image, name, truth, least) in cases {
        let out = format!("of-{name}");
        let image = text(&image);
        let mut args = vec!["run", recipe, "--input", &image, "--out", &out, "--json", "-q"];
        args.extend(["--set", "train.steps=2", "--set", "train.batch_size=8", "--set", "train.warmup_steps=1"]);
        args.extend(["--set", "train.validation_fraction=0", "--set", "source.embed.rotations=1"]);
        let rows = bench.json(&args)["stages"]["embed"]["num_rows"].as_u64().unwrap();
        let found = read_label_map(bench.path(&format!("{out}/data/labels/{name}.tif")), 1).unwrap().labels;
        assert_eq!(rows, u64::from(*found.iter().max().unwrap()), "{recipe}");
        let figure = f1(&found, &truth);
        assert!(figure >= least, "{recipe}: F1 {figure}, {rows} found");
    }
}

#[test]
fn the_other_recipes_run_on_their_kind_of_reads() {
    let cases: [(&str, &[&str], u64); 3] = [
        ("reads/short-read-pairs", &["hiseq-pairs_1.fastq.gz", "hiseq-pairs_2.fastq.gz"], 500),
        ("reads/mapped-bam", &["human-chr17.bam"], 300),
        ("reads/long-reads", &["nanopore.fastq.gz"], 0),
    ];
    for (recipe, files, num_reads) in cases {
        let bench = Bench::new();
        let inputs: Vec<String> = files.iter().map(|name| text(&project("test-data/reads/real").join(name))).collect();
        let mut args = vec!["run", recipe, "--out", "out", "--json", "-q", "--set", "train.steps=3", "--set"];
        args.extend(["train.batch_size=16", "--set", "train.warmup_steps=1", "--input"]);
        args.extend(inputs.iter().map(String::as_str));
        let stages = bench.json(&args)["stages"].clone();
        let embedded = stages["embed"]["num_rows"].as_u64().unwrap();
        assert_eq!(stages["ingest"]["num_rows"].as_u64(), Some(embedded), "{recipe}");
        // Long reads below the recipe's minimum length are dropped; every other read is kept.
        assert!(if num_reads == 0 { embedded > 10 } else { embedded == num_reads }, "{recipe}: {embedded}");
    }
}

#[test]
fn images_without_grains_and_a_single_one_have_their_error() {
    let cases = [
        ("micrographs/particles", "one-value.tif", "needs at least 1 samples, the dataset has 0"),
        ("micrographs/textures", "grey.png", "needs at least 2 samples, the dataset has 1"),
    ];
    for (recipe, image, message) in cases {
        let bench = Bench::new();
        let image = text(&project("test-data/micrographs/corpus").join(image));
        let error = bench.fails(3, &["run", recipe, "--input", &image, "--out", "out", "-q"]);
        assert!(error.contains(message), "{recipe}: {error}");
        // What was finished before the error is whole.
        assert!(bench.ok(&["info", "out/data", "--verify"]).contains("1 shard,"), "{recipe}");
    }
}

/// Hidden bases of reads are learned together with the contrast, and what cannot be learned is reported.
#[test]
fn several_losses_train_from_one_recipe() {
    let bench = Bench::new();
    bench.write("reads.fastq", support::fastq(3, 30, 400));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    let recipe = r#"
name = "hidden"

[source]
type = "reads"

[source.view]
type = "tokens"

[source.pairs]
masked = 0.15

[[source.pairs.kinds]]
type = "windows"
window_bp = 120

[encoder]
type = "conv"
channels = 16
depth = 2
dim = 16

[[loss]]
type = "info-nce"
temperature = 0.2

[[loss]]
type = "masked-token"
weight = 0.5

[train]
steps = 6
batch_size = 16
validation_fraction = 0.2
validate_every = 3
log_every = 1
"#;
    bench.write("hidden.toml", recipe);
    bench.ok(&["train", "hidden.toml", "--data", "data", "--out", "run"]);
    let metrics = std::fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    for name in ["info-nce", "info-nce/accuracy", "masked-token", "masked_accuracy"] {
        assert!(first[name].is_number(), "{name}: {first}");
    }
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb"]);
    // The resolved recipe contains both, and resolves to itself.
    bench.ok(&["train", "run/recipe.toml", "--data", "data", "--out", "run"]);
    for (from, to, reason) in [
        (
            "masked = 0.15",
            "masked = 0.0",
            "loss masked-token is asked nothing by the pairs: masked-token needs hidden tokens",
        ),
        ("weight = 0.5", "weight = -1.0", "loss.weight must be above 0, got -1"),
        (
            "type = \"masked-token\"",
            "type = \"info-nce\"",
            "loss.type must be losses of different types, got info-nce twice",
        ),
    ] {
        assert!(recipe.contains(from));
        bench.write("bad.toml", recipe.replace(from, to));
        let error = bench.fails(2, &["train", "bad.toml", "--data", "data", "--out", "bad"]);
        assert!(error.contains(reason), "{error}");
    }
    let kmers = recipe
        .replace("type = \"tokens\"", "type = \"kmers\"")
        .replace("type = \"conv\"\nchannels = 16\ndepth = 2", "type = \"kmer-mlp\"");
    bench.write("kmers.toml", kmers);
    let error = bench.fails(2, &["train", "kmers.toml", "--data", "data", "--out", "bad"]);
    assert!(error.contains("k-mer profiles, which have no bases to hide"), "{error}");
}
