//! What commands do with existing outputs: results of the same inputs, of others, of a command that failed, and files
//! that Invar never wrote.
#![cfg(all(feature = "torch", unix))]

mod support;

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{ffi::OsStringExt, fs::symlink},
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use support::{Bench, TRAINED, fastq, tree_digest};

const VALID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/reads/corpus/valid");

/// A refusal, for a command that the user could have meant otherwise, as distinct from a failure.
fn refused(bench: &Bench, args: &[&str]) -> String {
    let output = bench.command(args).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "invar {args:?}");
    error
}

/// `number` images of 160 x 120 pixels with cells of 40 and dark walls. Their content depends on `seed`, their size in
/// bytes does not.
fn images(bench: &Bench, directory: &str, number: u32, seed: u32) {
    const SIZE: [u32; 2] = [160, 120];
    fs::create_dir_all(bench.path(directory)).unwrap();
    for image in 0..number {
        let value = |x: u32, y: u32| {
            if x % 40 < 3 || y % 40 < 3 { 30 } else { 150 + (x / 40 * 7 + y / 40 * 13 + image + seed) % 60 }
        };
        let pixels: Vec<u8> = (0..SIZE[0] * SIZE[1]).map(|at| value(at % SIZE[0], at / SIZE[0]) as u8).collect();
        bench.write(&format!("{directory}/{image}.tif"), tiff(SIZE, &pixels));
    }
}

/// A TIFF of one strip of 8-bit pixels (TIFF 6.0, section 4).
fn tiff([width, height]: [u32; 2], pixels: &[u8]) -> Vec<u8> {
    let num_pixels = pixels.len() as u32;
    let tags: [(u16, u32); 9] = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, num_pixels),
    ];
    let mut bytes =
        [&b"II*\0"[..], &(8 + num_pixels).to_le_bytes(), pixels, &(tags.len() as u16).to_le_bytes()].concat();
    for (tag, value) in tags {
        bytes.extend([tag.to_le_bytes(), 4u16.to_le_bytes()].concat());
        bytes.extend([1u32.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend([0; 4]);
    bytes
}

/// Everything below the bench with its bytes.
fn tree(bench: &Bench) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    tree_digest(&bench.path(""))
}

#[test]
fn another_input_behind_the_same_path_is_not_taken_for_the_old_one() {
    let bench = Bench::new();
    bench.write("day1.fq", fastq(1, 20, 100));
    // Same size, different content, and older than the dataset made from the first.
    bench.write("day2.fq", fastq(1, 20, 100).replace('A', "C"));
    symlink(bench.path("day1.fq"), bench.path("s.fq")).unwrap();
    let args = ["ingest", "reads", "s.fq", "--out", "data"];
    assert!(!bench.ok(&args).contains("done before"));
    let again = bench.ok(&args);
    assert!(again.contains("20 reads in 1 shard, done before, from the same inputs; nothing was written"), "{again}");
    fs::remove_file(bench.path("s.fq")).unwrap();
    symlink(bench.path("day2.fq"), bench.path("s.fq")).unwrap();
    let error = refused(&bench, &args);
    assert!(error.contains("data: holds another dataset: s.fq has changed since (use --force"), "{error}");
    // A copy of the dataset knows as much as the original, whenever it was made.
    bench.ok(&["ingest", "reads", "day1.fq", "--out", "copied"]);
    fs::create_dir(bench.path("copy")).unwrap();
    for entry in fs::read_dir(bench.path("copied")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, bench.path("copy").join(path.file_name().unwrap())).unwrap();
    }
    // Touched, it is still the same; with other bytes and the old time, it is not.
    let file = File::options().append(true).open(bench.path("day1.fq")).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    for out in ["copied", "copy"] {
        assert!(bench.ok(&["ingest", "reads", "day1.fq", "--out", out]).contains("done before"));
    }
    bench.write("day1.fq", fastq(1, 20, 100).replace('G', "T"));
    file.set_modified(time).unwrap();
    for out in ["copied", "copy"] {
        assert!(refused(&bench, &["ingest", "reads", "day1.fq", "--out", out]).contains("day1.fq has changed since"));
    }
}

