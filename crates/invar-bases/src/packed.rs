//! Sequences at two bits per base.
//!
//! ```text
//! code      A=0  C=1  G=2  T=3                     the complement of a code is 3 - code
//! byte i/4  base i sits in bits 2*(i%4) and up     ACGT = 0b11_10_01_00 = 0xe4
//! N runs    (start, len), sorted, disjoint         a base that is not known is stored as 0 and listed here
//! ```
//!
//! Lower case counts as upper case and U as T. The other IUPAC letters (`RYSWKMBDHVN`; Cornish-Bowden 1985) do not name
//! a single base and count as N. Unused high bits of the last byte are 0, so that equal sequences have equal bytes.
//!
//! ```
//! use invar_bases::packed::PackedSequence;
//! let sequence = PackedSequence::from_ascii(b"acgtNRu").unwrap();
//! assert_eq!(sequence.as_slice().to_ascii(), b"ACGTNNT");
//! assert_eq!(sequence.as_slice().reverse_complement().as_slice().to_ascii(), b"ANNACGT");
//! ```

use std::ops::Range;

use thiserror::Error;

/// The code of an unknown base, in vectors of codes: A, C, G and T are 0 to 3.
pub const CODE_N: u8 = 4;

/// Number of different codes, [`CODE_N`] included.
pub const NUM_CODES: usize = 5;

/// What a sequence cannot hold, or a stored one must not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PackedError {
    /// A byte that is not an IUPAC nucleotide letter.
    #[error("base {}: byte {byte:#04x} ({:?}) is not a nucleotide letter", .position + 1, char::from(*byte))]
    BadBase {
        /// Its position, 0-based in the sequence (the message counts from 1).
        position: usize,
        /// The byte.
        byte: u8,
    },
    /// Positions are 32-bit.
    #[error("sequence of {num_bases} bases is longer than {max} bases", max = u32::MAX)]
    TooLong {
        /// Its length.
        num_bases: usize,
    },
    /// A stored sequence whose bytes do not fit its length.
    #[error("{num_bases} bases need {expected} bytes, found {found}")]
    WrongSize {
        /// Stored number of bases.
        num_bases: usize,
        /// Bytes needed for that many bases.
        expected: usize,
        /// Actual number of bytes.
        found: usize,
    },
    /// A stored run of N that is empty, overlaps the previous one or exceeds the sequence.
    #[error("run of N number {index} ({start}, {len}) does not fit between base {previous_end} and {num_bases}")]
    BadRun {
        /// Which run, 0-based.
        index: usize,
        /// Its first base, 0-based.
        start: u32,
        /// Its length.
        len: u32,
        /// Where the previous run ends.
        previous_end: u32,
        /// Length of the sequence.
        num_bases: usize,
    },
}

/// A run of unknown bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NRun {
    /// First base, 0-based.
    pub start: u32,
    /// Number of bases, at least 1.
    pub len: u32,
}

impl NRun {
    /// The base after the last one. Saturates, so that a damaged run stays comparable.
    pub fn end(self) -> u32 {
        self.start.saturating_add(self.len)
    }

    /// Reads runs in place from the bytes of a little-endian file: `start` and `len`, 4 bytes each. `None` if the bytes
    /// are not aligned to 4, are not a whole number of runs, or the machine is big-endian.
    pub fn slice_from_bytes(bytes: &[u8]) -> Option<&[Self]> {
        // SAFETY: every bit pattern is a valid pair of u32, and the type has no padding.
        let (head, runs, tail) = unsafe { bytes.align_to::<Self>() };
        (cfg!(target_endian = "little") && head.is_empty() && tail.is_empty()).then_some(runs)
    }
}

/// Number of bytes for `num_bases` bases.
pub const fn packed_len(num_bases: usize) -> usize {
    num_bases.div_ceil(4)
}

/// Packs letters at the end of `bytes` (whole bytes: `packed_len(letters.len())` of them) and appends the runs of N,
/// whose positions count from the first of `letters`.
///
/// # Errors
/// [`PackedError::BadBase`] or [`PackedError::TooLong`]; both vectors are then unchanged.
pub fn pack_into(letters: &[u8], bytes: &mut Vec<u8>, n_runs: &mut Vec<NRun>) -> Result<(), PackedError> {
    append(letters, bytes, n_runs, pack_block, |letter| match LETTER_CODES[usize::from(letter)] {
        INVALID => None,
        code => Some(code),
    })
}

