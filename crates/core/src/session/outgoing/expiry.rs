//! Finds the messages of a queue that have expired: in memory at once, in the store page by page.

use super::{Outgoing, StoredQueue, Waiting};
use crate::base::expiring::{Expiring, may_drop};
use crate::base::limits::Limits;
use crate::base::time::Timestamp;
use crate::boundary::store_records::StoredDelivery;

/// How far the search through the stored part of a queue has come.
#[derive(Debug, Default)]
struct Sweep {
    /// The sequence where the search goes on.
    next: u64,
    /// The last sequence when the search began; the expiry of later messages is known.
    last: u64,
    /// The expiry of messages that stay and of those that came meanwhile.
    found: Expiring,
}

/// What is known of the expiry of messages that are in the store only.
#[derive(Debug, Default)]
pub(crate) struct StoredExpiry {
    pub(super) expiring: Expiring,
    /// The search for what has expired, if one is under way.
    sweep: Option<Box<Sweep>>,
    /// When the last search ended.
    swept_at: Option<Timestamp>,
}

impl Outgoing {
    /// The pause after a sweep before another one of the same queue may begin.
    const SWEEP_PAUSE_MS: u64 = 1000;

    /// Takes out the messages in memory that have expired, except those whose delivery has to be
    /// completed.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> Vec<Waiting> {
        if self.expiring.may_be_over(now) == 0 {
            return Vec::new();
        }
        let is_over = |waiting: &mut Waiting| {
            let delivery = &waiting.delivery;
            let is_over = delivery.message.attributes().has_expired(now);
            is_over && may_drop(delivery.qos, waiting.was_sent)
        };
        let mut over = Vec::new();
        let mut left = std::collections::VecDeque::with_capacity(self.queue.len());
        self.expiring = Expiring::default();
        for mut waiting in self.queue.drain(..) {
            if is_over(&mut waiting) {
                self.queue_bytes -= waiting.delivery.message.size();
                over.push(waiting);
            } else {
                let expires_at = waiting.delivery.message.attributes().expires_at;
                self.expiring.add(expires_at.filter(|&at| at > now));
                left.push_back(waiting);
            }
        }
        self.queue = left;
        over
    }

    /// Whether one more message may wait although the queue is full, because enough of the messages
    /// in the store may have expired. This at most doubles what the queue may hold.
    pub(crate) fn may_overrun(&self, bytes: usize, limits: &Limits, now: Timestamp) -> bool {
        let (waiting, waiting_bytes) = self.queued();
        let messages_max = limits.queue_messages_max as usize;
        let over = self.stored.expiry.expiring.may_be_over(now).min(messages_max);
        over > 0
            && waiting < messages_max + over
            && waiting_bytes + bytes <= 2 * limits.queue_bytes_max as usize
    }

    /// Begins to search the store if there may be something to find and the last search was not
    /// just now. Returns whether it begins.
    pub(crate) fn begin_sweep(&mut self, now: Timestamp) -> bool {
        let stored = &mut self.stored;
        let has_rested = stored.expiry.swept_at.is_none_or(|at| now - at >= Self::SWEEP_PAUSE_MS);
        let begins = stored.expiry.sweep.is_none()
            && has_rested
            && stored.messages > 0
            && stored.expiry.expiring.may_be_over(now) > 0;
        if begins {
            let (next, last) = (stored.from, stored.last);
            stored.expiry.sweep = Some(Box::new(Sweep { next, last, found: Expiring::default() }));
        }
        begins
    }

    /// Returns the sequence from which the next page is to be read. `None`: the sweep is given up,
    /// because messages to be sent are being fetched from the store or none are left there.
    pub(crate) fn ask_page(&mut self, ticket: u64) -> Option<u64> {
        let stored = &mut self.stored;
        if stored.fetch.is_some() || stored.messages == 0 {
            stored.expiry.sweep = None;
        }
        let from = stored.expiry.sweep.as_ref()?.next.max(stored.from);
        stored.fetch = Some(ticket);
        Some(from)
    }

    /// Whether a page that has come is still wanted. If it is not, the sweep is given up.
    pub(crate) fn takes_page(&mut self, ticket: u64) -> bool {
        let takes = self.end_fetch(ticket) && self.stored.expiry.sweep.is_some();
        if !takes {
            self.stored.expiry.sweep = None;
        }
        takes
    }

    /// Examines a message of a page; true if it has expired and no longer belongs to this queue.
    pub(crate) fn sweep(
        &mut self,
        sequence: u64,
        delivery: &StoredDelivery,
        now: Timestamp,
    ) -> bool {
        let stored = &mut self.stored;
        if sequence < stored.from || stored.given_back.contains_key(&sequence) {
            return false;
        }
        let attributes = delivery.message.attributes();
        let was_sent = stored.sent.of(sequence, delivery.qos);
        let is_over = attributes.has_expired(now);
        if is_over && may_drop(delivery.qos, was_sent) {
            stored.uncount(delivery);
            return true;
        }
        if let Some(sweep) = &mut stored.expiry.sweep {
            sweep.found.add(attributes.expires_at.filter(|_| !is_over));
        }
        false
    }

    /// Notes that everything below `next` was examined; returns whether there is more.
    pub(crate) fn end_page(&mut self, next: u64, now: Timestamp) -> bool {
        let stored = &mut self.stored;
        let Some(sweep) = &mut stored.expiry.sweep else {
            return false;
        };
        sweep.next = next;
        let goes_on = next <= sweep.last && stored.messages > 0;
        if !goes_on {
            stored.expiry.expiring = sweep.found;
            stored.expiry.swept_at = Some(now);
            stored.expiry.sweep = None;
        }
        goes_on
    }
}

impl StoredExpiry {
    /// For messages of which nobody knows when they expire.
    pub(super) fn unknown(messages: usize) -> Self {
        Self { expiring: Expiring::unknown(messages), ..Self::default() }
    }

    /// Gives up the search that is under way.
    pub(super) fn give_up_sweep(&mut self) {
        self.sweep = None;
    }

    /// Notes when one more message expires.
    pub(super) fn note(&mut self, expires_at: Option<Timestamp>) {
        self.expiring.add(expires_at);
        if let Some(sweep) = &mut self.sweep {
            sweep.found.add(expires_at);
        }
    }
}

impl StoredQueue {
    fn uncount(&mut self, delivery: &StoredDelivery) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(delivery.message.size());
        self.of_groups = self.of_groups.saturating_sub(usize::from(delivery.group.is_some()));
        self.expiry.expiring.remove(delivery.message.attributes().expires_at);
    }
}
