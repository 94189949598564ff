//! BAM records (SAM specification, section 4.2).

use super::{Batch, Decoder, Outcome};
use crate::{
    Error,
    counts::Reason,
    error::Place,
    frame::bam::{self, BamSlab, BamSpan, Fixed},
    packed::pack_into,
    quality,
    rows::{FLAG_ALIGNED, FLAG_REVERSE, Placement, Row, Rows},
};

/// Letters of the 4-bit codes; IUPAC codes for several bases are N to us.
const LETTERS: &[u8; 16] = b"=ACNGNNNTNNNNNNN";

/// Two letters of each byte of bases.
const FORWARD: [[u8; 2]; 256] = pairs(false);

/// The same, on the other strand and in reverse.
const REVERSED: [[u8; 2]; 256] = pairs(true);

const fn pairs(is_reverse: bool) -> [[u8; 2]; 256] {
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (high, low) = (LETTERS[byte >> 4], LETTERS[byte & 15]);
        table[byte] = if is_reverse { [complement(low), complement(high)] } else { [high, low] };
        byte += 1;
    }
    table
}

const fn complement(letter: u8) -> u8 {
    match letter {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        b'T' => b'A',
        other => other,
    }
}

impl Decoder {
    pub(super) fn alignments(&self, slab: &BamSlab, batch: &mut Batch) -> Result<(), Box<Error>> {
        let mut letters = Vec::new();
        for fragment in &slab.fragments {
            let first_row = batch.rows.len();
            let Some(second) = fragment.second else {
                let outcome = self.push_alignment(slab, fragment.first, 0, &mut letters, &mut batch.rows);
                self.settle(batch, first_row, [slab.input], [outcome])?;
                batch.counts_of(slab.input).singletons += u64::from(fragment.is_singleton);
                continue;
            };
            let outcomes = [
                self.push_alignment(slab, fragment.first, 1, &mut letters, &mut batch.rows),
                self.push_alignment(slab, second, 2, &mut letters, &mut batch.rows),
            ];
            self.settle(batch, first_row, [slab.input; 2], outcomes)?;
        }
        Ok(())
    }

    fn push_alignment(
        &self,
        slab: &BamSlab,
        span: BamSpan,
        mate: u8,
        letters: &mut Vec<u8>,
        rows: &mut Rows,
    ) -> Outcome {
        let record = slab.record(span);
        let fixed = Fixed::of(record);
        if self.config.primary_only && fixed.flags & bam::NOT_PRIMARY != 0 {
            return Ok(Some(Reason::NotPrimary));
        }
        if fixed.length_bp == 0 {
            return Ok(Some(Reason::NoSequence));
        }
        let place = || self.alignment_place(slab, span, record);
        let values = &record[fixed.quality_start()..fixed.end()];
        let mean_quality = || if values[0] == 0xff { None } else { quality::mean_quality(values, 0) };
        let (reason, mean_quality) = self.filter(fixed.length_bp, mean_quality);
        if reason.is_some() {
            return Ok(reason);
        }
        let placement = placement(&fixed, record, slab.num_references, place)?;
        let is_reverse = fixed.flags & bam::REVERSE != 0;
        decode_bases(&record[fixed.sequence_start()..fixed.quality_start()], fixed.length_bp, is_reverse, letters);
        let first_run = rows.n_runs.len();
        pack_into(letters, &mut rows.packed, &mut rows.n_runs).map_err(|_| {
            let position = letters.iter().position(|&letter| letter == b'=').unwrap_or(0);
            let position = if is_reverse { letters.len() - position } else { position + 1 };
            Box::new(Error::BadBase { place: place().into(), position, found: '=' })
        })?;
        let num_n: usize = rows.n_runs[first_run..].iter().map(|run| run.len as usize).sum();
        let aligned = if placement.is_some() { FLAG_ALIGNED } else { 0 };
        let reverse = if placement.is_some() && is_reverse { FLAG_REVERSE } else { 0 };
        rows.push(Row {
            name: bam::name(record),
            description: b"",
            length_bp: fixed.length_bp as u32,
            mean_quality,
            flags: mate | aligned | reverse,
            source: slab.input,
            placement,
        });
        Ok((num_n == fixed.length_bp).then_some(Reason::NoAcgt))
    }

    fn alignment_place(&self, slab: &BamSlab, span: BamSpan, record: &[u8]) -> Place {
        Place {
            path: self.paths[slab.input as usize].clone(),
            record: Some(span.record),
            name: Some(String::from_utf8_lossy(bam::name(record)).into_owned()),
            ..Place::default()
        }
    }
}

