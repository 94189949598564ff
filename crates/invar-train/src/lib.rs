//! The training loop, and what is done with a trained model.
//!
//! ```text
//! PairSource --Feed (view workers)--> Views --Step (towers, loss, optimizer)--> weights
//!                                       |            |
//!                                   Trainer: schedule, validation, metrics.jsonl, checkpoints, resume
//!
//! ViewSource --embed (view workers)--> Model --> [f32; D] per sample --> sink
//! ```
//!
//! The trainer knows no domain: data come as [`invar_dataset::PairSource`] and [`invar_dataset::ViewSource`]. Neither
//! does it know what is learned: a [`Step`] that is not [`ContrastiveStep`] is built of [`parts`] and given to
//! [`Trainer::with_step`].
//!
//! A run directory holds `checkpoints/step-NNNNNNNN.safetensors` (weights, their moving average, optimizer, memory bank
//! and state in one file, written atomically), the best one as `checkpoints/best-NNNNNNNN.safetensors`, their digests,
//! `metrics.jsonl`, its double for TensorBoard in `tensorboard/` and, at the end, `model.safetensors`. Batch and
//! dropout number `s` are pure functions of the seed and `s`, so a run that was killed and resumed ends with the same
//! weights, bit for bit, as one that was not.

pub mod alarms;
pub mod checkpoint;
pub mod embed;
pub mod feed;
pub mod held_out;
pub mod metrics;
pub mod orbits;
pub mod parts;
pub mod quality;
pub mod schedule;
pub mod survey;

mod config;
mod ema;
mod error;
mod gradients;
mod identity;
mod memory;
mod model;
mod network;
mod observer;
mod optimizer;
mod place;
mod step;
mod steps;
mod tensorboard;
mod trainer;

pub use alarms::{Alarms, Starving};
pub use config::{Recipe, TrainConfig};
pub use embed::{EmbedConfig, TORCH_THREADS as EMBED_TORCH_THREADS, embed};
pub use error::Error;
pub use held_out::{HeldOut, held_out};
pub use memory::Memory;
pub use metrics::{StepMetrics, Timing, ValidationMetrics};
pub use model::Model;
pub use observer::Observer;
pub use orbits::{InvarianceReport, Moves, Orbits, Round, SymmetryGap, orbits};
pub use place::Place;
pub use quality::{PairQuality, pair_quality};
pub use step::{ContrastiveStep, Step, StepReport, ValidationReport};
pub use steps::{Epochs, Steps};
pub use survey::{Survey, survey};
pub use trainer::{Outcome, TrainSummary, Trainer, train};
