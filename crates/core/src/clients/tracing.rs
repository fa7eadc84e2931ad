//! Reports packets that leave to people who inspect a conversation. While nothing is traced, a
//! packet that leaves costs one look at a flag.

use std::sync::Arc;

use midge_codec::{PacketType, QoS};

use crate::base::identity::{ConnectionId, Identity};
use crate::base::message::Publication;
use crate::boundary::packet_lines::{PacketLine, TracedPacket, Tracing};
use crate::boundary::turn::Turn;
use crate::clients::Clients;

impl Clients {
    /// Sets whose packets are traced as they leave.
    pub(crate) fn set_tracing(&mut self, tracing: Tracing) {
        self.traces = tracing != Tracing::Off;
        self.tracing = tracing;
    }

    pub(crate) fn client_of(&self, id: ConnectionId) -> Option<&Arc<Identity>> {
        let connection = self.connections.get(id.slot()).filter(|it| it.id() == id)?;
        Some(self.sessions[connection.session()? as usize].identity())
    }

    /// Tells of a packet that leaves, if its receiver is traced.
    #[cold]
    pub(crate) fn trace(&self, to: ConnectionId, line: PacketLine, turn: &mut Turn) {
        let client = self.client_of(to);
        if self.tracing.covers(client.map(|client| &*client.client_id)) {
            let client = client.cloned();
            turn.fx.traced.push(TracedPacket { connection: to, client, line });
        }
    }
}

/// Returns the line of a PUBLISH.
#[cold]
pub(crate) fn publish_line(
    publication: &Publication<'_>,
    qos: QoS,
    retain: bool,
    packet_id: Option<u16>,
    bytes: usize,
) -> PacketLine {
    PacketLine {
        packet_type: Some(PacketType::Publish),
        packet_id,
        topic: Some(publication.topic.into()),
        published: Some((qos, retain)),
        reason_code: None,
        bytes,
    }
}
