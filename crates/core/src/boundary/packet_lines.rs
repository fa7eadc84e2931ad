//! One line for each Control Packet, for people who inspect a conversation: what it is and how
//! large, never what it carries.

use std::fmt;
use std::sync::Arc;

use midge_codec::{Packet, PacketIdentifier, PacketType, QoS, ReasonCode};

use crate::base::identity::{ConnectionId, Identity};

/// Whose packets are traced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tracing {
    /// Nobody's.
    #[default]
    Off,
    /// Those of the Client with this identifier.
    Of(Arc<str>),
    /// Everybody's.
    All,
}

/// What a line says of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketLine {
    /// Its type; absent only in the default value.
    pub packet_type: Option<PacketType>,
    /// Its Packet Identifier.
    pub packet_id: Option<u16>,
    /// Topic Name of a PUBLISH, first Topic Filter of a SUBSCRIBE or UNSUBSCRIBE.
    pub topic: Option<Box<str>>,
    /// QoS and RETAIN of a PUBLISH.
    pub published: Option<(QoS, bool)>,
    /// Its Reason Code, if it has one.
    pub reason_code: Option<ReasonCode>,
    /// Its bytes.
    pub bytes: usize,
}

/// A packet that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedPacket {
    /// Where it goes.
    pub connection: ConnectionId,
    /// Whom it is for; absent before a CONNECT was accepted.
    pub client: Option<Arc<Identity>>,
    /// What it is.
    pub line: PacketLine,
}

impl Tracing {
    /// Whether packets of this Client are traced.
    pub fn covers(&self, client_id: Option<&str>) -> bool {
        match self {
            Self::Off => false,
            Self::Of(wanted) => client_id == Some(&**wanted),
            Self::All => true,
        }
    }
}

impl PacketLine {
    /// Returns the line for a packet of this many bytes.
    pub fn of(packet: &Packet<'_>, bytes: usize) -> Self {
        let line = Self { packet_type: Some(packet.packet_type()), bytes, ..Self::default() };
        match packet {
            Packet::Publish(publish) => Self {
                packet_id: publish.packet_id.map(PacketIdentifier::get),
                topic: Some(publish.topic.as_str().into()),
                published: Some((publish.qos, publish.retain)),
                ..line
            },
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => {
                let packet_id = Some(ack.packet_id.get());
                Self { packet_id, reason_code: Some(ack.reason_code), ..line }
            }
            Packet::Subscribe(subscribe) => {
                let first = subscribe.subscriptions.iter().next();
                let topic = first.map(|subscription| subscription.filter.into());
                Self { packet_id: Some(subscribe.packet_id.get()), topic, ..line }
            }
            Packet::Unsubscribe(unsubscribe) => {
                let topic = unsubscribe.filters.iter().next().map(Into::into);
                Self { packet_id: Some(unsubscribe.packet_id.get()), topic, ..line }
            }
            Packet::SubAck(ack) => Self { packet_id: Some(ack.packet_id.get()), ..line },
            Packet::UnsubAck(ack) => Self { packet_id: Some(ack.packet_id.get()), ..line },
            Packet::ConnAck(ack) => Self { reason_code: Some(ack.reason_code), ..line },
            Packet::Disconnect(it) => Self { reason_code: Some(it.reason_code), ..line },
            Packet::Auth(auth) => Self { reason_code: Some(auth.reason_code), ..line },
            _ => line,
        }
    }
}

impl fmt::Display for PacketLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.packet_type.map_or("nothing", PacketType::name))?;
        if let Some(packet_id) = self.packet_id {
            write!(f, " {packet_id}")?;
        }
        if let Some(topic) = &self.topic {
            write!(f, " {topic:?}")?;
        }
        if let Some((qos, retain)) = self.published {
            write!(f, " QoS {}{}", qos as u8, if retain { " retained" } else { "" })?;
        }
        if let Some(reason_code) = self.reason_code {
            write!(f, " 0x{:02X}", reason_code as u8)?;
        }
        write!(f, ", {} bytes", self.bytes)
    }
}
