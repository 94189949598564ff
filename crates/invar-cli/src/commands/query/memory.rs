//! Limits the memory of a query: a join can have more rows than fit into any memory, and nothing announces it
//! beforehand.

use std::{thread, time::Duration};

use anyhow::anyhow;
use invar_dataset::{host_memory, process_memory};

use crate::ui::{self, thousands};

/// Interval between checks.
const PAUSE: Duration = Duration::from_millis(20);
/// The message when the system refuses memory at once, and nothing more can be allocated.
const REFUSED: &[u8] = b"error: the query takes more memory than this machine gives; join or select less\n";

/// Ends the process with code 1 and both figures if it takes more than `limit` bytes, by default nine tenths of the
/// machine's memory, or if it requests more at once than the system provides.
pub(super) fn limit(limit: Option<usize>) {
    trap_refusal();
    let Some(available) = limit.or_else(|| Some(host_memory()? / 10 * 9)) else { return };
    thread::spawn(move || {
        while let Some(needed) = process_memory() {
            if needed > available {
                let [needed, available] = [needed, available].map(|bytes| thousands(bytes.div_ceil(1_000_000) as u64));
                ui::error(&anyhow!(
                    "the query has taken {needed} MB of memory, {available} MB are free to it (--memory-bytes); \
                     join or select less"
                ));
                std::process::exit(1);
            }
            thread::sleep(PAUSE);
        }
    });
}

/// An allocation that the system refuses aborts the program, which gives neither a proper exit code nor an error
/// message.
#[cfg(unix)]
fn trap_refusal() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: both calls are safe in a signal handler; the bytes live for ever.
        unsafe {
            libc::write(libc::STDERR_FILENO, REFUSED.as_ptr().cast(), REFUSED.len());
            libc::_exit(1);
        }
    }
    // SAFETY: the handler does nothing that a signal handler must not do.
    unsafe { libc::signal(libc::SIGABRT, end as extern "C" fn(libc::c_int) as libc::sighandler_t) };
}

#[cfg(not(unix))]
fn trap_refusal() {}
