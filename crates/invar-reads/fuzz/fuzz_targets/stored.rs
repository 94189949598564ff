//! Compressed bytes as they are stored: gzip, BGZF, zstd, and what follows them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| invar_reads::fuzzing::stored(bytes));
