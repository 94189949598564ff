#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invar_flower::fuzzing::object(bytes));
