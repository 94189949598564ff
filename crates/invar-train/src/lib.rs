//! The training loop, and what can be done with a trained model.
//!
//! ```text
//! PairSource --Feed (view workers)--> Views --Step (towers, loss, optimizer)--> weights
//!                                       |            |
//!                                   Trainer: schedule, validation, metrics.jsonl, checkpoints, resume
//!
//! ViewSource --embed (view workers)--> Model --> [f32; D] per sample --> sink
//! ```
//!
//! The trainer knows no domain: data arrive as [`invar_dataset::PairSource`] and [`invar_dataset::ViewSource`]. Nor
//! does it know what is learned: a [`Step`] other than [`ContrastiveStep`] is built from [`parts`] and passed to
//! [`Trainer::with_step`].
//!
//! A run directory holds `checkpoints/step-NNNNNNNN.safetensors` (weights, their moving average, optimizer, memory bank
//! and state in one file, written atomically), the best checkpoint as `checkpoints/best-NNNNNNNN.safetensors`, their
//! digests, `metrics.jsonl`, a copy of it for TensorBoard in `tensorboard/` and, at the end, `model.safetensors`. The
//! batch and the dropout of step `s` are pure functions of the seed and `s`, so a run that was killed and resumed ends
//! with the same weights, bit for bit, as one that was not.
//!
//! ```
//! use std::sync::Arc;
//! use invar_dataset::{DatasetError, NoProgress, Pair, PairSource, SampleId, SampleName, View, ViewShape, seed};
//! use invar_nn::{EncoderConfig, encoder::kmer_mlp::KmerMlpConfig};
//! use invar_train::{Model, Steps, TrainConfig, TrainingJob, train};
//! use tch::Device;
//!
//! /// 64 samples, each a wave of its own; its views start at different places.
//! struct Waves;
//!
//! impl PairSource for Waves {
//!     fn len(&self) -> usize {
//!         64
//!     }
//!     fn view_shapes(&self) -> Vec<ViewShape> {
//!         vec![ViewShape::Dense(vec![16])]
//!     }
//!     fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
//!         let view = |number| {
//!             let start = (seed::mix(pair_seed, number) % 100) as f32 / 100.0;
//!             View::features((0..16).map(|at| (start + at as f32 * (index + 1) as f32 * 0.04).sin()).collect())
//!         };
//!         Ok(Pair::of(SampleId(index as u64), [view(0), view(1)]))
//!     }
//!     fn split_key(&self, index: usize) -> SampleId {
//!         SampleId(index as u64)
//!     }
//!     fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
//!         Ok(SampleName::number(index))
//!     }
//! }
//!
//! let recipe = TrainingJob {
//!     encoders: vec![EncoderConfig::KmerMlp(KmerMlpConfig { hidden: vec![32], dim: 8, ..Default::default() })],
//!     loss: Default::default(),
//!     train: TrainConfig { steps: Steps::Fixed(5), batch_size: 16, ..TrainConfig::default() },
//!     features: Default::default(),
//!     data: "waves".into(),
//! };
//! let run = tempfile::tempdir()?;
//! let summary = train(&recipe, Arc::new(Waves), Device::Cpu, run.path(), &NoProgress)?;
//! assert_eq!(summary.steps, 5);
//! assert_eq!(Model::load(&summary.model, Device::Cpu)?.dim(), 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod harmony;
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
pub use config::{TrainConfig, TrainingJob};
pub use embed::{EmbedConfig, TORCH_THREADS as EMBED_TORCH_THREADS, block_samples, embed};
pub use error::Error;
pub use harmony::{HarmonyConfig, HarmonyMethod, HarmonyScope};
pub use held_out::{HeldOut, held_out};
pub use memory::Memory;
pub use metrics::{Event, StepMetrics, Timing, ValidationMetrics};
pub use model::Model;
pub use observer::Observer;
pub use orbits::{InvarianceReport, Moves, Orbits, Round, SymmetryGap, orbits};
pub use place::Place;
pub use quality::{PairQuality, pair_quality};
pub use step::{ContrastiveStep, Others, Step, StepReport, ValidationReport};
pub use steps::{Epochs, Steps};
pub use survey::{Survey, survey};
pub use trainer::{Outcome, TrainSummary, Trainer, train};
