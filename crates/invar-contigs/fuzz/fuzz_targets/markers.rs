#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invar_contigs::fuzzing::markers(bytes));
