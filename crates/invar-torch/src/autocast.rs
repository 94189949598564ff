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

#[cfg(test)]
#[allow(clippy::excessive_precision)] // expected values as PyTorch printed them
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use tch::Tensor;

    fn product() -> Tensor {
        let numbers = |n: i64| Tensor::arange(n, (Kind::Float, Device::Cpu));
        numbers(12).sin().view([3, 4]).matmul(&numbers(8).cos().view([4, 2]))
    }

    // x = torch.sin(torch.arange(12.)).view(3, 4); y = torch.cos(torch.arange(8.)).view(4, 2)
    // for d in (torch.bfloat16, torch.float16):
    //     with torch.autocast("cpu", dtype=d): print((x @ y).float().flatten().tolist())
    const BF16: [f32; 6] = [-0.80859375, -0.46484375, 0.453125, 0.953125, 0.2099609375, -0.78125];
    const F16: [f32; 6] = [-0.80908203125, -0.46875, 0.455810546875, 0.95654296875, 0.21337890625, -0.78173828125];

    #[test]
    fn products_are_those_of_pytorchs_autocast() {
        for (kind, expected) in [(Kind::BFloat16, BF16), (Kind::Half, F16)] {
            let guard = Autocast::enter(Device::Cpu, kind).unwrap();
            let found = product();
            drop(guard);
            assert_eq!(found.kind(), kind);
            assert_eq!(Vec::<f32>::try_from(found.to_kind(Kind::Float).flatten(0, 1)).unwrap(), expected);
            assert_eq!(product().kind(), Kind::Float);
        }
    }

    #[test]
    fn guards_nest_and_end_with_a_panic() {
        let _outer = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _inner = Autocast::enter(Device::Cpu, Kind::Half).unwrap();
            assert_eq!(product().kind(), Kind::Half);
            panic!("in the midst of it");
        }));
        assert!(panicked.is_err());
        assert_eq!(product().kind(), Kind::BFloat16);
        // Another thread knows nothing of it.
        assert_eq!(std::thread::spawn(|| product().kind()).join().unwrap(), Kind::Float);
    }

    #[test]
    fn other_kinds_are_refused() {
        let error = Autocast::enter(Device::Cpu, Kind::Double).err().expect("double is not short").to_string();
        assert_eq!(error, "autocast: expected BFloat16 or Half, found Double");
    }
}
