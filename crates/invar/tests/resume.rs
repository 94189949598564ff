//! kill -9 in every stage, then the same command again: the bytes are those of a run that was never interrupted.
#![cfg(all(feature = "torch", unix))]

mod support;

use std::{os::unix::process::ExitStatusExt, path::Path, time::Duration};

use support::{Bench, fastq, tree_digest};

/// Shards of a few reads each, a checkpoint every other step, and more reads than fit in one part of the embeddings.
const ARGS: &[&str] = &[
    "run",
    "reads/quickstart",
    "--input",
    "reads.fastq",
    "--set",
    "source.ingest.shard_rows=10000",
    "--set",
    "source.view.ks=[2]",
    "--set",
    "encoder.hidden=[8]",
    "--set",
    "encoder.dim=4",
    "--set",
    "cluster.neighbors=5",
    "--set",
    "train.steps=200",
    "--set",
    "train.batch_size=64",
    "--set",
    "train.checkpoint_every=2",
    "--set",
    "source.pairs.kinds=[{ type = \"windows\", window_bp = [20, 30] }]",
    "--out",
    "out",
];

/// Files that show that a stage has begun to complete something.
const SIGNS: &[&str] = &["out/data", "out/run/checkpoints", "out/embeddings"];

#[test]
fn killed_in_every_stage_and_run_again_gives_the_same_bytes() {
    let reads = fastq(3, 24_000, 70);
    let (whole, killed) = (Bench::new(), Bench::new());
    for bench in [&whole, &killed] {
        bench.write("reads.fastq", &reads);
    }
    whole.ok(ARGS);
    for sign in SIGNS {
        let mut child = killed.command(ARGS).stderr(std::process::Stdio::null()).spawn().unwrap();
        while !has_files(&killed.path(sign)) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "the run ended before {sign} was met");
    }
    killed.ok(ARGS);
    let (expected, found) = (digest(&whole), digest(&killed));
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (path, bytes) in &expected {
        assert!(found[path] == *bytes, "{} differs", path.display());
    }
}

#[test]
fn a_killed_ingest_of_images_goes_on_to_the_same_bytes() {
    const ARGS: &[&str] = &["ingest", "micrographs", "images", "--out", "out", "--pixel-size", "5"];
    let (whole, killed) = (Bench::new(), Bench::new());
    for bench in [&whole, &killed] {
        std::fs::create_dir(bench.path("images")).unwrap();
        for number in 0..12u32 {
            // Cells of 40 pixels with dark walls.
            let value = |x: u32, y: u32| {
                if x % 40 < 3 || y % 40 < 3 { 30 } else { 150 + (x / 40 * 7 + y / 40 * 13 + number) % 60 }
            };
            let image = image::GrayImage::from_fn(240, 200, |x, y| image::Luma([value(x, y) as u8]));
            image.save(bench.path(&format!("images/{number:02}.png"))).unwrap();
        }
    }
    whole.ok(ARGS);
    // Once in the middle of the images, once in the middle of the tables.
    for sign in ["micrographs-000003.shard", "manifest.json"] {
        let mut child = killed.command(ARGS).stderr(std::process::Stdio::null()).spawn().unwrap();
        while !killed.path("out").join(sign).is_file() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "the ingest ended before {sign} was met");
    }
    killed.ok(ARGS);
    let (expected, found) = (digest(&whole), digest(&killed));
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    assert!(expected.keys().any(|path| path.ends_with("grains.parquet")));
    for (path, bytes) in &expected {
        assert!(found[path] == *bytes, "{} differs", path.display());
    }
}

fn has_files(dir: &Path) -> bool {
    let visible = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    };
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.any(visible))
}

/// Everything except times and the identity of the input files on this disk.
fn digest(bench: &Bench) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = tree_digest(&bench.path("out"));
    let tells_the_time = |path: &Path| path.ends_with("metrics.jsonl") || path.iter().any(|part| part == "tensorboard");
    files.retain(|path, _| !tells_the_time(path));
    for (_, manifest) in files.iter_mut().filter(|(path, _)| path.ends_with("manifest.json")) {
        let mut json: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        for input in json["inputs"].as_array_mut().unwrap() {
            assert!(input.as_object_mut().unwrap().remove("identity").is_some());
        }
        *manifest = json.to_string().into_bytes();
    }
    files
}
