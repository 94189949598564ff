//! The entry points of the fuzz targets (`fuzz/`): the readers on bytes in memory. Not for other use.

use std::cell::Cell;

use crate::{
    read::{self, Ome},
    shard::ShardFile,
};

/// Reads a TIFF. The first byte determines its byte order, its kind, and the size of the bands.
pub fn tiff(bytes: &[u8]) {
    let magic: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];
    with_head(bytes, |how| magic[usize::from(how % 4)]);
}

/// Reads a DM3 or DM4.
pub fn dm(bytes: &[u8]) {
    let magic: [&[u8]; 2] = [&[0, 0, 0, 3], &[0, 0, 0, 4]];
    with_head(bytes, |how| magic[usize::from(how % 2)]);
}

/// Reads an MRC.
pub fn mrc(bytes: &[u8]) {
    let Some((&how, file)) = bytes.split_first() else { return };
    let mut file = file.to_vec();
    if let Some(stamp) = file.get_mut(208..211) {
        stamp.copy_from_slice(b"MAP");
    }
    let _ = read::read_bytes(file, u64::from(how) + 1);
}

/// Reads a PNG; the first byte determines the size of the bands.
pub fn png(bytes: &[u8]) {
    with_head(bytes, |_| b"\x89PNG\r\n\x1a\n");
}

/// Reads a JPEG: whatever passes the check is decoded without a panic.
pub fn jpeg(bytes: &[u8]) {
    with_head(bytes, |_| b"\xff\xd8\xff");
}

/// Reads a description as OME-XML.
pub fn ome(bytes: &[u8]) {
    if let Some(ome) = Ome::parse(&String::from_utf8_lossy(bytes), "x", 100) {
        for page in 0..100 {
            assert!(ome.page(page).pixel_size.is_none_or(|size| size.x_nm > 0.0 && size.y_nm > 0.0));
        }
    }
}

/// Reads a text in each vendor's format.
pub fn vendor(bytes: &[u8]) {
    read::any_vendor_text(bytes);
}

/// Opens a shard from these bytes and reads everything in it: an error or values, never a panic.
pub fn shard(bytes: &[u8]) {
    thread_local! {
        static DIRECTORY: Cell<Option<tempfile::TempDir>> = const { Cell::new(None) };
    }
    let directory = DIRECTORY.take().unwrap_or_else(|| tempfile::tempdir().expect("a temporary directory"));
    let path = directory.path().join("x");
    std::fs::write(&path, bytes).expect("room for a file");
    if let Ok(shard) = ShardFile::open(&path) {
        let _ = (shard.metadata(), shard.regions(), shard.edges(), shard.masks(), shard.image());
        let _ = crate::dataset::fuzz_open(shard);
    }
    DIRECTORY.set(Some(directory));
}

/// Reads a sample sheet.
pub fn sheet(bytes: &[u8]) {
    crate::ingest::fuzz_sheet(bytes);
}

/// Reads a mask, in each way: the first byte is its width, every other one a label.
pub fn mask(bytes: &[u8]) {
    crate::ingest::fuzz_mask(bytes);
}

fn with_head(bytes: &[u8], magic: impl Fn(u8) -> &'static [u8]) {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let mut file = magic(how).to_vec();
    file.extend_from_slice(rest);
    let _ = read::read_bytes(file, u64::from(how / 4) * 16 + 1);
}
