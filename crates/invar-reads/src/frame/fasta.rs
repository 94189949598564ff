//! FASTA: a head line with `>`, then the sequence over any number of lines, up to the next line with `>`.

use super::{Scan, Span, Window, excerpt, line, skip_blank_lines};
use crate::Error;

/// Scans the record that begins at `start`. It is number `record`, and `lines_before` lines precede it.
pub(super) fn scan(window: &Window<'_>, start: usize, record: u64, lines_before: u64) -> Scan {
    let text = window.text;
    let (head_start, blank_lines) = skip_blank_lines(window, start);
    if head_start == text.len() || text[head_start..] == *b"\r" {
        return if window.is_last { Scan::End } else { Scan::More };
    }
    let first_line = lines_before + blank_lines + 1;
    let Some((head_end, sequence_start)) = line(window, head_start) else { return Scan::More };
    let next = match next_record(&text[sequence_start..]) {
        Some(len) => sequence_start + len,
        None if window.is_last => text.len(),
        None => return Scan::More,
    };
    // Counting the lines of a record costs little compared with finding its end.
    let lines = blank_lines + memchr::memchr_iter(b'\n', &text[head_start..next]).count() as u64;
    if text[head_start] != b'>' {
        let place = window.place(record, None, first_line);
        let found = excerpt(&text[head_start..head_end]);
        return Scan::Bad(Box::new(Error::BadMarker { place: place.into(), expected: '>', found }), next, lines);
    }
    let span = Span {
        head: (head_start as u32 + 1, head_end as u32),
        sequence: (sequence_start as u32, next as u32),
        quality: (0, 0),
        line: first_line,
        is_wrapped: false,
    };
    Scan::Record(span, next, lines)
}

/// Where the next line with `>` begins, in text that starts at the beginning of a line.
fn next_record(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'>') {
        return Some(0);
    }
    memchr::memmem::find(text, b"\n>").map(|position| position + 1)
}
