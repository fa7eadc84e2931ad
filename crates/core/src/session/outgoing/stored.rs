//! The part of a Session's sending half that the store keeps: what is in the store only, what is
//! fetched from it, and which of those messages may have been sent before.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU16, NonZeroU64};

use midge_codec::{PacketIdentifier, QoS};

use super::expiry::StoredExpiry;
use super::{Delivery, InFlight, Outgoing, Stage, Waiting, Window};
use crate::base::time::Timestamp;
use crate::boundary::store_records::{FREE_AHEAD, RecoveredQueue, Round};
use crate::session::sent_ahead::Sent;

/// The part of a queue that is in the store only. Its messages come after those in memory.
#[derive(Debug, Default)]
pub(crate) struct StoredQueue {
    /// Whether the Session is in the store.
    pub(super) is_used: bool,
    /// The last sequence that was given out; 0: none.
    pub(super) last: u64,
    /// How many sequences are left out before the next one.
    pub(super) skipped: u16,
    /// All messages from this sequence on are in the store only, unless they are complete already.
    pub(super) from: u64,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) expiry: StoredExpiry,
    /// How many of the messages come from shared subscriptions.
    pub(super) of_groups: usize,
    /// Which of the messages may have been sent.
    pub(super) sent: Sent,
    /// The last sequence that was sent.
    pub(super) last_sent: u64,
    /// The store knows that messages with a lower sequence may be sent.
    ahead: u64,
    /// The store was told that messages with a lower sequence may be sent, but may not know it yet.
    told: u64,
    /// How far ahead of sending the store is told.
    step: u64,
    /// Messages that went back to shared subscriptions, and the round in which they did. The store
    /// has them until that is durable, but they no longer belong to this queue.
    pub(super) given_back: BTreeMap<u64, Round>,
    /// The ticket of the request to the store that is under way; answers to others are void.
    pub(super) fetch: Option<u64>,
}

impl Outgoing {
    /// The most messages ahead of sending that the store is told of.
    const STEP_MAX: u64 = 65_536;

    /// Drops from memory what is in the store, since the Network Connection is gone.
    pub(crate) fn leave_to_store(&mut self) {
        let staying = self.staying_under_way();
        let Self { in_flight, queue, stored, .. } = self;
        for (index, (entry, _)) in in_flight.take_all().enumerate() {
            let Some((sequence, delivery)) = entry.sequence.zip(entry.delivery.as_ref()) else {
                in_flight.push(entry);
                continue;
            };
            stored.sent.note(sequence.get());
            match index < staying {
                true => in_flight.push(entry),
                false => stored.count(sequence, delivery),
            }
        }
        in_flight.begin_again();
        queue.retain(|waiting| {
            if let Some(sequence) = waiting.sequence {
                stored.sent.note_unsent(sequence.get(), waiting.was_sent);
                stored.count(sequence, &waiting.delivery);
            }
            waiting.sequence.is_none()
        });
        stored.fetch = None;
        self.queue_bytes = self.queue.iter().map(|waiting| waiting.delivery.message.size()).sum();
    }

    /// Leaves to the store whatever waits behind a message that does not count any more, that one
    /// included, if its Session is connected: the store says of each, when it is fetched, whether
    /// it counts. Returns whether there was such a message.
    pub(crate) fn leave_void(&mut self, is_void: impl Fn(Round) -> bool) -> bool {
        let is_void = |waiting: &Waiting| waiting.hold.is_some_and(&is_void);
        let Some(first) = self.queue.iter().position(is_void) else {
            return false;
        };
        for waiting in self.queue.split_off(first) {
            let Some(sequence) = waiting.sequence else {
                self.queue.push_back(waiting);
                continue;
            };
            self.stored.sent.note_unsent(sequence.get(), waiting.was_sent);
            self.stored.count(sequence, &waiting.delivery);
        }
        self.stored.fetch = None;
        self.queue_bytes = self.queue.iter().map(|waiting| waiting.delivery.message.size()).sum();
        true
    }

    /// Messages of shared subscriptions that wait in the store only.
    pub(crate) fn stored_of_groups(&self) -> usize {
        self.stored.of_groups
    }

    /// Messages that wait in the store only.
    pub(crate) fn stored_messages(&self) -> usize {
        self.stored.messages
    }

    /// Returns the first sequence to fetch, if it is time to fetch more. The request then counts as
    /// made, under this ticket.
    pub(crate) fn begin_fetch(&mut self, ticket: u64) -> Option<u64> {
        let is_time = self.stored.fetch.is_none()
            && self.stored.messages > 0
            && self.queue.len() < Self::HEAD_MESSAGES / 2
            && self.queue_bytes < Self::HEAD_BYTES / 2;
        if !is_time {
            return None;
        }
        self.stored.fetch = Some(ticket);
        Some(self.stored.from)
    }

