//! PINGREQ, Keep Alive, DISCONNECT, and packets that only a Server sends.

use std::time::{Duration, Instant};

use midge_conformance::connect::connect;
use midge_conformance::reason::{KEEP_ALIVE_TIMEOUT, MALFORMED_PACKET, PROTOCOL_ERROR};
use midge_conformance::{Client, Disconnect, Encode, Packet, PingReq, Publish, Version, topic};

pub(crate) fn pingreq_is_answered(version: Version) {
    let mut client = connect(version).open();
    client.send(&PingReq);
    client.send(&PingReq);
    assert_eq!(client.receive(), Packet::PingResp);
    assert_eq!(client.receive(), Packet::PingResp);
}

/// With a Keep Alive of one second, the connection ends at least one and a half seconds after the
/// last packet, and not much later.
pub(crate) fn silent_client_is_disconnected(version: Version) {
    let mut client = connect(version).keep_alive_seconds(1).open();
    let start = Instant::now();
    client.expect_error(KEEP_ALIVE_TIMEOUT);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(1400), "disconnected after {waited:?}");
    assert!(waited <= Duration::from_millis(3500), "disconnected only after {waited:?}");
}

/// Any packet counts, and a Keep Alive of zero never ends a connection: both connections outlast a
/// silent one that was opened after them.
pub(crate) fn talking_client_stays_connected(version: Version) {
    let topic = topic();
    let mut talking = connect(version).keep_alive_seconds(1).open();
    let mut unlimited = connect(version).keep_alive_seconds(0).open();
    let mut silent = connect(version).keep_alive_seconds(1).open();
    // If a broker never ends the silent connection, another test fails.
    let end = Instant::now() + Duration::from_secs(4);
    while !silent.is_closed_within(Duration::from_millis(300)) && Instant::now() < end {
        talking.send(&Publish::new(&topic, "alive"));
    }
    talking.expect_silence();
    unlimited.expect_silence();
}

pub(crate) fn disconnect_with_reserved_flags_is_an_error(version: Version) {
    let mut client = connect(version).open();
    let mut packet = Disconnect::new().encode(version);
    packet[0] |= 0b0100;
    client.send_bytes(&packet);
    client.expect_error(MALFORMED_PACKET);
}

/// CONNACK, SUBACK, UNSUBACK, PINGRESP and the packet types without a meaning.
pub(crate) fn packet_of_a_server_ends_the_connection(version: Version) {
    let packets: &[&[u8]] = &[
        &[0x20, 0x02, 0x00, 0x00],
        &[0x90, 0x03, 0x00, 0x01, 0x00],
        &[0xB0, 0x02, 0x00, 0x01],
        &[0xD0, 0x00],
        &[0x00, 0x00],
    ];
    for packet in packets {
        let mut client = connect(version).open();
        client.send_bytes(packet);
        client.expect_error_of(&[MALFORMED_PACKET, PROTOCOL_ERROR]);
    }
}

pub(crate) fn remaining_length_of_five_bytes_ends_the_connection(version: Version) {
    let mut client = connect(version).open();
    client.send_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
    client.expect_error(MALFORMED_PACKET);
}

/// Nothing after a DISCONNECT is processed, and the broker closes.
pub(crate) fn nothing_behind_disconnect_is_processed(version: Version) {
    let topic = topic();
    let mut client = connect(version).open();
    let mut bytes = Disconnect::new().encode(version);
    bytes.extend(Publish::new(&topic, "late").retained().encode(version));
    client.send_bytes(&bytes);
    client.expect_closed();
    super::subscriber(version, &topic, 0).expect_silence();
}

/// A conversation that uses only what the specification defines.
pub(crate) fn plain_conversation_needs_no_extension(version: Version) {
    let topic = topic();
    let mut client: Client = connect(version).open();
    for qos in 0..=2 {
        client.subscribe(&topic, qos);
        client.send(&message(&topic, qos));
        let publish = receive_own(&mut client, qos);
        assert_eq!((publish.qos, publish.text()), (qos, "payload"));
    }
    client.unsubscribe(&topic);
    client.expect_silence();
    client.disconnect();
}

fn message(topic: &str, qos: u8) -> Publish {
    let publish = Publish::new(topic, "payload");
    match qos {
        0 => publish,
        1 => publish.qos_1(100),
        _ => publish.qos_2(200),
    }
}

/// Receives the client's own message, while its handshake as the publisher goes on.
fn receive_own(client: &mut Client, qos: u8) -> Publish {
    use midge_conformance::Ack;
    let mut received = None;
    let mut acknowledgements = 0;
    // As publisher: nothing, PUBACK, or PUBREC and PUBCOMP; as receiver of QoS 2 also PUBREL.
    let expected = [0, 1, 3][usize::from(qos)];
    while received.is_none() || acknowledgements < expected {
        acknowledgements += 1;
        match client.receive() {
            Packet::Publish(publish) => {
                acknowledgements -= 1;
                match qos {
                    0 => {}
                    1 => client.send(&Ack::puback(publish.id())),
                    _ => client.send(&Ack::pubrec(publish.id())),
                }
                received = Some(publish);
            }
            Packet::PubRec(pubrec) => client.send(&Ack::pubrel(pubrec.packet_id)),
            Packet::PubRel(pubrel) => client.send(&Ack::pubcomp(pubrel.packet_id)),
            Packet::PubAck(_) | Packet::PubComp(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    received.expect("the loop ends with a message")
}