#[test]
fn another_directory_of_images_sheets_or_masks_is_seen() {
    let bench = Bench::new();
    for (directory, seed) in [("images", 1), ("next", 2)] {
        images(&bench, directory, 2, seed);
    }
    let names: Vec<PathBuf> = fs::read_dir(bench.path("images")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names.len(), 2);
    bench.write("sheet.csv", "image,steel\n0,a\n1,b\n");
    let args = ["ingest", "micrographs", "images", "--sample-sheet", "sheet.csv", "--out", "data"];
    bench.ok(&args);
    let again = bench.ok(&args);
    assert!(again.contains("on 2 images, done before, from the same inputs; nothing was written"), "{again}");
    bench.write("sheet.csv", "image,steel\n0,a\n1,c\n");
    assert!(refused(&bench, &args).contains("sheet.csv has changed since"));
    bench.write("sheet.csv", "image,steel\n0,a\n1,b\n");
    assert!(bench.ok(&args).contains("done before"));
    fs::rename(bench.path("images"), bench.path("images.old")).unwrap();
    fs::rename(bench.path("next"), bench.path("images")).unwrap();
    assert!(refused(&bench, &args).contains("has changed since"));
    // Without its tables it is finished except for them.
    fs::rename(bench.path("images"), bench.path("next")).unwrap();
    fs::rename(bench.path("images.old"), bench.path("images")).unwrap();
    fs::remove_file(bench.path("data/grains.parquet")).unwrap();
    assert!(bench.ok(&args).contains("its tables were missing and were written"));
    assert!(bench.path("data/grains.parquet").is_file());
}

#[test]
fn a_replacement_that_fails_leaves_the_old_dataset() {
    let bench = Bench::new();
    bench.write("good.fq", fastq(1, 20, 100));
    bench.write("cut.fq", &fastq(1, 20, 100)[..3001]);
    bench.ok(&["ingest", "reads", "good.fq", "--out", "reads"]);
    images(&bench, "images", 2, 1);
    bench.ok(&["ingest", "micrographs", "images", "--out", "grains"]);
    fs::create_dir(bench.path("bad")).unwrap();
    bench.write("bad/x.tif", "II*\0 no more");
    bench.write("grains/notes.txt", "precious");
    let before = tree(&bench);
    bench.fails(3, &["ingest", "reads", "--force", "cut.fq", "--out", "reads"]);
    bench.fails(3, &["ingest", "micrographs", "--force", "bad", "--out", "grains"]);
    assert!(tree(&bench) == before);
    // Success replaces what Invar wrote, and nothing else.
    bench.ok(&["ingest", "micrographs", "--force", "images", "--tiles", "40", "--out", "grains"]);
    assert_eq!(fs::read(bench.path("grains/notes.txt")).unwrap(), b"precious");
    assert!(!bench.path("grains/labels").exists() && !bench.path(".grains.partial").exists());
    bench.ok(&["info", "grains", "--verify"]);
    assert_eq!(
        bench.json(&["query", "grains/grains.parquet", "SELECT COUNT(*) AS n FROM self", "--json"])["rows"][0]["n"],
        24
    );
}

