//! Independent pieces of work, one a thread, instead of threads inside every operation.

use std::{
    ffi::{c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{Error, error::check};

/// `[body(0), body(1), ..]`, on LibTorch's own threads; the operations inside run on the thread that calls them. Threads
/// wait for one another at the end only, while those inside an operation do so at the end of every one: for a
/// small network on two cores that is a sixth of the time. Gradients are tracked as they are where this is called.
///
/// With LibTorch set to one thread, or called from within, this is a loop.
///
/// # Errors
/// When LibTorch refuses.
///
/// # Panics
/// When `body` does, with what it panics with.
///
/// # Safety
/// The calls of `body` must be fit to run at the same time, although what it captures need not be `Sync`. Tensors may be
/// read by all of them, and written by none; nothing may draw from LibTorch's generators.
pub unsafe fn side_by_side<T: Send>(count: usize, body: &dyn Fn(usize) -> T) -> Result<Vec<T>, Error> {
    type Slot<T> = Mutex<Option<thread::Result<T>>>;
    struct Work<'a, T> {
        body: &'a dyn Fn(usize) -> T,
        slots: Vec<Slot<T>>,
    }
    extern "C" fn run<T>(context: *mut c_void, number: usize) {
        // SAFETY: the context is the `Work` below, which outlives the call, and is only read.
        let work = unsafe { &*context.cast::<Work<'_, T>>() };
        let result = catch_unwind(AssertUnwindSafe(|| (work.body)(number)));
        *work.slots[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
    let mut work = Work { body, slots: (0..count).map(|_| Slot::default()).collect() };
    // SAFETY: `run` takes a `Work<T>`; the caller vouches for `body`, the slots are locked, and their `T` are `Send`.
    check("side by side", unsafe { invar_torch_side_by_side(count, run::<T>, (&raw mut work).cast()) })?;
    let take = |slot: Slot<T>| match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(value)) => value,
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("every number was called"),
    };
    Ok(work.slots.into_iter().map(take).collect())
}

unsafe extern "C" {
    fn invar_torch_side_by_side(
        count: usize,
        body: extern "C" fn(*mut c_void, usize),
        context: *mut c_void,
    ) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    fn gradient(x: &Tensor, weights: &Tensor) -> Tensor {
        let loss = x.matmul(weights).relu().square().sum(Kind::Double);
        Tensor::run_backward(&[loss], &[weights], false, false).remove(0)
    }

    #[test]
    fn gradients_of_shared_weights_are_those_of_a_loop() {
        tch::set_num_threads(2);
        let values = |rows: i64, columns: i64, phase: i64| {
            (Tensor::arange(rows * columns, (Kind::Double, Device::Cpu)) + phase).sin().view([rows, columns])
        };
        let weights = values(70, 50, 0).set_requires_grad(true);
        let parts: Vec<Tensor> = (1..8).map(|phase| values(90, 70, phase)).collect();
        // SAFETY: the tensors are only read.
        let found = unsafe { side_by_side(parts.len(), &|number| gradient(&parts[number], &weights)) }.unwrap();
        for (part, found) in parts.iter().zip(&found) {
            assert_eq!(*found, gradient(part, &weights));
        }
        let tracks = || unsafe { side_by_side(4, &|_| weights.square().requires_grad()) }.unwrap();
        assert_eq!(tracks(), [true; 4]);
        assert_eq!(tch::no_grad(tracks), [false; 4]);
    }

    #[test]
    fn a_panic_comes_back() {
        tch::set_num_threads(2);
        let body = |number: usize| assert!(number < 2, "number {number}");
        // SAFETY: nothing is shared.
        let panic = catch_unwind(|| unsafe { side_by_side(3, &body) }).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), "number 2");
        assert!(unsafe { side_by_side(0, &body) }.unwrap().is_empty());
    }
}
