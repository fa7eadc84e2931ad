//! Calls code that is not the broker's own. A panic in it ends only the call, not the thread that
//! makes it.
//!
//! Everything that an embedding program gives the broker to call on one of its threads is called
//! through this module: hooks, wakers, the function to be told of a failed store. The caller
//! chooses what counts instead of an answer; it must never be a permission.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Remembers the panics of one place, so that they do not fill the log.
#[derive(Debug, Default)]
pub(crate) struct Guard(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Guard {
    /// The shortest time between two log lines of one guard.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Returns what `call` returns; `None` if it panics, which is logged under `name`.
    pub(crate) fn call<T>(&self, name: &str, call: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => Some(value),
            Err(payload) => {
                self.tell(name, &text_of(&*payload));
                drop_payload(payload);
                None
            }
        }
    }

    fn tell(&self, name: &str, text: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| last.elapsed() < Self::INTERVAL) {
            told.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut told.untold);
        told.last = Some(Instant::now());
        drop(told);
        match untold {
            0 => log::error!("{name} has panicked: {text}"),
            _ => log::error!("{name} has panicked: {text} (and {untold} more since the last line)"),
        }
    }
}

/// Does the same as [`Guard::call`] for something that is not called often.
pub(crate) fn guarded<T>(name: &str, call: impl FnOnce() -> T) -> Option<T> {
    Guard::default().call(name, call)
}

/// Drops the payload of a panic, which comes from the program and may panic once more.
#[allow(clippy::disallowed_methods, reason = "to drop what panics when it is dropped has no end")]
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

/// Returns what the panic said.
fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a word".to_string())
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::{guarded, text_of};

    /// Panics again when it is dropped.
    struct Sore;

    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    #[test]
    fn a_panic_is_no_answer_whatever_it_carries() {
        assert_eq!(guarded("a test", || 7), Some(7));
        assert_eq!(guarded("a test", || -> u32 { panic!("a word") }), None);
        assert_eq!(guarded("a test", || -> u32 { panic_any(Sore) }), None);
    }

    #[test]
    fn what_it_said_is_told() {
        assert_eq!(text_of(&"a word"), "a word");
        assert_eq!(text_of(&"two words".to_string()), "two words");
        assert_eq!(text_of(&7), "without a word");
    }
}
