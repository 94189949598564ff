//! Recognises a file by its first bytes.

use crate::{
    Error,
    read::{ByteSource, Format},
};

/// Recognises the format.
///
/// # Errors
/// `NotAnImage`, naming what the file looks like.
pub(crate) fn format(source: &ByteSource) -> Result<Format, Error> {
    let head = source.head(1024)?;
    let found = match head.as_slice() {
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => return Ok(Format::Tiff),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => return Ok(Format::Png),
        [0xff, 0xd8, 0xff, ..] => return Ok(Format::Jpeg),
        [0, 0, 0, 3, _, _, _, _, 0, 0, 0, 0 | 1, ..] => return Ok(Format::Dm3),
        [0, 0, 0, 4, _, _, _, _, _, _, _, _, 0, 0, 0, 0 | 1, ..] => return Ok(Format::Dm4),
        _ if is_mrc(&head) => return Ok(Format::Mrc),
        [] => "an empty file",
        [0x1f, 0x8b, ..] => "gzip-compressed data: decompress it first (gunzip)",
        [b'B', b'Z', b'h', ..] => "bzip2-compressed data: decompress it first (bunzip2)",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd-compressed data: decompress it first (unzstd)",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz-compressed data: decompress it first (unxz)",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive: unpack it first",
        [b'G', b'I', b'F', b'8', ..] => "GIF: convert it to PNG or TIFF",
        [b'B', b'M', ..] if head.len() >= 26 => "BMP: convert it to PNG or TIFF",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "WebP: convert it to PNG or TIFF",
        [0x89, b'H', b'D', b'F', ..] => "HDF5: export the images as TIFF",
        [b'%', b'P', b'D', b'F', ..] => "PDF: extract the images first",
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => "JPEG 2000: convert it to TIFF",
        [b'Z', b'I', b'S', b'R', b'A', b'W', ..] => "Zeiss CZI: export it as OME-TIFF",
        [0xda, 0xce, 0xbe, 0x0a, ..] => "Nikon ND2: export it as OME-TIFF",
        [b'I', b'I', ..] | [b'M', b'M', ..] if head.len() < 8 => "the first bytes of a TIFF: the file is cut off",
        _ if head.iter().all(|&byte| byte == 0) => "zeros",
        _ if head.iter().all(|&byte| byte >= 32 || byte.is_ascii_whitespace()) => "text",
        _ => return Err(not_an_image(source, format!("unknown data beginning {}", hex(&head)))),
    };
    Err(not_an_image(source, found.into()))
}

/// MRC2014 has "MAP" at byte 208; in older files only the numbers of the header can tell.
fn is_mrc(head: &[u8]) -> bool {
    if head.len() < 212 {
        return false;
    }
    if &head[208..211] == b"MAP" {
        return true;
    }
    [false, true].iter().any(|&big_endian| {
        let word = |index: usize| {
            let bytes = [0, 1, 2, 3].map(|i| head[4 * index + i]);
            if big_endian { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) }
        };
        let sized = |index: usize| (1..=1 << 20).contains(&word(index));
        let mut axes = [word(16), word(17), word(18)];
        axes.sort_unstable();
        (0..3).all(sized) && matches!(word(3), 0..=4 | 6 | 12 | 101) && axes == [1, 2, 3] && word(23) >= 0
    })
}

fn not_an_image(source: &ByteSource, found: String) -> Error {
    Error::NotAnImage { path: source.path().into(), found }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
