//! An index as bytes.
//!
//! ```text
//! "INVARIDX" | version u32 | length of the head u32 | head | CRC-32C of all this
//! head = rows u64, dimension u32, cells u32, depths u32, (k u32, probes u32, recall f64) of each, a note (UTF-8)
//! body = where cells begin u32[cells + 1] | rows in their order u32[n] | means f32[cells, dim] | values f32[n, dim]
//! ```
//! Everything is little-endian. Each 2^20 numbers of a part of the body, and its last ones, are followed by their
//! CRC-32C.

use std::io::{self, Read, Write};

use invar_dataset::{Fault, FaultClass};
use thiserror::Error;

use super::{Depth, Index};
use crate::Rows;

pub(super) const MAGIC: [u8; 8] = *b"INVARIDX";
/// A reader rejects any other version.
pub(super) const VERSION: u32 = 1;
/// Numbers between two checksums.
const BLOCK: usize = 1 << 20;
/// Bytes of the head before the depths, and per depth.
const FIXED: usize = 20;
const DEPTH: usize = 16;

/// The header of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Number of rows.
    pub num_rows: usize,
    /// Dimension of a row.
    pub dim: usize,
    /// Number of cells.
    pub num_cells: usize,
    /// How deep a search goes.
    pub depths: Vec<Depth>,
    /// A note by its writer: what it was built from.
    pub note: String,
    /// Bytes before the body.
    size_bytes: u64,
}

/// What can be wrong with a stored index.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The system failed to read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its content is not what it should be.
    #[error("{what}: expected {expected}, found {found}")]
    Damaged {
        /// What was checked.
        what: &'static str,
        /// The expected value.
        expected: String,
        /// The actual value.
        found: String,
    },
}

impl Fault for IndexError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io(error) => error.class(),
            Self::Damaged { .. } => FaultClass::BadInput,
        }
    }
}

impl Head {
    /// Whether bytes with this beginning are an index.
    pub fn is_of(start: &[u8]) -> bool {
        start.starts_with(&MAGIC)
    }

    /// Reads the head of an index of `size_bytes` bytes, and leaves `from` at the body.
    ///
    /// # Errors
    /// If it is damaged, of another version, or does not have the expected size.
    pub fn read(from: &mut impl Read, size_bytes: u64) -> Result<Self, IndexError> {
        let mut start = [0; 16];
        fill(from, &mut start)?;
        if !Self::is_of(&start) {
            let found = format!("{:?}", String::from_utf8_lossy(&start[..8]));
            return Err(damaged("first bytes", format!("{:?}", String::from_utf8_lossy(&MAGIC)), found));
        }
        let version = u32_at(&start, 8);
        if version != VERSION {
            return Err(damaged("version", VERSION, version));
        }
        let length = u32_at(&start, 12) as usize;
        if (length as u64) < FIXED as u64 || length as u64 > size_bytes {
            return Err(damaged("length of the head", format!("{FIXED} to {size_bytes}"), length));
        }
        let mut rest = vec![0; length + 4];
        fill(from, &mut rest)?;
        let (head, stored) = rest.split_at(length);
        let found = crc32c::crc32c(&[&start[..], head].concat());
        check("checksum of the head", u64::from(u32_at(stored, 0)), u64::from(found))?;
        let num_rows = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let (dim, num_cells) = (u32_at(head, 8) as usize, u32_at(head, 12) as usize);
        let num_depths = u32_at(head, 16) as usize;
        let of_depths = num_depths.checked_mul(DEPTH).filter(|&bytes| bytes <= length - FIXED);
        let Some(of_depths) = of_depths else { return Err(damaged("depths", (length - FIXED) / DEPTH, num_depths)) };
        let (depths, note) = head[FIXED..].split_at(of_depths);
        let depth = |bytes: &[u8]| Depth {
            k: u32_at(bytes, 0),
            probes: u32_at(bytes, 4),
            recall: f64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")),
        };
        let depths: Vec<Depth> = depths.chunks_exact(DEPTH).map(depth).collect();
        let is_good = |depth: &Depth| (1..=num_cells).contains(&(depth.probes as usize)) && depth.recall.is_finite();
        if let Some(bad) = depths.iter().find(|depth| !is_good(depth)) {
            return Err(damaged("depth", format!("1 to {num_cells} cells"), format!("{bad:?}")));
        }
        let note = String::from_utf8(note.to_vec()).map_err(|error| damaged("note", "UTF-8", error))?;
        let Ok(num_rows) = u32::try_from(num_rows) else { return Err(damaged("rows", u32::MAX, num_rows)) };
        if dim == 0 || num_cells == 0 {
            return Err(damaged("dimension and cells", "1 and more", format!("{dim} and {num_cells}")));
        }
        let size_of_head = (start.len() + rest.len()) as u64;
        let head = Self { num_rows: num_rows as usize, dim, num_cells, depths, note, size_bytes: size_of_head };
        check("size in bytes", head.whole_bytes(), size_bytes)?;
        Ok(head)
    }

    /// Number of means; a single cell has none.
    fn num_means(&self) -> u64 {
        if self.num_cells == 1 { 0 } else { self.num_cells as u64 * self.dim as u64 }
    }

