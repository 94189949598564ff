//! The manifest of a dataset directory: what is in it, where it came from, and whether it is intact.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    DatasetError, atomic,
    ingest::{Identity, InputIdentity},
    input,
};

/// Version of the directory layout. A reader rejects a directory of another version.
pub const SCHEMA_VERSION: u32 = 1;

pub(crate) const FILE_NAME: &str = "manifest.json";

/// `manifest.json` of a dataset directory. It is written last: a directory without it is not a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Version of the program that wrote it.
    pub tool_version: String,
    /// The domain of the samples: `reads`, `micrographs`.
    pub domain: String,
    /// Every parameter of the ingest, including defaults.
    pub parameters: serde_json::Value,
    /// The files that were read, in order.
    pub inputs: Vec<Input>,
    /// The shards, in order: sample `i` is in the first shard at which the running total of rows exceeds `i`.
    pub shards: Vec<Shard>,
    /// Totals by name: samples kept, and dropped by reason.
    pub counts: BTreeMap<String, u64>,
    /// The other files of the dataset. Together with the shards and the manifest itself, they are all that may be deleted
    /// when it is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<OtherFile>,
    /// The first hundred bad records that were skipped on request, as the error each would have been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// What the domain measured on the way, for people and programs; not needed to read the samples.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// An input file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// As given by the user, as [`path::text`](crate::path::text); `-` for standard input.
    pub path: String,
    /// Size in bytes, as stored (compressed).
    pub size_bytes: u64,
    /// SHA-256 of the stored bytes, hexadecimal.
    pub sha256: String,
    /// Its identity in the file system or the store when it was read; `None` for pipes, and for files that changed in
    /// the meantime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Counts by name.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
}

impl Input {
    /// An input of `size_bytes` and `sha256`. The rest is filled in when the ingest ends.
    pub fn new(path: &Path, size_bytes: u64, sha256: String) -> Self {
        Self { path: crate::path::text(path), size_bytes, sha256, identity: None, counts: BTreeMap::new() }
    }

    /// How it has changed. An input that looks as it did when it was read is the same; otherwise the checksum decides.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn change(&self, now: &InputIdentity) -> Result<Change, DatasetError> {
        let Some(file) = &now.file else { return Ok(Change::Pipe) };
        if file.size_bytes() != self.size_bytes {
            return Ok(Change::Size { then: self.size_bytes, now: file.size_bytes() });
        }
        if self.identity.as_ref() == Some(file) {
            return Ok(Change::None);
        }
        let (_, sha256) = file_digest(&now.path)?;
        let then = self.sha256.clone();
        Ok(if sha256 == then { Change::None } else { Change::Bytes { then, now: sha256 } })
    }
}

/// How an input has changed since it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the same, byte for byte.
    None,
    /// It is a pipe, and cannot be read again.
    Pipe,
    /// It has another size in bytes.
    Size {
        /// When it was read.
        then: u64,
        /// Now.
        now: u64,
    },
    /// It has another SHA-256.
    Bytes {
        /// When it was read, hexadecimal.
        then: String,
        /// Now.
        now: String,
    },
}

/// A shard file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// File name inside the directory.
    pub file: String,
    /// Number of samples in it.
    pub num_rows: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A file of a dataset that is no shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ListedFile")]
pub struct OtherFile {
    /// Its path inside the directory.
    pub file: String,
    /// `None` as long as it is to be written, and in manifests of before it was taken of files other than shards.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub digest: Option<FileDigest>,
}

/// Size and checksum of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// How manifests list it: by its name alone before it had a digest.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListedFile {
    Name(String),
    File {
        file: String,
        #[serde(flatten)]
        digest: Option<FileDigest>,
    },
}

impl From<ListedFile> for OtherFile {
    fn from(listed: ListedFile) -> Self {
        match listed {
            ListedFile::Name(file) => Self::to_be_written(file),
            ListedFile::File { file, digest } => Self { file, digest },
        }
    }
}

impl From<Shard> for OtherFile {
    fn from(Shard { file, size_bytes, sha256, .. }: Shard) -> Self {
        Self { file, digest: Some(FileDigest { size_bytes, sha256 }) }
    }
}

