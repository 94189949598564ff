//! What tch 0.24 does not bind: fused AdamW, the state of the random number generators, deterministic algorithms.
//!
//! The C++ side is `shim.cpp`, compiled beside torch-sys against the same LibTorch. Exceptions are caught there and
//! come back as [`Error`]. `build.rs` also works out the linker arguments with which a program finds LibTorch.

mod process_group;

use std::{
    ffi::{CStr, c_char, c_int},
    sync::{Mutex, OnceLock, PoisonError},
};

use tch::{Device, Tensor};
use thiserror::Error;
use torch_sys::C_tensor;

pub use process_group::ProcessGroup;

/// What LibTorch threw.
#[derive(Debug, Error)]
pub enum Error {
    /// A C++ exception: its message, without the stack.
    #[error("LibTorch: {operation}: {message}")]
    Exception {
        /// The operation that threw.
        operation: &'static str,
        /// First line of what the exception said.
        message: String,
    },
    /// A list is not as long as the list of parameters.
    #[error("fused AdamW: {parameters} parameters, but {found} {what}")]
    Lengths {
        /// Number of parameters.
        parameters: usize,
        /// The list that differs.
        what: &'static str,
        /// Its length.
        found: usize,
    },
    /// A device without a generator that can be read.
    #[error("the random number generator of {0:?} cannot be read")]
    NoGenerator(Device),
}

/// The numbers of AdamW (Loshchilov and Hutter, *Decoupled weight decay regularization*, 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// Shrinkage a step, times the learning rate.
    pub weight_decay: f64,
    /// Added to the denominator.
    pub eps: f64,
}

/// State of AdamW, one tensor a parameter, owned by the caller so that it can be saved.
pub struct AdamWState<'a> {
    /// Running mean of gradients, shaped as the parameter.
    pub exp_avgs: &'a [Tensor],
    /// Running mean of squared gradients, shaped as the parameter.
    pub exp_avg_sqs: &'a [Tensor],
    /// Steps taken, a f32 scalar on the parameter's device; counted up by the step.
    pub steps: &'a [Tensor],
}

/// One step of `at::_fused_adamw_` on CPU or CUDA: `torch.optim.AdamW(.., fused=True)`.
///
/// # Errors
/// When the lists differ in length, or LibTorch refuses (shapes, devices).
pub fn fused_adamw(adamw: AdamW, params: &[Tensor], grads: &[Tensor], state: &AdamWState<'_>) -> Result<(), Error> {
    let lists =
        [("gradients", grads), ("means", state.exp_avgs), ("squares", state.exp_avg_sqs), ("steps", state.steps)];
    for (what, list) in lists {
        if list.len() != params.len() {
            return Err(Error::Lengths { parameters: params.len(), what, found: list.len() });
        }
    }
    if params.is_empty() {
        return Ok(());
    }
    let pointers = |list: &[Tensor]| list.iter().map(Tensor::as_ptr).collect::<Vec<_>>();
    let (p, g) = (pointers(params), pointers(grads));
    let (m, v, t) = (pointers(state.exp_avgs), pointers(state.exp_avg_sqs), pointers(state.steps));
    let AdamW { learning_rate, beta1, beta2, weight_decay, eps } = adamw;
    // SAFETY: every pointer is to a live tensor, and all lists hold `params.len()` of them.
    check("fused AdamW", unsafe {
        invar_torch_fused_adamw(
            p.len(),
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            t.as_ptr(),
            learning_rate,
            beta1,
            beta2,
            weight_decay,
            eps,
        )
    })
}

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

/// Makes the threads inside LibTorch's operations sleep instead of spin while they wait for one another, where those
/// and `num_others` busy threads are together more than the cores; else does nothing.
///
/// GNU's OpenMP lets a waiting thread burn its core for about 3 ms, unless it knows of more threads than cores; but it
/// knows its own threads only. So this makes it a team of idle ones, once. Without it, on two busy cores, small
/// operations were measured to take thirty times as long. (`GOMP_SPINCOUNT` in the environment would do, but is read
/// before a program's first instruction.) Results do not change.
///
/// # Errors
/// When threads cannot be started.
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

/// Opens LibTorch's CUDA libraries, which register themselves; without them no device is ever found. Must come before
/// the first question about CUDA, whose answer LibTorch keeps. A second call does nothing.
///
/// The program is not linked to them, so that commands that use no network start without them.
///
/// # Errors
/// What the dynamic linker says, as where this LibTorch has no CUDA build.
pub fn load_cuda() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    OPENED.get_or_init(open_cuda).clone()
}

#[cfg(target_os = "linux")]
fn open_cuda() -> Result<(), String> {
    // SAFETY: the name is a C string; the library stays open for ever, so that its symbols stay valid. Its static
    // constructors are LibTorch's own registrations.
    let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a failed dlopen, dlerror gives a C string or null.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err("libtorch_cuda.so cannot be loaded".into());
    }
    // SAFETY: not null, and valid until the next call of the dynamic linker by this thread.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}

