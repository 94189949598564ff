use std::{
    fs,
    path::{Path, PathBuf},
};

use invar_dataset::atomic;
use invar_embeddings::Bank;
use serde::{Deserialize, Serialize};

use crate::{Error, VERSION, Weights, digest};

/// UPDATE: what a site sends after its steps of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// What it says of itself.
    pub facts: UpdateFacts,
    /// The weights after the steps.
    pub weights: Weights,
    /// Fresh keys of the site's samples.
    pub keys: Bank,
}

/// `update.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFacts {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Version of the program.
    pub tool_version: String,
    /// Name of the site.
    pub site: String,
    /// The round, 1-based.
    pub round: u32,
    /// Hash of the recipe.
    pub recipe: String,
    /// SHA-256 of the model that the steps began with.
    pub global: String,
    /// Samples that were trained on.
    pub rows: u64,
    /// Optimizer steps that were done.
    pub steps: u64,
    /// The loss, mean over the steps.
    pub loss: f64,
    /// L2 norm of the change of the weights, as sent.
    pub norm: f64,
    /// Number of fresh keys.
    pub keys: u64,
    /// SHA-256 of `weights.safetensors`.
    pub weights_sha256: String,
    /// SHA-256 of `keys.parquet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_sha256: Option<String>,
    /// The noise in the weights, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacySpent>,
}

/// What a site has given away, by the Gaussian mechanism.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySpent {
    /// Bound on the L2 norm of the change of the weights.
    pub clip: f64,
    /// Standard deviation of the noise, as a multiple of it.
    pub noise_multiplier: f64,
    /// Updates that the site has made, this one included.
    pub updates: u32,
    /// What epsilon is stated for.
    pub delta: f64,
    /// Epsilon of the weights of all of them; none if there was no noise. It does not cover the keys.
    pub epsilon: Option<f64>,
    /// Whether keys were sent, which have no noise.
    pub sends_keys: bool,
}

impl PrivacySpent {
    /// For people, without promising more than there is.
    pub fn in_words(&self) -> String {
        let weights = match self.epsilon {
            None => "no noise: the clipping alone promises nothing".to_owned(),
            Some(epsilon) => format!("epsilon {epsilon:.2} at delta {:e} after {} updates", self.delta, self.updates),
        };
        match self.sends_keys {
            true => format!("{weights}, for the weights alone: the keys have no noise"),
            false => weights,
        }
    }
}

impl Update {
    /// The file that is written last.
    pub const FACTS: &str = "update.json";
    /// The weights.
    pub const WEIGHTS: &str = "weights.safetensors";
    /// The keys.
    pub const KEYS: &str = "keys.parquet";

    /// Whether a directory is one.
    pub fn is_at(directory: &Path) -> bool {
        directory.join(Self::FACTS).is_file()
    }

    /// Names of the files that it consists of.
    pub fn files(&self) -> Vec<PathBuf> {
        let keys = self.facts.keys_sha256.iter().map(|_| Self::KEYS);
        [Self::FACTS, Self::WEIGHTS].into_iter().chain(keys).map(PathBuf::from).collect()
    }

