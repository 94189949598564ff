use super::*;
use crate::packed::{CODE_N, PackedSequence, codes_to_ascii, reverse_complement_codes};
use bio::alphabets::dna;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn profiler(ks: &[u8], transform: KmerTransform) -> KmerProfiler {
    KmerProfiler::new(&KmerConfig { ks: ks.to_vec(), transform }).unwrap()
}

/// Second implementation: letters, bio's reverse complement, and a map ordered by the letters.
fn naive_counts(letters: &[u8], k: usize) -> BTreeMap<Vec<u8>, u32> {
    let canonical = |kmer: &[u8]| kmer.to_vec().min(dna::revcomp(kmer));
    let mut all = BTreeMap::new();
    for number in 0..4usize.pow(k as u32) {
        let kmer: Vec<u8> = (0..k).map(|i| b"ACGT"[(number >> (2 * i)) & 3]).collect();
        all.insert(canonical(&kmer), 0);
    }
    for kmer in letters.windows(k).filter(|kmer| !kmer.contains(&b'N')) {
        *all.get_mut(&canonical(kmer)).unwrap() += 1;
    }
    all
}

/// Counts of either width; omits zeros, as [`Counts::Short`] requires.
fn wide(counts: Counts) -> Vec<u32> {
    match counts {
        Counts::Short(counts) => counts.iter_mut().map(|count| u32::from(std::mem::take(count))).collect(),
        Counts::Long(counts) => counts.to_vec(),
    }
}

fn codes(max_len: usize) -> impl Strategy<Value = Vec<u8>> {
    // Bases much more often than N, and some stretches of one base.
    let base = prop_oneof![40 => 0u8..4, 1 => Just(CODE_N)];
    let piece = prop_oneof![
        4 => proptest::collection::vec(base, 0..120),
        1 => (0u8..5, 0usize..60).prop_map(|(code, len)| vec![code; len]),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(move |pieces| {
        let mut codes = pieces.concat();
        codes.truncate(max_len);
        codes
    })
}

proptest! {
    #[test]
    fn counts_agree_with_the_naive_ones(codes in codes(400), k in 1u8..=6, a: prop::sample::Index) {
        let start = a.index(codes.len() + 1);
        let packed = PackedSequence::from_codes(&codes).unwrap();
        let mut letters = codes[start..].to_vec();
        codes_to_ascii(&mut letters);
        let expected = naive_counts(&letters, usize::from(k));
        let profiler = profiler(&[k], KmerTransform::Frequency);
        let mut counter = Counter::new();
        let (counts, total) = counter.count(&profiler.ks[0], packed.as_slice(), start..codes.len());
        prop_assert_eq!(wide(counts), expected.values().copied().collect::<Vec<_>>());
        prop_assert_eq!(total, expected.values().map(|&count| u64::from(count)).sum::<u64>());
        let names: Vec<_> = expected.keys().map(|kmer| String::from_utf8(kmer.clone()).unwrap()).collect();
        prop_assert_eq!(profiler.feature_names(), names);
    }

    #[test]
    fn both_strands_have_the_same_profile(codes in codes(600), k in 1u8..=8, clr: bool) {
        let transform = if clr { KmerTransform::Clr } else { KmerTransform::Sqrt };
        let ks = if k == 4 { vec![4] } else { vec![4, k] };
        let profiler = profiler(&ks, transform);
        let mut other = codes.clone();
        reverse_complement_codes(&mut other);
        let bits = |codes: &[u8]| profiler.profile_codes(codes).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&codes), bits(&other));
    }

    #[test]
    fn packed_and_codes_agree(codes in codes(300), a: prop::sample::Index, b: prop::sample::Index) {
        let (a, b) = (a.index(codes.len() + 1), b.index(codes.len() + 1));
        let range = a.min(b)..a.max(b);
        let packed = PackedSequence::from_codes(&codes).unwrap();
        let profiler = profiler(&[3, 5], KmerTransform::Sqrt);
        let profile = profiler.profile(packed.as_slice(), range.clone());
        prop_assert_eq!(&profile, &profiler.profile_codes(&codes[range]));
        let norm = profile.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        // Length 1, or less where a k had no k-mer.
        prop_assert!(norm < 1.0 + 1e-6);
    }
}

