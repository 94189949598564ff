//! Guards against a library whose assertions a file or a query can violate: its panics become texts, and nothing is
//! printed on standard error.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; if it panics, returns the text of the panic.
///
/// The process has a single hook that prints panics. It is replaced once, by one that ignores guarded work and passes
/// everything else to the previous hook. A panic on another thread that `work` waits for is still printed.
///
/// # Errors
/// The text of the panic. What `work` changed may be left half done: drop it.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_GUARDED.get() {
                before(info);
            }
        }));
    });
    let was_guarded = IS_GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(was_guarded);
    result.map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a failed assertion".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| panic!("number {}", 7)), Err::<(), _>("number 7".into()));
        assert_eq!(guarded(|| guarded(|| panic!("inner")).unwrap_err()), Ok("inner".into()));
        assert!(!IS_GUARDED.get());
    }
}
