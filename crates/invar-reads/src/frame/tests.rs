use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

/// Frames `text` that arrives in blocks of `block_bytes`.
fn framer(text: &[u8], block_bytes: usize, format: Format, interleaved: bool, goes_on: bool) -> TextFramer {
    let source = InputStream::of_blocks(Path::new("x"), text.chunks(block_bytes));
    TextFramer::new((source, Vec::new()), Arc::default(), format, 0, interleaved, goes_on)
}

type Parts = (Vec<u8>, Vec<u8>, Vec<u8>, u64);

/// Head, sequence without line ends, quality and line of every record, and the first error of a slab or the source.
fn read_all(mut framer: TextFramer) -> (Vec<Parts>, Vec<Error>) {
    let (mut records, mut errors) = (vec![], vec![]);
    loop {
        match framer.next_slab() {
            Ok(Some(slab)) => {
                let part = |(start, end): (u32, u32)| slab.text[start as usize..end as usize].to_vec();
                for record in slab.records {
                    match record {
                        Ok(span) => {
                            let mut sequence = part(span.sequence);
                            sequence.retain(|byte| !matches!(byte, b'\n' | b'\r'));
                            let mut quality = part(span.quality);
                            if span.is_wrapped {
                                quality.retain(|byte| !matches!(byte, b'\n' | b'\r'));
                            }
                            records.push((part(span.head), sequence, quality, span.line));
                        }
                        Err(error) => errors.push(*error),
                    }
                }
            }
            Ok(None) => return (records, errors),
            Err(error) => {
                errors.push(error);
                return (records, errors);
            }
        }
    }
}

fn head() -> impl Strategy<Value = String> {
    // Heads may contain the markers.
    "[ -~]{0,12}"
}

