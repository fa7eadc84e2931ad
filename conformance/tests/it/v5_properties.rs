//! MQTT 5.0 section 3.3.2.3: properties of a message are forwarded as they were published.

use midge_conformance::Version::V5;
use midge_conformance::connect::{expect_refused, v5};
use midge_conformance::property::{
    CONTENT_TYPE, CORRELATION_DATA, PAYLOAD_FORMAT_INDICATOR, RESPONSE_TOPIC, binary, number, text,
    user,
};
use midge_conformance::reason::{MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_NAME_INVALID};
use midge_conformance::wire::Writer;
use midge_conformance::{Encode, Publish, Will, topic};

use crate::scenario::format::expect_malformed;
use crate::scenario::{replaced, subscriber};

/// Returns what a subscriber receives of `publish` at each QoS.
fn forwarded(make: impl Fn(Publish) -> Publish) -> Vec<Publish> {
    let topic = topic();
    let mut subscriber = subscriber(V5, &topic, 2);
    let mut publisher = v5().open();
    (0..=2)
        .map(|qos| {
            publisher.publish_packet(make(Publish::new(&topic, "payload")), qos);
            subscriber.receive_message()
        })
        .collect()
}

/// [MQTT-3.3.2-4]
#[test]
fn mqtt5_3_3_2_4_payload_format_indicator_is_forwarded() {
    for indicator in [0, 1] {
        let messages =
            forwarded(|publish| publish.with(number(PAYLOAD_FORMAT_INDICATOR, indicator)));
        for message in messages {
            // If absent, the indicator is 0.
            let forwarded = message.properties.number(PAYLOAD_FORMAT_INDICATOR).unwrap_or(0);
            assert_eq!(forwarded, indicator);
        }
    }
}

/// [MQTT-3.3.2-15]
#[test]
fn mqtt5_3_3_2_15_response_topic_is_forwarded() {
    for message in forwarded(|publish| publish.with(text(RESPONSE_TOPIC, "reply/to/é"))) {
        assert_eq!(message.properties.text(RESPONSE_TOPIC), Some("reply/to/é"));
    }
}

/// [MQTT-3.3.2-16]
#[test]
fn mqtt5_3_3_2_16_correlation_data_is_forwarded() {
    let data: Vec<u8> = (0..=255).collect();
    for message in forwarded(|publish| publish.with(binary(CORRELATION_DATA, &data))) {
        assert_eq!(message.properties.binary(CORRELATION_DATA), Some(data.as_slice()));
    }
    for message in forwarded(|publish| publish.with(binary(CORRELATION_DATA, &[]))) {
        assert_eq!(message.properties.binary(CORRELATION_DATA), Some(&[][..]));
    }
}

/// [MQTT-3.3.2-20]
#[test]
fn mqtt5_3_3_2_20_content_type_is_forwarded() {
    for message in forwarded(|publish| publish.with(text(CONTENT_TYPE, "text/plain; ü"))) {
        assert_eq!(message.properties.text(CONTENT_TYPE), Some("text/plain; ü"));
    }
}

/// [MQTT-3.3.2-17] [MQTT-3.3.2-18]
///
/// The same name may occur more than once; nothing is sorted, merged or dropped.
#[test]
fn mqtt5_3_3_2_17_user_properties_are_forwarded_in_order() {
    let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("b", "0"), ("é", "🦟")];
    let messages = forwarded(|publish| {
        pairs.iter().fold(publish, |publish, (name, value)| publish.with(user(name, value)))
    });
    for message in messages {
        assert_eq!(message.properties.user(), pairs);
    }
}

/// [MQTT-3.3.2-17] [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-20]
#[test]
fn mqtt5_3_3_2_17_retained_message_keeps_its_properties() {
    let topic = topic();
    let publish = Publish::new(&topic, "payload")
        .retained()
        .with(number(PAYLOAD_FORMAT_INDICATOR, 1))
        .with(text(RESPONSE_TOPIC, "reply"))
        .with(binary(CORRELATION_DATA, b"data"))
        .with(user("b", "1"))
        .with(text(CONTENT_TYPE, "type"))
        .with(user("a", "2"));
    v5().open().publish_packet(publish, 1);
    let properties = subscriber(V5, &topic, 1).receive_message().properties;
    assert_eq!(properties.number(PAYLOAD_FORMAT_INDICATOR), Some(1));
    assert_eq!(properties.text(RESPONSE_TOPIC), Some("reply"));
    assert_eq!(properties.binary(CORRELATION_DATA), Some(&b"data"[..]));
    assert_eq!(properties.text(CONTENT_TYPE), Some("type"));
    assert_eq!(properties.user(), [("b", "1"), ("a", "2")]);
    crate::scenario::forget(V5, &topic);
}