    /// How much is fetched at a time: messages and bytes.
    pub(crate) const fn fetch_size() -> (usize, usize) {
        (Self::HEAD_MESSAGES / 2, Self::HEAD_BYTES / 2)
    }

    /// Whether an answer of the store is the one that is waited for. If so, no request is under way
    /// any more.
    pub(crate) fn end_fetch(&mut self, ticket: u64) -> bool {
        let is_it = self.stored.fetch == Some(ticket);
        self.stored.fetch = self.stored.fetch.filter(|_| !is_it);
        is_it
    }

    /// Takes in what was fetched: everything in the store below `next` is now in memory or
    /// complete. QoS 2 messages that were never sent wait for the round that comes with them, or
    /// else for `hold`.
    pub(crate) fn note_fetched(
        &mut self,
        next: u64,
        deliveries: Vec<(u64, Delivery, Option<Round>)>,
        hold: Option<Round>,
        now: Timestamp,
    ) {
        let stored = &mut self.stored;
        stored.from = next;
        for (sequence, delivery, round) in deliveries {
            if stored.given_back.contains_key(&sequence)
                || NonZeroU64::new(sequence)
                    .is_some_and(|sequence| is_under_way(&mut self.in_flight, sequence))
            {
                continue;
            }
            let size = delivery.message.size();
            stored.messages = stored.messages.saturating_sub(1);
            stored.bytes = stored.bytes.saturating_sub(size);
            stored.of_groups =
                stored.of_groups.saturating_sub(usize::from(delivery.group.is_some()));
            let expires_at = delivery.message.attributes().expires_at;
            stored.expiry.expiring.remove(expires_at);
            self.expiring.add(expires_at);
            let is_over = delivery.message.attributes().has_expired(now);
            let was_sent = stored.sent.visit(sequence, delivery.qos, is_over);
            self.queue_bytes += size;
            let is_new = delivery.qos == QoS::ExactlyOnce && !was_sent.may_be();
            let hold = round.or(hold).filter(|_| is_new);
            let sequence = NonZeroU64::new(sequence);
            self.queue.push_back(Waiting { delivery, sequence, was_sent, hold, stream: None });
        }
        stored.sent.end_visits(next);
        if next > stored.last {
            // Messages that are missing are damaged, and have been counted.
            (stored.messages, stored.bytes, stored.of_groups) = (0, 0, 0);
            stored.expiry = StoredExpiry::default();
        }
    }

    /// The sequences of messages that went back to shared subscriptions and may still be fetched.
    pub(crate) fn given_back(&self) -> BTreeSet<u64> {
        self.stored.given_back.keys().copied().collect()
    }

    /// Which messages of the stored part may have been sent.
    pub(crate) fn sent(&self) -> &Sent {
        &self.stored.sent
    }

