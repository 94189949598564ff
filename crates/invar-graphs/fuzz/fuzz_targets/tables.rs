#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invar_graphs::fuzzing::tables(bytes));
