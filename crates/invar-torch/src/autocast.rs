//! Mixed precision: matrix products and convolutions in a short kind of float, the rest as before.

use std::{
    ffi::{CStr, c_char, c_int},
    marker::PhantomData,
};

use tch::{Device, Kind};

use crate::{Error, error::check};

/// While it lives, LibTorch casts the inputs of matrix products, convolutions and the like on one type of device to a
/// short kind, and those of operations that need the range to f32: PyTorch's `torch.autocast`, whose lists of operations
/// apply. Holds for the thread that made it.
///
/// Guards nest, and end in the reverse of the order in which they were made, as those of blocks do. The end of a guard
/// puts back what was there before it, also during a panic. Weights are cast once, until the end of the outermost guard:
/// make it new for every step, because a step changes them.
#[must_use = "autocast ends when the guard is dropped"]
pub struct Autocast {
    device_type: &'static CStr,
    was_enabled: bool,
    old_kind: c_int,
    // The state belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// Casts to `kind`, which is [`Kind::BFloat16`] or [`Kind::Half`], on devices of the type of `device`. Gradients
    /// of the latter underflow unless the loss is scaled.
    ///
    /// # Errors
    /// For other kinds, and devices other than CPU, CUDA and MPS.
    pub fn enter(device: Device, kind: Kind) -> Result<Self, Error> {
        let device_type = match device {
            Device::Cpu => c"cpu",
            Device::Cuda(_) => c"cuda",
            Device::Mps => c"mps",
            other => return Err(Error::Autocast { expected: "CPU, CUDA or MPS", found: format!("{other:?}") }),
        };
        // The numbers of c10::ScalarType.
        let scalar_type = match kind {
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            other => return Err(Error::Autocast { expected: "BFloat16 or Half", found: format!("{other:?}") }),
        };
        let (mut was_enabled, mut old_kind) = (false, 0);
        // SAFETY: a C string, and two variables of ours to write.
        check("autocast", unsafe {
            invar_torch_autocast_enter(device_type.as_ptr(), scalar_type, &raw mut was_enabled, &raw mut old_kind)
        })?;
        Ok(Self { device_type, was_enabled, old_kind, not_send: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: as above. The same thread as `enter`'s, because a guard cannot leave it.
        let ended = check("autocast", unsafe {
            invar_torch_autocast_leave(self.device_type.as_ptr(), self.was_enabled, self.old_kind)
        });
        // Only an unknown type of device throws, and `enter` took this one.
        debug_assert!(ended.is_ok(), "{ended:?}");
    }
}

unsafe extern "C" {
    fn invar_torch_autocast_enter(
        device_type: *const c_char,
        kind: c_int,
        was_enabled: *mut bool,
        old_kind: *mut c_int,
    ) -> *mut c_char;
    fn invar_torch_autocast_leave(device_type: *const c_char, was_enabled: bool, old_kind: c_int) -> *mut c_char;
}
