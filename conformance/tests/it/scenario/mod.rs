//! Conversations that both versions of the protocol demand alike.

use std::thread;
use std::time::Duration;

use midge_conformance::connect::connect;
use midge_conformance::wire::Writer;
use midge_conformance::{Client, Version, target};

pub(crate) mod connect_packet;
pub(crate) mod ending;
pub(crate) mod format;
pub(crate) mod qos;
pub(crate) mod retain;
pub(crate) mod session;
pub(crate) mod subscribe;
pub(crate) mod topics;
pub(crate) mod websocket;
pub(crate) mod will;

/// Connects a client with a subscription.
pub(crate) fn subscriber(version: Version, filter: &str, options: u8) -> Client {
    let mut client = connect(version).open();
    client.subscribe(filter, options);
    client
}

/// Removes the retained message of `topic`, to leave a long-lived broker as it was.
pub(crate) fn forget(version: Version, topic: &str) {
    connect(version).open().publish_retained(topic, "", 1);
}

/// Lets an interval of one second pass, long enough even for a broker that counts whole seconds, if
/// such brokers are accepted.
///
/// This is the only place where a test waits for time instead of an event, for statements about
/// what the passing of time does without anybody being told.
pub(crate) fn let_a_second_pass() {
    thread::sleep(Duration::from_millis(if target::is_strict() { 1400 } else { 2400 }));
}

/// Appends an empty Property Length where the version has properties.
fn no_properties(version: Version, writer: Writer) -> Writer {
    match version {
        Version::V3 => writer,
        Version::V5 => writer.u8(0),
    }
}

/// Returns a QoS 0 PUBLISH whose Topic Name may be any bytes.
fn publish_of(version: Version, topic: &[u8]) -> Vec<u8> {
    no_properties(version, Writer::new().binary(topic)).bytes(b"payload").packet(0x30)
}

/// Returns a SUBSCRIBE whose Topic Filter may be any bytes.
fn subscribe_of(version: Version, filter: &[u8]) -> Vec<u8> {
    no_properties(version, Writer::new().u16(1)).binary(filter).u8(0).packet(0x82)
}

/// Returns an UNSUBSCRIBE whose Topic Filter may be any bytes.
fn unsubscribe_of(version: Version, filter: &[u8]) -> Vec<u8> {
    no_properties(version, Writer::new().u16(1)).binary(filter).packet(0xA2)
}

/// Returns `bytes` with the only occurrence of `from` replaced by `to`, which has the same length.
pub(crate) fn replaced(mut bytes: Vec<u8>, from: &str, to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a replacement that keeps all lengths");
    let starts = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let start = starts.unwrap_or_else(|| panic!("no {from:?} in {bytes:02x?}"));
    bytes[start..start + to.len()].copy_from_slice(to);
    bytes
}