#[test]
fn a_command_that_failed_does_not_block_the_corrected_one() {
    let bench = Bench::new();
    let bam = bam();
    fs::copy(&bam, bench.path("other.bam")).unwrap();
    for pairing in ["--mates", "--interleaved"] {
        let error = bench.fails(2, &["ingest", "reads", pairing, &bam, "other.bam", "--out", "data/of/mine"]);
        assert!(error.contains("BAM and CRAM records say themselves who their mate is"), "{error}");
        assert!(!bench.path("data").exists());
    }
    bench.ok(&["ingest", "reads", &bam, "--out", "data/of/mine"]);
    bench.write("a.fq", fastq(1, 4, 100));
    let absent = refused(&bench, &["ingest", "reads", "a.fq", "absent.fq", "--out", "other"]);
    assert!(absent.contains("absent.fq") && !bench.path("other").exists(), "{absent}");
    images(&bench, "images", 1, 1);
    refused(&bench, &["ingest", "micrographs", "images", "--crop-bottom", "9999", "--out", "grains"]);
    refused(&bench, &["ingest", "micrographs", "images", "absent.tif", "--out", "grains"]);
    assert!(!bench.path("grains").exists());
}

/// The files below `directory`, but the manifest.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { files_of(&path) } else { vec![path] });
    below.filter(|path| !path.ends_with("manifest.json")).collect()
}

#[test]
fn each_file_of_a_dataset_that_is_damaged_or_lost_is_named() {
    let project = |file: &str| format!("{}/../../test-data/{file}", env!("CARGO_MANIFEST_DIR"));
    let contigs =
        ["contigs.fa.gz", "depth.txt", "assembly_graph.gfa.gz"].map(|file| project(&format!("contigs/{file}")));
    let tables = ["nodes.tsv", "edges.tsv"].map(|file| project(&format!("graphs/communities/{file}")));
    // The reads have overlaps too.
    let bench = Bench::trained();
    images(&bench, "images", 2, 1);
    bench.ok(&["ingest", "micrographs", "images", "--out", "grains"]);
    bench.ok(&["ingest", "contigs", &contigs[0], "--depth", &contigs[1], "--gfa", &contigs[2], "--out", "contigs"]);
    bench.ok(&["ingest", "graph", &tables[0], &tables[1], "--out", "graph"]);
    // Shards; label maps, pictures and three tables; three samples and the graph.
    for (data, num_files) in [("data", 2), ("grains", 2 + 2 + 2 + 3), ("contigs", 1 + 3 + 1), ("graph", 1)] {
        bench.ok(&["info", data, "--verify"]);
        let files = files_of(&bench.path(data));
        assert_eq!(files.len(), num_files, "{files:?}");
        for file in files {
            let (whole, name) = (fs::read(&file).unwrap(), file.strip_prefix(bench.path(".")).unwrap());
            for at in [0, 8, 60, whole.len() / 2, whole.len() - 1] {
                let mut damaged = whole.clone();
                damaged[at] ^= 4;
                fs::write(&file, damaged).unwrap();
                let error = bench.fails(3, &["info", data, "--verify"]);
                assert!(error.contains(&format!("{}: ", name.display())), "byte {at} of {}: {error}", name.display());
            }
            fs::remove_file(&file).unwrap();
            // Overlaps are found anew.
            if !file.ends_with("overlaps.bin") {
                let error = bench.fails(3, &["info", data, "--verify"]);
                assert!(error.contains(&format!("{}: file of the dataset", name.display())), "{error}");
            }
            fs::write(&file, whole).unwrap();
        }
        bench.ok(&["info", data, "--verify"]);
    }
    // Tables and pictures are made again, whatever a version makes of them, and are listed as they are then.
    for lost in ["images.parquet", "segmented/0.png"] {
        fs::remove_file(bench.path("grains").join(lost)).unwrap();
        bench.ok(&["ingest", "micrographs", "images", "--out", "grains"]);
        bench.ok(&["info", "grains", "--verify"]);
    }
    fs::remove_file(bench.path("grains/labels/0.tif")).unwrap();
    let refusal = refused(&bench, &["ingest", "micrographs", "images", "--out", "grains"]);
    assert!(refusal.contains("labels/0.tif is missing"), "{refusal}");
}

/// Any of the BAM specimens.
fn bam() -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(VALID).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let bam = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "bam"));
    bam.unwrap().to_str().unwrap().to_owned()
}

