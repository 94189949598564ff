//! Pictures of clusters and measurements of grains, without LibTorch: embeddings are made up from intensities.

mod support;

use std::path::Path;

use invar_dataset::{Column, ColumnData, Dataset, SampleTable};
use invar_embeddings::{EmbeddingWriter, Provenance};
use invar_micrographs::{GrainDataset, Region, read_label_map};
use support::Bench;

const POLYCRYSTALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/micrographs/polycrystals");

/// Writes embeddings of the grains in `data`: standardised intensities, size and shape, scaled to unit length. Also
/// embeddings `moved`, whose rows are slightly off and in reverse order.
fn embed(bench: &Bench, data: &str) {
    let dataset = GrainDataset::open(&[bench.path(data)]).unwrap();
    let features = |r: &Region| {
        let contrast = r.max_intensity - r.min_intensity;
        [r.mean_intensity, contrast, (r.area_px as f64).ln(), r.eccentricity, r.solidity]
    };
    let mut rows: Vec<[f64; 5]> = (0..dataset.len()).map(|at| features(dataset.grain(at).region())).collect();
    for d in 0..5 {
        let mean = rows.iter().map(|row| row[d]).sum::<f64>() / rows.len() as f64;
        let variance = rows.iter().map(|row| (row[d] - mean).powi(2)).sum::<f64>() / rows.len() as f64;
        rows.iter_mut().for_each(|row| row[d] = (row[d] - mean) / variance.sqrt().max(1e-9));
    }
    let unit = |row: &[f64; 5]| {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-9);
        row.map(|x| (x / norm) as f32)
    };
    let values: Vec<f32> = rows.iter().flat_map(unit).collect();
    write(&bench.path("emb"), &dataset.columns(0..dataset.len()).unwrap(), &values);
    let nudged = rows.iter().rev().map(|row| unit(&[row[0] + 0.01, row[1], row[2], row[3] - 0.01, row[4]]));
    let ids = (0..dataset.len()).rev().map(|at| Some(dataset.grain(at).id())).collect();
    write(
        &bench.path("moved"),
        &[Column { name: "id".into(), data: ColumnData::Str(ids) }],
        &nudged.flatten().collect::<Vec<_>>(),
    );
}

fn write(path: &Path, columns: &[Column], values: &[f32]) {
    let mut writer = EmbeddingWriter::create(path, Provenance::new("test", 5)).unwrap();
    writer.write(columns, values).unwrap();
    writer.finish(&Default::default()).unwrap();
}

/// A bench with grains in `data`, embeddings `emb` and `moved`, and clusters.
fn polycrystals() -> Bench {
    let bench = Bench::new();
    let (images, labels) = (format!("{POLYCRYSTALS}/images"), format!("{POLYCRYSTALS}/labels"));
    bench.ok(&["ingest", "micrographs", &images, "--labels", &labels, "--out", "data"]);
    embed(&bench, "data");
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "4"]);
    bench
}

#[test]
fn a_gallery_shows_every_cluster() {
    let bench = polycrystals();
    let args = ["gallery", "c.parquet", "--data", "data", "--out", "g.png", "--each", "3", "--cell", "48", "--json"];
    let found = bench.json(&args);
    assert_eq!((&found["num_clusters"], &found["num_shown"]), (&4.into(), &4.into()));
    let picture = image::open(bench.path("g.png")).unwrap().to_rgb8();
    assert_eq!(found["width_px"], picture.width());
    // Four rows: 12 + 16 above, 48 + 8 + 12 per row, 12 below.
    assert_eq!(picture.height(), 28 + 4 * 68 + 12);
    // The colour beside each name is that of the cluster: orange, sky blue, green, yellow (Okabe and Ito).
    let beside: Vec<[u8; 3]> = (0..4).map(|row| picture.get_pixel(14, 28 + row * 68).0).collect();
    let mut expected = vec![[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66]];
    assert_eq!(beside, expected);
    // And so are the outlines of the grains in the row.
    for (row, colour) in (0..).zip(expected.drain(..)) {
        let y = 28 + row * 68;
        let outline = (y..y + 48).flat_map(|y| (148..picture.width()).map(move |x| (x, y)));
        assert!(outline.filter(|&(x, y)| picture.get_pixel(x, y).0 == colour).count() > 6 * 48, "row {row}");
    }
    let error = bench.fails(2, &args);
    assert!(error.contains("g.png: exists already"), "{error}");
    bench.ok(&[&args[..], &["--force"]].concat());
}

