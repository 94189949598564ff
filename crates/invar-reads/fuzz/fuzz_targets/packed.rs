#![no_main]
use invar_reads::{PackedSequence, PackedSlice, packed::NRun};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(sequence) = PackedSequence::from_ascii(bytes) {
        let letters = sequence.as_slice().to_ascii();
        assert_eq!(PackedSequence::from_ascii(&letters).unwrap(), sequence);
        let twice = sequence.as_slice().reverse_complement().as_slice().reverse_complement();
        assert_eq!(twice, sequence);
    }
    // The same bytes taken for a stored sequence.
    let [num_bases, num_runs, rest @ ..] = bytes else { return };
    let (runs, packed) = rest.split_at((8 * usize::from(*num_runs)).min(rest.len() / 8 * 8));
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap()) & 0xff;
    let runs: Vec<NRun> =
        runs.chunks(8).map(|run| NRun { start: word(&run[..4]), len: word(&run[4..]) }).collect();
    if let Ok(slice) = PackedSlice::new(packed, usize::from(*num_bases), &runs) {
        assert_eq!(slice.reverse_complement().as_slice().to_ascii().len(), slice.len());
    }
});
