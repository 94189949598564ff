//! The containers of a CRAM file (specification 3, sections 7 and 8), cut out for the decoder.
//!
//! Two things are handled here in which the decoder differs from samtools. An end-of-file container may occur anywhere,
//! as left by `samtools cat` and `reheader`; only the last container must be one. And the checksum of the reference in
//! a slice covers the bases that the reference has, even if a read extends past its end.

use std::io::{self, Read};

use flate2::Crc;

/// A complete container.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// Its header and its blocks.
    pub bytes: Vec<u8>,
    header_bytes: usize,
    /// Offsets of its slices, after the header.
    landmarks: Vec<usize>,
    /// Whether it is the end-of-file container.
    pub marks_end: bool,
}

/// A slice's description of the reference that it was written against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SliceReference {
    /// Index of the sequence in the header.
    pub number: usize,
    /// First base, 1-based, and number of bases, possibly past the end of the sequence.
    pub start: usize,
    pub span: usize,
    /// MD5 of these bases; `None` if there is nothing to compare with.
    pub md5: Option<[u8; 16]>,
    /// The block that holds the bases, if the file carries them.
    pub embedded: Option<i32>,
}

/// Reads the next container; `None` at the end of the file.
///
/// # Errors
/// If it is truncated, or cannot be read.
pub(super) fn read(stored: &mut impl Read) -> io::Result<Option<Container>> {
    let mut bytes = Vec::with_capacity(64);
    if stored.take(4).read_to_end(&mut bytes)? == 0 {
        return Ok(None);
    }
    let length: [u8; 4] = bytes[..].try_into().map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let length = u32::try_from(i32::from_le_bytes(length)).map_err(|_| invalid("a container of negative length"))?;
    let mut header = Recorded { stored, bytes };
    let [reference, start, _span] = [header.itf8()?, header.itf8()?, header.itf8()?];
    let num_records = header.itf8()?;
    header.ltf8()?;
    header.ltf8()?;
    let num_blocks = header.itf8()?;
    let num_slices = usize::try_from(header.itf8()?).map_err(|_| invalid("a negative number of slices"))?;
    let mut landmarks = Vec::new();
    for _ in 0..num_slices {
        landmarks.push(usize::try_from(header.itf8()?).map_err(|_| invalid("a slice before its container"))?);
    }
    // The CRC, which the decoder checks.
    header.take(4)?;
    let mut bytes = header.bytes;
    let header_bytes = bytes.len();
    if stored.take(u64::from(length)).read_to_end(&mut bytes)? < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Section 9: an empty container of unmapped reads at a position that spells EOF.
    let marks_end = num_records == 0 && num_blocks <= 1 && (reference, start) == (-1, 0x45_4f46);
    Ok(Some(Container { bytes, header_bytes, landmarks, marks_end }))
}

impl Container {
    /// Whether it contains nothing to decode.
    pub fn is_empty(&self) -> bool {
        self.marks_end || self.bytes.len() == self.header_bytes || self.landmarks.is_empty()
    }

    /// The reference of each slice; `None` for slices without one, of several sequences, and those that cannot be
    /// parsed, which are left to the decoder. Checksums are removed from the bytes: they are checked elsewhere.
    pub fn take_references(&mut self) -> Vec<Option<SliceReference>> {
        let starts: Vec<_> = self.landmarks.iter().map(|&landmark| self.header_bytes + landmark).collect();
        starts.into_iter().map(|start| take_reference(self.bytes.get_mut(start..)?)).collect()
    }

    /// Whether its records need the reference (`RR`, section 8.4): `false` if all bases are in the file.
    pub fn needs_reference(&self) -> bool {
        preservation(&self.bytes[self.header_bytes..]).unwrap_or(true)
    }
}

/// A block's header and the location of its data: method, size of the header, size of the data.
fn block(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let mut fields = Fields { bytes, position: 2 };
    fields.itf8()?;
    let size = usize::try_from(fields.itf8()?).ok()?;
    fields.itf8()?;
    Some((*bytes.first()?, fields.position, size))
}

fn take_reference(slice: &mut [u8]) -> Option<SliceReference> {
    let (method, header, size) = block(slice)?;
    if method != 0 {
        return None;
    }
    let end = header.checked_add(size)?;
    let mut fields = Fields { bytes: slice.get(..end)?, position: header };
    let number = usize::try_from(fields.itf8()?).ok()?;
    let start = usize::try_from(fields.itf8()?).ok()?;
    let span = usize::try_from(fields.itf8()?).ok()?;
    fields.itf8()?;
    fields.ltf8()?;
    fields.itf8()?;
    for _ in 0..fields.itf8()? {
        fields.itf8()?;
    }
    let embedded = Some(fields.itf8()?).filter(|&block| block >= 0);
    let at = fields.position;
    let md5: [u8; 16] = fields.bytes.get(at..at + 16)?.try_into().ok()?;
    slice[at..at + 16].fill(0);
    let mut crc = Crc::new();
    crc.update(&slice[..end]);
    slice.get_mut(end..end + 4)?.copy_from_slice(&crc.sum().to_le_bytes());
    let md5 = Some(md5).filter(|md5| md5 != &[0; 16]);
    Some(SliceReference { number, start, span, md5, embedded })
}