/// Where a record is aligned; `None` for an unmapped one, also where it is placed beside its mate.
fn placement(
    fixed: &Fixed,
    record: &[u8],
    num_references: u32,
    place: impl Fn() -> Place,
) -> Result<Option<Placement>, Box<Error>> {
    let (Ok(reference), Ok(position)) = (u32::try_from(fixed.reference), u32::try_from(fixed.position)) else {
        return Ok(None);
    };
    if fixed.flags & bam::UNMAPPED != 0 {
        return Ok(None);
    }
    if reference >= num_references {
        let expected = format!("below {num_references}");
        return Err(Box::new(Error::corrupt(place(), "number of the reference sequence", expected, reference)));
    }
    let span = reference_span(&record[fixed.cigar_start()..fixed.sequence_start()]);
    let Ok(span_bp) = u32::try_from(span) else {
        return Err(Box::new(Error::corrupt(place(), "bases of the reference", "at most 2^32 - 1", span)));
    };
    let mapping_quality = fixed.mapping_quality;
    Ok(Some(Placement { reference, position: position + 1, span_bp, mapping_quality }))
}

/// Bases of the reference that the operations M, D, N, = and X cover. A CIGAR of more than 65,535 operations is in the
/// tag CG, and the two operations here are `<length>S<span>N` (section 4.2.2), which give the same sum.
fn reference_span(cigar: &[u8]) -> u64 {
    let (operations, _) = cigar.as_chunks::<4>();
    operations
        .iter()
        .map(|operation| u32::from_le_bytes(*operation))
        .filter(|operation| matches!(operation & 15, 0 | 2 | 3 | 7 | 8))
        .map(|operation| u64::from(operation >> 4))
        .sum()
}

/// Writes the letters of packed 4-bit bases in the order in which the sequencer read them.
fn decode_bases(bytes: &[u8], length_bp: usize, is_reverse: bool, letters: &mut Vec<u8>) {
    letters.clear();
    letters.resize(2 * bytes.len(), 0);
    let (pairs, _) = letters.as_chunks_mut::<2>();
    if is_reverse {
        for (pair, &byte) in pairs.iter_mut().zip(bytes.iter().rev()) {
            *pair = REVERSED[usize::from(byte)];
        }
        // The unused half of the last byte came first.
        letters.drain(..2 * bytes.len() - length_bp);
    } else {
        for (pair, &byte) in pairs.iter_mut().zip(bytes) {
            *pair = FORWARD[usize::from(byte)];
        }
        letters.truncate(length_bp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(letters: &[u8]) -> Vec<u8> {
        // SAM specification, section 4.2.3.
        let code = |letter: u8| b"=ACMGRSVTWYHKDBN".iter().position(|&l| l == letter).unwrap() as u8;
        letters.chunks(2).map(|pair| code(pair[0]) << 4 | pair.get(1).map_or(0, |&l| code(l))).collect()
    }

    proptest! {
        // Second implementation: bio's reverse complement.
        #[test]
        fn bases_decode_on_both_strands(letters in proptest::collection::vec(proptest::sample::select(b"ACGTN".to_vec()), 0..40)) {
            let bytes = encode(&letters);
            let mut decoded = Vec::new();
            decode_bases(&bytes, letters.len(), false, &mut decoded);
            prop_assert_eq!(&decoded, &letters);
            decode_bases(&bytes, letters.len(), true, &mut decoded);
            prop_assert_eq!(decoded, bio::alphabets::dna::revcomp(&letters));
        }
    }

    #[test]
    fn several_bases_count_as_n() {
        let mut decoded = Vec::new();
        decode_bases(&encode(b"AMRC="), 5, false, &mut decoded);
        assert_eq!(decoded, b"ANNC=");
    }

    #[test]
    fn span_of_a_cigar() {
        // 5S 10M 2I 3D 100N 4= 1X 7H: 10 + 3 + 100 + 4 + 1 = 118.
        let operations = [(5, 4), (10, 0), (2, 1), (3, 2), (100, 3), (4, 7), (1, 8), (7, 5)];
        let cigar: Vec<u8> = operations.iter().flat_map(|&(n, op): &(u32, u32)| (n << 4 | op).to_le_bytes()).collect();
        assert_eq!(reference_span(&cigar), 118);
    }
}
