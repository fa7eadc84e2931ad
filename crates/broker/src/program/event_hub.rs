//! What happens to Clients, as a stream for programs beside the broker. Whoever is too slow misses
//! events, and learns how many; the workers never wait for anybody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use midge_core::Event;

use crate::program::bounded_queue::BoundedQueue;
use crate::program::receiver::Receiver;

/// Events of a broker, from the moment when the stream was opened. Events of one Client come in
/// order. Dropping the stream ends it. [`Receiver::missed`] counts the events that came while too
/// many were waiting.
pub type EventStream = Receiver<Event>;

/// Passes events on to all streams that are open.
#[derive(Default)]
pub(crate) struct EventHub {
    feeds: Mutex<Feeds>,
    /// How many streams are open; so that telling nobody costs nothing.
    open: AtomicUsize,
}

#[derive(Default)]
struct Feeds {
    list: Vec<Arc<BoundedQueue<Event>>>,
    is_closed: bool,
}

impl EventHub {
    /// Opens a stream in which this many events may wait.
    pub(crate) fn open(self: Arc<Self>, events_max: usize) -> EventStream {
        let feed = Arc::new(BoundedQueue::new(events_max.max(1)));
        let mut feeds = self.lock();
        if feeds.is_closed {
            feed.close();
        } else {
            feeds.list.push(Arc::clone(&feed));
            self.open.store(feeds.list.len(), Ordering::SeqCst);
        }
        drop(feeds);
        EventStream::new(Arc::clone(&feed), move || self.forget(&feed))
    }

    /// Ends a stream, since nobody receives its events any more.
    fn forget(&self, feed: &Arc<BoundedQueue<Event>>) {
        let mut feeds = self.lock();
        feeds.list.retain(|other| !Arc::ptr_eq(other, feed));
        self.open.store(feeds.list.len(), Ordering::SeqCst);
    }

    /// Tells all streams of an event.
    pub(crate) fn tell(&self, event: &Event) {
        if self.open.load(Ordering::SeqCst) == 0 {
            return;
        }
        // The lock is given back first: a receiver's waker may drop its stream.
        let feeds = self.lock().list.clone();
        for feed in feeds {
            feed.push(event.clone());
        }
    }

    /// Ends all streams, since no further event comes.
    pub(crate) fn close(&self) {
        let mut feeds = self.lock();
        feeds.is_closed = true;
        let list = std::mem::take(&mut feeds.list);
        self.open.store(0, Ordering::SeqCst);
        // The lock is given back first: a receiver's waker may drop its stream.
        drop(feeds);
        list.iter().for_each(|feed| feed.close());
    }

    fn lock(&self) -> MutexGuard<'_, Feeds> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
