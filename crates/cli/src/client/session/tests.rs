//! The session against a Server that is only bytes, on a clock of the test's own.

use std::num::{NonZeroU16, NonZeroU32};
use std::rc::Rc;

use midge_codec::{
    Acknowledgement, ConnAck, ConnAckProperties, Disconnect, Publish, PublishProperties,
    RetainHandling, SubAck, Subscribe, Subscription, SubscriptionOptions, Subscriptions, TopicName,
    UnsubAck,
};

use super::*;
use crate::client::property::{Properties, PropertySet};

/// A session, and the Server's end of its connection.
struct Pair {
    session: Session,
    version: ProtocolVersion,
    now: Instant,
}

impl Pair {
    fn new(options: ConnectOptions) -> Self {
        let version = options.version;
        let mut session = Session::new(options);
        let now = Instant::now();
        session.connect(now);
        Self { session, version, now }
    }

    /// A session that the Server accepted with these limits.
    fn accepted(options: ConnectOptions, properties: ConnAckProperties<'_>) -> Self {
        let mut pair = Self::new(options);
        pair.sent();
        pair.receive(&connack(false, properties));
        assert_eq!(pair.events(), [Event::Connected { session_present: false }]);
        pair
    }

    fn connected() -> Self {
        Self::accepted(ConnectOptions::default(), ConnAckProperties::default())
    }

    /// What the Server receives, one line for each packet.
    fn sent(&mut self) -> Vec<String> {
        let mut bytes = self.session.outbound();
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            match decode(bytes, self.version, PACKET_SIZE_MAX).unwrap() {
                Decoded::Packet { packet, length } => {
                    lines.push(describe::describe(&packet));
                    bytes = &bytes[length..];
                }
                Decoded::Incomplete { .. } => panic!("only whole packets are queued"),
            }
        }
        self.session.handle_sent(self.session.outbound().len());
        lines
    }

    fn receive(&mut self, packet: &Packet<'_>) {
        self.session.handle_bytes(&self.encoded(packet));
    }

    fn encoded(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        bytes
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.session.poll_event(self.now).unwrap() {
            events.push(event);
        }
        events
    }

    fn fault(&mut self) -> String {
        loop {
            match self.session.poll_event(self.now) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("there is no fault"),
                Err(Fault::Protocol(text) | Fault::Silence(text)) => return text,
            }
        }
    }

    fn publish(&mut self, qos: QoS) {
        self.session.publish(&publication(qos), self.now).unwrap();
    }
}

fn publication(qos: QoS) -> Publication {
    Publication {
        topic: "t".into(),
        payload: Rc::from(&b"x"[..]),
        qos,
        retain: false,
        properties: Rc::default(),
    }
}

fn id(packet_id: u16) -> PacketIdentifier {
    PacketIdentifier::new(packet_id).unwrap()
}

fn connack(session_present: bool, properties: ConnAckProperties<'_>) -> Packet<'_> {
    let reason_code = ReasonCode::Success;
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
}

fn publish(qos: QoS, packet_id: u16, topic: &str) -> Publish<'_> {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: if topic.is_empty() { TopicName::empty() } else { TopicName::new(topic).unwrap() },
        packet_id: PacketIdentifier::new(packet_id),
        properties: PublishProperties::default(),
        payload: b"x",
    }
}

fn content(packet_id: u16, reason_code: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement {
        packet_id: id(packet_id),
        reason_code,
        reason_string: None,
        user_properties: Default::default(),
    }
}

fn options(words: &str) -> ConnectOptions {
    let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
    let properties = Properties::parse(&words).unwrap().connect;
    ConnectOptions { properties, ..ConnectOptions::default() }
}

fn topics(events: &[Event]) -> Vec<&str> {
    let mut topics = Vec::new();
    for event in events {
        let Event::Message(message) = event else { panic!("{event:?} is not a message") };
        topics.push(message.topic.as_str());
    }
    topics
}

#[test]
fn connects_and_takes_the_identifier_that_the_server_assigns() {
    let mut pair = Pair::new(ConnectOptions::default());
    assert_eq!(pair.sent(), ["CONNECT (MQTT 5.0, c1, k60, '')"]);
    pair.receive(&connack(
        false,
        ConnAckProperties { assigned_client_identifier: Some("given"), ..Default::default() },
    ));
    assert_eq!(pair.events(), [Event::Connected { session_present: false }]);
    pair.session.connect(pair.now);
    assert_eq!(pair.sent(), ["CONNECT (MQTT 5.0, c1, k60, 'given')"]);
}

