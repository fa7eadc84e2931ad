//! A small blocking MQTT client that encodes with the codec and does nothing by itself.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use midge_broker::{ProtocolVersion, PublishProperties, QoS, ReasonCode, UserProperties};
use midge_codec::{
    Acknowledgement, Auth, Connect, ConnectProperties, Decoded, Disconnect, Packet,
    PacketIdentifier, PacketType, Publish, Subscribe, Subscription, SubscriptionOptions, TopicName,
    decode,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::DEADLINE;

/// What a broker has sent, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    ConnAck {
        session_present: bool,
        code: ReasonCode,
        data: Option<Vec<u8>>,
    },
    Publish(Message),
    Ack {
        kind: PacketType,
        id: u16,
        code: ReasonCode,
    },
    SubAck {
        id: u16,
        codes: Vec<ReasonCode>,
    },
    PingResp,
    Disconnect(ReasonCode),
    Auth {
        code: ReasonCode,
        data: Option<Vec<u8>>,
    },
    Other(PacketType),
    /// The Network Connection has ended.
    Closed,
}

/// A PUBLISH that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) id: Option<u16>,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
}

/// One Network Connection.
pub(crate) struct Client {
    stream: TcpStream,
    version: ProtocolVersion,
    buffer: Vec<u8>,
    /// Where the next packet begins in the buffer.
    start: usize,
    next_id: u16,
    /// Packets that arrived while the test waited for another one.
    early: VecDeque<Received>,
}

/// Returns one of the four acknowledgements, with success.
pub(crate) fn acknowledgement(kind: PacketType, id: u16) -> Packet<'static> {
    let packet = Acknowledgement::success(PacketIdentifier::new(id).unwrap());
    match kind {
        PacketType::PubAck => Packet::PubAck(packet),
        PacketType::PubRec => Packet::PubRec(packet),
        PacketType::PubRel => Packet::PubRel(packet),
        _ => Packet::PubComp(packet),
    }
}

/// Returns a CONNECT with nothing special.
pub(crate) fn connect_packet(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

pub(crate) fn bytes_of(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

pub(crate) fn publish_packet<'a>(
    topic: &'a str,
    payload: &'a [u8],
    qos: QoS,
    id: Option<u16>,
) -> Packet<'a> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::new(topic).unwrap(),
        packet_id: id.and_then(PacketIdentifier::new),
        properties: PublishProperties::default(),
        payload,
    })
}

