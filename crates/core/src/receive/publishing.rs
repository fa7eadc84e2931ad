//! A PUBLISH from a Client: its topic, whether it is allowed, and its acknowledgement.

use std::borrow::Cow;
use std::sync::Arc;

use midge_codec::{PacketIdentifier, PacketType, Publish, QoS, ReasonCode};

use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, Identity, SessionSlot};
use crate::base::message::{Attributes, Publication};
use crate::boundary::peer_messages::QuestionId;
use crate::boundary::store_records::StoreOp;
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::receive::carrier::Carrier;
use crate::session::Received;
use crate::topics::destination::{Author, Destination, Misdirected};
use crate::waiting::rounds::HeldAcknowledgement;

/// Why a PUBLISH ends the Network Connection.
type Violation = (ReasonCode, String);

/// What a publisher is told about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason_code: ReasonCode,
    pub(crate) explanation: Option<&'static str>,
    /// What the acknowledgement promises, if something was kept for this message.
    depends: Option<Durability>,
    /// What acknowledgements of messages like this one promise.
    durability: Durability,
    /// Whether there is no room for the message now: a Client that cannot be told so gets no
    /// answer.
    is_withheld: bool,
    /// The ticket of the question to another worker whether it retains the message, if it
    /// was asked.
    ticket: Option<QuestionId>,
}

impl Core {
    /// Handles one PUBLISH of a connected Client.
    pub(crate) fn handle_publish(
        &mut self,
        carrier: Carrier,
        slot: SessionSlot,
        publish: &Publish<'_>,
        turn: &mut Turn,
    ) {
        let id = carrier.id;
        if publish.packet_id.is_some() && carrier.is_unanswered {
            // The Client sends it again after the one that was not answered, in order.
            let publisher = Arc::clone(self.ground.clients.session(slot).identity());
            let (party, topic) = (Party::Publisher(&publisher), publish.topic.as_str());
            return self.ground.clients.note_drop(party, topic, DropReason::StoreFull, turn);
        }
        let offered = carrier.capabilities.check_message(publish.qos, publish.retain);
        if let Err((reason_code, detail)) = offered {
            return self.violate(id, reason_code, detail.to_string(), turn);
        }
        let topic = match self.named_topic(id, publish) {
            Ok(topic) => topic,
            Err((reason_code, detail)) => {
                return self.violate(id, reason_code, detail, turn);
            }
        };
        match publish.packet_id {
            Some(packet_id) if publish.qos == QoS::ExactlyOnce => {
                self.receive_exactly_once(carrier, slot, publish, packet_id, &topic, turn);
            }
            Some(_) if self.exceeds_what_was_told(carrier, slot, publish.qos) => {
                self.violate_receive_maximum(id, turn);
            }
            Some(packet_id) => {
                let verdict = self.accept(carrier, slot, publish, &topic, turn);
                self.acknowledge_publish(carrier, PacketType::PubAck, packet_id, verdict, turn);
            }
            None => {
                self.accept(carrier, slot, publish, &topic, turn);
            }
        }
    }

    /// Handles QoS 2: the message goes on when it is first received. Its Packet Identifier is kept
    /// until the PUBREL, so that no repetition goes on again [MQTT-4.3.3-10].
    fn receive_exactly_once(
        &mut self,
        carrier: Carrier,
        slot: SessionSlot,
        publish: &Publish<'_>,
        packet_id: PacketIdentifier,
        topic: &str,
        turn: &mut Turn,
    ) {
        let session = self.ground.clients.session(slot);
        if let Some(Received { promised, ticket }) = session.received(packet_id) {
            // The first PUBREC may still be held back, for a Network Connection that is gone.
            let depends = (promised > Durability::Memory).then_some(promised);
            let ticket = ticket.filter(|&ticket| self.ground.clients.rounds.is_asking(ticket));
            let verdict = Verdict { depends, ticket, ..Verdict::SUCCESS };
            return self.acknowledge_publish(carrier, PacketType::PubRec, packet_id, verdict, turn);
        }
        if self.exceeds_what_was_told(carrier, slot, publish.qos) {
            return self.violate_receive_maximum(carrier.id, turn);
        }
        let mut verdict = self.accept(carrier, slot, publish, topic, turn);
        if !(verdict.is_withheld || carrier.is_v5 && verdict.reason_code.is_error()) {
            let (durability, ticket) = (verdict.durability, verdict.ticket);
            let session = self.ground.clients.session_mut(slot);
            session.note_received(packet_id, Received { promised: durability, ticket });
            let number = session.number().filter(|_| durability > Durability::Memory);
            if let Some(number) = number {
                let op = StoreOp::AwaitRelease { session: number.get(), packet_id };
                // After what others keep of the message: if only this were kept, no repetition
                // could bring the message back.
                self.ground.clients.rounds.keep_behind_round(op);
                verdict.depends = Some(durability);
            }
            let (session, is_kept) = (self.ground.clients.session_id(slot), number.is_some());
            if let Some(ticket) = ticket {
                self.ground.clients.rounds.note_packet(ticket, session, packet_id, is_kept);
            }
        }
        self.acknowledge_publish(carrier, PacketType::PubRec, packet_id, verdict, turn);
    }

