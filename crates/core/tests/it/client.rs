//! The Client's end of a Network Connection, and the actions of scripted Clients.

use std::collections::BTreeMap;

use midge_codec::{
    Connect, Decoded, Disconnect, Packet, PacketIdentifier, ProtocolVersion, Publish, ReasonCode,
    Subscribe, Subscription, SubscriptionOptions, Unsubscribe, UserProperties, decode,
};
use midge_core::ConnectionId;

use crate::node::{Conn, Node};
use crate::packets::{connect, options, puback, pubcomp, publish, pubrec, pubrel};
use crate::received::{Got, GotConnAck, Received};

/// A Network Connection as its Client sees it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) worker: usize,
    pub(crate) id: ConnectionId,
    pub(crate) version: ProtocolVersion,
    pub(crate) to_broker: Vec<u8>,
    pub(crate) from_broker: Vec<u8>,
    pub(crate) received: Vec<Received>,
    /// Whether the broker reads from this socket.
    pub(crate) is_read: bool,
    pub(crate) is_closed: bool,
    /// Whether it is between two workers.
    pub(crate) is_moving: bool,
    /// How many more bytes the socket takes.
    pub(crate) room: usize,
    /// Whether the Client answers PUBLISH, PUBREC and PUBREL by itself.
    pub(crate) acknowledges: bool,
    aliases: BTreeMap<u16, String>,
    pub(crate) next_packet_id: u16,
}

impl Socket {
    pub(crate) fn new(worker: usize, id: ConnectionId) -> Self {
        Self {
            worker,
            id,
            version: ProtocolVersion::V5,
            to_broker: Vec::new(),
            from_broker: Vec::new(),
            received: Vec::new(),
            is_read: true,
            is_closed: false,
            is_moving: false,
            room: usize::MAX,
            acknowledges: true,
            aliases: BTreeMap::new(),
            next_packet_id: 0,
        }
    }

    pub(crate) fn has_complete_input(&self) -> bool {
        let incomplete =
            |bytes| matches!(decode(bytes, self.version, 1 << 20), Ok(Decoded::Incomplete { .. }));
        self.is_read
            && !self.is_closed
            && !self.is_moving
            && !self.to_broker.is_empty()
            && !incomplete(&self.to_broker)
    }

    /// Decodes what has arrived.
    pub(crate) fn receive(&mut self) {
        let bytes = std::mem::take(&mut self.from_broker);
        let mut rest = &bytes[..];
        while let Decoded::Packet { packet, length } =
            decode(rest, self.version, u32::MAX).expect("the broker sends valid packets")
        {
            let mut received = Received::of(&packet, length);
            if let Received::Publish(publish) = &mut received {
                self.resolve_alias(publish);
            }
            if self.acknowledges {
                self.acknowledge(&received);
            }
            self.received.push(received);
            rest = &rest[length..];
        }
        self.from_broker = rest.to_vec();
    }

    fn resolve_alias(&mut self, publish: &mut Got) {
        match publish.alias {
            Some(alias) if publish.topic_omitted => {
                publish.topic = self.aliases[&alias].clone();
            }
            Some(alias) => {
                self.aliases.insert(alias, publish.topic.clone());
            }
            None => assert!(!publish.topic_omitted, "a topic or an alias"),
        }
    }

    fn acknowledge(&mut self, received: &Received) {
        let answer = match received {
            Received::Publish(publish) if publish.qos == 1 => puback(publish.packet_id),
            Received::Publish(publish) if publish.qos == 2 => pubrec(publish.packet_id),
            Received::PubRec(packet_id, code) if !code.is_error() => pubrel(*packet_id),
            Received::PubRel(packet_id, _) => pubcomp(*packet_id),
            _ => return,
        };
        answer.encode(self.version, &mut self.to_broker).expect("acknowledgements are small");
    }

    fn packet_id(&mut self) -> u16 {
        self.next_packet_id = self.next_packet_id % 60_000 + 1;
        self.next_packet_id
    }
}

impl Node {
    /// Connects with MQTT 5 and Clean Start, and expects to be accepted.
    pub(crate) fn connect(&mut self, client_id: &str) -> Conn {
        self.connect_with(&connect(client_id)).0
    }

