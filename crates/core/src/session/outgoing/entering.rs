//! A Session enters the store with what it has gathered before: what waits for its Client and what
//! is under way. Each of these messages gets a name in the store. A message under way keeps its
//! Packet Identifier, so it gets a name that stands for that one.

use std::num::NonZeroU64;

use midge_codec::{PacketIdentifier, QoS};

use super::stored::stored_packet_identifier;
use super::{Delivery, InFlight, Outgoing, Stage, Waiting};
use crate::base::durability::Durability;
use crate::boundary::store_records::Round;

/// Something that the store has to keep from now on, under this name.
#[derive(Debug)]
pub(crate) struct Entering {
    pub(crate) sequence: u64,
    pub(crate) what: Gathered,
}

#[derive(Debug)]
pub(crate) enum Gathered {
    Message(Delivery),
    /// The Client has taken a message over (PUBREC): only its Packet Identifier counts.
    Taken,
    /// A message stays in memory only, but no new one may have its Packet Identifier soon.
    Used,
}

impl Outgoing {
    /// From now on, messages are kept in the store. Returns what is to be kept of those that are
    /// here. Messages for which memory was promised stay in memory only, and so does what is under
    /// way with a Packet Identifier that no message in the store can have.
    pub(crate) fn enter_store(&mut self) -> Vec<Entering> {
        self.stored.is_used = true;
        let mut entering = Vec::new();
        self.name_under_way(&mut entering);
        self.stored.last_sent = self.stored.last;
        self.name_waiting(&mut entering);
        let sequence = self.stored.last;
        if entering.last().map_or(0, |it| it.sequence) < sequence {
            entering.push(Entering { sequence, what: Gathered::Used });
        }
        entering
    }

    /// Names what is under way. A message that stays in memory uses up the name that stands for its
    /// Packet Identifier, too: after a restart, the Client may still hold a QoS 2 message under it,
    /// and would take the next one that has it for a repetition.
    fn name_under_way(&mut self, entering: &mut Vec<Entering>) {
        let Self { in_flight, stored, .. } = self;
        let can_be_named = |entry: &&mut InFlight| {
            entry.sequence.is_none() && entry.packet_id.get() <= Self::STORED_PACKET_IDS
        };
        for entry in in_flight.iter_mut().filter(can_be_named) {
            stored.last = next_sequence_of(entry.packet_id, stored.last);
            let what = match &entry.delivery {
                Some(delivery) if is_kept(delivery) => Gathered::Message(delivery.clone()),
                None if entry.stage == Stage::PubComp => Gathered::Taken,
                _ => continue,
            };
            entry.sequence = NonZeroU64::new(stored.last);
            entering.push(Entering { sequence: stored.last, what });
        }
    }

    fn name_waiting(&mut self, entering: &mut Vec<Entering>) {
        let Self { queue, stored, .. } = self;
        let can_be_named = |it: &&mut Waiting| it.sequence.is_none() && is_kept(&it.delivery);
        for waiting in queue.iter_mut().filter(can_be_named) {
            stored.last += 1;
            waiting.sequence = NonZeroU64::new(stored.last);
            let what = Gathered::Message(waiting.delivery.clone());
            entering.push(Entering { sequence: stored.last, what });
        }
    }

    /// How many messages under way stay in memory while the Client is away: all up to the last one
    /// that the store cannot have because of its Packet Identifier. What stays is sent first, so
    /// the messages before that one would come too late if they were fetched from the store.
    pub(super) fn staying_under_way(&self) -> usize {
        let lacks_name = |(_, entry): &(usize, &InFlight)| {
            entry.sequence.is_none() && entry.delivery.as_ref().is_some_and(is_kept)
        };
        let last = self.in_flight.iter().enumerate().filter(lacks_name).last();
        last.map_or(0, |(index, _)| index + 1)
    }

    /// Makes the QoS 2 messages that wait for the first time wait for this round, too: until it is
    /// confirmed, nobody would remember their Packet Identifiers.
    pub(crate) fn hold_entering(&mut self, round: Round) {
        let is_new = |waiting: &&mut Waiting| {
            waiting.delivery.qos == QoS::ExactlyOnce
                && waiting.sequence.is_some()
                && !waiting.was_sent.may_be()
        };
        self.queue.iter_mut().filter(is_new).for_each(|waiting| waiting.hold = Some(round));
    }
}

/// Whether more than memory was promised for a message.
fn is_kept(delivery: &Delivery) -> bool {
    delivery.message.attributes().durability > Durability::Memory
}

/// Returns the first sequence after `last` that stands for this Packet Identifier.
fn next_sequence_of(packet_id: PacketIdentifier, last: u64) -> u64 {
    let next = NonZeroU64::MIN.saturating_add(last);
    let behind = i32::from(stored_packet_identifier(next).get());
    let ahead = i32::from(packet_id.get()) - behind;
    let ahead = ahead.rem_euclid(i32::from(Outgoing::STORED_PACKET_IDS));
    next.get() + u64::from(ahead.unsigned_abs())
}
