//! Contigs through the command line, from the files of an assembly to bins.
#![cfg(feature = "torch")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use support::Bench;

fn project(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/contigs");
    root.join(file).canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// The genomes of the test data are 50 to 90 kb; there are six, two of which are alike in composition.
#[test]
fn an_assembly_is_sorted_into_its_genomes() {
    let bench = Bench::new();
    let files = ["contigs.fa.gz", "depth.txt", "assembly_graph.gfa.gz", "contigs.paths"].map(project);
    let truth = project("truth.tsv");
    let mut args = vec!["run", "contigs/quickstart", "--out", "out", "--json", "-q", "--labels", &truth, "--input"];
    args.extend(files.iter().map(String::as_str));
    for setting in ["source.ingest.min_length_bp=500", "cluster.weight.least=25000"] {
        args.extend(["--set", setting]);
    }
    let stages = bench.json(&args)["stages"].clone();
    let counts = &stages["ingest"]["counts"];
    let found = ["kept", "in_graph_by_path", "not_in_graph", "samples"].map(|name| counts[name].as_u64().unwrap());
    assert_eq!(found, [82, 81, 1, 3]);
    assert!(stages["evaluate"]["symmetry_gap_max"].as_f64().unwrap() <= 1e-6, "{stages}");
    assert!(stages["evaluate"]["recall_at_1"].as_f64().unwrap() >= 0.9, "{stages}");
    let args = ["out/clusters.parquet", "--data", "out/data", "--out", "bins", "--min-bin-bp", "25000", "--json", "-q"];
    let bins = bench.json(&[&["bins"], &args[..]].concat());
    let bins = bins["bins"].as_array().unwrap();
    assert!((5..=7).contains(&bins.len()), "{bins:?}");
    let scores = ["evaluate", "out/embeddings", "--labels", &truth, "--clusters", "out/clusters.parquet"];
    let scores = bench.json(&[&scores[..], &["--weight", "length_bp", "--no-probe", "--json", "-q"]].concat());
    assert!(scores["bins"]["purity"].as_f64().unwrap() > 0.9, "{scores}");
    assert!(scores["bins"]["num_near_complete"].as_u64().unwrap() >= 4, "{scores}");

    // Every contig is in one bin, and its bases are those of the FASTA.
    let table = fs::read_to_string(bench.path("bins/contig2bin.tsv")).unwrap();
    let named: usize = bins.iter().map(|bin| bin["contigs"].as_u64().unwrap() as usize).sum();
    assert_eq!(table.lines().count(), named);
    let lines = fs::read_to_string(bench.path("bins/bins.tsv")).unwrap();
    let header = "bin\tcontigs\tbases\tn50_bp\tgc\tdepth_S1\tdepth_S2\tdepth_S3\tpurity_estimate";
    assert_eq!(lines.lines().next().unwrap(), header);
    for bin in bins {
        let name = bin["bin"].as_str().unwrap();
        let fasta = fs::read_to_string(bench.path(&format!("bins/{name}.fa"))).unwrap();
        let bases: usize = fasta.lines().filter(|line| !line.starts_with('>')).map(str::len).sum();
        assert_eq!(bases as u64, bin["bases"].as_u64().unwrap());
    }
    assert!(bench.fails(2, &["bins", args[0], args[1], args[2], "--out", "bins"]).contains("--force"));
}

#[test]
fn the_bins_do_not_depend_on_the_threads() {
    let bench = Bench::new();
    let (fasta, depth) = (project("contigs.fa.gz"), project("depth.txt"));
    let clusters = ["1", "2"].map(|threads| {
        let out = format!("out{threads}");
        let args = ["run", "contigs/quickstart", "--input", &fasta, &depth, "--out", &out, "-q", "--threads", threads];
        let settings = ["--set", "train.steps=20", "--set", "cluster.weight.least=25000"];
        bench.ok(&[&args[..], &settings].concat());
        fs::read(bench.path(&format!("{out}/clusters.tsv"))).unwrap()
    });
    assert_eq!(clusters[0], clusters[1]);
}

#[test]
fn contigs_are_seen_in_their_graph() {
    let bench = Bench::new();
    let files = ["contigs.fa.gz", "depth.txt", "assembly_graph.gfa.gz", "contigs.paths"].map(project);
    let truth = project("truth.tsv");
    let run = |out: &str, more: &[&str]| {
        let mut args = vec!["run", "contigs/graph", "--out", out, "--json", "-q", "--labels", &truth];
        args.extend(["--set", "cluster.weight.least=25000"].iter().chain(more));
        args.push("--input");
        args.extend(files.iter().map(String::as_str));
        bench.json(&args)["stages"]["evaluate"].clone()
    };
    let found = run("graph", &["--set", "train.steps=60"]);
    assert!(found["symmetry_gap_max"].as_f64().unwrap() <= 1e-6, "{found}");
    assert!(found["recall_at_1"].as_f64().unwrap() >= 0.9, "{found}");
    let data = bench.path("graph/data");
    let text = bench.ok(&["views", data.to_str().unwrap(), "--recipe", "contigs/graph", "--number", "3"]);
    assert!(text.contains(" edges\n") && text.contains(" neighbours are "), "{text}");
    // The same bytes at any number of threads.
    let few = ["1", "2"].map(|threads| {
        let out = format!("few{threads}");
        run(&out, &["--set", "train.steps=20", "--threads", threads]);
        fs::read(bench.path(&format!("{out}/clusters.tsv"))).unwrap()
    });
    assert_eq!(few[0], few[1]);

    // A graph that is not there is told before anything is read, or from the dataset.
    let mut args = vec!["run", "contigs/graph", "--out", "none", "--input"];
    args.extend(files[..2].iter().map(String::as_str));
    let error = bench.fails(2, &args);
    assert!(error.contains("the recipe looks at the assembly graph: give its GFA or FASTG"), "{error}");
    let depth = ["ingest", "contigs", &files[0], "--depth", &files[1], "--out", "bare", "-q"];
    bench.ok(&depth);
    let error = bench.fails(2, &["train", "contigs/graph", "--data", "bare", "--out", "none"]);
    assert!(error.contains("view.graph = set: the dataset has no assembly graph"), "{error}");
}

#[test]
fn what_does_not_fit_the_assembly_is_bad_input() {
    let bench = Bench::new();
    bench.write("c.fa", ">a\nACGT\n>b\nACGTT\n");
    bench.write("d.tsv", "contigName\tcontigLen\ttotalAvgDepth\tS\tS-var\na\t4\t1\t1\t1\nb\t6\t1\t1\t1\n");
    let ingest = ["ingest", "contigs", "c.fa", "--out", "data", "--min-length", "0"];
    let error = bench.fails(3, &[&ingest[..], &["--depth", "d.tsv"]].concat());
    assert!(error.contains("\"b\": length of the contig: expected 5 bp, as in c.fa, line 3, found 6 bp"), "{error}");
    assert!(!bench.path("data").exists());
    bench.write("g.gfa", "S\ta\t*\nL\ta\t+\tz\t+\t*\n");
    let error = bench.fails(3, &[&ingest[..], &["--gfa", "g.gfa"]].concat());
    assert!(error.contains("g.gfa, line 2: \"z\": segment of a link"), "{error}");
    let error = bench.fails(2, &[&ingest[..], &["--bam", "none.bam"]].concat());
    assert!(error.contains("none.bam"), "{error}");
    bench.fails(2, &[&ingest[..], &["--paths", "p"]].concat());
    bench.fails(2, &[&ingest[..], &["--min-identity", "97"]].concat());
}

/// Ten markers a genome, spread over its contigs: bins are then judged by them, and their number follows.
#[test]
fn single_copy_markers_choose_the_number_of_bins() {
    let bench = Bench::new();
    let truth = fs::read_to_string(project("truth.tsv")).unwrap();
    let mut of_genome: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (contig, genome) in truth.lines().skip(1).filter_map(|line| line.split_once('\t')) {
        of_genome.entry(genome).or_default().push(contig);
    }
    let of_contig: Vec<(&str, usize)> = of_genome
        .values()
        .flat_map(|contigs| (0..10).map(|marker| (contigs[marker % contigs.len()], marker)))
        .collect();
    let rows: String = of_contig.iter().map(|(contig, marker)| format!("{contig}\tM{marker}\n")).collect();
    bench.write("markers.tsv", format!("contig\tmarker\n{rows}"));
    let (fasta, depth) = (project("contigs.fa.gz"), project("depth.txt"));
    let mut args =
        vec!["run", "contigs/quickstart", "--out", "out", "--json", "-q", "--input", &fasta, &depth, "markers.tsv"];
    for setting in ["source.ingest.min_length_bp=500", "cluster.weight.least=25000", "train.steps=100"] {
        args.extend(["--set", setting]);
    }
    let stages = bench.json(&args)["stages"].clone();
    assert_eq!(stages["ingest"]["counts"]["markers"], 10);
    let tried = stages["cluster"]["candidates"].as_array().unwrap();
    let score = |one: &serde_json::Value| one["markers"].as_f64().unwrap();
    let most = tried.iter().map(score).fold(0.0, f64::max);
    let chosen = tried.iter().find(|one| one["chosen"] == true).unwrap();
    assert!(most > 0.0 && score(chosen) == most && chosen["score"] == chosen["markers"], "{tried:?}");

    let args =
        ["bins", "out/clusters.parquet", "--data", "out/data", "--out", "bins", "--min-bin-bp", "1", "--json", "-q"];
    let bins = bench.json(&args)["bins"].clone();
    let table = fs::read_to_string(bench.path("bins/contig2bin.tsv")).unwrap();
    let bin_of: BTreeMap<&str, &str> = table.lines().filter_map(|line| line.split_once('\t')).collect();
    for bin in bins.as_array().unwrap() {
        let found = of_contig.iter().filter(|(contig, _)| bin_of.get(contig) == bin["bin"].as_str().as_ref());
        let found: Vec<usize> = found.map(|&(_, marker)| marker).collect();
        let distinct = found.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(bin["marker_completeness"].as_f64().unwrap(), distinct as f64 / 10.0, "{bin}");
        assert_eq!(bin["marker_contamination"].as_f64().unwrap(), (found.len() - distinct) as f64 / 10.0, "{bin}");
    }
    let lines = fs::read_to_string(bench.path("bins/bins.tsv")).unwrap();
    assert!(lines.lines().next().unwrap().ends_with("\tmarker_completeness\tmarker_contamination"), "{lines}");
}
