//! The packets around a flow, CONNECT to SUBACK and DISCONNECT, encoded and decoded by the codec.

use midge_codec::{
    Connect, ConnectProperties, Decoded, Disconnect, EncodeError, Packet, PacketIdentifier,
    ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, Subscriptions, TopicName, UserProperties, decode,
};

use super::super::error::BenchError;
use super::wire::Frame;

/// The largest packet of a handshake.
const PACKET_BYTES_MAX: u32 = 64 * 1024;
/// How long a 5.0 session outlives its connection if it has to.
const SESSION_EXPIRY_SECONDS: u32 = 3600;

/// The protocol that a run speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// MQTT 3.1.1.
    #[value(name = "3.1.1", aliases = ["311", "4", "mqttv311"])]
    V3_1_1,
    /// MQTT 5.0.
    #[value(name = "5", aliases = ["5.0", "mqttv5"])]
    V5,
}

impl Protocol {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5",
        }
    }

    fn version(self) -> ProtocolVersion {
        match self {
            Self::V3_1_1 => ProtocolVersion::V3_1_1,
            Self::V5 => ProtocolVersion::V5,
        }
    }
}

/// What goes into a CONNECT.
#[derive(Clone, Debug)]
pub(crate) struct Introduction<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: &'a str,
    /// Whether to start without an old session.
    pub(crate) clean_start: bool,
    /// Whether to keep the session when the connection ends.
    pub(crate) persistent: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

/// What a CONNACK allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) session_present: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) qos_max: u8,
}

impl Introduction<'_> {
    /// Appends the CONNECT.
    pub(crate) fn append(&self, out: &mut Vec<u8>) -> Result<(), BenchError> {
        let is_v5 = self.protocol == Protocol::V5;
        let expiry = self.persistent.then_some(SESSION_EXPIRY_SECONDS);
        let connect = Connect {
            version: self.protocol.version(),
            bridge: false,
            // Before 5.0 a clean session also ends with its connection.
            clean_start: self.clean_start || !is_v5 && !self.persistent,
            keep_alive_seconds: self.keep_alive_seconds,
            client_id: self.client_id,
            will: None,
            user_name: self.user_name,
            password: self.password.map(str::as_bytes),
            properties: ConnectProperties {
                session_expiry_interval: expiry,
                ..ConnectProperties::default()
            },
        };
        encode(&Packet::Connect(Box::new(connect)), self.protocol, out)
    }
}

/// Appends a SUBSCRIBE for one filter.
pub(crate) fn subscribe(
    protocol: Protocol,
    filter: &str,
    qos: u8,
    out: &mut Vec<u8>,
) -> Result<(), BenchError> {
    let options = SubscriptionOptions { qos: qos_of(qos), ..SubscriptionOptions::default() };
    let subscriptions = [Subscription { filter, options }];
    let subscribe = Subscribe {
        packet_id: first_packet_id()?,
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        subscriptions: Subscriptions::from(subscriptions.as_slice()),
    };
    encode(&Packet::Subscribe(subscribe), protocol, out)
}

/// Appends a DISCONNECT.
pub(crate) fn disconnect(protocol: Protocol, out: &mut Vec<u8>) -> Result<(), BenchError> {
    let disconnect = Disconnect::with_reason(ReasonCode::Success);
    encode(&Packet::Disconnect(disconnect), protocol, out)
}

/// Makes a whole PUBLISH.
pub(crate) fn publish(
    protocol: Protocol,
    topic: &str,
    qos: u8,
    payload: &[u8],
) -> Result<Vec<u8>, BenchError> {
    let topic = TopicName::new(topic);
    let publish = Publish {
        dup: false,
        qos: qos_of(qos),
        retain: false,
        topic: topic.map_err(|rule| BenchError::usage(format!("--topic: {rule}")))?,
        packet_id: (qos > 0).then(first_packet_id).transpose()?,
        properties: PublishProperties::default(),
        payload,
    };
    let mut frame = Vec::new();
    encode(&Packet::Publish(publish), protocol, &mut frame)?;
    Ok(frame)
}

/// Reads a CONNACK. A refusal is an error.
pub(crate) fn welcome(protocol: Protocol, frame: Frame<'_>) -> Result<Welcome, BenchError> {
    let Packet::ConnAck(connack) = packet(protocol, frame)? else {
        return Err(BenchError::run("the broker did not answer CONNECT with CONNACK"));
    };
    if connack.reason_code.is_error() {
        return Err(refused("the connection", connack.reason_code));
    }
    let properties = &connack.properties;
    Ok(Welcome {
        session_present: connack.session_present,
        receive_maximum: properties.receive_maximum.map_or(u16::MAX, std::num::NonZero::get),
        qos_max: properties.maximum_qos.map_or(2, |qos| qos as u8),
    })
}

