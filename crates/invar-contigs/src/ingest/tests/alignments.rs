//! Depth from BAM and CRAM, against a second implementation that looks at one base after the other.

use std::{fs::File, num::NonZero};

use invar_dataset::seed;
use noodles::{
    bam,
    core::Position,
    cram, fasta,
    sam::{
        self,
        alignment::{
            RecordBuf,
            io::Write as _,
            record::{
                Flags, MappingQuality,
                cigar::{Op, op::Kind},
                data::field::Tag,
            },
            record_buf::{Cigar, Data, QualityScores, Sequence, data::field::Value},
        },
        header::record::value::{Map, map::ReferenceSequence},
    },
};

use super::*;
use crate::Depth;

const LETTERS: &[u8; 4] = b"ACGT";

fn letters(length: usize, stream: u64) -> Vec<u8> {
    let mut rng = seed::rng(23, stream);
    (0..length).map(|_| LETTERS[seed::below(4, &mut rng)]).collect()
}

fn header(contigs: &[(&str, Vec<u8>)]) -> sam::Header {
    contigs
        .iter()
        .fold(sam::Header::builder(), |header, (name, letters)| {
            let length = NonZero::new(letters.len()).unwrap();
            header.add_reference_sequence(*name, Map::<ReferenceSequence>::new(length))
        })
        .build()
}

/// An alignment as the test knows it.
#[derive(Clone)]
struct Known {
    contig: usize,
    start: usize,
    ops: Vec<(Kind, usize)>,
    bases: Vec<u8>,
    flags: u16,
    quality: u8,
}

/// Reads with mismatches, indels and clips, some of which do not count.
fn reads(contigs: &[(&str, Vec<u8>)], num: usize, stream: u64) -> Vec<Known> {
    let mut rng = seed::rng(29, stream);
    let mut all: Vec<Known> = (0..num)
        .map(|_| {
            let contig = seed::below(contigs.len(), &mut rng);
            let letters = &contigs[contig].1;
            let length = 40 + seed::below(60, &mut rng);
            let span = length.min(letters.len());
            let start = seed::below(letters.len() - span + 1, &mut rng);
            let mut bases = letters[start..start + span].to_vec();
            for _ in 0..seed::below(5, &mut rng) {
                let at = seed::below(span, &mut rng);
                bases[at] = LETTERS[seed::below(4, &mut rng)];
            }
            let mut ops = vec![(Kind::Match, span)];
            if span > 30 && seed::below(3, &mut rng) == 0 {
                // 10 M, 2 bases that the contig lacks, 5 bases that the read lacks.
                bases.splice(10..15, *b"AC");
                ops = vec![(Kind::Match, 10), (Kind::Insertion, 2), (Kind::Deletion, 5), (Kind::Match, span - 15)];
            }
            if seed::below(4, &mut rng) == 0 {
                bases.extend(b"GGGG");
                ops.push((Kind::SoftClip, 4));
            }
            let flags = [0, 16, 0x100, 0x200, 0x400, 0x800, 1, 4][seed::below(8, &mut rng)];
            Known { contig, start, ops, bases, flags, quality: seed::below(61, &mut rng) as u8 }
        })
        .collect();
    all.sort_by_key(|read| (read.contig, read.start));
    all
}

/// Bases of a read under M that differ, and inserted and deleted ones, by looking at each.
fn edits(read: &Known, letters: &[u8]) -> (usize, usize, usize, Vec<usize>) {
    let (mut of_read, mut of_contig, mut unequal, mut indels, mut aligned) = (0, read.start, 0, 0, vec![]);
    for &(kind, len) in &read.ops {
        for _ in 0..len {
            match kind {
                Kind::Match => {
                    unequal += usize::from(read.bases[of_read] != letters[of_contig]);
                    aligned.push(of_contig);
                    (of_read, of_contig) = (of_read + 1, of_contig + 1);
                }
                Kind::Insertion => (of_read, indels) = (of_read + 1, indels + 1),
                Kind::Deletion => (of_contig, indels) = (of_contig + 1, indels + 1),
                _ => of_read += 1,
            }
        }
    }
    (unequal, indels, aligned.len(), aligned)
}

