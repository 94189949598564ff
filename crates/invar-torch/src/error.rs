use std::{
    ffi::{CStr, c_char},
    time::Duration,
};

use tch::TchError;
use thiserror::Error;

/// What LibTorch threw, or would have.
#[derive(Debug, Error)]
pub enum Error {
    /// A C++ exception: its message, without the stack.
    #[error("LibTorch: {operation}: {message}")]
    Exception {
        /// The operation that threw.
        operation: &'static str,
        /// First line of the exception's message.
        message: String,
    },
    /// LibTorch rejected an operator of tch.
    #[error("LibTorch: {message}")]
    Refused {
        /// First line of LibTorch's message.
        message: String,
    },
    /// The program has a bug.
    #[error("a fault of this program, please report it: {message} ({place})")]
    Panic {
        /// The panic's message.
        message: String,
        /// File and line.
        place: String,
    },
    /// A list differs in length from the list of parameters.
    #[error("fused AdamW: {parameters} parameters, but {found} {what}")]
    Lengths {
        /// Number of parameters.
        parameters: usize,
        /// The list that differs.
        what: &'static str,
        /// Its length.
        found: usize,
    },
    /// A tensor without the shape that the operation needs.
    #[error("{operation}: {what}: expected {expected}, found {found}")]
    Tensor {
        /// The operation.
        operation: &'static str,
        /// The tensor.
        what: String,
        /// The shape or kind it should have.
        expected: String,
        /// Its actual shape or kind.
        found: String,
    },
    /// An environment variable that should say where the processes of a run meet.
    #[error("environment: {name} {}: expected {expected}", value_of(value))]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value; `None` if it is not set.
        value: Option<String>,
        /// The expected value.
        expected: String,
    },
    /// The processes of a run failed to connect.
    #[error(
        "process {rank} of {size} found no group at {host}:{port} (a peer is waited for up to {} s): {message}",
        timeout.as_secs_f64()
    )]
    Connect {
        /// The rank of this process, 0-based.
        rank: usize,
        /// Number of processes.
        size: usize,
        /// Where the processes meet.
        host: String,
        /// The port there.
        port: u16,
        /// The timeout of each wait.
        timeout: Duration,
        /// First line of what went wrong.
        message: String,
    },
    /// A group lost a process, or waited too long for it; the group can no longer be used.
    #[error("{operation}: a peer of this process ended or cannot be reached: {message}")]
    Peer {
        /// The operation that failed.
        operation: &'static str,
        /// First line of the exception's message.
        message: String,
    },
    /// This build does not include NCCL.
    #[error("this build has no NCCL: use Gloo, or build with the feature \"nccl\" of invar-torch")]
    NoNccl,
}

impl Error {
    /// Whether there was not enough memory, of the host or of a GPU.
    pub fn is_out_of_memory(&self) -> bool {
        let (Self::Refused { message } | Self::Exception { message, .. }) = self else { return false };
        // As worded by PyTorch's allocators (c10/core/impl/alloc_cpu.cpp, c10/cuda/CUDACachingAllocator.cpp,
        // aten/src/ATen/mps), the CUDA runtime and cuBLAS.
        ["can't allocate memory", "not enough memory", "out of memory", "_ALLOC_FAILED"]
            .iter()
            .any(|words| message.contains(words))
    }
}

/// The first line of tch's message: LibTorch appends its stack.
impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        let text = match error {
            TchError::Torch(text) => text,
            other => other.to_string(),
        };
        Self::Refused { message: text.lines().next().unwrap_or_default().trim_end().to_owned() }
    }
}

/// The result of a function of the shim: null, or an exception's message, which is freed.
pub(crate) fn check(operation: &'static str, message: *mut c_char) -> Result<(), Error> {
    first_line(message).map_err(|message| Error::Exception { operation, message })
}

/// As [`check`], for the first line only.
pub(crate) fn first_line(message: *mut c_char) -> Result<(), String> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns a C string that it allocated for us.
    Err(unsafe { owned_text(message) }.lines().next().unwrap_or_default().to_owned())
}

/// Takes a C string that the shim allocated, and frees it.
///
/// # Safety
/// `text` must be such a string, and must not be used again.
pub(crate) unsafe fn owned_text(text: *mut c_char) -> String {
    // SAFETY: the caller's promise.
    let owned = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: as above; it is not used again.
    unsafe { invar_torch_free(text) };
    owned
}

fn value_of(value: &Option<String>) -> String {
    value.as_ref().map_or_else(|| "is not set".into(), |value| format!("is {value:?}"))
}

unsafe extern "C" {
    fn invar_torch_free(message: *mut c_char);
}
