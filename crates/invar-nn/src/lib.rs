//! The LibTorch boundary: views become tensors on a device, tensors become embeddings.
//!
//! ```text
//! &[&View]  --collate-->  Batch (host)  --to_device-->  Batch  --Encoder-->  Encoded { embedding [B, D] }
//! ```
//!
//! Shapes: `B` batch, `F` features, `L` positions, `C` channels, `H x W` pixels, `D` embedding dimensions.
//!
//! Every embedding that leaves an [`Encoder`] has unit length. Sequence encoders do not depend on the strand, except
//! for rounding: see [`strands`]; image encoders can be invariant to quarter turns: see [`rotations`]. Trunk parameters
//! are named `trunk.*`; a loss names its own `head.<loss>.*`. An encoder can be shared by threads: see [`Weights`].
//!
//! ```
//! use invar_dataset::{View, ViewShape};
//! use invar_nn::{Batch, EncoderConfig, Mode};
//! let store = tch::nn::VarStore::new(tch::Device::Cpu);
//! let encoder = EncoderConfig::default().init(&(store.root() / "trunk"), &ViewShape::Dense(vec![2080]))?;
//! let view = View::features(vec![0.5; 2080]);
//! let encoded = encoder.encode(&Batch::collate(&[&view])?, Mode::EMBED)?;
//! assert_eq!(encoded.embedding.size(), [1, 128]);
//! # Ok::<(), invar_nn::Error>(())
//! ```

pub mod device;
pub mod encoder;
pub mod layers;
pub mod rotations;
pub mod strands;
pub mod unet;

mod batch;
mod error;
mod features;
mod relations;
mod sample_ids;
mod standardise;
mod towers;
mod weights;

pub use batch::{Bags, Batch, Graphs, NodeValues, Nodes};
pub use device::DeviceChoice;
pub use encoder::{Encoded, Encoder, EncoderConfig, Grid, Mode, Outputs, Sees, TokenShape, unit_length};
pub use error::Error;
pub use features::Features;
pub use relations::{Relation, Relations};
pub use sample_ids::SampleIds;
pub use towers::{Asked, Towers, Views};
pub use weights::Weights;
