//! SUBACK and UNSUBACK: what they wait for, and the answers of other workers on the way.
//!
//! No answer leaves before what it says is in effect everywhere.

use std::sync::Arc;

use midge_codec::{
    Packet, PacketIdentifier, PacketType, QoS, ReasonCode, SubAck, UnsubAck, UserProperties,
};

use crate::base::identity::{ConnectionId, GroupId, SessionSlot};
use crate::boundary::effects::Event;
use crate::boundary::peer_messages::{SharedPeer, Ticket};
use crate::boundary::turn::Turn;
use crate::connection::Connection;
use crate::ground::Ground;
use crate::route::Router;
use crate::session::Subscribed;
use crate::subscribe::subscribing::{Wanted, granted};
use crate::subscribe::{Subscriptions, Unanswerable};
use crate::topics::filter_request::{EXCLUSIVE_PREFIX, FilterRequest, RequestKind};
use crate::waiting::pending::{PendingSubscribe, RemoteStep};
use crate::waiting::rounds::Held;

impl Subscriptions {
    /// Begins to answer a SUBSCRIBE or UNSUBSCRIBE with this many filters, if that can be done:
    /// nothing may be done for a packet that cannot be answered. Returns the ticket of its answer.
    pub(super) fn begin_answer(
        &mut self,
        ground: &mut Ground,
        id: ConnectionId,
        slot: SessionSlot,
        answer: PacketType,
        packet_id: PacketIdentifier,
        filters: usize,
    ) -> Result<Ticket, Unanswerable> {
        if !accepts_answer(ground, id, answer, packet_id, filters) {
            return Err(Unanswerable::TooLarge);
        }
        if !self.slices.can_take(filters, &ground.config.limits) {
            return Err(Unanswerable::NoMemory);
        }
        Ok(ground.begin_answer(answer, id, slot, Some(packet_id)))
    }

    /// Goes on with a SUBSCRIBE or UNSUBSCRIBE that all workers know of. The first retained
    /// messages of the other workers are fetched before the SUBACK leaves, so that they follow it
    /// at once and nothing published later comes before them.
    pub(crate) fn complete_subscribe(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        mut subscribe: PendingSubscribe,
        turn: &mut Turn,
    ) {
        if subscribe.answer() == PacketType::UnsubAck {
            return self.answer_unsubscribe(ground, &subscribe, turn);
        }
        if router.retained.requests.holds(ticket) && subscribe.begin_fetching() {
            subscribe.wait_for(1); // until all walks have begun
            ground.pending.insert(ticket, subscribe);
            router.retained.begin_walks(ground, ticket, turn);
            return self.take_retained_arrivals(router, ground, turn);
        }
        self.answer_subscribe(ground, subscribe, turn);
        router.retained.let_walks_follow(ground, ticket);
    }

    /// Sends the SUBACK, which retained messages follow.
    fn answer_subscribe(
        &mut self,
        ground: &mut Ground,
        subscribe: PendingSubscribe,
        turn: &mut Turn,
    ) {
        let (stream, control) = subscribe.streams();
        let id = ground.clients.stream_or_control(stream, control);
        if let Some(packet_id) = subscribe.packet_id() {
            if ground.clients.connection(id).is_none() {
                return;
            }
            let packet = answer_packet(PacketType::SubAck, packet_id, subscribe.reason_codes());
            ground.clients.send(id, &packet, turn); // [MQTT-3.8.4-1]
        }
        if ground.clients.connection(id).is_some_and(Connection::is_local) {
            turn.fx.local_subscribed.push((id, subscribe.reason_codes().to_vec()));
        }
        let Some(slot) = ground.clients.slot_of(subscribe.session()) else {
            return;
        };
        let client = Arc::clone(ground.clients.session(slot).identity());
        for (filter, reason_code) in subscribe.into_outcomes() {
            let client = Arc::clone(&client);
            turn.fx.events.push(Event::Subscribed { client, filter, reason_code });
        }
    }

    /// Sends the UNSUBACK [MQTT-3.10.4-4].
    pub(crate) fn answer_unsubscribe(
        &mut self,
        ground: &mut Ground,
        unsubscribe: &PendingSubscribe,
        turn: &mut Turn,
    ) {
        let (stream, control) = unsubscribe.streams();
        let id = ground.clients.stream_or_control(stream, control);
        let is_there = ground.clients.connection(id).is_some();
        if let Some(packet_id) = unsubscribe.packet_id().filter(|_| is_there) {
            let packet = answer_packet(unsubscribe.answer(), packet_id, unsubscribe.reason_codes());
            ground.clients.send(id, &packet, turn);
        }
    }

