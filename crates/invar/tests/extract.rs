//! Samples by cluster, in their original form. The clusters are made up: what is tested is what is done with them.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::Path,
};

use flate2::read::MultiGzDecoder;
use invar_dataset::{ColumnData, Dataset, SampleTable};
use invar_embeddings::{ClusterTable, Provenance};
use invar_micrographs::{Band, GrainDataset, PixelsRef, Samples, read_label_map};
use invar_reads::{ReadDataset, Reads};
use support::{Bench, fastq};

const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/reads/real");

/// Clusters of the reads in `data`, given by the number of the read.
fn cluster(bench: &Bench, data: &str, cluster: impl Fn(usize) -> i32) {
    let dataset = ReadDataset::open(&[bench.path(data)]).unwrap();
    let n = Reads::len(&dataset);
    let columns = dataset.columns(0..n).unwrap();
    let column = |name: &str| columns.iter().find(|column| column.name == name).unwrap().data.clone();
    let (ColumnData::Str(ids), ColumnData::I64(keys)) = (column("id"), column("key")) else { panic!("{columns:?}") };
    let ids = ids.into_iter().map(Option::unwrap).collect();
    let keys = keys.into_iter().map(Option::unwrap).collect();
    write_clusters(bench, ids, keys, (0..n).map(cluster).collect());
}

fn write_clusters(bench: &Bench, ids: Vec<String>, keys: Vec<i64>, clusters: Vec<i32>) {
    let n = ids.len();
    let table = ClusterTable {
        ids,
        keys: Some(keys),
        clusters,
        probability: vec![1.0; n],
        distance: vec![0.0; n],
        x: vec![0.0; n],
        y: vec![0.0; n],
        provenance: Provenance::new("test", 2),
        embeddings: None,
        method: "by hand".into(),
        parameters: serde_json::Value::Null,
        found: serde_json::Value::Null,
    };
    table.write(&bench.path("c.parquet")).unwrap();
}

fn decompressed(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// The text of every file of a directory, by name, except for the list.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_text = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "gz");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.filter(is_text).map(|path| (name(&path), decompressed(&path))).collect()
}

/// The records of FASTQ with four lines each.
fn records(text: &str) -> Vec<String> {
    text.lines().collect::<Vec<_>>().chunks(4).map(|lines| lines.join("\n") + "\n").collect()
}

#[test]
fn real_reads_are_written_as_they_came() {
    let bench = Bench::new();
    let input = format!("{REAL}/nanopore.fastq.gz");
    bench.ok(&["ingest", "reads", &input, "--out", "data"]);
    // What follows the plus is left out.
    let came = records(&decompressed(Path::new(&input)));
    let came: Vec<String> = came
        .iter()
        .map(|record| {
            let lines: Vec<&str> = record.lines().collect();
            format!("{}\n{}\n+\n{}\n", lines[0], lines[1], lines[3])
        })
        .collect();
    cluster(&bench, "data", |read| (read % 3) as i32 - 1);
    let json = bench.json(&["extract", "c.parquet", "--data", "data", "--out", "groups", "--json"]);
    let found = files(&bench.path("groups"));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["group_000.fastq.gz", "group_001.fastq.gz", "ungrouped.fastq.gz"]);
    for (file, first) in [("ungrouped", 0), ("group_000", 1), ("group_001", 2)] {
        let expected: String = came.iter().skip(first).step_by(3).cloned().collect();
        assert!(found[&format!("{file}.fastq.gz")] == expected, "{file}");
    }
    assert_eq!(json["num_reads"], came.len());
    assert_eq!(json["files"][2]["file"], "ungrouped.fastq.gz");
    // One of them, and the same again with another number of threads.
    let some = ["extract", "c.parquet", "--data", "data", "--out", "some", "--cluster", "-1", "1"];
    bench.ok(&[&some[..], &["--threads", "1"]].concat());
    assert_eq!(files(&bench.path("some")).len(), 2);
    for name in ["group_001.fastq.gz", "ungrouped.fastq.gz"] {
        assert!(fs::read(bench.path("some").join(name)).unwrap() == fs::read(bench.path("groups").join(name)).unwrap());
    }
}

