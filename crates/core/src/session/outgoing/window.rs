//! The in-flight window of one Session: messages under way, in the order in which they were sent,
//! each to be found by its Packet Identifier.
//!
//! A window may hold tens of thousands of messages, and acknowledgements come in any order that a
//! Client likes, so the cost of one message must never depend on how many there are. A message that
//! ends in the middle leaves a hole. As long as Packet Identifiers are consecutive, which is the
//! usual case, they say where their messages are. Otherwise, a large window has an index.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, PacketType};

use super::Delivery;

/// What the Client has to send next for a message under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)] // the names are the specification's
pub(crate) enum Stage {
    PubAck,
    PubRec,
    PubComp,
}

impl Stage {
    /// The packet that the Client has to send.
    pub(crate) fn packet(self) -> PacketType {
        match self {
            Self::PubAck => PacketType::PubAck,
            Self::PubRec => PacketType::PubRec,
            Self::PubComp => PacketType::PubComp,
        }
    }
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) packet_id: PacketIdentifier,
    pub(crate) stage: Stage,
    /// The generation of the stream that it was sent on, or that its PUBREC came on, unless that
    /// was before the broker's start.
    pub(crate) stream: Option<NonZeroU32>,
    /// Its name in the store; `None` if it is not kept there.
    pub(crate) sequence: Option<NonZeroU64>,
    /// What the message takes of `inflight_bytes_max` until it is complete.
    pub(crate) bytes: u32,
    /// Gone once the Client has taken the message over (PUBREC).
    pub(crate) delivery: Option<Delivery>,
}

/// How much may be under way to a Client at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) messages: u16,
    /// Bytes, with `Outgoing::IN_FLIGHT_BYTES` for each message. One message may always be under
    /// way.
    pub(crate) bytes: u32,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    slots: VecDeque<Option<InFlight>>,
    /// The position of the first slot; positions grow by one with each message.
    first: u64,
    /// The number of messages, which is less than that of the slots if there are holes.
    len: usize,
    bytes: usize,
    /// From this position on, each message has the Packet Identifier that follows the one before
    /// it. `last_packet_id` is that of the last message.
    run_from: u64,
    last_packet_id: u16,
    /// The positions of all messages, if there are many and not all are in the run.
    #[allow(clippy::box_collection)] // most windows have none: one word
    index: Option<Box<HashMap<PacketIdentifier, u64, foldhash::fast::FixedState>>>,
    /// From this position on, messages have not been sent again yet on this Network Connection.
    unsent_from: u64,
    unsent: usize,
}

impl Window {
    /// Up to this many slots are searched one by one.
    const SMALL: usize = 32;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What the messages take of `inflight_bytes_max`.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Adds a message that is sent now.
    pub(super) fn push(&mut self, entry: InFlight) {
        let position = self.end();
        self.len += 1;
        self.bytes += entry.bytes as usize;
        let packet_id = entry.packet_id;
        if self.last_packet_id.checked_add(1) != Some(packet_id.get()) {
            self.run_from = position;
        }
        self.last_packet_id = packet_id.get();
        self.slots.push_back(Some(entry));
        if self.unsent == 0 {
            self.unsent_from = position + 1;
        } else {
            self.unsent += 1; // It joins those that were not sent again yet.
        }
        if let Some(index) = &mut self.index {
            index.insert(packet_id, position);
        } else if self.needs_index() {
            self.make_index();
        }
    }

    /// Adds messages that have to be sent again, behind all others.
    pub(super) fn push_unsent(&mut self, entries: Vec<InFlight>) {
        let (unsent_from, unsent) = (self.end(), entries.len());
        entries.into_iter().for_each(|entry| self.push(entry));
        (self.unsent_from, self.unsent) = (unsent_from, unsent);
    }

    pub(super) fn find(&mut self, packet_id: PacketIdentifier) -> Option<&mut InFlight> {
        let slot = self.slot_of(packet_id)?;
        self.slots[slot].as_mut()
    }

    /// The message, if it was sent on this Network Connection.
    pub(super) fn find_sent(&self, packet_id: PacketIdentifier) -> Option<&InFlight> {
        let slot = self.slot_of(packet_id)?;
        let is_sent = self.unsent == 0 || self.first + (slot as u64) < self.unsent_from;
        self.slots[slot].as_ref().filter(|_| is_sent)
    }

    pub(super) fn contains(&self, packet_id: PacketIdentifier) -> bool {
        self.slot_of(packet_id).is_some()
    }

    /// Takes out the message with this Packet Identifier if `is_it` accepts it.
    pub(super) fn take_if(
        &mut self,
        packet_id: PacketIdentifier,
        is_it: impl FnOnce(&InFlight) -> bool,
    ) -> Option<InFlight> {
        let slot = self.slot_of(packet_id)?;
        let entry = self.slots[slot].take_if(|entry| is_it(entry))?;
        let position = self.first + slot as u64;
        self.unsent -= usize::from(position >= self.unsent_from);
        self.len -= 1;
        self.bytes -= entry.bytes as usize;
        if let Some(index) = &mut self.index {
            index.remove(&packet_id);
        }
        self.close_holes();
        Some(entry)
    }

    /// Marks everything as to be sent again.
    pub(super) fn begin_again(&mut self) {
        (self.unsent_from, self.unsent) = (self.first, self.len);
    }

