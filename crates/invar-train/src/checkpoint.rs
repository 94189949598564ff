//! Checkpoints: named tensors and a JSON text in one safetensors file, written atomically.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use invar_dataset::{RunDir, atomic, run_dir::DIGESTS};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::Error;

/// The key of the JSON text in the file's metadata.
const STATE_KEY: &str = "state";

/// Writes tensors and a state, atomically; returns the bytes of the file.
///
/// # Errors
/// If writing fails, or the format has no type for a tensor's kind.
pub fn write<S: Serialize>(path: &Path, tensors: &[(String, Tensor)], state: &S) -> Result<Vec<u8>, Error> {
    let bytes = serialize(path, tensors, state)?;
    atomic::write(path, &bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

fn serialize<S: Serialize>(path: &Path, tensors: &[(String, Tensor)], state: &S) -> Result<Vec<u8>, Error> {
    let host: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, tensor)| to_host(path, name, tensor)).collect::<Result<_, _>>()?;
    let mut views = Vec::with_capacity(host.len());
    for (name, dtype, shape, bytes) in &host {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| unreadable(path, &e))?;
        views.push((name.as_str(), view));
    }
    let text = serde_json::to_string(state).map_err(|e| unreadable(path, &e))?;
    let metadata = HashMap::from([(STATE_KEY.to_owned(), text)]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| unreadable(path, &e))
}

/// Reads what [`write()`] wrote, into host memory.
///
/// # Errors
/// If the file cannot be read, is damaged or truncated, or its state is of another type.
pub fn read<S: DeserializeOwned>(path: &Path) -> Result<(HashMap<String, Tensor>, S), Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    parse(path, &bytes)
}

/// As [`read`], from bytes already in memory; `path` is for messages.
pub(crate) fn parse<S: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<(HashMap<String, Tensor>, S), Error> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| unreadable(path, &e))?;
    let state = parse_state(path, bytes)?;
    let tensors = file.iter().map(|(name, view)| Ok((name.to_owned(), from_host(path, name, &view)?)));
    Ok((tensors.collect::<Result<_, Error>>()?, state))
}

/// As [`read`], but only the state.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_state<S: DeserializeOwned>(path: &Path) -> Result<S, Error> {
    parse_state(path, &fs::read(path).map_err(Error::io(path))?)
}

fn parse_state<S: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<S, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| unreadable(path, &e))?;
    let text = header.metadata().as_ref().and_then(|m| m.get(STATE_KEY)).ok_or_else(|| Error::Corrupt {
        path: path.into(),
        what: "metadata".into(),
        expected: format!("a text {STATE_KEY:?}"),
        found: "none".into(),
    })?;
    serde_json::from_str(text).map_err(|e| unreadable(path, &e))
}

/// The checkpoints of a run: the newest few, the best, and their digests in `SHA256SUMS` (`sha256sum -c` reads it).
///
/// A digest is on disk before its file is renamed into place, so a kill at any moment leaves no file without one.
pub struct Checkpoints {
    run: RunDir,
    dir: PathBuf,
    keep: usize,
}

/// A checkpoint as read: its path, its tensors, its state.
pub type Stored<S> = (PathBuf, HashMap<String, Tensor>, S);

impl Checkpoints {
    /// The checkpoints of a run directory, which keeps the newest `keep`. Nothing is written until the first is saved.
    pub fn of(run: &RunDir, keep: usize) -> Self {
        Self { dir: run.checkpoints(), run: run.clone(), keep }
    }

    /// Saves the checkpoint of a step, and removes those no longer needed.
    ///
    /// # Errors
    /// If writing fails; earlier checkpoints are then intact.
    pub fn save<S: Serialize>(
        &self,
        step: u64,
        best_step: u64,
        tensors: &[(String, Tensor)],
        state: &S,
    ) -> Result<(), Error> {
        self.put(&self.run.checkpoint(step), tensors, state)?;
        let bests = self.run.list_best_checkpoints().map_err(Error::io(&self.dir))?;
        let mut gone: Vec<PathBuf> = self.list()?.into_iter().skip(self.keep).map(|(_, path)| path).collect();
        gone.extend(bests.into_iter().filter(|(step, _)| *step != best_step).map(|(_, path)| path));
        for path in &gone {
            fs::remove_file(path).map_err(Error::io(path))?;
        }
        if gone.is_empty() { Ok(()) } else { self.note(None) }
    }