// OEIS A007582 and A004171: numbers of k-mers up to strand.
#[test]
fn numbers_of_features() {
    let numbers: Vec<_> = (1..=8).map(|k| profiler(&[k], KmerTransform::Sqrt).num_features()).collect();
    assert_eq!(numbers, [2, 10, 32, 136, 512, 2080, 8192, 32896]);
}

// By hand: AACGTT holds AA AC CG GT TT; AA = TT twice, AC = GT twice, CG once.
#[test]
fn transforms_by_hand() {
    let codes = [0, 0, 1, 2, 3, 3];
    let of = |transform| {
        let profiler = profiler(&[2], transform);
        let profile = profiler.profile_codes(&codes);
        let names = profiler.feature_names();
        move |kmer: &str| profile[names.iter().position(|name| name == kmer).unwrap()]
    };
    let frequency = of(KmerTransform::Frequency);
    assert_eq!(["AA", "AC", "CG", "GC"].map(frequency), [0.4, 0.4, 0.2, 0.0]);
    let root = of(KmerTransform::Sqrt);
    assert!((root("AA") - 0.4f32.sqrt()).abs() < 1e-7 && (root("CG") - 0.2f32.sqrt()).abs() < 1e-7);
    // mean = (2 ln 2.5 + ln 1.5 + 7 ln 0.5) / 10
    let mean = (2.0 * 2.5f64.ln() + 1.5f64.ln() + 7.0 * 0.5f64.ln()) / 10.0;
    let ratio = of(KmerTransform::Clr);
    assert!((f64::from(ratio("CG")) - (1.5f64.ln() - mean)).abs() < 1e-6);
}

/// More k-mers of one kind than 16 bits can count.
#[test]
fn long_sequences_do_not_overflow() {
    let mut codes = vec![0; 200_000];
    codes[70_000] = CODE_N;
    codes.extend([1; 100_000]);
    let packed = PackedSequence::from_codes(&codes).unwrap();
    let mut counter = Counter::new();
    let kmers = CanonicalKmers::new(6);
    let (counts, total) = counter.count(&kmers, packed.as_slice(), 0..codes.len());
    let counts = wide(counts);
    // 6 windows overlap the N, 5 the border between A and C.
    assert_eq!((counts[0], total), (200_000 - 5 - 6, 300_000 - 5 - 6));
    assert_eq!(counts.iter().max(), Some(&(200_000 - 5 - 6)));
    // The log-ratio of the greatest count to that of the absent k-mers.
    let profile = profiler(&[6], KmerTransform::Clr).profile_codes(&codes);
    let ratio = f64::from(profile[0] - profile[2]);
    assert!((ratio - (199_989.5f64 / 0.5).ln()).abs() < 1e-5, "{ratio}");
}

#[test]
fn nothing_to_count_gives_zeros() {
    for transform in [KmerTransform::Frequency, KmerTransform::Sqrt, KmerTransform::Clr] {
        for codes in [vec![], vec![1, 2, 3], vec![CODE_N; 1000]] {
            assert_eq!(profiler(&[4], transform).profile_codes(&codes), vec![0.0; 136]);
        }
    }
}

#[test]
fn impossible_ks_are_refused() {
    let error = |ks: &[u8]| {
        let config = KmerConfig { ks: ks.to_vec(), ..KmerConfig::default() };
        KmerProfiler::new(&config).unwrap_err().to_string()
    };
    assert_eq!(error(&[]), "ks = []: name at least one k");
    assert_eq!(error(&[4, 9]), "ks = [4, 9]: every k is between 1 and 8");
    assert_eq!(error(&[4, 4]), "ks = [4, 4]: no k may be repeated");
}
