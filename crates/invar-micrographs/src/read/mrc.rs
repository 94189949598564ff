//! MRC2014 and its predecessors: a header of 1024 bytes, an extended header, then slices.
//! <https://www.ccpem.ac.uk/mrc-format/mrc2014/>

use crate::{
    Error, Note, Orientation, PageInfo, PixelSize, PixelSizeSource, SampleType,
    read::{
        ByteSource, Format, Opened, Pixels,
        raw::{Pixel, Plane},
        samples::Stored,
        units::NM_PER_ANGSTROM,
    },
};

const HEADER_BYTES: u64 = 1024;
const IMOD_STAMP: i32 = 1_146_047_817;
const AXES: [char; 3] = ['x', 'y', 'z'];

/// The slices of a stack, from the first.
pub(crate) fn open(source: &ByteSource) -> Result<Opened, Error> {
    let mut head = [0; HEADER_BYTES as usize];
    source.read_at(0, &mut head, "the MRC header")?;
    let header = Header { head: &head, big_endian: is_big_endian(&head) };
    let size = |index: usize, what: &str| match header.int(index) {
        size @ 1.. => Ok(size as u32),
        other => Err(source.corrupt(what, "at least 1", other)),
    };
    let (width, height, num_slices) = (size(0, "NX")?, size(1, "NY")?, size(2, "NZ")?);
    let mut notes = Vec::new();
    let stored = stored(source, &header, &mut notes)?;
    let [columns, rows] = header.axes();
    if [columns, rows] != [0, 1] {
        notes.push(Note::Axes { columns: AXES[columns], rows: AXES[rows] });
    }
    let extended = header.int(23);
    let extended = u64::try_from(extended).map_err(|_| source.corrupt("NSYMBT", "at least 0", extended))?;
    let page = PageInfo {
        name: None,
        width,
        height,
        channels: 1,
        sample_type: stored.sample_type(),
        pixel_size: header.pixel_size(),
        is_lossy: false,
        orientation: Orientation::UPRIGHT,
        notes,
    };
    let first = HEADER_BYTES + extended;
    let plane = Plane { offset: first, stored, big_endian: header.big_endian, pixel: Pixel::Channels };
    let slice_bytes = u128::from(plane.row_bytes(&page)) * u128::from(height);
    let end = u128::from(first) + slice_bytes * u128::from(num_slices);
    if end > u128::from(source.len()) {
        let what = format!("{num_slices} slices of {width} x {height} pixels");
        source.check_range(first, u64::try_from(end - u128::from(first)).unwrap_or(u64::MAX), &what)?;
    }
    let at = |slice: u32| Plane { offset: first + u64::from(slice) * slice_bytes as u64, ..plane };
    let planes = (0..num_slices).map(at).collect();
    Ok(Opened::new(Format::Mrc, vec![page; num_slices as usize], Pixels::Raw(planes)))
}

fn stored(source: &ByteSource, header: &Header<'_>, notes: &mut Vec<Note>) -> Result<Stored, Error> {
    let (min, max) = (header.float(19), header.float(20));
    Ok(match header.int(3) {
        // IMOD wrote unsigned bytes in mode 0 before the standard defined them as signed, and indicates that in a flag.
        0 if header.is_of_imod() && header.int(39) & 1 == 0 => Stored::As(SampleType::U8),
        // So did other old programs, and only the range of the values shows it (as in ITK and Bio-Formats).
        0 if !header.is_of_imod() && min >= 0.0 && max > f64::from(i8::MAX) && max <= f64::from(u8::MAX) => {
            notes.push(Note::UnsignedBytes { min, max });
            Stored::As(SampleType::U8)
        }
        0 => Stored::As(SampleType::I8),
        1 => Stored::As(SampleType::I16),
        2 => Stored::As(SampleType::F32),
        6 => Stored::As(SampleType::U16),
        12 => Stored::F16,
        3 | 4 => return Err(source.unsupported("complex numbers (a transform)", "save the magnitude")),
        101 => return Err(source.unsupported("packed 4-bit numbers (mode 101)", "convert it to mode 1 or 2")),
        16 => return Err(source.unsupported("RGB (mode 16)", "convert it to TIFF")),
        other => return Err(source.corrupt("MODE", "0, 1, 2, 6 or 12", other)),
    })
}

/// By the machine stamp, or if it is invalid, by which order gives a valid mode.
fn is_big_endian(head: &[u8]) -> bool {
    match head[212..214] {
        [0x11, 0x11] => true,
        [0x44, 0x44] | [0x44, 0x41] => false,
        _ => {
            let mode = Header { head, big_endian: false }.int(3);
            !(0..=101).contains(&mode)
        }
    }
}

struct Header<'a> {
    head: &'a [u8],
    big_endian: bool,
}

impl Header<'_> {
    /// A word, counted from 0.
    fn int(&self, index: usize) -> i32 {
        let bytes = [0, 1, 2, 3].map(|i| self.head[4 * index + i]);
        if self.big_endian { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) }
    }

    fn float(&self, index: usize) -> f64 {
        f64::from(f32::from_bits(self.int(index) as u32))
    }

    /// Whether IMOD wrote the header, and so its flags.
    fn is_of_imod(&self) -> bool {
        self.int(38) == IMOD_STAMP
    }

    /// Which axes run along columns and rows (MAPC, MAPR): 0 for x, 1 for y, 2 for z. Old programs left them out.
    fn axes(&self) -> [usize; 2] {
        let mut sorted = [self.int(16), self.int(17), self.int(18)];
        sorted.sort_unstable();
        if sorted == [1, 2, 3] { [self.int(16) as usize - 1, self.int(17) as usize - 1] } else { [0, 1] }
    }

    /// The cell over its sampling, for the axes that columns and rows run along; programs that do not know it write 0
    /// or a negative cell.
    fn pixel_size(&self) -> Option<PixelSize> {
        let [x_nm, y_nm] =
            self.axes().map(|axis| self.float(10 + axis) / f64::from(self.int(7 + axis)) * NM_PER_ANGSTROM);
        PixelSize::new(x_nm, y_nm, PixelSizeSource::Mrc)
    }
}
