//! The few packets of MQTT 3.1.1 that a crowd needs, made by hand.

use std::io::{self, Read};

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBLISH: u8 = 0x30;

/// The largest possible Remaining Length: 256 MB less one byte.
pub(crate) const LARGEST: [u8; 4] = [0xFF, 0xFF, 0xFF, 0x7F];

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A packet of less than 128 bytes.
fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 128, "a short packet");
    [&[first_byte, length], body].concat()
}

/// A CONNECT with a clean session and without Keep Alive.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    connect_for(client_id, 2, 0)
}

/// A CONNECT with these flags and this Keep Alive.
pub(crate) fn connect_for(client_id: &str, flags: u8, keep_alive_seconds: u8) -> Vec<u8> {
    let fixed = [4, flags, 0, keep_alive_seconds];
    packet(0x10, &[&string("MQTT")[..], &fixed, &string(client_id)].concat())
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const PINGRESP: u8 = 0xD0;

pub(crate) fn subscribe(topic: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1][..], &string(topic), &[0]].concat())
}

pub(crate) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(PUBLISH, &[&string(topic), payload].concat())
}

/// A PUBLISH at QoS 1.
pub(crate) fn publish_1(topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    packet(0x32, &[&string(topic)[..], &packet_id.to_be_bytes(), payload].concat())
}

/// A PUBLISH of any size; `packet_id` if `first_byte` asks for one.
pub(crate) fn large_publish(
    first_byte: u8,
    topic: &str,
    packet_id: Option<u16>,
    payload: &[u8],
) -> Vec<u8> {
    let id = packet_id.map(u16::to_be_bytes);
    let id = id.as_ref().map_or(&[][..], |id| &id[..]);
    any_packet(first_byte, &[&string(topic)[..], id, payload].concat())
}

/// A packet of any size.
fn any_packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![first_byte], body.len());
    loop {
        let digit = (length & 0x7F) as u8;
        length >>= 7;
        bytes.push(digit | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A CONNECT of MQTT 5.0 whose Session and Will Message wait for a day.
pub(crate) fn connect_with_lasting_will(client_id: &str, will_payload: &[u8]) -> Vec<u8> {
    let day = 86_400_u32.to_be_bytes();
    let length = u16::try_from(will_payload.len()).unwrap().to_be_bytes();
    let fixed = [5, 0b0000_0100, 0, 0];
    let expiry = [&[5, 0x11][..], &day].concat();
    let delay = [&[5, 0x18][..], &day].concat();
    let id = string(client_id);
    let will = [&delay[..], &string("will"), &length, will_payload].concat();
    any_packet(0x10, &[&string("MQTT")[..], &fixed, &expiry, &id, &will].concat())
}

/// A SUBSCRIBE to one topic at this QoS.
pub(crate) fn subscribe_at(topic: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1][..], &string(topic), &[qos]].concat())
}

/// Returns the first byte and the body of the next packet.
pub(crate) fn receive(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let first_byte = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((first_byte, body))
}

/// Expects a CONNACK that accepts the connection.
pub(crate) fn receive_connack(stream: &mut impl Read) -> io::Result<()> {
    match receive(stream)? {
        (0x20, body) if body == [0, 0] => Ok(()),
        other => Err(io::Error::other(format!("no CONNACK: {other:02x?}"))),
    }
}
