#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invar_reads::fuzzing::text(bytes, invar_reads::fuzzing::Text::Fastq));
