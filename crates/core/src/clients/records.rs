//! What the store keeps of a Session, besides its messages.
//!
//! Nothing here waits: whoever promises something about what is kept waits for the store.

use std::num::{NonZeroU16, NonZeroU64};
use std::sync::Arc;

use midge_codec::{PacketIdentifier, QoS};

use crate::base::delivery::Delivery;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{Identity, SessionId, SessionSlot};
use crate::base::message::{Attributes, Publication};
use crate::base::time::Timestamp;
use crate::boundary::store_records::{
    Owner, SessionRecord, StoreOp, SubscriptionRecord, WillRecord,
};
use crate::clients::Clients;
use crate::session::outgoing::{Entering, Gathered, Outgoing};
use crate::session::{Session, Will};
use crate::waiting::rounds::Held;

impl Clients {
    /// Tells the store what may be sent soon, if it is time.
    #[inline]
    pub(crate) fn look_ahead(&mut self, slot: SessionSlot) {
        let session = &mut self.sessions[slot as usize];
        let (Some(number), Some(_)) = (session.number(), session.attached()) else {
            return;
        };
        let outgoing = session.outgoing_mut();
        if let Some(sent_before) = outgoing.and_then(Outgoing::tell_ahead) {
            let durability = session.durability();
            self.rounds.keep(StoreOp::SentAhead { session: number.get(), sent_before });
            let held = Held::Ahead(self.session_id(slot), sent_before);
            self.rounds.hold(held, durability);
        }
    }

    /// Notes that the store knows that messages below `sent_before` may be sent.
    pub(crate) fn note_ahead(&mut self, session: SessionId, sent_before: u64) {
        if let Some(slot) = self.slot_of(session)
            && let Some(outgoing) = self.sessions[slot as usize].outgoing_mut()
        {
            outgoing.note_ahead(sent_before);
        }
    }

    /// Writes the present state of a Session in the store, without subscriptions and messages.
    pub(crate) fn store_record(&mut self, slot: SessionSlot) {
        let session = &self.sessions[slot as usize];
        if let Some(number) = session.number() {
            let record = record_of(session, number.get(), self.receive_maximum_of(slot));
            // After the end of an earlier Will Message, which may wait for other workers.
            self.rounds.keep_behind_round(StoreOp::Session(Box::new(record)));
            if let Some(op) = self.tell_ahead_again(slot) {
                self.rounds.keep_behind_round(op);
            }
        }
    }

    /// Returns what the store has to know of what may be sent on a new Network Connection; it is
    /// sent when the store knows.
    fn tell_ahead_again(&mut self, slot: SessionSlot) -> Option<StoreOp> {
        let session = &mut self.sessions[slot as usize];
        let (number, durability) = (session.number()?.get(), session.durability());
        let sent_before = session.outgoing_mut()?.tell_ahead_again()?;
        self.rounds.hold(Held::Ahead(self.session_id(slot), sent_before), durability);
        Some(StoreOp::SentAhead { session: number, sent_before })
    }

    /// Writes what a Session has gathered before it came into the store under this number: Packet
    /// Identifiers of QoS 2 messages that it has received, and what waits for its Client or is
    /// under way to it. Returns how much that was.
    pub(crate) fn store_gathered(&mut self, slot: SessionSlot, number: u64) -> usize {
        let session = &mut self.sessions[slot as usize];
        let durability = session.durability();
        session.promise_awaiting_release(durability);
        for packet_id in session.awaiting_release() {
            // Behind what others keep of its message, as when the message came.
            let op = StoreOp::AwaitRelease { session: number, packet_id };
            self.rounds.keep_behind_round(op);
        }
        let identity = Arc::clone(session.identity());
        let entering = session.outgoing_mut().map(Outgoing::enter_store).unwrap_or_default();
        let owner = Owner::Session(number);
        let gathered = session.awaiting_release_len() + entering.len();
        let mut holds = false;
        for Entering { sequence, what } in entering {
            let end = match what {
                Gathered::Message(delivery) => {
                    holds |= delivery.qos == QoS::ExactlyOnce;
                    self.rounds.keep_message(owner, sequence, &delivery);
                    continue;
                }
                Gathered::Taken => StoreOp::Taken { owner, sequence },
                Gathered::Used => StoreOp::Finished { owner, sequence },
            };
            self.rounds.keep_message(owner, sequence, &place_of_gone(&identity));
            self.rounds.keep(end);
        }
        if holds {
            let round = self.rounds.hold_back(self.session_id(slot), durability);
            if let Some(outgoing) = self.sessions[slot as usize].outgoing_mut() {
                outgoing.hold_entering(round);
            }
        }
        if let Some(op) = self.tell_ahead_again(slot) {
            self.rounds.keep(op);
        }
        gathered
    }

