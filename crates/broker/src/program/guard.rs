//! Calls code that is not the broker's own. A panic in it ends only the call, not the thread that
//! makes it.
//!
//! What an embedding program gives the broker to ask or to tell is called through this module:
//! hooks, wakers, the function to be told of a failure. The caller chooses what counts instead of
//! an answer; it must never be a permission.
//!
//! The program's log, clocks, disk and allocator are called from everywhere, without a guard. The
//! threads on which others wait are noted here, so that such code never waits there, either.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

thread_local! {
    /// How many calls of the program's code, each made by the one before it, this thread is in.
    static CALLS: Cell<usize> = const { Cell::new(0) };
    /// Whether this is a thread of a broker that must not wait.
    static IS_NOTED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the present thread must never wait for what a thread of a broker has to do: it is a
/// worker, or the thread of the store, or the one that accepts connections.
pub(crate) fn note_thread() {
    IS_NOTED.set(true);
}

/// Returns whether the code that asks runs on such a thread, of whichever broker, or is guarded. It
/// must not wait for anything that such a thread has to do.
pub(crate) fn must_not_wait() -> bool {
    is_guarded() || IS_NOTED.get()
}

/// Returns whether the code that asks was called through a guard, so that it may panic.
pub(crate) fn is_guarded() -> bool {
    CALLS.get() > 0
}

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
        CALLS.set(CALLS.get() + 1);
        let called = catch_unwind(AssertUnwindSafe(call));
        CALLS.set(CALLS.get() - 1);
        match called {
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
    use std::thread;

    use super::{guarded, is_guarded, must_not_wait, note_thread, text_of};

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
    fn code_of_the_program_is_told_who_calls_it() {
        assert!(!must_not_wait());
        assert_eq!(guarded("a test", must_not_wait), Some(true));
        assert_eq!(guarded("a test", || -> u32 { panic!("a word") }), None);
        assert!(!must_not_wait());
        let of_broker = thread::spawn(|| {
            note_thread();
            (must_not_wait(), is_guarded())
        });
        assert_eq!(of_broker.join().unwrap(), (true, false));
    }

    #[test]
    fn what_it_said_is_told() {
        assert_eq!(text_of(&"a word"), "a word");
        assert_eq!(text_of(&"two words".to_string()), "two words");
        assert_eq!(text_of(&7), "without a word");
    }
}
