//! Subscriptions of the embedding program: a bounded queue between a worker and the receiver.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use midge_core::ConnectionId;

use crate::guard::guarded;
use crate::inbox::{Inbox, Letter};
use crate::message::ReceivedMessage;

/// A subscription, whose messages are received inside the process. Dropping it ends the
/// subscription.
pub struct Subscription {
    queue: Arc<Queue>,
    inbox: Arc<Inbox>,
    connection: ConnectionId,
}

/// The worker's end of a subscription.
pub(crate) struct Sender(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    messages: VecDeque<ReceivedMessage>,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Sender {
    /// Messages that may wait to be received; further ones are dropped and counted.
    const WAITING_MAX: usize = 10_000;

    pub(crate) fn new() -> Self {
        Self(Arc::new(Queue { state: Mutex::default(), arrived: Condvar::new() }))
    }

    /// Queues a message. Returns false if the queue is full.
    pub(crate) fn send(&self, message: ReceivedMessage) -> bool {
        let mut state = self.0.lock();
        if state.messages.len() >= Self::WAITING_MAX {
            return false;
        }
        state.messages.push_back(message);
        self.0.wake(state);
        true
    }

    /// Ends the subscription: no further message comes.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.wake(state);
        self.0.arrived.notify_all();
    }
}

impl Subscription {
    pub(crate) fn new(sender: &Sender, inbox: Arc<Inbox>, connection: ConnectionId) -> Self {
        Self { queue: Arc::clone(&sender.0), inbox, connection }
    }

    /// Waits for the next message; `None` when the broker has stopped.
    pub fn recv(&self) -> Option<ReceivedMessage> {
        let mut state = self.queue.lock();
        loop {
            if let Some(message) = state.messages.pop_front() {
                return Some(message);
            }
            if state.is_closed {
                return None;
            }
            state = self.queue.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next message, at most this long. `None` after that, or when the broker has
    /// stopped.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<ReceivedMessage> {
        // A timeout that the clock cannot express means none.
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.recv();
        };
        let mut state = self.queue.lock();
        loop {
            if let Some(message) = state.messages.pop_front() {
                return Some(message);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if state.is_closed {
                return None;
            }
            let waited = self.queue.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the next message, as a future for any runtime; `None` when the broker has stopped.
    pub async fn next(&mut self) -> Option<ReceivedMessage> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<ReceivedMessage>> {
        let mut state = self.queue.lock();
        if let Some(message) = state.messages.pop_front() {
            return Poll::Ready(Some(message));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inbox.send(Letter::Unsubscribe { connection: self.connection });
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.arrived.notify_one();
        if let Some(waker) = waker {
            guarded("the waker of a subscription", || waker.wake());
        }
    }
}
