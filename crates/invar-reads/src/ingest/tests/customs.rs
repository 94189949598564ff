//! Files that differ from most, or are not what they are declared to be: names of mates, quality characters, order,
//! copies.

use super::*;
use crate::QualityEncoding;

/// FASTQ with these heads; sequences differ, also between files with another `salt`.
fn fastq_of(heads: &[&str], salt: usize) -> Vec<u8> {
    let letters =
        |number: usize| "ACGTTGCANGGATC".chars().cycle().skip((3 * number + salt) % 14).take(40).collect::<String>();
    let record = |(number, head): (usize, &&str)| format!("@{head}\n{}\n+\n{}\n", letters(number), "I".repeat(40));
    heads.iter().enumerate().map(record).collect::<String>().into_bytes()
}

fn pair_of_files(one: &[&str], two: &[&str]) -> Bench {
    Bench::new(&[("R1", &fastq_of(one, 0)), ("R2", &fastq_of(two, 5))]).paired(Pairing::Files)
}

fn interleaved(one: &[&str], two: &[&str]) -> Bench {
    let heads: Vec<&str> = one.iter().zip(two).flat_map(|(one, two)| [*one, *two]).collect();
    Bench::new(&[("R1", &fastq_of(&heads, 0))]).paired(Pairing::Interleaved)
}

