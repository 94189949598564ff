//! BAM records (SAM specification, section 4.2).

use super::{Decoded, Decoder, Evidence, Outcome};
use crate::{
    Error,
    counts::Reason,
    error::Place,
    frame::bam::{self, BamSlab, BamSpan, Fixed},
    packed::pack_into,
    quality::{self, Encoding},
    rows::{FLAG_ALIGNED, FLAG_REVERSE, Placement, Row},
};

/// Letters of the 4-bit codes; IUPAC codes for several bases are treated as N.
const LETTERS: &[u8; 16] = b"=ACNGNNNTNNNNNNN";

/// First quality of a record without qualities.
const NO_QUALITY: u8 = 0xff;

/// Set for a pair of codes in which one is not a plain base.
const NOT_PLAIN: u8 = 0x80;

/// The two bases of each byte at 2 bits per base (see [`crate::packed`]).
const FORWARD: [u8; 256] = pairs(false);

/// The same on the other strand, reversed.
const REVERSED: [u8; 256] = pairs(true);

const fn pairs(is_reverse: bool) -> [u8; 256] {
    let mut table = [NOT_PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        if let (Some(high), Some(low)) = (code(byte >> 4), code(byte & 15)) {
            table[byte] = if is_reverse { (3 - low) | (3 - high) << 2 } else { high | low << 2 };
        }
        byte += 1;
    }
    table
}

/// The 2-bit code of a 4-bit one.
const fn code(nibble: usize) -> Option<u8> {
    match LETTERS[nibble] {
        b'A' => Some(0),
        b'C' => Some(1),
        b'G' => Some(2),
        b'T' => Some(3),
        _ => None,
    }
}

