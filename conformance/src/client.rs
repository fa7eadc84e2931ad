//! A blocking client: it sends what it is told and acknowledges nothing by itself.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::endpoint::Endpoint;
use crate::packet::{Acknowledged, ConnAck, Disconnected, Granted, Packet, Publish, take_packet};
use crate::request::{Ack, Disconnect, Encode, PingReq, Subscribe, Unsubscribe};
use crate::target;
use crate::transport::frames::Framing;
use crate::transport::{self, Transport};
use crate::wire::Version;

/// How long anything that has to arrive may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// One Network Connection to the broker under test.
#[derive(Debug)]
pub struct Client {
    version: Version,
    transport: Box<dyn Transport>,
    inbox: Vec<u8>,
    /// Packets that arrived while another one was awaited.
    deferred: VecDeque<Packet>,
    last_packet_id: u16,
    /// The Maximum Packet Size announced to the broker.
    packet_size_max: usize,
}

/// What arrived next on a connection.
enum Arrival {
    Packet(Packet),
    Closed,
    Nothing,
}

/// Unwraps the packet that a test waits for.
macro_rules! receive {
    ($self:ident, $kind:ident) => {
        match $self.receive() {
            Packet::$kind(content) => content,
            other => panic!("expected {}, received {other:?}", stringify!($kind)),
        }
    };
}

impl Client {
    /// Opens a Network Connection and sends nothing.
    pub fn dial(version: Version) -> Self {
        Self::dial_to(version, target::endpoint(), target::framing())
    }

    /// Opens a Network Connection to this listener; `framing` determines the WebSocket frames.
    pub fn dial_to(version: Version, endpoint: &Endpoint, framing: Framing) -> Self {
        let transport = transport::open(endpoint, framing)
            .unwrap_or_else(|error| panic!("cannot connect to {endpoint:?}: {error}"));
        Self {
            version,
            transport,
            inbox: Vec::new(),
            deferred: VecDeque::new(),
            last_packet_id: 0,
            packet_size_max: usize::MAX,
        }
    }

    /// Makes the test fail from now on if the broker sends a larger packet.
    pub fn limit_packet_size(&mut self, bytes_max: u32) {
        self.packet_size_max = bytes_max as usize;
    }

    /// Sends a packet. If the broker has closed the connection, receiving shows it.
    pub fn send(&mut self, packet: &impl Encode) {
        let bytes = packet.encode(self.version);
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.transport.send(bytes) {
            let is_closed =
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
            assert!(is_closed, "cannot send: {error}");
        }
    }