#[test]
fn clusters_are_painted_on_every_image_and_written_as_labels() {
    let bench = polycrystals();
    let args = ["paint", "c.parquet", "--data", "data", "--out", "painted", "--json"];
    assert_eq!(bench.json(&args)["num_images"], 6);
    let clusters = invar_embeddings::ClusterTable::read(&bench.path("c.parquet")).unwrap();
    let dataset = GrainDataset::open(&[bench.path("data")]).unwrap();
    for number in 0..6 {
        let stored = dataset.image(number);
        let map = read_label_map(bench.path("painted").join(format!("{}.tif", stored.name)), 1).unwrap();
        let (width, height) = (stored.pixels().width, stored.pixels().height);
        assert_eq!((map.width, map.height), (width, height));
        // Pixel by pixel what the mask of a grain and its row in the table state.
        let mut expected = vec![0u32; width * height];
        for at in dataset.grains_of(number) {
            let grain = dataset.grain(at);
            let [top, left, bottom, right] = grain.region().bbox_px;
            for (row, column) in (top..bottom).flat_map(|row| (left..right).map(move |column| (row, column))) {
                if grain.mask().contains(row, column) {
                    expected[row as usize * width + column as usize] = clusters.clusters[at] as u32 + 1;
                }
            }
        }
        assert!(map.labels == expected, "{}", stored.name);
        let overlay = image::open(bench.path("painted").join(format!("{}.png", stored.name))).unwrap().to_rgb8();
        assert!(overlay.width() == width as u32 && overlay.height() > height as u32, "a legend below");
    }
    assert!(!bench.path("painted/.invar-next").exists());
    bench.fails(2, &args);
    let small = bench.json(&[&args[..], &["--force", "--max-side", "64"]].concat());
    assert_eq!(small["num_images"], 6);
    let overlay = bench.path("painted").join(format!("{}.png", dataset.image(0).name));
    assert!(image::open(overlay).unwrap().width() <= 64);
}

#[test]
fn only_what_was_painted_is_painted_over() {
    let bench = polycrystals();
    std::fs::create_dir(bench.path("figures")).unwrap();
    bench.write("figures/figure-1.png", "mine");
    for out in ["data", "figures"] {
        let before = support::tree_digest(&bench.path(out));
        for force in [&[][..], &["--force"]] {
            let error = bench.fails(2, &[&["paint", "c.parquet", "--data", "data", "--out", out], force].concat());
            assert!(error.contains("which `invar paint` did not write"), "{error}");
            assert!(support::tree_digest(&bench.path(out)) == before, "{out}");
        }
    }
    std::fs::create_dir(bench.path("painted")).unwrap();
    let args = ["paint", "c.parquet", "--data", "data", "--out", "painted", "--max-side", "64"];
    bench.ok(&args);
    bench.write("painted/notes.txt", "mine");
    bench.fails(2, &args);
    bench.ok(&["ingest", "micrographs", &format!("{POLYCRYSTALS}/images"), "--tiles", "64", "--out", "tiles"]);
    let before = support::tree_digest(&bench.path("painted"));
    bench.fails(3, &["paint", "c.parquet", "--data", "tiles", "--out", "painted", "--force"]);
    assert!(support::tree_digest(&bench.path("painted")) == before, "a refusal left the old pictures");
    bench.ok(&[&args[..], &["--force"]].concat());
    assert!(support::tree_digest(&bench.path("painted")) == before, "painted again as before, and the note beside");
    // Without the list nobody knows whose they are.
    std::fs::remove_file(bench.path("painted/painted.json")).unwrap();
    bench.fails(2, &[&args[..], &["--force"]].concat());
}

