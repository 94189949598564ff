//! FASTQ and FASTA records.

use std::borrow::Cow;

use super::{Customs, Decoded, Decoder, Evidence, Mismatch, Outcome};
use crate::{
    Error,
    counts::Reason,
    error::{MateProblem, Place},
    frame::{Slab, Span, split_head},
    packed::{NRun, PackedError, pack_into},
    quality,
    rows::Row,
    sniff::Format,
};

/// Letters of a FASTA sequence packed at a time: a whole number of bytes.
const PIECE_BP: usize = 1 << 14;

/// A pair of records that should be mates: slab and index of each.
type Pair<'a> = [(&'a Slab, usize); 2];

impl Decoder {
    pub(super) fn single(&self, slab: &mut Slab, customs: Customs, batch: &mut Decoded) -> Result<(), Box<Error>> {
        for index in 0..slab.records.len() {
            let first_row = batch.rows.len();
            let outcome = self.push_record(slab, index, 0, customs, batch);
            self.settle(batch, first_row, [slab.input], [outcome])?;
        }
        Ok(())
    }

    pub(super) fn interleaved(&self, slab: &mut Slab, customs: Customs, batch: &mut Decoded) -> Result<(), Box<Error>> {
        for index in (0..slab.records.len()).step_by(2) {
            let first_row = batch.rows.len();
            let first = self.push_record(slab, index, 1, customs, batch);
            if index + 1 == slab.records.len() {
                // Only a bad record can end the text in the middle of a pair.
                return self.settle(batch, first_row, [slab.input], [first]);
            }
            let second = self.push_record(slab, index + 1, 2, customs, batch);
            let pair = [(&*slab, index), (&*slab, index + 1)];
            let first = first.and_then(|kept| self.check_mates(pair, customs, batch).map(|()| kept));
            self.settle(batch, first_row, [slab.input; 2], [first, second])?;
        }
        Ok(())
    }

    pub(super) fn mates(
        &self,
        one: &mut Slab,
        two: &mut Slab,
        customs: Customs,
        batch: &mut Decoded,
    ) -> Result<(), Box<Error>> {
        for index in 0..one.records.len().min(two.records.len()) {
            let first_row = batch.rows.len();
            let first = self.push_record(one, index, 1, customs, batch);
            let second = self.push_record(two, index, 2, customs, batch);
            let pair = [(&*one, index), (&*two, index)];
            let first = first.and_then(|kept| self.check_mates(pair, customs, batch).map(|()| kept));
            self.settle(batch, first_row, [one.input, two.input], [first, second])?;
        }
        Ok(())
    }

