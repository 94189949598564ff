use std::cell::Cell;

use super::ShardFile;

/// Opens a shard of these bytes and reads all that is in it: an error or values, never a panic. For the fuzz target.
pub fn fuzz_shard(bytes: &[u8]) {
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
