//! LibTorch's CUDA libraries, opened at run time.

use std::{ffi::CStr, sync::OnceLock};

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
