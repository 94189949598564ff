//! FASTQ records whose sequence and qualities are wrapped over several lines (Cock et al. 2010), as in old Sanger
//! files.
//!
//! Qualities may begin with `@`, so only their number tells where a record ends: there are as many as bases. A record
//! counts as wrapped only if its sequence is, so that a quality line that is too short is never filled up from the next
//! record.

use super::{Window, line};

/// What follows a head.
pub(super) enum Wrapped {
    /// It continues past the end of the buffer.
    More,
    /// Sequence and qualities (with their line ends), where the next record begins, and the number of lines without the
    /// head.
    Record { sequence: (u32, u32), quality: (u32, u32), next: usize, lines: u64 },
    /// The input ends before the line with `+`.
    CutInSequence { lines: u64 },
    /// The input ends before the last quality.
    CutInQuality { lines: u64, num_bases: usize, num_values: usize },
    /// The quality lines do not end at the number of bases.
    Mismatch { num_bases: usize, num_values: usize },
    /// Some line before the one with `+` cannot be part of a sequence.
    No,
}

/// Scans the lines from `start`, the beginning of a sequence, on.
pub(super) fn look(window: &Window<'_>, start: usize) -> Wrapped {
    let text = window.text;
    let (mut position, mut lines, mut num_bases) = (start, 0, 0);
    while text.get(position) != Some(&b'+') {
        if position == text.len() {
            return if window.is_last { Wrapped::CutInSequence { lines } } else { Wrapped::More };
        }
        let Some((end, next)) = line(window, position) else { return Wrapped::More };
        let Some(bases) = bases(&text[position..end]) else { return Wrapped::No };
        num_bases += bases;
        position = next;
        lines += 1;
    }
    let sequence = (start as u32, position as u32);
    let Some((_, quality_start)) = line(window, position) else { return Wrapped::More };
    position = quality_start;
    lines += 1;
    let mut num_values = 0;
    while num_values < num_bases {
        if position == text.len() {
            let cut = Wrapped::CutInQuality { lines, num_bases, num_values };
            return if window.is_last { cut } else { Wrapped::More };
        }
        let Some((end, next)) = line(window, position) else { return Wrapped::More };
        let values = text[position..end].trim_ascii_end().len();
        if values == 0 {
            return Wrapped::Mismatch { num_bases, num_values };
        }
        num_values += values;
        position = next;
        lines += 1;
    }
    let quality = (quality_start as u32, position as u32);
    let fits = match text.get(position) {
        None if !window.is_last => return Wrapped::More,
        None => true,
        Some(byte) => matches!(byte, b'@' | b'\n' | b'\r'),
    };
    if num_values > num_bases || !fits {
        let next_line = if num_values > num_bases { None } else { line(window, position) };
        let more = next_line.map_or(0, |(end, _)| end - position);
        return Wrapped::Mismatch { num_bases, num_values: num_values + more };
    }
    Wrapped::Record { sequence, quality, next: position, lines }
}

/// Whether one line of any kind, or several of bases, precede a line with `+`; `None` if more must be read to decide.
pub(super) fn is_before_plus(window: &Window<'_>, start: usize) -> Option<bool> {
    let (mut position, mut is_first) = (start.min(window.text.len()), true);
    loop {
        if position == window.text.len() {
            return window.is_last.then_some(false);
        }
        if !is_first && window.text[position] == b'+' {
            return Some(true);
        }
        let (end, next) = line(window, position)?;
        let is_sequence = bases(&window.text[position..end]).is_some();
        if !is_first && !is_sequence {
            return Some(false);
        }
        // A first line that is not a sequence may only be followed by the one with '+'.
        if is_first && !is_sequence {
            let is_plus = window.text.get(next) == Some(&b'+');
            return if next == window.text.len() && !window.is_last { None } else { Some(is_plus) };
        }
        (position, is_first) = (next, false);
    }
}

/// Number of bases in a line, if it can be part of a sequence: letters, and the marks for gaps and unknown bases.
fn bases(line: &[u8]) -> Option<usize> {
    let line = line.trim_ascii_end();
    let is_base = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'*' | b'.');
    (!line.is_empty() && line.iter().all(is_base)).then_some(line.len())
}
