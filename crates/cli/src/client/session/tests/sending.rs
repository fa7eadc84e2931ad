//! What a session sends, and the answers to it.

use super::*;

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
        assert!(pair.session.outbound(CONTROL).is_empty());
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
    assert!(pair.fault().contains("1 Reason Code for 2 Topic Filters"));
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
