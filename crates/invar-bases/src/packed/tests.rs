use super::*;
use bio::alphabets::dna;
use proptest::prelude::*;

/// Letters with N in runs, as sequencers write them.
fn letters(max_len: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => proptest::collection::vec(proptest::sample::select(b"ACGTacgtUu".to_vec()), 0..90),
        1 => proptest::collection::vec(proptest::sample::select(b"NnRYSWKMBDHVryswkmbdhv".to_vec()), 0..40),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(move |pieces| {
        let mut letters = pieces.concat();
        letters.truncate(max_len);
        letters
    })
}

fn normalised(letters: &[u8]) -> Vec<u8> {
    let upper = |letter: &u8| match letter.to_ascii_uppercase() {
        b'U' => b'T',
        letter if b"ACGT".contains(&letter) => letter,
        _ => b'N',
    };
    letters.iter().map(upper).collect()
}

proptest! {
    #[test]
    fn packing_keeps_the_sequence(letters in letters(500)) {
        let packed = PackedSequence::from_ascii(&letters).unwrap();
        prop_assert_eq!(packed.as_slice().to_ascii(), normalised(&letters));
        prop_assert_eq!(&PackedSequence::from_codes(&packed.as_slice().to_codes()).unwrap(), &packed);
        prop_assert_eq!(packed.bytes.len(), packed_len(letters.len()));
        prop_assert_eq!(packed.as_slice(), PackedSlice::new(&packed.bytes, letters.len(), &packed.n_runs).unwrap());
        // There are as few runs as possible: no two touch.
        prop_assert!(packed.n_runs.windows(2).all(|pair| pair[0].end() < pair[1].start));
    }

    // Second implementation: bio's reverse complement of the letters.
    #[test]
    fn reverse_complement_agrees_with_bio(letters in letters(500)) {
        let packed = PackedSequence::from_ascii(&letters).unwrap();
        let other = packed.as_slice().reverse_complement();
        prop_assert_eq!(other.as_slice().to_ascii(), dna::revcomp(normalised(&letters)));
        prop_assert_eq!(other.as_slice().reverse_complement(), packed);
    }

    #[test]
    fn any_range_unpacks(letters in letters(300), a: prop::sample::Index, b: prop::sample::Index) {
        let packed = PackedSequence::from_ascii(&letters).unwrap();
        let (a, b) = (a.index(letters.len() + 1), b.index(letters.len() + 1));
        let range = a.min(b)..a.max(b);
        let mut codes = vec![9; 3];
        packed.as_slice().unpack_codes(range.clone(), &mut codes);
        codes_to_ascii(&mut codes);
        prop_assert_eq!(codes, &normalised(&letters)[range]);
    }

    // Second implementation: bio's IUPAC alphabet decides what is a letter. Its Z ("zero") is not an IUPAC letter.
    #[test]
    fn any_bytes_are_packed_or_refused(
        letters in letters(200), byte: u8, place: prop::sample::Index, prefix in 0usize..3,
    ) {
        let mut letters = letters;
        let place = place.index(letters.len() + 1);
        letters.insert(place, byte);
        let (mut bytes, mut runs) = (vec![7; prefix], vec![NRun { start: 5, len: 3 }; prefix]);
        let before = (bytes.clone(), runs.clone());
        let result = pack_into(&letters, &mut bytes, &mut runs);
        let is_letter = dna::iupac_alphabet().is_word([byte]) && !matches!(byte, b'Z' | b'z');
        if is_letter || matches!(byte, b'U' | b'u') {
            prop_assert!(result.is_ok());
            let slice = PackedSlice::new(&bytes[prefix..], letters.len(), &runs[prefix..]).unwrap();
            prop_assert_eq!(slice.to_ascii(), normalised(&letters));
        } else {
            prop_assert_eq!(result, Err(PackedError::BadBase { position: place, byte }));
            prop_assert_eq!((bytes, runs), before);
        }
    }

    #[test]
    fn stored_runs_are_checked(bytes in proptest::collection::vec(any::<u8>(), 0..9), num_bases in 0usize..40,
        runs in proptest::collection::vec((0u32..50, 0u32..9), 0..4)) {
        let runs: Vec<NRun> = runs.into_iter().map(|(start, len)| NRun { start, len }).collect();
        if let Ok(slice) = PackedSlice::new(&bytes, num_bases, &runs) {
            prop_assert_eq!(slice.to_ascii().iter().filter(|&&letter| letter == b'N').count(), slice.num_n());
            prop_assert_eq!(slice.reverse_complement().as_slice().num_n(), slice.num_n());
        } else {
            prop_assert!(bytes.len() != packed_len(num_bases) || !runs.is_empty());
        }
    }
}

// By hand from the table at the top of the file: A C G T = 0, 1, 2, 3 from the low bits up.
#[test]
fn layout() {
    let packed = PackedSequence::from_ascii(b"ACGTTN").unwrap();
    assert_eq!(packed.bytes, [0b11_10_01_00, 0b00_00_00_11]);
    assert_eq!(packed.n_runs, [NRun { start: 5, len: 1 }]);
}

#[test]
fn messages_name_both_values() {
    let message = |error: PackedError| error.to_string();
    assert_eq!(
        message(PackedSequence::from_ascii(b"ACGT*").unwrap_err()),
        "base 5: byte 0x2a ('*') is not a nucleotide letter"
    );
    assert_eq!(message(PackedSlice::new(&[0], 5, &[]).unwrap_err()), "5 bases need 2 bytes, found 1");
    let run = NRun { start: u32::MAX, len: 2 };
    assert_eq!(
        message(PackedSlice::new(&[0], 4, &[run]).unwrap_err()),
        "run of N number 0 (4294967295, 2) does not fit between base 0 and 4"
    );
}

#[test]
fn runs_are_read_in_place() {
    let words: [u32; 5] = [1, 2, 7, 4, 9];
    // SAFETY: any u32 is four bytes.
    let bytes = unsafe { words.align_to::<u8>().1 };
    assert_eq!(NRun::slice_from_bytes(&bytes[..16]).unwrap(), [NRun { start: 1, len: 2 }, NRun { start: 7, len: 4 }]);
    assert_eq!(NRun::slice_from_bytes(&bytes[..12]), None);
    assert_eq!(NRun::slice_from_bytes(&bytes[1..9]), None);
}
