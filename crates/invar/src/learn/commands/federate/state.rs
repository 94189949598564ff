//! What a site keeps for itself from round to round.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cli::exit::{BadInput, Usage};
use invar_dataset::lock::Lock;
use invar_federation::privacy::Ledger;
use invar_train::checkpoint;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::site::Site;

/// The directory of a site.
///
/// ```text
/// site.json                      whose it is, and of which recipe
/// round-00003.safetensors        its optimizer, and its batch norms where they stay, after round 3
/// updates.json                   the updates with noise that it has made
/// ```
pub struct State {
    directory: PathBuf,
    _lock: Lock,
}

/// What `site.json` says.
#[derive(Serialize, Deserialize)]
struct Owner {
    site: String,
    recipe: String,
}

const SITE: &str = "site.json";
const UPDATES: &str = "updates.json";
const ROUND: &str = "round-";
const ENDING: &str = ".safetensors";

impl State {
    /// Holds the directory of a site; makes it if it is not there.
    ///
    /// # Errors
    /// If it is that of another site or recipe, or holds what Invar did not write.
    pub fn hold<S>(directory: &Path, site: &Site<S>) -> Result<Self> {
        let at = || directory.display().to_string();
        let lock = Lock::directory(directory).with_context(at)?;
        let path = directory.join(SITE);
        let own = Owner { site: site.name.clone(), recipe: site.recipe_hash()? };
        let refuse = |reason: String| Err(Usage(format!("{}: {reason}", at())).into());
        match fs::read(&path) {
            Ok(bytes) => {
                let found: Owner =
                    serde_json::from_slice(&bytes).map_err(|error| BadInput(format!("{}: {error}", path.display())))?;
                if found.site != own.site {
                    return refuse(format!("is the state of site {}, not of {}", found.site, own.site));
                }
                if found.recipe != own.recipe {
                    return refuse(format!("is a state of recipe {}, this one is {}", found.recipe, own.recipe));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(other) = fs::read_dir(directory).with_context(at)?.flatten().next() {
                    let other = other.file_name();
                    return refuse(format!("holds {}, which no site wrote: choose another", other.display()));
                }
                invar_dataset::atomic::write(&path, &serde_json::to_vec(&own)?).with_context(at)?;
            }
            Err(error) => return Err(error).with_context(at),
        }
        Ok(Self { directory: directory.into(), _lock: lock })
    }

    /// Whether a file has a name of one in such a directory.
    pub fn is_file(name: &str) -> bool {
        name == SITE || name == UPDATES || (name.starts_with(ROUND) && name.ends_with(ENDING))
    }

    /// What was kept before a round: after the last one before it that the site took part in.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn before(&self, round: u32) -> Result<HashMap<String, Tensor>> {
        let rounds = self.rounds()?;
        let Some((_, path)) = rounds.into_iter().filter(|(kept, _)| *kept < round).max() else {
            return Ok(HashMap::new());
        };
        Ok(checkpoint::read::<u32>(&path)?.0)
    }

    /// Keeps tensors after a round.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save(&self, round: u32, mut tensors: Vec<(String, Tensor)>) -> Result<()> {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        checkpoint::write(&self.directory.join(format!("{ROUND}{round:05}{ENDING}")), &tensors, &round)?;
        Ok(())
    }

    /// Removes what a round and the ones after it do not go on from.
    ///
    /// # Errors
    /// If the system fails.
    pub fn tidy(&self, round: u32) -> Result<()> {
        let mut rounds = self.rounds()?;
        rounds.retain(|(kept, _)| *kept < round);
        rounds.sort();
        // The last one is where this round began: if its update is lost, it is made again from there.
        rounds.pop();
        for (_, path) in rounds {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Notes that an update of a round is made, before it can be sent.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn made(&self, round: u32, noise_multiplier: f64) -> Result<Ledger> {
        let path = self.directory.join(UPDATES);
        let mut ledger = Ledger::read(&path)?;
        ledger.updates.push((round, noise_multiplier));
        ledger.write(&path)?;
        Ok(ledger)
    }

    fn rounds(&self) -> Result<Vec<(u32, PathBuf)>> {
        let entries = fs::read_dir(&self.directory).with_context(|| self.directory.display().to_string())?;
        let round = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            Some((name.strip_prefix(ROUND)?.strip_suffix(ENDING)?.parse().ok()?, path))
        };
        Ok(entries.flatten().filter_map(|entry| round(entry.path())).collect())
    }
}
