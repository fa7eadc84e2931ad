//! An answer that comes later. A thread can wait for it, or a task of any runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::guard::guarded;

/// The broker is shutting down, or the worker that should have answered is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// The answer to a request. `.await` it in a task, or call [`Reply::wait`] in a thread.
#[derive(Debug)]
pub struct Reply<T>(Arc<Shared<T>>);

/// The other end of a [`Reply`]. If it is dropped without an answer, the reply is [`Stopped`].
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Open(Option<Waker>),
    Answered(Result<T, Stopped>),
    Taken,
}

pub(crate) fn request<T>() -> (Answer<T>, Reply<T>) {
    let state = Mutex::new(State::Open(None));
    let shared = Arc::new(Shared { state, answered: Condvar::new() });
    (Answer(Arc::clone(&shared)), Reply(shared))
}

impl<T> Reply<T> {
    /// Blocks the thread until the answer is there.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if there will be none.
    pub fn wait(self) -> Result<T, Stopped> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Answered(result) => return result,
                open => *state = open,
            }
            state = self.0.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Stopped>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(result) => Poll::Ready(result),
            State::Open(_) => {
                *state = State::Open(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Taken => Poll::Ready(Err(Stopped)),
        }
    }
}

impl<T> Answer<T> {
    pub(crate) fn send(self, value: T) {
        self.0.answer(Ok(value));
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.0.answer(Err(Stopped));
    }
}

impl<T> Shared<T> {
    /// Sets the answer, unless there is one already.
    fn answer(&self, result: Result<T, Stopped>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Answered(result);
            drop(state);
            self.answered.notify_all();
            if let Some(waker) = waker {
                guarded("the waker of a reply", || waker.wake());
            }
        }
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker has stopped")
    }
}

impl std::error::Error for Stopped {}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{Stopped, request};

    #[test]
    fn an_answer_reaches_a_waiting_thread() {
        let (answer, reply) = request();
        let waiting = thread::spawn(move || reply.wait());
        answer.send(7);
        assert_eq!(waiting.join().unwrap(), Ok(7));
    }

    #[test]
    fn no_answer_is_an_answer() {
        let (answer, reply) = request::<u32>();
        drop(answer);
        assert_eq!(reply.wait(), Err(Stopped));
    }
}
