//! What a shared subscription keeps while none of its members is connected. This module never
//! decides who gets the messages.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use crate::base::expiring::Expiring;
use crate::base::limits::Limits;
use crate::base::message::Message;
use crate::base::time::Timestamp;
use crate::boundary::store_records::Round;

/// A message that waits for a member to connect.
#[derive(Debug)]
pub(crate) struct BacklogEntry {
    pub(crate) message: Message,
    /// Its name in the store; `None` if it is not kept there.
    pub(crate) sequence: Option<NonZeroU64>,
    /// The message may go on only once this round is confirmed.
    pub(crate) hold: Option<Round>,
}

impl BacklogEntry {
    /// Whether the message is in memory only.
    pub(crate) fn is_volatile(&self) -> bool {
        self.sequence.is_none()
    }

    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.message.held_bytes()
    }

    fn volatile_bytes(&self) -> usize {
        if self.is_volatile() { self.held_bytes() } else { 0 }
    }
}

/// The messages of one group, in order.
#[derive(Debug, Default)]
pub(crate) struct GroupBacklog {
    messages: VecDeque<BacklogEntry>,
    /// As limits count them.
    bytes: usize,
    /// The memory that they take.
    held_bytes: usize,
    /// The part of it that is taken by those in memory only.
    volatile_bytes: usize,
    expiring: Expiring,
}

impl GroupBacklog {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BacklogEntry> {
        self.messages.iter()
    }

    /// Whether one more message of this many bytes may wait.
    pub(crate) fn can_keep(&self, bytes: usize, limits: &Limits) -> bool {
        self.messages.len() < limits.shared_backlog_messages_max as usize
            && self.bytes + bytes <= limits.shared_backlog_bytes_max as usize
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn volatile_bytes(&self) -> usize {
        self.volatile_bytes
    }

    pub(crate) fn push(&mut self, kept: BacklogEntry) {
        self.bytes += kept.message.size();
        self.held_bytes += kept.held_bytes();
        self.volatile_bytes += kept.volatile_bytes();
        self.expiring.add(kept.message.attributes().expires_at);
        self.messages.push_back(kept);
    }

    /// Takes out the first messages: at most `count_max`, and only up to the first that may not go.
    pub(crate) fn take_first(
        &mut self,
        count_max: usize,
        may_go: impl Fn(&BacklogEntry) -> bool,
    ) -> Vec<BacklogEntry> {
        let first = self.messages.iter().take(count_max);
        let count = first.take_while(|kept| may_go(kept)).count();
        let taken: Vec<_> = self.messages.drain(..count).collect();
        for kept in &taken {
            self.bytes -= kept.message.size();
            self.held_bytes -= kept.held_bytes();
            self.volatile_bytes -= kept.volatile_bytes();
            self.expiring.remove(kept.message.attributes().expires_at);
        }
        taken
    }

    /// Takes out what has expired.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> Vec<BacklogEntry> {
        if self.expiring.may_be_over(now) == 0 {
            return Vec::new();
        }
        self.take_all(|kept| kept.message.attributes().has_expired(now))
    }

    /// Takes out the messages that wait for rounds that are void.
    pub(crate) fn take_void(&mut self, is_void: impl Fn(Round) -> bool) -> Vec<BacklogEntry> {
        let is_void = |kept: &BacklogEntry| kept.hold.is_some_and(&is_void);
        if !self.messages.iter().any(is_void) {
            return Vec::new();
        }
        self.take_all(is_void)
    }

    /// Takes out the oldest messages that are in memory only: at most `count_max`, and only until
    /// this many bytes are free.
    pub(crate) fn take_volatile(&mut self, bytes: usize, count_max: usize) -> Vec<BacklogEntry> {
        let (mut bytes_left, mut left) = (bytes, count_max);
        self.take_all(|kept| {
            let is_taken = kept.is_volatile() && bytes_left > 0 && left > 0;
            if is_taken {
                bytes_left = bytes_left.saturating_sub(kept.held_bytes());
                left -= 1;
            }
            is_taken
        })
    }

    /// Takes out all messages for which this is true, asked in their order.
    fn take_all(&mut self, is_taken: impl FnMut(&BacklogEntry) -> bool) -> Vec<BacklogEntry> {
        let all = std::mem::take(self).messages.into_iter();
        let (taken, left) = all.partition::<Vec<_>, _>(is_taken);
        left.into_iter().for_each(|kept| self.push(kept));
        taken
    }
}
