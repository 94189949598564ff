//! Heads of two records that should be mates.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| invar_reads::fuzzing::mates(bytes));
