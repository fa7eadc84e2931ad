//! The longest and the most of everything: nothing recurses, overflows, or is written in part.

use std::num::NonZeroU32;

use midge_codec::{
    Decoded, EncodeError, Packet, PacketIdentifier, ProtocolVersion, Publish, PublishProperties,
    QoS, Rule, Subscribe, Subscription, SubscriptionOptions, TopicFilter, TopicName,
    UserProperties, UserPropertiesBuf, decode,
};

use crate::packet_table::ALL;

const V5: ProtocolVersion = ProtocolVersion::V5;

fn publish<'a>(topic: &'a str, payload: &'a [u8]) -> Publish<'a> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: TopicName::new(topic).expect("it is a Topic Name"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload,
    }
}

fn assert_round_trip(packet: &Packet<'_>, version: ProtocolVersion) {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).expect("the packet is not too long");
    assert_eq!(bytes.len(), packet.encoded_len(version));
    let expected = Decoded::Packet { packet: packet.clone(), length: bytes.len() };
    assert_eq!(decode(&bytes, version, u32::MAX), Ok(expected));
}

/// CVE-2019-11779: a topic of slashes overflowed the stack.
#[test]
fn s07_a_topic_of_65535_slashes_is_a_topic() {
    let slashes = "/".repeat(65_535);
    let name = TopicName::new(&slashes).expect("slashes are a Topic Name");
    assert_eq!(name.levels().count(), 65_536);
    let entries = [Subscription { filter: &slashes, options: SubscriptionOptions::default() }];
    for &version in ALL {
        assert_round_trip(&Packet::Publish(publish(&slashes, b"")), version);
        let subscribe = Subscribe {
            packet_id: PacketIdentifier::new(1).expect("1 is not 0"),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions: entries.as_slice().into(),
        };
        assert_round_trip(&Packet::Subscribe(subscribe), version);
    }
    let pluses = "+/".repeat(32_767) + "#";
    for (filter, expected) in [("#", true), (&slashes, true), (&pluses, true), ("/+", false)] {
        let filter = TopicFilter::parse(filter).expect("it is a Topic Filter");
        assert_eq!(filter.matches(name), expected);
    }
}

#[test]
fn a_topic_or_filter_of_65536_bytes_is_refused() {
    let longest = "a".repeat(65_535);
    let too_long = "a".repeat(65_536);
    assert!(TopicName::new(&longest).is_ok() && TopicFilter::parse(&longest).is_ok());
    assert_eq!(TopicName::new(&too_long), Err(Rule::Truncated));
    assert_eq!(TopicFilter::parse(&too_long), Err(Rule::Truncated));
}

#[test]
fn a_remaining_length_grows_by_a_byte_where_the_specification_says() {
    for (remaining, header) in
        [(127, 2), (128, 3), (16_383, 3), (16_384, 4), (2_097_151, 4), (2_097_152, 5)]
    {
        let payload = vec![0; remaining - 3];
        let packet = Packet::Publish(publish("a", &payload));
        assert_eq!(packet.encoded_len(ProtocolVersion::V3_1_1), header + remaining);
        assert_round_trip(&packet, ProtocolVersion::V3_1_1);
    }
}

#[test]
fn a_packet_of_exactly_the_limit_is_taken_and_one_byte_more_is_refused_at_its_header() {
    let bytes = b"\x30\x07\0\x03a/bhi";
    let version = ProtocolVersion::V3_1_1;
    assert!(matches!(decode(bytes, version, 9), Ok(Decoded::Packet { length: 9, .. })));
    for cut in 2..=bytes.len() {
        let error = decode(&bytes[..cut], version, 8).expect_err("it is too large");
        assert_eq!(error.rule, Rule::PacketTooLarge);
    }
}

#[test]
fn what_no_length_can_say_is_not_encoded_and_the_buffer_stays() {
    let too_long = "x".repeat(65_536);
    let field = |properties| Packet::Publish(Publish { properties, ..publish("a", b"") });
    let text = PublishProperties { content_type: Some(&too_long), ..Default::default() };
    let data =
        PublishProperties { correlation_data: Some(too_long.as_bytes()), ..Default::default() };
    let huge = vec![0; 268_435_456];
    let packet = Packet::Publish(publish("a", &huge));
    for (packet, expected) in [
        (field(text), EncodeError::FieldTooLong),
        (field(data), EncodeError::FieldTooLong),
        (packet, EncodeError::PacketTooLong),
    ] {
        let mut bytes = b"before".to_vec();
        assert_eq!(packet.encode(V5, &mut bytes), Err(expected));
        assert_eq!(bytes, b"before");
    }
}

/// A Variable Byte Integer has four bytes at most, and a Subscription Identifier is one.
#[test]
fn a_subscription_identifier_above_its_maximum_is_not_encoded() {
    let entries = [Subscription { filter: "a", options: SubscriptionOptions::default() }];
    for (number, expected) in [(268_435_455, Ok(())), (268_435_456, Err(EncodeError::FieldTooLong))]
    {
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketIdentifier::new(1).expect("1 is not 0"),
            subscription_identifier: NonZeroU32::new(number),
            user_properties: UserProperties::default(),
            subscriptions: entries.as_slice().into(),
        });
        assert_eq!(packet.encode(V5, &mut Vec::new()), expected);
    }
}

/// CVE-2021-41039: many User Properties burned the broker's time.
#[test]
fn s07_many_user_properties_stay_in_order() {
    let names: Vec<_> = (0..50_000).map(|number| number.to_string()).collect();
    let list: UserPropertiesBuf = names.iter().map(|name| (name.as_str(), "")).collect();
    let properties = PublishProperties { user_properties: list.view(), ..Default::default() };
    let packet = Packet::Publish(Publish { properties, ..publish("a", b"") });
    assert_round_trip(&packet, V5);
    assert!(list.view().iter().map(|(name, _)| name).eq(names.iter().map(String::as_str)));
    assert_eq!(list.view().len(), names.len());
}
