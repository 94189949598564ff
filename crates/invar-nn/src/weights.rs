//! The parameters of a layer.

use std::ops::{Deref, DerefMut};

use tch::Tensor;

/// A parameter or buffer of a network, which several threads may read at the same time.
///
/// A [`Tensor`] of tch cannot be shared by threads, so what is built from layers of `Weights`, and from nothing that
/// changes behind a shared reference, can be shared, and nothing else:
///
/// ```
/// fn can_be_shared<T: Send + Sync>() {}
/// can_be_shared::<invar_nn::Weights>();
/// can_be_shared::<invar_nn::layers::Linear>();
/// ```
/// ```compile_fail
/// fn can_be_shared<T: Send + Sync>() {}
/// can_be_shared::<tch::Tensor>();
/// ```
#[derive(Debug)]
pub struct Weights(Tensor);

// SAFETY: a shared `Weights` gives `&Tensor`. LibTorch lets threads read a tensor and record operations on it at the
// same time, and counts the references to it atomically. Whatever changes its values takes `&mut Tensor`, for which the
// `Weights` must be borrowed mutably. (A shallow clone shares the values and can be changed, but that is true of every
// tensor of tch, which may be sent to another thread; sharing a reference allows nothing that sending a clone does
// not.)
unsafe impl Sync for Weights {}

impl From<Tensor> for Weights {
    fn from(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

impl Deref for Weights {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl DerefMut for Weights {
    fn deref_mut(&mut self) -> &mut Tensor {
        &mut self.0
    }
}