    /// Forgets Packet Identifiers of received messages, by the numbers of their Sessions in the
    /// store, which has not heard of them: what comes again under them is new.
    pub(crate) fn forget_received(&mut self, received: &[(u64, PacketIdentifier)]) {
        if received.is_empty() {
            return;
        }
        for (_, session) in &mut self.sessions {
            let number = session.number().map(NonZeroU64::get);
            let of_session = received.iter().filter(|(owner, _)| Some(*owner) == number);
            for (_, packet_id) in of_session {
                session.note_pubrel(*packet_id);
            }
        }
    }

    /// Returns the Receive Maximum of the Client of a Session, also while its CONNACK waits; `None`
    /// if the Client is not there.
    pub(crate) fn receive_maximum_of(&self, slot: SessionSlot) -> Option<NonZeroU16> {
        let id = self.sessions[slot as usize].attached_or_accepted();
        let connection = id.and_then(|id| self.connection(id))?;
        NonZeroU16::new(connection.receive_maximum())
    }

    /// Notes how many messages may be under way to the Client of a Session, before its Receive
    /// Maximum changes or its Network Connection ends.
    pub(crate) fn note_window(&mut self, slot: SessionSlot) {
        let receive_maximum = self.receive_maximum_of(slot);
        if let Some(outgoing) = self.sessions[slot as usize].outgoing_mut() {
            outgoing.note_window(receive_maximum);
        }
    }

    /// Writes the subscriptions of a Session that the store knows by this number, and returns how
    /// many there are.
    pub(crate) fn store_subscriptions(&mut self, slot: SessionSlot, number: u64) -> usize {
        let session = &self.sessions[slot as usize];
        for (filter, subscribed) in session.subscriptions().iter() {
            let subscription = SubscriptionRecord {
                filter: filter.into(),
                options: subscribed.options,
                identifier: subscribed.identifier,
            };
            let op = StoreOp::Subscribed { session: number, subscription };
            self.rounds.keep(op);
        }
        session.subscriptions().len()
    }

    /// Tells the store that the Network Connection of a Session that lives on has ended.
    pub(crate) fn store_detached(&mut self, slot: SessionSlot, now: Timestamp) {
        let session = &mut self.sessions[slot as usize];
        let Some(number) = session.number() else {
            return;
        };
        let outgoing = session.outgoing_mut();
        let sent_before = outgoing.map_or(0, |outgoing| {
            outgoing.leave_to_store();
            outgoing.sent().to_store()
        });
        let op = StoreOp::Detached { session: number.get(), at: now, sent_before };
        self.rounds.keep_behind_round(op);
    }

    /// Tells the store that the Will Message of a Session is published, or is not to be.
    pub(crate) fn forget_will(&mut self, slot: SessionSlot) {
        if let Some(number) = self.sessions[slot as usize].number() {
            // After what others have kept of the Will Message: it must not be lost between the two.
            self.rounds.keep_behind_round(StoreOp::WillGone { session: number.get() });
        }
    }
}

/// Returns the record of a Session that has this number in the store, and whose Client has this
/// Receive Maximum; `None` if the Client is not there.
pub(crate) fn record_of(
    session: &Session,
    number: u64,
    receive_maximum: Option<NonZeroU16>,
) -> SessionRecord {
    let earlier = session.outgoing().and_then(Outgoing::earlier_window);
    SessionRecord {
        number,
        client_id: session.identity().client_id.clone(),
        user_name: session.identity().user_name.clone(),
        facts: session.identity().facts.clone(),
        expiry_seconds: session.expiry_seconds(),
        window: receive_maximum.max(earlier),
        will: session.will().map(|will: &Will| WillRecord {
            message: will.message.clone(),
            delay_seconds: will.delay_seconds,
            expiry_seconds: will.expiry_seconds,
        }),
    }
}

/// Returns what takes the place of a message that the store does not get: only its Packet
/// Identifier is needed.
fn place_of_gone(publisher: &Arc<Identity>) -> Delivery {
    let attributes = Attributes {
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher_session: None,
        durability: Durability::Fsync,
    };
    let message = Publication::new("$taken", &[], &[], attributes, publisher).share();
    let (qos, identifiers) = (QoS::AtLeastOnce, Identifiers::None);
    Delivery { message, qos, retain: false, identifiers, group: None }
}
