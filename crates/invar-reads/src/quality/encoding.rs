//! How quality values are written as characters (Cock et al. 2010, table 1), and how the encoding is recognised.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::SCALE;

/// How the qualities of FASTQ are encoded (`--quality-encoding`). BAM and CRAM store the numbers themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualityEncoding {
    /// Phred+33, unless the first records of a file can only be Phred+64 or Solexa: then that, with a warning.
    #[default]
    Auto,
    /// `!` is 0: Sanger, Illumina since 1.8, every other instrument.
    Phred33,
    /// `@` is 0: Illumina 1.3 to 1.7.
    Phred64,
    /// `@` is 0 and `;` is -5, on Solexa's scale of odds: Solexa, Illumina before 1.3.
    Solexa,
}

/// The meaning of the stored bytes of qualities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// The Phred value itself (BAM).
    Raw,
    #[default]
    Phred33,
    Phred64,
    Solexa,
}

/// Error probability of each byte, in units of `1/SCALE`.
type Table = [u64; 256];

static TABLES: LazyLock<[Table; 4]> = LazyLock::new(|| {
    let phred = |value: f64| 10f64.powf(-value / 10.0);
    let odds = |value: f64| 1.0 / (1.0 + 10f64.powf(value / 10.0));
    let table = |zero: u8, probability: &dyn Fn(f64) -> f64| {
        std::array::from_fn(|byte| {
            let probability = probability(byte as f64 - f64::from(zero));
            (probability.min(1.0) * SCALE).round() as u64
        })
    };
    [table(0, &phred), table(33, &phred), table(64, &phred), table(64, &odds)]
});

impl Encoding {
    pub(super) fn probabilities(self) -> &'static Table {
        &TABLES[self as usize]
    }

    /// The character of the lowest value.
    pub fn lowest_byte(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Phred33 => b'!',
            Self::Phred64 => b'@',
            Self::Solexa => b';',
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "numbers",
            Self::Phred33 => "Phred+33",
            Self::Phred64 => "Phred+64 (Illumina 1.3 to 1.7)",
            Self::Solexa => "Solexa+64 (before Illumina 1.3)",
        }
    }
}

/// The range of quality characters seen in many reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QualityRange {
    /// Number of reads with qualities.
    num_reads: u64,
    num_bases: u64,
    /// Number of reads with a quality above [`HIGHEST_PLAIN`].
    num_high: u64,
    lowest: u8,
    highest: u8,
}

/// `K`, Q42 in Phred+33: short-read instruments do not write higher ones.
const HIGHEST_PLAIN: u8 = b'K';

/// `j`, Q42 in Phred+64. Anything above can only be Phred+33, from long reads or consensus sequences.
const HIGHEST_64: u8 = b'j';

impl Default for QualityRange {
    fn default() -> Self {
        Self { num_reads: 0, num_bases: 0, num_high: 0, lowest: u8::MAX, highest: 0 }
    }
}

impl QualityRange {
    /// Adds the qualities of a read, as characters. Line ends among them are skipped.
    pub fn add(&mut self, values: &[u8]) {
        let lowest = values.iter().fold(u8::MAX, |low, &value| low.min(if value < b'!' { u8::MAX } else { value }));
        let highest = values.iter().fold(0, |high: u8, &value| high.max(value));
        self.push(values.len(), lowest, highest);
    }

    /// As [`Self::add`], for the numbers themselves.
    pub fn add_raw(&mut self, values: &[u8]) {
        let lowest = values.iter().fold(u8::MAX, |low, &value| low.min(value));
        let highest = values.iter().fold(0, |high: u8, &value| high.max(value));
        self.push(values.len(), lowest.saturating_add(33), highest.saturating_add(33));
    }