fn names(bench: &Bench) -> Vec<String> {
    sequences(&bench.dataset().1).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn mates_of_customary_names_share_the_common_part() {
    let cases: [([&str; 2], [&str; 2], [&str; 4]); 6] = [
        (["K:0_1:N:0:GC", "K:1_1:N:0:GC"], ["K:0_2:N:0:GC", "K:1_2:N:0:GC"], ["K:0", "K:0", "K:1", "K:1"]),
        (["a_1", "b_1"], ["a_2", "b_2"], ["a", "a", "b", "b"]),
        (["SRR1.1.1", "SRR1.2.1"], ["SRR1.1.2", "SRR1.2.2"], ["SRR1.1", "SRR1.1", "SRR1.2", "SRR1.2"]),
        (["a_R1 x", "b_R1 x"], ["a_R2 x", "b_R2 x"], ["a", "a", "b", "b"]),
        (["a_F", "b_F"], ["a_R", "b_R"], ["a", "a", "b", "b"]),
        (["a/1", "b/1"], ["a/2", "b/2"], ["a/1", "a/2", "b/1", "b/2"]),
    ];
    for (one, two, expected) in cases {
        for bench in [pair_of_files(&one, &two), interleaved(&one, &two)] {
            assert_eq!(names(&bench), expected);
            let (summary, dataset) = bench.dataset();
            assert_eq!((0..4).map(|i| dataset.mate_of(i).unwrap()).collect::<Vec<_>>(), [1, 0, 3, 2]);
            assert_eq!(summary.warnings(), [""; 0]);
        }
    }
    let dataset = pair_of_files(&["K:0_1:N:0:GC"], &["K:0_2:N:0:GC"]).dataset().1;
    assert_eq!(dataset.get(1).unwrap().description, "2:N:0:GC");
    // Records that are not mates keep their names.
    assert_eq!(names(&Bench::new(&[("x", &fastq_of(&["a_1", "a_2"], 0))])), ["a_1", "a_2"]);
}

#[test]
fn files_in_the_wrong_roles_are_refused() {
    let cases = [
        ("a/1", "a/1", "are both first mates (R1): was one file given twice?"),
        ("a/2", "a/2", "are both second mates (R2): was one file given twice?"),
        ("a/2", "a/1", "are the second and the first mate: give R1 before R2"),
        ("a 1:N:0:A", "a 1:N:0:A", "are both first mates (R1): was one file given twice?"),
        ("a 2:N:0:A", "a 1:N:0:A", "are the second and the first mate: give R1 before R2"),
        ("a_2", "a_1", "are the second and the first mate: give R1 before R2"),
    ];
    for (one, two, problem) in cases {
        let name = one.split(' ').next().unwrap();
        let expected = format!("R1: record 1 {name:?}, line 1: {one:?} and its mate {two:?} in R2 {problem}");
        assert_eq!(pair_of_files(&[one], &[two]).error(), (ErrorKind::MateMark, expected.clone()));
        assert_eq!(interleaved(&[one], &[two]).error(), (ErrorKind::MateMark, expected.replace("in R2", "in R1")));
    }
    // The names of all pairs follow the rule of the first.
    let (kind, message) = pair_of_files(&["x.1", "x.2"], &["x.2", "x.3"]).error();
    assert_eq!(kind, ErrorKind::MateMismatch);
    assert_eq!(message, "R1: record 2 \"x.2\", line 5: its mate in R2 is named \"x.3\"");
}

#[test]
fn mates_by_order_need_no_names() {
    let mut bench = pair_of_files(&["left one", "left two"], &["right 1", "right 2"]);
    let (kind, message) = bench.error();
    assert_eq!(kind, ErrorKind::MateMismatch);
    let expected = "R1: record 1 \"left\", line 1: its mate in R2 is named \"right\" (--mates-by-order takes records in the \
        same place for mates, whatever their names)";
    assert_eq!(message, expected);
    bench.config.mates_by_order = true;
    assert_eq!(names(&bench), ["left", "right", "left", "right"]);
    assert_eq!(bench.dataset().1.mate_of(2), Some(3));
}

#[test]
fn one_file_twice_is_told() {
    let text = fastq_of(&["a", "b"], 0);
    // By any path, in any role.
    let mut bench = Bench::new(&[("x", &text)]);
    let path = bench.inputs.files[0].clone();
    let link = path.with_file_name("link");
    fs::hard_link(&path, &link).unwrap();
    for pairing in [Pairing::Flags, Pairing::Files, Pairing::Interleaved] {
        bench.inputs = Inputs { pairing, ..Inputs::files([&path, &link]) };
        let message = "inputs: expected different files, found one file twice: x and link".to_string();
        assert_eq!(bench.error(), (ErrorKind::Config, message));
        assert!(!bench.out().exists());
    }
    bench.inputs = Inputs { reference: Some(link), ..Inputs::files([&path]) };
    assert_eq!(bench.error().0, ErrorKind::Config);

    // A copy: refused as the other mate, reported elsewhere.
    let files = [("x", &text[..]), ("y", &text[..])];
    let bench = Bench::new(&files).paired(Pairing::Files);
    assert_eq!(
        bench.error(),
        (ErrorKind::EqualMateFiles, "y: expected other reads than in x, found the same bytes".into())
    );
    assert!(!bench.out().exists());
    let (summary, dataset) = Bench::new(&files).dataset();
    assert_eq!(Reads::len(&dataset), 4);
    assert!(summary.warnings()[0].ends_with("y are the same, byte for byte: their reads are included twice"));
    // The same reads in another file, and duplicates alternating.
    let other = [&text[..], b"\n"].concat();
    let (summary, _) = Bench::new(&[("x", &text), ("y", &other)]).paired(Pairing::Files).dataset();
    assert!(
        summary.warnings()[0].contains("in all 2 pairs the mates have the same sequence"),
        "{:?}",
        summary.warnings()
    );
    let twice = fastq_of(&["a"], 0).repeat(2);
    let (summary, _) = Bench::new(&[("x", &twice)]).paired(Pairing::Interleaved).dataset();
    assert!(summary.warnings()[0].contains("x: in all 1 pairs the mates have the same sequence"));
}

/// FASTQ of this many reads with these qualities.
fn fastq_with(num_reads: usize, quality: &str) -> Vec<u8> {
    let letters: String = "ACGTTGCAT".chars().cycle().take(quality.len()).collect();
    (0..num_reads).map(|read| format!("@r{read}\n{letters}\n+\n{quality}\n")).collect::<String>().into_bytes()
}

#[test]
fn old_quality_characters_are_told_and_said() {
    // Q40, Q20 and Q2 of Illumina 1.5: "h", "T", "B".
    let old = "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhTTTTTTTTTB";
    let quality = |bench: &Bench| bench.dataset().1.get(0).unwrap().mean_quality.unwrap();
    // Python: -10*math.log10((40*10**-4 + 9*10**-2 + 10**-.2)/50) = 18.3866
    let right = 18.386_6;
    let mut bench = Bench::new(&[("x", &fastq_with(60, old))]);
    assert!((quality(&bench) - right).abs() < 1e-3, "{}", quality(&bench));
    let (summary, _) = bench.dataset();
    let expected = "x: qualities were read as Phred+64 (Illumina 1.3 to 1.7), not as Phred+33: the first ones are 'B' to 'h' \
        in 60 reads (--quality-encoding chooses another)";
    assert!(summary.warnings()[0].ends_with(expected), "{:?}", summary.warnings());
    // No message where the user states the encoding.
    bench.config = IngestConfig { quality_encoding: QualityEncoding::Phred64, force: true, ..IngestConfig::default() };
    assert!((quality(&bench) - right).abs() < 1e-3);
    assert_eq!(bench.dataset().0.warnings(), [""; 0]);
    bench.config.quality_encoding = QualityEncoding::Phred33;
    assert!((quality(&bench) - right - 31.0).abs() < 1e-3);
    assert_eq!(bench.dataset().0.warnings(), [""; 0]);
    // Too few reads to be certain: read as usual, and reported.
    let (summary, _) = Bench::new(&[("x", &fastq_with(20, old))]).dataset();
    assert!(summary.warnings()[0].contains("may be Phred+64") && summary.warnings()[0].contains("phred64"));
    // A value that does not exist in the encoding of the first reads.
    let later = [fastq_with(30_000, old), b"@z\nACGT\n+\nhh#h\n".to_vec()].concat();
    let (kind, message) = Bench::new(&[("x", &later)]).error();
    assert_eq!(kind, ErrorKind::BadQuality);
    let expected = "x: record 30001 \"z\", line 120004: expected a quality from '@' to '~' at base 3, found '#' (as Phred+64 \
        (Illumina 1.3 to 1.7); --quality-encoding chooses another)";
    assert_eq!(message, expected);
}

#[test]
fn solexa_qualities_are_named() {
    let (summary, dataset) = Bench::new(&[("x", &fastq_with(60, &format!("{}{}", "h".repeat(39), ";")))]).dataset();
    assert!(summary.warnings()[0].contains("read as Solexa+64"), "{:?}", summary.warnings());
    // Python: -10*math.log10((39/(1+10**4) + 1/(1+10**-.5))/40) = 17.1917
    let mean = dataset.get(0).unwrap().mean_quality.unwrap();
    assert!((mean - 17.191_7).abs() < 1e-3, "{mean}");
}

#[test]
fn text_of_other_editors_is_read_or_named() {
    let bom = b"\xef\xbb\xbf";
    for text in [&fastq_of(&["a", "b"], 0)[..], b">a\nACGT\n>b\nAC\n"] {
        assert_eq!(names(&Bench::new(&[("x", &[bom, text].concat())])), ["a", "b"]);
        let returns: Vec<u8> = text.iter().map(|&byte| if byte == b'\n' { b'\r' } else { byte }).collect();
        let (kind, message) = Bench::new(&[("x", &returns)]).error();
        assert_eq!(kind, ErrorKind::NotAReadFile);
        assert!(message.contains("lines end in CR alone"), "{message}");
    }
    assert_eq!(Bench::new(&[("x", bom)]).error().0, ErrorKind::Empty);
    let (_, dataset) = Bench::new(&[("x", b">a x \nACGT \nAC\t\r\n>b\nAC")]).dataset();
    assert_eq!(sequences(&dataset), pairs(&[("a", "ACGTAC"), ("b", "AC")]));
    let (_, dataset) = Bench::new(&[("x", b"@a\nACGT\nAC\n+\n@III\nI5\n@b\nAC\n+\nII\n")]).dataset();
    assert_eq!(sequences(&dataset), pairs(&[("a", "ACGTAC"), ("b", "AC")]));
    // Q31 once, Q40 four times, Q20 once; Python: -10*math.log10((10**-3.1 + 4*10**-4 + 10**-2)/6) = 27.2915
    let mean = dataset.get(0).unwrap().mean_quality.unwrap();
    assert!((mean - 27.291_5).abs() < 1e-3, "{mean}");
}
