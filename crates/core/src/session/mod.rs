//! Session State: what outlives a Network Connection (MQTT 5.0 section 4.1).

pub(crate) mod moving;
pub(crate) mod outgoing;
pub(crate) mod own_filters;
pub(crate) mod sent_ahead;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use midge_codec::{PacketIdentifier, SubscriptionOptions};

use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, GroupId, Identity, SessionId};
use crate::base::message::Message;
use crate::base::time::Timestamp;
use crate::boundary::peer_messages::QuestionId;
use crate::boundary::store_records::Owner;
use crate::session::outgoing::{Extent, Outgoing};
use crate::session::own_filters::OwnFilters;

/// The longest Session Expiry Interval: the Session does not expire.
pub(crate) const NEVER_EXPIRES: u32 = u32::MAX;

/// What the broker keeps for a Client Identifier, with or without a Network Connection.
///
/// The fields are in this order in memory for the same reason as those of a [`Connection`]: a
/// delivery touches the first ones.
///
/// [`Connection`]: crate::connection::Connection
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Session {
    /// The Network Connection whose CONNACK has left.
    attached: Option<ConnectionId>,
    identity: Arc<Identity>,
    outgoing: Option<Box<Outgoing>>,
    /// Its number in the store; `None` if it is not kept there.
    number: Option<NonZeroU64>,
    generation: u32,
    /// Whether it only keeps the slot of one that has ended.
    is_over: bool,
    /// Whether it counts as one of the node's Sessions. A Session that a newer one of its Client
    /// replaces does not.
    is_counted: bool,
    /// What was promised about it when its Client connected last.
    durability: Durability,
    /// The router's mark: the match that it was last a target of, and its index in the list of
    /// targets.
    matched: (u64, u32),
    /// The Network Connection that waits for its CONNACK; the Session has no other one then.
    accepted: Option<ConnectionId>,
    subscriptions: OwnFilters,
    /// QoS 2 Packet Identifiers received and not yet released.
    #[allow(clippy::box_collection)] // most sessions have none: one word, not three
    awaiting_release: Option<Box<BTreeMap<PacketIdentifier, Received>>>,
    will: Option<Box<Will>>,
    /// Its name, if another worker has made it. Most have that of their slots.
    name: Option<Box<SessionId>>,
    /// When the Session ends, if that timer is set.
    expires_at: Option<Timestamp>,
    /// When its Will Message is due, if that timer is set.
    will_due_at: Option<Timestamp>,
    /// How long the Session lives on without a Network Connection.
    expiry_seconds: u32,
    /// How many of the subscriptions are shared ones.
    shared_subscriptions: u32,
}

/// A QoS 2 message that was received and not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// What was promised about it.
    pub(crate) promised: Durability,
    /// The question to another worker that its PUBREC waits for, if there is one.
    pub(crate) ticket: Option<QuestionId>,
}

/// A subscription of a Session, under its filter as the rules for rewriting have changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<NonZeroU32>,
    pub(crate) kind: SubscriptionKind,
}

/// What a filter asks for besides matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionKind {
    /// The filter has no prefix with a meaning.
    Plain,
    /// `$share/name/filter` or `$queue/filter`; the group is known once its home has answered.
    Shared(Option<GroupId>),
    /// `$exclusive/filter`.
    Exclusive,
}

/// The Will Message, which is published unless the Client ends its Network Connection by a
/// DISCONNECT with Reason Code 0x00.
#[derive(Debug)]
pub(crate) struct Will {
    /// As it will be published, except for the expiry, which counts from then on.
    pub(crate) message: Message,
    pub(crate) delay_seconds: u32,
    pub(crate) expiry_seconds: Option<u32>,
}

