//! One publication, encoded once for every layout that its receivers need.
//!
//! Receivers of the same protocol, QoS and RETAIN share the same bytes except for the Packet
//! Identifier, which is patched into each copy. Without a Packet Identifier even the copies are the
//! same: if there are several receivers, their outputs name the same bytes
//! ([`crate::connection::shared_bytes`]). A packet with parts for one receiver only (Subscription
//! Identifiers, a topic alias, DUP) is encoded for it alone.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{OutgoingPublish, PacketIdentifier, ProtocolVersion, QoS, TopicAliasUse};

use crate::connection::output::{BufferPool, Output, SHARED_PAYLOAD_BYTES_MIN};
use crate::connection::shared_bytes::Part;
use crate::gate::Passed;

/// How a publication goes to one receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    pub(crate) version: ProtocolVersion,
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<PacketIdentifier>,
    pub(crate) identifiers: &'a [NonZeroU32],
    pub(crate) alias: Option<TopicAliasUse>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    start: u32,
    end: u32,
    packet_id_offset: u32,
    /// The whole packet among the bytes of this turn, if it is there.
    part: Part,
}

/// The layouts of the publication that is being delivered. Reused for the next one.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    buffer: Vec<u8>,
    slots: [Slot; Self::SLOTS],
    filled: u16,
    /// Whether there are enough receivers to use the bytes of the turn.
    is_for_several: bool,
}

impl Layouts {
    /// 3.x and 5.0, three QoS, RETAIN or not.
    const SLOTS: usize = 12;
    /// With fewer receivers, each of them gets its own copy.
    const SEVERAL: usize = 4;

    /// Begins another publication, for at most this many receivers.
    #[inline]
    pub(crate) fn begin(&mut self, receivers: usize) {
        self.filled = 0;
        self.buffer.clear();
        self.is_for_several = receivers >= Self::SEVERAL;
    }

    /// Appends the publication in the given form to a connection's output. The caller has checked
    /// that the packet is within the receiver's Maximum Packet Size. True if the output has a part
    /// of the bytes of this turn from now on.
    #[inline]
    pub(crate) fn write(
        &mut self,
        passed: &Passed<'_, '_>,
        form: &Form<'_>,
        output: &mut Output,
        pool: &mut BufferPool,
    ) -> bool {
        let publication = passed.publication();
        let is_shared = publication.payload.len() >= SHARED_PAYLOAD_BYTES_MIN;
        let copied = if is_shared { &[] } else { publication.payload };
        let mut has_begun = false;
        if form.is_particular() {
            output.append(pool, |buffer| {
                form.packet(passed).encode_head(form.version, buffer);
                buffer.extend_from_slice(copied);
            });
        } else {
            has_begun = self.write_same(passed, form, copied, output, pool);
        }
        if is_shared {
            output.append_payload(publication.share(), pool);
        }
        has_begun
    }

    /// Writes what other receivers get as well, with the payload as far as it is copied.
    #[inline]
    fn write_same(
        &mut self,
        passed: &Passed<'_, '_>,
        form: &Form<'_>,
        payload: &[u8],
        output: &mut Output,
        pool: &mut BufferPool,
    ) -> bool {
        let slot = self.slot(passed, form, payload, pool);
        if !slot.part.is_empty() {
            return output.append_part(slot.part, pool);
        }
        let head = &self.buffer[slot.start as usize..slot.end as usize];
        output.append(pool, |buffer| {
            let start = buffer.len();
            buffer.extend_from_slice(head);
            buffer.extend_from_slice(payload);
            if let Some(packet_id) = form.packet_id {
                let at = start + slot.packet_id_offset as usize;
                buffer[at..at + 2].copy_from_slice(&packet_id.get().to_be_bytes());
            }
        });
        false
    }

    #[inline]
    fn slot(
        &mut self,
        passed: &Passed<'_, '_>,
        form: &Form<'_>,
        payload: &[u8],
        pool: &mut BufferPool,
    ) -> Slot {
        let is_v5 = usize::from(form.version == ProtocolVersion::V5);
        let index = is_v5 * 6 + form.qos as usize * 2 + usize::from(form.retain);
        if self.filled & 1 << index == 0 {
            let start = self.buffer.len() as u32;
            let offset = form.packet(passed).encode_head(form.version, &mut self.buffer) as u32;
            let end = self.buffer.len() as u32;
            // If the payload is shared anyway, each receiver gets its own copy of the head.
            let is_whole = payload.len() == passed.publication().payload.len();
            let is_same = self.is_for_several && is_whole && form.packet_id.is_none();
            let head = &self.buffer[start as usize..];
            let part = is_same.then(|| pool.turn.add(head, payload)).flatten().unwrap_or_default();
            self.slots[index] = Slot { start, end, packet_id_offset: offset, part };
            self.filled |= 1 << index;
        }
        self.slots[index]
    }
}

impl Form<'_> {
    /// Returns the whole packet's length in bytes.
    pub(crate) fn encoded_len(&self, passed: &Passed<'_, '_>) -> usize {
        self.packet(passed).encoded_len(self.version)
    }

    fn is_particular(&self) -> bool {
        self.dup || !self.identifiers.is_empty() || self.alias.is_some()
    }

    fn packet<'p>(&'p self, passed: &Passed<'p, '_>) -> OutgoingPublish<'p> {
        OutgoingPublish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: passed.publication().topic,
            topic_alias: self.alias,
            packet_id: self.packet_id,
            message_expiry_interval_seconds: passed.expiry_seconds(),
            subscription_identifiers: self.identifiers,
            forwarded_properties: passed.publication().properties,
            payload_len: passed.publication().payload.len(),
        }
    }
}

/// The topic aliases that the broker has given out on one connection.
#[derive(Debug)]
pub(crate) struct OutgoingAliases {
    topics: Vec<Box<str>>,
    maximum: u16,
}

impl OutgoingAliases {
    /// Topics shorter than this are not worth an alias: it takes three bytes itself.
    const TOPIC_BYTES_MIN: usize = 4;

    pub(crate) fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum }
    }

    /// Makes an empty table like this one, for another stream of the same receiver.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.maximum)
    }

    /// How many bytes the topics take.
    pub(crate) fn bytes(&self) -> usize {
        self.topics.iter().map(|topic| topic.len()).sum()
    }

    /// Returns the alias of `topic`: one that the receiver knows already, or a new one if there is
    /// one left [MQTT-3.1.2-26] [MQTT-3.1.2-27].
    pub(crate) fn alias(&mut self, topic: &str) -> Option<TopicAliasUse> {
        if topic.len() < Self::TOPIC_BYTES_MIN {
            return None;
        }
        if let Some(index) = self.topics.iter().position(|known| **known == *topic) {
            return NonZeroU16::new(index as u16 + 1).map(TopicAliasUse::Use);
        }
        if self.topics.len() >= usize::from(self.maximum) {
            return None;
        }
        self.topics.push(topic.into());
        NonZeroU16::new(self.topics.len() as u16).map(TopicAliasUse::Assign)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use midge_codec::TopicAliasUse;

    use super::OutgoingAliases;

    #[test]
    fn aliases_are_given_once_and_then_used() {
        let one = NonZeroU16::MIN;
        let mut aliases = OutgoingAliases::new(1);
        assert_eq!(aliases.alias("sensors/1"), Some(TopicAliasUse::Assign(one)));
        assert_eq!(aliases.alias("sensors/1"), Some(TopicAliasUse::Use(one)));
        assert_eq!(aliases.alias("sensors/2"), None);
        assert_eq!(aliases.alias("a"), None);
    }
}
