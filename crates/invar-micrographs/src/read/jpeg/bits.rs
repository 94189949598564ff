//! Bits and Huffman codes of coded data (T.81, F.2.2 and annex C).

/// Coefficients of 8-bit pixels have at most 10 bits.
pub(super) const MAX_AC_BITS: u32 = 10;

/// Why a block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The data end before the block does.
    End,
    /// Bits that are not a code of the table.
    Code,
    /// More coefficients than a block has.
    Coefficients,
    /// A number with more bits than a coefficient can have.
    Size,
    /// A mean brightness that no picture has.
    Range,
}

/// Number of bits used to look up a [`Step`].
const LOOK: u32 = 10;

/// What most codes of coefficients are: a number of zeros and a coefficient with its own bits, or the end of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Coefficient {
        zeros: u8,
        /// Of the code and of the coefficient.
        num_bits: u8,
    },
    EndOfBlock {
        num_bits: u8,
    },
    /// A code of another kind, or longer than what is looked up.
    Other,
}

/// The bits of a restart interval, most significant first; the zero after a byte of ones is skipped.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    next: usize,
    word: u64,
    num_bits: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, next: 0, word: 0, num_bits: 0 }
    }

    #[inline]
    fn fill(&mut self) {
        if let Some(&bytes) = self.data.get(self.next..).and_then(|rest| rest.first_chunk()) {
            let eight = u64::from_be_bytes(bytes);
            if !has_byte_of_ones(eight) {
                let room = (64 - self.num_bits) / 8 * 8;
                if room > 0 {
                    self.word |= eight >> (64 - room) << (64 - room - self.num_bits);
                    self.num_bits += room;
                    self.next += room as usize / 8;
                }
                return;
            }
        }
        while self.num_bits <= 48 {
            let Some(&byte) = self.data.get(self.next) else { return };
            self.next += if byte == 0xff { 2 } else { 1 };
            self.word |= u64::from(byte) << (56 - self.num_bits);
            self.num_bits += 8;
        }
    }

    /// The next `count` bits, at most 16.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Wrong> {
        if count == 0 {
            return Ok(0);
        }
        if self.num_bits < count {
            self.fill();
            if self.num_bits < count {
                return Err(Wrong::End);
            }
        }
        let bits = (self.word >> (64 - count)) as u32;
        self.skip(count);
        Ok(bits)
    }

    fn skip(&mut self, count: u32) {
        self.word <<= count;
        self.num_bits -= count;
    }

    /// Skips `count` bits.
    pub(super) fn pass(&mut self, mut count: u32) -> Result<(), Wrong> {
        while count > 16 {
            self.take(16)?;
            count -= 16;
        }
        self.take(count).map(|_| ())
    }

    /// Skips the most common kinds of code of a table of coefficients, or nothing for any other, or if the data end.
    #[inline]
    pub(super) fn step(&mut self, table: &Table) -> Step {
        if self.num_bits < 32 {
            self.fill();
        }
        let step = table.steps[(self.word >> (64 - LOOK)) as usize];
        match step {
            Step::Coefficient { num_bits, .. } | Step::EndOfBlock { num_bits }
                if u32::from(num_bits) <= self.num_bits =>
            {
                self.skip(num_bits.into());
                step
            }
            _ => Step::Other,
        }
    }

    /// The next symbol of a table.
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Wrong> {
        if self.num_bits < 16 {
            self.fill();
        }
        let code = (self.word >> 48) as u16;
        let (len, symbol) = table.find(code).ok_or(if self.num_bits < 16 { Wrong::End } else { Wrong::Code })?;
        if len > self.num_bits {
            return Err(Wrong::End);
        }
        self.skip(len);
        Ok(symbol)
    }

    /// Number of bytes left, without padding: less than a byte, zeros and ones.
    pub(super) fn num_left(&self) -> usize {
        let whole_bytes = self.num_bits / 8;
        let buffered = (0..whole_bytes).map(|index| (self.word << (self.num_bits % 8 + 8 * index) >> 56) as u8);
        let rest = self.data.get(self.next..).unwrap_or_default();
        let is_filling = |byte: u8| matches!(byte, 0 | 0xff);
        match buffered.clone().chain(rest.iter().copied()).all(is_filling) {
            true => 0,
            false => buffered.count() + rest.len(),
        }
    }
}

/// Whether one of eight bytes is 255.
fn has_byte_of_ones(eight: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // A byte that borrows without its highest bit set is 0: in the complement, so 255 originally.
    (!eight).wrapping_sub(ONES) & eight & (ONES << 7) != 0
}

/// A Huffman table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// By the first 8 bits: length and symbol of a code of at most that length, or 0.
    short: Vec<(u8, u8)>,
    /// By length, from 1: one past the last code of that length, left-aligned to 16 bits, and what must be added to a
    /// code to find its symbol.
    long: [(u32, i32); 16],
    symbols: Vec<u8>,
    /// By the first [`LOOK`] bits, for a table of coefficients.
    steps: Vec<Step>,
}

impl Table {
    /// Built from the numbers of codes of each length and their symbols; `None` if they are not a valid table.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table =
            Self { short: vec![(0, 0); 256], long: [(0, 0); 16], symbols: symbols.to_vec(), steps: Vec::new() };
        let (mut code, mut first) = (0u32, 0i32);
        for (index, &count) in counts.iter().enumerate() {
            let len = index as u32 + 1;
            let count = u32::from(count);
            if code + count > 1 << len {
                return None;
            }
            if len <= 8 {
                for number in 0..count {
                    let symbol = *symbols.get(first as usize + number as usize)?;
                    let start = (code + number) << (8 - len);
                    table.short[start as usize..(start + (1 << (8 - len))) as usize].fill((len as u8, symbol));
                }
            }
            table.long[index] = ((code + count) << (16 - len), first - code as i32);
            first += count as i32;
            code = (code + count) << 1;
        }
        if first as usize > symbols.len() {
            return None;
        }
        table.steps = (0..1 << LOOK).map(|bits: u16| table.step(bits << (16 - LOOK))).collect();
        Some(table)
    }

    fn step(&self, bits: u16) -> Step {
        match self.find(bits) {
            Some((len, 0)) if len <= LOOK => Step::EndOfBlock { num_bits: len as u8 },
            Some((len, symbol)) if len <= LOOK && (1..=MAX_AC_BITS).contains(&u32::from(symbol & 15)) => {
                Step::Coefficient { zeros: symbol >> 4, num_bits: len as u8 + (symbol & 15) }
            }
            _ => Step::Other,
        }
    }

    /// Length and symbol of the code that 16 bits begin with.
    fn find(&self, bits: u16) -> Option<(u32, u8)> {
        let (len, symbol) = self.short[usize::from(bits >> 8)];
        if len > 0 {
            return Some((len.into(), symbol));
        }
        let len = (9..=16u32).find(|&len| u32::from(bits) < self.long[len as usize - 1].0)?;
        let code = i32::from(bits >> (16 - len));
        let symbol = self.symbols.get(usize::try_from(code + self.long[len as usize - 1].1).ok()?)?;
        Some((len, *symbol))
    }
}
