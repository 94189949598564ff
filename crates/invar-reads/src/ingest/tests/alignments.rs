//! BAM and CRAM, written by noodles from SAM text.

use std::io::Write as _;

use noodles::{
    bam, bgzf, cram, fasta,
    sam::{self, alignment::io::Write as _},
};

use super::*;
use crate::Alignment;

pub(super) const HEADER: &str = "@HD\tVN:1.6\n@SQ\tSN:one\tLN:100\n@SQ\tSN:two\tLN:100\n";

fn records(text: &str) -> (sam::Header, Vec<sam::alignment::RecordBuf>) {
    let mut reader = sam::io::Reader::new(text.as_bytes());
    let header = reader.read_header().unwrap();
    let records = reader.record_bufs(&header).map(|record| record.unwrap()).collect();
    (header, records)
}

pub(super) fn bam(text: &str) -> Vec<u8> {
    let (header, records) = records(text);
    let mut writer = bam::io::Writer::new(Vec::new());
    writer.write_header(&header).unwrap();
    for record in &records {
        writer.write_alignment_record(&header, record).unwrap();
    }
    writer.try_finish().unwrap();
    writer.into_inner().into_inner()
}

/// A sequence of 100 bases for each reference.
fn reference(name: &str) -> String {
    "ACGTTGCATGCCATTAGGCA".chars().cycle().skip(name.len() + usize::from(name.as_bytes()[0])).take(100).collect()
}

fn cram(text: &str) -> Vec<u8> {
    let (header, records) = records(text);
    let sequence = |name: &str| {
        fasta::Record::new(fasta::record::Definition::new(name, None), reference(name).into_bytes().into())
    };
    let repository = fasta::Repository::new(vec![sequence("one"), sequence("two")]);
    let mut writer = cram::io::writer::Builder::default()
        .set_reference_sequence_repository(repository)
        .build_from_writer(Vec::new());
    writer.write_header(&header).unwrap();
    for record in &records {
        writer.write_alignment_record(&header, record).unwrap();
    }
    writer.try_finish(&header).unwrap();
    writer.get_ref().clone()
}

const MAPPED: &str = "f\t0\tone\t5\t60\t2S3M1D2M\t*\t0\t0\tACGTNAC\tIIIIII!\n\
    r\t16\ttwo\t7\t255\t7M\t*\t0\t0\tACGTNAC\t!IIIIII\n\
    u\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII\n\
    s\t256\tone\t5\t60\t4M\t*\t0\t0\tACGT\tIIII\n\
    v\t2048\tone\t5\t60\t4M\t*\t0\t0\tACGT\tIIII\n";

/// Records without a sequence, and without qualities on an unmapped one with a position: for these noodles does not
/// write readable CRAM.
const SPARSE: &str = "w\t4\tone\t5\t0\t*\t*\t0\t0\tACGT\t*\n\
    n\t0\tone\t5\t60\t4M\t*\t0\t0\t*\t*\n";

#[test]
fn alignments_are_columns_and_sequences_are_turned_back() {
    let bench = Bench::new(&[("x", &bam(&format!("{HEADER}{MAPPED}{SPARSE}")))]);
    let (summary, dataset) = bench.dataset();
    assert_eq!(sequences(&dataset), pairs(&[("f", "ACGTNAC"), ("r", "GTNACGT"), ("u", "ACGT"), ("w", "ACGT")]));
    assert_eq!((count(&summary, "not_primary"), count(&summary, "no_sequence")), (2, 1));
    let alignments: Vec<_> = (0..4).map(|index| Reads::alignment(&dataset, index)).collect();
    let forward = Alignment { reference: 0, position: 5, span_bp: 6, is_reverse: false, mapping_quality: Some(60) };
    let reverse = Alignment { reference: 1, position: 7, span_bp: 7, is_reverse: true, mapping_quality: None };
    assert_eq!(alignments, [Some(forward), Some(reverse), None, None]);
    assert_eq!((dataset.reference_name(1), dataset.reference_name(2)), (Some("two"), None));
    // The mean does not depend on the order of the qualities; `*` means none.
    let qualities: Vec<_> = (0..4).map(|index| dataset.get(index).unwrap().mean_quality).collect();
    assert_eq!(qualities[0], qualities[1]);
    assert_eq!(qualities[2..], [Some(40.0), None]);
}