#[cfg(not(target_os = "linux"))]
fn open_cuda() -> Result<(), String> {
    Err("CUDA is used on Linux only".into())
}

/// Lets the allocator keep up to 512 MB of freed memory instead of giving it back to the system.
///
/// A training step frees and asks again for tensors of megabytes; with glibc's settings the system clears their pages
/// each time, a tenth of the time of a step of a small network. Elsewhere than with glibc this does nothing.
pub fn keep_memory() {
    // SAFETY: no pointers; glibc takes the settings at any time.
    unsafe { invar_torch_keep_memory() }
}

fn generator_index(device: Device) -> Result<c_int, Error> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => Ok(index as c_int),
        other => Err(Error::NoGenerator(other)),
    }
}

fn check(operation: &'static str, message: *mut c_char) -> Result<(), Error> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns a C string that it allocated for us.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { invar_torch_free(message) };
    Err(Error::Exception { operation, message: text.lines().next().unwrap_or_default().to_owned() })
}

unsafe extern "C" {
    fn invar_torch_free(message: *mut c_char);
    fn invar_torch_fused_adamw(
        count: usize,
        params: *const *const C_tensor,
        grads: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        steps: *const *const C_tensor,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
    fn invar_torch_rng_state(cuda_index: c_int, out: *mut *mut C_tensor) -> *mut c_char;
    fn invar_torch_set_rng_state(cuda_index: c_int, state: *const C_tensor) -> *mut c_char;
    fn invar_torch_set_deterministic(on: bool, warn_only: bool) -> *mut c_char;
    fn invar_torch_keep_memory();
    fn invar_torch_stop_spinning(num_threads: u32) -> *mut c_char;
}

#[cfg(test)]
#[allow(clippy::excessive_precision)] // expected values as PyTorch printed them
mod tests {
    use super::*;
    use tch::Kind;

    // p = torch.nn.Parameter(torch.tensor([1., -2., 3., 0.5]))
    // o = torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05)   # not fused
    // for g in ([0.1, -0.2, 0.3, 0.], [0.5, 0.5, -0.5, 1e-3], [-1., 2., 0., 0.25]):
    //     p.grad = torch.tensor(g); o.step()
    // print(p.data.tolist(), o.state[p]["exp_avg"].tolist(), o.state[p]["exp_avg_sq"].tolist())
    #[test]
    fn three_steps_equal_torch_optim_adamw() {
        let params = [Tensor::from_slice(&[1f32, -2., 3., 0.5])];
        let zeros = || [Tensor::zeros([4], (Kind::Float, Device::Cpu))];
        let (exp_avgs, exp_avg_sqs) = (zeros(), zeros());
        let steps = [Tensor::zeros([], (Kind::Float, Device::Cpu))];
        let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.05, eps: 1e-8 };
        for grad in [[0.1f32, -0.2, 0.3, 0.], [0.5, 0.5, -0.5, 1e-3], [-1., 2., 0., 0.25]] {
            let state = AdamWState { exp_avgs: &exp_avgs, exp_avg_sqs: &exp_avg_sqs, steps: &steps };
            fused_adamw(adamw, &params, &[Tensor::from_slice(&grad)], &state).unwrap();
        }
        assert_eq!(steps[0].double_value(&[]), 3.0);
        close(&params[0], EXPECTED_PARAM);
        close(&exp_avgs[0], EXPECTED_MEAN);
        close(&exp_avg_sqs[0], EXPECTED_SQUARE);
    }

    const EXPECTED_PARAM: [f32; 4] = [0.827175736, -1.98535228, 2.90812063, 0.354841262];
    const EXPECTED_MEAN: [f32; 4] = [-0.0469000004, 0.228799999, -0.0206999965, 0.0250899997];
    const EXPECTED_SQUARE: [f32; 4] = [0.0125730094, 0.0428670384, 0.00335709006, 0.000625009881];

    fn close(tensor: &Tensor, expected: [f32; 4]) {
        let found = Vec::<f32>::try_from(tensor).unwrap();
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 2e-6), "{found:?} {expected:?}");
    }

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
        let (p, none) = ([Tensor::from_slice(&[1f32])], AdamWState { exp_avgs: &[], exp_avg_sqs: &[], steps: &[] });
        let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, eps: 1e-8 };
        assert!(matches!(fused_adamw(adamw, &p, &[], &none), Err(Error::Lengths { parameters: 1, found: 0, .. })));
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

    #[test]
    fn deterministic_algorithms_can_be_switched() {
        set_deterministic(true).unwrap();
        set_deterministic(false).unwrap();
    }
}
