//! The log at its level `trace`: a line for each Control Packet of one Client or of everybody.

use midge_codec::{Packet, PacketType};
use midge_core::{ConnectionId, PacketLine, TracedPacket};

use crate::worker::Worker;

impl Worker {
    /// Logs a packet that has come, unless its Client is not traced.
    #[cold]
    pub(crate) fn log_received(&mut self, id: ConnectionId, packet: &Packet<'_>, bytes: usize) {
        let client = self.core.client_of(id).map(|client| client.client_id.clone());
        let client_id = match (client, packet) {
            (None, Packet::Connect(connect)) => Some(connect.client_id.into()),
            (client, _) => client,
        };
        if self.tracing.covers(client_id.as_deref()) {
            self.log_packet(id, client_id.as_deref(), &PacketLine::of(packet, bytes), "received");
        }
    }

    /// Logs the packets that were sent in this turn.
    pub(crate) fn log_sent(&mut self) {
        for TracedPacket { connection, client, line } in std::mem::take(&mut self.turn.fx.traced) {
            let client_id = client.as_ref().map(|client| &*client.client_id);
            self.log_packet(connection, client_id, &line, "sent");
        }
    }

    fn log_packet(
        &mut self,
        id: ConnectionId,
        client_id: Option<&str>,
        line: &PacketLine,
        direction: &str,
    ) {
        let socket = self.sockets.of(id);
        let address = socket.map(|socket| socket.stream.address().to_string());
        let who = match (client_id, &address) {
            (Some(client_id), _) => format!("{client_id:?}"),
            (None, Some(address)) => address.clone(),
            (None, None) => "a connection that is gone".to_string(),
        };
        let arrow = if direction == "sent" { "<-" } else { "->" };
        log::trace!(
            client_id = client_id, address = address.as_deref(), direction = direction,
            packet = line.packet_type.map(PacketType::name), packet_id = line.packet_id,
            topic = line.topic.as_deref(), qos = line.published.map(|(qos, _)| qos as u8),
            retain = line.published.map(|(_, retain)| retain),
            reason_code = line.reason_code.map(|code| code as u8), bytes = line.bytes;
            "{who} {arrow} {line}"
        );
    }
}