    /// Writes it into a directory, which must be there; fills in the digests.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, directory: &Path) -> Result<(), Error> {
        self.facts.weights_sha256 = self.weights.write(&directory.join(Self::WEIGHTS))?;
        self.facts.keys = self.keys.len() as u64;
        self.facts.keys_sha256 = match self.keys.is_empty() {
            true => None,
            false => {
                let path = directory.join(Self::KEYS);
                self.keys.write(&path, &self.facts.tool_version)?;
                Some(digest(&fs::read(&path).map_err(Error::io(&path))?))
            }
        };
        let path = directory.join(Self::FACTS);
        let json = serde_json::to_vec_pretty(&self.facts).expect("facts are plain numbers and strings");
        atomic::write(&path, &json).map_err(Error::io(path))
    }

    /// Reads it, with its digests compared.
    ///
    /// # Errors
    /// If a file is missing, damaged, or not the one that was written.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let facts = Self::read_facts(directory)?;
        let path = directory.join(Self::WEIGHTS);
        let (weights, found) = Weights::read(&path)?;
        same(&path, &facts.weights_sha256, &found)?;
        let keys = match &facts.keys_sha256 {
            None => Bank::default(),
            Some(expected) => {
                let path = directory.join(Self::KEYS);
                same(&path, expected, &digest(&fs::read(&path).map_err(Error::io(&path))?))?;
                Bank::read(&path)?
            }
        };
        if keys.len() as u64 != facts.keys {
            return Err(Error::corrupt(&directory.join(Self::KEYS), "number of keys", facts.keys, keys.len()));
        }
        Ok(Self { facts, weights, keys })
    }

    /// Only what it says of itself.
    ///
    /// # Errors
    /// If there is no `update.json`, or it is damaged or of another version.
    pub fn read_facts(directory: &Path) -> Result<UpdateFacts, Error> {
        read_json(&directory.join(Self::FACTS))
    }
}

/// Compares a digest.
pub(crate) fn same(path: &Path, expected: &str, found: &str) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::corrupt(path, "SHA-256", expected, found)) }
}

/// Reads `update.json` or `global.json`.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let of_other = |error: serde_json::Error| Error::corrupt(path, "format", "facts of this program", error);
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(of_other)?;
    // Of another version the keys may differ, too: the version is what to say.
    let version = &value["version"];
    if version.as_u64() != Some(u64::from(VERSION)) {
        return Err(Error::corrupt(path, "version", VERSION, version));
    }
    serde_json::from_value(value).map_err(of_other)
}

#[cfg(test)]
mod tests {
    use invar_dataset::{Fault, FaultClass};
    use proptest::prelude::*;

    use super::*;

    fn written(directory: &Path) -> Update {
        let weights = Weights {
            tensors: [("trunk.w".to_owned(), (vec![2, 2], vec![0.5, -1.0, 2.0, 0.25]))].into(),
            header: "{\"encoder\": 1}".into(),
        };
        let mut keys = Bank::default();
        (0..3).for_each(|id| keys.push(id, "a", 2, &[0.6, 0.8]));
        let facts = UpdateFacts {
            version: VERSION,
            tool_version: "0".into(),
            site: "a".into(),
            round: 2,
            recipe: "r".into(),
            global: "g".into(),
            rows: 5,
            steps: 1,
            loss: 0.1 + 0.2,
            norm: 1.0,
            keys: 0,
            weights_sha256: String::new(),
            keys_sha256: None,
            privacy: None,
        };
        let mut update = Update { facts, weights, keys };
        update.write(directory).unwrap();
        update
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let update = written(dir.path());
        assert_eq!(Update::read(dir.path()).unwrap(), update);
        assert_eq!(update.files().len(), 3);
        // Of a later version, that is what is said, whatever else differs.
        let path = dir.path().join(Update::FACTS);
        fs::write(&path, r#"{"version": 2, "sites": []}"#).unwrap();
        let error = Update::read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("update.json: version: expected 1, found 2"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
        #[test]
        fn damage_to_any_file_is_bad_input_that_names_it(file in 0usize..3, at: prop::sample::Index, bit in 0u8..8, cut: bool) {
            let dir = tempfile::tempdir().unwrap();
            let update = written(dir.path());
            let name = [Update::FACTS, Update::WEIGHTS, Update::KEYS][file];
            let path = dir.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            fs::write(&path, &bytes).unwrap();
            match Update::read(dir.path()) {
                // Another number or name in the JSON is one that the site might have written.
                Ok(read) => prop_assert!(name == Update::FACTS && !cut && read.weights == update.weights),
                Err(error) => {
                    prop_assert_eq!(error.class(), FaultClass::BadInput, "{}", error);
                    // A digest in the JSON that is damaged is one that its file does not have.
                    prop_assert!(error.to_string().contains(name) || name == Update::FACTS, "{}", error);
                }
            }
        }
    }
}