/// As [`pack_into`], from codes (0 to 3, and 4 for N) instead of letters.
///
/// # Errors
/// As [`pack_into`]; a code above 4 is a [`PackedError::BadBase`].
pub fn pack_codes_into(codes: &[u8], bytes: &mut Vec<u8>, n_runs: &mut Vec<NRun>) -> Result<(), PackedError> {
    append(codes, bytes, n_runs, pack_code_block, |code| (code <= CODE_N).then_some(code))
}

/// A validated sequence in borrowed memory (a memory-mapped shard).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedSlice<'a> {
    bytes: &'a [u8],
    num_bases: usize,
    n_runs: &'a [NRun],
}

impl<'a> PackedSlice<'a> {
    /// Interprets stored bytes as a sequence.
    ///
    /// # Errors
    /// If they do not match its length, or the runs are not sorted, disjoint and inside it.
    pub fn new(bytes: &'a [u8], num_bases: usize, n_runs: &'a [NRun]) -> Result<Self, PackedError> {
        let expected = packed_len(num_bases);
        if bytes.len() != expected {
            return Err(PackedError::WrongSize { num_bases, expected, found: bytes.len() });
        }
        if u32::try_from(num_bases).is_err() {
            return Err(PackedError::TooLong { num_bases });
        }
        let mut previous_end = 0;
        for (index, &NRun { start, len }) in n_runs.iter().enumerate() {
            match start.checked_add(len) {
                Some(end) if len > 0 && start >= previous_end && end as usize <= num_bases => previous_end = end,
                _ => return Err(PackedError::BadRun { index, start, len, previous_end, num_bases }),
            }
        }
        Ok(Self { bytes, num_bases, n_runs })
    }

    /// Number of bases.
    pub fn len(self) -> usize {
        self.num_bases
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.num_bases == 0
    }

    /// The packed bases, 4 per byte.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The runs of unknown bases.
    pub fn n_runs(self) -> &'a [NRun] {
        self.n_runs
    }

    /// Number of unknown bases.
    pub fn num_n(self) -> usize {
        self.n_runs.iter().map(|run| run.len as usize).sum()
    }

    /// The runs of N that overlap `range`, clipped to it, as ranges of positions in the sequence.
    pub fn n_runs_in(self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> + 'a {
        let first = self.n_runs.partition_point(|run| run.end() as usize <= range.start);
        self.n_runs[first..]
            .iter()
            .map(move |run| (run.start as usize).max(range.start)..(run.end() as usize).min(range.end))
            .take_while(|cut| cut.start < cut.end)
    }

    /// Replaces `codes` by the codes of the bases in `range`: 0 to 3, and [`CODE_N`].
    ///
    /// # Panics
    /// If `range` exceeds the sequence.
    pub fn unpack_codes(self, range: Range<usize>, codes: &mut Vec<u8>) {
        assert!(range.start <= range.end && range.end <= self.num_bases, "{range:?} of {} bases", self.num_bases);
        codes.clear();
        codes.resize(range.len(), 0);
        unpack_bases(self.bytes, range.start, codes);
        for run in self.n_runs_in(range.clone()) {
            codes[run.start - range.start..run.end - range.start].fill(CODE_N);
        }
    }

    /// All codes.
    pub fn to_codes(self) -> Vec<u8> {
        let mut codes = Vec::new();
        self.unpack_codes(0..self.num_bases, &mut codes);
        codes
    }

    /// The sequence as upper-case letters.
    pub fn to_ascii(self) -> Vec<u8> {
        let mut letters = self.to_codes();
        codes_to_ascii(&mut letters);
        letters
    }

    /// The other strand, read from its own 5' end.
    pub fn reverse_complement(self) -> PackedSequence {
        let mut codes = self.to_codes();
        reverse_complement_codes(&mut codes);
        PackedSequence::from_codes(&codes).expect("codes of a sequence make a sequence")
    }

    /// An owned copy.
    pub fn to_owned(self) -> PackedSequence {
        PackedSequence { bytes: self.bytes.into(), num_bases: self.num_bases, n_runs: self.n_runs.into() }
    }
}

