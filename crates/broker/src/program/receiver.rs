//! The program's end of a [`BoundedQueue`]: of a subscription, or of a stream of events.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use crate::program::bounded_queue::BoundedQueue;

/// Gets what comes from a broker, in order: see [`Subscription`](crate::Subscription) and
/// [`EventStream`](crate::EventStream). Dropping it ends what it gets.
pub struct Receiver<T> {
    queue: Arc<BoundedQueue<T>>,
    /// Tells the sender of the end; `None` once that is done.
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl<T> Receiver<T> {
    /// Makes the receiver of a queue. `end` is called when it is dropped.
    pub(crate) fn new(
        queue: Arc<BoundedQueue<T>>,
        end: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self { queue, end: Some(Box::new(end)) }
    }

    /// Waits for the next item; `None` when the broker has stopped.
    pub fn recv(&self) -> Option<T> {
        self.queue.recv()
    }

    /// Waits for the next item, at most this long. `None` after that, or when the broker has
    /// stopped.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<T> {
        self.queue.recv_timeout(timeout)
    }

    /// Returns the next item, as a future for any runtime; `None` when the broker has stopped.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.queue.poll_next(context)).await
    }

    /// Returns how many items have been missed so far, because too many were waiting.
    pub fn missed(&self) -> u64 {
        self.queue.missed()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}
