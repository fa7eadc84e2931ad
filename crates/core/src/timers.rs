//! Everything that happens because time passes: one ordered set of deadlines per worker.
//!
//! Who sets a timer remembers its moment, so that it can be taken out again: a Client that
//! reconnects for ever leaves nothing behind.

use std::collections::BTreeSet;

use crate::identity::ConnectionId;
use crate::subscription_tree::SessionSlot;
use crate::time::Timestamp;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The CONNECT deadline or the Keep Alive of a connection.
    Connection(ConnectionId),
    /// The end of a Session without Network Connection.
    SessionExpiry(SessionSlot, u32),
    /// The Will Delay Interval of a Session without Network Connection.
    WillDelay(SessionSlot, u32),
    /// A `$delayed` message, by its number.
    Delayed(u64),
    /// The expiry of a retained message, by its node in the tree.
    RetainedExpiry(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out the first timer that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        self.next_deadline().filter(|&at| at <= now)?;
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
