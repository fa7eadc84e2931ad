//! Memory for packets of which only a part has come.
//!
//! A large packet may grow only when there is room for all of it. So every packet that has begun
//! can be completed, and none waits for one that waits itself. While others wait for room, a packet
//! has to make progress; otherwise it may come as slowly as it likes.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much memory all workers together may use for large incomplete packets.
#[derive(Debug)]
pub(crate) struct Unfinished {
    reserved: AtomicUsize,
    max: AtomicUsize,
    /// Connections that wait for room.
    waiting: AtomicUsize,
}

impl Unfinished {
    pub(crate) fn new(max: usize) -> Self {
        Self { reserved: AtomicUsize::new(0), max: max.into(), waiting: AtomicUsize::new(0) }
    }

    /// Makes room for packets as large as this, up to half of the memory.
    pub(crate) fn make_room_for(&self, packet_bytes_max: u32, memory_bytes_max: u64) {
        let bytes = u64::from(packet_bytes_max).min(memory_bytes_max / 2);
        self.max.fetch_max(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Returns how many bytes may be reserved; no packet may be larger.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Returns whether so much is reserved that reads should be small.
    pub(crate) fn is_tight(&self) -> bool {
        self.reserved.load(Ordering::Relaxed) > self.max() / 2
    }

    /// Returns whether some connection waits for room.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Reserves this many bytes more, if there is room.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let max = self.max();
        let take = |reserved: usize| Some(reserved + bytes).filter(|&all| all <= max);
        self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts one connection more that waits for room.
    pub(crate) fn begin_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one connection less that waits for room.
    pub(crate) fn end_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Unfinished;

    #[test]
    fn so_much_is_given_out_and_no_more() {
        let unfinished = Unfinished::new(100);
        assert!(unfinished.take(60) && !unfinished.take(41) && unfinished.is_tight());
        assert!(unfinished.take(40));
        unfinished.give_back(60);
        assert!(unfinished.take(60));
    }
}
