//! Subscriptions of the embedding program: a bounded queue between a worker and the receiver.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use midge_core::ConnectionId;

use crate::bounded_queue::BoundedQueue;
use crate::inbox::{Inbox, Letter};
use crate::message::ReceivedMessage;

/// A subscription, whose messages are received inside the process. Dropping it ends the
/// subscription.
pub struct Subscription {
    queue: Arc<BoundedQueue<ReceivedMessage>>,
    inbox: Arc<Inbox>,
    connection: ConnectionId,
}

/// The worker's end of a subscription.
pub(crate) struct Sender(Arc<BoundedQueue<ReceivedMessage>>);

impl Sender {
    /// Messages that may wait to be received; further ones are dropped and counted.
    const WAITING_MAX: usize = 10_000;

    pub(crate) fn new() -> Self {
        Self(Arc::new(BoundedQueue::new(Self::WAITING_MAX)))
    }

    /// Queues a message. Returns false if the queue is full.
    pub(crate) fn send(&self, message: ReceivedMessage) -> bool {
        self.0.push(message)
    }

    /// Ends the subscription: no further message comes.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Subscription {
    pub(crate) fn new(sender: &Sender, inbox: Arc<Inbox>, connection: ConnectionId) -> Self {
        Self { queue: Arc::clone(&sender.0), inbox, connection }
    }

    /// Waits for the next message; `None` when the broker has stopped.
    pub fn recv(&self) -> Option<ReceivedMessage> {
        self.queue.recv()
    }

    /// Waits for the next message, at most this long. `None` after that, or when the broker has
    /// stopped.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<ReceivedMessage> {
        self.queue.recv_timeout(timeout)
    }

    /// Returns the next message, as a future for any runtime; `None` when the broker has stopped.
    pub async fn next(&mut self) -> Option<ReceivedMessage> {
        poll_fn(|context| self.queue.poll_next(context)).await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inbox.send(Letter::Unsubscribe { connection: self.connection });
    }
}