/// The 4-bit code of A, used to fill a pair.
const A: u8 = 1;

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
    pub(super) fn alignments(&self, slab: &BamSlab, batch: &mut Decoded) -> Result<(), Box<Error>> {
        let mut letters = Vec::new();
        // A record has at least its fixed part, half a byte and a quality per base: at most a sixth of it is packed
        // bases.
        let num_records: usize = slab.fragments.iter().map(|fragment| 1 + usize::from(fragment.second.is_some())).sum();
        let num_fixed = num_records * bam::FIXED_BYTES;
        let num_packed = slab.num_bytes().saturating_sub(num_fixed) / 6;
        batch.rows.reserve(num_records, num_fixed, num_packed);
        for fragment in &slab.fragments {
            let first_row = batch.rows.len();
            let Some(second) = fragment.second else {
                let outcome = self.push_alignment(slab, fragment.first, 0, &mut letters, batch);
                self.settle(batch, first_row, [slab.input], [outcome])?;
                batch.counts_of(slab.input).singletons += u64::from(fragment.is_singleton);
                continue;
            };
            let outcomes = [
                self.push_alignment(slab, fragment.first, 1, &mut letters, batch),
                self.push_alignment(slab, second, 2, &mut letters, batch),
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
        batch: &mut Decoded,
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
        let values = if values[0] == NO_QUALITY { &[] } else { values };
        if Evidence::samples(batch.rows.len()) {
            batch.evidence.qualities.add_raw(values);
        }
        let (reason, mean_error) = self.filter(fixed.length_bp, || quality::mean_error(values, Encoding::Raw));
        if reason.is_some() {
            return Ok(reason);
        }
        let rows = &mut batch.rows;
        let placement = placement(&fixed, record, slab.num_references, place)?;
        let is_reverse = fixed.flags & bam::REVERSE != 0;
        let bases = &record[fixed.sequence_start()..fixed.quality_start()];
        let first_run = rows.n_runs.len();
        if !pack_plain(bases, fixed.length_bp, is_reverse, &mut rows.packed) {
            decode_bases(bases, fixed.length_bp, is_reverse, letters);
            pack_into(letters, &mut rows.packed, &mut rows.n_runs).map_err(|_| {
                let position = letters.iter().position(|&letter| letter == b'=').unwrap_or(0);
                let position = if is_reverse { letters.len() - position } else { position + 1 };
                Box::new(Error::BadBase { place: place().into(), position, found: '=' })
            })?;
        }
        let num_n: usize = rows.n_runs[first_run..].iter().map(|run| run.len as usize).sum();
        let aligned = if placement.is_some() { FLAG_ALIGNED } else { 0 };
        let reverse = if placement.is_some() && is_reverse { FLAG_REVERSE } else { 0 };
        rows.push(Row {
            name: bam::name(record),
            description: b"",
            length_bp: fixed.length_bp as u32,
            mean_error,
            flags: mate | aligned | reverse,
            source: slab.input,
            placement,
        });
        if self.keeps_originals {
            batch.originals.push_bam(record, values);
        }
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

/// Where a record is aligned; `None` for an unmapped one, even if it is placed next to its mate.
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

/// Bases of the reference covered by the operations M, D, N, = and X. A CIGAR of more than 65,535 operations is in the
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

/// Packs 4-bit bases in the order in which the sequencer read them, if all are plain; otherwise `packed` is unchanged.
fn pack_plain(bases: &[u8], length_bp: usize, is_reverse: bool, packed: &mut Vec<u8>) -> bool {
    let first_byte = packed.len();
    // The unused half of the last byte is not a base.
    let (pairs, single) = match bases.split_last() {
        Some((last, pairs)) if length_bp % 2 == 1 => (pairs, Some(last >> 4)),
        _ => (bases, None),
    };
    let mut packer = Packer { packed, bits: 0, num_bits: 0, seen: 0 };
    if is_reverse {
        if let Some(single) = single {
            packer.push(REVERSED[usize::from(A << 4 | single)], 2);
        }
        let (rest, eights) = pairs.as_rchunks::<8>();
        for eight in eights.iter().rev() {
            let (codes, are_plain) = sixteen(u64::from_be_bytes(*eight));
            packer.push_sixteen(!codes, are_plain);
        }
        rest.iter().rev().for_each(|&byte| packer.push(REVERSED[usize::from(byte)], 4));
    } else {
        let (eights, rest) = pairs.as_chunks::<8>();
        for eight in eights {
            let word = u64::from_le_bytes(*eight);
            // The first base of a byte is in its high half.
            let (codes, are_plain) = sixteen((word & LOW_HALVES) << 4 | word >> 4 & LOW_HALVES);
            packer.push_sixteen(codes, are_plain);
        }
        rest.iter().for_each(|&byte| packer.push(FORWARD[usize::from(byte)], 4));
        if let Some(single) = single {
            packer.push(FORWARD[usize::from(single << 4 | A)], 2);
        }
    }
    let is_plain = packer.finish();
    if !is_plain {
        packed.truncate(first_byte);
    }
    is_plain
}

/// The low half of every byte.
const LOW_HALVES: u64 = 0x0f0f_0f0f_0f0f_0f0f;

/// The 2-bit codes of sixteen 4-bit ones, the first in the lowest bits, and whether all were plain: a plain base is a
/// single bit, the first, second, third or fourth.
#[inline]
fn sixteen(bases: u64) -> (u32, bool) {
    const ONES: u64 = 0x1111_1111_1111_1111;
    let [a, c, g, t] = [0, 1, 2, 3].map(|bit| bases >> bit & ONES);
    let mut codes = (c | t) | (g | t) << 1;
    for (bits, mask) in [(2, LOW_HALVES), (4, 0x00ff_00ff_00ff_00ff), (8, 0x0000_ffff_0000_ffff), (16, 0xffff_ffff)] {
        codes = (codes | codes >> bits) & mask;
    }
    (codes as u32, a + c + g + t == ONES)
}

/// Collects codes into whole bytes.
struct Packer<'a> {
    packed: &'a mut Vec<u8>,
    bits: u64,
    /// Below 8 between calls.
    num_bits: u32,
    /// The union of all pairs so far, to check for [`NOT_PLAIN`].
    seen: u8,
}

impl Packer<'_> {
    /// Appends the low `num_bits` bits of a pair.
    #[inline]
    fn push(&mut self, pair: u8, num_bits: u32) {
        self.seen |= pair;
        self.bits |= u64::from(pair & ((1 << num_bits) - 1)) << self.num_bits;
        self.num_bits += num_bits;
        if self.num_bits >= 8 {
            self.packed.push(self.bits as u8);
            self.bits >>= 8;
            self.num_bits -= 8;
        }
    }

    /// Appends sixteen codes.
    #[inline]
    fn push_sixteen(&mut self, codes: u32, are_plain: bool) {
        self.seen |= if are_plain { 0 } else { NOT_PLAIN };
        self.bits |= u64::from(codes) << self.num_bits;
        self.packed.extend_from_slice(&(self.bits as u32).to_le_bytes());
        self.bits >>= 32;
    }

    /// Writes the last bits; returns whether all bases were plain.
    fn finish(self) -> bool {
        if self.num_bits > 0 {
            self.packed.push(self.bits as u8);
        }
        self.seen & NOT_PLAIN == 0
    }
}

/// Writes the letters of 4-bit bases in the order in which the sequencer read them.
fn decode_bases(bases: &[u8], length_bp: usize, is_reverse: bool, letters: &mut Vec<u8>) {
    letters.clear();
    for &byte in bases {
        letters.extend([LETTERS[usize::from(byte >> 4)], LETTERS[usize::from(byte & 15)]]);
    }
    letters.truncate(length_bp);
    if is_reverse {
        letters.reverse();
        letters.iter_mut().for_each(|letter| *letter = complement(*letter));
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
        fn bases_decode_on_both_strands(letters in prop_oneof!["[ACGT]{0,90}", "[ACGTN]{0,30}"]) {
            let letters = letters.into_bytes();
            let bytes = encode(&letters);
            let mut decoded = Vec::new();
            decode_bases(&bytes, letters.len(), false, &mut decoded);
            prop_assert_eq!(&decoded, &letters);
            let reversed = bio::alphabets::dna::revcomp(&letters);
            decode_bases(&bytes, letters.len(), true, &mut decoded);
            prop_assert_eq!(&decoded, &reversed);
            // Third: packing the letters. Sequences with N are left to it.
            let is_plain = !letters.contains(&b'N');
            for (is_reverse, letters) in [(false, &letters), (true, &reversed)] {
                let (mut packed, mut expected) = (vec![7], vec![7]);
                prop_assert_eq!(pack_plain(&bytes, letters.len(), is_reverse, &mut packed), is_plain);
                if is_plain {
                    pack_into(letters, &mut expected, &mut vec![]).unwrap();
                }
                prop_assert_eq!(packed, expected);
            }
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
