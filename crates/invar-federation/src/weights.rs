use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use invar_dataset::atomic;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::Error;

/// The key of the model's description in the file's metadata, as in every file of weights of Invar.
const STATE: &str = "state";

/// Shape and values, row-major, by name.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Named tensors of single precision, and the description of the model that they are of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// The tensors.
    pub tensors: Tensors,
    /// What a model file says of itself, JSON; not interpreted here.
    pub header: String,
}

impl Weights {
    /// Reads a safetensors file; also returns its SHA-256.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or has a tensor of another type than f32.
    pub fn read(path: &Path) -> Result<(Self, String), Error> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        Ok((Self::parse(path, &bytes)?, digest(&bytes)))
    }

    /// As [`Weights::read`], from bytes in memory; `path` is for messages.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let unreadable =
            |error: &dyn std::fmt::Display| Error::corrupt(path, "format", "a whole safetensors file", error);
        let file = SafeTensors::deserialize(bytes).map_err(|error| unreadable(&error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| unreadable(&error))?;
        let state = header.metadata().as_ref().and_then(|metadata| metadata.get(STATE)).cloned();
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(Error::corrupt(
                    path,
                    &format!("type of tensor {name}"),
                    "F32",
                    format!("{:?}", view.dtype()),
                ));
            }
            let values = view.data().chunks_exact(4).map(|of| f32::from_le_bytes([of[0], of[1], of[2], of[3]]));
            tensors.insert(name.to_owned(), (view.shape().to_vec(), values.collect()));
        }
        Ok(Self { tensors, header: state.ok_or_else(|| Error::corrupt(path, "metadata", "a text \"state\"", "none"))? })
    }

    /// Its file: the same weights are the same bytes.
    ///
    /// # Errors
    /// If the format has no place for them.
    pub fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let unwritable = |error: &dyn std::fmt::Display| Error::corrupt(path, "format", "tensors that fit", error);
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, (*shape).clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let metadata = HashMap::from([(STATE.to_owned(), self.header.clone())]);
        safetensors::serialize(views.map_err(|error| unwritable(&error))?, Some(metadata))
            .map_err(|error| unwritable(&error))
    }

    /// Writes a safetensors file, atomically; returns its SHA-256.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, path: &Path) -> Result<String, Error> {
        let bytes = self.to_bytes(path)?;
        atomic::write(path, &bytes).map_err(Error::io(path))?;
        Ok(digest(&bytes))
    }

    /// All values, in the order of the names.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        self.tensors.values().flat_map(|(_, values)| values.iter().copied())
    }

    /// The L2 norm of the difference to others of the same shapes.
    pub fn distance(&self, other: &Self) -> f64 {
        self.values().zip(other.values()).map(|(a, b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
    }

    /// The L2 norm of all values.
    pub fn norm(&self) -> f64 {
        self.values().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    }

    /// The first tensor that holds a value that is not finite, with that value.
    pub fn first_non_finite(&self) -> Option<(&str, f32)> {
        let bad = |values: &Vec<f32>| values.iter().copied().find(|value| !value.is_finite());
        self.tensors.iter().find_map(|(name, (_, values))| Some((name.as_str(), bad(values)?)))
    }

    /// The first difference to the names and shapes of others: what is expected, what is there.
    pub fn first_misfit(&self, other: &Self) -> Option<(String, String)> {
        let of = |weights: &Self, name: &str| {
            weights.tensors.get(name).map_or_else(|| format!("no {name}"), |(shape, _)| format!("{name} {shape:?}"))
        };
        let names = other.tensors.keys().chain(self.tensors.keys());
        names.map(|name| (of(other, name), of(self, name))).find(|(expected, found)| expected != found)
    }

    /// Each value from those of one place in several weights of the same names and shapes.
    pub(crate) fn combined(of: &[&Self], value: impl Fn(&mut dyn Iterator<Item = f32>) -> f32) -> Self {
        let first = of[0];
        let tensors = first.tensors.iter().map(|(name, (shape, values))| {
            let all: Vec<&[f32]> = of.iter().map(|weights| weights.tensors[name].1.as_slice()).collect();
            let values = (0..values.len()).map(|place| value(&mut all.iter().map(|values| values[place]))).collect();
            (name.clone(), (shape.clone(), values))
        });
        Self { tensors: tensors.collect(), header: first.header.clone() }
    }
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn of(values: &[f32]) -> Weights {
        Weights { tensors: [("trunk.w".to_owned(), (vec![values.len()], values.to_vec()))].into(), header: "{}".into() }
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let weights = of(&[1.0, -0.0, f32::MIN_POSITIVE]);
        let sha256 = weights.write(&path).unwrap();
        let (read, found) = Weights::read(&path).unwrap();
        assert_eq!((&read, found), (&weights, sha256));
        let bytes = fs::read(&path).unwrap();
        for length in [0, 7, 30, bytes.len() - 1] {
            assert!(matches!(Weights::parse(&path, &bytes[..length]), Err(Error::Corrupt { .. })), "{length}");
        }
    }

    #[test]
    fn differences_are_named() {
        let (a, b) = (of(&[1.0, 2.0]), of(&[1.0, 2.0, 3.0]));
        assert_eq!(a.first_misfit(&b), Some(("trunk.w [3]".into(), "trunk.w [2]".into())));
        assert_eq!(a.first_misfit(&a), None);
        assert_eq!(of(&[3.0, 0.0]).distance(&of(&[0.0, 4.0])), 5.0);
        assert_eq!(of(&[1.0, f32::NAN]).first_non_finite().unwrap().0, "trunk.w");
    }
}
