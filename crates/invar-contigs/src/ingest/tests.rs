//! Whole ingests, of alignments that are written here.

mod alignments;

use std::{fs, path::PathBuf};

use invar_dataset::{NoProgress, SampleTable, manifest::Manifest};

use super::*;
use crate::ContigDataset;

/// A directory with inputs and outputs.
struct Inside {
    dir: tempfile::TempDir,
}

impl Inside {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn config() -> IngestConfig {
    IngestConfig { min_length_bp: 0, ..IngestConfig::default() }
}

fn run(inputs: &Inputs, out: &Path) -> Result<Summary, Error> {
    ingest(inputs, out, &config(), &NoProgress)
}

/// The error of an ingest, which leaves nothing behind, in words, without the directory.
fn error(place: &Inside, inputs: &Inputs) -> String {
    let out = place.out("failed");
    let error = run(inputs, &out).unwrap_err();
    assert!(error.is_bad_input(), "{error}");
    assert!(!Manifest::exists(&out) && fs::read_dir(&out).map_or(0, Iterator::count) == 0, "{error}");
    error.to_string().replace(&format!("{}/", place.dir.path().display()), "")
}

fn of_fasta(fasta: PathBuf) -> Inputs {
    Inputs { fasta, ..Inputs::default() }
}

#[test]
fn few_contigs_and_none() {
    let place = Inside::new();
    for (text, expected) in [("", 0), (">a\n\n", 1), (">a\nNNNN\n", 1), (">a x y\nACGT\n>b\nAC", 2)] {
        let out = place.out(&format!("data{}", text.len()));
        let summary = run(&of_fasta(place.write("c.fa", text)), &out).unwrap();
        assert_eq!(summary.manifest.num_rows(), expected);
        let contigs = ContigDataset::open(std::slice::from_ref(&out)).unwrap();
        assert_eq!(contigs.len(), expected as usize);
        assert_eq!(contigs.columns(0..contigs.len()).unwrap().len(), 6);
        assert!(run(&of_fasta(place.out("c.fa")), &out).unwrap().already_done);
    }
}

#[test]
fn short_contigs_are_counted_and_may_be_in_tables() {
    let place = Inside::new();
    let fasta = place.write("c.fa", ">a\nACGTACGT\n>short\nAC\n>b\nACGTAC\n");
    let table = place.write("d.tsv", "Contig\tS1 Mean\na\t1\nshort\t5\nb\t2\n");
    let inputs = Inputs { fasta, tables: vec![table], ..Inputs::default() };
    let config = IngestConfig { min_length_bp: 3, ..IngestConfig::default() };
    let summary = ingest(&inputs, &place.out("data"), &config, &NoProgress).unwrap();
    let counts = &summary.manifest.counts;
    assert_eq!((counts["kept"], counts["too_short"], counts["samples"]), (2, 1, 1));
    assert_eq!(summary.manifest.parameters["depth"]["min_identity"], serde_json::json!(0.97f32));
    let contigs = ContigDataset::open(&[place.out("data")]).unwrap();
    let means: Vec<f32> = (0..2).map(|index| contigs.depths(index).next().unwrap().mean).collect();
    assert_eq!((contigs.name(1).unwrap(), &*means), ("b", &[1.0, 2.0][..]));
    let names: Vec<String> = contigs.columns(0..0).unwrap().into_iter().map(|column| column.name).collect();
    let expected = [
        "id",
        "source",
        "key",
        "description",
        "length_bp",
        "gc",
        "depth",
        "depth_S1",
        "depth_variance_S1",
        "breadth_S1",
    ];
    assert_eq!(names, expected);
    for figure in contigs.group_figures().figures {
        assert!(figure.columns().iter().all(|column| names.iter().any(|name| name == column)), "{figure:?}");
    }
}

#[test]
fn bad_inputs_are_refused_with_both_values() {
    let place = Inside::new();
    let fasta = place.write("c.fa", ">a\nACGT\n>b\nAC\n");
    let with = |tables: Vec<PathBuf>| Inputs { fasta: fasta.clone(), tables, ..Inputs::default() };
    assert_eq!(
        error(&place, &of_fasta(place.write("twice.fa", ">a\nACGT\n>b\nA\n>a\nAC\n"))),
        r#"twice.fa, line 5: "a": contig of this name: expected one, in line 1 (4 bp), found a second one (2 bp)"#
    );
    assert!(error(&place, &of_fasta(place.write("p.fa", ">a\nMKL\n"))).contains(r#""a": sequence"#));
    let zero = place.write("zero.tsv", "Contig\tS1 Mean\tS2 Mean\na\t0\t0\nb\t0\t0\n");
    assert_eq!(
        error(&place, &with(vec![zero])),
        "zero.tsv: depth: expected above 0 for one of the 2 contigs at least, found 0 everywhere, in all samples"
    );
    let (one, two) =
        (place.write("1.tsv", "Contig\tS Mean\na\t1\nb\t1\n"), place.write("2.tsv", ",S_mean\na,1\nb,2\n"));
    assert!(error(&place, &with(vec![one, two])).ends_with("found a second one"));
}

#[test]
fn contigs_are_found_in_the_graph_by_path_name_and_sequence() {
    let place = Inside::new();
    let fasta = place.write("c.fa", ">p\nACGTAA\n>s\nGGTT\n>k141_7\nTTTAC\n>none\nCCCCCCC\n");
    let graph =
        place.write("g.gfa", "S\t1\tACGT\nS\t2\tGTAA\nS\ts\tGGTT\nS\t9\tGTAAA\nL\t2\t+\ts\t-\t2M\nP\tp\t1+,2+\t*\n");
    let inputs = Inputs { graph: Some(graph), ..of_fasta(fasta.clone()) };
    let summary = run(&inputs, &place.out("data")).unwrap();
    let counts = &summary.manifest.counts;
    let found =
        ["in_graph_by_path", "in_graph_by_name", "in_graph_by_sequence", "not_in_graph"].map(|name| counts[name]);
    assert_eq!(found, [1, 1, 1, 1]);
    assert!(summary.warnings().iter().any(|text| text.contains(r#"1 of 4 contigs are not in the graph: "none""#)));
    let contigs = ContigDataset::open(&[place.out("data")]).unwrap();
    let linked: Vec<_> = (0..4).map(|index| contigs.linked(index)).collect();
    assert_eq!(linked, [Some((1, false)), Some((1, false)), Some((0, false)), None]);

    let graph = |text: &str| Inputs { graph: Some(place.write("bad.gfa", text)), ..of_fasta(fasta.clone()) };
    assert_eq!(
        error(&place, &graph("S\ts\t*\tLN:i:9\n")),
        r#"bad.gfa: "s": length of the segment: expected 4 bp, as in c.fa, found 9 bp"#
    );
    assert!(error(&place, &graph("S\tx\tAA\n")).contains("names and sequences of the graph"));
    assert!(error(&place, &graph("S\ts\t*\nL\ts\t+\tq\t+\t*\n")).contains(r#"line 2: "q": segment of a link"#));
}

#[test]
fn datasets_of_other_samples_are_not_opened_together() {
    let place = Inside::new();
    let data = |name: &str, sample: &str| {
        let fasta = place.write(&format!("{name}.fa"), format!(">{name}\nACGT\n"));
        let table = place.write(&format!("{name}.tsv"), format!("Contig\t{sample} Mean\n{name}\t1\n"));
        run(&Inputs { fasta, tables: vec![table], ..Inputs::default() }, &place.out(name)).unwrap();
        place.out(name)
    };
    let (a, b, c) = (data("a", "S1"), data("b", "S1"), data("c", "S2"));
    let both = ContigDataset::open(&[a.clone(), b]).unwrap();
    assert_eq!((both.len(), both.name(1).unwrap()), (2, "b"));
    assert_ne!(both.key(0), both.key(1));
    let error = ContigDataset::open(&[a, c]).err().unwrap().to_string();
    assert!(error.ends_with("samples, as in the directory given first: expected S1, found S2"), "{error}");
}
