//! Data representation and fixed header: strings, Packet Identifiers, reserved flags.

use midge_conformance::connect::connect;
use midge_conformance::reason::{MALFORMED_PACKET, PROTOCOL_ERROR};
use midge_conformance::{
    Ack, Client, Disconnect, Encode, Fence, Packet, PingReq, Publish, Subscribe, Unsubscribe,
    Version, topic,
};

use super::{publish_of, subscribe_of, subscriber, unsubscribe_of};

/// Byte sequences that are not UTF-8: surrogates, an overlong form, beyond U+10FFFF, a lone byte,
/// an unfinished sequence.
const ILL_FORMED: &[&[u8]] = &[
    &[0xED, 0xA0, 0x80],
    &[0xED, 0xBF, 0xBF],
    &[b'a', 0xC1, 0x81],
    &[0xF4, 0x90, 0x80, 0x80],
    &[b'a', 0xFF],
    &[b'a', 0xE2, 0x82],
];

/// Sends `bytes` on an accepted connection, which has to end because of them.
pub(crate) fn expect_malformed(version: Version, bytes: &[u8]) {
    let mut client = connect(version).open();
    client.send_bytes(bytes);
    client.expect_error(MALFORMED_PACKET);
}

pub(crate) fn ill_formed_topic_name_ends_the_connection(version: Version) {
    for bytes in ILL_FORMED {
        expect_malformed(version, &publish_of(version, bytes));
    }
}

pub(crate) fn ill_formed_topic_filter_ends_the_connection(version: Version) {
    for bytes in ILL_FORMED {
        expect_malformed(version, &subscribe_of(version, bytes));
    }
}

pub(crate) fn ill_formed_filter_of_unsubscribe_ends_the_connection(version: Version) {
    for bytes in ILL_FORMED {
        expect_malformed(version, &unsubscribe_of(version, bytes));
    }
}

pub(crate) fn null_character_ends_the_connection(version: Version) {
    expect_malformed(version, &publish_of(version, b"a\0b"));
    expect_malformed(version, &subscribe_of(version, b"a\0b"));
    expect_malformed(version, &unsubscribe_of(version, b"\0"));
}

pub(crate) fn byte_order_mark_is_a_character(version: Version) {
    let plain = topic();
    let marked = format!("\u{feff}{plain}");
    let mut with_mark = subscriber(version, &marked, 0);
    let mut without_mark = subscriber(version, &plain, 0);
    let fence = Fence::for_subscriber(&mut without_mark);
    let mut publisher = connect(version).open();
    publisher.publish(&marked, "marked", 0);
    assert_eq!(with_mark.receive_publish().topic, marked);
    fence.expect_nothing(&mut publisher, &mut without_mark);
}

pub(crate) fn packet_identifier_zero_ends_the_connection(version: Version) {
    let topic = topic();
    let packets = [
        Publish::new(&topic, "payload").qos_1(0).encode(version),
        Publish::new(&topic, "payload").qos_2(0).encode(version),
        Subscribe::new(0).filter(&topic, 0).encode(version),
        Unsubscribe::new(0).filter(&topic).encode(version),
    ];
    for packet in packets {
        let mut client = connect(version).open();
        client.send_bytes(&packet);
        client.expect_error_of(&[MALFORMED_PACKET, PROTOCOL_ERROR]);
    }
}

pub(crate) fn reserved_flags_end_the_connection(version: Version) {
    let packets = [
        Ack::puback(1).encode(version),
        Ack::pubrec(1).encode(version),
        Ack::pubcomp(1).encode(version),
        PingReq.encode(version),
        Disconnect::new().encode(version),
    ];
    for packet in packets {
        expect_flags_matter(version, &packet, &[0b0001, 0b0010, 0b1000]);
    }
}

/// A packet that begins with a wrong byte need not be recognized as a CONNECT of any version.
pub(crate) fn reserved_flags_of_connect_are_refused(version: Version) {
    let mut packet = connect(version).encode(version);
    packet[0] |= 0b0010;
    let mut client = Client::dial(version);
    client.send_bytes(&packet);
    match client.read_until_closed().as_slice() {
        [] => {}
        [Packet::ConnAck(connack)] if version == Version::V5 => {
            assert_eq!(connack.reason, MALFORMED_PACKET);
        }
        other => panic!("expected a refusal, received {other:?}"),
    }
}

pub(crate) fn flags_of_pubrel_are_fixed(version: Version) {
    expect_flags_matter(version, &Ack::pubrel(1).encode(version), &[0b0010, 0b0001, 0b1000]);
}

pub(crate) fn flags_of_subscribe_are_fixed(version: Version) {
    let packet = Subscribe::new(1).filter(&topic(), 0).encode(version);
    expect_flags_matter(version, &packet, &[0b0010, 0b0001, 0b1000]);
}

pub(crate) fn flags_of_unsubscribe_are_fixed(version: Version) {
    let packet = Unsubscribe::new(1).filter(&topic()).encode(version);
    expect_flags_matter(version, &packet, &[0b0010, 0b0001, 0b1000]);
}

/// Expects that each of `flips`, applied to the flags of the correct `packet`, ends the connection.
fn expect_flags_matter(version: Version, packet: &[u8], flips: &[u8]) {
    for flip in flips {
        let mut changed = packet.to_vec();
        changed[0] ^= flip;
        expect_malformed(version, &changed);
    }
}

pub(crate) fn qos_0_publish_has_no_packet_identifier(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    let mut publisher = connect(version).open();
    // A Packet Identifier of two bytes would be read as the beginning of the payload.
    publisher.publish(&topic, "payload", 0);
    let publish = subscriber.receive_publish();
    assert_eq!((publish.qos, publish.text()), (0, "payload"));
}

pub(crate) fn both_qos_bits_end_the_connection(version: Version) {
    let mut packet = Publish::new(&topic(), "payload").qos_2(1).encode(version);
    packet[0] |= 0b0110;
    expect_malformed(version, &packet);
}

pub(crate) fn dup_at_qos_0_ends_the_connection(version: Version) {
    let mut client = connect(version).open();
    client.send(&Publish::new(&topic(), "payload").duplicate());
    client.expect_error_of(&[MALFORMED_PACKET, PROTOCOL_ERROR]);
}
