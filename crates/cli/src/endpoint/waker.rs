//! How another thread ends the wait of a thread with a poller. The waiting thread can tell this
//! from everything else that ends its wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use midge_net::{Notifier, Poller};

/// Wakes the thread that waits on a poller.
#[derive(Clone, Debug)]
pub(crate) struct Waker {
    notifier: Arc<Notifier>,
    is_used: Arc<AtomicBool>,
}

impl Waker {
    pub(crate) fn new(poller: &Poller) -> Self {
        Self { notifier: poller.notifier(), is_used: Arc::new(AtomicBool::new(false)) }
    }

    /// Ends the present wait, or the next one.
    pub(crate) fn wake(&self) {
        self.is_used.store(true, Ordering::Release);
        self.notifier.notify();
    }

    /// Returns whether `wake` was called since the last call of this function.
    pub(crate) fn take(&self) -> bool {
        self.is_used.swap(false, Ordering::AcqRel)
    }
}