impl Client {
    /// Opens a Network Connection and sends nothing yet.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// As [`Client::open`], but with small buffers in the kernel.
    pub(crate) fn open_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            version: ProtocolVersion::V5,
            buffer: Vec::new(),
            start: 0,
            next_id: 1,
            early: VecDeque::new(),
        }
    }

    /// Connects a Client of MQTT 5.0 with Clean Start and without Keep Alive.
    pub(crate) fn connect(address: SocketAddr, client_id: &str) -> Self {
        Self::open(address).connected(&connect_packet(ProtocolVersion::V5, client_id))
    }

    /// Connects a Client of MQTT 3.1.1 with Clean Session.
    pub(crate) fn connect_v3(address: SocketAddr, client_id: &str) -> Self {
        Self::open(address).connected(&connect_packet(ProtocolVersion::V3_1_1, client_id))
    }

    /// Connects a Client of MQTT 5.0 whose Session lasts for an hour.
    pub(crate) fn connect_for_long(address: SocketAddr, client_id: &str) -> Self {
        let mut connect = connect_packet(ProtocolVersion::V5, client_id);
        connect.clean_start = false;
        connect.properties.session_expiry_interval = Some(3600);
        Self::open(address).connected(&connect)
    }

    /// Sets the protocol version of what is read from now on.
    pub(crate) fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// Sends this CONNECT and expects to be accepted.
    pub(crate) fn connected(mut self, connect: &Connect<'_>) -> Self {
        let answer = self.request(connect);
        let accepted = matches!(&answer, Received::ConnAck { code: ReasonCode::Success, .. });
        assert!(accepted, "{:?}: {answer:?}", connect.client_id);
        self
    }

    /// Sends this CONNECT and returns the answer.
    pub(crate) fn request(&mut self, connect: &Connect<'_>) -> Received {
        self.version = connect.version;
        self.send(&Packet::Connect(Box::new(connect.clone())));
        self.receive()
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        let bytes = bytes_of(packet, self.version);
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes that the broker may no longer accept.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Subscribes and expects success.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        let code = self.try_subscribe(filter, qos);
        assert!(!code.is_error(), "{filter}: {code:?}");
    }

    /// Subscribes and returns the Reason Code; PUBLISH packets that arrive before it are kept.
    pub(crate) fn try_subscribe(&mut self, filter: &str, qos: QoS) -> ReasonCode {
        let expected = self.send_subscribe(&[filter], qos);
        let found = self.receive_first(|received| match received {
            Received::SubAck { id, codes } if *id == expected => Some(codes[0]),
            _ => None,
        });
        found.unwrap_or_else(|last| panic!("no SUBACK but {last:?}"))
    }

    /// Sends a SUBSCRIBE and returns its Packet Identifier.
    pub(crate) fn send_subscribe(&mut self, filters: &[&str], qos: QoS) -> u16 {
        let packet_id = self.packet_id();
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let entries: Vec<_> =
            filters.iter().map(|filter| Subscription { filter, options }).collect();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions: entries[..].into(),
        }));
        packet_id.get()
    }

    /// Sends a PUBLISH and waits for nothing; returns its Packet Identifier at QoS 1 and 2.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS) -> Option<u16> {
        let id = (qos != QoS::AtMostOnce).then(|| self.packet_id().get());
        self.send(&publish_packet(topic, payload, qos, id));
        id
    }

    /// Publishes at QoS 1 and returns the Reason Code of the PUBACK.
    pub(crate) fn publish_acknowledged(&mut self, topic: &str, payload: &[u8]) -> ReasonCode {
        let expected = self.publish(topic, payload, QoS::AtLeastOnce);
        let found = self.receive_first(|received| match received {
            Received::Ack { kind: PacketType::PubAck, id, code } if Some(*id) == expected => {
                Some(*code)
            }
            _ => None,
        });
        found.unwrap_or_else(|last| panic!("no PUBACK but {last:?}"))
    }

    /// Publishes a retained message at QoS 1 and returns the Reason Code of the PUBACK.
    pub(crate) fn retain(&mut self, topic: &str, payload: &[u8]) -> ReasonCode {
        let id = self.packet_id().get();
        match publish_packet(topic, payload, QoS::AtLeastOnce, Some(id)) {
            Packet::Publish(packet) => {
                self.send(&Packet::Publish(Publish { retain: true, ..packet }));
            }
            other => unreachable!("{other:?}"),
        }
        match self.receive() {
            Received::Ack { kind: PacketType::PubAck, id: acknowledged, code } => {
                assert_eq!(acknowledged, id);
                code
            }
            other => panic!("no PUBACK but {other:?}"),
        }
    }

    pub(crate) fn acknowledge(&mut self, kind: PacketType, id: u16) {
        self.send(&acknowledgement(kind, id));
    }

    /// Sends a PINGREQ and waits for the answer: by then, everything sent before has been handled.
    pub(crate) fn ping(&mut self) {
        self.send(&Packet::PingReq);
        let found = self.receive_first(|received| (*received == Received::PingResp).then_some(()));
        found.unwrap_or_else(|last| panic!("no PINGRESP but {last:?}"));
    }

    pub(crate) fn send_auth(&mut self, code: ReasonCode, method: &str, data: &[u8]) {
        self.send(&Packet::Auth(Auth {
            reason_code: code,
            authentication_method: Some(method),
            authentication_data: Some(data),
            reason_string: None,
            user_properties: UserProperties::default(),
        }));
    }

    /// Disconnects in an orderly way, and waits until the broker has closed its side.
    pub(crate) fn disconnect(mut self) {
        self.send(&Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        while self.receive() != Received::Closed {}
    }

    /// Forgets packets that arrived while the test waited for another one.
    pub(crate) fn forget_early(&mut self) {
        self.early.clear();
    }

    /// Frees the memory of the buffer, so that only the broker's memory is measured.
    pub(crate) fn forget_buffer(&mut self) {
        assert!(self.early.is_empty() && self.start == self.buffer.len());
        (self.buffer, self.start) = (Vec::new(), 0);
        self.early = VecDeque::new();
    }

    /// Ends the sending direction, but reads on.
    pub(crate) fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Receives the next PUBLISH and acknowledges it at QoS 1 and 2.
    pub(crate) fn message(&mut self) -> Message {
        match self.receive() {
            Received::Publish(message) => {
                if let (QoS::AtLeastOnce, Some(id)) = (message.qos, message.id) {
                    self.acknowledge(PacketType::PubAck, id);
                }
                message
            }
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// Receives the next packet; fails the test if none arrives.
    pub(crate) fn receive(&mut self) -> Received {
        let received = self.receive_within(DEADLINE);
        received.unwrap_or_else(|| panic!("nothing came for {DEADLINE:?}"))
    }

    /// Receives the next packet, if it arrives in time.
    pub(crate) fn receive_within(&mut self, timeout: Duration) -> Option<Received> {
        match self.early.pop_front() {
            Some(received) => Some(received),
            None => self.read_packet(timeout),
        }
    }

    /// Reads until a wanted packet arrives or the connection ends; keeps the others for later.
    fn receive_first<T>(
        &mut self,
        wanted: impl Fn(&Received) -> Option<T>,
    ) -> Result<T, Box<Received>> {
        loop {
            let Some(received) = self.read_packet(DEADLINE) else {
                panic!("nothing came for {DEADLINE:?}");
            };
            if let Some(found) = wanted(&received) {
                return Ok(found);
            }
            if matches!(received, Received::Closed | Received::Disconnect(_)) {
                return Err(Box::new(received));
            }
            self.early.push_back(received);
        }
    }

    fn read_packet(&mut self, timeout: Duration) -> Option<Received> {
        let until = Instant::now() + timeout;
        loop {
            let bytes = &self.buffer[self.start..];
            if let Decoded::Packet { packet, length } =
                decode(bytes, self.version, u32::MAX).unwrap()
            {
                let received = owned(&packet);
                self.start += length;
                return Some(received);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.read_some() {
                Ok(0) => return Some(Received::Closed),
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Some(Received::Closed);
                }
                Err(error) => panic!("reading: {error}"),
            }
        }
    }

    fn read_some(&mut self) -> io::Result<usize> {
        const STEP: usize = 64 * 1024;
        self.buffer.drain(..self.start);
        self.start = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + STEP, 0);
        let result = self.stream.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *result.as_ref().unwrap_or(&0));
        result
    }

    fn packet_id(&mut self) -> PacketIdentifier {
        let id = NonZeroU16::new(self.next_id).unwrap_or(NonZeroU16::MIN);
        self.next_id = id.get().wrapping_add(1);
        PacketIdentifier::new(id.get()).unwrap()
    }
}

