//! `invar report`: a result as one page. report.py checks in Chromium what a browser makes of it.

mod support;

use std::{fs, path::Path, process::Command};

use invar_dataset::{Column, ColumnData, Dataset, SampleTable};
use invar_embeddings::{EmbeddingWriter, Provenance};
use invar_micrographs::GrainDataset;
use serde_json::{Value, json};
use support::Bench;

const POLYCRYSTALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/micrographs/polycrystals");
const NUM_READS: usize = 300;

/// Names that would do harm as HTML, in a script, in JSON or in a CSV.
const HOSTILE: [&str; 5] = [
    "</script><script>window.pwned=1</script><img src=x onerror=\"window.pwned=2\">",
    "\"quoted\", and \"comma\"",
    "line\nbreak",
    "'; DROP TABLE reads; --",
    "\u{202e}\u{2028}&lt;b&gt; r\u{e9}ad",
];

fn write(path: &Path, noun: &str, columns: &[Column], values: &[f32], dim: usize) {
    let mut provenance = Provenance::new("test", dim);
    provenance.extra.insert("group_figures".into(), json!({"noun": noun, "figures": []}));
    let mut writer = EmbeddingWriter::create(path, provenance).unwrap();
    writer.write(columns, values).unwrap();
    let invariance = [
        ("invariance_samples", 7.0),
        ("symmetry_cosine_mean", 0.99),
        ("symmetry_gap_max", 0.03),
        ("symmetry_cosine: rotated by 15 degrees", 0.98),
        ("symmetry_cosine: rotated by 105 degrees", 0.97),
    ];
    writer.finish(&invariance.map(|(name, value)| (name.to_owned(), value)).into()).unwrap();
}

/// A bench with a directory `result` of three groups of reads that nobody trained on.
fn reads() -> Bench {
    let bench = Bench::new();
    fs::create_dir(bench.path("result")).unwrap();
    let of = |data: ColumnData, name: &str| Column { name: name.into(), data };
    let rows = || 0..NUM_READS;
    let name = |row: usize| HOSTILE.get(row).map_or_else(|| format!("read{row}"), |name| (*name).to_owned());
    let columns = [
        of(ColumnData::Str(rows().map(|row| Some(name(row))).collect()), "id"),
        of(ColumnData::I64(rows().map(|row| Some(8_000_000_000_000_000 + row as i64)).collect()), "key"),
        of(ColumnData::Str(rows().map(|row| Some(["a.fastq", "b.fastq"][row % 2].into())).collect()), "source"),
        of(ColumnData::U32(rows().map(|row| Some(1000 + 37 * row as u32 % 5000)).collect()), "length_bp"),
        of(ColumnData::F32(rows().map(|row| (row % 7 > 0).then_some((row % 50) as f32 / 100.0 + 0.1)).collect()), "gc"),
        of(ColumnData::Bool(rows().map(|row| Some(row % 3 == 0)).collect()), "is_reverse"),
        of(ColumnData::Str(rows().map(|row| (row % 4 == 0).then(|| format!("note {row}"))).collect()), "description"),
        of(ColumnData::U32(vec![None; NUM_READS]), "position"),
        of(ColumnData::Str(vec![Some("nanopore".into()); NUM_READS]), "instrument"),
    ];
    let unit = |row: usize| {
        let (group, turn) = (row % 3, (row / 3) as f64 * 0.004);
        let mut value = [0.0; 4];
        (value[group], value[3]) = (turn.cos() as f32, turn.sin() as f32);
        value
    };
    write(&bench.path("result/embeddings"), "reads", &columns, &rows().flat_map(unit).collect::<Vec<_>>(), 4);
    bench.ok(&["cluster", "result/embeddings", "--out", "result/clusters.parquet", "--k", "3"]);
    bench
}