    /// Size of the whole index; at most 2^65, saturating.
    fn whole_bytes(&self) -> u64 {
        let part = |numbers: u64| numbers.saturating_add(numbers.div_ceil(BLOCK as u64)).saturating_mul(4);
        let (n, cells) = (self.num_rows as u64, self.num_cells as u64);
        let parts = [cells + 1, n, self.num_means(), n * self.dim as u64];
        parts.into_iter().map(part).fold(self.size_bytes, u64::saturating_add)
    }
}

impl Index {
    /// Writes it, with a note of what it was built from.
    ///
    /// # Errors
    /// If writing to `to` fails.
    pub fn write(&self, note: &str, to: &mut impl Write) -> io::Result<()> {
        let mut head = Vec::new();
        head.extend((self.len() as u64).to_le_bytes());
        for number in [self.dim, self.num_cells(), self.depths.len()] {
            head.extend((number as u32).to_le_bytes());
        }
        for depth in &self.depths {
            head.extend(depth.k.to_le_bytes());
            head.extend(depth.probes.to_le_bytes());
            head.extend(depth.recall.to_le_bytes());
        }
        head.extend(note.as_bytes());
        let length = u32::try_from(head.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let start = [&MAGIC[..], &VERSION.to_le_bytes(), &length.to_le_bytes(), &head].concat();
        to.write_all(&start)?;
        to.write_all(&crc32c::crc32c(&start).to_le_bytes())?;
        write_numbers(to, &self.starts, |&number| number.to_le_bytes())?;
        write_numbers(to, &self.order, |&number| number.to_le_bytes())?;
        write_numbers(to, &self.means, |&number| number.to_le_bytes())?;
        write_numbers(to, &self.values, |&number| number.to_le_bytes())
    }

    /// Reads what [`Index::write`] wrote, `size_bytes` bytes, with the note.
    ///
    /// # Errors
    /// If it is damaged anywhere, or of another version.
    pub fn read(from: &mut impl Read, size_bytes: u64) -> Result<(Self, String), IndexError> {
        let head = Head::read(from, size_bytes)?;
        let (n, num_cells) = (head.num_rows, head.num_cells);
        // The head has been checked against the length of the file.
        let starts = read_numbers(from, num_cells + 1, u32::from_le_bytes)?;
        let order = read_numbers(from, n, u32::from_le_bytes)?;
        let means = read_numbers(from, head.num_means() as usize, f32::from_le_bytes)?;
        let values = read_numbers(from, n * head.dim, f32::from_le_bytes)?;
        if starts[0] != 0 || starts[num_cells] as usize != n || !starts.is_sorted() {
            return Err(damaged("beginnings of the cells", format!("0 to {n}, rising"), "others"));
        }
        let mut is_there = vec![false; n];
        for &row in &order {
            if is_there.get(row as usize) != Some(&false) {
                return Err(damaged(
                    "order of the rows",
                    format!("each of {n} once"),
                    format!("{row} again or beyond"),
                ));
            }
            is_there[row as usize] = true;
        }
        for numbers in [&means, &values] {
            Rows::new(numbers, head.dim).map_err(|error| damaged("values", "finite numbers", error))?;
        }
        let Head { dim, depths, note, .. } = head;
        Ok((Self { dim, values, order, starts, means, depths }, note))
    }
}

pub(super) fn write_numbers<T>(to: &mut impl Write, numbers: &[T], bytes: impl Fn(&T) -> [u8; 4]) -> io::Result<()> {
    let mut block = Vec::with_capacity(4 * BLOCK.min(numbers.len()));
    for numbers in numbers.chunks(BLOCK) {
        block.clear();
        numbers.iter().for_each(|number| block.extend(bytes(number)));
        to.write_all(&block)?;
        to.write_all(&crc32c::crc32c(&block).to_le_bytes())?;
    }
    Ok(())
}

fn read_numbers<T>(from: &mut impl Read, count: usize, number: impl Fn([u8; 4]) -> T) -> Result<Vec<T>, IndexError> {
    let mut numbers = Vec::with_capacity(count);
    let mut block = vec![0; 4 * BLOCK.min(count) + 4];
    while numbers.len() < count {
        let length = 4 * BLOCK.min(count - numbers.len());
        let block = &mut block[..length + 4];
        fill(from, block)?;
        let (bytes, stored) = block.split_at(length);
        check("checksum", u64::from(u32_at(stored, 0)), u64::from(crc32c::crc32c(bytes)))?;
        numbers.extend(bytes.chunks_exact(4).map(|bytes| number(bytes.try_into().expect("four bytes"))));
    }
    Ok(numbers)
}

/// A file that ends too early is damaged.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), IndexError> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("bytes", buffer.len(), "the end"),
        _ => IndexError::Io(error),
    })
}

fn check(what: &'static str, expected: u64, found: u64) -> Result<(), IndexError> {
    if expected == found { Ok(()) } else { Err(damaged(what, expected, found)) }
}

fn damaged(what: &'static str, expected: impl ToString, found: impl ToString) -> IndexError {
    IndexError::Damaged { what, expected: expected.to_string(), found: found.to_string() }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
