//! Records in their original form: name, description, qualities and every letter of the sequence are unchanged.

use super::Decoded;
use crate::frame::bam::{self, Fixed};

/// Letters of the 4-bit codes of BAM (SAM specification, section 4.2.3).
const LETTERS: &[u8; 16] = b"=ACMGRSVTWYHKDBN";

/// Their complements: the four bits stand for A, C, G and T, whose complements are T, G, C and A.
const COMPLEMENTS: &[u8; 16] = b"=TGKCYSBAWRDMHVN";

/// The records of a batch's rows as text, concatenated; empty unless the decoder keeps them.
#[derive(Default)]
pub(crate) struct Originals {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Originals {
    /// The record of a row: four lines of FASTQ, or FASTA with its original number of lines.
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[start..self.ends[row]]
    }

    /// Drops the records of rows `len..`.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Adds a FASTQ record.
    pub fn push_fastq(&mut self, head: &[u8], sequence: &[u8], qualities: &[u8]) {
        for part in [b"@", head, b"\n", sequence, b"\n+\n", qualities, b"\n"] {
            self.text.extend_from_slice(part);
        }
        self.ends.push(self.text.len());
    }

    /// Adds a FASTA record.
    pub fn push_fasta<'a>(&mut self, head: &[u8], lines: impl Iterator<Item = &'a [u8]>) {
        self.text.push(b'>');
        self.text.extend_from_slice(head);
        self.text.push(b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            self.text.extend_from_slice(line);
            self.text.push(b'\n');
        }
        self.ends.push(self.text.len());
    }

    /// Adds a BAM record in the order in which the sequencer read it; one without qualities as FASTA.
    pub fn push_bam(&mut self, record: &[u8], qualities: &[u8]) {
        let fixed = Fixed::of(record);
        let is_reverse = fixed.flags & bam::REVERSE != 0;
        let bases = &record[fixed.sequence_start()..fixed.quality_start()];
        let letters = if is_reverse { COMPLEMENTS } else { LETTERS };
        let both = |&byte: &u8| [letters[usize::from(byte >> 4)], letters[usize::from(byte & 15)]];
        let mut sequence: Vec<u8> = bases.iter().flat_map(both).take(fixed.length_bp).collect();
        let mut qualities: Vec<u8> = qualities.iter().map(|&value| value.saturating_add(b'!')).collect();
        if is_reverse {
            sequence.reverse();
            qualities.reverse();
        }
        if qualities.is_empty() {
            self.push_fasta(bam::name(record), [sequence.as_slice()].into_iter());
        } else {
            self.push_fastq(bam::name(record), &sequence, &qualities);
        }
    }
}

impl Decoded {
    /// Drops rows `len..`, with the records that they were made from.
    pub(super) fn truncate(&mut self, len: usize) {
        self.rows.truncate(len);
        self.originals.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_complemented_bit_by_bit() {
        // Bit 1 is A, 2 is C, 4 is G, 8 is T: the complement of a code has its bits reversed. "=" (0) stays.
        for code in 0..16u8 {
            let reversed = (0..4).filter(|bit| code >> bit & 1 == 1).map(|bit| 8u8 >> bit).sum::<u8>();
            assert_eq!(COMPLEMENTS[usize::from(code)], LETTERS[usize::from(reversed)], "{code}");
        }
    }

    #[test]
    fn records_are_text_and_the_last_can_be_forgotten() {
        let mut originals = Originals::default();
        originals.push_fastq(b"r1 a  b", b"acgN", b"IIII");
        originals.push_fasta(b"c1", [&b"ACG"[..], b"", b"T"].into_iter());
        assert_eq!(originals.get(0), b"@r1 a  b\nacgN\n+\nIIII\n");
        assert_eq!(originals.get(1), b">c1\nACG\nT\n");
        originals.truncate(1);
        originals.push_fasta(b"c2", [&b"A"[..]].into_iter());
        assert_eq!(originals.get(1), b">c2\nA\n");
    }
}