proptest! {
    #[test]
    fn fastq_is_cut_as_it_was_written(
        records in proptest::collection::vec((head(), "[ACGTN]{0,40}", "[+@>a-z]{0,3}"), 1..12),
        returns: bool, last_line_end: bool, num_blank_lines in 0usize..3, block_bytes in 1usize..60, goes_on: bool,
    ) {
        let end = if returns { "\r\n" } else { "\n" };
        let mut text = String::new();
        let mut expected = Vec::new();
        for (number, (head, sequence, plus)) in records.iter().enumerate() {
            // Qualities that begin with markers.
            let quality: String = "@+>I!~".chars().cycle().skip(number).take(sequence.len()).collect();
            text += &format!("@{head}{end}{sequence}{end}+{plus}{end}{quality}{end}");
            let line = 4 * number as u64 + 1;
            expected.push((head.clone().into_bytes(), sequence.clone().into_bytes(), quality.into_bytes(), line));
        }
        if last_line_end {
            text += &end.repeat(num_blank_lines);
        } else {
            text.truncate(text.len() - end.len());
        }
        let (found, errors) = read_all(framer(text.as_bytes(), block_bytes, Format::Fastq, false, goes_on));
        prop_assert!(errors.is_empty(), "{:?}", errors);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn fastq_over_lines_is_cut_as_it_was_written(
        records in proptest::collection::vec((head(), "[ACGTN]{1,40}", "[+@>a-z]{0,3}"), 1..12),
        width in 1usize..50, returns: bool, last_line_end: bool, block_bytes in 1usize..60, goes_on: bool,
    ) {
        let end = if returns { "\r\n" } else { "\n" };
        let mut text = String::new();
        let mut expected = Vec::new();
        for (number, (head, sequence, plus)) in records.iter().enumerate() {
            let quality: String = "@+>I!~".chars().cycle().skip(number).take(sequence.len()).collect();
            let line = text.matches('\n').count() as u64 + 1;
            let lines = |text: &str| -> String {
                text.as_bytes().chunks(width).map(|piece| format!("{}{end}", std::str::from_utf8(piece).unwrap())).collect()
            };
            text += &format!("@{head}{end}{}+{plus}{end}{}", lines(sequence), lines(&quality));
            expected.push((head.clone().into_bytes(), sequence.clone().into_bytes(), quality.into_bytes(), line));
        }
        if !last_line_end {
            text.truncate(text.len() - end.len());
        }
        let (found, errors) = read_all(framer(text.as_bytes(), block_bytes, Format::Fastq, false, goes_on));
        prop_assert!(errors.is_empty(), "{:?} {:?}", errors, text);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn fasta_is_cut_as_it_was_written(
        records in proptest::collection::vec((head(), "[ACGTN]{0,40}"), 1..12),
        width in 1usize..50, returns: bool, last_line_end: bool, block_bytes in 1usize..60,
    ) {
        let end = if returns { "\r\n" } else { "\n" };
        let mut text = String::new();
        let mut expected = Vec::new();
        for (head, sequence) in &records {
            let line = text.matches('\n').count() as u64 + 1;
            text += &format!(">{head}{end}");
            for piece in sequence.as_bytes().chunks(width) {
                text += &format!("{}{end}", std::str::from_utf8(piece).unwrap());
            }
            expected.push((head.clone().into_bytes(), sequence.clone().into_bytes(), vec![], line));
        }
        if !last_line_end {
            text.truncate(text.len() - end.len());
        }
        let (found, errors) = read_all(framer(text.as_bytes(), block_bytes, Format::Fasta, false, false));
        prop_assert!(errors.is_empty(), "{:?}", errors);
        prop_assert_eq!(found, expected);
    }

    // Second implementation: the FASTQ reader of bio.
    #[test]
    fn agrees_with_bio(records in proptest::collection::vec(("[!-~]{1,12}", "[ACGTN]{1,40}"), 1..12)) {
        let mut text = String::new();
        for (name, sequence) in &records {
            text += &format!("@{name} d\n{sequence}\n+\n{}\n", "I".repeat(sequence.len()));
        }
        let theirs: Vec<_> = bio::io::fastq::Reader::new(text.as_bytes()).records().map(|r| r.unwrap()).collect();
        let (ours, _) = read_all(framer(text.as_bytes(), 37, Format::Fastq, false, false));
        prop_assert_eq!(ours.len(), theirs.len());
        for (our, their) in ours.iter().zip(&theirs) {
            prop_assert_eq!(split_head(&our.0), (their.id().as_bytes(), their.desc().unwrap().as_bytes()));
            prop_assert_eq!((&our.1[..], &our.2[..]), (their.seq(), their.qual()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_hang(
        text in proptest::collection::vec(proptest::sample::select(b"@+>\n\rACG I".to_vec()), 0..200),
        block_bytes in 1usize..60, interleaved: bool, goes_on: bool, is_fasta: bool,
    ) {
        let format = if is_fasta { Format::Fasta } else { Format::Fastq };
        // However the bytes arrive, the result is the same.
        let (records, errors) = read_all(framer(&text, block_bytes, format, interleaved, goes_on));
        let (again, same_errors) = read_all(framer(&text, 1000, format, interleaved, goes_on));
        prop_assert_eq!(records, again);
        let texts = |errors: &[Error]| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        prop_assert_eq!(texts(&errors), texts(&same_errors));
    }
}

#[test]
fn errors_name_kind_record_and_line() {
    let cases = [
        (
            "@a\nAC\n+\nII\n@b\nACG\n+\nII\n",
            ErrorKind::LengthMismatch,
            "x: record 2 \"b\", line 5: 3 bases but 2 quality values",
        ),
        ("@a\nAC\n+\nIII\n", ErrorKind::LengthMismatch, "x: record 1 \"a\", line 1: 2 bases but 3 quality values"),
        (
            "@a\nAC\n+\nII\nb\nAC\n+\nII\n",
            ErrorKind::BadMarker,
            "x: record 2, line 5: expected a line that begins with '@', found \"b\"",
        ),
        (
            "@a d\nAC\n-\nIIII\n",
            ErrorKind::BadMarker,
            "x: record 1 \"a\", line 3: expected a line that begins with '+', found \"-\"",
        ),
        (
            "@a d\nAC\n\n+\nIIII\n",
            ErrorKind::BadMarker,
            "x: record 1 \"a\", line 3: expected a line that begins with '+', found \"\"",
        ),
        (
            "@a d\nAC\nAC\n@b\nAC\n+\nII\n",
            ErrorKind::BadMarker,
            "x: record 1 \"a\", line 3: expected a line that begins with '+', found \"AC\"",
        ),
        (
            "@a\nAC\nAC\n+\nII\nI\n@b\nA\n+\nI\n",
            ErrorKind::LengthMismatch,
            "x: record 1 \"a\", line 1: 4 bases but 5 quality values",
        ),
        (
            "@a\nAC\nAC\n+\nII\nIII\n",
            ErrorKind::LengthMismatch,
            "x: record 1 \"a\", line 1: 4 bases but 5 quality values",
        ),
        (
            "@a\nAC\nAC\n+\nIII",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 5: the file is cut off: expected 4 quality values, found the end of the file after 3",
        ),
        (
            "@a\nAC\nAC\n",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 3: the file is cut off: expected a line with '+', found the end of the file",
        ),
        (
            "@a\nAC\n+\nI",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 4: the file is cut off: expected 2 quality values, found the end of the file after 1",
        ),
        (
            "@a\nAC\n+\n",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 4: the file is cut off: expected 2 quality values, found the end of the file after 0",
        ),
        (
            "@a\nAC\n+",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 4: the file is cut off: expected 2 quality values, found the end of the file after 0",
        ),
        (
            "@a\nAC\n",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 2: the file is cut off: expected a line with '+', found the end of the file",
        ),
        (
            "@a\nAC",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 2: the file is cut off: expected a line with '+', found the end of the file",
        ),
        (
            "@a",
            ErrorKind::Truncated,
            "x: record 1 \"a\", line 1: the file is cut off: expected a line of bases, found the end of the file",
        ),
        (
            "\n@a\nAC\n+\nII\n\n\n>b\nAC\n",
            ErrorKind::BadMarker,
            "x: record 2, line 8: expected a line that begins with '@', found \">b\"",
        ),
    ];
    for (text, kind, message) in cases {
        let (_, errors) = read_all(framer(text.as_bytes(), 5, Format::Fastq, false, false));
        assert_eq!(errors.len(), 1, "{text:?}");
        assert_eq!((errors[0].kind(), errors[0].to_string().as_str()), (kind, message), "{text:?}");
    }
}

#[test]
fn reading_goes_on_after_a_bad_record() {
    // Record 2 lacks a line, 4 is too short, and what follows it has no marker; the qualities of 3 look like a head.
    let text = "@a\nAC\n+\nII\n@b\nACG\n+\n@c\nACGT\n+\n@III\n@d\nACG\n+\nII\ne\nAC\n+\nII\n@f\nA\n+\nI\n";
    for block_bytes in 1..40 {
        let (records, errors) = read_all(framer(text.as_bytes(), block_bytes, Format::Fastq, false, true));
        let heads: Vec<_> = records.iter().map(|r| (std::str::from_utf8(&r.0).unwrap(), r.3)).collect();
        assert_eq!(heads, [("a", 1), ("c", 8), ("f", 20)], "blocks of {block_bytes}");
        let kinds: Vec<_> = errors.iter().map(Error::kind).collect();
        assert_eq!(kinds, [ErrorKind::LengthMismatch; 2]);
    }
}

#[test]
fn reading_goes_on_in_fastq_over_lines() {
    let text = "@a\nAC\nAC\n+\nIII\n@b\nAC\nG\n+\n@I\nI\n@c\nA\n+\nI\n";
    for block_bytes in 1..40 {
        let (records, errors) = read_all(framer(text.as_bytes(), block_bytes, Format::Fastq, false, true));
        let heads: Vec<_> = records.iter().map(|r| (std::str::from_utf8(&r.0).unwrap(), r.3)).collect();
        assert_eq!((heads, errors.len()), (vec![("b", 6), ("c", 12)], 1), "blocks of {block_bytes}");
    }
}

#[test]
fn an_odd_record_has_no_mate() {
    let text = "@a\nAC\n+\nII\n".repeat(3);
    let (records, errors) = read_all(framer(text.as_bytes(), 7, Format::Fastq, true, false));
    assert_eq!(records.len(), 2);
    assert_eq!(errors[0].to_string(), "x: 2 first mates, but 1 second mates in x");
}