impl Subscribed {
    fn is_shared(&self) -> bool {
        matches!(self.kind, SubscriptionKind::Shared(_))
    }
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
            number: None,
            is_counted: false,
            attached: None,
            accepted: None,
            durability: Durability::Memory,
            expiry_seconds: 0,
            subscriptions: OwnFilters::new(seed),
            outgoing: None,
            awaiting_release: None,
            will: None,
            name: None,
            expires_at: None,
            will_due_at: None,
            matched: (0, 0),
            shared_subscriptions: 0,
            is_over: false,
        }
    }

    /// Makes an empty Session that keeps the slot of one that has ended.
    pub(crate) fn placeholder(identity: Arc<Identity>, generation: u32, seed: u64) -> Self {
        Self { is_over: true, ..Self::new(identity, generation, seed) }
    }

    /// The Network Connection that it is attached to: its CONNACK has left, so the Client is there.
    #[inline]
    pub(crate) fn attached(&self) -> Option<ConnectionId> {
        self.attached
    }

    #[inline]
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Its number in the store; `None` if it is not kept there.
    #[inline]
    pub(crate) fn number(&self) -> Option<NonZeroU64> {
        self.number
    }

    /// Whether the store keeps it.
    #[inline]
    pub(crate) fn is_stored(&self) -> bool {
        self.number.is_some()
    }

    /// The name under which the store keeps messages for it.
    #[inline]
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.number.map(|number| Owner::Session(number.get()))
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether it only keeps the slot of one that has ended.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it counts as one of the node's Sessions.
    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// What was promised about it when its Client connected last.
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// How long it lives on without a Network Connection.
    pub(crate) fn expiry_seconds(&self) -> u32 {
        self.expiry_seconds
    }

    /// When it ends, if that timer is set.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    pub(crate) fn will(&self) -> Option<&Will> {
        self.will.as_deref()
    }

    /// When its Will Message is due, if that timer is set.
    pub(crate) fn will_due_at(&self) -> Option<Timestamp> {
        self.will_due_at
    }

    pub(crate) fn subscriptions(&self) -> &OwnFilters {
        &self.subscriptions
    }

    /// Whether it has just begun: nothing has been subscribed, received or sent.
    pub(crate) fn is_blank(&self) -> bool {
        self.subscriptions.is_empty() && self.outgoing.is_none() && self.awaiting_release.is_none()
    }

    /// How many of the subscriptions are shared ones.
    pub(crate) fn shared_subscriptions(&self) -> u32 {
        self.shared_subscriptions
    }

    /// The queue and in-flight window, if there is one.
    #[inline]
    pub(crate) fn outgoing(&self) -> Option<&Outgoing> {
        self.outgoing.as_deref()
    }

    #[inline]
    pub(crate) fn outgoing_mut(&mut self) -> Option<&mut Outgoing> {
        self.outgoing.as_deref_mut()
    }

    /// Whether it is a Client's, and not a subscriber's inside the process, and goes on.
    pub(crate) fn is_of_client(&self) -> bool {
        !self.is_over && !self.identity.client_id.starts_with('\0')
    }

    /// The Network Connection that it is attached to, or the one that waits for its CONNACK.
    pub(crate) fn attached_or_accepted(&self) -> Option<ConnectionId> {
        self.attached.or(self.accepted)
    }

    /// Gives the Session to a Network Connection whose CONNACK has not left yet.
    pub(crate) fn accept(&mut self, connection: ConnectionId) {
        self.accepted = Some(connection);
    }

    /// Attaches it to the Network Connection, whose CONNACK leaves now.
    pub(crate) fn attach(&mut self, connection: ConnectionId) {
        (self.accepted, self.attached) = (None, Some(connection));
    }

    /// Detaches it from its Network Connection. Returns who was connected: nobody, if the CONNACK
    /// had not left.
    pub(crate) fn detach(&mut self) -> Option<Arc<Identity>> {
        self.accepted = None;
        self.attached.take().map(|_| Arc::clone(&self.identity))
    }

    /// Notes whether it counts as one of the node's Sessions.
    pub(crate) fn set_counted(&mut self, is_counted: bool) {
        self.is_counted = is_counted;
    }

    /// Sets its number in the store, if it is kept there.
    pub(crate) fn set_number(&mut self, number: Option<NonZeroU64>) {
        self.number = number;
    }

    /// Sets what is promised about it from now on.
    pub(crate) fn promise(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Replaces what is known of its Client, which has the same Client Identifier. Returns what was
    /// known.
    pub(crate) fn set_identity(&mut self, identity: Arc<Identity>) -> Arc<Identity> {
        debug_assert_eq!(self.identity.client_id, identity.client_id);
        std::mem::replace(&mut self.identity, identity)
    }

    /// Lets the policy look at the Client anew.
    pub(crate) fn forget_policy_note(&mut self) {
        if self.identity.note.is_set() {
            self.identity = Arc::new(Identity::clone(&self.identity));
        }
    }

    pub(crate) fn set_expiry_seconds(&mut self, expiry_seconds: u32) {
        self.expiry_seconds = expiry_seconds;
    }

    /// Notes that the timer for its end is set to this moment, or has run.
    pub(crate) fn note_expiry_timer(&mut self, at: Option<Timestamp>) {
        self.expires_at = at;
    }

    /// Notes that the timer for its Will Message is set to this moment, or has run.
    pub(crate) fn note_will_timer(&mut self, at: Option<Timestamp>) {
        self.will_due_at = at;
    }

    pub(crate) fn set_will(&mut self, will: Option<Box<Will>>) {
        self.will = will;
    }

    pub(crate) fn take_will(&mut self) -> Option<Box<Will>> {
        self.will.take()
    }

    /// Adds a subscription, or replaces the one with this filter and returns it.
    pub(crate) fn subscribe(&mut self, key: &str, subscribed: Subscribed) -> Option<Subscribed> {
        self.shared_subscriptions += u32::from(subscribed.is_shared());
        let replaced = self.subscriptions.insert(key, subscribed);
        self.count_off(replaced);
        replaced
    }

    /// Takes a subscription out.
    pub(crate) fn unsubscribe(&mut self, key: &str) -> Option<Subscribed> {
        let subscribed = self.subscriptions.remove(key);
        self.count_off(subscribed);
        subscribed
    }

    fn count_off(&mut self, subscribed: Option<Subscribed>) {
        let is_shared = subscribed.is_some_and(|subscribed| subscribed.is_shared());
        self.shared_subscriptions -= u32::from(is_shared);
    }

    /// Takes all subscriptions out.
    pub(crate) fn take_subscriptions(&mut self) -> OwnFilters {
        self.shared_subscriptions = 0;
        std::mem::replace(&mut self.subscriptions, OwnFilters::new(0))
    }

    /// Notes which group a shared subscription belongs to.
    pub(crate) fn set_group(&mut self, key: &str, group: GroupId) {
        self.subscriptions.set_group(key, group);
    }

    /// Its index in the list of targets of this match, if it is there already. Otherwise it gets
    /// the index `next`.
    #[inline]
    pub(crate) fn index_in_match(&mut self, stamp: u64, next: u32) -> Option<u32> {
        let (last_stamp, index) = self.matched;
        if last_stamp == stamp {
            return Some(index);
        }
        self.matched = (stamp, next);
        None
    }

    /// Returns this QoS 2 message if it was received already and not released [MQTT-4.3.3-10].
    pub(crate) fn received(&self, packet_id: PacketIdentifier) -> Option<Received> {
        self.awaiting_release.as_ref()?.get(&packet_id).copied()
    }

    pub(crate) fn note_received(&mut self, packet_id: PacketIdentifier, received: Received) {
        self.awaiting_release.get_or_insert_default().insert(packet_id, received);
    }

    /// Releases a Packet Identifier. Returns what was promised about its message, if it was waiting
    /// for the PUBREL.
    pub(crate) fn note_pubrel(&mut self, packet_id: PacketIdentifier) -> Option<Durability> {
        let waiting = self.awaiting_release.as_mut()?;
        let received = waiting.remove(&packet_id)?;
        if waiting.is_empty() {
            self.awaiting_release = None;
        }
        Some(received.promised)
    }

    /// The Packet Identifiers of QoS 2 messages received and not yet released.
    pub(crate) fn awaiting_release(&self) -> impl Iterator<Item = PacketIdentifier> {
        self.awaiting_release.iter().flat_map(|waiting| waiting.keys().copied())
    }

    /// Promises at least this much about each of them from now on.
    pub(crate) fn promise_awaiting_release(&mut self, durability: Durability) {
        let waiting = self.awaiting_release.iter_mut().flat_map(|waiting| waiting.values_mut());
        waiting.for_each(|received| received.promised = received.promised.max(durability));
    }

    pub(crate) fn awaiting_release_len(&self) -> usize {
        self.awaiting_release.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// The queue and in-flight window; made when first needed.
    pub(crate) fn make_outgoing(&mut self, extent: Extent) -> &mut Outgoing {
        let is_stored = self.is_stored();
        self.outgoing.get_or_insert_with(|| Box::new(Outgoing::new(extent, is_stored)))
    }
}
