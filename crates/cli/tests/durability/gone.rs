//! What a Client was told to be gone is gone, though the broker is killed at that very moment and
//! its disk is slow: a Session, a subscription, a retained message.
//!
//! An old Session that comes back brings its unreleased QoS 2 Packet Identifiers with it: a message
//! under one of them would be acknowledged and lost.

use std::time::{Duration, Instant};

use midge_codec::{
    Acknowledgement, Connect, ConnectProperties, Disconnect, Packet, PacketIdentifier,
    ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, TopicName, Unsubscribe,
};

use crate::common::broker::{Broker, Home, Keeping};
use crate::common::random::Random;
use crate::common::slow_sync::Pace;
use crate::common::wire::{Connection, Incoming};

const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for an answer that does not wait, and for the kill behind it.
const SLOW: Pace = Pace::each(150);
/// The Packet Identifier that the old Session has not released.
const UNRELEASED: u16 = 7;

/// How a Session ends; the Client comes again then and is told so.
#[derive(Clone, Copy, Debug)]
enum End {
    /// By Clean Start; the new Session lasts so many seconds without its Client.
    CleanStart(u32),
    /// The same while the old connection is still there.
    TakeOver,
    /// By the Client's DISCONNECT.
    Disconnect,
    /// By the time.
    Expiry,
}

/// A Client of MQTT 5.0 that does one thing after the other.
struct Client(Connection);

impl Client {
    /// Connects; whether there is a Session.
    fn connect(home: &Home, client_id: &str, clean_start: bool, expiry: u32) -> (Self, bool) {
        let connection = Connection::open(home.port(), ProtocolVersion::V5).unwrap();
        let mut client = Self(connection);
        client.0.put(&Packet::Connect(Box::new(Connect {
            version: ProtocolVersion::V5,
            bridge: false,
            clean_start,
            keep_alive_seconds: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: Some(expiry),
                ..ConnectProperties::default()
            },
        })));
        match client.next() {
            Incoming::ConnAck { session_present, code: ReasonCode::Success } => {
                (client, session_present)
            }
            other => panic!("the CONNECT of {client_id} was answered with {other:?}"),
        }
    }

    fn next(&mut self) -> Incoming {
        let incoming = self.0.receive(Instant::now() + PATIENCE);
        incoming.expect("the connection lives").expect("something comes")
    }

    fn subscribe(&mut self, filter: &str) {
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..<_>::default() };
        self.0.put(&Packet::Subscribe(Subscribe {
            packet_id: id(1),
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: (&[Subscription { filter, options }][..]).into(),
        }));
        assert!(matches!(self.next(), Incoming::SubAck(1, _)));
    }

    fn unsubscribe(&mut self, filter: &str) {
        self.0.put(&Packet::Unsubscribe(Unsubscribe {
            packet_id: id(1),
            user_properties: Default::default(),
            filters: (&[filter][..]).into(),
        }));
        assert!(matches!(self.next(), Incoming::UnsubAck(1)));
    }

    /// Sends a PUBLISH and does not wait.
    fn put(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        self.0.put(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic: TopicName::new(topic).unwrap(),
            packet_id: (qos > QoS::AtMostOnce).then_some(id(UNRELEASED)),
            payload: payload.as_bytes(),
            properties: PublishProperties::default(),
        }));
        self.0.flush();
    }

    fn publish(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        self.put(topic, payload, qos, retain);
        match (qos, self.next()) {
            (QoS::AtLeastOnce, Incoming::PubAck(UNRELEASED, _))
            | (QoS::ExactlyOnce, Incoming::PubRec(UNRELEASED, _)) => (),
            (qos, other) => panic!("a PUBLISH of {qos:?} was answered with {other:?}"),
        }
    }

    fn disconnect(mut self, expiry: Option<u32>) {
        let mut packet = Disconnect::with_reason(ReasonCode::Success);
        packet.session_expiry_interval = expiry;
        self.0.put(&Packet::Disconnect(packet));
        self.0.flush();
        assert!(self.0.receive(Instant::now() + PATIENCE).is_err(), "the broker closes");
    }

    /// The payload of the next message.
    fn message(&mut self) -> String {
        match self.next() {
            Incoming::Publish(received) => String::from_utf8(received.payload).unwrap(),
            other => panic!("not a message came, but {other:?}"),
        }
    }
}

fn id(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).unwrap()
}

/// Each test has a seed of its own, and so a port.
fn home(workers: usize, seed: u64) -> Home {
    let seed = u64::from(std::process::id()) * 100 + seed;
    let home = Home::new(Keeping::Data, workers, &[], &mut Random::new(seed));
    home.disk.set(Pace::NORMAL);
    home
}