    /// Appends a record's row, if it is kept.
    fn push_record(&self, slab: &mut Slab, index: usize, mate: u8, customs: Customs, batch: &mut Decoded) -> Outcome {
        let span = match &mut slab.records[index] {
            Ok(span) => *span,
            Err(error) => return Err(std::mem::replace(error, Box::new(Error::Interrupted { path: "".into() }))),
        };
        let text = slab.text.as_slice();
        let (letters, values) = (part(text, span.sequence, span.is_wrapped), part(text, span.quality, span.is_wrapped));
        if let Some(position) = quality::first_bad(&values, customs.encoding) {
            return Err(Box::new(match values[position] {
                b'\n' => {
                    let place = self.place(slab, index, span).into();
                    Error::LengthMismatch { place, sequence: letters.len(), quality: position }
                }
                byte => {
                    let place = self.place_of_base(slab, index, span, span.quality, position);
                    let (lowest, encoding) = (char::from(customs.encoding.lowest_byte()), customs.encoding.name());
                    Error::BadQuality { place, position: position + 1, lowest, encoding, found: char::from(byte) }
                }
            }));
        }
        if Evidence::samples(index) {
            batch.evidence.qualities.add(&values);
        }
        let length_bp = match slab.format {
            Format::Fasta => lines(&letters).map(<[u8]>::len).sum(),
            _ => letters.len(),
        };
        let (reason, mean_error) = self.filter(length_bp, || quality::mean_error(&values, customs.encoding));
        if reason.is_some() {
            return Ok(reason);
        }
        let rows = &mut batch.rows;
        let first_run = rows.n_runs.len();
        let packed = match slab.format {
            Format::Fasta => pack_lines(&letters, &mut rows.packed, &mut rows.n_runs),
            _ => pack_into(&letters, &mut rows.packed, &mut rows.n_runs),
        };
        packed.map_err(|error| match error {
            PackedError::BadBase { position, byte } => {
                let place = self.place_of_base(slab, index, span, span.sequence, position);
                Box::new(Error::BadBase { place, position: position + 1, found: char::from(byte) })
            }
            other => {
                Box::new(Error::corrupt(self.place(slab, index, span), "sequence", "at most 2^32 - 1 bases", other))
            }
        })?;
        let num_n: usize = rows.n_runs[first_run..].iter().map(|run| run.len as usize).sum();
        let (name, description) = split_head(slice(text, span.head));
        let (name, description) = if mate == 0 { (name, description) } else { customs.names.stored(name, description) };
        rows.push(Row {
            name,
            description,
            length_bp: length_bp as u32,
            mean_error,
            flags: mate,
            source: slab.input,
            placement: None,
        });
        if self.keeps_originals {
            let head = slice(text, span.head);
            match slab.format {
                Format::Fasta => batch.originals.push_fasta(head, lines(&letters)),
                _ => batch.originals.push_fastq(head, &letters, &values),
            }
        }
        Ok((num_n == length_bp).then_some(Reason::NoAcgt))
    }

    /// Checks that two complete records are the mates of one fragment.
    fn check_mates(&self, pair: Pair<'_>, customs: Customs, batch: &mut Decoded) -> Result<(), Box<Error>> {
        let [(one, first_index), (two, second_index)] = pair;
        let (Ok(first), Ok(second)) = (&one.records[first_index], &two.records[second_index]) else { return Ok(()) };
        let (first_head, second_head) = (slice(&one.text, first.head), slice(&two.text, second.head));
        let sequences = [slice(&one.text, first.sequence), slice(&two.text, second.sequence)];
        batch.evidence.num_pairs += 1;
        batch.evidence.num_equal_pairs += u64::from(sequences[0] == sequences[1]);
        customs.names.check(first_head, second_head).map_err(|mismatch| {
            let place = self.place(one, first_index, *first).into();
            let mate_path = self.paths[two.input as usize].clone();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let problem = match mismatch {
                Mismatch::Names => {
                    let mate = text(split_head(second_head).0);
                    // At the first pair the naming is at fault, later the order.
                    let is_first = one.first_record == 0 && first_index == 0;
                    return Box::new(Error::MateMismatch { place, mate_path, mate, is_first });
                }
                Mismatch::BothFirst => MateProblem::BothFirst,
                Mismatch::BothSecond => MateProblem::BothSecond,
                Mismatch::Swapped => MateProblem::Swapped,
            };
            Box::new(Error::MateMark {
                place,
                head: text(first_head),
                mate_path,
                mate_head: text(second_head),
                problem,
            })
        })
    }

    fn place(&self, slab: &Slab, index: usize, span: Span) -> Place {
        Place {
            path: self.paths[slab.input as usize].clone(),
            record: Some(slab.first_record + index as u64 + 1),
            name: Some(String::from_utf8_lossy(split_head(slice(&slab.text, span.head)).0).into_owned()),
            line: Some(span.line),
            offset: None,
        }
    }