#[test]
fn nobody_writes_where_another_command_is_at_work() {
    let bench = Bench::trained();
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "2"]);
    let train = [&["train", "reads/quickstart", "--data", "data", "--out", "run", "--force"], TRAINED].concat();
    let commands: [(&str, &[&str]); 6] = [
        ("data", &["ingest", "reads", "reads.fastq", "--min-length", "2", "--out", "data", "--force"]),
        ("run", &train),
        ("emb", &["embed", "--model", "run", "--data", "data", "--out", "emb", "--force"]),
        (".e.parquet.partial", &["embed", "--model", "run", "--data", "data", "--out", "e.parquet"]),
        (".c.parquet.partial", &["cluster", "emb", "--out", "c.parquet", "--force"]),
        (".q.parquet.partial", &["query", "emb", "SELECT id FROM self", "--out", "q.parquet"]),
    ];
    for (locked, args) in commands {
        if locked.starts_with('.') {
            bench.write(locked, "");
        }
        let lock = File::open(bench.path(locked)).unwrap();
        lock.lock().unwrap();
        let before = tree(&bench);
        let error = bench.fails(1, args);
        assert!(error.contains("another command is writing there"), "invar {args:?}: {error}");
        assert!(tree(&bench) == before, "invar {args:?}");
        drop(lock);
        bench.ok(args);
        assert!(!locked.starts_with('.') || !bench.path(locked).exists(), "{locked} is left");
    }
}

/// A bench whose files have names that are not UTF-8.
struct Bytes {
    bench: Bench,
}

/// Such a name.
fn name(text: &str) -> OsString {
    let mut bytes = text.as_bytes().to_vec();
    bytes.insert(1, 0xff);
    OsString::from_vec(bytes)
}

/// As it appears in messages.
fn told(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!(r"{first}\xff{rest}")
}

impl Bytes {
    /// Runs a command whose arguments that begin with `=` are such names; returns what it printed.
    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.bench.command(&[]);
        for arg in args {
            match arg.strip_prefix('=') {
                Some(text) => command.arg(name(text)),
                None => command.arg(arg),
            };
        }
        command.output().unwrap()
    }

    /// Its summary. Commands that may be repeated are also run for their text output.
    fn json(&self, args: &[&str]) -> Value {
        let mut said = Vec::new();
        for words in [&["--json"][..], &[]] {
            let output = self.run(&[args, words].concat());
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && !error.contains("panicked"), "invar {args:?} {words:?}\n{error}");
            said.push(output.stdout);
            if args.contains(&"--force") || ["cluster", "query", "views", "gallery", "paint"].contains(&args[0]) {
                break;
            }
        }
        serde_json::from_slice(&said[0]).unwrap()
    }

    fn path(&self, text: &str) -> PathBuf {
        self.bench.path("").join(name(text))
    }
}