/// The depth of a contig by the rules, base by base; `end_bp` bases at either end are left out.
fn expected(reads: &[Known], contig: usize, letters: &[u8], end_bp: usize) -> [f64; 3] {
    let mut counts = vec![0.0f64; letters.len()];
    for read in reads.iter().filter(|read| read.contig == contig && read.flags & 0x704 == 0) {
        let (unequal, indels, num, aligned) = edits(read, letters);
        if (num - unequal) as f32 / (num + indels) as f32 >= 0.97 {
            aligned.into_iter().for_each(|base| counts[base] += 1.0);
        }
    }
    let counts = if counts.len() > 2 * end_bp + 1 { &counts[end_bp..counts.len() - end_bp] } else { &counts[..] };
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
    [mean, variance, counts.iter().filter(|&&count| count > 0.0).count() as f64 / n]
}

fn record(read: &Known, number: usize, letters: &[u8], has_distance: bool) -> RecordBuf {
    let ops = read.ops.iter().map(|&(kind, len)| Op::new(kind, len));
    let (unequal, indels, ..) = edits(read, letters);
    let distance = (Tag::EDIT_DISTANCE, Value::from((unequal + indels) as i32));
    RecordBuf::builder()
        .set_name(format!("r{number}"))
        .set_flags(Flags::from(read.flags))
        .set_reference_sequence_id(read.contig)
        .set_alignment_start(Position::new(read.start + 1).unwrap())
        .set_mapping_quality(MappingQuality::new(read.quality).unwrap())
        .set_cigar(ops.collect::<Cigar>())
        .set_sequence(Sequence::from(read.bases.clone()))
        .set_quality_scores(QualityScores::from(vec![30; read.bases.len()]))
        .set_data(if has_distance { [distance].into_iter().collect() } else { Data::default() })
        .build()
}

fn write_bam(path: &Path, contigs: &[(&str, Vec<u8>)], reads: &[Known], has_distance: bool) {
    let header = header(contigs);
    let mut writer = bam::io::Writer::new(File::create(path).unwrap());
    writer.write_header(&header).unwrap();
    for (number, read) in reads.iter().enumerate() {
        let record = record(read, number, &contigs[read.contig].1, has_distance);
        writer.write_alignment_record(&header, &record).unwrap();
    }
    writer.try_finish().unwrap();
}

fn write_cram(path: &Path, contigs: &[(&str, Vec<u8>)], reads: &[Known]) {
    let header = header(contigs);
    let records = contigs
        .iter()
        .map(|(name, letters)| fasta::Record::new(fasta::record::Definition::new(*name, None), letters.clone().into()));
    let repository = fasta::Repository::new(records.collect::<Vec<_>>());
    let builder = cram::io::writer::Builder::default().set_reference_sequence_repository(repository);
    let mut writer = builder.build_from_writer(File::create(path).unwrap());
    writer.write_header(&header).unwrap();
    for (number, read) in reads.iter().enumerate() {
        let record = record(read, number, &contigs[read.contig].1, false);
        writer.write_alignment_record(&header, &record).unwrap();
    }
    writer.try_finish(&header).unwrap();
}

fn write_fasta(place: &Inside, contigs: &[(&str, Vec<u8>)]) -> PathBuf {
    let text = contigs.iter().map(|(name, letters)| format!(">{name}\n{}\n", String::from_utf8_lossy(letters)));
    place.write("c.fa", text.collect::<String>())
}

