//! Reads as columns, on their way from a parser to a shard.

use std::ops::Range;

use crate::packed::NRun;

/// Mate number in the low bits of a row's flags: 0 for a single read, else 1 or 2.
pub(crate) const FLAG_MATE: u8 = 0b11;
/// Flag of a row with an alignment.
pub(crate) const FLAG_ALIGNED: u8 = 0b100;
/// Flag of a row that is aligned to the reverse strand.
pub(crate) const FLAG_REVERSE: u8 = 0b1000;

/// Mapping quality of a row without one (SAM specification, section 1.4: 255).
pub(crate) const NO_MAPPING_QUALITY: u8 = 255;

/// Where a read lies; `reference` is an index into the dictionary of the owner of the rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Placement {
    pub reference: u32,
    pub position: u32,
    pub span_bp: u32,
    pub mapping_quality: u8,
}

/// Columns of reads. `x_ends[i]` is where row `i` ends in `x`; it begins where row `i - 1` ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub lengths_bp: Vec<u32>,
    pub packed: Vec<u8>,
    pub packed_ends: Vec<u32>,
    pub n_runs: Vec<NRun>,
    pub n_run_ends: Vec<u32>,
    /// Mean error probability; NaN for none.
    pub mean_errors: Vec<f32>,
    /// Fraction of G and C among the known bases.
    pub gcs: Vec<f32>,
    pub flags: Vec<u8>,
    pub names: Vec<u8>,
    pub name_ends: Vec<u32>,
    pub descriptions: Vec<u8>,
    pub description_ends: Vec<u32>,
    /// Index of the input.
    pub sources: Vec<u32>,
    /// Zero in rows without [`FLAG_ALIGNED`], as in the columns below.
    pub references: Vec<u32>,
    /// 1-based.
    pub positions: Vec<u32>,
    pub spans_bp: Vec<u32>,
    /// [`NO_MAPPING_QUALITY`] in rows without [`FLAG_ALIGNED`].
    pub mapping_qualities: Vec<u8>,
    /// Sum of `lengths_bp`.
    pub total_bp: u64,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.lengths_bp.len()
    }

    /// Reserves space for `num_rows` more rows, with the given total bytes of names and packed bases.
    pub fn reserve(&mut self, num_rows: usize, num_name_bytes: usize, num_packed_bytes: usize) {
        self.names.reserve(num_name_bytes);
        self.packed.reserve(num_packed_bytes);
        for words in [
            &mut self.lengths_bp,
            &mut self.packed_ends,
            &mut self.n_run_ends,
            &mut self.name_ends,
            &mut self.description_ends,
            &mut self.sources,
            &mut self.references,
            &mut self.positions,
            &mut self.spans_bp,
        ] {
            words.reserve(num_rows);
        }
        self.mean_errors.reserve(num_rows);
        self.gcs.reserve(num_rows);
        self.flags.reserve(num_rows);
        self.mapping_qualities.reserve(num_rows);
    }

    /// Completes the row whose sequence and runs were appended to `packed` and `n_runs`.
    pub fn push(&mut self, row: Row<'_>) {
        let packed_start = self.packed_ends.last().map_or(0, |&end| end as usize);
        let num_n: u64 =
            self.n_runs[self.n_run_ends.last().map_or(0, |&end| end as usize)..].iter().map(|r| u64::from(r.len)).sum();
        let known = u64::from(row.length_bp) - num_n;
        self.gcs.push(if known == 0 { 0.0 } else { num_gc(&self.packed[packed_start..]) as f32 / known as f32 });
        self.lengths_bp.push(row.length_bp);
        self.total_bp += u64::from(row.length_bp);
        self.packed_ends.push(self.packed.len() as u32);
        self.n_run_ends.push(self.n_runs.len() as u32);
        self.mean_errors.push(row.mean_error.unwrap_or(f32::NAN));
        self.flags.push(row.flags);
        push_text(&mut self.names, row.name);
        self.name_ends.push(self.names.len() as u32);
        push_text(&mut self.descriptions, row.description);
        self.description_ends.push(self.descriptions.len() as u32);
        self.sources.push(row.source);
        let placement =
            row.placement.unwrap_or(Placement { mapping_quality: NO_MAPPING_QUALITY, ..Placement::default() });
        self.references.push(placement.reference);
        self.positions.push(placement.position);
        self.spans_bp.push(placement.span_bp);
        self.mapping_qualities.push(placement.mapping_quality);
    }

    /// Drops rows `len..` and whatever was appended for an unfinished one.
    pub fn truncate(&mut self, len: usize) {
        let end = |ends: &[u32]| if len == 0 { 0 } else { ends[len - 1] as usize };
        self.packed.truncate(end(&self.packed_ends));
        self.n_runs.truncate(end(&self.n_run_ends));
        self.names.truncate(end(&self.name_ends));
        self.descriptions.truncate(end(&self.description_ends));
        self.total_bp -= self.lengths_bp[len.min(self.len())..].iter().map(|&l| u64::from(l)).sum::<u64>();
        for ends in [&mut self.packed_ends, &mut self.n_run_ends, &mut self.name_ends, &mut self.description_ends] {
            ends.truncate(len);
        }
        self.lengths_bp.truncate(len);
        self.mean_errors.truncate(len);
        self.gcs.truncate(len);
        self.flags.truncate(len);
        for words in [&mut self.sources, &mut self.references, &mut self.positions, &mut self.spans_bp] {
            words.truncate(len);
        }
        self.mapping_qualities.truncate(len);
    }

    /// Copies rows `range` of `other` to the end.
    pub fn append(&mut self, other: &Self, range: Range<usize>) {
        append_blob(&mut self.packed, &mut self.packed_ends, &other.packed, &other.packed_ends, &range);
        append_blob(&mut self.n_runs, &mut self.n_run_ends, &other.n_runs, &other.n_run_ends, &range);
        append_blob(&mut self.names, &mut self.name_ends, &other.names, &other.name_ends, &range);
        let descriptions = (&mut self.descriptions, &mut self.description_ends);
        append_blob(descriptions.0, descriptions.1, &other.descriptions, &other.description_ends, &range);
        self.total_bp += other.lengths_bp[range.clone()].iter().map(|&l| u64::from(l)).sum::<u64>();
        self.lengths_bp.extend_from_slice(&other.lengths_bp[range.clone()]);
        self.mean_errors.extend_from_slice(&other.mean_errors[range.clone()]);
        self.gcs.extend_from_slice(&other.gcs[range.clone()]);
        self.flags.extend_from_slice(&other.flags[range.clone()]);
        self.sources.extend_from_slice(&other.sources[range.clone()]);
        self.references.extend_from_slice(&other.references[range.clone()]);
        self.positions.extend_from_slice(&other.positions[range.clone()]);
        self.spans_bp.extend_from_slice(&other.spans_bp[range.clone()]);
        self.mapping_qualities.extend_from_slice(&other.mapping_qualities[range]);
    }
}

