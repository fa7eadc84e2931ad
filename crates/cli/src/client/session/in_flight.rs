//! QoS 1 and 2 messages on their way to the Server, in the order in which they were sent.

use std::collections::VecDeque;

use midge_codec::PacketIdentifier;

use super::Publication;

/// What a message in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A place in the window of a new Network Connection.
    Queued { dup: bool },
    /// PUBACK for QoS 1, PUBREC for QoS 2.
    Publish,
    /// PUBCOMP.
    PubRel,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) packet_id: PacketIdentifier,
    pub(super) publication: Publication,
    pub(super) stage: Stage,
}

/// The messages in flight, and the Packet Identifiers that they use.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    entries: VecDeque<Entry>,
    last_packet_id: u16,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns a Packet Identifier that no message uses and that `is_used` says no to. There always
    /// is one: fewer than 65,535 are in use at a time.
    pub(super) fn next_packet_id(
        &mut self,
        is_used: impl Fn(PacketIdentifier) -> bool,
    ) -> PacketIdentifier {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(packet_id) = PacketIdentifier::new(self.last_packet_id)
                && !is_used(packet_id)
                && self.position(packet_id).is_none()
            {
                return packet_id;
            }
        }
    }

    pub(super) fn push(&mut self, packet_id: PacketIdentifier, publication: Publication) {
        self.entries.push_back(Entry { packet_id, publication, stage: Stage::Publish });
    }

    pub(super) fn get_mut(&mut self, packet_id: PacketIdentifier) -> Option<&mut Entry> {
        self.position(packet_id).map(|index| &mut self.entries[index])
    }

    pub(super) fn remove(&mut self, packet_id: PacketIdentifier) -> Option<Publication> {
        let index = self.position(packet_id)?;
        self.entries.remove(index).map(|entry| entry.publication)
    }

    /// The Packet Identifiers and stages of all messages, in their order.
    pub(super) fn stages(&self) -> impl Iterator<Item = (PacketIdentifier, Stage)> {
        self.entries.iter().map(|entry| (entry.packet_id, entry.stage))
    }

    /// Makes every PUBLISH wait to be sent again.
    pub(super) fn queue_again(&mut self, dup: bool) {
        for entry in &mut self.entries {
            if entry.stage != Stage::PubRel {
                entry.stage = Stage::Queued { dup };
            }
        }
    }

    /// Removes the messages that only waited for a PUBCOMP, and returns them.
    pub(super) fn remove_released(&mut self) -> Vec<Publication> {
        let (released, kept) =
            self.entries.drain(..).partition::<Vec<_>, _>(|entry| entry.stage == Stage::PubRel);
        self.entries = kept.into();
        released.into_iter().map(|entry| entry.publication).collect()
    }

    /// Finds a message: nearly always at the front, because Servers acknowledge in order.
    fn position(&self, packet_id: PacketIdentifier) -> Option<usize> {
        self.entries.iter().position(|entry| entry.packet_id == packet_id)
    }
}