    /// The last sequence that was given out; 0: none.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.stored.last
    }

    /// The first sequence of what is in the store only.
    pub(crate) fn stored_from(&self) -> u64 {
        self.stored.from
    }

    /// Whether the store knows that this message may be sent. If it did not and the broker were
    /// killed, the next broker would send the message again without knowing that this is a
    /// repetition [MQTT-3.3.1-1].
    #[inline]
    pub(super) fn may_be_sent(&self, sequence: u64) -> bool {
        sequence < self.stored.ahead
    }

    /// Returns the sequence below which messages may be sent soon, if it is time to tell the store.
    /// It is told long before sending reaches what it knows. If the store is too slow for that, it
    /// is told of more at a time.
    pub(crate) fn tell_ahead(&mut self) -> Option<u64> {
        let front = self.queue.front().and_then(|waiting| waiting.sequence);
        let next = front.map_or(self.stored.last_sent, NonZeroU64::get);
        let stored = &mut self.stored;
        if next + stored.step / 2 < stored.told {
            return None;
        }
        if next >= stored.ahead {
            stored.step = (stored.step * 2).min(Self::STEP_MAX);
        }
        stored.told = next + stored.step;
        Some(stored.told)
    }

    /// Like `tell_ahead`, for a new Network Connection: the store no longer has what it was told
    /// for the last one.
    pub(crate) fn tell_ahead_again(&mut self) -> Option<u64> {
        let stored = &mut self.stored;
        if (stored.last, stored.skipped) == (0, 0) {
            return None;
        }
        let first = match stored.messages {
            0 => stored.last + 1 + u64::from(stored.skipped),
            _ => stored.from.max(stored.sent.before()),
        };
        stored.step = FREE_AHEAD;
        stored.told = stored.told.max(first + stored.step);
        Some(stored.told)
    }

    /// The sequence that the store was told and may not know yet.
    pub(crate) fn told_ahead(&self) -> Option<u64> {
        (self.stored.told > self.stored.ahead).then_some(self.stored.told)
    }

    /// Notes that the store knows that messages below `sent_before` may be sent.
    pub(crate) fn note_ahead(&mut self, sent_before: u64) {
        self.stored.ahead = self.stored.ahead.max(sent_before);
    }

    /// Restores the queue of a Session as a store has kept it. `was_connected` says whether its
    /// Client was connected when the broker ended, and `window` how many messages it may have got
    /// and not acknowledged, if that is known.
    ///
    /// A power cut may have destroyed further messages. Their Packet Identifiers, which the Client
    /// may still hold for a PUBREL, must not be used again soon, so some identifiers are left out.
    /// But none is left out if that would lead to the Packet Identifier of an old message that is
    /// not complete.
    pub(crate) fn restore(
        &mut self,
        queue: &RecoveredQueue,
        was_connected: bool,
        window: Option<NonZeroU16>,
        inflight_max: u16,
        now: Timestamp,
    ) {
        let is_known = !was_connected && queue.sent_before < u64::MAX;
        let sent_before = match (queue.sent_before, was_connected) {
            (u64::MAX, true) => FREE_AHEAD,
            (sent_before, _) => sent_before,
        };
        let skipped = skipped_packet_ids(now);
        let ahead = queue.next.saturating_sub(queue.first) + u64::from(skipped);
        let leaves_out = !is_known && ahead < u64::from(Self::STORED_PACKET_IDS) * 3 / 4;
        // The limit may have been another one then.
        self.earlier_window = window.or(NonZeroU16::new(inflight_max));
        self.last_packet_id = Self::STORED_PACKET_IDS + skipped;
        let sent = match is_known || queue.messages == 0 {
            true => Sent::known(sent_before.min(queue.next)),
            false => {
                let window =
                    self.earlier_window.map_or(0, NonZeroU16::get).min(Self::STORED_WINDOW);
                Sent::unknown(sent_before.min(queue.next), usize::from(window))
            }
        };
        self.stored = StoredQueue {
            last: queue.next.saturating_sub(1),
            skipped: if leaves_out { skipped } else { 0 },
            from: queue.first,
            messages: queue.messages as usize,
            bytes: queue.bytes as usize,
            expiry: StoredExpiry::unknown(queue.messages as usize),
            of_groups: queue.of_groups as usize,
            sent,
            ..StoredQueue::new(true)
        };
        if (self.stored.last, self.stored.skipped) != (0, 0) {
            // The store no longer knows what may be sent, except for `sent_before`.
            (self.stored.ahead, self.stored.told) = (0, 0);
        }
        for sequence in queue.taken.iter().copied().filter_map(NonZeroU64::new) {
            let (packet_id, stage) = (stored_packet_identifier(sequence), Stage::PubComp);
            let (stream, bytes, delivery) = (None, Self::IN_FLIGHT_BYTES as u32, None);
            let sequence = Some(sequence);
            self.in_flight.push(InFlight { packet_id, stage, stream, sequence, bytes, delivery });
        }
        self.in_flight.begin_again();
    }
}

impl StoredQueue {
    pub(super) fn new(is_used: bool) -> Self {
        Self { is_used, ahead: FREE_AHEAD, told: FREE_AHEAD, step: FREE_AHEAD, ..Self::default() }
    }

    /// Counts one more message that is in the store only.
    pub(super) fn count(&mut self, sequence: NonZeroU64, delivery: &Delivery) {
        let sequence = sequence.get();
        self.from = if self.messages == 0 { sequence } else { self.from.min(sequence) };
        self.messages += 1;
        self.expiry.note(delivery.message.attributes().expires_at);
        self.bytes += delivery.message.size();
        self.of_groups += usize::from(delivery.group.is_some());
    }
}

/// Whether a message in the store is under way: it has stayed in memory, too.
fn is_under_way(in_flight: &mut Window, sequence: NonZeroU64) -> bool {
    let entry = in_flight.find(stored_packet_identifier(sequence));
    entry.is_some_and(|entry| entry.sequence == Some(sequence))
}

/// How many Packet Identifiers are left out when it is not known which ones are in use: at least a
/// quarter of those for stored messages, and a number that varies from start to start.
fn skipped_packet_ids(now: Timestamp) -> u16 {
    let quarter = Outgoing::STORED_PACKET_IDS / 4;
    let spread = (now.as_millis().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % u64::from(quarter);
    quarter + spread as u16
}

/// The Packet Identifier of a message in the store: the same one each time.
pub(crate) fn stored_packet_identifier(sequence: NonZeroU64) -> PacketIdentifier {
    let number = (sequence.get() - 1) % u64::from(Outgoing::STORED_PACKET_IDS) + 1;
    PacketIdentifier::new(number as u16).unwrap_or(PacketIdentifier::MIN)
}
