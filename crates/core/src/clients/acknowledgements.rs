//! CONNACK, PUBACK, PUBREC, PUBREL and PUBCOMP to a Client. None of them overtakes an earlier one
//! [MQTT-4.6.0-2], and none leaves before what it confirms is durable.

use midge_codec::{
    Acknowledgement, Packet, PacketType, ProtocolVersion, ReasonCode, UserProperties,
};

use crate::base::durability::Durability;
use crate::base::identity::ConnectionId;
use crate::boundary::packet_lines::PacketLine;
use crate::boundary::peer_messages::QuestionId;
use crate::boundary::turn::Turn;
use crate::clients::{Clients, want_flush};
use crate::connection::Connection;
use crate::waiting::rounds::{Held, HeldAcknowledgement};

impl Clients {
    /// Sends one of the four acknowledgements, now or once what it confirms is durable. `depends`
    /// is the promise that it makes, absent if nothing was kept for its sake. It never overtakes an
    /// earlier acknowledgement [MQTT-4.6.0-2].
    pub(crate) fn acknowledge(
        &mut self,
        acknowledgement: HeldAcknowledgement,
        depends: Option<Durability>,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.connection_mut(acknowledgement.to) else {
            return;
        };
        if depends.is_none() && connection.held() == 0 {
            return self.send_acknowledgement(&acknowledgement, turn);
        }
        connection.hold(acknowledgement.kind);
        self.rounds.hold(Held::Acknowledge(acknowledgement), depends.unwrap_or(Durability::Memory));
    }

    /// Like [`Self::acknowledge`], but also waits until another worker's verdict is known.
    pub(crate) fn acknowledge_asked(
        &mut self,
        acknowledgement: HeldAcknowledgement,
        depends: Option<Durability>,
        ticket: QuestionId,
    ) {
        if let Some(connection) = self.connection_mut(acknowledgement.to) {
            connection.hold(acknowledgement.kind);
        }
        let held = Held::Acknowledge(acknowledgement);
        self.rounds.hold_asked(ticket, held, depends.unwrap_or(Durability::Memory));
    }

    /// Sends an acknowledgement that was held back: what it confirms is durable now.
    pub(crate) fn release_acknowledgement(
        &mut self,
        acknowledgement: &HeldAcknowledgement,
        turn: &mut Turn,
    ) {
        let redirected = self.rounds.take_redirect(acknowledgement.to);
        let to = redirected.unwrap_or(acknowledgement.to);
        let Some(connection) = self.connection_mut(to) else {
            return;
        };
        connection.let_go(acknowledgement.kind);
        // Messages of a stream that has ended are sent again anyway, and so are their PUBRELs.
        if redirected.is_none() || acknowledgement.kind != PacketType::PubRel {
            self.send_acknowledgement(&HeldAcknowledgement { to, ..*acknowledgement }, turn);
        }
    }

    /// Lets go of an acknowledgement that was held back and must not leave. Returns the connection
    /// that waits for it, if it is there. What its Client sends again under the Packet Identifier
    /// is new.
    pub(crate) fn withhold_acknowledgement(
        &mut self,
        acknowledgement: &HeldAcknowledgement,
    ) -> Option<ConnectionId> {
        let redirected = self.rounds.take_redirect(acknowledgement.to);
        let to = redirected.unwrap_or(acknowledgement.to);
        self.connection_mut(to)?.let_go(acknowledgement.kind);
        let control = self.control_of(to);
        if let (PacketType::PubRec, Some(slot)) =
            (acknowledgement.kind, self.connection(control).and_then(Connection::session))
        {
            self.session_mut(slot).note_pubrel(acknowledgement.packet_id);
        }
        Some(control)
    }

    /// Sends an acknowledgement. Its explanation becomes the Reason String if the Client wants to
    /// be told [MQTT-3.1.2-29] and its Maximum Packet Size allows it [MQTT-3.4.2-2].
    fn send_acknowledgement(&mut self, held: &HeldAcknowledgement, turn: &mut Turn) {
        let &HeldAcknowledgement { to, kind, packet_id, reason_code, explanation } = held;
        let Some(connection) = self.connections.get_mut(to.slot()) else {
            return;
        };
        if connection.is_local() || connection.is_closing() {
            return;
        }
        let explanation = explanation.filter(|_| connection.wants_problem_information());
        let is_bare = reason_code == ReasonCode::Success && explanation.is_none();
        let fits = connection.packet_bytes_max() >= 4;
        if fits && !self.traces && (is_bare || connection.version() != ProtocolVersion::V5) {
            let bytes = Acknowledgement::success_bytes(kind, packet_id);
            let output = connection.output_mut();
            output.append(&mut self.pool, |buffer| buffer.extend_from_slice(&bytes));
            self.counters.sent(kind);
            return want_flush(connection, turn);
        }
        let acknowledgement = Acknowledgement {
            packet_id,
            reason_code,
            reason_string: explanation,
            user_properties: UserProperties::default(),
        };
        let packet = match kind {
            PacketType::PubAck => Packet::PubAck(acknowledgement),
            PacketType::PubRec => Packet::PubRec(acknowledgement),
            PacketType::PubRel => Packet::PubRel(acknowledgement),
            _ => Packet::PubComp(acknowledgement),
        };
        self.send(to, &packet, turn);
    }

    /// Sends a CONNACK that was encoded when its CONNECT was accepted.
    pub(crate) fn send_connack(&mut self, to: ConnectionId, connack: &[u8], turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(to.slot()) else {
            return;
        };
        connection.output_mut().append(&mut self.pool, |buffer| buffer.extend_from_slice(connack));
        self.counters.sent(PacketType::ConnAck);
        want_flush(connection, turn);
        if self.traces {
            let packet_type = Some(PacketType::ConnAck);
            let line = PacketLine { packet_type, bytes: connack.len(), ..PacketLine::default() };
            self.trace(to, line, turn);
        }
    }
}
