//! Contigs through the command line: what does not fit together.
#![cfg(feature = "torch")]

mod support;

use support::Bench;

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
