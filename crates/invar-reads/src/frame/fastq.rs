//! FASTQ (Cock et al. 2010) with four lines per record, as written by every current instrument; if the third line does
//! not begin with '+', see [`super::wrapped`].
//!
//! ```text
//! @name description
//! ACGTN
//! +anything
//! IIII#
//! ```

use super::{
    Scan, Span, Window, excerpt, line, skip_blank_lines,
    wrapped::{self, Wrapped},
};
use crate::Error;

/// Scans the record that begins at `start`. It is number `record`, and `lines_before` lines precede it.
pub(super) fn scan(window: &Window<'_>, start: usize, record: u64, lines_before: u64) -> Scan {
    let text = window.text;
    let (head_start, blank_lines) = skip_blank_lines(window, start);
    let first_line = lines_before + blank_lines + 1;
    if head_start == text.len() || text[head_start..] == *b"\r" {
        return if window.is_last { Scan::End } else { Scan::More };
    }
    let bad = |error: Error, next: usize| go_on(window, error, head_start, next, blank_lines);
    let Some((head_end, sequence_start)) = line(window, head_start) else { return Scan::More };
    if text[head_start] != b'@' {
        let place = window.place(record, None, first_line);
        let found = excerpt(&text[head_start..head_end]);
        return bad(Error::BadMarker { place: place.into(), expected: '@', found }, sequence_start);
    }
    let head = &text[head_start + 1..head_end];
    let cut_off = |line_number: u64, expected: &str| Error::Truncated {
        place: window.place(record, Some(head), line_number).into(),
        expected: expected.into(),
        found: "the end of the file".into(),
    };
    if sequence_start == text.len() && window.is_last {
        return bad(cut_off(first_line, "a line of bases"), sequence_start);
    }
    let Some((sequence_end, plus_start)) = line(window, sequence_start) else { return Scan::More };
    if plus_start == text.len() {
        return if window.is_last { bad(cut_off(first_line + 1, "a line with '+'"), plus_start) } else { Scan::More };
    }
    let Some((plus_end, quality_start)) = line(window, plus_start) else { return Scan::More };
    if text[plus_start] != b'+' {
        // A record may begin in any of the lines after the head.
        let bad = |error: Error| bad(error, sequence_start);
        return match wrapped::look(window, sequence_start) {
            Wrapped::More => Scan::More,
            Wrapped::Record { sequence, quality, next, lines } => {
                let head = (head_start as u32 + 1, head_end as u32);
                let span = Span { head, sequence, quality, line: first_line, is_wrapped: true };
                Scan::Record(span, next, blank_lines + 1 + lines)
            }
            Wrapped::CutInSequence { lines } => bad(cut_off(first_line + lines, "a line with '+'")),
            Wrapped::CutInQuality { lines, num_bases, num_values } => {
                let place = window.place(record, Some(head), first_line + lines).into();
                let (expected, found) =
                    (format!("{num_bases} quality values"), format!("the end of the file after {num_values}"));
                bad(Error::Truncated { place, expected, found })
            }
            Wrapped::Mismatch { num_bases, num_values } => {
                let place = window.place(record, Some(head), first_line).into();
                bad(Error::LengthMismatch { place, sequence: num_bases, quality: num_values })
            }
            Wrapped::No => {
                let place = window.place(record, Some(head), first_line + 2).into();
                let found = excerpt(&text[plus_start..plus_end]);
                bad(Error::BadMarker { place, expected: '+', found })
            }
        };
    }
    let num_bases = sequence_end - sequence_start;
    let is_cut = quality_start == text.len() && text[quality_start - 1] != b'\n';
    let Some((quality_end, next)) = quality_line(window, quality_start, num_bases) else { return Scan::More };
    let num_values = quality_end - quality_start;
    if num_values != num_bases {
        let has_line_end = next > quality_end && !is_cut;
        let error = if num_values < num_bases && !has_line_end {
            let place = window.place(record, Some(head), first_line + 3);
            let expected = format!("{num_bases} quality values");
            Error::Truncated { place: place.into(), expected, found: format!("the end of the file after {num_values}") }
        } else {
            let place = window.place(record, Some(head), first_line);
            Error::LengthMismatch { place: place.into(), sequence: num_bases, quality: num_values }
        };
        // If a line is missing, the next head was taken for the qualities.
        return bad(error, if text.get(quality_start) == Some(&b'@') { quality_start } else { next });
    }
    let span = Span {
        head: (head_start as u32 + 1, head_end as u32),
        sequence: (sequence_start as u32, sequence_end as u32),
        quality: (quality_start as u32, quality_end as u32),
        line: first_line,
        is_wrapped: false,
    };
    Scan::Record(span, next, blank_lines + 4)
}

/// As [`line`], but first checks where the line should end. (If a line end comes before that, it is found among the
/// qualities, as an invalid byte.)
fn quality_line(window: &Window<'_>, start: usize, num_bases: usize) -> Option<(usize, usize)> {
    let end = start + num_bases;
    if !window.goes_on {
        match window.text.get(end..) {
            Some([b'\n', ..]) if !window.text[start..end].ends_with(b"\r") => return Some((end, end + 1)),
            Some([b'\r', b'\n', ..]) => return Some((end, end + 2)),
            _ => {}
        }
    }
    line(window, start)
}

/// After a bad record, reading continues where the next record seems to begin: at a line with `@`, then one or more
/// lines before one with `+`, from position `from` on (the beginning of a line after the bad record's head).
fn go_on(window: &Window<'_>, error: Error, head_start: usize, from: usize, blank_lines: u64) -> Scan {
    let mut candidate = from;
    if window.goes_on {
        loop {
            if candidate >= window.text.len() {
                if window.is_last {
                    break;
                }
                return Scan::More;
            }
            let Some((_, second)) = line(window, candidate) else { return Scan::More };
            if window.text[candidate] == b'@' {
                match wrapped::is_before_plus(window, second) {
                    Some(true) => break,
                    Some(false) => {}
                    None => return Scan::More,
                }
            }
            candidate = second;
        }
    }
    let lines = memchr::memchr_iter(b'\n', &window.text[head_start..candidate]).count() as u64;
    Scan::Bad(Box::new(error), candidate, blank_lines + lines)
}