/// An owned sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedSequence {
    bytes: Vec<u8>,
    num_bases: usize,
    n_runs: Vec<NRun>,
}

impl PackedSequence {
    /// Packs letters.
    ///
    /// # Errors
    /// If one is not a nucleotide letter, or there are more than 2^32 - 1.
    pub fn from_ascii(letters: &[u8]) -> Result<Self, PackedError> {
        let mut sequence = Self { num_bases: letters.len(), ..Self::default() };
        pack_into(letters, &mut sequence.bytes, &mut sequence.n_runs)?;
        Ok(sequence)
    }

    /// Packs codes (0 to 4).
    ///
    /// # Errors
    /// If one is above 4, or there are more than 2^32 - 1.
    pub fn from_codes(codes: &[u8]) -> Result<Self, PackedError> {
        let mut sequence = Self { num_bases: codes.len(), ..Self::default() };
        pack_codes_into(codes, &mut sequence.bytes, &mut sequence.n_runs)?;
        Ok(sequence)
    }

    /// The sequence, borrowed.
    pub fn as_slice(&self) -> PackedSlice<'_> {
        PackedSlice { bytes: &self.bytes, num_bases: self.num_bases, n_runs: &self.n_runs }
    }

    /// Number of bases.
    pub fn len(&self) -> usize {
        self.num_bases
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.num_bases == 0
    }
}

/// Turns codes into upper-case letters, in place.
///
/// # Panics
/// If a code is above 4.
pub fn codes_to_ascii(codes: &mut [u8]) {
    for code in codes {
        *code = b"ACGTN"[usize::from(*code)];
    }
}

/// Reverse-complements a vector of codes, in place. N stays N.
pub fn reverse_complement_codes(codes: &mut [u8]) {
    codes.reverse();
    for code in codes {
        // 3 - code for the four bases, without a branch.
        *code ^= u8::from(*code < CODE_N) * 3;
    }
}

const INVALID: u8 = 0xff;

const LETTER_CODES: [u8; 256] = letter_codes();

const fn letter_codes() -> [u8; 256] {
    let letters = b"ACGTURYSWKMBDHVN";
    let mut codes = [INVALID; 256];
    let mut i = 0;
    while i < letters.len() {
        let code = match i {
            0..4 => i as u8,
            4 => 3,
            _ => CODE_N,
        };
        codes[letters[i] as usize] = code;
        codes[letters[i].to_ascii_lowercase() as usize] = code;
        i += 1;
    }
    codes
}

/// Symbols per block of the fast path.
const BLOCK: usize = 32;

/// The loop of both packers: whole blocks of plain bases through `fast`, the rest symbol by symbol.
#[inline(always)]
fn append(
    symbols: &[u8],
    bytes: &mut Vec<u8>,
    n_runs: &mut Vec<NRun>,
    fast: impl Fn(&[u8; BLOCK]) -> Option<[u8; BLOCK / 4]>,
    code_of: impl Fn(u8) -> Option<u8>,
) -> Result<(), PackedError> {
    if u32::try_from(symbols.len()).is_err() {
        return Err(PackedError::TooLong { num_bases: symbols.len() });
    }
    let (first_byte, first_run) = (bytes.len(), n_runs.len());
    bytes.resize(first_byte + packed_len(symbols.len()), 0);
    let outputs = bytes[first_byte..].chunks_mut(BLOCK / 4);
    for (number, (block, output)) in symbols.chunks(BLOCK).zip(outputs).enumerate() {
        if let Ok(whole) = block.try_into()
            && let Some(packed) = fast(whole)
        {
            output.copy_from_slice(&packed);
            continue;
        }
        if let Err(error) = pack_slowly(block, number * BLOCK, output, n_runs, first_run, &code_of) {
            bytes.truncate(first_byte);
            n_runs.truncate(first_run);
            return Err(error);
        }
    }
    Ok(())
}

