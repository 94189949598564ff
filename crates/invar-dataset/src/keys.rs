//! Keys: numbers that identify samples, whatever datasets are opened together.
//!
//! ```text
//! key           = source number + ordinal                                        below 2^53
//! source number = the first 13 hexadecimal digits of the SHA-256 of the input    below 2^52
//! ordinal       = how many samples of that input come before, in its dataset directory
//! ```
//! A key depends on the bytes of the input and on the settings of the ingest, not on paths or on what else is opened.
//! Keys fit in the integers of JSON, JavaScript and R. The probability that two different inputs share keys by chance
//! is their total number of samples over 2^52: a few in a million for a hundred inputs of a million samples each.
//!
//! Copies of one file in one dataset directory are numbered consecutively, as if they were one long input; in training
//! the samples of a copy are identified with those of the original ([`KeyRange::id`]). The same file in two dataset
//! directories is an error.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use crate::{
    DatasetError, SampleId,
    manifest::{self, Manifest},
};

/// Hexadecimal digits of a checksum that make a source number: 52 bits.
const DIGITS: usize = 13;
/// Digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// The keys of the samples of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    source_number: u64,
    first_id: u64,
    first_key: u64,
}

impl KeyRange {
    /// The number of the input.
    pub fn source_number(self) -> u64 {
        self.source_number
    }

    /// The key of the input's sample number `ordinal`, from 0.
    pub fn key(self, ordinal: u64) -> u64 {
        self.first_key + ordinal
    }

    /// The identity of that sample in training: its key, or that of the same sample of the first copy of the input.
    pub fn id(self, ordinal: u64) -> SampleId {
        SampleId(self.first_id + ordinal)
    }

    /// The keys of the samples after the first `num`.
    #[must_use]
    pub fn skip(self, num: u64) -> Self {
        Self { first_id: self.first_id + num, first_key: self.first_key + num, ..self }
    }
}

/// An opened dataset directory.
pub struct Opened<'a> {
    /// The directory.
    pub path: &'a Path,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Number of samples of each input of the manifest.
    pub num_samples: Vec<u64>,
}

/// The number of an input with this SHA-256 (hexadecimal); `None` if it is not one.
pub fn source_number(sha256: &str) -> Option<u64> {
    let is_digest = sha256.len() == SHA256_DIGITS && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| u64::from_str_radix(&sha256[..DIGITS], 16).ok()).flatten()
}

/// The keys of each input of each directory.
///
/// # Errors
/// If a directory is given twice, two directories share an input, two inputs share keys by chance, or a manifest lacks
/// the checksum of an input.
pub fn key_ranges(opened: &[Opened]) -> Result<Vec<Vec<KeyRange>>, DatasetError> {
    refuse_repeated(opened.iter().map(|directory| directory.path))?;
    let (mut ranges, mut taken) = (Vec::new(), Vec::new());
    for directory in opened {
        let mut next: BTreeMap<u64, Taken> = BTreeMap::new();
        let mut of_directory = Vec::new();
        for (input, &num) in directory.manifest.inputs.iter().zip(&directory.num_samples) {
            let number = source_number(&input.sha256).ok_or_else(|| DatasetError::Corrupt {
                path: manifest::path(directory.path),
                what: format!("SHA-256 of input {:?}", input.path),
                expected: format!("{SHA256_DIGITS} hexadecimal digits"),
                found: format!("{:?}", input.sha256),
            })?;
            let taken = next.entry(number).or_insert(Taken {
                keys: number..number,
                directory: directory.path,
                input: &input.path,
                sha256: &input.sha256,
            });
            of_directory.push(KeyRange { source_number: number, first_id: number, first_key: taken.keys.end });
            taken.keys.end += num;
        }
        ranges.push(of_directory);
        taken.extend(next.into_values().filter(|taken| !taken.keys.is_empty()));
    }
    refuse_overlaps(taken)?;
    Ok(ranges)
}

/// The keys of all copies of an input in one directory.
struct Taken<'a> {
    keys: std::ops::Range<u64>,
    directory: &'a Path,
    input: &'a str,
    sha256: &'a str,
}

fn refuse_overlaps(mut taken: Vec<Taken>) -> Result<(), DatasetError> {
    // Stable: of two that begin alike, the one that was given first.
    taken.sort_by_key(|taken| taken.keys.start);
    if let Some(two) = taken.windows(2).find(|two| two[1].keys.start < two[0].keys.end) {
        let (first, second) = (&two[0], &two[1]);
        let place = |taken: &Taken| (taken.directory.to_path_buf(), taken.input.to_owned());
        let ((directory, input), (other_directory, other_input)) = (place(second), place(first));
        return Err(if first.sha256 == second.sha256 {
            DatasetError::SameInput { directory, input, other_directory, other_input }
        } else {
            DatasetError::KeysOverlap { directory, input, other_directory, other_input }
        });
    }
    Ok(())
}