    /// Sends the PUBACK or PUBREC [MQTT-4.3.2-4] [MQTT-4.3.3-8]. In 3.x, neither can refuse.
    fn acknowledge_publish(
        &mut self,
        carrier: Carrier,
        kind: PacketType,
        packet_id: PacketIdentifier,
        verdict: Verdict,
        turn: &mut Turn,
    ) {
        let Verdict { reason_code, explanation, depends, is_withheld, ticket, .. } = verdict;
        if is_withheld && !carrier.is_v5 {
            return self.leave_unanswered(carrier.id);
        }
        let held =
            HeldAcknowledgement { to: carrier.id, kind, packet_id, reason_code, explanation };
        match ticket {
            None => self.ground.clients.acknowledge(held, depends, turn),
            Some(ticket) => self.ground.clients.acknowledge_asked(held, depends, ticket),
        }
    }

    /// Whether one more QoS 1 or 2 message exceeds the Receive Maximum that an MQTT 5 Client was
    /// told; QoS 1 messages count until their PUBACK has left. For an older Client, only the QoS 2
    /// messages that wait for their PUBREL are limited.
    fn exceeds_what_was_told(&self, carrier: Carrier, slot: SessionSlot, qos: QoS) -> bool {
        let released = self.ground.clients.session(slot).awaiting_release_len() as u32;
        let Carrier { told, held_pubacks, .. } = carrier;
        match carrier.is_v5 {
            true => held_pubacks + released >= u32::from(told.receive_maximum),
            false => qos == QoS::ExactlyOnce && released >= u32::from(told.awaiting_release_max),
        }
    }

    fn violate_receive_maximum(&mut self, id: ConnectionId, turn: &mut Turn) {
        self.ground.clients.counters.limits_exceeded += 1;
        let detail = "more messages under way than the Receive Maximum allows";
        let code = ReasonCode::ReceiveMaximumExceeded;
        self.violate(id, code, detail.to_string(), turn); // [MQTT-3.3.4-8]
    }