/// Reads a SUBACK. Less than the QoS that was asked for is an error.
pub(crate) fn subscribed(protocol: Protocol, frame: Frame<'_>, qos: u8) -> Result<(), BenchError> {
    let Packet::SubAck(suback) = packet(protocol, frame)? else {
        return Err(BenchError::run("the broker did not answer SUBSCRIBE with SUBACK"));
    };
    match suback.reason_codes.first() {
        Some(&code) if code as u8 == qos => Ok(()),
        Some(&code) => Err(refused("the subscription", code)),
        None => Err(BenchError::run("the broker sent an empty SUBACK")),
    }
}

fn packet(protocol: Protocol, frame: Frame<'_>) -> Result<Packet<'_>, BenchError> {
    match decode(frame.whole, protocol.version(), PACKET_BYTES_MAX) {
        Ok(Decoded::Packet { packet, .. }) => Ok(packet),
        Ok(Decoded::Incomplete { .. }) => Err(BenchError::run("the broker sent half a packet")),
        Err(error) => Err(BenchError::run(format!("the broker sent a malformed packet: {error}"))),
    }
}

fn encode(packet: &Packet<'_>, protocol: Protocol, out: &mut Vec<u8>) -> Result<(), BenchError> {
    let too_large = |error: EncodeError| BenchError::usage(error.to_string());
    packet.encode(protocol.version(), out).map_err(too_large)
}

fn refused(what: &str, code: ReasonCode) -> BenchError {
    BenchError::run(format!(
        "the broker answered {what} with {} (0x{:02X})",
        code.name(),
        code as u8
    ))
}

fn qos_of(qos: u8) -> QoS {
    QoS::from_bits(qos).unwrap_or_default()
}

fn first_packet_id() -> Result<PacketIdentifier, BenchError> {
    PacketIdentifier::new(1).ok_or_else(|| BenchError::run("1 is no Packet Identifier"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame::next(bytes).unwrap().unwrap().0
    }

    #[test]
    fn a_connack_tells_what_the_broker_allows() {
        let plain = welcome(Protocol::V3_1_1, frame(&[0x20, 2, 1, 0])).unwrap();
        let unlimited = Welcome { session_present: true, receive_maximum: u16::MAX, qos_max: 2 };
        assert_eq!(plain, unlimited);
        let narrow = [0x20, 8, 0, 0, 5, 0x21, 0, 20, 0x24, 1];
        let narrow = welcome(Protocol::V5, frame(&narrow)).unwrap();
        assert_eq!((narrow.receive_maximum, narrow.qos_max), (20, 1));
    }

    #[test]
    fn refusals_are_errors_with_their_reason() {
        let error = welcome(Protocol::V3_1_1, frame(&[0x20, 2, 0, 5])).unwrap_err();
        assert!(error.to_string().contains("Not authorized"), "{error}");
        assert!(welcome(Protocol::V3_1_1, frame(&[0xD0, 0])).is_err());
        subscribed(Protocol::V3_1_1, frame(&[0x90, 3, 0, 1, 1]), 1).unwrap();
        assert!(subscribed(Protocol::V3_1_1, frame(&[0x90, 3, 0, 1, 0]), 1).is_err());
        assert!(subscribed(Protocol::V3_1_1, frame(&[0x90, 3, 0, 1, 0x80]), 1).is_err());
    }

    #[test]
    fn only_persistent_clients_ask_for_a_session_that_stays() {
        let connect = |protocol, clean_start, persistent| {
            let mut out = Vec::new();
            let introduction = Introduction {
                protocol,
                client_id: "c",
                clean_start,
                persistent,
                keep_alive_seconds: 9,
                user_name: None,
                password: None,
            };
            introduction.append(&mut out).unwrap();
            let Ok(Packet::Connect(connect)) = packet(protocol, frame(&out)) else { panic!() };
            (connect.clean_start, connect.properties.session_expiry_interval)
        };
        assert_eq!(connect(Protocol::V3_1_1, false, true), (false, None));
        assert_eq!(connect(Protocol::V3_1_1, true, false), (true, None));
        assert_eq!(connect(Protocol::V5, false, true), (false, Some(SESSION_EXPIRY_SECONDS)));
        assert_eq!(connect(Protocol::V5, true, false), (true, None));
    }
}