fn refuse_repeated<'a>(directories: impl Iterator<Item = &'a Path>) -> Result<(), DatasetError> {
    let mut seen: HashMap<PathBuf, &Path> = HashMap::new();
    for path in directories {
        let real = path.canonicalize().map_err(DatasetError::io(path))?;
        if let Some(first) = seen.insert(real, path) {
            return Err(DatasetError::GivenTwice { path: path.into(), first: first.into() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Input, SCHEMA_VERSION};

    fn input(path: &str, sha256: &str) -> Input {
        Input::new(Path::new(path), 1, sha256.into())
    }

    fn manifest(inputs: Vec<Input>) -> Manifest {
        Manifest {
            schema_version: SCHEMA_VERSION,
            tool_version: "0.1.0".into(),
            domain: "reads".into(),
            parameters: serde_json::Value::Null,
            inputs,
            shards: vec![],
            files: vec![],
            skipped: vec![],
            facts: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// A checksum that begins with a number of 52 bits.
    fn sha256(number: u64) -> String {
        format!("{number:013x}{}", "7".repeat(51))
    }

    fn ranges(directories: &[(&Path, &Manifest, &[u64])]) -> Result<Vec<Vec<KeyRange>>, DatasetError> {
        let open = |&(path, manifest, num): &(_, _, &[u64])| Opened { path, manifest, num_samples: num.to_vec() };
        key_ranges(&directories.iter().map(open).collect::<Vec<_>>())
    }

    #[test]
    fn the_number_is_the_beginning_of_the_checksum() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(source_number(abc), Some(0xb_a781_6bf8_f01c));
        assert_eq!(source_number(&"f".repeat(64)), Some((1 << 52) - 1));
        for bad in [&abc[1..], "", &abc.replace('b', "x"), &abc.replace("ba", "\u{e4}")] {
            assert_eq!(source_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn samples_of_different_inputs_have_different_keys_wherever_they_lie() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [0, 1].map(|i| dirs[i].path());
        let one = manifest(vec![input("x", &sha256(100)), input("y", &sha256(500))]);
        let two = manifest(vec![input("x", &sha256(300))]);
        let found = ranges(&[(a, &one, &[10, 20]), (b, &two, &[5])]).unwrap();
        let keys: Vec<u64> = found.iter().flatten().map(|range| range.key(3)).collect();
        assert_eq!(keys, [103, 503, 303]);
        assert_eq!(found[0][1].id(3), SampleId(503));
        let skipped = found[0][1].skip(2);
        assert_eq!((skipped.key(1), skipped.id(1), skipped.source_number()), (503, SampleId(503), 500));
        // Whatever the order, and whatever else is open.
        assert_eq!(ranges(&[(b, &two, &[5]), (a, &one, &[10, 20])]).unwrap()[1], found[0]);
        assert_eq!(ranges(&[(a, &one, &[10, 20])]).unwrap()[0], found[0]);
    }

    #[test]
    fn copies_in_one_directory_are_numbered_on_and_are_one_sample_for_training() {
        let dir = tempfile::tempdir().unwrap();
        let copies = manifest(vec![input("a", &sha256(7)), input("b", &sha256(7)), input("empty", &sha256(9))]);
        let found = ranges(&[(dir.path(), &copies, &[4, 4, 0])]).unwrap().remove(0);
        assert_eq!([found[0].key(0), found[0].key(3), found[1].key(0), found[1].key(3)], [7, 10, 11, 14]);
        assert_eq!(found[0].id(2), found[1].id(2));
    }

    #[test]
    fn what_is_there_twice_is_refused_with_both_places() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [0, 1].map(|i| dirs[i].path());
        let one = manifest(vec![input("a.fq", &sha256(100)), input("none.fq", &sha256(5))]);
        let two = manifest(vec![input("none.fq", &sha256(5)), input("copy.fq", &sha256(100))]);
        let error = ranges(&[(a, &one, &[10, 0]), (b, &two, &[0, 9])]).unwrap_err();
        let expected =
            format!("input \"copy.fq\" of {} is the same file as input \"a.fq\" of {}", b.display(), a.display());
        assert!(error.to_string().starts_with(&expected) && error.is_bad_input(), "{error}");
        // Keys that collide by chance.
        let three = manifest(vec![input("c.fq", &sha256(109))]);
        let error = ranges(&[(a, &one, &[10, 0]), (b, &three, &[1])]).unwrap_err();
        assert!(matches!(error, DatasetError::KeysOverlap { .. }) && error.is_bad_input(), "{error}");
        assert!(ranges(&[(a, &one, &[9, 0]), (b, &three, &[1])]).is_ok());
        // One directory twice, by another path.
        let around = a.join("..").join(a.file_name().unwrap());
        let error = ranges(&[(a, &one, &[10, 0]), (&around, &one, &[10, 0])]).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("given twice"), "{error}");
        let bad = manifest(vec![input("d.fq", "12")]);
        let error = ranges(&[(a, &bad, &[1])]).unwrap_err().to_string();
        assert!(error.ends_with("SHA-256 of input \"d.fq\": expected 64 hexadecimal digits, found \"12\""), "{error}");
    }
}
