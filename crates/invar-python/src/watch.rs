//! Work without the interpreter's lock, while the caller's thread passes on events and looks for Ctrl-C.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{RecvTimeoutError, unbounded};
use invar_cli::ui::Listener;
use pyo3::{prelude::*, types::PyAny};

use crate::errors;

/// How often the caller's thread looks for a signal.
const TICK: Duration = Duration::from_millis(20);
/// Stack of the working thread: as much as a program's first thread has, because SQL is parsed by recursion.
const STACK_BYTES: usize = 8 << 20;

/// Runs `work` on a thread of its own. Meanwhile `on_event` is called with each event, as JSON. A signal whose handler
/// raises (Ctrl-C) or an exception of `on_event` asks the work to stop, and is raised when it has ended.
///
/// # Errors
/// That exception; or `invar.Internal` if the work panics.
pub fn watched<T: Send>(
    py: Python<'_>,
    on_event: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Listener, Arc<AtomicBool>) -> T + Send,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = unbounded();
    let listener: Listener = Arc::new(move |event| {
        // Nobody listens any more when the work has ended.
        let _ = sender.send(event.to_string());
    });
    thread::scope(|scope| {
        let theirs = stop.clone();
        let guarded = move || invar_dataset::guarded(|| work(listener, theirs));
        let builder = thread::Builder::new().name("invar".into()).stack_size(STACK_BYTES);
        let worker = builder.spawn_scoped(scope, guarded).map_err(errors::of_machine)?;
        let mut raised = None;
        loop {
            let told = match py.detach(|| receiver.recv_timeout(TICK)) {
                Ok(event) => on_event.map_or(Ok(()), |on_event| on_event.call1((event,)).map(|_| ())),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if raised.is_none()
                && let Err(error) = told.and_then(|()| py.check_signals())
            {
                stop.store(true, Ordering::Relaxed);
                raised = Some(error);
            }
        }
        let done = py.detach(|| worker.join());
        match (raised, done) {
            (Some(error), _) => Err(error),
            (None, Ok(Ok(done))) => Ok(done),
            (None, Ok(Err(panic))) => Err(errors::exception(py, "Internal", &panic)),
            (None, Err(_)) => Err(errors::exception(py, "Internal", "a thread of the program panicked")),
        }
    })
}