    /// Connects and expects to be accepted.
    pub(crate) fn connect_with(&mut self, packet: &Connect<'_>) -> (Conn, GotConnAck) {
        let conn = self.begin_connect(packet);
        self.settle();
        let ack = self.take_connack(conn);
        assert_eq!(ack.code, 0, "the CONNECT of {:?} is refused", packet.client_id);
        (conn, ack)
    }

    /// Connects and returns whether a Session was present.
    pub(crate) fn resume(&mut self, packet: &Connect<'_>) -> (Conn, bool) {
        let (conn, ack) = self.connect_with(packet);
        (conn, ack.session_present)
    }

    /// Connects and expects to be refused and disconnected; returns the Reason Code.
    pub(crate) fn refused(&mut self, packet: &Connect<'_>) -> u8 {
        let conn = self.begin_connect(packet);
        self.settle();
        let code = self.take_connack(conn).code;
        assert!(self.is_closed(conn) && code != 0);
        code
    }

    /// Takes the CONNACK, which has to be the first packet.
    pub(crate) fn take_connack(&mut self, conn: Conn) -> GotConnAck {
        let received = &mut self.sockets[conn.0].received;
        assert!(!received.is_empty(), "no CONNACK");
        match received.remove(0) {
            Received::ConnAck(ack) => ack,
            other => panic!("{other:?} instead of CONNACK"),
        }
    }

    /// Sends a packet and lets the node settle.
    pub(crate) fn send(&mut self, conn: Conn, packet: &Packet<'_>) {
        self.queue(conn, packet);
        self.settle();
    }

    /// Subscribes to one filter and returns the Reason Code.
    pub(crate) fn subscribe(&mut self, conn: Conn, filter: &str, level: u8) -> ReasonCode {
        self.subscribe_with(conn, &[(filter, options(level))], None)[0]
    }

    /// Subscribes and returns the Reason Codes.
    pub(crate) fn subscribe_with(
        &mut self,
        conn: Conn,
        filters: &[(&str, SubscriptionOptions)],
        identifier: Option<std::num::NonZeroU32>,
    ) -> Vec<ReasonCode> {
        let packet_id = self.queue_subscribe(conn, filters, identifier);
        self.settle();
        self.take_suback(conn, packet_id)
    }

    /// Queues a SUBSCRIBE and returns its Packet Identifier.
    pub(crate) fn queue_subscribe(
        &mut self,
        conn: Conn,
        filters: &[(&str, SubscriptionOptions)],
        identifier: Option<std::num::NonZeroU32>,
    ) -> u16 {
        let packet_id = self.sockets[conn.0].packet_id();
        subscribe_packet(packet_id, filters, identifier, &mut |packet| self.queue(conn, packet));
        packet_id
    }

    pub(crate) fn take_suback(&mut self, conn: Conn, packet_id: u16) -> Vec<ReasonCode> {
        let received = &mut self.sockets[conn.0].received;
        let is_it =
            |packet: &Received| matches!(packet, Received::SubAck(id, _) if *id == packet_id);
        let at = received.iter().position(is_it).expect("a SUBACK");
        match received.remove(at) {
            Received::SubAck(_, codes) => codes,
            _ => unreachable!("it was found as a SUBACK"),
        }
    }

    /// Unsubscribes from one filter and returns the Reason Code.
    pub(crate) fn unsubscribe(&mut self, conn: Conn, filter: &str) -> ReasonCode {
        let packet_id = self.sockets[conn.0].packet_id();
        let filters = [filter];
        let packet = Unsubscribe {
            packet_id: PacketIdentifier::new(packet_id).expect("not 0"),
            user_properties: UserProperties::default(),
            filters: filters[..].into(),
        };
        self.send(conn, &Packet::Unsubscribe(packet));
        let received = &mut self.sockets[conn.0].received;
        let unsuback = received.iter().position(|packet| matches!(packet, Received::UnsubAck(..)));
        match received.remove(unsuback.expect("an UNSUBACK")) {
            Received::UnsubAck(_, codes) => codes.first().copied().unwrap_or(ReasonCode::Success),
            _ => unreachable!("it was found as an UNSUBACK"),
        }
    }