    /// The place of the character at this position in a part of the record, with its line.
    fn place_of_base(&self, slab: &Slab, index: usize, span: Span, part: (u32, u32), position: usize) -> Box<Place> {
        let mut line = span.line + line_ends(&slab.text[span.head.0 as usize..part.0 as usize]);
        let mut left = position;
        for text in lines(slice(&slab.text, part)) {
            if left < text.len() {
                break;
            }
            left -= text.len();
            line += 1;
        }
        Box::new(Place { line: Some(line), ..self.place(slab, index, span) })
    }
}

fn line_ends(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

fn slice(text: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &text[start as usize..end as usize]
}

/// A part of a record without the line ends in it.
fn part(text: &[u8], range: (u32, u32), is_wrapped: bool) -> Cow<'_, [u8]> {
    let part = slice(text, range);
    if is_wrapped { lines(part).collect::<Vec<_>>().concat().into() } else { part.into() }
}

/// The lines of a text, without trailing blanks.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    ends.scan(0, |start, end| {
        let line = &text[*start..end];
        *start = end + 1;
        Some(line.trim_ascii_end())
    })
}

/// Packs a wrapped sequence, a piece at a time.
fn pack_lines(text: &[u8], packed: &mut Vec<u8>, n_runs: &mut Vec<NRun>) -> Result<(), PackedError> {
    let first_run = n_runs.len();
    let mut piece = Vec::with_capacity(PIECE_BP);
    let mut done_bp = 0;
    for mut line in lines(text) {
        while !line.is_empty() {
            let n = line.len().min(PIECE_BP - piece.len());
            piece.extend_from_slice(&line[..n]);
            line = &line[n..];
            if piece.len() == PIECE_BP {
                pack_piece(&piece, done_bp, first_run, packed, n_runs)?;
                done_bp += piece.len();
                piece.clear();
            }
        }
    }
    pack_piece(&piece, done_bp, first_run, packed, n_runs)
}

/// Packs the letters that follow `done_bp` others, whose runs of N begin at `first_run`.
fn pack_piece(
    letters: &[u8],
    done_bp: usize,
    first_run: usize,
    packed: &mut Vec<u8>,
    n_runs: &mut Vec<NRun>,
) -> Result<(), PackedError> {
    let seam = n_runs.len();
    pack_into(letters, packed, n_runs).map_err(|error| match error {
        PackedError::BadBase { position, byte } => PackedError::BadBase { position: position + done_bp, byte },
        other => other,
    })?;
    for run in &mut n_runs[seam..] {
        run.start += done_bp as u32;
    }
    // A run that continues over the seam is a single run.
    if seam > first_run && seam < n_runs.len() && n_runs[seam - 1].end() == n_runs[seam].start {
        n_runs[seam - 1].len += n_runs[seam].len;
        n_runs.remove(seam);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::PackedSlice;
    use proptest::prelude::*;

    proptest! {
        // Second implementation: packing the joined lines at once.
        #[test]
        fn lines_pack_as_their_concatenation(
            blocks in proptest::collection::vec((proptest::sample::select(b"ACGTN\n".to_vec()), 1usize..9_000), 0..12),
        ) {
            let text: Vec<u8> = blocks.iter().flat_map(|&(byte, n)| std::iter::repeat_n(byte, n)).collect();
            let joined: Vec<u8> = text.iter().copied().filter(|&byte| byte != b'\n').collect();
            let (mut packed, mut runs) = (vec![], vec![]);
            pack_lines(&text, &mut packed, &mut runs).unwrap();
            let slice = PackedSlice::new(&packed, joined.len(), &runs).unwrap();
            let whole = crate::PackedSequence::from_ascii(&joined).unwrap();
            prop_assert_eq!(slice, whole.as_slice());
        }
    }

    #[test]
    fn a_bad_letter_is_counted_over_lines() {
        let text = [vec![b'A'; 20_000], b"\r\nAC-T".to_vec()].concat();
        let error = pack_lines(&text, &mut vec![], &mut vec![]).unwrap_err();
        assert_eq!(error, PackedError::BadBase { position: 20_002, byte: b'-' });
    }
}
