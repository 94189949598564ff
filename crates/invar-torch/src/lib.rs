//! What tch 0.24 does not bind: fused AdamW, deterministic algorithms, autograd nodes with known gradients, work on
//! LibTorch's threads, and groups of processes.
//!
//! The C++ side is `src/*.cpp`, compiled with torch-sys's settings against the same LibTorch. Exceptions are caught
//! there and returned as [`Error`]; those that tch turns into panics are returned through [`caught`]. `build.rs` also
//! computes the linker arguments a program needs to find LibTorch.
//!
//! ```
//! use invar_torch::{Error, attach_gradients, caught};
//! use tch::Tensor;
//!
//! // A value that was worked out elsewhere, and its gradient: autograd goes on from there.
//! let x = Tensor::from(3.0).set_requires_grad(true);
//! let square = attach_gradients(&Tensor::from(9.0), &[(&x, &Tensor::from(6.0))])?;
//! let gradients = Tensor::run_backward(&[square * 2.0], &[&x], false, false);
//! assert_eq!(gradients[0].double_value(&[]), 12.0);
//!
//! // What LibTorch refuses is an error.
//! assert!(matches!(caught(|| x.view([3])), Err(Error::Refused { .. })));
//! # Ok::<(), Error>(())
//! ```

mod caught;
mod cuda;
mod error;
mod gradients;
mod host;
mod optimizer;
mod process_group;
mod random;
mod side_by_side;

pub use caught::caught;
pub use cuda::load_cuda;
pub use error::Error;
pub use gradients::attach_gradients;
pub use host::{Threads, keep_memory, share_cores};
pub use optimizer::{AdamW, AdamWState, fused_adamw};
pub use process_group::{Backend, ProcessGroup, Rendezvous};
pub use random::{set_deterministic, set_environment};
pub use side_by_side::side_by_side;