    /// Saves the best so far, next to the previous best: a run that goes back to an earlier checkpoint finds it there.
    ///
    /// # Errors
    /// If writing fails.
    pub fn save_best<S: Serialize>(&self, step: u64, tensors: &[(String, Tensor)], state: &S) -> Result<(), Error> {
        self.put(&self.run.best_checkpoint(step), tensors, state)
    }

    /// The newest intact checkpoint. `passed_over` is called for each that is not.
    ///
    /// # Errors
    /// If the directory or a file cannot be read.
    pub fn newest<S: DeserializeOwned>(&self, passed_over: &mut dyn FnMut(&Error)) -> Result<Option<Stored<S>>, Error> {
        for (_, path) in self.list()? {
            match self.get(&path) {
                Ok((tensors, state)) => return Ok(Some((path, tensors, state))),
                Err(error @ Error::Corrupt { .. }) => passed_over(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The best checkpoint, known to be that of `step`.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn best<S: DeserializeOwned>(&self, step: u64) -> Result<(HashMap<String, Tensor>, S), Error> {
        self.get(&self.run.best_checkpoint(step))
    }

    /// The path of the newest checkpoint.
    pub fn newest_path(&self) -> Option<PathBuf> {
        self.list().ok()?.into_iter().next().map(|(_, path)| path)
    }

    fn list(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        self.run.list_checkpoints().map_err(Error::io(&self.dir))
    }

    fn put<S: Serialize>(&self, path: &Path, tensors: &[(String, Tensor)], state: &S) -> Result<(), Error> {
        let bytes = serialize(path, tensors, state)?;
        fs::create_dir_all(&self.dir).map_err(Error::io(&self.dir))?;
        self.note(Some((name_of(path), digest(&bytes))))?;
        atomic::write(path, &bytes).map_err(|error| {
            // For example on a full disk: do not expect the file that was never written.
            let _ = self.note(None);
            Error::io(path)(error)
        })
    }

    fn get<S: DeserializeOwned>(&self, path: &Path) -> Result<(HashMap<String, Tensor>, S), Error> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        if let Some(expected) = self.digests()?.remove(&name_of(path)) {
            let found = digest(&bytes);
            if found != expected {
                return Err(Error::Corrupt { path: path.into(), what: "SHA-256".into(), expected, found });
            }
        }
        parse(path, &bytes)
    }

    /// Digests by file name, as recorded.
    fn digests(&self) -> Result<BTreeMap<String, String>, Error> {
        let path = self.dir.join(DIGESTS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io(path)(error)),
        };
        let entry = |line: &str| line.split_once("  ").map(|(digest, name)| (name.to_owned(), digest.to_owned()));
        Ok(text.lines().filter_map(entry).collect())
    }

    /// Records the digests of the files that exist, and of one about to be written.
    fn note(&self, coming: Option<(String, String)>) -> Result<(), Error> {
        let mut digests = self.digests()?;
        digests.retain(|name, _| self.dir.join(name).exists());
        digests.extend(coming);
        let text: String = digests.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        let path = self.dir.join(DIGESTS);
        atomic::write(&path, text.as_bytes()).map_err(Error::io(path))
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_host(path: &Path, name: &str, tensor: &Tensor) -> Result<(String, Dtype, Vec<usize>, Vec<u8>), Error> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let kind = tensor.kind();
    let dtype = KINDS.iter().find(|(k, _)| *k == kind).map(|(_, dtype)| *dtype).ok_or_else(|| {
        let expected = format!("one of {:?}", KINDS.map(|(kind, _)| kind));
        Error::Corrupt { path: path.into(), what: format!("tensor {name}"), expected, found: format!("{kind:?}") }
    })?;
    let shape = tensor.size().iter().map(|&extent| extent as usize).collect();
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok((name.to_owned(), dtype, shape, bytes))
}

fn from_host(path: &Path, name: &str, view: &TensorView) -> Result<Tensor, Error> {
    let kind = KINDS.iter().find(|(_, dtype)| *dtype == view.dtype()).map(|(kind, _)| *kind).ok_or_else(|| {
        let expected = format!("one of {:?}", KINDS.map(|(_, dtype)| dtype));
        Error::Corrupt {
            path: path.into(),
            what: format!("tensor {name}"),
            expected,
            found: format!("{:?}", view.dtype()),
        }
    })?;
    let size: Vec<i64> = view.shape().iter().map(|&extent| extent as i64).collect();
    Ok(Tensor::f_from_data_size(view.data(), &size, kind)?)
}

/// The kinds of tensors that can be stored.
const KINDS: [(Kind, Dtype); 5] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Uint8, Dtype::U8),
];

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Corrupt {
        path: path.into(),
        what: "format".into(),
        expected: "a whole safetensors file of this program".into(),
        found: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let tensors = [
            ("w".to_owned(), Tensor::from_slice(&[1f32, f32::MIN_POSITIVE, -0.0]).view([3, 1])),
            ("scalar".to_owned(), Tensor::from(2.5f64)),
            ("rng".to_owned(), Tensor::from_slice(&[1u8, 2, 3])),
        ];
        let first = write(&path, &tensors, &vec![1, 2]).unwrap();
        let (read, state): (_, Vec<i32>) = read(&path).unwrap();
        assert_eq!(state, [1, 2]);
        for (name, tensor) in &tensors {
            assert_eq!((&read[name], read[name].size()), (tensor, tensor.size()));
        }
        assert_eq!(first, write(&path, &tensors, &vec![1, 2]).unwrap());
    }

