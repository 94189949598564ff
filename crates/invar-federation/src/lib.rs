//! Federated training: several sites train one model without showing each other their samples.
//!
//! ```text
//! GLOBAL of round r - 1  ->  each site: local steps  ->  UPDATE of each site  ->  merge  ->  GLOBAL of round r
//!   weights, bank of keys                                 weights, fresh keys
//! ```
//!
//! A site trains for some steps from the global weights; its negatives are those of its batch and, of the *bank*, the keys
//! of other sites: projections of their samples, without a name. It sends its weights and fresh keys. The merge averages
//! the weights by the sites' number of samples (FedAvg: McMahan et al., *Communication-efficient learning of deep networks
//! from decentralized data*, 2017), and puts the keys into the bank (as the dictionary of FedCA: Zhang et al., *Federated
//! unsupervised representation learning*, 2020).
//!
//! This crate knows neither networks nor messages: directories in, directories out, so that any engine can carry them.
//!
//! ```text
//! GLOBAL/   recipe.toml          the recipe, as a training resolves it
//!           model.safetensors    trunk.*, head.*: a model like that of a RUN
//!           bank.parquet         BANK, if keys are exchanged
//!           velocity.safetensors the server's momentum, if there is one
//!           global.json          what the round was made of; written last
//! UPDATE/   weights.safetensors  trunk.*, head.*
//!           keys.parquet         BANK of the site's fresh keys, if keys are exchanged
//!           update.json          rows, steps, loss, norm, hashes, privacy; written last
//! ```
//!
//! ```
//! use invar_federation::{FederationConfig, privacy};
//!
//! // Noise of the size of the clipped update itself, in each of 10 rounds.
//! let epsilon = privacy::epsilon(1.0, 10, 1e-5);
//! assert!((epsilon - 17.857).abs() < 1e-2, "{epsilon}");
//! FederationConfig::default().check()?;
//! # Ok::<(), invar_federation::Error>(())
//! ```

mod bank;
mod error;
mod global;
mod merge;
pub mod privacy;
mod settings;
mod update;
mod weights;

pub use bank::{for_site, mean_age, merged};
pub use error::Error;
pub use global::{Contribution, Global, GlobalFacts, Refusal};
pub use merge::{Merge, merge};
pub use settings::{BatchNorms, FederationConfig, PrivacyConfig};
pub use update::{PrivacySpent, Update, UpdateFacts};
pub use weights::{Tensors, Weights, digest};

/// Version of the two directories' formats.
pub const VERSION: u32 = 1;
