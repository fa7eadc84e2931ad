//! Rows of PUBLISH, and those of the fixed header, for which a PUBLISH is the plainest carrier.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{Packet, Publish, PublishProperties, QoS, Rule};
use midge_codec::{SubscriptionIdentifiers, SubscriptionIdentifiersBuf, TopicName};

use super::{ALL, Row, SINCE_3_1_1, V3, V5, broken, packet_id, topic, user_properties, valid};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = valid_rows();
    rows.extend(valid_properties());
    rows.extend(broken_header());
    rows.extend(broken_rows());
    rows.extend(broken_properties());
    rows
}

/// A PUBLISH of "hi" to "a/b" at QoS 0.
fn publish() -> Publish<'static> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic("a/b"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: b"hi",
    }
}

fn with(properties: PublishProperties<'static>) -> Packet<'static> {
    Packet::Publish(Publish { properties, ..publish() })
}

fn valid_rows() -> Vec<Row> {
    let qos_1 = Publish { qos: QoS::AtLeastOnce, packet_id: Some(packet_id(0x0102)), ..publish() };
    let qos_2 = Publish {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        packet_id: Some(packet_id(0xFFFF)),
        ..publish()
    };
    let retained = Publish { retain: true, payload: b"", ..publish() };
    let odd_name = Publish { topic: topic("/$\u{10FFFF}/ //"), payload: b"", ..publish() };
    vec![
        valid("QoS 0", V3, b"\x30\x07\0\x03a/bhi", Packet::Publish(publish())),
        valid("QoS 0", V5, b"\x30\x08\0\x03a/b\0hi", Packet::Publish(publish())),
        valid("QoS 1", V3, b"\x32\x09\0\x03a/b\x01\x02hi", Packet::Publish(qos_1.clone())),
        valid("QoS 1", V5, b"\x32\x0A\0\x03a/b\x01\x02\0hi", Packet::Publish(qos_1)),
        valid("QoS 2", V3, b"\x3D\x09\0\x03a/b\xFF\xFFhi", Packet::Publish(qos_2.clone())),
        valid("QoS 2", V5, b"\x3D\x0A\0\x03a/b\xFF\xFF\0hi", Packet::Publish(qos_2)),
        valid("empty payload", V3, b"\x31\x05\0\x03a/b", Packet::Publish(retained.clone())),
        valid("empty payload", V5, b"\x31\x06\0\x03a/b\0", Packet::Publish(retained)),
        valid(
            "empty levels and the last code point",
            V3,
            b"\x30\x0C\0\x0A/$\xF4\x8F\xBF\xBF/ //",
            Packet::Publish(odd_name),
        ),
        valid(
            "Remaining Length of two bytes",
            V3,
            [b"\x30\x83\x01\0\x03a/b".as_slice(), &[b'.'; 126]].concat().leak(),
            Packet::Publish(Publish { payload: &[b'.'; 126], ..publish() }),
        ),
    ]
}

fn identifiers(numbers: &[u32]) -> SubscriptionIdentifiers<'static> {
    let numbers = numbers.iter().filter_map(|&number| NonZeroU32::new(number));
    let list: &'static SubscriptionIdentifiersBuf = Box::leak(Box::new(numbers.collect()));
    list.view()
}

fn valid_properties() -> Vec<Row> {
    let all = PublishProperties {
        payload_format_indicator: Some(false),
        message_expiry_interval_seconds: Some(60),
        topic_alias: NonZeroU16::new(7),
        response_topic: Some(topic("r/s")),
        correlation_data: Some(b"\x00\xFF"),
        content_type: Some("text"),
        subscription_identifiers: identifiers(&[1, 128, 268_435_455]),
        user_properties: user_properties(&[("k", "v"), ("", ""), ("k", "w")]),
    };
    let alias = PublishProperties { topic_alias: NonZeroU16::new(65_535), ..Default::default() };
    let utf8 = PublishProperties { payload_format_indicator: Some(true), ..Default::default() };
    let aliased =
        Publish { topic: TopicName::empty(), properties: alias, payload: b"hi", ..publish() };
    vec![
        valid(
            "all properties",
            V5,
            b"\x30\x41\0\x03a/b\x39\x02\0\0\0\x3C\x23\0\x07\x0B\x01\x0B\x80\x01\
              \x0B\xFF\xFF\xFF\x7F\x01\0\x08\0\x03r/s\x09\0\x02\x00\xFF\x03\0\x04text\
              \x26\0\x01k\0\x01v\x26\0\0\0\0\x26\0\x01k\0\x01whi",
            with(all),
        ),
        valid("topic alias alone", V5, b"\x30\x08\0\0\x03\x23\xFF\xFFhi", Packet::Publish(aliased)),
        valid("UTF-8 payload", V5, b"\x30\x0A\0\x03a/b\x02\x01\x01hi", with(utf8)),
    ]
}

