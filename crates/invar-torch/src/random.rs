//! What makes runs reproducible: deterministic algorithms.

use std::{env, ffi::c_char};

use crate::{Error, error::check};

/// Sets `CUBLAS_WORKSPACE_CONFIG` in the environment unless it is set: cuBLAS is deterministic only with it, and reads
/// it when first used. A program that may train on CUDA calls this first.
///
/// # Safety
/// No other thread may be running yet.
pub unsafe fn set_environment() {
    const NAME: &str = "CUBLAS_WORKSPACE_CONFIG";
    if env::var_os(NAME).is_none() {
        // SAFETY: the caller promises that nobody else reads the environment in the meantime.
        unsafe { env::set_var(NAME, ":4096:8") };
    }
}

/// Makes LibTorch use the deterministic form of every algorithm that has one: `torch.use_deterministic_algorithms`.
/// Algorithms without one warn, as does cuBLAS without [`set_environment`].
///
/// # Errors
/// None known; kept in case LibTorch throws.
pub fn set_deterministic(on: bool) -> Result<(), Error> {
    // SAFETY: no pointers.
    check("deterministic algorithms", unsafe { invar_torch_set_deterministic(on, true) })
}

unsafe extern "C" {
    fn invar_torch_set_deterministic(on: bool, warn_only: bool) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deterministic_algorithms_can_be_switched() {
        set_deterministic(true).unwrap();
        set_deterministic(false).unwrap();
    }
}
