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

/// A connected client with a subscription of its own.
pub(crate) fn subscriber(version: Version, filter: &str, options: u8) -> Client {
    let mut client = connect(version).open();
    client.subscribe(filter, options);
    client
}

/// Removes what is retained on `topic`, so that a broker of long life is left as it was.
pub(crate) fn forget(version: Version, topic: &str) {
    connect(version).open().publish_retained(topic, "", 1);
}

/// Lets an interval of one second pass, also for a broker that counts whole seconds where such
/// brokers are accepted.
///
/// The only place where a test waits for time and not for an event: where a statement is about what
/// the passing of time does to something that nobody is told of.
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

/// A QoS 0 PUBLISH whose Topic Name is any bytes.
fn publish_of(version: Version, topic: &[u8]) -> Vec<u8> {
    no_properties(version, Writer::new().binary(topic)).bytes(b"payload").packet(0x30)
}

/// A SUBSCRIBE whose Topic Filter is any bytes.
fn subscribe_of(version: Version, filter: &[u8]) -> Vec<u8> {
    no_properties(version, Writer::new().u16(1)).binary(filter).u8(0).packet(0x82)
}

/// An UNSUBSCRIBE whose Topic Filter is any bytes.
fn unsubscribe_of(version: Version, filter: &[u8]) -> Vec<u8> {
    no_properties(version, Writer::new().u16(1)).binary(filter).packet(0xA2)
}

/// `bytes` with the only occurrence of `from` replaced by `to` of the same length.
pub(crate) fn replaced(mut bytes: Vec<u8>, from: &str, to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a replacement that keeps all lengths");
    let starts = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let start = starts.unwrap_or_else(|| panic!("no {from:?} in {bytes:02x?}"));
    bytes[start..start + to.len()].copy_from_slice(to);
    bytes
}
