//! How LibTorch uses the cores and the memory of the host.

use std::{
    ffi::{c_char, c_int},
    marker::PhantomData,
    sync::{Mutex, Once, PoisonError},
};

use tch::{Device, Kind, Tensor};

use crate::{Error, error::check};

/// While this lives, LibTorch's operations on this thread use the given number of threads; afterwards the previous
/// number. In parts of LibTorch the number is shared by the whole process, so the caller of a network should set it,
/// not a part of the network.
#[must_use = "the number of threads is put back when this is dropped"]
pub struct Threads {
    before: c_int,
    // The number is a per-thread setting.
    not_send: PhantomData<*const ()>,
}

impl Threads {
    /// Sets the number of threads, at least 1.
    pub fn set(num_threads: usize) -> Self {
        settle_functions();
        let before = tch::get_num_threads();
        tch::set_num_threads(c_int::try_from(num_threads.max(1)).unwrap_or(c_int::MAX));
        Self { before, not_send: PhantomData }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}

/// Calls each elementary function once, on one thread, before several call it at the same time.
///
/// MKL, which computes them on x86, looks for the code that suits the processor when a function is first called. Threads
/// that make this call together may get code of low accuracy for it, in the oneMKL of LibTorch 2.11 (PyTorch issue
/// 188792): then the same seed does not give the same weights.
fn settle_functions() {
    static DONE: Once = Once::new();
    const FUNCTIONS: [fn(&Tensor) -> Tensor; 19] = [
        Tensor::acos,
        Tensor::asin,
        Tensor::atan,
        Tensor::cos,
        Tensor::erf,
        Tensor::erfc,
        Tensor::erfinv,
        Tensor::exp,
        Tensor::expm1,
        Tensor::lgamma,
        Tensor::log,
        Tensor::log10,
        Tensor::log1p,
        Tensor::log2,
        Tensor::rsqrt,
        Tensor::sin,
        Tensor::sqrt,
        Tensor::tan,
        Tensor::tanh,
    ];
    DONE.call_once(|| {
        for kind in [Kind::Float, Kind::Double] {
            let x = Tensor::full([1], 0.5, (kind, Device::Cpu));
            for function in FUNCTIONS {
                let _ = function(&x);
            }
        }
    });
}

/// Makes the threads inside LibTorch's operations sleep instead of spin while they wait for one another, if together
/// with `num_others` busy threads they outnumber the cores; otherwise does nothing.
///
/// GNU's OpenMP lets a waiting thread keep its core busy for about 3 ms, unless it knows of more threads than cores;
/// but it only knows its own threads. So this gives it a team of idle ones, once. Without it, on two busy cores, small
/// operations were measured to take thirty times as long. (`GOMP_SPINCOUNT` in the environment would do, but is read
/// before a program's first instruction.) Results do not change.
///
/// # Errors
/// If threads cannot be started.
pub fn share_cores(num_others: usize) -> Result<(), Error> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let own = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    if *done || own <= 1 || own + num_others <= cores {
        return Ok(());
    }
    // SAFETY: no pointers.
    check("sharing cores", unsafe { invar_torch_stop_spinning(cores as u32 + 1) })?;
    *done = true;
    Ok(())
}

/// Lets the allocator keep up to 512 MB of freed memory instead of returning it to the system.
///
/// A training step frees and reallocates tensors of megabytes; with glibc's default settings the system clears their
/// pages each time, which takes a tenth of the time of a step of a small network. Without glibc this does nothing.
pub fn keep_memory() {
    // SAFETY: no pointers; glibc accepts the settings at any time.
    unsafe { invar_torch_keep_memory() }
}

unsafe extern "C" {
    fn invar_torch_keep_memory();
    fn invar_torch_stop_spinning(num_threads: u32) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_is_put_back() {
        let outside = tch::get_num_threads();
        let inside = {
            let _threads = Threads::set(3);
            let _nested = Threads::set(0);
            tch::get_num_threads()
        };
        assert_eq!((inside, tch::get_num_threads()), (1, outside));
    }

    #[test]
    fn results_do_not_change_when_cores_are_shared() {
        tch::set_num_threads(2);
        let x = Tensor::arange(300_000, (Kind::Float, Device::Cpu)).sin();
        let before = x.sum(Kind::Float);
        share_cores(1000).unwrap();
        share_cores(1000).unwrap();
        assert_eq!(x.sum(Kind::Float), before);
    }
}