/// [MQTT-3.1.3-10] [MQTT-3.1.2-9]
#[test]
fn mqtt5_3_1_3_10_will_keeps_its_properties_in_order() {
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 0);
    let will = Will::new(&topic, "gone")
        .with(user("b", "1"))
        .with(text(CONTENT_TYPE, "type"))
        .with(user("a", "2"))
        .with(user("b", "0"));
    v5().will(will).open().abandon();
    let properties = observer.receive_publish().properties;
    assert_eq!(properties.user(), [("b", "1"), ("a", "2"), ("b", "0")]);
    assert_eq!(properties.text(CONTENT_TYPE), Some("type"));
}

/// [MQTT-1.5.7-1]
#[test]
fn mqtt5_1_5_7_1_ill_formed_user_property_is_malformed() {
    let publish = |name, value| Publish::new(&topic(), "payload").with(user(name, value));
    for bytes in [[0xED, 0xA0, 0x80], *b"X\0Z", [b'a', b'b', 0xFF]] {
        expect_malformed(V5, &replaced(publish("nXYZ", "value").encode(V5), "XYZ", &bytes));
        expect_malformed(V5, &replaced(publish("name", "vXYZ").encode(V5), "XYZ", &bytes));
    }
}

/// [MQTT-3.3.2-13]
#[test]
fn mqtt5_3_3_2_13_ill_formed_response_topic_is_malformed() {
    let publish = Publish::new(&topic(), "payload").with(text(RESPONSE_TOPIC, "reply/XYZ"));
    expect_malformed(V5, &replaced(publish.encode(V5), "XYZ", &[0xED, 0xA0, 0x80]));
}

/// [MQTT-3.3.2-14]
#[test]
fn mqtt5_3_3_2_14_wildcards_in_the_response_topic_are_an_error() {
    for response_topic in ["reply/+", "#"] {
        let mut client = v5().open();
        let publish = Publish::new(&topic(), "payload");
        client.send(&publish.with(text(RESPONSE_TOPIC, response_topic)));
        client.expect_error_of(&[PROTOCOL_ERROR, MALFORMED_PACKET, TOPIC_NAME_INVALID]);
    }
}

/// [MQTT-4.7.3-1]
///
/// A Response Topic is used as a Topic Name, so it has at least one character, also in a Will
/// Message.
#[test]
fn mqtt5_4_7_3_1_empty_response_topic_is_an_error() {
    let reasons = [PROTOCOL_ERROR, MALFORMED_PACKET, TOPIC_NAME_INVALID];
    let mut client = v5().open();
    client.send(&Publish::new(&topic(), "payload").with(text(RESPONSE_TOPIC, "")));
    client.expect_error_of(&reasons);
    for response_topic in ["", "reply/+"] {
        let will = Will::new(&topic(), "payload").with(text(RESPONSE_TOPIC, response_topic));
        expect_refused(V5, &v5().will(will).encode(V5), &reasons);
    }
}

/// [MQTT-3.3.2-19]
#[test]
fn mqtt5_3_3_2_19_ill_formed_content_type_is_malformed() {
    let publish = Publish::new(&topic(), "payload").with(text(CONTENT_TYPE, "type/XYZ"));
    expect_malformed(V5, &replaced(publish.encode(V5), "XYZ", &[b'a', b'b', 0xFF]));
}

/// [MQTT-4.13.1-1]
///
/// A second occurrence of a property that may occur only once is a Protocol Error.
#[test]
fn mqtt5_4_13_1_1_repeated_properties_are_an_error() {
    let properties = [
        number(PAYLOAD_FORMAT_INDICATOR, 1),
        text(RESPONSE_TOPIC, "reply"),
        binary(CORRELATION_DATA, b"data"),
        text(CONTENT_TYPE, "type"),
    ];
    for property in properties {
        let mut client = v5().open();
        let publish = Publish::new(&topic(), "payload").with(property.clone());
        client.send(&publish.with(property));
        client.expect_error_of(&[PROTOCOL_ERROR, MALFORMED_PACKET]);
    }
}

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1]
#[test]
fn mqtt5_4_13_1_1_unknown_properties_are_malformed() {
    for identifier in [0x00, 0x04, 0x7F] {
        let body = Writer::new().string("a").u8(2).u8(identifier).u8(0);
        let mut client = v5().open();
        client.send_bytes(&body.packet(0x30));
        client.expect_error_of(&[MALFORMED_PACKET, PROTOCOL_ERROR]);
    }
}

/// [MQTT-1.5.5-1]
///
/// The reader checks that all received integers have the shortest form. Here the broker refuses a
/// longer one, as Remaining Length and as Property Length.
#[test]
fn mqtt5_1_5_5_1_needlessly_long_variable_byte_integer_is_malformed() {
    expect_malformed(V5, &[0xC0, 0x80, 0x00]);
    expect_malformed(V5, &Writer::new().string("a").bytes(&[0x80, 0x00]).packet(0x30));
}

/// [MQTT-2.2.2-1]
#[test]
fn mqtt5_2_2_2_1_missing_property_length_is_malformed() {
    let without = Writer::new().u16(1).string("no/properties").u8(0);
    expect_malformed(V5, &without.packet(0x82));
    expect_malformed(V5, &Writer::new().string("only/a/topic").packet(0x30));
}