/// The scalar part of a row.
pub(crate) struct Row<'a> {
    pub name: &'a [u8],
    pub description: &'a [u8],
    pub length_bp: u32,
    pub mean_error: Option<f32>,
    pub flags: u8,
    pub source: u32,
    pub placement: Option<Placement>,
}

/// Names that are not UTF-8 are read as Latin-1, in which every byte is a character, so that nothing is lost.
fn push_text(blob: &mut Vec<u8>, text: &[u8]) {
    if text.is_ascii() || std::str::from_utf8(text).is_ok() {
        blob.extend_from_slice(text);
    } else {
        let latin: String = text.iter().map(|&byte| char::from(byte)).collect();
        blob.extend_from_slice(latin.as_bytes());
    }
}

fn append_blob<T: Copy>(blob: &mut Vec<T>, ends: &mut Vec<u32>, from: &[T], from_ends: &[u32], range: &Range<usize>) {
    if range.is_empty() {
        return;
    }
    let start = if range.start == 0 { 0 } else { from_ends[range.start - 1] };
    let base = blob.len() as u32;
    blob.extend_from_slice(&from[start as usize..from_ends[range.end - 1] as usize]);
    ends.extend(from_ends[range.clone()].iter().map(|&end| end - start + base));
}

/// Number of C (01) and G (10) among packed bases: those whose two bits differ.
fn num_gc(packed: &[u8]) -> u64 {
    let (words, rest) = packed.as_chunks::<8>();
    let count = |word: u64| u64::from(((word ^ (word >> 1)) & 0x5555_5555_5555_5555).count_ones());
    words.iter().map(|word| count(u64::from_le_bytes(*word))).sum::<u64>()
        + rest.iter().map(|&byte| count(u64::from(byte))).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::pack_into;

    fn rows(reads: &[(&str, &str)]) -> Rows {
        let mut rows = Rows::default();
        for (name, letters) in reads {
            pack_into(letters.as_bytes(), &mut rows.packed, &mut rows.n_runs).unwrap();
            rows.push(Row {
                name: name.as_bytes(),
                description: b"",
                length_bp: letters.len() as u32,
                mean_error: None,
                flags: 0,
                source: 0,
                placement: None,
            });
        }
        rows
    }

    #[test]
    fn gc_is_the_share_among_known_bases() {
        // By hand: 3 of 4 known bases, 0 of none, 20 of 40.
        let long = "ACGT".repeat(10);
        let rows = rows(&[("a", "GNCNAC"), ("b", "NNNN"), ("c", &long)]);
        assert_eq!(rows.gcs, [0.75, 0.0, 0.5]);
    }

    #[test]
    fn appended_parts_make_the_whole_and_truncation_undoes_it() {
        let whole = rows(&[("a", "ACGTA"), ("bb", "NNAC"), ("", ""), ("d", "GGNGGGGGG")]);
        for split in 0..=4 {
            let mut joined = Rows::default();
            joined.append(&whole, 0..split);
            let before = format!("{joined:?}");
            joined.append(&whole, split..4);
            assert_eq!(format!("{joined:?}"), format!("{whole:?}"));
            joined.truncate(split);
            assert_eq!(format!("{joined:?}"), before);
        }
    }

    #[test]
    fn names_of_any_bytes_become_text() {
        let mut blob = Vec::new();
        push_text(&mut blob, b"caf\xe9");
        push_text(&mut blob, "é".as_bytes());
        assert_eq!(String::from_utf8(blob).unwrap(), "caféé");
    }
}