#[test]
fn resumes_a_session_that_was_asked_to_outlive_its_connection() {
    let mut pair =
        Pair::accepted(options("connect session-expiry-interval 60"), ConnAckProperties::default());
    pair.session.connect(pair.now);
    assert_eq!(pair.sent(), ["CONNECT (MQTT 5.0, c0, k60, '')"]);
}

#[test]
fn reports_a_refusal_with_its_reason() {
    let mut pair = Pair::new(ConnectOptions::default());
    pair.receive(&Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason_code: ReasonCode::NotAuthorized,
        properties: ConnAckProperties { reason_string: Some("no"), ..Default::default() },
    })));
    let expected = Answer {
        reason_code: ReasonCode::NotAuthorized,
        reason_string: Some("no".to_owned()),
        server_reference: None,
    };
    assert_eq!(pair.events(), [Event::Refused(expected)]);
}

#[test]
fn publishes_with_qos_1_until_it_is_acknowledged() {
    let mut pair = Pair::connected();
    pair.publish(QoS::AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBLISH (d0, q1, r0, m1, 't', ... (1 bytes))"]);
    assert!(!pair.session.is_settled());
    pair.receive(&Packet::PubAck(content(1, ReasonCode::NoMatchingSubscribers)));
    let events = pair.events();
    assert!(
        matches!(&events[..], [Event::Published { topic, answer }]
            if topic == "t" && answer.reason_code == ReasonCode::NoMatchingSubscribers),
        "{events:?}"
    );
    assert!(pair.session.is_settled());
}

#[test]
fn publishes_with_qos_2_in_two_steps() {
    let mut pair = Pair::connected();
    pair.publish(QoS::ExactlyOnce);
    assert_eq!(pair.sent().len(), 1);
    // A PUBACK or PUBCOMP out of turn changes nothing.
    pair.receive(&Packet::PubAck(content(1, ReasonCode::Success)));
    pair.receive(&Packet::PubComp(content(1, ReasonCode::Success)));
    pair.receive(&Packet::PubRec(content(1, ReasonCode::Success)));
    assert_eq!(pair.events(), []);
    assert_eq!(pair.sent(), ["PUBREL (m1, 0x00)"]);
    pair.receive(&Packet::PubComp(content(1, ReasonCode::Success)));
    assert!(matches!(&pair.events()[..], [Event::Published { .. }]));
    assert!(pair.session.is_settled());
}

#[test]
fn ends_a_qos_2_message_that_the_server_refuses() {
    let mut pair = Pair::connected();
    pair.publish(QoS::ExactlyOnce);
    pair.sent();
    pair.receive(&Packet::PubRec(content(1, ReasonCode::QuotaExceeded)));
    assert!(matches!(&pair.events()[..], [Event::Published { .. }]));
    assert!(pair.sent().is_empty() && pair.session.is_settled());
}

#[test]
fn keeps_to_the_receive_maximum_of_the_server() {
    let receive_maximum = NonZeroU16::new(2);
    let limits = ConnAckProperties { receive_maximum, ..Default::default() };
    let mut pair = Pair::accepted(ConnectOptions::default(), limits);
    assert_eq!(pair.session.send_quota(), 2);
    pair.publish(QoS::AtLeastOnce);
    pair.publish(QoS::ExactlyOnce);
    assert_eq!(pair.session.send_quota(), 0);
    pair.receive(&Packet::PubAck(content(1, ReasonCode::Success)));
    pair.receive(&Packet::PubRec(content(2, ReasonCode::Success)));
    pair.events();
    assert_eq!(pair.session.send_quota(), 1);
}

#[test]
fn refuses_to_send_what_the_server_does_not_take() {
    let limits = ConnAckProperties {
        maximum_qos: Some(QoS::AtMostOnce),
        retain_available: Some(false),
        maximum_packet_size: NonZeroU32::new(20),
        ..Default::default()
    };
    let mut pair = Pair::accepted(ConnectOptions::default(), limits);
    let now = pair.now;
    let mut refused = |publication: Publication| {
        let error = pair.session.publish(&publication, now).unwrap_err();
        assert!(pair.session.outbound().is_empty());
        error
    };
    assert!(refused(publication(QoS::AtLeastOnce)).contains("-q 0"));
    let plain = publication(QoS::AtMostOnce);
    assert!(refused(Publication { retain: true, ..plain.clone() }).contains("leave out -r"));
    let large = Rc::from(&[0; 20][..]);
    assert!(refused(Publication { payload: large, ..plain.clone() }).contains("at most 20"));
    let words = ["publish", "topic-alias", "1"].map(str::to_owned);
    let properties = Rc::new(Properties::parse(&words).unwrap().publish);
    assert!(refused(Publication { properties, ..plain }).contains("topic alias 1"));
}

#[test]
fn acknowledges_what_it_delivers_and_delivers_qos_2_once() {
    let mut pair = Pair::connected();
    pair.receive(&Packet::Publish(publish(QoS::AtMostOnce, 0, "a")));
    pair.receive(&Packet::Publish(publish(QoS::AtLeastOnce, 1, "b")));
    pair.receive(&Packet::Publish(publish(QoS::ExactlyOnce, 2, "c")));
    pair.receive(&Packet::Publish(Publish { dup: true, ..publish(QoS::ExactlyOnce, 2, "c") }));
    assert_eq!(topics(&pair.events()), ["a", "b", "c"]);
    assert_eq!(pair.sent(), ["PUBACK (m1, 0x00)", "PUBREC (m2, 0x00)", "PUBREC (m2, 0x00)"]);
    assert!(!pair.session.is_settled());
    pair.receive(&Packet::PubRel(content(2, ReasonCode::Success)));
    pair.receive(&Packet::PubRel(content(2, ReasonCode::Success)));
    assert_eq!(pair.events(), []);
    assert_eq!(pair.sent(), ["PUBCOMP (m2, 0x00)", "PUBCOMP (m2, 0x92)"]);
    assert!(pair.session.is_settled());
}

#[test]
fn does_not_acknowledge_what_was_not_taken() {
    let mut pair = Pair::connected();
    pair.receive(&Packet::Publish(publish(QoS::AtLeastOnce, 1, "a")));
    pair.receive(&Packet::Publish(publish(QoS::AtLeastOnce, 2, "b")));
    assert!(pair.session.poll_event(pair.now).unwrap().is_some());
    assert_eq!(pair.sent(), ["PUBACK (m1, 0x00)"]);
    pair.session.stop_messages();
    assert_eq!(pair.events(), []);
    assert!(pair.sent().is_empty());
}

#[test]
fn gives_back_acknowledgements_that_were_not_sent() {
    let mut pair = Pair::connected();
    pair.receive(&Packet::Publish(publish(QoS::AtLeastOnce, 1, "a")));
    pair.events();
    pair.session.discard_outbound();
    pair.session.disconnect(&PropertySet::default(), pair.now);
    assert_eq!(pair.sent(), ["DISCONNECT (0x00)"]);
}

#[test]
fn finds_the_same_packets_however_the_bytes_are_split() {
    let mut pair = Pair::connected();
    let mut bytes = Vec::new();
    for number in 1..=20 {
        bytes.extend(pair.encoded(&Packet::Publish(publish(QoS::ExactlyOnce, number, "a/b"))));
    }
    for byte in bytes {
        pair.session.handle_bytes(&[byte]);
        if byte % 3 == 0 {
            assert!(pair.session.poll_event(pair.now).is_ok());
        }
    }
    pair.events();
    assert_eq!(pair.sent().len(), 20);
}

#[test]
fn resolves_topic_aliases() {
    let mut pair =
        Pair::accepted(options("connect topic-alias-maximum 2"), ConnAckProperties::default());
    let aliased = |topic, alias| {
        let properties =
            PublishProperties { topic_alias: NonZeroU16::new(alias), ..Default::default() };
        Packet::Publish(Publish { properties, ..publish(QoS::AtMostOnce, 0, topic) })
    };
    for packet in [aliased("a", 1), aliased("b", 2), aliased("", 1), aliased("c", 1)] {
        pair.receive(&packet);
    }
    pair.receive(&aliased("", 1));
    assert_eq!(topics(&pair.events()), ["a", "b", "a", "c", "c"]);
    pair.receive(&aliased("d", 3));
    assert!(pair.fault().contains("topic alias 3, above the maximum of 2"));
    assert_eq!(pair.sent(), ["DISCONNECT (0x94)"]);
}

#[test]
fn refuses_a_topic_alias_before_its_topic_name() {
    let mut pair =
        Pair::accepted(options("connect topic-alias-maximum 2"), ConnAckProperties::default());
    let properties = PublishProperties { topic_alias: NonZeroU16::new(1), ..Default::default() };
    let packet = Publish { properties, ..publish(QoS::AtMostOnce, 0, "") };
    pair.receive(&Packet::Publish(packet));
    assert!(pair.fault().contains("before its Topic Name"));
}

#[test]
fn pings_when_nothing_was_sent_and_notices_silence() {
    let limits = ConnAckProperties { server_keep_alive: Some(10), ..Default::default() };
    let mut pair = Pair::accepted(ConnectOptions::default(), limits);
    let second = Duration::from_secs(1);
    let start = pair.now;
    assert_eq!(pair.session.poll_timeout(), Some(start + 10 * second));
    pair.session.handle_timeout(start + 9 * second).unwrap();
    assert!(pair.sent().is_empty());
    pair.session.handle_timeout(start + 10 * second).unwrap();
    assert_eq!(pair.sent(), ["PINGREQ"]);
    pair.receive(&Packet::PingResp);
    pair.events();
    assert_eq!(pair.session.poll_timeout(), Some(start + 20 * second));
    pair.session.handle_timeout(start + 20 * second).unwrap();
    let fault = pair.session.handle_timeout(start + 30 * second).unwrap_err();
    assert_eq!(fault, Fault::Silence("did not answer PINGREQ within 10 s".to_owned()));
}

#[test]
fn never_pings_without_a_keep_alive() {
    let options = ConnectOptions { keep_alive_seconds: 0, ..ConnectOptions::default() };
    let pair = Pair::accepted(options, ConnAckProperties::default());
    assert_eq!(pair.session.poll_timeout(), None);
}

#[test]
fn waits_for_a_connack_only_so_long() {
    let mut pair = Pair::new(ConnectOptions::default());
    pair.session.handle_timeout(pair.now + CONNACK_TIMEOUT / 2).unwrap();
    let fault = pair.session.handle_timeout(pair.now + CONNACK_TIMEOUT).unwrap_err();
    assert_eq!(fault, Fault::Silence("did not answer CONNECT within 10 s".to_owned()));
}

#[test]
fn reports_a_suback_filter_by_filter() {
    let mut pair = Pair::connected();
    let filters = ["a".to_owned(), "b/#".to_owned()];
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
    pair.session.subscribe(&filters, options, &PropertySet::default(), pair.now);
    assert_eq!(pair.sent(), ["SUBSCRIBE (m1, 'a' q2, 'b/#' q2)"]);
    let reason_codes = [ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized];
    pair.receive(&suback(1, &reason_codes));
    let [first, second] = filters;
    assert_eq!(
        pair.events(),
        [Event::Subscribed {
            results: vec![(first, reason_codes[0]), (second, reason_codes[1])],
            reason_string: None
        }]
    );
    pair.receive(&suback(1, &reason_codes));
    assert!(pair.fault().contains("a SUBACK that nothing asked for"));
}

#[test]
fn refuses_a_suback_with_too_few_reason_codes() {
    let mut pair = Pair::connected();
    let filters = ["a".to_owned(), "b".to_owned()];
    pair.session.subscribe(&filters, Default::default(), &PropertySet::default(), pair.now);
    pair.receive(&suback(1, &[ReasonCode::Success]));
    assert!(pair.fault().contains("1 Reason Codes for 2 Topic Filters"));
}

fn suback(packet_id: u16, reason_codes: &[ReasonCode]) -> Packet<'_> {
    Packet::SubAck(SubAck {
        packet_id: id(packet_id),
        reason_string: None,
        user_properties: Default::default(),
        reason_codes: reason_codes.into(),
    })
}

