//! Ingested records can be recovered in their original form.

use super::{
    alignments::{HEADER, bam},
    *,
};
use crate::originals;

/// The records of the dataset, in its order.
fn again(bench: &Bench) -> Result<Vec<String>, String> {
    let mut found = vec![];
    let each = |row: usize, record: &[u8]| {
        assert_eq!(row, found.len());
        found.push(String::from_utf8(record.to_vec()).unwrap());
        Ok(())
    };
    let result = originals(&bench.out(), bench.directory.path(), &NoProgress, each);
    let prefix = format!("{}/", bench.directory.path().display());
    result.map_err(|error| {
        assert!(error.is_bad_input(), "{error}");
        error.to_string().replace(&prefix, "")
    })?;
    Ok(found)
}

#[test]
fn fastq_is_as_it_came_but_for_lines_and_what_follows_the_plus() {
    let kept = ["@a/1  first one\tx\nacgRYKn\n+\nIIIII~!\n", "@b\nUUGC\n+\n!!!!\n", "@b\nGGCC\n+\n5555\n"];
    let text = "@a/1  first one\tx\r\nacgR\r\nYKn\r\n+a/1  first one\tx\r\nIIIII\r\n~!\r\n\
        @short\nA\n+\nI\n@b\nUUGC\n+\n!!!!\n@b\nGGCC\n+\n5555\n";
    let mut compressed = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    std::io::Write::write_all(&mut compressed, text.as_bytes()).unwrap();
    let mut bench = Bench::new(&[("x.fq.gz", &compressed.finish().unwrap())]);
    bench.config.min_length_bp = 2;
    bench.run().unwrap();
    assert_eq!(again(&bench).unwrap(), kept);
}

#[test]
fn fasta_keeps_its_lines() {
    let text = b">c1 contig\nACGTN\nAC\n\n>c2\nacgt\r\n";
    let bench = Bench::new(&[("x.fa", text)]);
    bench.run().unwrap();
    assert_eq!(again(&bench).unwrap(), [">c1 contig\nACGTN\nAC\n", ">c2\nacgt\n"]);
}

#[test]
fn alignments_are_as_the_sequencer_read_them() {
    let line = |name: &str, flags: u32, letters: &str, qualities: &str| {
        format!("{name}\t{flags}\t*\t0\t0\t*\t*\t0\t0\t{letters}\t{qualities}\n")
    };
    let text = [
        HEADER.to_string(),
        "f\t0\tone\t5\t60\t7M\t*\t0\t0\tACGTNAC\tIHGFED!\n".into(),
        "r\t16\ttwo\t7\t255\t7M\t*\t0\t0\tACGTRYM\tIHGFED!\n".into(),
        line("p", 1 + 64 + 4, "ACGT", "IIII"),
        line("w", 4, "ACGTA", "*"),
        line("p", 1 + 128 + 16 + 4, "AACC", "ABCD"),
    ]
    .concat();
    let bench = Bench::new(&[("x", &bam(&text))]);
    let (_, dataset) = bench.dataset();
    // The complement of R (A or G) is Y (T or C), that of M (A or C) is K.
    let expected = [
        "@f\nACGTNAC\n+\nIHGFED!\n",
        "@r\nKRYACGT\n+\n!DEFGHI\n",
        ">w\nACGTA\n",
        "@p\nACGT\n+\nIIII\n",
        "@p\nGGTT\n+\nDCBA\n",
    ];
    let mut found = again(&bench).unwrap();
    let names: Vec<String> = sequences(&dataset).into_iter().map(|(name, _)| name).collect();
    assert!(
        found.iter().zip(&names).all(|(record, name)| record[1..].starts_with(name.as_str())),
        "{found:?} {names:?}"
    );
    let of_mates: Vec<String> = found.iter().filter(|record| record.starts_with("@p")).cloned().collect();
    assert_eq!(of_mates, expected[3..]);
    found.sort();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(found, sorted);
}

#[test]
fn many_records_of_several_shards_and_of_mates_come_in_the_order_of_the_rows() {
    let text = String::from_utf8(fastq(3000)).unwrap();
    let records: Vec<String> =
        text.lines().collect::<Vec<_>>().chunks(4).map(|lines| lines.join("\n") + "\n").collect();
    let mut bench = Bench::new(&[("x", text.as_bytes())]);
    bench.config.shard_rows = 700;
    let (summary, _) = bench.dataset();
    assert!(summary.manifest.shards.len() > 3);
    assert_eq!(again(&bench).unwrap(), records);

    let seconds = text.replace("GTT", "GAT");
    let bench = Bench::new(&[("r1", text.as_bytes()), ("r2", seconds.as_bytes())]).paired(Pairing::Files);
    bench.run().unwrap();
    let found = again(&bench).unwrap();
    assert_eq!(found.iter().step_by(2).cloned().collect::<String>(), text);
    assert_eq!(found.iter().skip(1).step_by(2).cloned().collect::<String>(), seconds);
}

#[test]
fn inputs_that_are_gone_or_others_are_refused() {
    let bench = Bench::new(&[("x", &fastq(20))]);
    bench.run().unwrap();
    let path = &bench.inputs.files[0];
    // A copy with the same bytes is the same file.
    fs::remove_file(path).unwrap();
    fs::write(path, fastq(20)).unwrap();
    assert_eq!(again(&bench).unwrap().len(), 20);
    let mut other = fastq(20);
    other[30] = b'T';
    fs::write(path, &other).unwrap();
    let error = again(&bench).unwrap_err();
    let [then, now] = [fastq(20), other].map(|bytes| {
        let file = bench.directory.path().join("other");
        fs::write(&file, bytes).unwrap();
        file_digest(&file).unwrap().1
    });
    assert_eq!(error, format!("x: SHA-256, since out was made from it: expected {then}, found {now}"));
    fs::write(path, fastq(19)).unwrap();
    let error = again(&bench).unwrap_err();
    let [then, now] = [20, 19].map(|reads| fastq(reads).len());
    assert_eq!(error, format!("x: size in bytes, since out was made from it: expected {then}, found {now}"));
    fs::remove_file(path).unwrap();
    assert_eq!(again(&bench).unwrap_err(), "x: input of out: expected the file to be there still, found none");
}
