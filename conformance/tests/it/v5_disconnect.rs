//! MQTT 5.0 section 3.14: DISCONNECT from the Server.

use midge_conformance::Version::V5;
use midge_conformance::connect::v5;
use midge_conformance::property::{SESSION_EXPIRY_INTERVAL, number};
use midge_conformance::reason::{MALFORMED_PACKET, PROTOCOL_ERROR};
use midge_conformance::{Ack, Client, Disconnect, Encode, Packet, Publish, Raw, Subscribe, topic};

/// [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2]
///
/// The reader panics at another Reason Code or a Session Expiry Interval. The end of the connection
/// has to follow at once.
#[test]
fn mqtt5_3_14_2_1_disconnect_is_the_last_packet() {
    let topic = topic();
    let mut client = v5().with(number(SESSION_EXPIRY_INTERVAL, 60)).open();
    client.subscribe(&topic, 0);
    let mut bytes = Subscribe::new(1).encode(V5);
    bytes.extend(Publish::new(&topic, "behind the error").encode(V5));
    client.send(&Raw(bytes));
    client.expect_error(PROTOCOL_ERROR);
}

/// [MQTT-3.14.0-1]
///
/// Errors before a CONNACK are answered with a CONNACK or not at all.
#[test]
fn mqtt5_3_14_0_1_no_disconnect_before_connack() {
    let firsts = [
        vec![0xE0, 0x00],
        vec![0xF0, 0x00],
        vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        vec![0x00, 0x00],
        v5().encode_with_flags(|flags| flags | 1),
    ];
    for first in firsts {
        let mut client = Client::dial(V5);
        client.send_bytes(&first);
        for packet in client.read_until_closed() {
            assert!(matches!(packet, Packet::ConnAck(_)), "{first:02x?} got {packet:?}");
        }
    }
}

/// [MQTT-3.14.2-1] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
///
/// Reason Codes that exist but do not belong in the packet, and codes that do not exist.
#[test]
fn mqtt5_3_14_2_1_unlisted_reason_codes_are_an_error() {
    let packets = [
        Ack::puback(1).reason(0x01).encode(V5),
        Ack::pubrec(1).reason(0x18).encode(V5),
        Ack::pubrel(1).reason(0x80).encode(V5),
        Ack::pubcomp(1).reason(0x10).encode(V5),
        Disconnect::new().reason(0x01).encode(V5),
        Disconnect::new().reason(0xFF).encode(V5),
    ];
    for packet in packets {
        let mut client = v5().open();
        client.send_bytes(&packet);
        client.expect_error_of(&[MALFORMED_PACKET, PROTOCOL_ERROR]);
    }
}