    fn push(&mut self, num_bases: usize, lowest: u8, highest: u8) {
        if num_bases > 0 {
            self.num_reads += 1;
            self.num_bases += num_bases as u64;
            self.num_high += u64::from(highest > HIGHEST_PLAIN);
            self.lowest = self.lowest.min(lowest);
            self.highest = self.highest.max(highest);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.num_reads += other.num_reads;
        self.num_bases += other.num_bases;
        self.num_high += other.num_high;
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
    }

    /// The encoding of these qualities if it does not seem to be Phred+33: none is below Q26 in that, and most reads
    /// have values above Q42, but none above Q73.
    pub fn suspected(&self) -> Option<Encoding> {
        let fits = self.lowest >= Encoding::Solexa.lowest_byte() && self.highest <= HIGHEST_64;
        if self.num_reads < 10 || !fits || 2 * self.num_high < self.num_reads {
            return None;
        }
        Some(if self.lowest >= Encoding::Phred64.lowest_byte() { Encoding::Phred64 } else { Encoding::Solexa })
    }

    /// The same, if there are enough reads to be certain.
    pub fn certain(&self) -> Option<Encoding> {
        self.suspected().filter(|_| self.num_reads >= 50 && self.num_bases >= 2_000)
    }

    /// The lowest and the highest character, as text.
    pub fn in_words(&self) -> String {
        format!("{:?} to {:?} in {} reads", char::from(self.lowest), char::from(self.highest), self.num_reads)
    }
}

impl QualityEncoding {
    /// The encoding for a file whose first records have qualities in this range, and whether it was recognised from
    /// them.
    pub(crate) fn decide(self, first: &QualityRange) -> (Encoding, bool) {
        match self {
            Self::Auto => first.certain().map_or((Encoding::Phred33, false), |encoding| (encoding, true)),
            Self::Phred33 => (Encoding::Phred33, false),
            Self::Phred64 => (Encoding::Phred64, false),
            Self::Solexa => (Encoding::Solexa, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(reads: &[&[u8]], times: usize) -> QualityRange {
        let mut range = QualityRange::default();
        (0..times).for_each(|_| reads.iter().for_each(|read| range.add(read)));
        range
    }

    #[test]
    fn phred_64_is_told_by_its_range() {
        let illumina: &[u8] = b"hhhhgggffeeddccbbaa__^^]]\\\\ZZYXWVUTSRQPONMLKJIHGFEDCB";
        assert_eq!(range(&[illumina], 100).certain(), Some(Encoding::Phred64));
        // Too few to be certain.
        assert_eq!(range(&[illumina], 20).certain(), None);
        assert_eq!(range(&[illumina], 20).suspected(), Some(Encoding::Phred64));
        assert_eq!(range(&[illumina], 5).suspected(), None);
        assert_eq!(range(&[illumina, b"hhh;hhhhh"], 100).certain(), Some(Encoding::Solexa));
        let (encoding, is_told) = QualityEncoding::Auto.decide(&range(&[illumina], 100));
        assert_eq!((encoding, is_told), (Encoding::Phred64, true));
        assert_eq!(QualityEncoding::Phred33.decide(&range(&[illumina], 100)), (Encoding::Phred33, false));
    }

    #[test]
    fn phred_33_is_never_taken_for_it() {
        // Illumina 1.8, NovaSeq's four bins, only the highest bin of NextSeq, nanopore, HiFi, a constant placeholder.
        let reads: [&[u8]; 7] = [
            b"BCCFFFFFHHHHHJJJJJJJJJJJJ#",
            b"FFFFF,FFF:F#FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
            b"EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE",
            b"&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRS",
            b"~~~~~~~~~~~~~~~~~~yo~~~~~~~~~~~~~~~~~~~~~~~~",
            b"IIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII",
            b"KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK",
        ];
        for read in reads {
            assert_eq!(range(&[read], 1000).suspected(), None, "{:?}", String::from_utf8_lossy(read));
        }
    }

    #[test]
    fn numbers_are_looked_at_as_characters() {
        let mut range = QualityRange::default();
        (0..100).for_each(|_| range.add_raw(&[b'h' - 33; 40]));
        (0..100).for_each(|_| range.add_raw(&[b'@' - 33; 40]));
        assert_eq!(range.suspected(), Some(Encoding::Phred64));
        range.add_raw(&[2; 40]);
        assert_eq!(range.suspected(), None);
    }
}
