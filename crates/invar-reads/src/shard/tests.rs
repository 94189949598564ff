use proptest::prelude::*;

use super::*;
use crate::{
    packed::pack_into,
    rows::{FLAG_ALIGNED, FLAG_REVERSE, Placement, Row, Rows},
};

type Specimen = (String, String, String, Option<u8>, u8, Option<(u32, u32, u8)>);

fn specimen() -> impl Strategy<Value = Vec<Specimen>> {
    let alignment = proptest::option::of((1u32..5_000, 1u32..400, any::<u8>()));
    let quality = proptest::option::of(0u8..90);
    proptest::collection::vec((".{0,6}", "[ -~]{0,9}", "[ACGTNRacgt]{0,50}", quality, 0u8..3, alignment), 0..20)
}

fn rows(specimens: &[Specimen]) -> (Rows, References) {
    let (mut rows, mut references) = (Rows::default(), References::default());
    for (name, description, letters, quality, mate, alignment) in specimens {
        pack_into(letters.as_bytes(), &mut rows.packed, &mut rows.n_runs).unwrap();
        let placement = alignment.map(|(position, span_bp, mapping_quality)| Placement {
            reference: references.number(if position % 2 == 0 { "even" } else { "odd" }),
            position,
            span_bp,
            mapping_quality,
        });
        rows.push(Row {
            name: name.as_bytes(),
            description: description.as_bytes(),
            length_bp: letters.len() as u32,
            mean_error: quality.map(|phred| 10f32.powf(-f32::from(phred) / 10.0)),
            flags: mate | if placement.is_some() { FLAG_ALIGNED | FLAG_REVERSE } else { 0 },
            source: u32::from(*mate) + 7,
            placement,
        });
    }
    (rows, references)
}

/// Reads everything there is: the result must be an error or a value, never a panic.
fn read_everything(shard: &ShardFile) {
    let _ = shard.reference_names();
    for row in 0..shard.num_rows() {
        let _ = (shard.name(row), shard.description(row), shard.alignment(row), shard.mate(row));
        let _ = (shard.gc(row), shard.mean_quality(row), shard.source(row), shard.length_bp(row));
        if let Ok(sequence) = shard.sequence(row) {
            sequence.to_codes();
        }
    }
}

proptest! {
    #[test]
    fn rows_are_read_as_they_were_written(specimens in specimen()) {
        let directory = tempfile::tempdir().unwrap();
        let (rows, references) = rows(&specimens);
        let entry = write(directory.path(), "a.shard", &rows, &references).unwrap();
        let shard = ShardFile::open(&directory.path().join("a.shard")).unwrap();
        prop_assert_eq!((entry.num_rows, entry.size_bytes), (specimens.len() as u64, shard.size_bytes()));
        for (row, (name, description, letters, quality, mate, alignment)) in specimens.iter().enumerate() {
            prop_assert_eq!(shard.name(row).unwrap(), name);
            prop_assert_eq!(shard.description(row).unwrap(), description);
            let expected = crate::PackedSequence::from_ascii(letters.as_bytes()).unwrap();
            prop_assert_eq!(shard.sequence(row).unwrap(), expected.as_slice());
            prop_assert_eq!(shard.mean_quality(row).map(|phred| (phred * 1e4).round()), quality.map(|q| f32::from(q) * 1e4));
            prop_assert_eq!(shard.mate(row), (*mate > 0).then_some(*mate));
            prop_assert_eq!(shard.source(row), u32::from(*mate) + 7);
            let found = shard.alignment(row).map(|a| (a.position, a.span_bp, a.mapping_quality.unwrap_or(255)));
            prop_assert_eq!(found, *alignment);
            if let Some(alignment) = shard.alignment(row) {
                let name = shard.reference_names().unwrap()[alignment.reference as usize];
                prop_assert_eq!(name, if alignment.position % 2 == 0 { "even" } else { "odd" });
                prop_assert!(alignment.is_reverse);
            }
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(
        specimens in specimen(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.shard");
        let (rows, references) = rows(&specimens);
        write(directory.path(), "a.shard", &rows, &references).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(shard) = ShardFile::open(&path) {
            read_everything(&shard);
        }
    }
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.shard");
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        ShardFile::open(&path).err().unwrap().to_string()
    };
    assert!(message(b"short").ends_with("size in bytes: expected at least 32, found 5"));
    assert!(message(&[b'x'; 40]).ends_with("magic: expected INVREADS, found \"xxxxxxxx\""));
    let mut newer = [&MAGIC[..], &[0; 40]].concat();
    newer[8] = 9;
    assert!(message(&newer).ends_with("shard version: expected 1, found 9"));
}
