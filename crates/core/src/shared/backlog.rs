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

/// The messages of one group, in order.
#[derive(Debug, Default)]
pub(crate) struct GroupBacklog {
    messages: VecDeque<BacklogEntry>,
    bytes: usize,
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

    pub(crate) fn push(&mut self, kept: BacklogEntry) {
        self.bytes += kept.message.size();
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
            self.expiring.remove(kept.message.attributes().expires_at);
        }
        taken
    }

    /// Takes out what has expired.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> Vec<BacklogEntry> {
        if self.expiring.may_be_over(now) == 0 {
            return Vec::new();
        }
        let is_over = |kept: &BacklogEntry| kept.message.attributes().has_expired(now);
        let (over, left) = self.messages.drain(..).partition::<Vec<_>, _>(is_over);
        self.messages = left.into();
        self.count_anew();
        over
    }

    /// Takes out the messages that wait for rounds that are void.
    pub(crate) fn take_void(&mut self, is_void: impl Fn(Round) -> bool) -> Vec<BacklogEntry> {
        let is_void = |kept: &BacklogEntry| kept.hold.is_some_and(&is_void);
        if !self.messages.iter().any(is_void) {
            return Vec::new();
        }
        let (void, left) = self.messages.drain(..).partition::<Vec<_>, _>(is_void);
        self.messages = left.into();
        self.count_anew();
        void
    }

    fn count_anew(&mut self) {
        (self.bytes, self.expiring) = (0, Expiring::default());
        for kept in &self.messages {
            self.bytes += kept.message.size();
            self.expiring.add(kept.message.attributes().expires_at);
        }
    }
}
