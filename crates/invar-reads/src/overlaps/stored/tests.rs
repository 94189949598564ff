use std::sync::LazyLock;

use invar_dataset::{NoProgress, seed};
use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::{
    IngestConfig, Inputs, Reads, ingest,
    overlaps::tests::{codes, reads},
};

/// Exact reads of two genomes, of a relative of the first, and one from neither.
fn sequences() -> Vec<Vec<u8>> {
    let mut rng = seed::rng(5, 9);
    let genome = codes(30_000, 1);
    let sister =
        genome.iter().map(|&code| if rng.random_bool(0.08) { (code + rng.random_range(1..4u8)) % 4 } else { code });
    let genomes = [genome.clone(), sister.collect(), codes(20_000, 2)];
    let mut sequences = vec![codes(900, 3)];
    for genome in &genomes {
        sequences.extend((0..80).map(|_| {
            let start = rng.random_range(0..genome.len() - 2_000);
            genome[start..start + 2_000].to_vec()
        }));
    }
    sequences
}

fn found(threads: usize) -> Overlaps {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| Overlaps::find(&reads(&sequences()), &OverlapsConfig::default()).unwrap())
}

#[test]
fn overlaps_are_read_as_they_were_written_and_are_the_same_bytes_at_any_thread_count() {
    let overlaps = found(1);
    assert!(overlaps.num_components() >= 3 && (0..3).any(|component| !overlaps.homologs(component).is_empty()));
    assert!(overlaps.component(0).is_none());
    let bytes = to_bytes(&overlaps, &[7; DIGEST_BYTES]);
    assert_eq!(format!("{:?}", from_bytes(&bytes).unwrap().0), format!("{overlaps:?}"));
    assert_eq!(to_bytes(&found(3), &[7; DIGEST_BYTES]), bytes);

    let none = Overlaps::find(&reads(&[]), &OverlapsConfig::default()).unwrap();
    assert_eq!(format!("{:?}", from_bytes(&to_bytes(&none, &[0; 32])).unwrap().0), format!("{none:?}"));
}

// The overlaps of these reads as found by this version of the rules. If this fails because rules have changed, increase
// VERSION: otherwise stored overlaps would be taken for what the new rules find.
#[test]
fn other_rules_have_another_version() {
    let bytes = to_bytes(&found(2), &[0; DIGEST_BYTES]);
    assert_eq!(
        (VERSION, &*hex(&bytes[bytes.len() - DIGEST_BYTES..])),
        (4, "71bd16916fa4cc722b17cd9fe18d9f2bc30fd4de54afeeeb9b89cb8201e89751")
    );
}

#[test]
fn damage_is_found_wherever_it_is() {
    let bytes = to_bytes(&found(2), &[7; DIGEST_BYTES]);
    for at in (0..HEADER_BYTES).chain((HEADER_BYTES..bytes.len()).step_by(61)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(from_bytes(&damaged).is_err(), "byte {at}");
        assert!(from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(from_bytes(&longer).is_err());
}

fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&body);
    body.extend_from_slice(&digest);
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // A file with a forged checksum can lie, but not cause a panic.
    #[test]
    fn what_lies_is_refused_or_are_overlaps(at in 2usize..2_000, word: u32, small: bool) {
        static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| to_bytes(&found(1), &[7; DIGEST_BYTES]));
        let bytes = &BYTES;
        let mut body = bytes[..bytes.len() - DIGEST_BYTES].to_vec();
        let at = 4 * at % (body.len() - 4) / 4 * 4;
        body[at..at + 4].copy_from_slice(&(if small { word % 300 } else { word }).to_le_bytes());
        let bytes = sealed(body);
        if let Ok((overlaps, made_of)) = from_bytes(&bytes) {
            prop_assert_eq!(to_bytes(&overlaps, &made_of), bytes);
        }
    }
}

#[test]
fn overlaps_are_kept_with_the_reads_that_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, sequences: &[Vec<u8>]| {
        let fasta = dir.path().join(format!("{name}.fasta"));
        let letters =
            |codes: &Vec<u8>| codes.iter().map(|&code| char::from(b"ACGT"[usize::from(code)])).collect::<String>();
        let records = sequences.iter().enumerate().map(|(i, codes)| format!(">{name}{i}\n{}\n", letters(codes)));
        std::fs::write(&fasta, records.collect::<String>()).unwrap();
        let data = dir.path().join(name);
        ingest(&Inputs::files([&fasta]), &data, &IngestConfig::default(), &NoProgress).unwrap();
        data
    };
    let all = sequences();
    let (one, other) = (write("one", &all), write("other", &all[100..]));
    let config = OverlapsConfig::default();
    let reads = ReadDataset::open(std::slice::from_ref(&one)).unwrap();
    let kept = KeptOverlaps::of(&reads, &config);
    assert!(kept.read().unwrap().is_none());
    let overlaps = Overlaps::find(&reads, &config).unwrap();
    kept.write(&overlaps).unwrap();
    let again =
        KeptOverlaps::of(&ReadDataset::open(std::slice::from_ref(&one)).unwrap(), &config).read().unwrap().unwrap();
    assert_eq!(format!("{again:?}"), format!("{overlaps:?}"));

    // Neither for more reads, nor for others, nor with other settings.
    let both = ReadDataset::open(&[one.clone(), other.clone()]).unwrap();
    assert!(KeptOverlaps::of(&both, &config).read().unwrap().is_none());
    let fewer = OverlapsConfig { max_kmers: 1_000 };
    let reads = ReadDataset::open(std::slice::from_ref(&one)).unwrap();
    assert!(KeptOverlaps::of(&reads, &fewer).read().unwrap().is_none());
    std::fs::copy(kept.path(), other.join(FILE_NAME)).unwrap();
    let reads = ReadDataset::open(std::slice::from_ref(&other)).unwrap();
    let of_other = KeptOverlaps::of(&reads, &config);
    assert!(of_other.read().unwrap().is_none());
    of_other.write(&Overlaps::find(&reads, &config).unwrap()).unwrap();
    assert_eq!(of_other.read().unwrap().unwrap().num_reads(), reads.len());

    // Damage is an error, and is overwritten; a file that Invar did not write is not.
    let mut bytes = std::fs::read(kept.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(kept.path(), &bytes).unwrap();
    let error = kept.read().unwrap_err().to_string();
    assert!(error.contains("overlaps.bin: SHA-256: expected"), "{error}");
    kept.write(&overlaps).unwrap();
    assert!(kept.read().unwrap().is_some());
    std::fs::write(kept.path(), "notes").unwrap();
    assert!(kept.read().unwrap_err().to_string().contains("magic: expected INVAROVL, found \"notes\""));
    assert!(kept.write(&overlaps).unwrap_err().to_string().contains("holds no overlaps"));
    assert_eq!(std::fs::read(kept.path()).unwrap(), b"notes");
}