    /// Returns a Packet Identifier that this client has not used yet.
    pub fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id += 1;
        self.last_packet_id
    }

    /// Receives the next packet.
    pub fn receive(&mut self) -> Packet {
        match self.next_within(DEADLINE) {
            Arrival::Packet(packet) => packet,
            Arrival::Closed => panic!("the broker closed the connection"),
            Arrival::Nothing => panic!("nothing arrived within {DEADLINE:?}"),
        }
    }

    /// Receives the next packet, or returns `None` if the broker closes the connection.
    pub fn receive_or_closed(&mut self) -> Option<Packet> {
        match self.next_within(DEADLINE) {
            Arrival::Packet(packet) => Some(packet),
            Arrival::Closed => None,
            Arrival::Nothing => panic!("neither a packet nor the end within {DEADLINE:?}"),
        }
    }

    /// Receives the next packet, which has to be a CONNACK.
    pub fn receive_connack(&mut self) -> ConnAck {
        receive!(self, ConnAck)
    }

    /// Receives the next packet, which has to be a PUBLISH and stays unacknowledged.
    pub fn receive_publish(&mut self) -> Publish {
        receive!(self, Publish)
    }

    /// Receives the next packet, which has to be a PUBACK.
    pub fn receive_puback(&mut self) -> Acknowledged {
        receive!(self, PubAck)
    }

    /// Receives the next packet, which has to be a PUBREC.
    pub fn receive_pubrec(&mut self) -> Acknowledged {
        receive!(self, PubRec)
    }

    /// Receives the next packet, which has to be a PUBREL.
    pub fn receive_pubrel(&mut self) -> Acknowledged {
        receive!(self, PubRel)
    }

    /// Receives the next packet, which has to be a PUBCOMP.
    pub fn receive_pubcomp(&mut self) -> Acknowledged {
        receive!(self, PubComp)
    }

    /// Receives the next packet, which has to be a SUBACK.
    pub fn receive_suback(&mut self) -> Granted {
        receive!(self, SubAck)
    }

    /// Receives the next packet, which has to be an UNSUBACK.
    pub fn receive_unsuback(&mut self) -> Granted {
        receive!(self, UnsubAck)
    }

    /// Receives the next packet, which has to be a DISCONNECT.
    pub fn receive_disconnect(&mut self) -> Disconnected {
        receive!(self, Disconnect)
    }

    /// Receives the next packet, which has to be an AUTH.
    pub fn receive_auth(&mut self) -> Disconnected {
        receive!(self, Auth)
    }

    /// Receives the next packet, which has to be a PUBLISH, and acknowledges it as its QoS demands.
    pub fn receive_message(&mut self) -> Publish {
        let publish = self.receive_publish();
        self.acknowledge(&publish);
        publish
    }

    /// Acknowledges a received PUBLISH and completes its handshake.
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            1 => self.send(&Ack::puback(publish.id())),
            2 => {
                self.send(&Ack::pubrec(publish.id()));
                self.defer_until_pubrel(publish.id());
                self.send(&Ack::pubcomp(publish.id()));
            }
            _ => {}
        }
    }

    /// Waits for a PUBREL; messages that arrive before it are kept.
    fn defer_until_pubrel(&mut self, packet_id: u16) {
        self.defer_until(|packet| match packet {
            Packet::PubRel(pubrel) => pubrel.packet_id == packet_id,
            _ => false,
        });
    }

    /// Waits for an answer; packets that arrive before it are kept for later.
    fn defer_until(&mut self, is_answer: impl Fn(&Packet) -> bool) -> Packet {
        let mut before = Vec::new();
        loop {
            let packet = self.receive();
            if is_answer(&packet) {
                for packet in before.into_iter().rev() {
                    self.deferred.push_front(packet);
                }
                return packet;
            }
            before.push(packet);
        }
    }

    /// Publishes and completes the handshake.
    pub fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_packet(Publish::new(topic, payload), qos);
    }

    /// Publishes a retained message and completes the handshake.
    pub fn publish_retained(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_packet(Publish::new(topic, payload).retained(), qos);
    }

    /// Sends `publish` at `qos` with a fresh Packet Identifier, and completes the handshake.
    pub fn publish_packet(&mut self, publish: Publish, qos: u8) {
        if qos == 0 {
            self.send(&publish);
            return;
        }
        let id = self.next_packet_id();
        if qos == 1 {
            self.send(&publish.qos_1(id));
            self.defer_until(|packet| is_answer(packet, 4, id));
            return;
        }
        self.send(&publish.qos_2(id));
        self.defer_until(|packet| is_answer(packet, 5, id));
        self.send(&Ack::pubrel(id));
        self.defer_until(|packet| is_answer(packet, 7, id));
    }

    /// Subscribes with options (see [`crate::request`]); the filter has to be granted.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let id = self.next_packet_id();
        self.subscribe_packet(&Subscribe::new(id).filter(filter, options));
    }

    /// Sends a SUBSCRIBE whose filters all have to be granted.
    pub fn subscribe_packet(&mut self, subscribe: &Subscribe) {
        self.send(subscribe);
        // Messages for the new subscription may arrive before its SUBACK.
        match self.defer_until(|packet| matches!(packet, Packet::SubAck(_))) {
            Packet::SubAck(suback) if suback.reasons.iter().all(|&reason| reason < 0x80) => {}
            refused => panic!("{subscribe:?} was refused: {refused:?}"),
        }
    }

    /// Unsubscribes and waits for the UNSUBACK.
    pub fn unsubscribe(&mut self, filter: &str) {
        let id = self.next_packet_id();
        self.send(&Unsubscribe::new(id).filter(filter));
        self.defer_until(|packet| match packet {
            Packet::UnsubAck(unsuback) => unsuback.packet_id == id,
            _ => false,
        });
    }

    /// Returns everything that arrives before the answer to a PINGREQ, and acknowledges none of it.
    pub fn until_ping(&mut self) -> Vec<Packet> {
        self.send(&PingReq);
        self.read_until(|packet| *packet == Packet::PingResp)
    }

    /// Returns all packets that arrive before the first one that `is_last` accepts.
    pub fn read_until(&mut self, is_last: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        let mut before = Vec::new();
        loop {
            let packet = self.receive();
            if is_last(&packet) {
                return before;
            }
            before.push(packet);
        }
    }

    /// As [`Client::until_ping`], but the broker may also close the connection.
    pub fn until_ping_or_closed(&mut self) -> Vec<Packet> {
        self.send(&PingReq);
        let mut before = Vec::new();
        loop {
            match self.receive_or_closed() {
                Some(Packet::PingResp) | None => return before,
                Some(packet) => before.push(packet),
            }
        }
    }

    /// Expects nothing to arrive before the PINGRESP.
    pub fn expect_silence(&mut self) {
        let before = self.until_ping();
        assert!(before.is_empty(), "expected nothing, received {before:?}");
    }

    /// Expects the broker to end the connection because of an error: in 3.1.1 by closing it, in 5.0
    /// by a DISCONNECT with `reason` and closing.
    pub fn expect_error(&mut self, reason: u8) {
        self.expect_error_of(&[reason]);
    }

    /// As [`Client::expect_error`], but several Reason Codes are right.
    pub fn expect_error_of(&mut self, reasons: &[u8]) {
        let last = self.read_until_closed();
        let is_expected = match (self.version, last.as_slice()) {
            (Version::V3, []) => true,
            (Version::V5, []) => !target::is_strict(),
            (Version::V5, [Packet::Disconnect(disconnect)]) => {
                reasons.contains(&disconnect.reason)
                    || (!target::is_strict() && disconnect.reason >= 0x80)
            }
            _ => false,
        };
        assert!(is_expected, "expected an end with one of {reasons:02x?}, received {last:02x?}");
    }

    /// Returns everything that still arrives before the broker closes the connection.
    pub fn read_until_closed(&mut self) -> Vec<Packet> {
        self.read_until_closed_within(DEADLINE)
    }

    /// Returns whether the broker closes the connection within `wait`; drops earlier packets.
    pub fn is_closed_within(&mut self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        loop {
            match self.next_within(end.saturating_duration_since(Instant::now())) {
                Arrival::Packet(_) => {}
                Arrival::Closed => return true,
                Arrival::Nothing => return false,
            }
        }
    }

    /// As [`Client::read_until_closed`] with a deadline.
    pub fn read_until_closed_within(&mut self, deadline: Duration) -> Vec<Packet> {
        let end = Instant::now() + deadline;
        let mut packets = Vec::new();
        loop {
            match self.next_within(end.saturating_duration_since(Instant::now())) {
                Arrival::Packet(packet) => packets.push(packet),
                Arrival::Closed => return packets,
                Arrival::Nothing => panic!("still open after {deadline:?}, received {packets:?}"),
            }
        }
    }

    /// Expects the broker to close the connection without another packet.
    pub fn expect_closed(&mut self) {
        let last = self.read_until_closed();
        assert!(last.is_empty(), "expected only the end, received {last:?}");
    }

    /// Sends DISCONNECT and waits until the broker has closed the connection, which shows that the
    /// broker has seen it.
    pub fn disconnect(self) {
        self.disconnect_with(&Disconnect::new());
    }

    /// As [`Client::disconnect`] with this packet; returns what arrived before the end.
    pub fn disconnect_with(mut self, disconnect: &Disconnect) -> Vec<Packet> {
        self.send(disconnect);
        self.read_until_closed()
    }

    /// Ends the connection without DISCONNECT and waits until the broker has seen it; returns what
    /// arrived before the end.
    pub fn abandon(mut self) -> Vec<Packet> {
        // An error means that the broker ended the connection first.
        let _ = self.transport.finish();
        self.read_until_closed()
    }

    /// Ends the connection without DISCONNECT, as a dying process does: the carrier does not
    /// announce the end either, except QUIC, where it would otherwise be noticed only after the
    /// idle timeout.
    pub fn cut(mut self) {
        self.transport.cut();
    }

    fn next_within(&mut self, wait: Duration) -> Arrival {
        if let Some(packet) = self.deferred.pop_front() {
            return Arrival::Packet(packet);
        }
        let end = Instant::now() + wait;
        loop {
            if let Some(packet) = self.take_packet() {
                return Arrival::Packet(packet);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arrival::Nothing;
            }
            if self.fill_inbox(left) == Some(0) {
                return Arrival::Closed;
            }
        }
    }

    fn take_packet(&mut self) -> Option<Packet> {
        let before = self.inbox.len();
        let packet = take_packet(&mut self.inbox, self.version)?;
        let size = before - self.inbox.len();
        let max = self.packet_size_max;
        let is_limited = max > 0; // 0 is not a limit but a Protocol Error that a test makes
        assert!(
            !is_limited || size <= max,
            "{size} bytes for a client that takes {max}: {packet:?}"
        );
        Some(packet)
    }

    /// Reads once; returns how many bytes arrived (0 at the end), or `None` after the wait.
    fn fill_inbox(&mut self, wait: Duration) -> Option<usize> {
        match self.transport.receive(&mut self.inbox, wait) {
            Ok(count) => Some(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => None,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Some(0),
                _ => panic!("cannot receive: {error}"),
            },
        }
    }
}

/// Returns whether `packet` is the acknowledgement of `packet_type` for a PUBLISH of this client.
fn is_answer(packet: &Packet, packet_type: u8, packet_id: u16) -> bool {
    match (packet_type, packet) {
        (4, Packet::PubAck(ack)) | (5, Packet::PubRec(ack)) | (7, Packet::PubComp(ack)) => {
            ack.packet_id == packet_id
        }
        _ => false,
    }
}