/// The entry `RR` of the preservation map in a compression header; `None` if it is compressed or lacks the entry.
fn preservation(header: &[u8]) -> Option<bool> {
    let (method, start, size) = block(header)?;
    if method != 0 {
        return None;
    }
    let mut fields = Fields { bytes: header.get(..start + size)?, position: start };
    fields.itf8()?;
    for _ in 0..fields.itf8()? {
        let key = fields.take(2)?;
        match key {
            b"RR" => return Some(fields.take(1)? != [0]),
            b"RN" | b"AP" => drop(fields.take(1)?),
            b"SM" => drop(fields.take(5)?),
            // Its size comes first.
            _ => {
                let size = usize::try_from(fields.itf8()?).ok()?;
                fields.take(size)?;
            }
        }
    }
    None
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Bytes that are read field by field.
struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.position..self.position.checked_add(len)?)?;
        self.position += len;
        Some(taken)
    }

    fn itf8(&mut self) -> Option<i32> {
        itf8(|| Some(self.take(1)?[0]))
    }

    fn ltf8(&mut self) -> Option<()> {
        let more = self.take(1)?[0].leading_ones() as usize;
        self.take(more).map(|_| ())
    }
}

/// A stream that records everything that is read.
struct Recorded<'a, R> {
    stored: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: Read> Recorded<'_, R> {
    fn take(&mut self, len: usize) -> io::Result<()> {
        let before = self.bytes.len();
        self.bytes.resize(before + len, 0);
        self.stored.read_exact(&mut self.bytes[before..])
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.take(1)?;
        Ok(self.bytes[self.bytes.len() - 1])
    }

    fn itf8(&mut self) -> io::Result<i32> {
        let mut failure = None;
        let value = itf8(|| self.byte().map_err(|error| failure = Some(error)).ok());
        value.ok_or_else(|| failure.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    fn ltf8(&mut self) -> io::Result<()> {
        let more = self.byte()?.leading_ones() as usize;
        self.take(more)
    }
}

/// A 32-bit number (section 2.3): the leading ones of the first byte tell how many more bytes there are.
fn itf8(mut byte: impl FnMut() -> Option<u8>) -> Option<i32> {
    let first = byte()?;
    let more = first.leading_ones().min(4);
    // In a number of five bytes, the first and the last contribute four bits.
    let mut value = u32::from(first) & if more == 4 { 15 } else { 0x7f >> more };
    for number in 1..=more {
        let next = u32::from(byte()?);
        value = if number == 4 { value << 4 | next & 15 } else { value << 8 | next };
    }
    Some(value.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_specification() {
        let of = |bytes: &[u8]| {
            let mut fields = Fields { bytes, position: 0 };
            (fields.itf8(), fields.position)
        };
        assert_eq!(of(&[0x7f]), (Some(0x7f), 1));
        assert_eq!(of(&[0x80, 0x80]), (Some(0x80), 2));
        assert_eq!(of(&[0xe0, 0x45, 0x4f, 0x46]), (Some(0x45_4f46), 4));
        // -1 and -2, from the end-of-file container and from slices of several sequences.
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0x0f]), (Some(-1), 5));
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0x0e]), (Some(-2), 5));
        assert_eq!(of(&[0xe0, 0x45]).0, None);
    }

    /// Section 9.
    const END: [u8; 38] = [
        0x0f, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xe0, 0x45, 0x4f, 0x46, 0, 0, 0, 0, 1, 0, 0x05, 0xbd, 0xd9, 0x4f,
        0, 1, 0, 6, 6, 1, 0, 1, 0, 1, 0, 0xee, 0x63, 0x01, 0x4b,
    ];

    #[test]
    fn the_end_is_told_and_what_is_cut_off_is_an_error() {
        let container = read(&mut &END[..]).unwrap().unwrap();
        assert!(container.marks_end && container.is_empty());
        assert_eq!(container.bytes, END);
        assert!(read(&mut &[][..]).unwrap().is_none());
        for len in 1..END.len() {
            let error = read(&mut &END[..len]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
    }
}