/// Adds a directory `grains` of the grains of two images.
fn grains(bench: &Bench) {
    fs::create_dir(bench.path("grains")).unwrap();
    let (images, labels) = (format!("{POLYCRYSTALS}/images"), format!("{POLYCRYSTALS}/labels"));
    bench.ok(&["ingest", "micrographs", &images, "--labels", &labels, "--out", "grains/data"]);
    let dataset = GrainDataset::open(&[bench.path("grains/data")]).unwrap();
    let unit = |at: usize| {
        let region = dataset.grain(at).region().clone();
        let angle = region.mean_intensity / 40.0;
        [angle.cos() as f32, angle.sin() as f32]
    };
    let values: Vec<f32> = (0..dataset.len()).flat_map(unit).collect();
    let columns = dataset.columns(0..dataset.len()).unwrap();
    write(&bench.path("grains/embeddings"), "grains", &columns, &values, 2);
    bench.ok(&["cluster", "grains/embeddings", "--out", "grains/clusters.parquet", "--k", "4"]);
}

/// What the page states about itself, apart from its columns.
fn header(page: &str) -> Value {
    let begin = "<script type=\"application/json\" id=\"contents\">";
    let from = page.find(begin).unwrap() + begin.len();
    let json = &page[from..];
    serde_json::from_str(&json[..json.find("</script>").unwrap()]).unwrap()
}

fn report(bench: &Bench, args: &[&str]) -> Value {
    bench.ok(&[&["report", "result", "--out", "page.html", "--force"], args].concat());
    header(&fs::read_to_string(bench.path("page.html")).unwrap())
}