fn broken_header() -> Vec<Row> {
    vec![
        broken("packet type 0", ALL, b"\0\0", Rule::ReservedPacketType),
        broken("Remaining Length without end", ALL, b"\x30\xFF\xFF\xFF\xFF", Rule::MalformedLength),
        broken(
            "Remaining Length of too many bytes",
            ALL,
            b"\x30\x87\0\0\x03a/bhi",
            Rule::NonMinimalLength,
        ),
        broken("larger than accepted", ALL, b"\x30\x8E\x03", Rule::PacketTooLarge),
        broken("largest there is", ALL, b"\x30\xFF\xFF\xFF\x7F", Rule::PacketTooLarge),
    ]
}

fn broken_rows() -> Vec<Row> {
    let (truncated, wildcard) = (Rule::Truncated, Rule::TopicWildcard);
    vec![
        broken("QoS 3", ALL, b"\x36\x09\0\x03a/b\0\x01hi", Rule::QoS3),
        broken("DUP at QoS 0", SINCE_3_1_1, b"\x38\x07\0\x03a/bhi", Rule::DupWithQoS0),
        broken("empty PUBLISH", ALL, b"\x30\0", truncated),
        broken("end in the length of the topic", ALL, b"\x30\x01\0", truncated),
        broken("end in the topic", ALL, b"\x30\x04\0\x03a/", truncated),
        broken("end in the Packet Identifier", ALL, b"\x32\x06\0\x03a/b\0", truncated),
        broken("no Property Length", V5, b"\x30\x05\0\x03a/b", truncated),
        broken("empty topic", V3, b"\x30\x04\0\0hi", Rule::EmptyTopic),
        broken("empty topic without alias", V5, b"\x30\x05\0\0\0hi", Rule::EmptyTopic),
        broken("'#' in the topic", ALL, b"\x30\x06\0\x03a/#\0", wildcard),
        broken("'+' in the topic", ALL, b"\x30\x06\0\x03a+b\0", wildcard),
        broken("U+0000 in the topic", ALL, b"\x30\x06\0\x03a\0+\0", Rule::NullCharacter),
        broken("topic that is no UTF-8", ALL, b"\x30\x06\0\x03a/\xC3\0", Rule::IllFormedUtf8),
        broken("Packet Identifier 0", ALL, b"\x34\x08\0\x03a/b\0\0\0", Rule::PacketIdentifierZero),
    ]
}

fn broken_properties() -> Vec<Row> {
    let (value, utf8, null) = (Rule::PropertyValue, Rule::IllFormedUtf8, Rule::NullCharacter);
    vec![
        broken("Topic Alias 0", V5, b"\x30\x09\0\x03a/b\x03\x23\0\0", Rule::TopicAliasZero),
        broken("Subscription Identifier 0", V5, b"\x30\x08\0\x03a/b\x02\x0B\0", value),
        broken("Payload Format Indicator 2", V5, b"\x30\x08\0\x03a/b\x02\x01\x02", value),
        broken(
            "wildcard in the Response Topic",
            V5,
            b"\x30\x0A\0\x03a/b\x04\x08\0\x01#",
            Rule::ResponseTopic,
        ),
        broken("empty Response Topic", V5, b"\x30\x09\0\x03a/b\x03\x08\0\0", Rule::ResponseTopic),
        broken("Response Topic that is no UTF-8", V5, b"\x30\x0A\0\x03a/b\x04\x08\0\x01\xFF", utf8),
        broken("U+0000 in the Response Topic", V5, b"\x30\x0A\0\x03a/b\x04\x08\0\x01\0", null),
        broken("U+0000 in a User Property", V5, b"\x30\x0D\0\x03a/b\x07\x26\0\x01k\0\x01\0", null),
        broken(
            "User Property without value",
            V5,
            b"\x30\x0A\0\x03a/b\x04\x26\0\x01k",
            Rule::Truncated,
        ),
        broken(
            "Content Type twice",
            V5,
            b"\x30\x0C\0\x03a/b\x06\x03\0\0\x03\0\0",
            Rule::DuplicateProperty,
        ),
        broken(
            "Session Expiry Interval",
            V5,
            b"\x30\x0B\0\x03a/b\x05\x11\0\0\0\0",
            Rule::PropertyNotAllowed,
        ),
        broken(
            "properties longer than the packet",
            V5,
            b"\x30\x08\0\x03a/b\x09\x01\x01",
            Rule::Truncated,
        ),
        broken(
            "Property Length of too many bytes",
            V5,
            b"\x30\x07\0\x03a/b\x80\0",
            Rule::NonMinimalLength,
        ),
    ]
}