#[test]
fn all_alignments_on_request() {
    let more_of_f = "f\t2048\tone\t5\t60\t4M\t*\t0\t0\tACGT\tIIII\n";
    let mut bench = Bench::new(&[("x", &bam(&format!("{HEADER}{MAPPED}{more_of_f}")))]);
    bench.config.primary_only = false;
    let (summary, dataset) = bench.dataset();
    assert_eq!((count(&summary, "not_primary"), Reads::len(&dataset)), (0, 6));
    // The alignments of a read are one sample, each with a key of its own.
    let rows = || 0..Reads::len(&dataset);
    let names: HashSet<&str> = rows().map(|row| dataset.name(row).unwrap()).collect();
    let ids: HashSet<_> = rows().map(|row| dataset.sample_id(row).unwrap()).collect();
    let keys: HashSet<u64> = rows().map(|row| dataset.key(row)).collect();
    assert_eq!((names.len(), ids.len(), keys.len()), (5, 5, 6), "{names:?} {ids:?} {keys:?}");
}

#[test]
fn an_unmapped_bam_needs_no_references() {
    let text = "@HD\tVN:1.6\nu\t4\t*\t0\t255\t*\t*\t0\t0\tACGT\tIIII\n";
    let (_, dataset) = Bench::new(&[("x", &bam(text))]).dataset();
    assert_eq!(sequences(&dataset), pairs(&[("u", "ACGT")]));
    let bench = Bench::new(&[("x", &bam(HEADER))]);
    assert_eq!(
        bench.error(),
        (ErrorKind::Empty, "x: expected at least one read, found a header without records".into())
    );
}

#[test]
fn mates_are_joined_by_name() {
    let line = |name: &str, flags: u32, letters: &str| format!("{name}\t{flags}\t*\t0\t0\t*\t*\t0\t0\t{letters}\t*\n");
    let text = [
        "@HD\tVN:1.6\n".to_string(),
        line("a", 1 + 64 + 4, "AAAA"),
        line("b", 1 + 128 + 4, "CCCC"),
        line("c", 1 + 64 + 4, "GGGG"),
        line("x", 4, "ACGT"),
        line("b", 1 + 64 + 4, "CCCA"),
        line("a", 1 + 128 + 4, "AAAC"),
        line("d", 1 + 64 + 4, "TTTT"),
        line("d", 1 + 64 + 4, "TTTA"),
    ]
    .concat();
    let bench = Bench::new(&[("x", &bam(&text))]);
    let (summary, dataset) = bench.dataset();
    let expected = [
        ("x", "ACGT"),
        ("b", "CCCA"),
        ("b", "CCCC"),
        ("a", "AAAA"),
        ("a", "AAAC"),
        ("d", "TTTT"),
        ("c", "GGGG"),
        ("d", "TTTA"),
    ];
    assert_eq!(sequences(&dataset), pairs(&expected));
    assert_eq!(count(&summary, "singletons"), 3);
    let mates: Vec<_> = (0..8).map(|index| dataset.mate_of(index)).collect();
    assert_eq!(mates, [None, Some(2), Some(1), Some(4), Some(3), None, None, None]);
}