    /// Handles the answer of the home of an exclusive subscription.
    pub(crate) fn handle_exclusive_answer(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        is_granted: bool,
        turn: &mut Turn,
    ) {
        let Some((step, slot)) = ground.resume_step(ticket) else {
            return;
        };
        let Some(slot) = slot else {
            return self.arrive(router, ground, step.subscribe, turn);
        };
        if !is_granted {
            self.withdraw_claim(ground, slot, &step.key, turn);
            return self.answer_step(router, ground, &step, ReasonCode::QuotaExceeded, turn);
        }
        let subscribed = ground.clients.session(slot).subscriptions().get(&step.key);
        let filter = step.key.strip_prefix(EXCLUSIVE_PREFIX).unwrap_or(&step.key).to_string();
        let Some(Subscribed { options, identifier, .. }) = subscribed else {
            // Given up meanwhile; the release is on its way already.
            return self.answer_step(router, ground, &step, granted(QoS::AtMostOnce), turn);
        };
        let request =
            FilterRequest { kind: RequestKind::Exclusive, filter, key: step.key.to_string() };
        let wanted = Wanted { request, options, identifier };
        if step.is_new {
            // As far as retained messages are concerned, the subscription begins now.
            ground.clients.session_mut(slot).unsubscribe(&step.key);
        }
        self.add_plain(router, ground, slot, &wanted, step.subscribe, turn);
        let session = ground.clients.session(slot);
        let (is_stored, durability) = (session.is_stored(), session.durability());
        if is_stored
            && !ground.is_restoring
            && let Some(subscribe) = ground.pending.subscribe(step.subscribe)
        {
            subscribe.wait_for(1);
            ground.clients.rounds.hold(Held::Subscribed(step.subscribe), durability);
        }
        self.answer_step(router, ground, &step, granted(options.qos), turn);
    }

    /// Handles the answer that the home of a shared subscription has taken a member in and all
    /// workers know of it.
    pub(crate) fn handle_shared_joined(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        group: GroupId,
        turn: &mut Turn,
    ) {
        let Some((step, slot)) = ground.resume_step(ticket) else {
            return;
        };
        let subscribed = slot.and_then(|slot| {
            ground.clients.set_group(slot, &step.key, group);
            ground.clients.session(slot).subscriptions().get(&step.key).map(|sub| sub.options.qos)
        });
        if subscribed.is_none()
            && let Some(session) = ground.pending.subscribe(step.subscribe).map(|sub| sub.session())
        {
            turn.fx.send(group.home, SharedPeer::Leave { group, session }.into());
        }
        if let Some(slot) = slot {
            // The Client may have gone, and come again, before anybody could tell the group.
            let session = ground.clients.session_id(slot);
            let online = ground.clients.session(slot).attached().is_some();
            turn.fx.send(group.home, SharedPeer::Online { group, session, online }.into());
            if ground.clients.session(slot).is_stored() {
                // The Session may have come into the store since its home was asked.
                turn.fx.send(group.home, SharedPeer::Stored { group }.into());
            }
        }
        self.answer_step(router, ground, &step, granted(subscribed.unwrap_or_default()), turn);
    }

    pub(super) fn answer_step(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        step: &RemoteStep,
        code: ReasonCode,
        turn: &mut Turn,
    ) {
        if let Some(subscribe) = ground.pending.subscribe(step.subscribe) {
            subscribe.decide(step.index, code);
        }
        self.arrive(router, ground, step.subscribe, turn);
    }
}

/// Whether the Client accepts a SUBACK or UNSUBACK for this many filters.
fn accepts_answer(
    ground: &mut Ground,
    id: ConnectionId,
    answer: PacketType,
    packet_id: PacketIdentifier,
    filters: usize,
) -> bool {
    if ground.clients.connection(id).is_none_or(|peer| peer.packet_bytes_max() == u32::MAX) {
        return true;
    }
    let reason_codes = vec![ReasonCode::Success; filters];
    ground.clients.accepts(id, &answer_packet(answer, packet_id, &reason_codes))
}

/// Makes a SUBACK or an UNSUBACK.
pub(crate) fn answer_packet(
    answer: PacketType,
    packet_id: PacketIdentifier,
    reason_codes: &[ReasonCode],
) -> Packet<'_> {
    let (reason_string, user_properties) = (None, UserProperties::default());
    let reason_codes = reason_codes.into();
    match answer {
        PacketType::UnsubAck => {
            Packet::UnsubAck(UnsubAck { packet_id, reason_string, user_properties, reason_codes })
        }
        _ => Packet::SubAck(SubAck { packet_id, reason_string, user_properties, reason_codes }),
    }
}