fn contigs() -> Vec<(&'static str, Vec<u8>)> {
    // Longer and shorter than twice the ends; one without alignments; one of which nothing remains.
    [("a", 1200), ("b", 152), ("c", 151), ("d", 90), ("empty", 400), ("e", 40)]
        .into_iter()
        .zip(0..)
        .map(|((name, length), stream)| (name, letters(length, stream)))
        .collect()
}

/// Depths of a dataset, contig by contig, of each sample.
fn depths(data: &Path) -> Vec<Vec<Depth>> {
    let contigs = ContigDataset::open(&[data.to_owned()]).unwrap();
    (0..contigs.len()).map(|index| contigs.depths(index).collect()).collect()
}

#[test]
fn depth_is_that_of_counting_base_by_base() {
    let place = Inside::new();
    let contigs = contigs();
    let all: Vec<Known> =
        reads(&contigs, 900, 1).into_iter().filter(|read| contigs[read.contig].0 != "empty").collect();
    let with_distance = place.out("tags.bam");
    write_bam(&with_distance, &contigs, &all, true);
    write_bam(&place.out("bare.bam"), &contigs, &all, false);
    write_cram(&place.out("cram.cram"), &contigs, &all);
    let alignments = ["tags.bam", "bare.bam", "cram.cram"].map(|name| place.out(name)).to_vec();
    let inputs = Inputs { alignments, ..of_fasta(write_fasta(&place, &contigs)) };
    let summary = run(&inputs, &place.out("data")).unwrap();
    assert_eq!(summary.warnings(), Vec::<&str>::new());
    // The reads have 72 bases on average, which is less than the 75 of the rule.
    let mean_bp = all.iter().map(|read| read.bases.len()).sum::<usize>() / all.len();
    assert!((60..75).contains(&mean_bp), "{mean_bp}");
    let mut num_counted = 0;
    for (contig, found) in depths(&place.out("data")).iter().enumerate() {
        // The rule takes the mean length of the reads up to the next contig.
        let until = all.iter().position(|read| read.contig > contig && read.flags & 0x704 == 0);
        let so_far = &all[..until.map_or(all.len(), |at| at + 1)];
        let end_bp = so_far.iter().map(|read| read.bases.len()).sum::<usize>() / so_far.len();
        let expected = expected(&all, contig, &contigs[contig].1, end_bp);
        for depth in found {
            for (found, expected) in [depth.mean, depth.variance, depth.breadth].into_iter().zip(expected) {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-5 * (1.0 + expected),
                    "{contig} {depth:?} {expected:?}"
                );
            }
        }
        num_counted += usize::from(expected[0] > 0.0);
    }
    assert_eq!(num_counted, 5);
    let counts = &summary.manifest.inputs[1].counts;
    let usable = all.iter().filter(|read| read.flags & 0x704 == 0).count() as u64;
    assert_eq!((counts["alignments"], counts["counted"] + counts["dissimilar"]), (all.len() as u64, usable));
    assert!(counts["dissimilar"] > 50 && counts["counted"] > 50, "{counts:?}");
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let place = Inside::new();
    let contigs = contigs();
    for sample in 0..3 {
        write_bam(&place.out(&format!("S{sample}.bam")), &contigs, &reads(&contigs, 300, sample), true);
    }
    let alignments = (0..3).map(|sample| place.out(&format!("S{sample}.bam"))).collect();
    let inputs = Inputs { alignments, ..of_fasta(write_fasta(&place, &contigs)) };
    let files = ["contigs-00000.shard", "depth-00000.bin", "depth-00001.bin", "depth-00002.bin"];
    let of_threads = |num| {
        let out = place.out(&format!("data{num}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(num).build().unwrap();
        pool.install(|| run(&inputs, &out)).unwrap();
        files.map(|file| fs::read(out.join(file)).unwrap())
    };
    let one = of_threads(1);
    assert!([2, 8].into_iter().all(|num| of_threads(num) == one));
}

#[test]
fn alignments_to_something_else_are_refused() {
    let place = Inside::new();
    let contigs = contigs();
    let all = reads(&contigs, 50, 1);
    let bam = place.out("S.bam");
    let inputs = |fasta: &str| Inputs { alignments: vec![bam.clone()], ..of_fasta(place.write("other.fa", fasta)) };
    let text = |contigs: &[(&str, Vec<u8>)]| -> String {
        contigs.iter().map(|(name, letters)| format!(">{name}\n{}\n", String::from_utf8_lossy(letters))).collect()
    };
    write_bam(&bam, &contigs, &all, true);
    assert!(
        error(&place, &inputs(&text(&contigs[1..])))
            .starts_with(r#"S.bam: 1 of its 6 references is not in other.fa: "a"; "#)
    );
    let more = text(&contigs) + ">new\nACGT\n";
    assert!(error(&place, &inputs(&more)).starts_with(r#"other.fa: 1 of its 7 contigs is not in S.bam: "new"; "#));
    let longer = text(&contigs).replacen('\n', "\nA", 1);
    assert_eq!(
        error(&place, &inputs(&longer)),
        r#"S.bam: "a": length of the contig: expected 1201 bp, as in other.fa, line 1, found 1200 bp: were the reads mapped to another assembly?"#
    );
    // A contig that was too short to be kept may have alignments.
    let config = IngestConfig { min_length_bp: 100, ..config() };
    let summary = ingest(&inputs(&text(&contigs)), &place.out("long"), &config, &NoProgress).unwrap();
    assert_eq!(summary.manifest.num_rows(), 4);
}

#[test]
fn unsorted_and_damaged_alignments_are_refused() {
    let place = Inside::new();
    let contigs = contigs();
    let fasta = write_fasta(&place, &contigs);
    let bam = place.out("S.bam");
    let inputs = Inputs { alignments: vec![bam.clone()], ..of_fasta(fasta) };
    let mut all = reads(&contigs, 50, 1);
    all.swap(3, 30);
    write_bam(&bam, &contigs, &all, true);
    let message = error(&place, &inputs);
    assert!(
        message.starts_with("S.bam, record ")
            && message.contains("position of the record, in order: expected at or after base"),
        "{message}"
    );
    all.swap(3, 30);
    // An alignment that ends after its contig.
    all[49].ops = vec![(Kind::Match, all[49].bases.len()), (Kind::Deletion, 5000)];
    all[49].flags = 0;
    let last = all[49].clone();
    let wide: Vec<(&str, Vec<u8>)> =
        contigs.iter().map(|(name, bases)| (*name, [bases.clone(), letters(6000, 9)].concat())).collect();
    let record = record(&last, 49, &wide[last.contig].1, true);
    let header = header(&contigs);
    let mut writer = bam::io::Writer::new(File::create(&bam).unwrap());
    writer.write_header(&header).unwrap();
    writer.write_alignment_record(&header, &record).unwrap();
    writer.try_finish().unwrap();
    let message = error(&place, &inputs);
    assert!(message.starts_with(r#"S.bam, record 1: "r49": end of the alignment: expected by base "#), "{message}");
    all.truncate(49);
    write_bam(&bam, &contigs, &all, true);
    let whole = fs::read(&bam).unwrap();
    fs::write(&bam, &whole[..whole.len() - 28]).unwrap();
    let summary = run(&inputs, &place.out("cut")).unwrap();
    assert!(summary.warnings()[0].contains("it may be cut off"), "{:?}", summary.warnings());
    fs::write(&bam, &whole[..whole.len() / 2]).unwrap();
    assert!(error(&place, &inputs).contains("whole and intact"));
    fs::write(&bam, "no alignments").unwrap();
    assert_eq!(error(&place, &inputs), r#"S.bam: format: expected BAM or CRAM, found a file that begins with "no a""#);
    write_bam(&bam, &contigs, &[], true);
    assert!(error(&place, &inputs).contains("0 everywhere"));
}