#[test]
fn reports_an_unsuback_without_reason_codes_as_success() {
    let version = ProtocolVersion::V3_1_1;
    let options = ConnectOptions { version, ..ConnectOptions::default() };
    let mut pair = Pair::accepted(options, ConnAckProperties::default());
    let filters = ["a".to_owned()];
    pair.session.unsubscribe(&filters, &PropertySet::default(), pair.now);
    assert_eq!(pair.sent(), ["UNSUBSCRIBE (m1, 'a')"]);
    pair.receive(&Packet::UnsubAck(UnsubAck {
        packet_id: id(1),
        reason_string: None,
        user_properties: Default::default(),
        reason_codes: [].as_slice().into(),
    }));
    let results = vec![("a".to_owned(), ReasonCode::Success)];
    assert_eq!(pair.events(), [Event::Unsubscribed { results, reason_string: None }]);
}

#[test]
fn sends_again_what_a_lost_connection_left_unacknowledged() {
    let mut pair = Pair::connected();
    pair.publish(QoS::AtLeastOnce);
    pair.publish(QoS::ExactlyOnce);
    pair.receive(&Packet::PubRec(content(2, ReasonCode::Success)));
    pair.events();
    pair.session.connect(pair.now);
    assert_eq!(pair.sent().len(), 1);
    pair.receive(&connack(true, ConnAckProperties::default()));
    pair.events();
    assert_eq!(pair.sent(), ["PUBLISH (d1, q1, r0, m1, 't', ... (1 bytes))", "PUBREL (m2, 0x00)"]);
}

