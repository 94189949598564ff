//! Samples of the same name are distinguished: names repeat, keys do not.
#![cfg(feature = "torch")]

mod support;

use std::{collections::HashSet, fs};

use invar_dataset::{Column, ColumnData, SampleId, SampleTable as _};
use invar_embeddings::{ClusterTable, EmbeddingWriter, Embeddings, Provenance};
use invar_micrographs::GrainDataset;
use support::{Bench, TRAINED, fastq};

/// A genome of random bases.
fn bases(len: usize, mut random: u64) -> String {
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        char::from(b"ACGT"[(random >> 33) as usize % 4])
    };
    (0..len).map(|_| next()).collect()
}

/// Four contigs, named `contig_1` to `contig_4`.
fn contigs(seed: u64) -> String {
    (1..=4).map(|number| format!(">contig_{number}\n{}\n", bases(2_500, seed + 100 * number))).collect()
}

/// 400 fragments as two files of mates, `r1.fq` and `r2.fq`.
fn write_mates(bench: &Bench) {
    for mate in [1, 2] {
        let quality = "I".repeat(120);
        let read = |fragment: u64| format!("@f{fragment}\n{}\n+\n{quality}\n", bases(120, 1 + 2 * fragment + mate));
        bench.write(&format!("r{mate}.fq"), (0..400).map(read).collect::<String>());
    }
}

#[test]
fn clusters_of_mates_are_joined_by_key_row_for_row() {
    let bench = Bench::new();
    write_mates(&bench);
    let args = ["run", "reads/short-read-pairs", "--input", "r1.fq", "r2.fq", "--out", "pe", "--set", "cluster.k=3"];
    bench.ok(&[&args[..], TRAINED].concat());
    let query = |sql: &str| bench.ok(&["query", "pe/embeddings", "pe/clusters.parquet", sql, "--format", "csv"]);
    assert_eq!(query("SELECT COUNT(*) AS n FROM embeddings JOIN clusters USING (key)"), "n\n800\n");
    let sql = "SELECT COUNT(*) AS n FROM embeddings e JOIN clusters c ON e.key = c.key WHERE e.id = c.id";
    assert_eq!(query(sql), "n\n800\n");
    // Mates have the same name: by name, every row occurs twice.
    assert_eq!(query("SELECT COUNT(*) AS n FROM embeddings JOIN clusters USING (id)"), "n\n1600\n");
    let embeddings = Embeddings::read(&bench.path("pe/embeddings")).unwrap();
    let keys = embeddings.keys.clone().unwrap();
    assert!(keys.iter().all(|key| (0..1 << 53).contains(key)));
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 800);
    // The first 13 digits of the checksum, then counting up.
    let found = bench.json(&["info", "pe/data", "--json"]);
    let number =
        |input: usize| i64::from_str_radix(&found["inputs"][input]["sha256"].as_str().unwrap()[..13], 16).unwrap();
    assert_eq!(keys[..4], [number(0), number(1), number(0) + 1, number(1) + 1]);
    assert_eq!(ClusterTable::read(&bench.path("pe/clusters.parquet")).unwrap().keys.unwrap(), keys);
    // The query given in the help.
    let help = bench.ok(&["query", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("JOIN clusters USING (key)") && !help.contains("USING (id)"), "{help}");
    // Mates share a label, in whichever file they are.
    let labels = (0..400).map(|i| format!("f{i}\t{}\n", i % 2)).collect::<String>();
    bench.write("truth.tsv", format!("id\tparity\n{labels}"));
    let scored = bench.json(&["evaluate", "pe/embeddings", "--labels", "truth.tsv", "--no-probe", "--json"]);
    assert_eq!(scored["labels"]["num_rows"], 800);
}

#[test]
fn contigs_of_one_name_are_different_samples_and_labels_say_which() {
    let bench = Bench::new();
    bench.write("x.fa", contigs(1));
    bench.write("y.fa", contigs(7));
    bench.ok(&["ingest", "reads", "x.fa", "y.fa", "--out", "data"]);
    bench.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb"]);
    let sql = "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids, COUNT(DISTINCT key) AS keys FROM emb";
    assert_eq!(bench.ok(&["query", "emb", sql, "--format", "csv"]), "n,ids,keys\n8,4,8\n");
    bench.write("id.tsv", "id\tspecies\ncontig_1\tE. coli\n");
    bench.write("source.tsv", "id\tsource\tspecies\ncontig_1\tx.fa\tE. coli\ncontig_1\ty.fa\tB. subtilis\n");
    let evaluate = |table: &'static str| ["evaluate", "emb", "--no-probe", "--json", "--labels", table];
    let retrain = |table: &'static str| {
        let args = ["train", "reads/quickstart", "--data", "data", "--out", "again", "--force", "--labels", table];
        [&args[..], TRAINED].concat()
    };
    for error in [bench.fails(3, &evaluate("id.tsv")), bench.fails(3, &retrain("id.tsv"))] {
        assert!(error.contains("\"contig_1\" fits a sample of x.fa and one of y.fa"), "{error}");
        assert!(error.contains("id.tsv") && error.contains("`source` or `key`"), "{error}");
    }
    let scored = bench.json(&evaluate("source.tsv"));
    assert_eq!((&scored["labels"]["num_rows"], &scored["labels"]["num_labels"]), (&2.into(), &2.into()));
    bench.ok(&retrain("source.tsv"));
    let keys = bench.ok(&["query", "emb", "SELECT key, id FROM emb", "--format", "csv"]);
    let rows = keys.lines().skip(1).enumerate().map(|(row, line)| format!("{}\t{row}\n", line.replace(',', "\t")));
    bench.write("key.tsv", format!("key\tid\tnumber\n{}", rows.collect::<String>()));
    assert_eq!(bench.json(&evaluate("key.tsv"))["labels"]["num_labels"], 8);
    bench.ok(&retrain("key.tsv"));
}

