use std::{
    fs,
    path::{Path, PathBuf},
};

use invar_dataset::atomic;
use invar_embeddings::Bank;
use serde::{Deserialize, Serialize};

use crate::{
    Error, FederationConfig, PrivacySpent, Weights, digest,
    update::{read_json, same},
};

/// GLOBAL: the model of all sites after a round, and what the next one needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    /// What it says of itself.
    pub facts: GlobalFacts,
    /// The recipe, TOML.
    pub recipe: String,
    /// The weights.
    pub model: Weights,
    /// The keys of all sites.
    pub bank: Bank,
    /// The server's momentum.
    pub velocity: Option<Weights>,
}

/// `global.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalFacts {
    /// [`VERSION`](crate::VERSION) of the writer.
    pub version: u32,
    /// Version of the program.
    pub tool_version: String,
    /// Rounds done.
    pub round: u32,
    /// Hash of the recipe: a site with another is refused.
    pub recipe: String,
    /// How sites train together.
    pub federation: FederationConfig,
    /// SHA-256 of `recipe.toml`.
    pub recipe_sha256: String,
    /// SHA-256 of `model.safetensors`.
    pub model_sha256: String,
    /// SHA-256 of `bank.parquet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_sha256: Option<String>,
    /// SHA-256 of `velocity.safetensors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub velocity_sha256: Option<String>,
    /// The sites of the last round.
    pub merged: Vec<Contribution>,
    /// The updates of the last round that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
}

/// What a site contributed to a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// Its name.
    pub site: String,
    /// Samples that it trained on.
    pub rows: u64,
    /// Its share in the average.
    pub weight: f64,
    /// Steps that it did.
    pub steps: u64,
    /// Its loss, mean over them.
    pub loss: f64,
    /// L2 norm of the change of its weights.
    pub norm: f64,
    /// L2 distance of its weights to the average.
    pub divergence: f64,
    /// Fresh keys that it sent.
    pub keys: u64,
    /// Bytes that it sent.
    pub bytes: u64,
    /// The noise in its weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacySpent>,
}

/// An update that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Its site.
    pub site: String,
    /// Why.
    pub reason: String,
}

impl Global {
    /// The file that is written last.
    pub const FACTS: &str = "global.json";
    /// The recipe.
    pub const RECIPE: &str = "recipe.toml";
    /// The weights.
    pub const MODEL: &str = "model.safetensors";
    /// The keys.
    pub const BANK: &str = "bank.parquet";
    /// The server's momentum.
    pub const VELOCITY: &str = "velocity.safetensors";

    /// Whether a directory is one.
    pub fn is_at(directory: &Path) -> bool {
        directory.join(Self::FACTS).is_file()
    }

    /// Names of all files that one can consist of.
    pub fn files() -> Vec<PathBuf> {
        [Self::FACTS, Self::RECIPE, Self::MODEL, Self::BANK, Self::VELOCITY].map(PathBuf::from).to_vec()
    }

    /// Writes it into a directory, which must be there; fills in the digests.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, directory: &Path) -> Result<(), Error> {
        let put = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            atomic::write(&path, bytes).map_err(Error::io(path))
        };
        put(Self::RECIPE, self.recipe.as_bytes())?;
        self.facts.recipe_sha256 = digest(self.recipe.as_bytes());
        self.facts.model_sha256 = self.model.write(&directory.join(Self::MODEL))?;
        self.facts.bank_sha256 = match self.bank.is_empty() {
            true => None,
            false => {
                let path = directory.join(Self::BANK);
                self.bank.write(&path, &self.facts.tool_version)?;
                Some(digest(&fs::read(&path).map_err(Error::io(&path))?))
            }
        };
        let velocity = self.velocity.as_ref().map(|velocity| velocity.write(&directory.join(Self::VELOCITY)));
        self.facts.velocity_sha256 = velocity.transpose()?;
        put(Self::FACTS, &serde_json::to_vec_pretty(&self.facts).expect("facts are plain numbers and strings"))
    }

    /// Reads it, with its digests compared.
    ///
    /// # Errors
    /// If a file is missing, damaged, or not the one that was written.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let facts = Self::read_facts(directory)?;
        let path = directory.join(Self::RECIPE);
        let recipe = fs::read_to_string(&path).map_err(Error::io(&path))?;
        same(&path, &facts.recipe_sha256, &digest(recipe.as_bytes()))?;
        let path = directory.join(Self::MODEL);
        let (model, found) = Weights::read(&path)?;
        same(&path, &facts.model_sha256, &found)?;
        if let Some((name, value)) = model.first_non_finite() {
            return Err(Error::corrupt(&path, &format!("tensor {name}"), "finite numbers", value));
        }
        let bank = match &facts.bank_sha256 {
            None => Bank::default(),
            Some(expected) => {
                let path = directory.join(Self::BANK);
                same(&path, expected, &digest(&fs::read(&path).map_err(Error::io(&path))?))?;
                Bank::read(&path)?
            }
        };
        let velocity = match &facts.velocity_sha256 {
            None => None,
            Some(expected) => {
                let path = directory.join(Self::VELOCITY);
                let (velocity, found) = Weights::read(&path)?;
                same(&path, expected, &found)?;
                Some(velocity)
            }
        };
        Ok(Self { facts, recipe, model, bank, velocity })
    }

    /// Only what it says of itself.
    ///
    /// # Errors
    /// If there is no `global.json`, or it is damaged or of another version, or of a round or settings that cannot be.
    pub fn read_facts(directory: &Path) -> Result<GlobalFacts, Error> {
        let path = directory.join(Self::FACTS);
        let facts: GlobalFacts = read_json(&path)?;
        let of_settings = |error: Error| Error::corrupt(&path, "federation", "settings in their range", error);
        facts.federation.check().map_err(of_settings)?;
        let (round, rounds) = (facts.round, facts.federation.rounds);
        if round > rounds || rounds == u32::MAX {
            return Err(Error::corrupt(&path, "round", format!("at most {rounds}"), round));
        }
        Ok(facts)
    }
}