#[test]
fn starts_afresh_when_the_server_forgot_the_session() {
    let mut pair = Pair::connected();
    pair.publish(QoS::AtLeastOnce);
    pair.publish(QoS::ExactlyOnce);
    pair.receive(&Packet::PubRec(content(2, ReasonCode::Success)));
    pair.receive(&Packet::Publish(publish(QoS::ExactlyOnce, 9, "a")));
    pair.events();
    pair.session.connect(pair.now);
    pair.sent();
    pair.receive(&connack(false, ConnAckProperties::default()));
    assert!(matches!(&pair.events()[..], [Event::Connected { .. }, Event::Published { .. }]));
    assert_eq!(pair.sent(), ["PUBLISH (d0, q1, r0, m1, 't', ... (1 bytes))"]);
    pair.receive(&Packet::Publish(publish(QoS::ExactlyOnce, 9, "a")));
    assert_eq!(topics(&pair.events()), ["a"]);
}

#[test]
fn faults_on_packets_out_of_place() {
    let mut pair = Pair::new(ConnectOptions::default());
    pair.receive(&Packet::PingResp);
    assert!(pair.fault().contains("before the CONNACK"));

    let mut pair = Pair::connected();
    pair.receive(&Packet::PingReq);
    assert!(pair.fault().contains("only a client may send"));
    assert_eq!(pair.sent(), ["DISCONNECT (0x82)"]);

    let mut pair = Pair::connected();
    pair.receive(&connack(false, ConnAckProperties::default()));
    assert!(pair.fault().contains("only a client may send"));

    let mut pair = Pair::connected();
    let options = SubscriptionOptions {
        retain_handling: RetainHandling::DoNotSend,
        ..SubscriptionOptions::default()
    };
    pair.receive(&Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_identifier: None,
        user_properties: Default::default(),
        subscriptions: Subscriptions::from(&[Subscription { filter: "a", options }][..]),
    }));
    assert!(pair.fault().contains("only a client may send"));
}