#[test]
fn mates_stay_in_step_and_those_of_two_clusters_are_apart() {
    let bench = Bench::new();
    let inputs = [1, 2].map(|mate| format!("{REAL}/hiseq-pairs_{mate}.fastq.gz"));
    bench.ok(&["ingest", "reads", "--mates", &inputs[0], &inputs[1], "--out", "data"]);
    let came = inputs.map(|input| records(&decompressed(Path::new(&input))));
    // Rows are R1 and R2 alternately. Every fifth pair is split between two clusters.
    cluster(&bench, "data", |read| {
        let (pair, mate) = (read / 2, read % 2);
        if pair % 5 == 0 { mate as i32 } else { (pair % 2) as i32 }
    });
    bench.ok(&["extract", "c.parquet", "--data", "data", "--out", "groups"]);
    let found = files(&bench.path("groups"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let kinds = ["1", "2", "unpaired"];
    let expected: Vec<String> =
        (0..2).flat_map(|group| kinds.map(|kind| format!("group_{group:03}_{kind}.fastq.gz"))).collect();
    assert_eq!(names, expected);
    for group in 0..2 {
        for (mate, came) in came.iter().enumerate() {
            let both = |pair: &usize| !pair.is_multiple_of(5) && pair % 2 == group;
            let expected: String = (0..came.len()).filter(both).map(|pair| came[pair].clone()).collect();
            assert!(found[&format!("group_{group:03}_{}.fastq.gz", mate + 1)] == expected, "{group} {mate}");
        }
        let unpaired: String = came[group].iter().step_by(5).cloned().collect();
        assert!(found[&format!("group_{group:03}_unpaired.fastq.gz")] == unpaired, "{group}");
    }
}

#[test]
fn alignments_and_sequences_without_qualities() {
    let bench = Bench::new();
    for (number, (input, more)) in
        [("human-chr17.bam", None), ("ex1.cram", Some(format!("{REAL}/ex1.fa")))].into_iter().enumerate()
    {
        let data = format!("data{number}");
        let input = format!("{REAL}/{input}");
        let reference: Vec<&str> = more.iter().flat_map(|fasta| ["--reference", fasta.as_str()]).collect();
        bench.ok(&[&["ingest", "reads", &input, "--out", &data][..], &reference].concat());
        cluster(&bench, &data, |_| 0);
        let out = format!("groups{number}");
        bench.ok(&["extract", "c.parquet", "--data", &data, "--out", &out]);
        // Read back, they are the reads of the dataset: name, bases and mean quality.
        let dataset = ReadDataset::open(&[bench.path(&data)]).unwrap();
        let facts = |dataset: &ReadDataset| {
            let of = |read: usize| {
                let read = Dataset::get(dataset, read).unwrap();
                let quality = read.mean_quality.map(|quality| (quality * 100.0).round() as i32);
                (read.name, String::from_utf8(read.sequence.as_slice().to_ascii()).unwrap(), quality)
            };
            let mut facts: Vec<_> = (0..Reads::len(dataset)).map(of).collect();
            facts.sort();
            facts
        };
        let mut again = vec![];
        for name in files(&bench.path(&out)).keys() {
            let (file, data) = (format!("{out}/{name}"), format!("{out}-{name}"));
            bench.ok(&["ingest", "reads", &file, "--out", &data]);
            again.extend(facts(&ReadDataset::open(&[bench.path(&data)]).unwrap()));
        }
        again.sort();
        assert!(!again.is_empty() && again == facts(&dataset), "{input}");
    }
    bench.write("contigs.fa", ">c1 first\nACGTNACG\nAC\n>c2\nggccaatt\n");
    bench.ok(&["ingest", "reads", "contigs.fa", "--out", "contigs"]);
    cluster(&bench, "contigs", |read| read as i32);
    bench.ok(&["extract", "c.parquet", "--data", "contigs", "--out", "of-contigs"]);
    let found = files(&bench.path("of-contigs"));
    assert_eq!(found["group_000.fasta.gz"], ">c1 first\nACGTNACG\nAC\n");
    assert_eq!(found["group_001.fasta.gz"], ">c2\nggccaatt\n");
}

/// A bench with 12 reads in `data`, from `reads.fastq`, in four clusters.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(4, 3, 200));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    cluster(&bench, "data", |read| (read % 4) as i32);
    bench
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let bench = bench();
    let extract = ["extract", "c.parquet", "--data", "data", "--out", "groups"];
    let error = bench.fails(2, &[&extract[..], &["--cluster", "4"]].concat());
    assert!(error.contains("--cluster 4: the clusters of c.parquet are 0 to 3"), "{error}");
    // Clusters of other reads.
    bench.write("other.fastq", fastq(5, 3, 200));
    bench.ok(&["ingest", "reads", "other.fastq", "--out", "other"]);
    let error = bench.fails(3, &["extract", "c.parquet", "--data", "other", "--out", "groups"]);
    assert!(error.contains("is no read of the data: they are of other files"), "{error}");
    // Inputs that have changed, and inputs that are gone.
    let text = fs::read_to_string(bench.path("reads.fastq")).unwrap();
    bench.write("reads.fastq", text.replacen('5', "6", 1));
    let error = bench.fails(3, &extract);
    assert!(error.contains("reads.fastq: SHA-256, since data was made from it: expected "), "{error}");
    fs::remove_file(bench.path("reads.fastq")).unwrap();
    let error = bench.fails(3, &extract);
    assert!(error.contains("reads.fastq: input of data: expected the file to be there still, found none"), "{error}");
    assert!(!bench.path("groups").exists());
    // A copy with the same bytes is just as good.
    bench.write("reads.fastq", &text);
    bench.ok(&extract);
    // Grains have no reads.
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/micrographs/polycrystals/images");
    bench.ok(&["ingest", "micrographs", images, "--tiles", "64", "--out", "grains"]);
    let error = bench.fails(3, &["extract", "c.parquet", "--data", "grains", "--out", "g"]);
    assert!(error.contains("is no grain of the data: they are of other files"), "{error}");
    let error = bench.fails(3, &["extract", "c.parquet", "--data", "data", "--data", "grains", "--out", "g"]);
    assert!(error.contains("grains: is of micrographs, and data of reads"), "{error}");
    assert!(!bench.path("g").exists());
}

#[test]
fn grains_are_cut_out_with_the_labels_of_their_table() {
    let bench = Bench::new();
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/micrographs/polycrystals/images");
    bench.ok(&["ingest", "micrographs", images, "--out", "grains"]);
    let dataset = GrainDataset::open(&[bench.path("grains")]).unwrap();
    let n = Dataset::len(&dataset);
    // Grains 0, 3, 6 ... are in cluster 0, 1, 4, 7 ... in cluster 1, the others in none.
    let clusters: Vec<i32> = (0..n).map(|grain| [0, 1, -1][grain % 3]).collect();
    let in_one = clusters.iter().filter(|&&cluster| cluster == 1).count();
    let ids = (0..n).map(|grain| dataset.grain(grain).id()).collect();
    let keys = (0..n).map(|grain| dataset.key(grain) as i64).collect();
    write_clusters(&bench, ids, keys, clusters);
    let extract = ["extract", "c.parquet", "--data", "grains", "--out", "cut", "--cluster", "1"];
    let said = bench.ok(&extract);
    assert!(said.contains(&format!("{in_one} grains of {n} cut out, and 6 label maps of 6 images")), "{said}");
    let names: Vec<String> = fs::read_dir(bench.path("cut"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("group_001_polycrystal")).count(), in_one);
    assert_eq!(names.len(), in_one + 6 + 1, "crops, maps and the list");
    // A crop is the window of the image, the map has the label of the table.
    let grain = dataset.grain(4);
    let [top, left, bottom, right] = grain.region().bbox_px;
    let (image, label) = (&grain.image.name, grain.region().label);
    let mut crop = invar_micrographs::open(&bench.path(&format!("cut/group_001_{image}_{label}.tif"))).unwrap();
    assert_eq!((crop.pages()[0].width, crop.pages()[0].height), (right - left, bottom - top));
    let width = grain.image.pixels().width as u32;
    let PixelsRef::U16(pixels) = grain.image.pixels().pixels else { panic!("16 bits") };
    let window: Vec<u16> = (top..bottom)
        .flat_map(|row| (left..right).map(move |column| (row, column)))
        .map(|(row, column)| pixels[(row * width + column) as usize])
        .collect();
    let mut check = |band: Band| {
        assert_eq!(band.samples, Samples::U16(window.clone()));
        Ok(())
    };
    crop.read_bands(0, 1 << 30, &mut check).unwrap();
    let map = read_label_map(bench.path(&format!("cut/{image}_labels.tif")), 1).unwrap();
    let of_image = dataset.grains_of(dataset.image_of(4));
    let expected: BTreeSet<u32> =
        of_image.filter(|grain| grain % 3 == 1).map(|grain| dataset.grain(grain).region().label).collect();
    assert_eq!(map.labels.iter().copied().filter(|&label| label > 0).collect::<BTreeSet<u32>>(), expected);
    for row in top..bottom {
        for column in left..right {
            let is_own = map.labels[(row * width + column) as usize] == label;
            assert_eq!(is_own, grain.mask().contains(row, column), "{row} {column}");
        }
    }
    // Replaced on request, and nothing else is.
    fs::write(bench.path("cut/mine.txt"), "mine").unwrap();
    let error = bench.fails(2, &extract);
    assert!(error.contains("exists already (--force replaces it)"), "{error}");
    bench.ok(&["extract", "c.parquet", "--data", "grains", "--out", "cut", "--cluster", "0", "-1", "--force"]);
    let count = |start: &str| {
        let entries = fs::read_dir(bench.path("cut")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(start)).count()
    };
    assert_eq!((count("group_001"), count("group_000") + count("ungrouped"), count("mine")), (0, n - in_one, 1));
}

#[test]
fn only_what_it_wrote_is_replaced() {
    let bench = bench();
    let extract = ["extract", "c.parquet", "--data", "data", "--out", "groups"];
    bench.ok(&extract);
    let error = bench.fails(2, &extract);
    assert!(error.contains("groups: exists already (--force replaces it)"), "{error}");
    bench.write("groups/notes.txt", "mine");
    cluster(&bench, "data", |read| (read % 2) as i32);
    bench.ok(&[&extract[..], &["--force"]].concat());
    assert_eq!(files(&bench.path("groups")).len(), 2);
    assert_eq!(fs::read_to_string(bench.path("groups/notes.txt")).unwrap(), "mine");
    fs::create_dir(bench.path("mine")).unwrap();
    bench.write("mine/notes.txt", "mine");
    let error = bench.fails(2, &["extract", "c.parquet", "--data", "data", "--out", "mine"]);
    assert!(error.contains("holds notes.txt, which `invar extract` did not write"), "{error}");
    let clusters = ["extract", "c.parquet", "--data", "data", "--out", "c.parquet"];
    assert!(bench.fails(2, &clusters).contains("exists already and is no directory"));
}
