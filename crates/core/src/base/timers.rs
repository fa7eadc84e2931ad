//! Everything that happens because time passes: ordered sets of deadlines, one for each kind.
//!
//! A timer may be late: a turn has other things to do, and does only so much. So a timer must never
//! decide alone: code that has to know whether a moment has passed compares it with the time.
//! Whoever sets a timer remembers its moment, so that the timer can be taken out again: a Client
//! that reconnects forever leaves nothing behind.

use std::collections::BTreeSet;

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::base::time::Timestamp;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The CONNECT deadline or the Keep Alive of a connection.
    Connection(ConnectionId),
    /// The end of the credential of a connected Client's user.
    CredentialEnd(ConnectionId),
    /// The end of a Session without Network Connection.
    SessionExpiry(SessionSlot, u32),
    /// The Will Delay Interval of a Session without Network Connection.
    WillDelay(SessionSlot, u32),
    /// A `$delayed` message, by its number.
    Delayed(u64),
    /// The expiry of a retained message, by its node in the tree.
    RetainedExpiry(u32),
}

/// Timers of one kind are kept together, so that what stands in the way of a packet can be found
/// among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How long a peer may be silent: this is decided when it is known what has come.
    Silence,
    /// The end of credentials.
    Credential,
    /// The end of Sessions, and their Will Messages.
    Session,
    /// Delayed messages.
    Delayed,
    /// The expiry of retained messages.
    Retained,
}

#[derive(Debug, Default)]
pub(crate) struct Timers([BTreeSet<(Timestamp, Timer)>; Kind::COUNT]);

impl Kind {
    const COUNT: usize = 5;
    /// The kinds that take effect before packets that come later are handled.
    const STATE: [Self; 4] = [Self::Credential, Self::Session, Self::Delayed, Self::Retained];
}

impl Timer {
    fn kind(self) -> Kind {
        match self {
            Self::Connection(_) => Kind::Silence,
            Self::CredentialEnd(_) => Kind::Credential,
            Self::SessionExpiry(..) | Self::WillDelay(..) => Kind::Session,
            Self::Delayed(_) => Kind::Delayed,
            Self::RetainedExpiry(_) => Kind::Retained,
        }
    }
}

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.0[timer.kind() as usize].insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.0[timer.kind() as usize].remove(&(at, timer));
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(first).min()
    }

    /// The moment of the first timer of one kind.
    pub(crate) fn first_of(&self, kind: Kind) -> Option<Timestamp> {
        first(&self.0[kind as usize])
    }

    /// Takes out the first timer that is due, of all kinds except [`Kind::Silence`].
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let first_of = |kind: Kind| Some((first(&self.0[kind as usize])?, kind));
        let firsts = Kind::STATE.into_iter().filter_map(first_of);
        let (_, kind) = firsts.min_by_key(|(at, _)| *at)?;
        self.pop_due_of(kind, now)
    }

    /// Takes out the first timer of one kind that is due.
    pub(crate) fn pop_due_of(&mut self, kind: Kind, now: Timestamp) -> Option<Timer> {
        let timers = &mut self.0[kind as usize];
        first(timers).filter(|&at| at <= now)?;
        timers.pop_first().map(|(_, timer)| timer)
    }
}

fn first(timers: &BTreeSet<(Timestamp, Timer)>) -> Option<Timestamp> {
    timers.first().map(|(at, _)| *at)
}
