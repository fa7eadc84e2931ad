//! What happens to Clients, as a stream for programs beside the broker. Whoever is too slow misses
//! events, and learns how many; the workers never wait for anybody.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use midge_core::Event;

use crate::bounded_queue::BoundedQueue;

/// Events of a broker, from the moment when the stream was opened. Events of one Client come in
/// order. Dropping the stream ends it.
pub struct EventStream {
    feed: Arc<Feed>,
    hub: Arc<EventHub>,
}

struct Feed {
    events: BoundedQueue<Event>,
    missed: AtomicU64,
}

/// Passes events on to all streams that are open.
#[derive(Default)]
pub(crate) struct EventHub {
    feeds: Mutex<Feeds>,
    /// How many streams are open; so that telling nobody costs nothing.
    open: AtomicUsize,
}

#[derive(Default)]
struct Feeds {
    list: Vec<Arc<Feed>>,
    is_closed: bool,
}

impl EventHub {
    /// Opens a stream in which this many events may wait.
    pub(crate) fn open(self: Arc<Self>, events_max: usize) -> EventStream {
        let events = BoundedQueue::new(events_max.max(1));
        let feed = Arc::new(Feed { events, missed: AtomicU64::new(0) });
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if feeds.is_closed {
            feed.events.close();
        } else {
            feeds.list.push(Arc::clone(&feed));
            self.open.store(feeds.list.len(), Ordering::SeqCst);
        }
        drop(feeds);
        EventStream { feed, hub: self }
    }

    /// Tells all streams of an event.
    pub(crate) fn tell(&self, event: &Event) {
        if self.open.load(Ordering::SeqCst) == 0 {
            return;
        }
        // The lock is given back first: a receiver's waker may drop its stream.
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).list.clone();
        for feed in feeds {
            if !feed.events.push(event.clone()) {
                feed.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Ends all streams, since no further event comes.
    pub(crate) fn close(&self) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.is_closed = true;
        let list = std::mem::take(&mut feeds.list);
        self.open.store(0, Ordering::SeqCst);
        // The lock is given back first: a receiver's waker may drop its stream.
        drop(feeds);
        list.iter().for_each(|feed| feed.events.close());
    }
}

impl EventStream {
    /// Waits for the next event; `None` when the broker has stopped.
    pub fn recv(&self) -> Option<Event> {
        self.feed.events.recv()
    }

    /// Waits for the next event, at most this long. `None` after that, or when the broker has
    /// stopped.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Event> {
        self.feed.events.recv_timeout(timeout)
    }

    /// Returns the next event, as a future for any runtime; `None` when the broker has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.feed.events.poll_next(context)).await
    }

    /// Returns how many events this stream has missed so far, because too many were waiting.
    pub fn missed(&self) -> u64 {
        self.feed.missed.load(Ordering::Relaxed)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let mut feeds = self.hub.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.list.retain(|feed| !Arc::ptr_eq(feed, &self.feed));
        self.hub.open.store(feeds.list.len(), Ordering::SeqCst);
    }
}