#[test]
fn faults_on_bytes_that_are_not_mqtt() {
    let mut pair = Pair::new(ConnectOptions::default());
    pair.session.handle_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(pair.fault().contains("not MQTT"));

    let mut pair = Pair::connected();
    pair.session.handle_bytes(&[0x36, 3, 0, 1, b'a']);
    assert!(pair.fault().contains("not MQTT"));
    assert_eq!(pair.sent(), ["DISCONNECT (0x81)"]);
}

#[test]
fn reports_the_disconnect_of_the_server() {
    let mut pair = Pair::connected();
    pair.receive(&Packet::Disconnect(Disconnect {
        reason_code: ReasonCode::ServerMoved,
        session_expiry_interval: None,
        reason_string: None,
        user_properties: Default::default(),
        server_reference: Some("other:1883"),
    }));
    let events = pair.events();
    assert!(
        matches!(&events[..], [Event::Disconnected(answer)]
            if answer.server_reference.as_deref() == Some("other:1883")),
        "{events:?}"
    );
    // There is nobody left to say goodbye to.
    pair.session.disconnect(&PropertySet::default(), pair.now);
    assert!(pair.sent().is_empty());
}

#[test]
fn shows_packets_in_their_order_when_asked_to() {
    let options = ConnectOptions { trace: true, ..ConnectOptions::default() };
    let mut pair = Pair::new(options);
    pair.receive(&connack(false, ConnAckProperties::default()));
    let events = pair.events();
    assert_eq!(
        events[..2],
        [
            Event::Trace("sending CONNECT (MQTT 5.0, c1, k60, '')".to_owned()),
            Event::Trace("received CONNACK (s0, 0x00)".to_owned())
        ]
    );
}
