//! Data streams: additional streams of one Network Connection, as QUIC has them.
//!
//! The stream that the CONNECT came on is the control stream; it is what the rest of the core calls
//! a connection. A data stream is a [`Connection`] of its own, with its own output and topic
//! aliases, that shares the Session of its control stream. docs/quic.md describes what belongs to
//! which stream. This module must never let a message of the Session go to two streams.

use midge_codec::{Packet, ReasonCode};

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::base::time::Timestamp;
use crate::boundary::effects::{Close, DisconnectReason};
use crate::boundary::turn::Turn;
use crate::connection::data_streams::DataStreams;
use crate::connection::{Connection, Phase};
use crate::core::Core;

impl Core {
    /// Returns the first stream of a Network Connection for which `is_so` holds: the control stream
    /// or a data stream.
    pub fn find_stream(
        &self,
        control: ConnectionId,
        is_so: &dyn Fn(ConnectionId) -> bool,
    ) -> Option<ConnectionId> {
        self.ground.clients.connection(control)?;
        self.ground.clients.streams(control).map(Connection::id).find(|&stream| is_so(stream))
    }

    /// Adds a data stream that a Client has opened. `None` if its control stream has no Session
    /// (any more).
    pub fn open_data_stream(
        &mut self,
        control: ConnectionId,
        now: Timestamp,
    ) -> Option<ConnectionId> {
        let connection = self.ground.clients.connection(control)?;
        let Phase::Connected { session, .. } = *connection.phase() else {
            return None;
        };
        if self.ground.clients.is_switching(session) {
            return None; // The Session goes without it.
        }
        let id = self.ground.clients.add_data_stream(control, session, now)?;
        let extent = self.ground.clients.extent(DataStreams::WINDOW);
        if let Some(outgoing) = self.ground.clients.session_mut(session).outgoing_mut() {
            outgoing.narrow(extent);
        }
        Some(id)
    }

    /// Notes that something has come on a data stream: the Keep Alive is for the whole Network
    /// Connection, and so is the credential. Returns when that ends.
    pub(crate) fn hear_of_stream(
        &mut self,
        control: ConnectionId,
        now: Timestamp,
    ) -> Option<&Connection> {
        let connection = self.ground.clients.connection_mut(control)?;
        connection.hear(now);
        Some(connection)
    }

    /// Handles one Control Packet from a data stream that is not a PUBLISH.
    pub(crate) fn handle_stream_packet(
        &mut self,
        id: ConnectionId,
        session: SessionSlot,
        packet: &Packet<'_>,
        turn: &mut Turn,
    ) {
        match packet {
            Packet::Connect(_) | Packet::PingReq | Packet::Disconnect(_) | Packet::Auth(_) => {
                let name = packet.packet_type().name();
                let detail = format!("{name} belongs on the control stream");
                self.violate(id, ReasonCode::ProtocolError, detail, turn);
            }
            packet => self.handle_session_packet(id, session, packet, turn),
        }
    }

    /// Handles a data stream whose peer sends nothing more: what is still to be sent on it leaves,
    /// then it is closed.
    pub fn finish_data_stream(&mut self, id: ConnectionId, turn: &mut Turn) {
        self.close(id, None, &DisconnectReason::ConnectionLost, turn);
    }

    /// Handles the end of a data stream, whatever the cause: what was in flight on it is sent again
    /// on the control stream, and later messages go there, too.
    pub(crate) fn end_data_stream(
        &mut self,
        id: ConnectionId,
        control: ConnectionId,
        slot: SessionSlot,
        turn: &mut Turn,
    ) {
        let stream = self.ground.clients.connection(id);
        let (held, held_pubacks) = stream.map_or((0, 0), |it| (it.held(), it.held_pubacks()));
        self.ground.clients.rounds.redirect(id, control, held);
        let Some(connection) = self.ground.clients.connection_mut(control) else {
            return;
        };
        connection.take_over_held(held, held_pubacks);
        if let Some(streams) = connection.data_streams_mut() {
            streams.close(id);
        }
        if let Some(outgoing) = self.ground.clients.session_mut(slot).outgoing_mut() {
            outgoing.send_again(id);
        }
        self.router.go_on_with_streams(&mut self.ground, slot, turn);
    }

    /// Ends the data streams of a control stream that has ended.
    pub(crate) fn close_data_streams(&mut self, streams: &DataStreams, turn: &mut Turn) {
        for &id in streams.open() {
            let (receiver, reason) = self.loss_of_output(id);
            if let Some(stream) = self.ground.clients.connection_mut(id) {
                stream.enter(Phase::Closing { receiver, reason });
                turn.fx.close.push(Close { connection: id, has_left: false });
            }
        }
    }
}