impl OtherFile {
    /// A file that is not there yet.
    pub fn to_be_written(file: String) -> Self {
        Self { file, digest: None }
    }

    /// A file of `directory`, as it is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(directory: &Path, file: String) -> Result<Self, DatasetError> {
        let (size_bytes, sha256) = file_digest(&directory.join(&file))?;
        Ok(Self { file, digest: Some(FileDigest { size_bytes, sha256 }) })
    }
}

impl FileDigest {
    /// Compares the file at `path` in size.
    ///
    /// # Errors
    /// If it is missing or has another.
    pub fn check_size(&self, path: &Path) -> Result<(), DatasetError> {
        let found = fs::metadata(path).map_err(DatasetError::stored(path))?.len();
        if found == self.size_bytes {
            return Ok(());
        }
        Err(DatasetError::corrupt(path, "size in bytes", self.size_bytes, found))
    }

    /// Compares it byte for byte.
    ///
    /// # Errors
    /// If it is missing or differs.
    pub fn verify(&self, path: &Path) -> Result<(), DatasetError> {
        self.check_size(path)?;
        let (_, found) = file_digest(path)?;
        if found == self.sha256 {
            return Ok(());
        }
        Err(DatasetError::corrupt(path, "SHA-256", &self.sha256, found))
    }
}

impl Manifest {
    /// Number of samples in all shards.
    pub fn num_rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.num_rows).sum()
    }

    /// Reads the manifest of dataset directory `dir`.
    ///
    /// # Errors
    /// If there is none, it is not JSON of this shape, or its schema version differs.
    pub fn read(dir: &Path) -> Result<Self, DatasetError> {
        let path = dir.join(FILE_NAME);
        let is_unfinished = || dir.is_dir().then(|| DatasetError::stored(&path));
        let bytes = fs::read(&path).map_err(|error| match is_unfinished() {
            Some(stored) => stored(error),
            None => DatasetError::io(dir)(error),
        })?;
        let corrupt = |what: &str, expected, found: String| DatasetError::corrupt(&path, what, expected, found);
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| corrupt("manifest", "a JSON object", error.to_string()))?;
        let version = value["schema_version"].as_u64();
        if version != Some(u64::from(SCHEMA_VERSION)) {
            let found = version.map_or("none".into(), |v| v.to_string());
            return Err(DatasetError::corrupt(&path, "schema version", SCHEMA_VERSION, found));
        }
        serde_json::from_value(value)
            .map_err(|error| corrupt("manifest", "the fields of schema version 1", error.to_string()))
    }

    /// Writes it into `dir`, atomically.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DatasetError> {
        let path = dir.join(FILE_NAME);
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has string keys only");
        json.push(b'\n');
        atomic::write(&path, &json).map_err(DatasetError::io(&path))
    }

    /// Whether `dir` holds a finished dataset.
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE_NAME).is_file()
    }

    /// The file called `file` that is no shard, if there is one.
    pub fn file(&self, file: &str) -> Option<&OtherFile> {
        self.files.iter().find(|there| there.file == file)
    }

    /// Reads every file that has a digest and compares size and checksum.
    ///
    /// # Errors
    /// The first file that is missing or differs.
    pub fn verify(&self, dir: &Path) -> Result<(), DatasetError> {
        let all = self.shards.iter().cloned().map(OtherFile::from).chain(self.files.iter().cloned());
        for OtherFile { file, digest } in all {
            digest.iter().try_for_each(|digest| digest.verify(&dir.join(&file)))?;
        }
        Ok(())
    }
}

