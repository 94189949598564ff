//! Independent pieces of work, one per thread, instead of threads inside every operation.

use std::{
    ffi::{c_char, c_void},
    sync::{Mutex, PoisonError},
};

use crate::{Error, caught, error::check};

/// Applies `body` to each input, in order, on LibTorch's own threads; the operations inside run on the calling thread.
/// Threads wait for one another only at the end, while those inside an operation do so at the end of every one: for a
/// small network on two cores that is a sixth of the time. Gradients are tracked as at the point of the call.
///
/// If LibTorch is set to one thread, or if the call is nested, this is a loop. Results are the same for any number of
/// threads unless `body` draws from LibTorch's generators, which all threads share.
///
/// # Errors
/// If LibTorch fails, or `body` panics: the error of the first such input.
pub fn side_by_side<I: Send, T: Send>(inputs: Vec<I>, body: &(dyn Fn(I) -> T + Sync)) -> Result<Vec<T>, Error> {
    let slots = inputs.into_iter().map(|input| Mutex::new(Slot::Waits(input))).collect();
    let mut work = Work { body, slots };
    let count = work.slots.len();
    // SAFETY: `run` takes a `Work<I, T>`, which outlives the call; threads may share it, because `body` is `Sync` and
    // the slots, whose contents may be sent, are locked.
    check("side by side", unsafe { invar_torch_side_by_side(count, run::<I, T>, (&raw mut work).cast()) })?;
    let take = |slot: Mutex<Slot<I, T>>| match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Slot::Done(result) => result,
        Slot::Waits(_) | Slot::Taken => unreachable!("every number was called"),
    };
    work.slots.into_iter().map(take).collect()
}

struct Work<'a, I, T> {
    body: &'a (dyn Fn(I) -> T + Sync),
    slots: Vec<Mutex<Slot<I, T>>>,
}

enum Slot<I, T> {
    Waits(I),
    Taken,
    Done(Result<T, Error>),
}

extern "C" fn run<I: Send, T: Send>(context: *mut c_void, number: usize) {
    // SAFETY: the context is the `Work` of [`side_by_side`], which outlives the call and is only read.
    let work = unsafe { &*context.cast::<Work<'_, I, T>>() };
    let lock = || work.slots[number].lock().unwrap_or_else(PoisonError::into_inner);
    let slot = std::mem::replace(&mut *lock(), Slot::Taken);
    if let Slot::Waits(input) = slot {
        let result = caught(|| (work.body)(input));
        *lock() = Slot::Done(result);
    }
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
        let inputs = parts.iter().map(|part| (part.shallow_clone(), weights.shallow_clone())).collect();
        let found = side_by_side(inputs, &|(part, weights): (Tensor, Tensor)| gradient(&part, &weights)).unwrap();
        for (part, found) in parts.iter().zip(&found) {
            // A product on one thread may be summed in another order than one on two.
            let (difference, size) = (found - gradient(part, &weights), found.abs().max().double_value(&[]));
            assert!(size > 0.0 && difference.abs().max().double_value(&[]) < 1e-12 * size);
        }
        let clones = || (0..4).map(|_| weights.shallow_clone()).collect();
        let tracks = || side_by_side(clones(), &|weights: Tensor| weights.square().requires_grad()).unwrap();
        assert_eq!(tracks(), [true; 4]);
        assert_eq!(tch::no_grad(tracks), [false; 4]);
    }

    #[test]
    fn the_first_panic_comes_back_as_an_error() {
        tch::set_num_threads(2);
        let body = |number: usize| assert!(number < 2, "number {number}");
        let error = side_by_side(vec![0, 1, 2, 3], &body).unwrap_err();
        assert!(matches!(&error, Error::Panic { message, .. } if message == "number 2"), "{error}");
        assert!(side_by_side(vec![], &body).unwrap().is_empty());
        let huge = |size: i64| Tensor::empty([size], (Kind::Float, Device::Cpu)).numel();
        assert!(side_by_side(vec![3, 1 << 54], &huge).unwrap_err().is_out_of_memory());
    }
}