#[test]
fn mates_are_joined_however_far_apart_they_are() {
    let num_pairs = 2_000;
    let mut text = "@HD\tVN:1.6\n".to_string();
    // All first mates; a third of the second ones come in the same order, a third in the other; a third is missing.
    let second = (0..num_pairs).filter(|pair| pair % 3 == 0).chain((0..num_pairs).rev().filter(|pair| pair % 3 == 1));
    for (pair, mate) in (0..num_pairs).map(|pair| (pair, 1)).chain(second.map(|pair| (pair, 2))) {
        let letters: String = "ACGT".chars().cycle().skip(pair % 4).take(100 + mate).collect();
        text += &format!("pair{pair}\t{}\t*\t0\t0\t*\t*\t0\t0\t{letters}\t*\n", 1 + 4 + 64 * mate);
    }
    let mut bench = Bench::new(&[("x", &bam(&text))]);
    let in_memory = bench.dataset();
    bench.config.pending_mates_bytes = 0;
    bench.config.force = true;
    let on_disk = bench.dataset();
    let num_joined = (0..num_pairs).filter(|pair| pair % 3 < 2).count();
    for (summary, dataset) in [&in_memory, &on_disk] {
        assert_eq!(count(summary, "singletons") as usize, num_pairs - num_joined);
        assert_eq!(Reads::len(dataset), num_pairs + num_joined);
        let mut joined = 0;
        for index in 0..Reads::len(dataset) {
            let read = dataset.get(index).unwrap();
            let Some(mate) = dataset.mate_of(index) else { continue };
            assert_eq!(dataset.get(mate).unwrap().name, read.name);
            assert_eq!(read.sequence.as_slice().len(), 100 + usize::from(read.mate.unwrap()));
            joined += 1;
        }
        assert_eq!(joined, 2 * num_joined);
    }
    let names = |dataset| sequences(dataset).into_iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(&in_memory.1), names(&on_disk.1));
    assert_ne!(sequences(&in_memory.1), sequences(&on_disk.1), "nothing was put on the disk");
    assert_eq!(bench.bytes().len(), 2, "a manifest and a shard");
}

#[test]
fn a_cigar_of_too_many_operations_has_the_right_span() {
    // 70,000 operations: the record holds two and the tag CG the rest. 35,000 bases aligned, 35,000 deleted.
    let letters = "ACGTG".repeat(7_000);
    let cigar = "1M1D".repeat(35_000);
    let text = format!("@HD\tVN:1.6\n@SQ\tSN:one\tLN:100000\nf\t0\tone\t5\t60\t{cigar}\t*\t0\t0\t{letters}\t*\n");
    let (_, dataset) = Bench::new(&[("x", &bam(&text))]).dataset();
    assert_eq!(Reads::alignment(&dataset, 0).unwrap().span_bp, 70_000);
    assert_eq!(dataset.sequence(0).unwrap().to_ascii(), letters.as_bytes());
}

#[test]
fn damaged_bam_is_an_error() {
    let whole = bam(&format!("{HEADER}{MAPPED}"));
    let plain = |stored: &[u8]| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut bgzf::io::Reader::new(stored), &mut bytes).unwrap();
        bytes
    };
    let bytes = plain(&whole);
    let repack = |bytes: &[u8]| {
        let mut writer = bgzf::io::Writer::new(Vec::new());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    // Without the end marker all records are there, and its absence is reported; what follows the end is not BAM.
    let (summary, dataset) = Bench::new(&[("x", &whole[..whole.len() - 28])]).dataset();
    assert_eq!(Reads::len(&dataset), 3);
    assert!(summary.warnings()[0].contains("the BGZF block that marks the end is missing"));
    assert_eq!(Bench::new(&[("x", &[&whole[..], b"rest"].concat())]).error().0, ErrorKind::Corrupt);
    // In the middle of the header, of a record.
    for len in [10, 70, bytes.len() - 1] {
        assert_eq!(Bench::new(&[("x", &repack(&bytes[..len]))]).error().0, ErrorKind::Truncated, "{len}");
    }
    // The first record begins after the header: magic, text, and two references of 4 + 4 + 4 bytes.
    let start = 4 + 4 + HEADER.len() + 4 + 2 * 12;
    assert_eq!(u32::from_le_bytes(bytes[start + 20..start + 24].try_into().unwrap()), 7, "bases of the first record");
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[start + at] = byte;
        Bench::new(&[("x", &repack(&bytes))]).error()
    };
    let (kind, message) = with(20, 200);
    assert_eq!(kind, ErrorKind::Corrupt);
    assert!(message.starts_with("x: record 1, byte 83: record size in bytes: expected at least "), "{message}");
    assert_eq!(with(12, 0).0, ErrorKind::Corrupt);
    let (kind, message) = with(4, 9);
    assert_eq!(kind, ErrorKind::Corrupt);
    assert!(message.ends_with("number of the reference sequence: expected below 2, found 9"), "{message}");
}

fn with_reference(bench: &mut Bench, text: &str) {
    let path = bench.directory.path().join("reference");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    fs::write(&path, encoder.finish().unwrap()).unwrap();
    bench.inputs.reference = Some(path);
}

