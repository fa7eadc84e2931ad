//! From CONNECT to CONNACK: what a Client asks for, who it is, and the Session it gets.

use core::net::IpAddr;
use std::borrow::Cow;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::sync::Arc;

use midge_codec::{
    ConnAck, ConnAckProperties, Connect, DecodeError, Packet, PacketType, ProtocolVersion,
    ReasonCode, Will as WillFields,
};

use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, Identity, SessionSlot, Source, is_reserved_client_id};
use crate::base::message::{Attributes, Publication};
use crate::base::timers::Timer;
use crate::boundary::effects::{AuthRequest, DisconnectReason, EnhancedStep, Event, User};
use crate::boundary::turn::Turn;
use crate::connection::Claimed;
use crate::connection::Connection;
use crate::connection::accepted::AcceptedConnect;
use crate::connection::capabilities::{Capabilities, Refusal};
use crate::connection::{PendingConnect, PendingWill, Phase, Told};
use crate::conversation::authenticating::identity_of;
use crate::core::Core;
use crate::session::{NEVER_EXPIRES, Will};
use crate::topics::destination::{Author, Destination, Misdirected};

/// What an accepted CONNECT is granted, as its CONNACK says it.
pub(crate) struct Terms<'d> {
    offered: Capabilities,
    pub(crate) told: Told,
    keep_alive: u16,
    response: Option<String>,
    method: Option<Box<str>>,
    data: Option<&'d [u8]>,
}

/// What the driver has answered about a Client: who it is, and what to tell it.
pub(crate) struct Authenticated {
    pub(crate) user: User,
    /// Authentication Data for the CONNACK.
    pub(crate) data: Option<Box<[u8]>>,
    /// Where the Client is.
    pub(crate) address: Option<IpAddr>,
}