pub(crate) fn owned(packet: &Packet<'_>) -> Received {
    let ack = |ack: &Acknowledgement<'_>| Received::Ack {
        kind: packet.packet_type(),
        id: ack.packet_id.get(),
        code: ack.reason_code,
    };
    match packet {
        Packet::ConnAck(connack) => Received::ConnAck {
            session_present: connack.session_present,
            code: connack.reason_code,
            data: connack.properties.authentication_data.map(Into::into),
        },
        Packet::Publish(publish) => Received::Publish(Message {
            topic: publish.topic.as_str().to_string(),
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            id: publish.packet_id.map(PacketIdentifier::get),
            dup: publish.dup,
            retain: publish.retain,
        }),
        Packet::PubAck(packet)
        | Packet::PubRec(packet)
        | Packet::PubRel(packet)
        | Packet::PubComp(packet) => ack(packet),
        Packet::SubAck(suback) => {
            Received::SubAck { id: suback.packet_id.get(), codes: suback.reason_codes.to_vec() }
        }
        Packet::PingResp => Received::PingResp,
        Packet::Disconnect(disconnect) => Received::Disconnect(disconnect.reason_code),
        Packet::Auth(auth) => Received::Auth {
            code: auth.reason_code,
            data: auth.authentication_data.map(Into::into),
        },
        other => Received::Other(other.packet_type()),
    }
}
