//! A bounded queue from the threads of a broker to one receiver in the embedding program, which may
//! be a thread or a task. The broker's side must never wait for the receiver.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::program::guard::guarded;

pub(crate) struct BoundedQueue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    items_max: usize,
    /// How many items found no room.
    missed: AtomicU64,
}

struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
    waker: Option<Waker>,
}

impl<T> BoundedQueue<T> {
    /// Returns a queue in which this many items may wait.
    pub(crate) fn new(items_max: usize) -> Self {
        let state = State { items: VecDeque::new(), is_closed: false, waker: None };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            items_max,
            missed: AtomicU64::new(0),
        }
    }

    /// Adds an item. Returns false, and counts the item as missed, if the queue is full. It still
    /// takes items after its end.
    pub(crate) fn push(&self, item: T) -> bool {
        let mut state = self.lock();
        if state.items.len() >= self.items_max {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        state.items.push_back(item);
        self.wake(state);
        true
    }

    /// Adds an item even if the queue is full. Whoever calls this bounds how many there are.
    pub(crate) fn push_bounded_otherwise(&self, item: T) {
        let mut state = self.lock();
        state.items.push_back(item);
        self.wake(state);
    }

    /// Returns how many items found no room.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Ends the queue: no further item comes, but those that wait are still received.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.wake(state);
        self.arrived.notify_all();
    }

    /// Waits for the next item; `None` when the queue has ended.
    pub(crate) fn recv(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.is_closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next item, at most this long. `None` after that, or when the queue has ended.
    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Option<T> {
        // A timeout that the clock cannot express means none.
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.recv();
        };
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if state.is_closed {
                return None;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the next item if it is there; `None` when the queue has ended.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let waker = state.waker.take();
        drop(state);
        self.arrived.notify_one();
        if let Some(waker) = waker {
            guarded("the waker of a receiver", || waker.wake());
        }
    }
}