#[test]
fn cram_gives_what_bam_gives() {
    let text = format!("{HEADER}{MAPPED}");
    let (_, from_bam) = Bench::new(&[("x", &bam(&text))]).dataset();
    let mut bench = Bench::new(&[("x", &cram(&text))]);
    // Uneven lines, lower case.
    let (one, two) = (reference("one"), reference("two").to_lowercase());
    with_reference(&mut bench, &format!(">one d\n{}\n{}\n\n>two\n{two}\n", &one[..30], &one[30..]));
    let (summary, from_cram) = bench.dataset();
    assert_eq!(sequences(&from_cram), sequences(&from_bam));
    for index in 0..3 {
        assert_eq!(from_cram.get(index).unwrap(), from_bam.get(index).unwrap());
    }
    assert_eq!(summary.manifest.inputs[0].sha256, file_digest(&bench.inputs.files[0]).unwrap().1);
    assert_eq!(bench.bytes().len(), 2, "a manifest and a shard, and no index of the reference");
}

#[test]
fn cram_without_its_reference_says_which() {
    let mut bench = Bench::new(&[("x", &cram(&format!("{HEADER}{MAPPED}")))]);
    let (kind, message) = bench.error();
    assert_eq!(kind, ErrorKind::MissingReference);
    assert!(message.contains("needs reference sequence \"one\", found no reference"), "{message}");
    with_reference(&mut bench, ">two\nACGT\n");
    let (kind, message) = bench.error();
    assert_eq!(kind, ErrorKind::MissingReference);
    assert!(message.contains("needs reference sequence \"one\", found "), "{message}");
    // Another sequence of that name: the checksum in the file detects it.
    with_reference(&mut bench, &format!(">one\n{}\n>two\n{}\n", "A".repeat(100), reference("two")));
    let (kind, message) = bench.error();
    assert_eq!(kind, ErrorKind::Corrupt);
    // printf 'A%.0s' {1..100} | md5sum
    let md5 = "8adc5937e635f6c9af646f0b23560fae";
    assert!(message.contains("of reference sequence \"one\": expected "), "{message}");
    assert!(
        message.ends_with("in reference") && (message.contains("MD5 of bases") || message.contains(md5)),
        "{message}"
    );
    // One that is shorter.
    with_reference(&mut bench, ">one\nACGT\n>two\nACGT\n");
    let (kind, message) = bench.error();
    assert_eq!(kind, ErrorKind::Corrupt);
    let expected = "length of reference sequence \"one\": expected 100, found 4 in reference";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_cut_cram_is_an_error() {
    let whole = cram(&format!("{HEADER}{MAPPED}"));
    for len in [whole.len() - 1, whole.len() - CRAM_END_BYTES, whole.len() / 2] {
        let mut bench = Bench::new(&[("x", &whole[..len])]);
        with_reference(&mut bench, &format!(">one\n{}\n>two\n{}\n", reference("one"), reference("two")));
        let (kind, message) = bench.error();
        assert_eq!(kind, ErrorKind::Truncated, "{len}: {message}");
    }
}

/// The container that marks the end (CRAM specification, section 9).
const CRAM_END_BYTES: usize = 38;

#[test]
fn a_cram_may_end_several_times() {
    let whole = cram(&format!("{HEADER}{MAPPED}"));
    let end = whole.len() - CRAM_END_BYTES;
    let ends = [&whole[..], &whole[end..], &whole[end..]].concat();
    let mut bench = Bench::new(&[("x", &ends)]);
    with_reference(&mut bench, &format!(">one\n{}\n>two\n{}\n", reference("one"), reference("two")));
    assert_eq!(Reads::len(&bench.dataset().1), 3);
    let mut bench = Bench::new(&[("x", &[&ends[..], b"rest"].concat())]);
    with_reference(&mut bench, &format!(">one\n{}\n>two\n{}\n", reference("one"), reference("two")));
    assert_eq!(bench.error().0, ErrorKind::Truncated);
}

#[test]
fn mates_of_bam_are_not_told_by_files() {
    let bytes = bam(&format!("{HEADER}{MAPPED}"));
    assert_eq!(Bench::new(&[("x", &bytes), ("y", &bytes)]).paired(Pairing::Files).error().0, ErrorKind::Config);
    assert_eq!(Bench::new(&[("x", &bytes)]).paired(Pairing::Interleaved).error().0, ErrorKind::Config);
}
