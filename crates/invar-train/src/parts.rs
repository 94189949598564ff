//! Building blocks of a [`Step`](crate::Step) that is not a weighted sum of losses: an adversarial one, or several
//! networks that learn in turn.
//!
//! A step owns its networks, and an [`Optimizer`] for each set of parameters that learns separately. It collects
//! gradients in [`Gradients`] while batches are accumulated, and takes their mean over batches and processes when it is
//! updated. Everything it changes is among its tensors, under names that tell which part owns them: then the
//! [`Trainer`](crate::Trainer) can store it, and a run that was killed continues as if it had not been. Tensors named
//! `trunk.*` are the encoder and become the model (or those named `ema.trunk.*`, if there are any). `tests/parts.rs`
//! has a complete example.
//!
//! ```
//! use invar_torch::ProcessGroup;
//! use invar_train::{TrainConfig, parts::{Gradients, Optimizer, gradients_of}};
//! use tch::{Device, Kind, Tensor};
//!
//! // Two players of a game: x lowers the product, y raises it.
//! let [x, y] = [1.0, 2.0].map(|value| Tensor::full([1], value, (Kind::Float, Device::Cpu)).set_requires_grad(true));
//! let config = TrainConfig { weight_decay: 0.0, ..TrainConfig::default() };
//! let named = |name: &str, tensor: &Tensor| vec![(name.to_owned(), tensor.shallow_clone())];
//! let mut optimizers =
//!     [Optimizer::new("optimizer", &config, named("x", &x)), Optimizer::new("other", &config, named("y", &y))];
//! for (optimizer, sign) in optimizers.iter_mut().zip([1.0, -1.0]) {
//!     let mut gradients = Gradients::new(&optimizer.params());
//!     gradients.sum(gradients_of(&(&x * &y * sign).sum(Kind::Float), &optimizer.params())?);
//!     let mean = gradients.take(&ProcessGroup::solo(), 1.0)?;
//!     optimizer.step(mean.as_slice(), 0.125)?;
//! }
//! // The first step of Adam is as long as the learning rate.
//! assert!((x.double_value(&[0]) - 0.875).abs() < 1e-6 && (y.double_value(&[0]) - 2.125).abs() < 1e-6);
//! assert!(optimizers[1].state().iter().all(|(name, _)| name.starts_with("other.")));
//! # Ok::<(), invar_train::Error>(())
//! ```

pub use crate::{
    ema::Ema,
    gradients::{Gradients, Summed, gradients_of},
    network::{Network, Projected, seeded},
    optimizer::{Optimizer, copy_named},
};
