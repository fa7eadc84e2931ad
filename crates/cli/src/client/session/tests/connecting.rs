//! Connections that begin, live and end.

use super::*;

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
    // This is no error during recovery: the first PUBREL had arrived.
    pair.receive(&Packet::PubComp(content(2, ReasonCode::PacketIdentifierNotFound)));
    let events = pair.events();
    assert!(
        matches!(&events[..], [Event::Published { answer, .. }]
            if answer.reason_code == ReasonCode::Success),
        "{events:?}"
    );
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
fn sends_again_no_more_at_once_than_the_new_connection_takes() {
    let mut pair = Pair::connected();
    (0..3).for_each(|_| pair.publish(QoS::AtLeastOnce));
    pair.session.connect(pair.now);
    pair.sent();
    let receive_maximum = NonZeroU16::new(1);
    pair.receive(&connack(true, ConnAckProperties { receive_maximum, ..Default::default() }));
    pair.events();
    for packet_id in 1..=3 {
        let again = format!("PUBLISH (d1, q1, r0, m{packet_id}, 't', ... (1 bytes))");
        assert_eq!(pair.sent(), [again]);
        pair.receive(&Packet::PubAck(content(packet_id, ReasonCode::Success)));
        assert!(matches!(&pair.events()[..], [Event::Published { .. }]));
    }
    assert!(pair.session.is_settled() && pair.sent().is_empty());
}

#[test]
fn tells_of_messages_that_the_new_connection_does_not_take() {
    let mut pair = Pair::connected();
    pair.publish(QoS::ExactlyOnce);
    pair.publish(QoS::AtLeastOnce);
    pair.session.connect(pair.now);
    pair.sent();
    let maximum_qos = Some(QoS::AtLeastOnce);
    pair.receive(&connack(false, ConnAckProperties { maximum_qos, ..Default::default() }));
    let events = pair.events();
    assert!(
        matches!(&events[..], [Event::Connected { .. }, Event::Published { answer, .. }]
            if answer.reason_code == ReasonCode::QoSNotSupported),
        "{events:?}"
    );
    assert_eq!(pair.sent(), ["PUBLISH (d0, q1, r0, m2, 't', ... (1 bytes))"]);
}

#[test]
fn keeps_qos_0_messages_that_a_lost_connection_has_not_taken() {
    let mut pair = Pair::connected();
    pair.publish(QoS::AtMostOnce);
    let length = pair.session.outbound(CONTROL).len();
    pair.publish(QoS::AtMostOnce);
    // The first message has left, and a part of the second.
    pair.session.handle_sent(CONTROL, length + 1);
    pair.session.connect(pair.now);
    assert_eq!(pair.sent().len(), 1);
    pair.receive(&connack(false, ConnAckProperties::default()));
    assert!(!pair.session.is_settled());
    pair.events();
    assert_eq!(pair.sent(), ["PUBLISH (d0, q0, r0, m0, 't', ... (1 bytes))"]);
    assert!(pair.session.is_settled());
}

#[test]
fn topic_aliases_end_with_their_connection() {
    let words: Vec<_> = "publish topic-alias 7".split(' ').map(str::to_owned).collect();
    let properties = Rc::new(Properties::parse(&words).unwrap().publish);
    let publication = Publication { properties, ..publication(QoS::AtLeastOnce) };
    let limits = |topic_alias_maximum| {
        let topic_alias_maximum = Some(topic_alias_maximum);
        ConnAckProperties { topic_alias_maximum, ..Default::default() }
    };
    let mut pair = Pair::accepted(ConnectOptions::default(), limits(7));
    let (named, by_alias) = ("m1, 't', ... (1 bytes))", "m2, '', ... (1 bytes))");
    (0..2).for_each(|_| pair.session.publish(&publication, pair.now).unwrap());
    assert_eq!(
        pair.sent(),
        [format!("PUBLISH (d0, q1, r0, {named}"), format!("PUBLISH (d0, q1, r0, {by_alias}")]
    );
    for (maximum, second) in [(7, by_alias), (0, "m2, 't', ... (1 bytes))")] {
        pair.session.connect(pair.now);
        pair.sent();
        pair.receive(&connack(true, limits(maximum)));
        pair.events();
        let again = [named, second].map(|rest| format!("PUBLISH (d1, q1, r0, {rest}"));
        assert_eq!(pair.sent(), again);
    }
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
    pair.session.handle_bytes(CONTROL, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(pair.fault().contains("not MQTT"));

    let mut pair = Pair::connected();
    pair.session.handle_bytes(CONTROL, &[0x36, 3, 0, 1, b'a']);
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
