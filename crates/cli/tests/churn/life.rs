//! One life of a Client, from its CONNECT to the way it leaves. It knows what it may expect of the
//! broker and panics if that does not happen; it does not look inside the broker.

use std::time::{Duration, Instant};

use midge_codec::{
    Acknowledgement, Connect, ConnectProperties, Disconnect, Packet, PacketIdentifier,
    ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, TopicName, Unsubscribe, Will,
};

use crate::common::random::Random;
use crate::common::wire::{Connection, Gone, Incoming};

const PATIENCE: Duration = Duration::from_secs(30);

/// The number of Clients whose Sessions stay until somebody removes them.
pub(crate) const RESIDENTS: u64 = 64;
/// The number of topics with retained messages.
pub(crate) const RETAINED: u64 = 32;

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A Client in one life.
struct Life<'a> {
    random: &'a mut Random,
    connection: Connection,
    version: ProtocolVersion,
    /// The number of this life, for names that the broker has never seen.
    number: u64,
    client_id: String,
    last_packet_id: u16,
    /// How many answers are due: SUBACK, UNSUBACK, and the end of each exchange that it began.
    due: usize,
}

/// Ends the Session of a resident.
pub(crate) fn end_session_of(port: u16, resident: u64) {
    let mut connection = Connection::open(port, ProtocolVersion::V3_1_1).unwrap();
    put_connect(&mut connection, ProtocolVersion::V3_1_1, &name(resident), true, None, None);
    expect_connack(&mut connection).unwrap();
    leave(&mut connection, Disconnect::with_reason(ReasonCode::Success));
}

fn name(resident: u64) -> String {
    format!("resident-{resident}")
}

/// Lives one life. Another one may take the Session over at any time, which ends this one early.
pub(crate) fn live(port: u16, number: u64, random: &mut Random) {
    match try_live(port, number, random) {
        Ok(()) | Err(Gone::Ended) => (),
        Err(Gone::Broken(why)) => panic!("life {number}: {why}"),
    }
}

fn try_live(port: u16, number: u64, random: &mut Random) -> Result<(), Gone> {
    let version = VERSIONS[random.below(3) as usize];
    let stays = random.once_in(3);
    let resident = stays && random.once_in(2);
    let client_id = match resident {
        true => name(random.below(RESIDENTS)),
        false => format!("c{number}"),
    };
    // A Session that is not a resident's lasts for a moment, or as long as the connection.
    let expiry = match (resident, stays) {
        (true, _) => Some(u32::MAX),
        (false, true) => Some(1 + random.below(2) as u32),
        (false, false) => None,
    };
    let is_clean = !resident && (!stays || version != ProtocolVersion::V5);
    let mut connection = Connection::open(port, version)?;
    let will = random.once_in(3).then(|| format!("c/{number}/will"));
    put_connect(&mut connection, version, &client_id, is_clean, expiry, will.as_deref());
    expect_connack(&mut connection)?;
    let (last_packet_id, due) = (0, 0);
    let mut life = Life { random, connection, version, number, client_id, last_packet_id, due };
    life.subscribe();
    for _ in 0..1 + life.random.below(6) {
        life.publish();
        if life.random.once_in(4) {
            life.wait_for_answers()?;
        }
    }
    if life.random.once_in(4) {
        life.unsubscribe();
    }
    // Some leave while answers are due.
    if !life.random.once_in(4) {
        life.wait_for_answers()?;
    }
    life.end(port)
}

pub(crate) fn put_connect(
    connection: &mut Connection,
    version: ProtocolVersion,
    client_id: &str,
    clean_start: bool,
    expiry_seconds: Option<u32>,
    will: Option<&str>,
) {
    let is_v5 = version == ProtocolVersion::V5;
    connection.put(&Packet::Connect(Box::new(Connect {
        version,
        bridge: false,
        clean_start,
        keep_alive_seconds: 60,
        client_id,
        will: will.map(|topic| Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicName::new(topic).unwrap(),
            payload: b"gone",
            delay_interval_seconds: is_v5.then_some(1),
            properties: PublishProperties::default(),
        }),
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval: expiry_seconds.filter(|_| is_v5),
            ..ConnectProperties::default()
        },
    })));
}

pub(crate) fn expect_connack(connection: &mut Connection) -> Result<(), Gone> {
    match connection.receive(Instant::now() + PATIENCE)? {
        Some(Incoming::ConnAck { code: ReasonCode::Success, .. }) => Ok(()),
        other => Err(Gone::Broken(format!("answers CONNECT with {other:?}"))),
    }
}

fn leave(connection: &mut Connection, disconnect: Disconnect<'_>) {
    connection.put(&Packet::Disconnect(disconnect));
    connection.flush();
    // When the broker closes the connection, it has read the packet.
    let deadline = Instant::now() + PATIENCE;
    while matches!(connection.receive(deadline), Ok(Some(_))) {}
}