/// From now on syncs take long, and one is under way. The connection keeps it so.
fn slow_down(home: &Home) -> Client {
    let (mut busy, _) = Client::connect(home, "busy", true, 0);
    home.disk.set(SLOW);
    busy.put("busy", "x", QoS::AtLeastOnce, true);
    home.disk.wait_until_busy();
    busy
}

fn kill_and_start(home: &Home, broker: Broker) -> Broker {
    broker.kill();
    home.disk.set(Pace::NORMAL);
    home.start()
}

/// Ends the Session of "a" and waits until the Client is told so.
fn end_session(home: &Home, old: Client, end: End) {
    let (_busy, session_present) = match end {
        End::CleanStart(expiry) => {
            drop(old);
            (slow_down(home), Client::connect(home, "a", true, expiry).1)
        }
        End::TakeOver => (slow_down(home), Client::connect(home, "a", true, 0).1),
        End::Disconnect => {
            let busy = slow_down(home);
            old.disconnect(Some(0));
            (busy, Client::connect(home, "a", false, 0).1)
        }
        End::Expiry => {
            old.disconnect(Some(1));
            std::thread::sleep(Duration::from_millis(800));
            let busy = slow_down(home);
            // It is resumed until its time is over.
            let mut answer = Client::connect(home, "a", false, 1);
            while answer.1 {
                answer.0.disconnect(Some(1));
                std::thread::sleep(Duration::from_millis(1010));
                answer = Client::connect(home, "a", false, 1);
            }
            (busy, false)
        }
    };
    assert!(!session_present, "{end:?}");
}

fn a_session_that_ends(end: End, workers: usize) {
    let home = home(workers, 0);
    let broker = home.start();
    let (mut old, _) = Client::connect(&home, "a", false, 3600);
    old.subscribe("t");
    old.publish("elsewhere", "old", QoS::ExactlyOnce, false);
    end_session(&home, old, end);
    let _broker = kill_and_start(&home, broker);

    let (mut again, session_present) = Client::connect(&home, "a", false, 3600);
    let may_be_new = matches!(end, End::CleanStart(1..) | End::Expiry);
    assert!(!session_present || may_be_new, "{end:?}");
    let (mut other, _) = Client::connect(&home, "other", true, 0);
    other.subscribe("news");
    again.publish("news", "not lost", QoS::ExactlyOnce, false);
    assert_eq!(other.message(), "not lost", "{end:?}");
    again.0.put(&Packet::PubRel(Acknowledgement::success(id(UNRELEASED))));
    assert!(matches!(again.next(), Incoming::PubComp(UNRELEASED)));
    again.subscribe("end");
    other.publish("t", "of an old subscription", QoS::AtLeastOnce, false);
    other.publish("end", "the end", QoS::AtLeastOnce, false);
    assert_eq!(again.message(), "the end", "{end:?}");
}

#[test]
fn r1_a_session_that_a_connack_says_is_gone_does_not_come_back() {
    for workers in [1, 2] {
        let ends = [End::CleanStart(0), End::CleanStart(3600), End::TakeOver, End::Disconnect];
        for end in ends.into_iter().chain([End::Expiry]) {
            a_session_that_ends(end, workers);
        }
    }
}

#[test]
fn r1_a_subscription_that_an_unsuback_says_is_gone_does_not_come_back() {
    let home = home(1, 1);
    let broker = home.start();
    let (mut client, _) = Client::connect(&home, "a", false, 3600);
    client.subscribe("t");
    client.subscribe("end");
    let _busy = slow_down(&home);
    client.unsubscribe("t");
    let _broker = kill_and_start(&home, broker);

    let (mut client, session_present) = Client::connect(&home, "a", false, 3600);
    assert!(session_present);
    let (mut other, _) = Client::connect(&home, "other", true, 0);
    other.publish("t", "of an old subscription", QoS::AtLeastOnce, false);
    other.publish("end", "the end", QoS::AtLeastOnce, false);
    assert_eq!(client.message(), "the end");
}

#[test]
fn r1_a_retained_message_that_was_removed_does_not_come_back() {
    let home = home(1, 2);
    let broker = home.start();
    let (mut client, _) = Client::connect(&home, "a", true, 0);
    client.publish("r/1", "removed", QoS::AtLeastOnce, true);
    let _busy = slow_down(&home);
    client.publish("r/1", "", QoS::AtLeastOnce, true);
    let _broker = kill_and_start(&home, broker);

    let (mut client, _) = Client::connect(&home, "a", true, 0);
    client.subscribe("r/#");
    client.put("r/2", "the end", QoS::AtMostOnce, false);
    assert_eq!(client.message(), "the end");
}