#[test]
fn what_is_given_twice_is_refused_with_both_places() {
    let bench = Bench::trained();
    bench.write("copy.fastq", fs::read(bench.path("reads.fastq")).unwrap());
    bench.write("other.fastq", fastq(2, 3, 2500).replace("@r", "@s"));
    bench.ok(&["ingest", "reads", "other.fastq", "copy.fastq", "--out", "data2"]);
    let commands: [&[&str]; 2] =
        [&["train", "reads/quickstart", "--out", "twice"], &["embed", "--model", "run", "--out", "emb2"]];
    for command in commands {
        let error = bench.fails(2, &[command, &["--data", "data", "--data", "./data"]].concat());
        assert!(error.contains("./data: given twice, the first time as data"), "{error}");
        let error = bench.fails(3, &[command, &["--data", "data", "--data", "data2"]].concat());
        for place in ["\"copy.fastq\" of data2", "\"reads.fastq\" of data"] {
            assert!(error.contains(place), "{error}");
        }
    }
    assert!(!bench.path("emb2").exists());
}

#[test]
fn embeddings_of_an_older_version_still_open_and_say_what_they_lack() {
    let bench = Bench::new();
    let ids = ColumnData::Str(["a", "b", "b"].map(|id| Some(id.into())).to_vec());
    let mut writer = EmbeddingWriter::create(&bench.path("emb"), Provenance::new("0.1.0", 2)).unwrap();
    writer.write(&[Column { name: "id".into(), data: ids }], &[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]).unwrap();
    writer.finish(&Default::default()).unwrap();
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "2"]);
    bench.write("truth.tsv", "id\tx\na\t1\nb\t2\n");
    let scored = bench.json(&["evaluate", "emb", "--labels", "truth.tsv", "--clusters", "c.parquet", "--json"]);
    assert_eq!(scored["labels"]["num_rows"], 3);
    let sql = "SELECT COUNT(*) AS n FROM emb JOIN c USING (key)";
    let error = bench.fails(2, &["query", "emb", "c.parquet", sql]);
    assert!(error.contains("emb: no column `key`: an older version wrote it"), "{error}");
    bench.write("keys.tsv", "key\tx\n1\t1\n");
    let error = bench.fails(3, &["evaluate", "emb", "--labels", "keys.tsv"]);
    assert!(error.contains("keys.tsv: it names samples by `key`"), "{error}");
}

/// A picture of 64 x 64 with four squares, the brighter the larger `shade`.
fn squares(shade: u8) -> Vec<u8> {
    let is_square = |at: usize| (at % 64 / 8) % 4 == 1 && (at / 64 / 8) % 4 == 1;
    let pixels: Vec<u8> = (0..64 * 64).map(|at| if is_square(at) { 150 + shade } else { 10 }).collect();
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_raw(64, 64, pixels).unwrap().write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn images_of_one_name_in_two_datasets_are_told_apart() {
    let bench = Bench::new();
    for (site, shade) in [("a", 0), ("b", 50)] {
        fs::create_dir(bench.path(site)).unwrap();
        bench.write(&format!("{site}/im.png"), squares(shade));
        bench.ok(&[
            "ingest",
            "micrographs",
            &format!("{site}/im.png"),
            "--segment",
            "otsu",
            "--out",
            &format!("data-{site}"),
        ]);
    }
    let data = ["data-a", "data-b"].map(|name| bench.path(name));
    let dataset = GrainDataset::open(&data).unwrap();
    let num_grains = dataset.grains_of(0).len();
    assert!(num_grains > 0 && dataset.grains_of(1).len() == num_grains);
    let ids: HashSet<SampleId> = (0..2 * num_grains).map(|grain| dataset.sample_id(grain)).collect();
    assert_eq!(ids.len(), 2 * num_grains);
    // grains.parquet, and embeddings and clusters of both, are joined by key.
    let columns = dataset.columns(0..2 * num_grains).unwrap();
    let values: Vec<f32> =
        (0..2 * num_grains).flat_map(|grain| if grain < num_grains { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    let mut writer = EmbeddingWriter::create(&bench.path("emb"), Provenance::new("0.1.0", 2)).unwrap();
    writer.write(&columns, &values).unwrap();
    writer.finish(&Default::default()).unwrap();
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "2"]);
    let count = |sql: &str, table: &str| bench.ok(&["query", "emb", &format!("other={table}"), sql, "--format", "csv"]);
    let sql = "SELECT COUNT(*) AS n FROM emb JOIN other USING (key)";
    assert_eq!(count(sql, "c.parquet"), format!("n\n{}\n", 2 * num_grains));
    assert_eq!(count(sql, "data-b/grains.parquet"), format!("n\n{num_grains}\n"));
    let both = ["paint", "c.parquet", "--data", "data-a", "--data", "data-b", "--out", "painted"];
    assert_eq!(bench.json(&[&both[..], &["--json"]].concat())["num_images"], 2);
    // Each of the two images is a cluster of its own.
    let shown = |name: &str| image::open(bench.path("painted").join(name)).unwrap().to_rgb8();
    assert!(shown("im.png") != shown("im-2.png"));
    // In the other order the grains are the same.
    let turned = ["paint", "c.parquet", "--data", "data-b", "--data", "data-a", "--out", "turned"];
    bench.ok(&turned);
    assert!(shown("im.png") == image::open(bench.path("turned/im-2.png")).unwrap().to_rgb8());
    let error = bench.fails(3, &["paint", "c.parquet", "--data", "data-a", "--out", "half"]);
    assert!(error.contains("is no grain of the data"), "{error}");
}