    /// Publishes; at QoS 1 and 2 with the connection's next Packet Identifier.
    pub(crate) fn publish(&mut self, conn: Conn, topic: &str, payload: &str, level: u8) {
        let packet_id = self.sockets[conn.0].packet_id();
        self.send_publish(conn, publish(topic, payload, level, packet_id));
    }

    /// Publishes and returns the Reason Code of the PUBACK or PUBREC.
    pub(crate) fn publish_acknowledged(&mut self, conn: Conn, packet: Publish<'_>) -> ReasonCode {
        let packet_id = packet.packet_id.expect("QoS 1 or 2").get();
        self.send_publish(conn, packet);
        let received = &mut self.sockets[conn.0].received;
        let at = received.iter().position(|packet| match packet {
            Received::PubAck(id, _) | Received::PubRec(id, _) => *id == packet_id,
            _ => false,
        });
        match received.remove(at.expect("a PUBACK or PUBREC")) {
            Received::PubAck(_, code) | Received::PubRec(_, code) => code,
            _ => unreachable!("it was found as one of the two"),
        }
    }

    pub(crate) fn send_publish(&mut self, conn: Conn, packet: Publish<'_>) {
        self.send(conn, &Packet::Publish(packet));
    }

    /// Sends a DISCONNECT with this Reason Code.
    pub(crate) fn disconnect(&mut self, conn: Conn, code: ReasonCode) {
        self.send(conn, &Packet::Disconnect(Disconnect::with_reason(code)));
        assert!(self.is_closed(conn));
    }

    /// Breaks the connection without a DISCONNECT.
    pub(crate) fn lose(&mut self, conn: Conn) {
        self.break_connection(conn);
        self.settle();
    }

    /// Sets whether the Client answers PUBLISH, PUBREC and PUBREL by itself, as it does by default.
    pub(crate) fn acknowledge(&mut self, conn: Conn, acknowledges: bool) {
        self.sockets[conn.0].acknowledges = acknowledges;
    }

    pub(crate) fn is_closed(&self, conn: Conn) -> bool {
        self.sockets[conn.0].is_closed
    }

    /// Takes everything that has arrived since the last call.
    pub(crate) fn take(&mut self, conn: Conn) -> Vec<Received> {
        std::mem::take(&mut self.sockets[conn.0].received)
    }

    /// Takes the messages that have arrived since the last call and leaves other packets.
    pub(crate) fn messages(&mut self, conn: Conn) -> Vec<Got> {
        let received = &mut self.sockets[conn.0].received;
        let all = std::mem::take(received);
        let mut messages = Vec::new();
        for packet in all {
            match packet {
                Received::Publish(publish) => messages.push(publish),
                other => received.push(other),
            }
        }
        messages
    }

    /// Takes the payloads of the messages that have arrived.
    pub(crate) fn texts(&mut self, conn: Conn) -> Vec<String> {
        self.messages(conn).iter().map(|message| message.text().to_string()).collect()
    }

    /// Takes the only message that has arrived.
    pub(crate) fn message(&mut self, conn: Conn) -> Got {
        let mut messages = self.messages(conn);
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// Returns the Reason Code of the DISCONNECT with which the broker ended the connection.
    pub(crate) fn end_code(&mut self, conn: Conn) -> Option<ReasonCode> {
        assert!(self.is_closed(conn), "the connection is still open");
        match self.take(conn).last() {
            Some(Received::Disconnect(code)) => Some(*code),
            _ => None,
        }
    }
}

/// Hands a SUBSCRIBE to `call`; its entries do not outlive the call.
pub(crate) fn subscribe_packet(
    packet_id: u16,
    filters: &[(&str, SubscriptionOptions)],
    identifier: Option<std::num::NonZeroU32>,
    call: &mut dyn FnMut(&Packet<'_>),
) {
    let entries: Vec<_> =
        filters.iter().map(|&(filter, options)| Subscription { filter, options }).collect();
    call(&Packet::Subscribe(Subscribe {
        packet_id: PacketIdentifier::new(packet_id).expect("not 0"),
        subscription_identifier: identifier,
        user_properties: UserProperties::default(),
        subscriptions: entries[..].into(),
    }));
}