#[test]
fn paths_of_reads_may_be_any_bytes() {
    let bytes = Bytes { bench: Bench::new() };
    fs::write(bytes.path("in.fq"), fastq(3, 20, 2500)).unwrap();
    let ingested = bytes.json(&["ingest", "reads", "=in.fq", "--out", "=data"]);
    assert_eq!(ingested["out"], told("data"));
    assert_eq!(bytes.json(&["ingest", "reads", "=in.fq", "--out", "=data"])["done_before"], true);
    // A replacement with such a name.
    bytes.json(&["ingest", "reads", "=in.fq", "--min-length", "2", "--out", "=data", "--force"]);
    assert_eq!(bytes.json(&["info", "=data"])["inputs"][0]["path"], told("in.fq"));
    let train = [&["train", "reads/quickstart", "--data", "=data", "--out", "=run"], TRAINED].concat();
    assert_eq!(bytes.json(&train)["out"], told("run"));
    assert_eq!(bytes.json(&["info", "=run"])["kind"], "run");
    for out in ["=emb", "=emb.parquet"] {
        let embedded = bytes.json(&["embed", "--model", "=run", "--data", "=data", "--out", out]);
        assert_eq!(embedded["out"], told(&out[1..]));
        assert_eq!(bytes.json(&["info", out])["provenance"]["inputs"][0]["path"], told("in.fq"));
    }
    let cluster = ["cluster", "=emb", "--k", "2", "--plot", "=c.svg", "--out", "=c.parquet"];
    let clustered = bytes.json(&cluster);
    assert_eq!((&clustered["out"], &clustered["plot"]), (&told("c.parquet").into(), &told("c.svg").into()));
    let sql = "SELECT DISTINCT source FROM self";
    assert_eq!(bytes.json(&["query", "=emb", sql])["rows"][0]["source"], told("in.fq"));
    let queried = bytes.json(&["query", "=emb", "=c.parquet", sql, "--out", "=q.parquet"]);
    assert_eq!(queried["out"], told("q.parquet"));
    bytes.json(&["evaluate", "=emb", "--against", "=emb.parquet"]);
    assert_eq!(
        bytes.json(&["views", "=data", "--recipe", "reads/quickstart", "--out", "=v.txt"])["out"],
        told("v.txt")
    );
    assert_eq!(bytes.json(&["info", "=in.fq"])["path"], told("in.fq"));
    let run = [&["run", "reads/quickstart", "--input", "=in.fq", "--out", "=all"], TRAINED].concat();
    assert_eq!(bytes.json(&run)["stages"]["ingest"]["out"], format!("{}/data", told("all")));
}

#[test]
fn paths_of_micrographs_may_be_any_bytes() {
    let bytes = Bytes { bench: Bench::new() };
    images(&bytes.bench, "images", 3, 1);
    for (number, entry) in fs::read_dir(bytes.bench.path("images")).unwrap().enumerate() {
        let path = entry.unwrap().path();
        let renamed = name(&format!("i{number}.tif"));
        fs::rename(&path, path.with_file_name(renamed)).unwrap();
    }
    fs::rename(bytes.bench.path("images"), bytes.path("images")).unwrap();
    let sets = ["--set", "train.steps=2", "--set", "train.batch_size=4", "--set", "encoder.dim=8"];
    let run = [&["run", "micrographs/quickstart", "--input", "=images", "--out", "=all"][..], &sets].concat();
    let found = bytes.json(&run);
    assert_eq!(found["stages"]["ingest"]["out"], format!("{}/data", told("all")));
    let again = bytes.json(&run);
    for stage in ["ingest", "train", "embed", "cluster"] {
        assert_eq!(again["stages"][stage]["done_before"], true, "{stage}");
    }
    // Masks and class maps beside images.
    let labels = bytes.path("all").join("data/labels");
    fs::rename(&labels, bytes.path("masks")).unwrap();
    let ingest = ["ingest", "micrographs", "=images", "--labels", "=masks", "--classes", "=masks", "--out", "=data"];
    let ingested = bytes.json(&ingest);
    assert_eq!(ingested["out"], told("data"));
    let source = ingested["images"][0]["source"].as_str().unwrap();
    assert!(source.starts_with(&format!(r"{}/i\xff", told("images"))), "{source}");
    assert_eq!(bytes.json(&ingest)["done_before"], true);
    assert_eq!(bytes.json(&["info", "=data"])["parameters"]["labels"], told("masks"));
    fs::copy(bytes.path("all").join("clusters.parquet"), bytes.path("c.parquet")).unwrap();
    fs::rename(bytes.path("all").join("data"), bytes.path("grains")).unwrap();
    for (command, out) in [("gallery", "=g.png"), ("paint", "=painted")] {
        let made = bytes.json(&[command, "=c.parquet", "--data", "=grains", "--out", out]);
        assert_eq!(made["out"], told(&out[1..]));
    }
}
