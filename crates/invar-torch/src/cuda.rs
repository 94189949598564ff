//! LibTorch's CUDA libraries, opened at run time.

use std::{ffi::CStr, sync::OnceLock};

/// Opens LibTorch's CUDA libraries, which register themselves; without them no device is ever found. Must be called
/// before the first query about CUDA, whose answer LibTorch caches. A second call does nothing.
///
/// The program is not linked to them, so that commands without a network start without them.
///
/// # Errors
/// The dynamic linker's message, for example if this LibTorch is not a CUDA build.
pub fn load_cuda() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    OPENED.get_or_init(open_cuda).clone()
}

#[cfg(target_os = "linux")]
fn open_cuda() -> Result<(), String> {
    // SAFETY: the name is a C string; the library is never closed, so its symbols stay valid. Its static constructors
    // are LibTorch's own registrations.
    let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a failed dlopen, dlerror returns a C string or null.
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