    /// Returns the Topic Name that the Client means, with an alias resolved. A new alias holds for
    /// the connection whatever becomes of this message: the next one may be under way already.
    fn named_topic<'p>(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'p>,
    ) -> Result<Cow<'p, str>, Violation> {
        let properties = &publish.properties;
        if !properties.subscription_identifiers.is_empty() {
            let detail = "a Client must not send a Subscription Identifier [MQTT-3.3.4-6]";
            return Err((ReasonCode::ProtocolError, detail.to_string()));
        }
        let limit = usize::from(self.ground.config.limits.user_properties_max);
        if properties.user_properties.iter().nth(limit).is_some() {
            self.ground.clients.counters.limits_exceeded += 1;
            return Err((ReasonCode::QuotaExceeded, "too many User Properties".to_string()));
        }
        match properties.topic_alias {
            None => Ok(Cow::Borrowed(publish.topic.as_str())),
            Some(alias) => self.resolve_alias(id, alias, publish.topic.as_str()),
        }
    }

    fn resolve_alias<'p>(
        &mut self,
        id: ConnectionId,
        alias: std::num::NonZeroU16,
        topic: &'p str,
    ) -> Result<Cow<'p, str>, Violation> {
        let invalid = |detail: &str| Err((ReasonCode::TopicAliasInvalid, detail.to_string()));
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return invalid("no such connection");
        };
        if alias.get() > connection.offer().told.topic_alias_maximum {
            return invalid("Topic Alias above the Topic Alias Maximum [MQTT-3.3.2-9]");
        }
        let aliases = connection.incoming_aliases();
        if !topic.is_empty() {
            aliases.set(alias, topic);
            return Ok(Cow::Borrowed(topic));
        }
        match aliases.get(alias) {
            Some(known) => Ok(Cow::Owned(known.to_string())),
            // "Protocol Error", says section 3.3.4
            None => Err((
                ReasonCode::ProtocolError,
                "a Topic Alias that was not set on this connection".to_string(),
            )),
        }
    }

    /// Publishes what a Client sent, and returns what to tell it.
    fn accept(
        &mut self,
        carrier: Carrier,
        slot: SessionSlot,
        publish: &Publish<'_>,
        topic: &str,
        turn: &mut Turn,
    ) -> Verdict {
        let publisher = &Arc::clone(self.ground.clients.session(slot).identity());
        let (client_id, is_bridge) = (&*publisher.client_id, carrier.is_bridge);
        let author = Author::Client { client_id, is_bridge };
        let (rules, limits) = (&self.ground.config.topics, &self.ground.config.limits);
        let found = Destination::of_client(Cow::Borrowed(topic), author, rules, limits);
        let destination = match found {
            Ok(destination) => destination,
            Err(misdirected) => return self.turn_away(misdirected, topic, publisher, turn),
        };
        let (topic, delay_seconds) = (destination.topic(), destination.delay_seconds());
        let durability = self.ground.config.durability.of_message(carrier.durability, topic);
        let properties = &publish.properties;
        let expiry = properties.message_expiry_interval_seconds;
        let attributes = Attributes {
            qos: publish.qos,
            retain: publish.retain,
            expires_at: expiry.map(|seconds| turn.now.plus_seconds(u64::from(seconds))),
            publisher_session: Some(self.ground.clients.session_id(slot)),
            durability,
        };
        let mark = self.ground.clients.rounds.mark();
        let asks = publish.packet_id.is_some() && carrier.is_v5;
        let mut forwarded = std::mem::take(&mut self.properties);
        forwarded.clear();
        properties.encode_forwarded(&mut forwarded);
        let publication =
            Publication::new(topic, &forwarded, publish.payload, attributes, publisher);
        let outcome = match delay_seconds {
            _ if self.refuses(publish) => {
                let party = Party::Publisher(publisher);
                self.ground.clients.note_drop(party, topic, DropReason::MemoryPressure, turn);
                Err(DropReason::MemoryPressure)
            }
            None => self.router.publish_unless_lost(&mut self.ground, publication, asks, turn),
            Some(seconds) => {
                self.router.delay(&mut self.ground, &publication, seconds, turn).map(|()| (1, None))
            }
        };
        self.properties = forwarded;
        let verdict = match outcome {
            Ok((0, ticket)) => {
                let reason_code = ReasonCode::NoMatchingSubscribers;
                Verdict { reason_code, ticket, ..Verdict::SUCCESS }
            }
            Ok((_, ticket)) => Verdict { ticket, ..Verdict::SUCCESS },
            Err(reason) => reason.into(),
        };
        // The retained message may be gone from memory already, but not yet from the store.
        let removes = publish.retain && publish.payload.is_empty();
        let has_kept = self.ground.clients.rounds.mark() != mark
            || removes && self.ground.clients.rounds.has_store() && durability > Durability::Memory;
        Verdict { depends: has_kept.then_some(durability), durability, ..verdict }
    }

    /// Drops a message whose topic cannot be published to, and returns what to tell the publisher.
    #[cold]
    fn turn_away(
        &mut self,
        misdirected: Misdirected,
        topic: &str,
        publisher: &Arc<Identity>,
        turn: &mut Turn,
    ) -> Verdict {
        let is_beyond = misdirected == Misdirected::TooManyLevels;
        self.ground.clients.counters.limits_exceeded += u64::from(is_beyond);
        let party = Party::Publisher(publisher);
        self.ground.clients.note_drop(party, topic, misdirected.drop_reason(), turn);
        misdirected.into()
    }
}

impl Verdict {
    const SUCCESS: Self = Self {
        reason_code: ReasonCode::Success,
        explanation: None,
        depends: None,
        durability: Durability::Memory,
        is_withheld: false,
        ticket: None,
    };
}

impl From<Misdirected> for Verdict {
    fn from(misdirected: Misdirected) -> Self {
        Self {
            reason_code: misdirected.reason_code(),
            explanation: Some(misdirected.explanation()),
            ..Self::SUCCESS
        }
    }
}

impl From<DropReason> for Verdict {
    fn from(reason: DropReason) -> Self {
        let (reason_code, explanation) = match reason {
            DropReason::PublishNotAuthorized => {
                (ReasonCode::NotAuthorized, "not authorized to publish to this topic")
            }
            DropReason::RetainedLimit => {
                (ReasonCode::QuotaExceeded, "delivered, but there is no room to retain it")
            }
            DropReason::DelayedLimit => {
                (ReasonCode::QuotaExceeded, "there are too many delayed messages")
            }
            DropReason::StoreFull => {
                (ReasonCode::QuotaExceeded, "there is no room to keep the message")
            }
            DropReason::MemoryPressure => {
                (ReasonCode::QuotaExceeded, "the broker is short of memory")
            }
            DropReason::PeerGone => (
                ReasonCode::ImplementationSpecificError,
                "a part of the broker that would keep the message has failed",
            ),
            DropReason::Expired => return Self::SUCCESS,
            _ => (ReasonCode::UnspecifiedError, "the message could not be accepted"),
        };
        let is_withheld = matches!(
            reason,
            DropReason::StoreFull | DropReason::MemoryPressure | DropReason::PeerGone
        );
        Self { reason_code, explanation: Some(explanation), is_withheld, ..Self::SUCCESS }
    }
}
