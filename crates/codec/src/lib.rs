//! MQTT Control Packets to and from bytes, for protocol levels 3.1, 3.1.1 and 5.0.
//!
//! The codec is the first step on a packet's path and the last one: [`decode`] turns the bytes read
//! into [`Packet`]s that borrow from them, [`Packet::encode`] appends a packet to a caller's
//! buffer. It is strict: whatever the specification calls malformed is refused with the [`Rule`]
//! that was broken and the [`ReasonCode`] that names it.
//!
//! It must never perform I/O, look at a clock, or hold the state of a connection: anything that
//! depends on earlier packets (a topic alias, a packet identifier in use) is the business of
//! `midge-core`.

mod acknowledgement;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod error;
mod outgoing_publish;
mod packet;
mod properties;
mod publish;
mod reason_code;
mod reason_codes_allowed;
mod suback;
mod subscribe;
mod topic;
mod types;
mod unsuback;
mod unsubscribe;
mod wire;

pub use acknowledgement::Acknowledgement;
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use disconnect::Disconnect;
pub use error::{DecodeError, EncodeError, Rule};
pub use outgoing_publish::{OutgoingPublish, TopicAliasUse};
pub use packet::{Decoded, Packet, decode};
pub use properties::{
    SubscriptionIdentifiers, SubscriptionIdentifiersBuf, UserProperties, UserPropertiesBuf,
};
pub use publish::{Publish, PublishProperties};
pub use reason_code::ReasonCode;
pub use suback::SubAck;
pub use subscribe::{RetainHandling, Subscribe, Subscription, SubscriptionOptions, Subscriptions};
pub use topic::{TopicFilter, TopicName};
pub use types::{PacketIdentifier, PacketType, ProtocolVersion, QoS};
pub use unsuback::UnsubAck;
pub use unsubscribe::{TopicFilters, Unsubscribe};
