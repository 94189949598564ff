//! What makes a run repeat itself: the state of the random number generators, deterministic algorithms.

use std::ffi::{c_char, c_int};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::{Error, error::check};

/// The whole state of a device's default random number generator, as bytes `[n]` (u8, on the CPU).
///
/// # Errors
/// On devices other than CPU and CUDA, and where there is no such CUDA device.
pub fn rng_state(device: Device) -> Result<Tensor, Error> {
    let index = generator_index(device)?;
    let mut state = std::ptr::null_mut();
    // SAFETY: on success `state` is a new tensor that we own.
    check("reading the random number generator", unsafe { invar_torch_rng_state(index, &raw mut state) })?;
    Ok(unsafe { Tensor::from_ptr(state) })
}

/// Puts a generator back into a state that [`rng_state`] gave.
///
/// # Errors
/// As [`rng_state`], and when the state is of another kind of generator.
pub fn set_rng_state(device: Device, state: &Tensor) -> Result<(), Error> {
    let index = generator_index(device)?;
    // SAFETY: `state` is a live tensor.
    check("restoring the random number generator", unsafe { invar_torch_set_rng_state(index, state.as_ptr()) })
}

/// Asks LibTorch for the deterministic form of every algorithm that has one: `torch.use_deterministic_algorithms`.
/// Algorithms that have none warn.
/// Sets `CUBLAS_WORKSPACE_CONFIG` in the environment where it is not set, because cuBLAS repeats itself only so: call
/// this before other threads read the environment.
///
/// # Errors
/// None known; kept for LibTorch's exceptions.
pub fn set_deterministic(on: bool) -> Result<(), Error> {
    // SAFETY: no pointers.
    check("deterministic algorithms", unsafe { invar_torch_set_deterministic(on, true) })
}

fn generator_index(device: Device) -> Result<c_int, Error> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => Ok(index as c_int),
        other => Err(Error::NoGenerator(other)),
    }
}

unsafe extern "C" {
    fn invar_torch_rng_state(cuda_index: c_int, out: *mut *mut C_tensor) -> *mut c_char;
    fn invar_torch_set_rng_state(cuda_index: c_int, state: *const C_tensor) -> *mut c_char;
    fn invar_torch_set_deterministic(on: bool, warn_only: bool) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn a_restored_generator_repeats_itself() {
        tch::manual_seed(3);
        let state = rng_state(Device::Cpu).unwrap();
        let draw = || Vec::<f32>::try_from(Tensor::rand([100], (Kind::Float, Device::Cpu))).unwrap();
        let (first, second) = (draw(), draw());
        assert_ne!(first, second);
        set_rng_state(Device::Cpu, &state).unwrap();
        assert_eq!(draw(), first);
    }

    #[test]
    fn exceptions_become_errors() {
        let error = set_rng_state(Device::Cpu, &Tensor::from_slice(&[1u8, 2])).unwrap_err();
        assert!(matches!(error, Error::Exception { .. }), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }

    #[test]
    fn deterministic_algorithms_can_be_switched() {
        set_deterministic(true).unwrap();
        set_deterministic(false).unwrap();
    }
}
