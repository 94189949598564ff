use std::{
    ffi::{CStr, c_char},
    time::Duration,
};

use tch::Device;
use thiserror::Error;

/// What LibTorch threw, or would have.
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
    /// A tensor without the shape that the operation needs.
    #[error("{operation}: {what}: expected {expected}, found {found}")]
    Tensor {
        /// The operation.
        operation: &'static str,
        /// The tensor.
        what: String,
        /// The shape or kind it should have.
        expected: String,
        /// The one it has.
        found: String,
    },
    /// A device without a generator that can be read.
    #[error("the random number generator of {0:?} cannot be read")]
    NoGenerator(Device),
    /// A device or kind that autocast does not know.
    #[error("autocast: expected {expected}, found {found}")]
    Autocast {
        /// What autocast takes.
        expected: &'static str,
        /// What was asked for.
        found: String,
    },
    /// An environment variable that should say where the processes of a run meet.
    #[error("environment: {name} {}: expected {expected}", value_of(value))]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value; `None` where it is not set.
        value: Option<String>,
        /// What it should be.
        expected: String,
    },
    /// The processes of a run did not come together.
    #[error(
        "process {rank} of {size} found no group at {host}:{port} (a peer is waited for up to {} s): {message}",
        timeout.as_secs_f64()
    )]
    Connect {
        /// The number of this process, 0-based.
        rank: usize,
        /// Number of processes.
        size: usize,
        /// Where the processes meet.
        host: String,
        /// The port there.
        port: u16,
        /// How long each wait may take.
        timeout: Duration,
        /// First line of what went wrong.
        message: String,
    },
    /// A group lost a process, or waited too long for it; the group can do nothing more.
    #[error("{operation}: a peer of this process ended or cannot be reached: {message}")]
    Peer {
        /// The operation that failed.
        operation: &'static str,
        /// First line of what the exception said.
        message: String,
    },
    /// This build does not hold NCCL.
    #[error("this build has no NCCL: use Gloo, or build with the feature \"nccl\" of invar-torch")]
    NoNccl,
}

/// What a function of the shim returned: null, or the message of an exception, which is freed.
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

/// A C string that the shim allocated, which is freed.
///
/// # Safety
/// `text` is such a string, and is not used again.
pub(crate) unsafe fn owned_text(text: *mut c_char) -> String {
    // SAFETY: the caller's promise.
    let owned = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    unsafe { invar_torch_free(text) };
    owned
}

fn value_of(value: &Option<String>) -> String {
    value.as_ref().map_or_else(|| "is not set".into(), |value| format!("is {value:?}"))
}

unsafe extern "C" {
    fn invar_torch_free(message: *mut c_char);
}