fn pack_slowly(
    block: &[u8],
    start: usize,
    output: &mut [u8],
    n_runs: &mut Vec<NRun>,
    first_run: usize,
    code_of: impl Fn(u8) -> Option<u8>,
) -> Result<(), PackedError> {
    for (i, &symbol) in block.iter().enumerate() {
        let position = start + i;
        match code_of(symbol) {
            None => return Err(PackedError::BadBase { position, byte: symbol }),
            Some(CODE_N) => match n_runs[first_run..].last_mut() {
                Some(run) if run.end() as usize == position => run.len += 1,
                _ => n_runs.push(NRun { start: position as u32, len: 1 }),
            },
            Some(code) => output[i / 4] |= code << (2 * (i % 4)),
        }
    }
    Ok(())
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Packs 32 letters that are all of `ACGTUacgtu`, otherwise returns `None`. Bits of the letters, case removed: A
/// 0100_0001, C 0100_0011, G 0100_0111, T 0101_0100, U 0101_0101. Bits 1 and 2 distinguish the four and determine what
/// the others must be, so eight letters are checked and coded at a time without a table.
#[inline(always)]
fn pack_block(block: &[u8; BLOCK]) -> Option<[u8; BLOCK / 4]> {
    let mut wrong = 0;
    let mut codes = [0; BLOCK / 8];
    for (code, letters) in codes.iter_mut().zip(block.as_chunks::<8>().0) {
        let letters = u64::from_le_bytes(*letters) & (0xdf * ONES);
        let is_t = (letters >> 2) & !(letters >> 1) & ONES;
        let expected = ((letters & (0x06 * ONES)) | (0x41 * ONES)) ^ (is_t | (is_t << 4));
        // Bit 0 is free in T: it makes the letter U.
        wrong |= (letters ^ expected) & !is_t;
        let bits = (letters >> 1) & (0x03 * ONES); // A 0, C 1, T 2, G 3
        *code = bits ^ ((bits >> 1) & ONES);
    }
    (wrong == 0).then(|| squeeze(codes))
}

/// Packs 32 codes that are all below 4, otherwise returns `None`.
#[inline(always)]
fn pack_code_block(block: &[u8; BLOCK]) -> Option<[u8; BLOCK / 4]> {
    let mut codes = [0; BLOCK / 8];
    let mut all = 0;
    for (code, symbols) in codes.iter_mut().zip(block.as_chunks::<8>().0) {
        *code = u64::from_le_bytes(*symbols);
        all |= *code;
    }
    (all & (0xfc * ONES) == 0).then(|| squeeze(codes))
}

/// Moves the two low bits of every byte together.
#[inline(always)]
fn squeeze(codes: [u64; BLOCK / 8]) -> [u8; BLOCK / 4] {
    let mut packed = [0; BLOCK / 4];
    for (output, code) in packed.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
        let pairs = (code | (code >> 6)) & 0x000f_000f_000f_000f;
        let fours = (pairs | (pairs >> 12)) & 0x0000_00ff_0000_00ff;
        *output = ((fours | (fours >> 24)) as u16).to_le_bytes();
    }
    packed
}

/// Writes the two-bit codes of `codes.len()` bases from base `start` on, ignoring runs of N.
fn unpack_bases(bytes: &[u8], start: usize, codes: &mut [u8]) {
    let code_at = |position: usize| (bytes[position / 4] >> (2 * (position % 4))) & 3;
    let head = (start.next_multiple_of(4) - start).min(codes.len());
    let (first, aligned) = codes.split_at_mut(head);
    for (i, code) in first.iter_mut().enumerate() {
        *code = code_at(start + i);
    }
    let (eights, tail) = aligned.as_chunks_mut::<8>();
    let (pairs, _) = bytes[(start + head) / 4..].as_chunks::<2>();
    for (output, pair) in eights.iter_mut().zip(pairs) {
        // The inverse of `squeeze`.
        let fours = u64::from(u16::from_le_bytes(*pair));
        let pairs = (fours | (fours << 24)) & 0x0000_00ff_0000_00ff;
        let singles = (pairs | (pairs << 12)) & 0x000f_000f_000f_000f;
        *output = ((singles | (singles << 6)) & (0x03 * ONES)).to_le_bytes();
    }
    let tail_start = start + head + 8 * eights.len();
    for (i, code) in tail.iter_mut().enumerate() {
        *code = code_at(tail_start + i);
    }
}

#[cfg(test)]
mod tests;