impl Life<'_> {
    fn filters(&mut self) -> Vec<String> {
        let number = self.number;
        let all = [
            format!("c/{number}/+"),
            format!("c/{number}/#"),
            format!("only/{number}"),
            format!("$share/group-{}/jobs/#", self.random.below(8)),
            format!("$share/own-{number}/c/{number}/+"),
            format!("$queue/errands/{}", self.random.below(8)),
            format!("$exclusive/sole/{number}"),
            "kept/#".to_owned(),
            format!("kept/{}", self.random.below(RETAINED)),
        ];
        let count = 1 + self.random.below(4);
        (0..count).map(|_| all[self.random.below(all.len() as u64) as usize].clone()).collect()
    }

    fn subscribe(&mut self) {
        let filters = self.filters();
        let qos = QOS[self.random.below(3) as usize];
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let subscriptions: Vec<_> =
            filters.iter().map(|filter| Subscription { filter, options }).collect();
        let packet_id = self.next_packet_id();
        self.connection.put(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: subscriptions.as_slice().into(),
        }));
        self.due += 1;
    }

    fn unsubscribe(&mut self) {
        let filters = self.filters();
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        let packet_id = self.next_packet_id();
        self.connection.put(&Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: Default::default(),
            filters: filters.as_slice().into(),
        }));
        self.due += 1;
    }

    fn publish(&mut self) {
        let number = self.number;
        let kept = format!("kept/{}", self.random.below(RETAINED));
        let (topic, retain) = match self.random.below(7) {
            0 | 1 => (format!("c/{number}/x"), false),
            2 => (format!("jobs/{number}"), false),
            3 => (format!("errands/{}", self.random.below(8)), false),
            4 => (format!("nobody/{number}/hears"), false),
            5 => (format!("$delayed/1/c/{number}/late"), false),
            _ => (kept, true),
        };
        let qos = QOS[self.random.below(3) as usize];
        let length = if retain && self.random.once_in(2) { 0 } else { self.random.below(600) };
        let payload = vec![b'x'; length as usize];
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.next_packet_id());
        let expires = self.version == ProtocolVersion::V5 && self.random.once_in(2);
        self.connection.put(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic: TopicName::new(&topic).unwrap(),
            packet_id,
            properties: PublishProperties {
                message_expiry_interval_seconds: expires.then_some(1),
                ..PublishProperties::default()
            },
            payload: &payload,
        }));
        self.due += usize::from(qos != QoS::AtMostOnce);
    }

    fn next_packet_id(&mut self) -> PacketIdentifier {
        self.last_packet_id += 1;
        PacketIdentifier::new(self.last_packet_id).expect("a life is short")
    }

    fn wait_for_answers(&mut self) -> Result<(), Gone> {
        let deadline = Instant::now() + PATIENCE;
        while self.due > 0 {
            match self.connection.receive(deadline)? {
                Some(incoming) => self.handle(incoming)?,
                None => return Err(Gone::Broken(format!("{} answers are due", self.due))),
            }
        }
        Ok(())
    }

    fn handle(&mut self, incoming: Incoming) -> Result<(), Gone> {
        match incoming {
            Incoming::Publish(message) => self.answer(message.qos, message.packet_id),
            Incoming::PubRel(id) => self.connection.put(&Packet::PubComp(success(id))),
            Incoming::PubRec(id, code) if !code.is_error() => {
                self.connection.put(&Packet::PubRel(success(id)));
            }
            Incoming::PubAck(_, code) | Incoming::PubRec(_, code) if code.is_error() => {
                return Err(Gone::Broken(format!("refuses a message: {code:?}")));
            }
            // The answer may belong to an earlier life of this Session.
            Incoming::PubAck(..)
            | Incoming::PubComp(_)
            | Incoming::SubAck(..)
            | Incoming::UnsubAck(_) => self.due = self.due.saturating_sub(1),
            Incoming::PubRec(..) | Incoming::PingResp => (),
            Incoming::Disconnect(ReasonCode::SessionTakenOver) => return Err(Gone::Ended),
            other => return Err(Gone::Broken(format!("sends {other:?}"))),
        }
        Ok(())
    }

    fn answer(&mut self, qos: QoS, packet_id: u16) {
        match qos {
            QoS::AtMostOnce => (),
            QoS::AtLeastOnce => self.connection.put(&Packet::PubAck(success(packet_id))),
            QoS::ExactlyOnce => self.connection.put(&Packet::PubRec(success(packet_id))),
        }
    }

    /// Breaks off in the middle of a packet.
    fn break_off(&mut self) {
        let options = SubscriptionOptions::default();
        let subscriptions = [Subscription { filter: "never/said", options }];
        let begun = Packet::Subscribe(Subscribe {
            packet_id: success(1).packet_id,
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: subscriptions.as_slice().into(),
        });
        self.connection.put_beginning(&begun, 7);
        self.connection.flush();
    }

    fn end(mut self, port: u16) -> Result<(), Gone> {
        let is_v5 = self.version == ProtocolVersion::V5;
        match self.random.below(5) {
            0 => self.connection.flush(),
            1 if is_v5 => {
                let code = ReasonCode::DisconnectWithWillMessage;
                leave(&mut self.connection, Disconnect::with_reason(code));
            }
            2 => self.break_off(),
            3 => {
                let mut heir = Connection::open(port, self.version)?;
                put_connect(&mut heir, self.version, &self.client_id, true, None, None);
                expect_connack(&mut heir)?;
                leave(&mut heir, Disconnect::with_reason(ReasonCode::Success));
            }
            _ => {
                let goodbye = Disconnect::with_reason(ReasonCode::Success);
                leave(&mut self.connection, goodbye);
            }
        }
        Ok(())
    }
}

fn success(packet_id: u16) -> Acknowledgement<'static> {
    let packet_id = PacketIdentifier::new(packet_id).expect("no Packet Identifier is 0");
    Acknowledgement::success(packet_id)
}
