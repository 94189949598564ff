//! Panics as errors. When LibTorch rejects an operation (not enough memory, shapes that do not fit), the operators of
//! tch panic; using its fallible forms would clutter every line of a network. This is the boundary instead.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::Once,
};

use crate::Error;

/// Runs something that may panic, on the calling thread. Nothing is printed: the panic's message is in the error. (If
/// `RUST_BACKTRACE` is set, a panic that is not LibTorch's is also printed as usual.)
///
/// What `body` changes may be left half done: the caller must drop it, as after any other error.
///
/// # Errors
/// [`Error::Refused`] if LibTorch rejected an operation, [`Error::Panic`] for any other panic, which is a bug in the
/// program.
pub fn caught<T>(body: impl FnOnce() -> T) -> Result<T, Error> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 || (shows_backtraces() && refusal(&text_of(info.payload())).is_none()) {
                before(info);
            }
            PLACE.set(place_of(info));
        }));
    });
    let _inside = Inside::enter();
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = text_of(&*panic);
        match refusal(&text) {
            Some(message) => Error::Refused { message },
            None => Error::Panic { message: text, place: PLACE.take() },
        }
    })
}

thread_local! {
    /// How many calls of [`caught`] this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Where it last panicked.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

fn shows_backtraces() -> bool {
    std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0")
}

fn place_of(info: &PanicHookInfo) -> String {
    info.location().map_or_else(|| "an unknown place".into(), |at| format!("{}:{}", at.file(), at.line()))
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// The first line of LibTorch's message, if the panic is that of an operator of tch, which unwraps.
fn refusal(panic: &str) -> Option<String> {
    let (_, error) = panic.split_once("an `Err` value: Torch(\"")?;
    // The text is in `Debug` format: a newline is a backslash and an n.
    let mut line = String::new();
    let mut letters = error.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n' | 'r') | None => break,
                Some('t') => line.push(' '),
                Some(other) => line.push(other),
            },
            other => line.push(other),
        }
    }
    Some(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn a_refusal_of_libtorch_is_an_error_of_one_line() {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        let error = caught(|| zeros(&[2, 3]) + zeros(&[4, 5])).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Refused { .. }) && !error.is_out_of_memory());
        let expected =
            "LibTorch: The size of tensor a (3) must match the size of tensor b (5) at non-singleton dimension 1";
        assert_eq!(text, expected);
        // tch's own conversion gives the same text.
        let error = Error::from(zeros(&[2, 3]).f_add(&zeros(&[4, 5])).unwrap_err());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn memory_that_is_not_there_is_told_apart() {
        // 2^56 bytes: more than the address space of any machine.
        let error = caught(|| Tensor::empty([1 << 54], (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(error.is_out_of_memory(), "{error}");
        assert!(error.to_string().contains("72057594037927936 bytes"), "{error}");
        for text in ["CUDA out of memory. Tried to allocate 2.00 GiB.", "MPS backend out of memory (...)"] {
            assert!(Error::Refused { message: text.into() }.is_out_of_memory());
        }
    }

    #[test]
    fn other_panics_say_what_and_where() {
        let error = caught(|| -> i32 { panic!("number {}", 3) }).unwrap_err();
        let Error::Panic { message, place } = &error else { panic!("{error}") };
        assert_eq!(message, "number 3");
        assert!(place.ends_with(&format!("caught.rs:{}", line!() - 3)), "{place}");
        // Nested calls, and success.
        let nested = caught(|| (caught(|| panic!("inner")).map_err(|e: Error| e.to_string()), 7)).unwrap();
        assert!(nested.0.unwrap_err().contains("inner"));
        assert_eq!((nested.1, DEPTH.get()), (7, 0));
    }

    #[test]
    fn lines_end_and_quotes_stay() {
        let of = |text: &str| refusal(&format!("called `Result::unwrap()` on an `Err` value: Torch({text:?})"));
        assert_eq!(of("a \"b\"\tc\nException raised from ..").unwrap(), "a \"b\" c");
        assert_eq!(of("").unwrap(), "");
        assert_eq!(refusal("called `Result::unwrap()` on an `Err` value: Kind(\"x\")"), None);
    }
}
