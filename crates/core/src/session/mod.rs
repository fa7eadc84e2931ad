//! Session State: what outlives a Network Connection (MQTT 5.0 section 4.1).

pub(crate) mod outgoing;
pub(crate) mod sent_ahead;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, SubscriptionOptions};

use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, GroupId, Identity};
use crate::base::message::Message;
use crate::base::time::Timestamp;
use crate::boundary::peer_messages::Ticket;
use crate::session::outgoing::{Extent, Outgoing};

/// The longest Session Expiry Interval: the Session does not expire.
pub(crate) const NEVER_EXPIRES: u32 = u32::MAX;

/// The fields are in this order in memory for the same reason as those of a [`Connection`]: a
/// delivery touches the first ones.
///
/// [`Connection`]: crate::connection::Connection
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Session {
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) outgoing: Option<Box<Outgoing>>,
    /// Its number in the store; 0 if it is not kept there.
    pub(crate) number: u64,
    pub(crate) generation: u32,
    /// Whether it only keeps the place of one that has ended.
    pub(crate) is_over: bool,
    /// Whether it counts as one of the node's Sessions. A Session that a newer one of its Client
    /// replaces does not.
    pub(crate) has_place: bool,
    /// What was promised about it when its Client connected last.
    pub(crate) durability: Durability,
    /// The router's mark: the match that it was last a target of, and its place in the list of
    /// targets.
    pub(crate) matched: (u64, u32),
    /// The Network Connection that waits for its CONNACK; the Session has no other one then.
    pub(crate) arriving: Option<ConnectionId>,
    pub(crate) subscriptions: HashMap<Box<str>, Subscribed, foldhash::fast::FixedState>,
    /// QoS 2 Packet Identifiers received and not yet released.
    #[allow(clippy::box_collection)] // most sessions have none: one word, not three
    pub(crate) awaiting_release: Option<Box<BTreeMap<PacketIdentifier, Received>>>,
    pub(crate) will: Option<Box<Will>>,
    /// When the Session ends, if that timer is set.
    pub(crate) expires_at: Option<Timestamp>,
    /// When its Will Message is due, if that timer is set.
    pub(crate) will_due_at: Option<Timestamp>,
    /// How long the Session lives on without a Network Connection.
    pub(crate) expiry_seconds: u32,
    /// How many of the subscriptions are shared ones.
    pub(crate) shared_subscriptions: u32,
}

/// A QoS 2 message that was received and not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// What was promised about it.
    pub(crate) promised: Durability,
    /// The question to another worker that its PUBREC waits for; 0: none.
    pub(crate) ticket: Ticket,
}

/// A subscription of a Session, under the filter that its Client wrote and the rules for rewriting
/// changed.
#[derive(Clone, Debug)]
pub(crate) struct Subscribed {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<NonZeroU32>,
    pub(crate) kind: SubscriptionKind,
}

/// What a filter asks for besides matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionKind {
    /// The filter is matched as it was written.
    Plain,
    /// `$share/name/filter` or `$queue/filter`; the group is known once its home has answered.
    Shared(Option<GroupId>),
    /// `$exclusive/filter`.
    Exclusive,
}

/// The Will Message that is published if the Network Connection ends without a DISCONNECT.
#[derive(Debug)]
pub(crate) struct Will {
    /// As it will be published, except for the expiry, which counts from then on.
    pub(crate) message: Arc<Message>,
    pub(crate) delay_seconds: u32,
    pub(crate) expiry_seconds: Option<u32>,
}

impl Session {
    /// About how many bytes a message in the store takes besides its contents.
    const STORED_BYTES: usize = 64;

    /// Returns about how many bytes it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let outgoing = self.outgoing.as_ref();
        let stored = outgoing.map_or(0, |outgoing| outgoing.stored_messages());
        let queued = outgoing.map_or(0, |outgoing| outgoing.bytes_in_memory());
        queued + stored * Self::STORED_BYTES + self.will_bytes() + self.identity.client_id.len()
    }

    pub(crate) fn will_bytes(&self) -> usize {
        self.will.as_ref().map_or(0, |will| will.message.size())
    }

    pub(crate) fn new(identity: Arc<Identity>, generation: u32, seed: u64) -> Self {
        Self {
            identity,
            generation,
            number: 0,
            has_place: false,
            connection: None,
            arriving: None,
            durability: Durability::Memory,
            expiry_seconds: 0,
            subscriptions: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            outgoing: None,
            awaiting_release: None,
            will: None,
            expires_at: None,
            will_due_at: None,
            matched: (0, 0),
            shared_subscriptions: 0,
            is_over: false,
        }
    }

    /// Its Network Connection, even if the CONNACK has not left yet.
    pub(crate) fn network_connection(&self) -> Option<ConnectionId> {
        self.connection.or(self.arriving)
    }

    /// Returns this QoS 2 message if it was received already and not released [MQTT-4.3.3-10].
    pub(crate) fn awaits_release(&self, packet_id: PacketIdentifier) -> Option<Received> {
        self.awaiting_release.as_ref()?.get(&packet_id).copied()
    }

    pub(crate) fn await_release(&mut self, packet_id: PacketIdentifier, received: Received) {
        self.awaiting_release.get_or_insert_default().insert(packet_id, received);
    }

    /// Releases a Packet Identifier. Returns what was promised about its message, if it was waiting
    /// for the PUBREL.
    pub(crate) fn release(&mut self, packet_id: PacketIdentifier) -> Option<Durability> {
        let waiting = self.awaiting_release.as_mut()?;
        let received = waiting.remove(&packet_id)?;
        if waiting.is_empty() {
            self.awaiting_release = None;
        }
        Some(received.promised)
    }

    pub(crate) fn awaiting_release_len(&self) -> usize {
        self.awaiting_release.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// The queue and in-flight window; made when first needed.
    pub(crate) fn outgoing_mut(&mut self, extent: Extent) -> &mut Outgoing {
        let is_stored = self.number > 0;
        self.outgoing.get_or_insert_with(|| Box::new(Outgoing::new(extent, is_stored)))
    }
}
