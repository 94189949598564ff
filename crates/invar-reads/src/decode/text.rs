//! FASTQ and FASTA records.

use super::{Batch, Decoder, Outcome};
use crate::{
    Error,
    counts::Reason,
    error::Place,
    frame::{Slab, Span, split_head},
    packed::{NRun, PackedError, pack_into},
    quality,
    rows::{Row, Rows},
    sniff::Format,
};

/// Letters of a FASTA sequence that are packed at a time: a whole number of bytes.
const PIECE_BP: usize = 1 << 14;

impl Decoder {
    pub(super) fn single(&self, slab: &mut Slab, batch: &mut Batch) -> Result<(), Box<Error>> {
        for index in 0..slab.records.len() {
            let first_row = batch.rows.len();
            let outcome = self.push_record(slab, index, 0, &mut batch.rows);
            self.settle(batch, first_row, [slab.input], [outcome])?;
        }
        Ok(())
    }

    pub(super) fn interleaved(&self, slab: &mut Slab, batch: &mut Batch) -> Result<(), Box<Error>> {
        for index in (0..slab.records.len()).step_by(2) {
            let first_row = batch.rows.len();
            let first = self.push_record(slab, index, 1, &mut batch.rows);
            if index + 1 == slab.records.len() {
                // Only a bad record ends the text in the middle of a pair.
                return self.settle(batch, first_row, [slab.input], [first]);
            }
            let second = self.push_record(slab, index + 1, 2, &mut batch.rows);
            let first = first.and_then(|kept| self.same_fragment((slab, index), (slab, index + 1)).map(|()| kept));
            self.settle(batch, first_row, [slab.input; 2], [first, second])?;
        }
        Ok(())
    }

    pub(super) fn mates(&self, one: &mut Slab, two: &mut Slab, batch: &mut Batch) -> Result<(), Box<Error>> {
        for index in 0..one.records.len().min(two.records.len()) {
            let first_row = batch.rows.len();
            let first = self.push_record(one, index, 1, &mut batch.rows);
            let second = self.push_record(two, index, 2, &mut batch.rows);
            let first = first.and_then(|kept| self.same_fragment((one, index), (two, index)).map(|()| kept));
            self.settle(batch, first_row, [one.input, two.input], [first, second])?;
        }
        Ok(())
    }

    /// Appends a record's row, if it is to be kept.
    fn push_record(&self, slab: &mut Slab, index: usize, mate: u8, rows: &mut Rows) -> Outcome {
        let span = match &mut slab.records[index] {
            Ok(span) => *span,
            Err(error) => return Err(std::mem::replace(error, Box::new(Error::Interrupted { path: "".into() }))),
        };
        let place = || self.place(slab, index, span);
        let text = slab.text.as_slice();
        let letters = slice(text, span.sequence);
        let values = slice(text, span.quality);
        if let Some(position) = quality::first_bad(values) {
            return Err(Box::new(match values[position] {
                b'\n' => Error::LengthMismatch { place: place().into(), sequence: letters.len(), quality: position },
                byte => Error::BadQuality { place: place().into(), position: position + 1, found: char::from(byte) },
            }));
        }
        let length_bp = match slab.format {
            Format::Fasta => letters.len() - letters.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(),
            _ => letters.len(),
        };
        let (reason, mean_error) = self.filter(length_bp, || quality::mean_error(values, 33));
        if reason.is_some() {
            return Ok(reason);
        }
        let first_run = rows.n_runs.len();
        let packed = match slab.format {
            Format::Fasta => pack_lines(letters, &mut rows.packed, &mut rows.n_runs),
            _ => pack_into(letters, &mut rows.packed, &mut rows.n_runs),
        };
        packed.map_err(|error| bad_base(place(), error))?;
        let num_n: usize = rows.n_runs[first_run..].iter().map(|run| run.len as usize).sum();
        let (name, description) = split_head(slice(text, span.head));
        rows.push(Row {
            name,
            description,
            length_bp: length_bp as u32,
            mean_error,
            flags: mate,
            source: slab.input,
            placement: None,
        });
        Ok((num_n == length_bp).then_some(Reason::NoAcgt))
    }

    fn same_fragment(&self, one: (&Slab, usize), two: (&Slab, usize)) -> Result<(), Box<Error>> {
        let (Ok(first), Ok(second)) = (&one.0.records[one.1], &two.0.records[two.1]) else { return Ok(()) };
        let name = |slab: &Slab, span: &Span| split_head(slice(&slab.text, span.head)).0.to_vec();
        let (first_name, second_name) = (name(one.0, first), name(two.0, second));
        if fragment_name(&first_name) == fragment_name(&second_name) {
            return Ok(());
        }
        Err(Box::new(Error::MateMismatch {
            place: self.place(one.0, one.1, *first).into(),
            mate_path: self.paths[two.0.input as usize].clone(),
            mate: String::from_utf8_lossy(&second_name).into_owned(),
        }))
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
}

/// A read's name without the `/1` or `/2` that tells mates apart.
pub(crate) fn fragment_name(name: &[u8]) -> &[u8] {
    match name {
        [fragment @ .., b'/', b'1' | b'2'] => fragment,
        _ => name,
    }
}

fn slice(text: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &text[start as usize..end as usize]
}

fn bad_base(place: Place, error: PackedError) -> Box<Error> {
    Box::new(match error {
        PackedError::BadBase { position, byte } => {
            Error::BadBase { place: place.into(), position: position + 1, found: char::from(byte) }
        }
        other => Error::corrupt(place, "sequence", "at most 2^32 - 1 bases", other),
    })
}

/// Packs a sequence that is broken over lines, a piece at a time.
fn pack_lines(text: &[u8], packed: &mut Vec<u8>, n_runs: &mut Vec<NRun>) -> Result<(), PackedError> {
    let first_run = n_runs.len();
    let mut piece = Vec::with_capacity(PIECE_BP);
    let mut done_bp = 0;
    for line in text.split(|&byte| byte == b'\n') {
        let mut line = line.strip_suffix(b"\r").unwrap_or(line);
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
    // A run that goes on over the seam is one run.
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

    #[test]
    fn fragment_names() {
        for (name, fragment) in [("a/1", "a"), ("a/2", "a"), ("a/3", "a/3"), ("a", "a"), ("/1", "")] {
            assert_eq!(fragment_name(name.as_bytes()), fragment.as_bytes());
        }
    }
}