/// The sentences of the section `heading`, as one text.
fn section(header: &Value, heading: &str) -> String {
    let sections = header["contents"]["sections"].as_array().unwrap();
    let section = sections.iter().find(|section| section["heading"] == heading);
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    section["sentences"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_there_is_shown_and_what_is_not_is_said() {
    let bench = reads();
    let page = report(&bench, &[]);
    assert_eq!(page["num_points"], NUM_READS);
    let names: Vec<&str> =
        page["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let expected = "x y id cluster probability distance source length_bp gc is_reverse description key";
    assert_eq!(names.join(" "), expected);
    let contents = &page["contents"];
    assert_eq!(contents["summary"][0], "300 reads in 3 clusters, found by kmeans.");
    assert_eq!(
        contents["notes"],
        json!(["The same of all samples: instrument nanopore.", "Not known of any: position."])
    );
    assert_eq!(contents["clusters"]["rows"].as_array().unwrap().len(), 3);
    assert!(section(&page, "Training").contains("no record"));
    assert!(section(&page, "Shortcuts").contains("was not measured"));
    assert!(section(&page, "Invariance").starts_with("Measured on 7 reads"));
    let sections = page["contents"]["sections"].as_array().unwrap();
    let turned = sections.iter().find(|section| section["heading"] == "Invariance").unwrap();
    let curve = &turned["charts"][0]["series"][0];
    assert_eq!((&curve["x"], &curve["y"]), (&json!([15.0, 105.0]), &json!([0.98, 0.97])));
    assert!(!turned["tables"].to_string().contains("rotated"));
    assert!(section(&page, "Provenance").contains("dataset is not beside"));

    let evaluation = bench.ok(&["evaluate", "result/embeddings", "--probe", "source", "--json"]);
    bench.write("result/evaluation.json", evaluation);
    fs::create_dir(bench.path("result/run")).unwrap();
    let metrics = "{\"event\":\"step\",\"step\":10,\"loss\":2.5}\n{\"event\":\"validation\",\"step\":10,\
                   \"validation_loss\":2.75,\"num_pairs\":200,\"retrieval\":0.5}\n\
                   {\"event\":\"warning\",\"step\":10,\"message\":\"a <b>warning</b>\"}\n";
    bench.write("result/run/metrics.jsonl", metrics);
    let page = report(&bench, &["--title", "Mock & co"]);
    assert!(section(&page, "Shortcuts").contains("Nothing is given away"));
    let training = section(&page, "Training");
    assert!(training.contains("of 200 held-out samples 50 %") && training.contains("Warning at step 10: a <b>warning"));
    assert!(fs::read_to_string(bench.path("page.html")).unwrap().contains("<title>Mock &amp; co</title>"));

    // Clusters alone are enough.
    fs::remove_dir_all(bench.path("result/embeddings")).unwrap();
    fs::remove_file(bench.path("result/clusters.tsv")).unwrap();
    let page = report(&bench, &[]);
    assert!(page["contents"]["notes"][0].as_str().unwrap().starts_with("There are no embeddings"));
    assert!(page["contents"]["clusters"].is_null());
}

#[test]
fn the_same_result_is_the_same_page_and_nothing_is_replaced_unasked() {
    let bench = reads();
    grains(&bench);
    let found = bench.json(&["report", "grains", "--out", "a.html", "--threads", "1", "--json"]);
    assert_eq!(found["num_rows"], found["num_thumbnails"]);
    assert_eq!(found["size_bytes"], fs::metadata(bench.path("a.html")).unwrap().len());
    bench.ok(&["report", "grains", "--out", "b.html", "--threads", "3"]);
    assert_eq!(fs::read(bench.path("a.html")).unwrap(), fs::read(bench.path("b.html")).unwrap());
    let error = bench.fails(2, &["report", "grains", "--out", "a.html"]);
    assert!(error.contains("a.html: exists already"), "{error}");
    let error = bench.fails(2, &["report", "grains", "--out", "grains/clusters.parquet", "--force"]);
    assert!(error.contains("is an input"), "{error}");
}

#[test]
fn bad_results_are_refused_and_leave_no_page() {
    let bench = reads();
    let args = ["report", "result", "--out", "page.html"];
    let error = bench.fails(2, &["report", "elsewhere", "--out", "page.html"]);
    assert!(error.contains("elsewhere: holds no clusters.parquet"), "{error}");
    let refused = |file: &str, contents: &[u8], expected: &str| {
        let before = fs::read(bench.path(file)).ok();
        bench.write(file, contents);
        let error = bench.fails(3, &args);
        assert!(error.contains(expected), "{file}: {error}");
        match before {
            Some(before) => bench.write(file, before),
            None => fs::remove_file(bench.path(file)).unwrap(),
        }
    };
    let whole = fs::read(bench.path("result/clusters.parquet")).unwrap();
    refused("result/clusters.parquet", &whole[..whole.len() / 2], "clusters.parquet: not a whole Parquet file");
    refused("result/clusters.parquet", b"id,cluster\n", "clusters.parquet: not a whole Parquet file");
    let part = fs::read(bench.path("result/embeddings/part-00000.parquet")).unwrap();
    refused("result/clusters.parquet", &part, "expected clusters, found embeddings");
    refused("result/clusters.tsv", b"name\tsize\n", "begins with \"cluster\", found \"name\"");
    refused("result/clusters.tsv", b"cluster\treads\n0\t100\nx\t7\n", "line 3: expected a cluster and 2 cells");
    refused("result/evaluation.json", b"{\"num_rows\": 3", "evaluation.json: expected an evaluation as JSON");
    refused("result/evaluation.json", b"{}", "found no num_rows");
    fs::create_dir(bench.path("result/run")).unwrap();
    let metrics = b"{\"event\":\"step\",\"step\":10,\"loss\":2.5}\n{\"event\":\"st";
    refused("result/run/metrics.jsonl", metrics, "metrics.jsonl: line 2: expected a metric as JSON");
    // Embeddings of other samples.
    fs::remove_dir_all(bench.path("result/embeddings")).unwrap();
    let ids = ["a", "b"].map(|id| Some(id.to_owned())).to_vec();
    let column = Column { name: "id".into(), data: ColumnData::Str(ids) };
    write(&bench.path("result/embeddings"), "reads", &[column], &[1.0, 0.0, 0.0, 1.0], 2);
    let error = bench.fails(3, &args);
    assert!(error.contains("expected the 300 samples of the clusters, found 2"), "{error}");
    assert!(!bench.path("page.html").exists());
}

#[test]
#[ignore = "needs Chromium and Playwright: `make test` runs it where there is a Chromium"]
fn a_browser_shows_it_and_lets_it_be_searched() {
    let bench = reads();
    grains(&bench);
    bench.ok(&["report", "result", "--out", "reads.html", "--title", "Reads"]);
    bench.ok(&["report", "grains", "--out", "grains.html", "--title", "Grains"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report.py");
    let python = std::env::var_os("INVAR_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).arg(script).arg(bench.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().filter(|line| line.ends_with(": as it should")).count(), 10, "{said}");
}
