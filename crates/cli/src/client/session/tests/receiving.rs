//! Messages from the Server.

use super::*;

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
        pair.session.handle_bytes(CONTROL, &[byte]);
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