#[test]
fn pictures_that_the_disk_does_not_take_are_named_and_leave_nothing() {
    let bench = polycrystals();
    for (args, out) in [
        (&["gallery", "c.parquet", "--data", "data", "--out", "g.png"][..], "g.png"),
        (&["paint", "c.parquet", "--data", "data", "--out", "painted"], "painted"),
    ] {
        // Files of more than 4 kB are refused.
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_invar")]).args(args);
        let output = command.current_dir(bench.path(".")).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains("File too large"), "{args:?}: {error}");
        assert!(!bench.path(out).exists(), "{args:?}");
    }
}

#[test]
fn tiles_are_painted_as_blocks() {
    let bench = Bench::new();
    let images = format!("{POLYCRYSTALS}/images");
    bench.ok(&["ingest", "micrographs", &images, "--tiles", "64", "--overlap", "32", "--out", "data"]);
    embed(&bench, "data");
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "2"]);
    bench.ok(&["gallery", "c.parquet", "--data", "data", "--out", "g.png"]);
    bench.ok(&["paint", "c.parquet", "--data", "data", "--out", "painted"]);
    let dataset = GrainDataset::open(&[bench.path("data")]).unwrap();
    let map = read_label_map(bench.path("painted").join(format!("{}.tif", dataset.image(0).name)), 1).unwrap();
    // Between the centres of overlapping tiles every pixel belongs to one of them.
    assert!(map.labels.iter().all(|&label| label == 1 || label == 2));
}

#[test]
fn a_table_of_other_samples_is_refused() {
    let bench = polycrystals();
    bench.ok(&["ingest", "micrographs", &format!("{POLYCRYSTALS}/images"), "--whole-image", "--out", "whole"]);
    for (command, out) in [("gallery", "g.png"), ("paint", "painted")] {
        let error = bench.fails(3, &[command, "c.parquet", "--data", "whole", "--out", out]);
        assert!(error.contains("is no grain of the data"), "{error}");
        assert!(!bench.path(out).exists());
    }
}

#[test]
fn evaluate_probes_the_image_and_compares_by_name() {
    let bench = polycrystals();
    let truth = format!("{POLYCRYSTALS}/truth.tsv");
    let args = ["evaluate", "emb", "--labels", &truth, "--clusters", "c.parquet", "--against", "moved", "--json"];
    let found = bench.json(&args);
    let probe = &found["probes"]["image"];
    assert_eq!((&probe["measure"], &probe["num_classes"]), (&"accuracy".into(), &6.into()), "{found}");
    assert!(probe["chance"].as_f64().unwrap() >= 1.0 / 6.0, "{probe}");
    // All have the same pixel size.
    assert!(found["probes"]["pixel_size_nm"].is_null(), "{found}");
    // Rows of `moved` are in another order, and hardly moved.
    assert!(found["against"]["retrieval"].as_f64().unwrap() > 0.9, "{found}");
    assert!(found["against"]["cosine_p1"].as_f64().unwrap() > 0.99, "{found}");
    for key in ["recall_at_1", "accuracy"] {
        let of = if key == "accuracy" { &found["clusters"][key] } else { &found[key] };
        assert!((0.0..=1.0).contains(&of.as_f64().unwrap()), "{key}");
    }
    // A column of the embeddings as labels: the image, which is then not probed.
    let found = bench.json(&["evaluate", "emb", "--label-column", "image", "--json"]);
    assert_eq!(found["labels"]["num_labels"], 6);
    assert!(found["probes"]["image"].is_null(), "{found}");
    assert!(bench.json(&["evaluate", "emb", "--no-probe", "--json"])["probes"].is_null());
}
