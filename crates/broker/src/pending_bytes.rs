//! Counts how much waits for a thread; those that bring more look at it. Publishers are held back
//! when it is too much. No connection is read when, in addition, too much has come from others than
//! publishers. Messages that publishers still brought while they were about to be held back do not
//! keep anybody else unread. They amount to a few turns' worth; far more than that must have come
//! in ways that do not heed the limit (retained messages for a subscription, Will Messages), and
//! then no connection is read either.
//!
//! A count is changed only under the lock of what it counts.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicUsize, Ordering};

/// About how many bytes something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    /// Bytes of what publishers bring, which stops when they are held back.
    pub(crate) messages: usize,
    /// Bytes of everything else.
    pub(crate) others: usize,
}

/// Bytes that wait.
#[derive(Debug)]
pub(crate) struct PendingBytes {
    messages: AtomicUsize,
    others: AtomicUsize,
    full: usize,
}

impl PendingBytes {
    /// At this multiple of `full`, no connection is read, whoever has brought the bytes.
    const FAR_MORE: usize = 16;

    /// Starts at zero. More than `full` bytes are too much.
    pub(crate) fn new(full: usize) -> Self {
        Self { messages: AtomicUsize::new(0), others: AtomicUsize::new(0), full }
    }

    pub(crate) fn add(&self, bytes: Bytes) {
        self.messages.fetch_add(bytes.messages, Ordering::Relaxed);
        self.others.fetch_add(bytes.others, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: Bytes) {
        self.messages.fetch_sub(bytes.messages, Ordering::Relaxed);
        self.others.fetch_sub(bytes.others, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.messages.store(0, Ordering::Relaxed);
        self.others.store(0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Bytes {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Bytes { messages: load(&self.messages), others: load(&self.others) }
    }

    /// Returns whether publishers shall be held back.
    pub(crate) fn is_full(&self) -> bool {
        self.get().all() > self.full
    }

    /// Returns whether no connection shall be read.
    pub(crate) fn is_overfull(&self) -> bool {
        let bytes = self.get();
        let others_are_much = bytes.others > self.full && bytes.all() > 2 * self.full;
        others_are_much || bytes.all() > Self::FAR_MORE * self.full
    }
}

impl Bytes {
    pub(crate) fn of_messages(messages: usize) -> Self {
        Self { messages, others: 0 }
    }

    pub(crate) fn of_others(others: usize) -> Self {
        Self { messages: 0, others }
    }

    pub(crate) fn all(self) -> usize {
        self.messages + self.others
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.others += more.others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_alone_never_keep_everybody_from_being_read() {
        let pending = PendingBytes::new(1000);
        pending.add(Bytes::of_messages(1000));
        assert!(!pending.is_full());
        pending.add(Bytes::of_messages(14_000));
        assert!(pending.is_full() && !pending.is_overfull());
        pending.add(Bytes::of_others(1001));
        assert!(pending.is_overfull());
        pending.remove(Bytes::of_others(1));
        assert!(pending.is_full() && !pending.is_overfull());
        // Others alone may fill all that everybody together may.
        pending.clear();
        pending.add(Bytes::of_others(2000));
        assert!(pending.is_full() && !pending.is_overfull());
        pending.add(Bytes::of_others(1));
        assert!(pending.is_overfull());
        pending.clear();
        assert_eq!(pending.get(), Bytes::default());
    }

    #[test]
    fn there_is_an_end_to_what_waits_whatever_it_is() {
        let pending = PendingBytes::new(1000);
        pending.add(Bytes::of_messages(16_000));
        assert!(!pending.is_overfull());
        pending.add(Bytes::of_messages(1));
        assert!(pending.is_overfull());
    }
}
