//! Checkpoints: named tensors and a JSON text in one safetensors file, written atomically.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use invar_dataset::atomic;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Serialize, de::DeserializeOwned};
use tch::{Device, Kind, Tensor};

use crate::Error;

/// The key under which the JSON text lies in the file's metadata.
const STATE_KEY: &str = "state";

/// Writes tensors and a state, atomically; returns the file's bytes.
///
/// # Errors
/// When the disk refuses, or a tensor's kind has no place in the format.
pub fn write<S: Serialize>(path: &Path, tensors: &[(String, Tensor)], state: &S) -> Result<Vec<u8>, Error> {
    let host: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, tensor)| to_host(path, name, tensor)).collect::<Result<_, _>>()?;
    let mut views = Vec::with_capacity(host.len());
    for (name, dtype, shape, bytes) in &host {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| unreadable(path, &e))?;
        views.push((name.as_str(), view));
    }
    let text = serde_json::to_string(state).map_err(|e| unreadable(path, &e))?;
    let metadata = HashMap::from([(STATE_KEY.to_owned(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| unreadable(path, &e))?;
    atomic::write(path, &bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Reads what [`write`] wrote, to the host.
///
/// # Errors
/// When the file cannot be read, is damaged or cut off, or its state is of another kind.
pub fn read<S: DeserializeOwned>(path: &Path) -> Result<(HashMap<String, Tensor>, S), Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    parse(path, &bytes)
}

/// As [`read`], from bytes already in memory; `path` is for messages.
pub(crate) fn parse<S: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<(HashMap<String, Tensor>, S), Error> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| unreadable(path, &e))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| unreadable(path, &e))?;
    let text = header.metadata().as_ref().and_then(|m| m.get(STATE_KEY)).ok_or_else(|| Error::Corrupt {
        path: path.into(),
        what: "metadata".into(),
        expected: format!("a text {STATE_KEY:?}"),
        found: "none".into(),
    })?;
    let state = serde_json::from_str(text).map_err(|e| unreadable(path, &e))?;
    let tensors = file.iter().map(|(name, view)| Ok((name.to_owned(), from_host(path, name, &view)?)));
    Ok((tensors.collect::<Result<_, Error>>()?, state))
}

/// The checkpoints of a directory, `step-NNNNNNNN.safetensors`, newest first.
///
/// # Errors
/// When the directory cannot be listed; one that does not exist holds none.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::io(dir)(error)),
    };
    let mut found = vec![];
    for entry in entries {
        let path = entry.map_err(Error::io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let step = name.strip_prefix("step-").and_then(|n| n.strip_suffix(".safetensors")).and_then(|n| n.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Where the checkpoint of a step lies.
pub fn path_of(dir: &Path, step: u64) -> PathBuf {
    dir.join(format!("step-{step:08}.safetensors"))
}

/// Removes all but the newest `keep` checkpoints.
///
/// # Errors
/// When a file cannot be removed.
pub fn prune(dir: &Path, keep: usize) -> Result<(), Error> {
    for (_, path) in list(dir)?.into_iter().skip(keep) {
        fs::remove_file(&path).map_err(Error::io(path))?;
    }
    Ok(())
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

/// The kinds of tensors that are stored.
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

    #[test]
    fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for step in [5, 100, 20] {
            fs::write(path_of(dir.path(), step), b"").unwrap();
        }
        fs::write(dir.path().join("best.safetensors"), b"").unwrap();
        prune(dir.path(), 2).unwrap();
        let steps: Vec<u64> = list(dir.path()).unwrap().into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [100, 20]);
        assert!(dir.path().join("best.safetensors").exists());
    }
}
