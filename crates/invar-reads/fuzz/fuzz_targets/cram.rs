#![no_main]
// The decoder of noodles asserts what a damaged file can break; that is caught and becomes an error, which the hook of
// libFuzzer would not let happen.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| invar_reads::fuzzing::cram(bytes)
);