impl Core {
    /// Handles a CONNECT on a new Network Connection: checks what needs no authentication, then
    /// asks the driver who the Client is. No Session is touched before the answer.
    pub(crate) fn handle_connect(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        turn: &mut Turn,
    ) {
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            connection.learn(connect, &self.ground.config.limits);
        }
        let is_turned_away =
            self.ground.clients.connection(id).is_some_and(Connection::is_turned_away);
        let checked = match is_turned_away {
            true => Err((ReasonCode::ServerBusy, "too many connections: come again later")),
            false => self
                .check_offered(id, connect)
                .and_then(|()| self.check_connect(id, connect))
                .and_then(|()| self.check_memory(id, connect)),
        };
        if let Err((reason_code, detail)) = checked {
            let who = Claimed { client_id: connect.client_id, user_name: connect.user_name };
            return self.refuse_connect(id, who, reason_code, detail, turn);
        }
        let pending = self.pending_connect(connect);
        let request = AuthRequest {
            connection: id,
            listener: self.ground.clients.connection(id).and_then(|it| it.offer().listener),
            version: connect.version,
            client_id: pending.client_id.clone(),
            is_assigned: pending.assigned,
            user_name: pending.user_name.clone(),
            password: connect.password.map(Into::into),
            enhanced: connect.properties.authentication_method.map(|method| EnhancedStep {
                method: method.into(),
                data: connect.properties.authentication_data.map(Into::into),
                reauthentication: false,
            }),
        };
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            connection.enter(Phase::Authenticating(Box::new(pending)));
        }
        self.ground.clients.set_reading(id, false, turn);
        turn.fx.authenticate.push(request);
    }

    /// Refuses a first packet that is not a valid CONNECT. If its protocol could be read, the
    /// Client is refused in that protocol [MQTT-3.1.4-2] [MQTT-3.1.2-2]; anything else is not MQTT
    /// and gets no answer.
    pub(crate) fn refuse_malformed_connect(
        &mut self,
        id: ConnectionId,
        error: &DecodeError,
        input: &[u8],
        turn: &mut Turn,
    ) {
        self.ground.clients.counters.protocol_violations += 1;
        let reason_code = error.rule.reason_code();
        let detail = error.to_string();
        let Some(version) = error.version else {
            let reason = DisconnectReason::ProtocolViolation { reason_code, detail };
            return self.close(id, None, &reason, turn);
        };
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            connection.answer_in(version);
        }
        let unsupported = reason_code == ReasonCode::UnsupportedProtocolVersion;
        let bad_identifier = reason_code == ReasonCode::ClientIdentifierNotValid;
        if version == ProtocolVersion::V5 || unsupported || bad_identifier {
            let client_id = Connect::client_id_in(input).unwrap_or_default();
            let who = Claimed { client_id, user_name: None };
            self.refuse_connect(id, who, reason_code, &detail, turn);
        } else {
            // 3.x has no return code for a malformed CONNECT: it is closed without a CONNACK.
            let reason = DisconnectReason::ProtocolViolation { reason_code, detail };
            self.close(id, None, &reason, turn);
        }
    }

    pub(crate) fn refuse_connect(
        &mut self,
        id: ConnectionId,
        who: Claimed<'_>,
        reason_code: ReasonCode,
        detail: &str,
        turn: &mut Turn,
    ) {
        self.ground.clients.counters.connects_refused += 1;
        let explain =
            self.ground.clients.connection(id).is_some_and(|connection| {
                connection.wants_problem_information() && detail.len() < 200
            });
        let properties = ConnAckProperties {
            reason_string: Some(detail).filter(|_| explain), // [MQTT-3.2.2-19]
            ..ConnAckProperties::default()
        };
        // [MQTT-3.2.2-6]: no Session Present beside an error
        let packet = ConnAck { session_present: false, reason_code, properties };
        self.ground.clients.send(id, &Packet::ConnAck(Box::new(packet)), turn);
        turn.fx.events.push(Event::Refused {
            connection: id,
            client_id: who.client_id.into(),
            user_name: who.user_name.map(Into::into),
            reason_code,
            detail: detail.into(),
        });
        self.close(id, None, &DisconnectReason::ByServer(reason_code), turn);
    }

    /// Checks that the listener offers what the CONNECT asks for.
    fn check_offered(&self, id: ConnectionId, connect: &Connect<'_>) -> Result<(), Refusal> {
        let connection = self.ground.clients.connection(id);
        let offered =
            connection.map(|connection| connection.offer().capabilities).unwrap_or_default();
        if !offered.speaks(connect.version) {
            let detail = "this listener does not speak this version of MQTT";
            return Err((ReasonCode::UnsupportedProtocolVersion, detail));
        }
        if connect.client_id.is_empty() && !offered.assigned_client_identifiers {
            let detail = "this listener assigns no Client Identifiers: send one";
            return Err((ReasonCode::ClientIdentifierNotValid, detail)); // [MQTT-3.1.3-8]
        }
        connect.will.as_ref().map_or(Ok(()), |will| offered.check_message(will.qos, will.retain))
    }

    fn check_memory(&mut self, id: ConnectionId, connect: &Connect<'_>) -> Result<(), Refusal> {
        if !self.has_memory_for(id, connect.client_id, asked_expiry(connect) > 0) {
            return Err((ReasonCode::ServerBusy, "the broker is short of memory"));
        }
        let will_bytes = connect.will.as_ref().map_or(0, |will| will.payload.len());
        if !self.has_memory_for_will(will_bytes) {
            let detail = "the broker is very short of memory, and the Will Message is large";
            return Err((ReasonCode::ServerBusy, detail));
        }
        Ok(())
    }

    fn check_connect(&self, id: ConnectionId, connect: &Connect<'_>) -> Result<(), Refusal> {
        let limits = &self.ground.config.limits;
        if self.draining {
            return Err((ReasonCode::ServerUnavailable, "the broker is shutting down"));
        }
        let client_id = connect.client_id;
        if client_id.len() > usize::from(limits.client_identifier_bytes_max) {
            return Err((
                ReasonCode::ClientIdentifierNotValid,
                "the Client Identifier is too long",
            ));
        }
        let connection = self.ground.clients.connection(id);
        let is_of_program = connection.is_some_and(Connection::is_of_program);
        if is_reserved_client_id(client_id) && !is_of_program {
            let detail = "Client Identifiers that begin with '$' are the broker's own";
            return Err((ReasonCode::ClientIdentifierNotValid, detail));
        }
        if client_id.is_empty() && !connect.clean_start && connect.version != ProtocolVersion::V5 {
            let detail = "an empty Client Identifier needs Clean Session [MQTT-3.1.3-8]";
            return Err((ReasonCode::ClientIdentifierNotValid, detail));
        }
        let of_will = connect.will.iter().flat_map(|will| will.properties.user_properties.iter());
        let mut user_properties = connect.properties.user_properties.iter().chain(of_will);
        if user_properties.nth(usize::from(limits.user_properties_max)).is_some() {
            return Err((ReasonCode::QuotaExceeded, "too many User Properties"));
        }
        match connect.will.as_ref().map(|will| self.will_destination(connect, will)) {
            Some(Err(misdirected)) => {
                Err((misdirected.reason_code(), misdirected.explanation_for_will()))
            }
            _ => Ok(()),
        }
    }

    /// Returns where a Will Message goes: the same place as any other message to its topic.
    fn will_destination<'w>(
        &self,
        connect: &Connect<'_>,
        will: &WillFields<'w>,
    ) -> Result<Destination<'w>, Misdirected> {
        let author = Author::Client { client_id: connect.client_id, is_bridge: connect.bridge };
        let topic = Cow::Borrowed(will.topic.as_str());
        Destination::of_client(
            topic,
            author,
            &self.ground.config.topics,
            &self.ground.config.limits,
        )
    }

    /// Makes a Client Identifier that nobody can know before its Client does.
    fn assign_client_id(&mut self) -> Box<str> {
        loop {
            let client_id = format!("midge-{:016x}", self.unguessable.next());
            if self.ground.clients.session_by_client_id(&client_id).is_none() {
                return client_id.into();
            }
        }
    }

    fn pending_connect(&mut self, connect: &Connect<'_>) -> PendingConnect {
        let assigned = connect.client_id.is_empty();
        let client_id = match assigned {
            true => self.assign_client_id(), // [MQTT-3.1.3-6]
            false => connect.client_id.into(),
        };
        let properties = &connect.properties;
        // This one is counted already.
        let count = self.ground.clients.counters.packets_received[PacketType::Connect as usize];
        PendingConnect {
            number: NonZeroU64::new(count).unwrap_or(NonZeroU64::MIN),
            client_id,
            assigned,
            user_name: connect.user_name.map(Into::into),
            clean_start: connect.clean_start,
            keep_alive_seconds: connect.keep_alive_seconds,
            session_expiry_interval: asked_expiry(connect),
            wants_response_information: properties.request_response_information == Some(true),
            will: connect.will.as_ref().and_then(|will| {
                let destination = self.will_destination(connect, will).ok()?;
                Some(pending_will(will, destination.to_text().into()))
            }),
        }
    }

    /// Sets up the Session of an authenticated Client and answers its CONNECT, or refuses it.
    pub(crate) fn establish(
        &mut self,
        id: ConnectionId,
        pending: &PendingConnect,
        authenticated: &Authenticated,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection(id) else {
            return;
        };
        let source =
            Some(Source { listener: connection.offer().listener, address: authenticated.address });
        let identity =
            Arc::new(identity_of(pending.client_id.clone(), &authenticated.user, source));
        // Whatever is overdue for the old Session takes effect first.
        self.settle_overdue(&identity.client_id, turn);
        // This is the last moment to refuse the Client: only what was overdue has been touched.
        let terms = match self.admit(id, &identity, pending, authenticated.data.as_deref(), turn) {
            Ok(terms) => terms,
            Err((reason_code, detail)) => {
                return self.refuse_connect(id, pending.who(), reason_code, detail, turn);
            }
        };
        let resumed = self.take_over(&identity, pending.clean_start, turn);
        let session_present = resumed.is_some();
        let (slot, former) = match resumed {
            Some(slot) => {
                let session = self.ground.clients.session_mut(slot);
                (slot, Some(session.set_identity(identity)))
            }
            None => (self.ground.clients.insert_session(identity), None),
        };
        self.limit_by_credential(id, authenticated.user.valid_for, turn);
        let earlier = self.call_off_will(slot);
        let expiry_max = self.ground.config.limits.session_expiry_seconds_max;
        let Some(connection) = self.ground.clients.connection(id) else {
            return;
        };
        let (durability, version) = (connection.offer().durability, connection.version());
        let mut connack = Vec::new();
        let encoded = self.connack(pending, &terms, session_present).encode(version, &mut connack);
        debug_assert!(encoded.is_ok(), "its size was looked at");
        self.ground.clients.accept(slot, id);
        let session = self.ground.clients.session_mut(slot);
        session.set_expiry_seconds(pending.session_expiry_interval.min(expiry_max));
        let will = pending.will.as_ref().map(|will| self.will_of(slot, will, durability));
        self.ground.clients.session_mut(slot).set_will(will);
        self.store_session(slot, durability, turn);
        let keep_alive = terms.keep_alive;
        let connected = Event::Connected {
            connection: id,
            client: Arc::clone(self.ground.clients.session(slot).identity()),
            version,
            session_present,
            asked_user_name: pending.user_name.clone(),
            keep_alive_seconds: keep_alive,
            clean_start: pending.clean_start,
        };
        let accepted = AcceptedConnect {
            session: slot,
            connect_number: pending.number,
            session_present,
            keep_alive,
            connack,
            connected,
            former,
            earlier,
        };
        self.answer_connect(id, accepted, turn);
    }

    /// Writes a Session to the store, if it is to be there, with its shared subscriptions.
    fn store_session(
        &mut self,
        slot: SessionSlot,
        of_listener: Option<Durability>,
        turn: &mut Turn,
    ) {
        let durability = self.ground.config.durability.of_session(of_listener);
        if self.ground.store_session(slot, durability, turn) {
            self.router.shared.store_groups_of(&mut self.ground, slot, turn);
        }
    }

    /// Returns a Will Message in the form in which its Session keeps it.
    fn will_of(
        &self,
        slot: SessionSlot,
        will: &PendingWill,
        durability: Option<Durability>,
    ) -> Box<Will> {
        let destination = Destination::of_will(&will.topic);
        let attributes = Attributes {
            qos: will.qos,
            retain: will.retain,
            expires_at: None,
            publisher_session: Some(self.ground.clients.session_id(slot)),
            durability: self.ground.config.durability.of_message(durability, destination.topic()),
        };
        let identity = self.ground.clients.session(slot).identity();
        let (topic, properties) = (&*will.topic, &will.properties);
        let publication = Publication::new(topic, properties, &will.payload, attributes, identity);
        Box::new(Will {
            message: publication.share(),
            delay_seconds: will.delay_seconds,
            expiry_seconds: will.expiry_seconds,
        })
    }

    /// Does what follows the CONNACK [MQTT-3.2.0-1].
    pub(crate) fn begin_conversation(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        keep_alive: u16,
        turn: &mut Turn,
    ) {
        if keep_alive > 0 {
            self.set_connection_timer(id, turn.now + u64::from(keep_alive) * 1500);
        } else if let Some(connection) = self.ground.clients.connection_mut(id)
            && let Some(at) = connection.note_timer(None)
        {
            self.ground.timers.cancel(at, Timer::Connection(id));
        }
        self.ground.clients.set_reading(id, true, turn);
        self.router.go_on(&mut self.ground, slot, turn);
        self.router.shared.tell_online(&mut self.ground, slot, turn);
        self.subscriptions.subscribe_automatically(
            &mut self.router,
            &mut self.ground,
            id,
            slot,
            turn,
        );
    }

    pub(crate) fn check_identity(
        &self,
        id: ConnectionId,
        identity: &Arc<Identity>,
        pending: &PendingConnect,
    ) -> Result<(), Refusal> {
        if !self.ground.clients.policy.may_stay(identity) {
            return Err((ReasonCode::NotAuthorized, "this user may not stay"));
        }
        let existing = self.ground.clients.session_by_client_id(&identity.client_id);
        if let Some(slot) = existing {
            let owner = self.ground.clients.session(slot).identity();
            let is_others = owner.user_name != identity.user_name;
            if is_others && !self.ground.clients.policy.may_claim(identity, owner) {
                let detail = "the Client Identifier belongs to a session of another user";
                return Err((ReasonCode::ClientIdentifierNotValid, detail));
            }
        }
        if self.ground.clients.rounds.is_full() && self.needs_store(id, existing, pending) {
            return Err((ReasonCode::QuotaExceeded, "there is no room to keep the session"));
        }
        match &pending.will {
            Some(will) => {
                let policy = &self.ground.clients.policy;
                let destination = Destination::of_will(&will.topic);
                let topic = destination.topic();
                let allowed = policy.may_publish(identity, topic, will.qos, will.retain);
                let refusal = (ReasonCode::NotAuthorized, "the Will Topic is not authorized");
                if allowed { Ok(()) } else { Err(refusal) }
            }
            None => Ok(()),
        }
    }

    /// Whether the store needs room for the Session of this CONNECT: a new one, or one that has
    /// gathered something in memory and comes into the store now.
    fn needs_store(
        &self,
        id: ConnectionId,
        existing: Option<SessionSlot>,
        pending: &PendingConnect,
    ) -> bool {
        let needs_room = existing.is_none_or(|slot| {
            let connection = self.ground.clients.connection(id);
            let of_listener = connection.and_then(|connection| connection.offer().durability);
            let durability = self.ground.config.durability.of_session(of_listener);
            !pending.clean_start
                && self.ground.enters_store(slot, durability)
                && !self.ground.clients.session(slot).is_blank()
        });
        let expiry_max = self.ground.config.limits.session_expiry_seconds_max;
        needs_room && pending.session_expiry_interval.min(expiry_max) > 0
    }

    /// Ends the connection that the Session may still have [MQTT-3.1.4-3], and returns the Session
    /// if it is to be resumed [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6].
    fn take_over(
        &mut self,
        identity: &Arc<Identity>,
        clean_start: bool,
        turn: &mut Turn,
    ) -> Option<SessionSlot> {
        let slot = self.ground.clients.session_by_client_id(&identity.client_id)?;
        if let Some(old) = self.ground.clients.session(slot).attached_or_accepted() {
            self.ground.clients.counters.sessions_taken_over += 1;
            let code = Some(ReasonCode::SessionTakenOver);
            self.close(old, code, &DisconnectReason::TakenOver, turn);
        }
        let slot = self.ground.clients.session_by_client_id(&identity.client_id)?;
        if clean_start {
            self.end_session(slot, turn);
            return None;
        }
        Some(slot)
    }

    /// Returns the Keep Alive in seconds that applies: the Client's or, if that is too long, the
    /// broker's maximum.
    fn effective_keep_alive(&self, asked: u16) -> u16 {
        match self.ground.config.limits.keep_alive_seconds_max {
            0 => asked,
            maximum if asked == 0 => maximum,
            maximum => asked.min(maximum),
        }
    }

    /// Returns what the CONNACK will say. Refuses a Client for which the CONNACK is too large: one
    /// that cannot be told that it is connected cannot be connected [MQTT-3.1.2-24].
    pub(crate) fn terms<'d>(
        &self,
        id: ConnectionId,
        pending: &PendingConnect,
        data: Option<&'d [u8]>,
    ) -> Result<Terms<'d>, Refusal> {
        let Some(connection) = self.ground.clients.connection(id) else {
            return Err((ReasonCode::UnspecifiedError, "the connection is gone"));
        };
        let method = connection.authentication_method();
        let mut terms = Terms {
            offered: connection.offer().capabilities,
            told: connection.offer().told,
            // The program sends no PINGREQ: it cannot go without the broker.
            keep_alive: match connection.is_of_program() {
                true => 0,
                false => self.effective_keep_alive(pending.keep_alive_seconds),
            },
            response: self.response_information(pending),
            data: data.filter(|_| method.is_some()), // [MQTT-4.12.0-6]
            method,
        };
        let bytes_max = connection.packet_bytes_max();
        let fits = |terms: &Terms<'_>| {
            self.connack(pending, terms, false).fits(connection.version(), bytes_max)
        };
        if !fits(&terms) {
            terms.response = None; // The only part that a Client can do without.
        }
        match fits(&terms) {
            true => Ok(terms),
            false => Err((
                ReasonCode::PacketTooLarge,
                "the CONNACK is larger than the Client's Maximum Packet Size",
            )),
        }
    }

    fn connack<'t>(
        &self,
        pending: &'t PendingConnect,
        terms: &'t Terms<'_>,
        session_present: bool,
    ) -> Packet<'t> {
        let limits = &self.ground.config.limits;
        let capped = pending.session_expiry_interval > limits.session_expiry_seconds_max;
        let is_changed = terms.keep_alive != pending.keep_alive_seconds;
        let packet_bytes_max = terms.offered.packet_bytes_max.unwrap_or(limits.packet_bytes_max);
        let mut properties = ConnAckProperties {
            session_expiry_interval: capped.then_some(limits.session_expiry_seconds_max),
            receive_maximum: NonZeroU16::new(terms.told.receive_maximum),
            maximum_packet_size: NonZeroU32::new(packet_bytes_max),
            assigned_client_identifier: pending.assigned.then_some(&*pending.client_id),
            topic_alias_maximum: Some(terms.told.topic_alias_maximum),
            server_keep_alive: is_changed.then_some(terms.keep_alive),
            response_information: terms.response.as_deref(),
            authentication_method: terms.method.as_deref(),
            authentication_data: terms.data,
            ..ConnAckProperties::default()
        };
        terms.offered.tell(&mut properties);
        let reason_code = ReasonCode::Success;
        Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
    }

    fn response_information(&self, pending: &PendingConnect) -> Option<String> {
        let prefix = self.ground.config.response_prefix.as_ref()?;
        let usable = !pending.client_id.contains(['+', '#', '/']);
        (pending.wants_response_information && usable)
            .then(|| format!("{prefix}/{}", pending.client_id))
    }
}

fn pending_will(will: &WillFields<'_>, topic: Box<str>) -> PendingWill {
    let mut properties = Vec::new();
    will.properties.encode_forwarded(&mut properties);
    PendingWill {
        topic,
        properties: properties.into(),
        payload: will.payload.into(),
        qos: will.qos,
        retain: will.retain,
        delay_seconds: will.delay_interval_seconds.unwrap_or(0),
        expiry_seconds: will.properties.message_expiry_interval_seconds,
    }
}

/// Returns how long the Session is to live on without its Client, in seconds.
fn asked_expiry(connect: &Connect<'_>) -> u32 {
    match (connect.version, connect.clean_start) {
        (ProtocolVersion::V5, _) => connect.properties.session_expiry_interval.unwrap_or(0),
        (_, true) => 0,
        (_, false) => NEVER_EXPIRES,
    }
}