/// Size and SHA-256 (hexadecimal) of a file or an object, read in one pass.
///
/// # Errors
/// If it cannot be read.
pub fn file_digest(path: &Path) -> Result<(u64, String), DatasetError> {
    let mut file = input::open(path).map_err(DatasetError::io(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer).map_err(DatasetError::io(path))?;
        if n == 0 {
            return Ok((size, hex(&hasher.finalize())));
        }
        size += n as u64;
        hasher.update(&buffer[..n]);
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The shard that holds sample `index`, and its row there, given the running totals of rows (`ends[s]` = rows in shards
/// `0..=s`).
///
/// # Panics
/// If `index` is not below the last total.
pub fn locate(ends: &[u64], index: u64) -> (usize, u64) {
    let shard = ends.partition_point(|&end| end <= index);
    assert!(shard < ends.len(), "sample {index} of {}", ends.last().unwrap_or(&0));
    (shard, index - if shard == 0 { 0 } else { ends[shard - 1] })
}

/// Path of the manifest of dataset directory `dir`.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            schema_version: SCHEMA_VERSION,
            tool_version: "0.1.0".into(),
            domain: "reads".into(),
            parameters: serde_json::json!({"min_length_bp": 0}),
            inputs: vec![],
            shards: vec![],
            files: vec![],
            skipped: vec![],
            facts: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    #[test]
    fn round_trip_and_verify() {
        let dir = tempfile::tempdir().unwrap();
        let mut written = manifest();
        fs::write(dir.path().join("s0"), b"abc").unwrap();
        written.shards.push(Shard {
            file: "s0".into(),
            num_rows: 1,
            size_bytes: 3,
            // printf abc | sha256sum
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        });
        written.write(dir.path()).unwrap();
        let read = Manifest::read(dir.path()).unwrap();
        assert_eq!(read, written);
        read.verify(dir.path()).unwrap();
        fs::write(dir.path().join("s0"), b"abd").unwrap();
        assert!(matches!(read.verify(dir.path()), Err(DatasetError::Corrupt { what, .. }) if what == "SHA-256"));
    }

    #[test]
    fn each_file_that_is_damaged_or_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = manifest();
        let names = ["s0", "side", "sub/side"];
        fs::create_dir(dir.path().join("sub")).unwrap();
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
            manifest.files.push(OtherFile::of(dir.path(), name.into()).unwrap());
        }
        let OtherFile { file, digest: Some(FileDigest { size_bytes, sha256 }) } = manifest.files.remove(0) else {
            panic!("no digest")
        };
        manifest.shards.push(Shard { file, num_rows: 1, size_bytes, sha256 });
        manifest.write(dir.path()).unwrap();
        let manifest = Manifest::read(dir.path()).unwrap();
        manifest.verify(dir.path()).unwrap();
        for name in names {
            let path = dir.path().join(name);
            let other = name.replace('s', "t");
            for (damage, told) in [(Some(other.as_str()), "SHA-256"), (Some(""), "size"), (None, "file of the dataset")]
            {
                match damage {
                    Some(bytes) => fs::write(&path, bytes).unwrap(),
                    None => fs::remove_file(&path).unwrap(),
                }
                let error = manifest.verify(dir.path()).unwrap_err();
                let expected = format!("{}: {told}", path.display());
                assert!(error.is_bad_input() && error.to_string().starts_with(&expected), "{error}");
            }
            fs::write(&path, name).unwrap();
        }
        manifest.verify(dir.path()).unwrap();
    }

    #[test]
    fn files_that_a_manifest_of_before_names_are_known_without_a_digest() {
        let dir = tempfile::tempdir().unwrap();
        let mut json = serde_json::to_value(manifest()).unwrap();
        json["files"] = serde_json::json!(["a", {"file": "b", "size_bytes": 3, "sha256": "00"}]);
        fs::write(path(dir.path()), json.to_string()).unwrap();
        let read = Manifest::read(dir.path()).unwrap();
        assert_eq!(read.files[0], OtherFile::to_be_written("a".into()));
        assert_eq!(read.file("b").and_then(|file| file.digest.as_ref()).map(|digest| digest.size_bytes), Some(3));
        read.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), read);
        assert!(read.verify(dir.path()).unwrap_err().to_string().contains("b: file of the dataset"));
    }

    #[test]
    fn another_schema_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Manifest { schema_version: 99, ..manifest() }.write(dir.path()).unwrap();
        let error = Manifest::read(dir.path()).unwrap_err();
        assert!(error.to_string().ends_with("schema version: expected 1, found 99"), "{error}");
    }

    #[test]
    fn locate_finds_rows_and_skips_empty_shards() {
        let ends = [3, 3, 5];
        let all: Vec<_> = (0..5).map(|i| locate(&ends, i)).collect();
        assert_eq!(all, [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]);
    }
}
