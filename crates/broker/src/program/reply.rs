//! Answers that come later. A thread can wait for one, or a task of any runtime.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use midge_codec::ReasonCode;
use midge_core::DropReason;

use crate::program::guard::{guarded, is_guarded, must_not_wait};
use crate::program::message::OwnedMessage;

/// The broker is shutting down, or the worker that should have answered is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Why the broker did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// A gate or a limit refused the message.
    Dropped(DropReason),
    /// The subscription was refused.
    Refused(ReasonCode),
    /// A [`Hook`](crate::Hook), or a log that runs on a thread of the broker, has published while
    /// there was no room. It cannot wait for room: its thread may be the one that has to make some.
    NoRoom,
    /// The broker has stopped.
    Stopped,
}

/// The message was not published, because too many others still wait for their replies:
/// see [`BrokerBuilder::publish_bytes_max`](crate::BrokerBuilder::publish_bytes_max).
#[derive(Clone, Debug)]
pub struct NoRoom(pub OwnedMessage);

const NO_ROOM: &str =
    "too much is published and not yet answered: try again when replies have come";

/// The answer to a request. `.await` it in a task, or call [`Reply::wait`] in a thread.
///
/// Unless its method says otherwise, the request is on its way when the method returns. Dropping
/// the reply does not take it back.
#[must_use = "the request may have been refused"]
pub struct Reply<T, E = Stopped>(Source<T, E>);

enum Source<T, E> {
    /// One answer, of one thread of the broker.
    Answer(Arc<Shared<T, E>>),
    /// Something that is made of several answers.
    Steps(Steps<T, E>),
}

type Steps<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The other end of a [`Reply`]. If it is dropped without an answer, the reply is [`Stopped`].
#[derive(Debug)]
pub(crate) struct Answer<T, E: From<Stopped> = Stopped>(Arc<Shared<T, E>>);

#[derive(Debug)]
struct Shared<T, E>(Mutex<State<T, E>>);

#[derive(Debug)]
enum State<T, E> {
    Open(Option<Waker>),
    Answered(Result<T, E>),
    Taken,
}

/// Returns the two ends of a request: one to answer it, one to wait for the answer.
pub(crate) fn request<T, E: From<Stopped>>() -> (Answer<T, E>, Reply<T, E>) {
    let shared = Arc::new(Shared(Mutex::new(State::Open(None))));
    (Answer(Arc::clone(&shared)), Reply(Source::Answer(shared)))
}

impl<T, E: From<Stopped>> Reply<T, E> {
    /// Makes a reply of something that waits for other replies. It begins when it is first waited
    /// for, so the other requests have to be under way before.
    pub(crate) fn of(steps: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self(Source::Steps(Box::pin(steps)))
    }

    /// Makes a reply to a request that was refused without asking any other thread.
    pub(crate) fn refused(error: E) -> Self {
        let state = Mutex::new(State::Answered(Err(error)));
        Self(Source::Answer(Arc::new(Shared(state))))
    }

    /// Blocks the thread until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of the request. If there will be no answer: [`Stopped`], or the error made of it. The
    /// same if the program's log, clocks, disk or allocator would wait for an answer on a thread of
    /// the broker: nothing comes of waiting for oneself, and a panic would end that thread.
    ///
    /// # Panics
    ///
    /// In a method of a [`Hook`](crate::Hook), in a waker and in the function of
    /// [`BrokerBuilder::on_failure`](crate::BrokerBuilder::on_failure), if a thread of the broker
    /// calls it: that thread would wait for itself.
    pub fn wait(mut self) -> Result<T, E> {
        assert!(
            !is_guarded(),
            "a thread of the broker must not wait for a reply: it may be the one that has to answer"
        );
        if must_not_wait() {
            let polled = Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop()));
            return match polled {
                Poll::Ready(result) => result,
                Poll::Pending => Err(E::from(Stopped)),
            };
        }
        block_on(self)
    }
}

impl<T, E: From<Stopped>> Future for Reply<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Source::Answer(shared) => shared.poll(context),
            Source::Steps(steps) => steps.as_mut().poll(context),
        }
    }
}

impl<T, E: From<Stopped>> Answer<T, E> {
    /// Answers the request.
    pub(crate) fn send(self, value: T) {
        self.end(Ok(value));
    }

    /// Answers the request, which may have failed.
    pub(crate) fn end(self, result: Result<T, E>) {
        self.0.answer(result);
    }
}

impl<T, E: From<Stopped>> Drop for Answer<T, E> {
    fn drop(&mut self) {
        self.0.answer(Err(E::from(Stopped)));
    }
}

impl<T, E: From<Stopped>> Shared<T, E> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(result) => Poll::Ready(result),
            State::Open(_) => {
                *state = State::Open(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Taken => Poll::Ready(Err(E::from(Stopped))),
        }
    }

    /// Sets the answer, unless there is one already.
    fn answer(&self, result: Result<T, E>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Answered(result);
            drop(state);
            if let Some(waker) = waker {
                guarded("the waker of a reply", || waker.wake());
            }
        }
    }
}

/// Lets a thread sleep until a future may go on.
#[derive(Default)]
struct Bed {
    was_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        *self.was_woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }
}

/// Blocks the thread until the future is ready.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let bed = Arc::new(Bed::default());
    let waker = Waker::from(Arc::clone(&bed));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let was_woken = bed.was_woken.lock().unwrap_or_else(PoisonError::into_inner);
        let was_woken = bed.woken.wait_while(was_woken, |was_woken| !*was_woken);
        *was_woken.unwrap_or_else(PoisonError::into_inner) = false;
    }
}

impl<T, E> std::fmt::Debug for Reply<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker has stopped")
    }
}

impl std::error::Error for Stopped {}

impl From<Stopped> for RequestError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dropped(reason) => write!(f, "the message was dropped: {}", reason.name()),
            Self::NoRoom => NO_ROOM.fmt(f),
            Self::Refused(code) => write!(f, "the subscription was refused: {}", code.name()),
            Self::Stopped => Stopped.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        NO_ROOM.fmt(f)
    }
}

impl std::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{Reply, RequestError, Stopped, request};
    use crate::program::guard::{guarded, note_thread};

    #[test]
    fn an_answer_reaches_a_waiting_thread() {
        let (answer, reply) = request::<_, Stopped>();
        let waiting = thread::spawn(move || reply.wait());
        answer.send(7);
        assert_eq!(waiting.join().unwrap(), Ok(7));
    }

    #[test]
    fn no_answer_is_an_answer() {
        let (answer, reply) = request::<u32, Stopped>();
        drop(answer);
        assert_eq!(reply.wait(), Err(Stopped));
    }

    #[test]
    fn several_answers_make_up_one_reply() {
        let (one, first) = request::<_, Stopped>();
        let (two, second) = request();
        let sum = Reply::of(async move { Ok::<_, Stopped>(first.await? + second.await?) });
        let waiting = thread::spawn(move || sum.wait());
        two.send(2);
        one.send(1);
        assert_eq!(waiting.join().unwrap(), Ok(3));
    }

    #[test]
    fn no_thread_of_the_broker_waits_for_a_reply() {
        let (answer, reply) = request::<u32, Stopped>();
        assert_eq!(guarded("a test", move || reply.wait()), None);
        answer.send(7);
        let (answer, reply) = request::<u32, Stopped>();
        let of_broker = thread::spawn(move || {
            note_thread();
            (reply.wait(), Reply::<u32, RequestError>::refused(RequestError::NoRoom).wait())
        });
        assert_eq!(of_broker.join().unwrap(), (Err(Stopped), Err(RequestError::NoRoom)));
        answer.send(7);
    }
}