    #[test]
    fn a_cut_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let bytes = write(&path, &[("w".into(), Tensor::from_slice(&[1f32, 2.]))], &0).unwrap();
        for length in [0, 4, 20, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(read::<i32>(&path), Err(Error::Corrupt { .. })), "{length} bytes");
        }
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(read::<String>(&path), Err(Error::Corrupt { .. })));
    }

    fn tensors(value: f32) -> Vec<(String, Tensor)> {
        vec![("w".into(), Tensor::from_slice(&[value, 2.]))]
    }

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&checkpoints.dir).unwrap().map(|e| name_of(&e.unwrap().path())).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(&RunDir::new(dir.path()), 2);
        checkpoints.save_best(5, &tensors(5.), &5).unwrap();
        checkpoints.save(5, 5, &tensors(5.), &5).unwrap();
        checkpoints.save_best(20, &tensors(20.), &20).unwrap();
        // Until the next checkpoint, a kill would lead back to step 5.
        assert_eq!(checkpoints.best::<i32>(5).unwrap().1, 5);
        for step in [20, 100] {
            checkpoints.save(step, 20, &tensors(step as f32), &step).unwrap();
        }
        let expected =
            ["SHA256SUMS", "best-00000020.safetensors", "step-00000020.safetensors", "step-00000100.safetensors"];
        assert_eq!(names(&checkpoints), expected);
        let noted: Vec<String> = checkpoints.digests().unwrap().into_keys().collect();
        assert_eq!(noted, expected[1..]);
        let (path, read, state) = checkpoints.newest::<i32>(&mut |_| panic!("all are whole")).unwrap().unwrap();
        assert_eq!((path, state), (checkpoints.run.checkpoint(100), 100));
        assert_eq!(read["w"], tensors(100.)[0].1);
    }

    #[test]
    fn one_flipped_bit_is_noticed_and_the_checkpoint_before_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(&RunDir::new(dir.path()), 3);
        for step in [1, 2] {
            checkpoints.save(step, 0, &tensors(step as f32), &step).unwrap();
        }
        let path = checkpoints.run.checkpoint(2);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut complaints = vec![];
        let (_, _, state) =
            checkpoints.newest::<u64>(&mut |error| complaints.push(error.to_string())).unwrap().unwrap();
        assert_eq!(state, 1);
        assert!(complaints.len() == 1 && complaints[0].contains("step-00000002.safetensors: SHA-256: expected "));
    }

    #[test]
    fn a_kill_between_digest_and_file_leaves_the_checkpoint_before() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(&RunDir::new(dir.path()), 2);
        checkpoints.save(1, 0, &tensors(1.), &1).unwrap();
        checkpoints.note(Some(("step-00000002.safetensors".into(), "0".repeat(64)))).unwrap();
        let (_, _, state) = checkpoints.newest::<u64>(&mut |_| panic!("all are whole")).unwrap().unwrap();
        assert_eq!(state, 1);
        checkpoints.save(2, 0, &tensors(2.), &2).unwrap();
        assert_eq!(checkpoints.newest::<u64>(&mut |_| panic!("all are whole")).unwrap().unwrap().2, 2);
    }
}
