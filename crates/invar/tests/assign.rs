//! New samples assigned to clusters found before. The embeddings are made up: what is tested is what is done with them.

mod support;

use std::fs;

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{ClusterTable, EmbeddingWriter, Provenance};
use support::Bench;

const DIM: usize = 8;

/// `each` samples around each of these axes, numbered from `first`, as embedded by one model.
fn embeddings(bench: &Bench, name: &str, model: &str, axes: &[usize], each: usize, first: usize) {
    let mut values = vec![];
    let n = axes.len() * each;
    for row in 0..n {
        // Some noise of length at most 0.3, the same for the same number.
        let noise = |dim: usize| (((first + row) * 7919 + dim * 104_729) % 1_000) as f32 / 5_000.0 - 0.1;
        let mut vector: Vec<f32> = (0..DIM).map(noise).collect();
        vector[axes[row % axes.len()]] += 1.0;
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        values.extend(vector.iter().map(|x| x / norm));
    }
    let column = |name: &str, data| Column { name: name.into(), data };
    let columns = [
        column("id", ColumnData::Str((0..n).map(|row| Some(format!("s{}", first + row))).collect())),
        column("key", ColumnData::I64((0..n).map(|row| Some((first + row) as i64)).collect())),
        column("gc", ColumnData::F32((0..n).map(|row| Some((axes[row % axes.len()] * 10 + row % 3) as f32)).collect())),
    ];
    let mut provenance = Provenance::new("test", DIM);
    provenance.model_sha256 = Some(model.into());
    let mut writer = EmbeddingWriter::create(&bench.path(name), provenance).unwrap();
    writer.write(&columns, &values).unwrap();
    writer.finish(&Default::default()).unwrap();
}

/// A bench with `old.parquet` around three axes, its clusters in `clusters.parquet`, and `new.parquet` around two of
/// these and a fourth.
fn bench() -> Bench {
    let bench = Bench::new();
    embeddings(&bench, "old.parquet", "m1", &[0, 1, 2], 100, 0);
    embeddings(&bench, "new.parquet", "m1", &[1, 5, 2], 40, 10_000);
    bench.ok(&["cluster", "old.parquet", "--k", "3", "--out", "clusters.parquet"]);
    bench
}

#[test]
fn members_come_to_their_cluster_and_strangers_to_none() {
    let bench = bench();
    let said =
        bench.ok(&["cluster", "new.parquet", "--assign", "clusters.parquet", "--out", "a.parquet", "--plot", "a.svg"]);
    assert!(said.contains("of 120 samples in 2 of the 3 clusters of clusters.parquet"), "{said}");
    let old = ClusterTable::read(&bench.path("clusters.parquet")).unwrap();
    let found = ClusterTable::read(&bench.path("a.parquet")).unwrap();
    assert_eq!(found.ids[0], "s10000");
    let of_axis = |axis: usize| old.clusters[axis];
    let none = |axes: usize| found.clusters.iter().skip(axes).step_by(3).filter(|&&cluster| cluster == -1).count();
    for (row, &cluster) in found.clusters.iter().enumerate() {
        let right = [of_axis(1), -1, of_axis(2)][row % 3];
        assert!(cluster == right || cluster == -1, "row {row}: {cluster}, not {right}");
    }
    assert!(none(1) == 40 && none(0) <= 8 && none(2) <= 8, "{:?}", found.clusters);
    // In the old map, among the old members.
    let row = (0..120).find(|&row| found.clusters[row] == of_axis(1)).unwrap();
    let members: Vec<usize> = (0..300).filter(|&old_row| old.clusters[old_row] == of_axis(1)).collect();
    let extent = |of: &[f32]| {
        let of = members.iter().map(|&member| of[member]);
        (of.clone().fold(f32::INFINITY, f32::min), of.fold(f32::NEG_INFINITY, f32::max))
    };
    for (place, of) in [(found.x[row], &old.x), (found.y[row], &old.y)] {
        let (least, most) = extent(of);
        assert!((least..=most).contains(&place));
    }
    // The table of the clusters states what distinguishes them, and their exemplars.
    let table = fs::read_to_string(bench.path("a.tsv")).unwrap();
    let line = table.lines().find(|line| line.starts_with(&format!("{}\t", of_axis(1)))).unwrap();
    assert!(line.contains("gc 10") && line.contains("\ts1"), "{table}");
    assert!(fs::read_to_string(bench.path("a.svg")).unwrap().contains("UMAP"));
    // A gate that admits samples as far away as the farthest member, and one that admits half.
    let sizes = |gate: &str| {
        let args =
            ["cluster", "new.parquet", "--assign", "clusters.parquet", "--out", "b.parquet", "--force", "--gate", gate];
        bench.json(&args.iter().copied().chain(["--json"]).collect::<Vec<_>>())["num_noise"].as_u64().unwrap()
    };
    assert!(sizes("0.5") > sizes("1"), "{} {}", sizes("0.5"), sizes("1"));
}

#[test]
fn the_embeddings_are_found_where_they_moved_together() {
    let bench = bench();
    for name in ["there", "there/maps"] {
        fs::create_dir(bench.path(name)).unwrap();
    }
    bench.ok(&["cluster", "old.parquet", "--k", "3", "--out", "there/maps/c.parquet"]);
    let assign = ["cluster", "new.parquet", "--assign", "there/maps/c.parquet", "--out", "a.parquet", "--force"];
    bench.ok(&assign);
    fs::rename(bench.path("old.parquet"), bench.path("moved.parquet")).unwrap();
    let error = bench.fails(2, &assign);
    assert!(
        error.contains("are not at there/maps/../../old.parquet any more") && error.contains("--of EMB"),
        "{error}"
    );
    bench.ok(&[&assign[..], &["--of", "moved.parquet"]].concat());
    let error = bench.fails(3, &[&assign[..], &["--of", "new.parquet"]].concat());
    assert!(error.contains("expected the 300 samples of the clusters, found 120"), "{error}");
}

#[test]
fn other_models_and_other_files_are_refused() {
    let bench = bench();
    embeddings(&bench, "other.parquet", "m2", &[0, 1], 20, 5_000);
    let error = bench.fails(3, &["cluster", "other.parquet", "--assign", "clusters.parquet", "--out", "a.parquet"]);
    assert!(error.contains("the model is m1 in") && error.contains("and m2 in other.parquet"), "{error}");
    assert!(!bench.path("a.parquet").exists() && !bench.path("a.tsv").exists());
    let error = bench.fails(3, &["cluster", "new.parquet", "--assign", "old.parquet", "--out", "a.parquet"]);
    assert!(error.contains("kind of file"), "{error}");
    for (options, reason) in [
        (&["--k", "3"][..], "cannot be used with"),
        (&["--gate", "1.5"], "gate = 1.5: must be greater than 0 and at most 1"),
        (&["--neighbors", "0"], "neighbors = 0: must be 1 to 1,000"),
    ] {
        let args =
            [&["cluster", "new.parquet", "--assign", "clusters.parquet", "--out", "a.parquet"], options].concat();
        let error = bench.fails(2, &args);
        assert!(error.contains(reason), "{error}");
    }
    let error = bench.fails(2, &["cluster", "new.parquet", "--gate", "0.5", "--out", "a.parquet"]);
    assert!(error.contains("--assign"), "{error}");
    let error = bench
        .fails(2, &["cluster", "new.parquet", "--assign", "clusters.parquet", "--out", "clusters.parquet", "--force"]);
    assert!(error.contains("is an input of this command"), "{error}");
}