    /// The next message to be sent again; it counts as sent.
    pub(super) fn next_unsent(&mut self) -> Option<&mut InFlight> {
        if self.unsent == 0 {
            return None;
        }
        let mut slot = self.unsent_from.saturating_sub(self.first) as usize;
        while self.slots.get(slot)?.is_none() {
            slot += 1;
        }
        self.unsent -= 1;
        self.unsent_from = self.first + slot as u64 + 1;
        self.slots[slot].as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut InFlight> {
        self.slots.iter_mut().flatten()
    }

    /// Takes everything out, in order. Says of each message whether it was sent on this Network
    /// Connection.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (InFlight, bool)> + use<> {
        let Self { slots, first, unsent_from, .. } = std::mem::take(self);
        // Positions may start anew, unlike Packet Identifiers.
        let positions = first..;
        let entries = slots.into_iter().zip(positions);
        entries.filter_map(move |(entry, position)| Some((entry?, position < unsent_from)))
    }

    /// The position of the next message.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn needs_index(&self) -> bool {
        self.slots.len() > Self::SMALL && self.first < self.run_from
    }

    #[inline]
    fn slot_of(&self, packet_id: PacketIdentifier) -> Option<usize> {
        let from_last = usize::from(self.last_packet_id.wrapping_sub(packet_id.get()));
        let in_run = (self.end() - self.run_from.max(self.first)) as usize;
        if from_last < in_run {
            let slot = self.slots.len() - 1 - from_last;
            if self.slots[slot].is_some() {
                return Some(slot);
            }
        }
        if in_run == self.slots.len() { None } else { self.search(packet_id) }
    }

    /// The slot of a message that is not in the run.
    fn search(&self, packet_id: PacketIdentifier) -> Option<usize> {
        if let Some(index) = &self.index {
            return index.get(&packet_id).map(|position| (position - self.first) as usize);
        }
        let is_it = |slot: &Option<InFlight>| {
            slot.as_ref().is_some_and(|entry| entry.packet_id == packet_id)
        };
        self.slots.iter().position(is_it)
    }

    /// Removes holes at the front at once, and the others when they clearly outnumber the messages.
    fn close_holes(&mut self) {
        if self.len == 0 {
            (self.first, self.index) = (self.first + self.slots.len() as u64, None);
            if self.slots.capacity() > 64 {
                self.slots = VecDeque::new();
            }
            return self.slots.clear();
        }
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.len() > 2 * self.len + Self::SMALL {
            self.close_up();
        } else if self.first >= self.run_from {
            self.index = None;
        }
    }

    /// Removes all holes. Positions can then no longer be derived from Packet Identifiers.
    fn close_up(&mut self) {
        let sent = self.len - self.unsent;
        self.slots.retain(Option::is_some);
        self.unsent_from = self.first + sent as u64;
        self.run_from = self.end();
        self.index = None;
        if self.needs_index() {
            self.make_index();
        }
    }

    fn make_index(&mut self) {
        let positions = self.slots.iter().zip(self.first..);
        let known =
            positions.filter_map(|(slot, position)| Some((slot.as_ref()?.packet_id, position)));
        self.index = Some(Box::new(known.collect()));
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::PacketIdentifier;
    use proptest::prelude::*;

    use super::{InFlight, Stage, Window};

    fn entry(packet_id: PacketIdentifier) -> InFlight {
        InFlight {
            packet_id,
            stage: Stage::PubAck,
            stream: None,
            sequence: None,
            bytes: 1,
            delivery: None,
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push,
        Skip(usize),
        End(usize),
        Again,
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            1 => (0..3_usize).prop_map(Step::Skip),
            4 => (0..200_usize).prop_map(Step::End),
            1 => Just(Step::Again),
            2 => Just(Step::Next),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec(step(), 0..600),
            start in 0..300_u16,
            unused in prop_oneof![0..300_usize, 65_000..65_535_usize],
        ) {
            let (mut window, mut model) = (Window::default(), Vec::new());
            let mut unsent = 0;
            let ids = (1..=u16::MAX).cycle().filter_map(PacketIdentifier::new);
            let mut ids = ids.skip(unused);
            for _ in 0..start {
                let id = ids.next().unwrap();
                window.push(entry(id));
                model.push(id);
            }
            for step in steps {
                match step {
                    Step::Push if unsent == 0 => {
                        let id = ids.next().unwrap();
                        window.push(entry(id));
                        model.push(id);
                    }
                    Step::Skip(count) => prop_assert!(ids.nth(count).is_some()),
                    Step::End(at) if !model.is_empty() => {
                        let at = at % model.len();
                        unsent -= usize::from(at >= model.len() - unsent);
                        let id = model.remove(at);
                        prop_assert!(window.take_if(id, |_| false).is_none());
                        prop_assert_eq!(window.take_if(id, |_| true).unwrap().packet_id, id);
                        prop_assert!(!window.contains(id));
                    }
                    Step::Again => {
                        window.begin_again();
                        unsent = model.len();
                    }
                    Step::Next if unsent > 0 => {
                        let next = window.next_unsent().map(|entry| entry.packet_id);
                        prop_assert_eq!(next, Some(model[model.len() - unsent]));
                        unsent -= 1;
                    }
                    _ => (),
                }
                prop_assert_eq!((window.len(), window.bytes()), (model.len(), model.len()));
                prop_assert_eq!(window.unsent(), unsent);
                prop_assert!(window.slots.len() <= 2 * model.len() + Window::SMALL);
            }
            let found: Vec<_> = window.iter().map(|entry| entry.packet_id).collect();
            prop_assert_eq!(&found, &model);
            prop_assert!(model.iter().all(|&id| window.find(id).is_some()));
            let sent = window.take_all().filter(|(_, is_sent)| *is_sent).count();
            prop_assert_eq!(sent, model.len() - unsent);
        }
    }
}
