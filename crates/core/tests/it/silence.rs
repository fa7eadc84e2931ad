//! What counts as silence, and what does not.

use midge_codec::{Connect, Packet, ReasonCode};
use midge_core::Timestamp;

use crate::node::{Conn, Node, Setup};
use crate::packets::connect;
use crate::received::Received;

/// A node with a Client connected at second 1000, with a Keep Alive of ten seconds.
fn node() -> (Node, Conn) {
    let mut node = Node::new(&Setup::default());
    let conn = node.connect_with(&Connect { keep_alive_seconds: 10, ..connect("a") }).0;
    (node, conn)
}

fn second(number: u64) -> Timestamp {
    Timestamp::from_millis(number * 1000)
}

/// Tells the core that this many bytes of an incomplete packet have arrived.
fn arrive(node: &mut Node, conn: Conn, bytes: usize) {
    let id = node.sockets[conn.0].id;
    node.call(0, |core, turn| core.note_arriving(id, bytes, turn.now));
}

#[test]
fn a_packet_that_keeps_arriving_is_a_sign_of_life() {
    let (mut node, conn) = node();
    for _ in 0..20 {
        node.advance(5_000);
        arrive(&mut node, conn, 5 * 128);
    }
    assert!(!node.is_closed(conn));
    node.advance(14_999);
    assert!(!node.is_closed(conn));
    node.advance(2);
    assert_eq!(node.end_code(conn), Some(ReasonCode::KeepAliveTimeout));
}

#[test]
fn a_packet_that_drips_is_not() {
    let (mut node, conn) = node();
    for _ in 0..20 {
        node.advance(1_000);
        arrive(&mut node, conn, 1);
    }
    assert_eq!(node.end_code(conn), Some(ReasonCode::KeepAliveTimeout));
}

#[test]
fn much_of_a_packet_at_once_is_no_life_in_advance() {
    let (mut node, conn) = node();
    node.advance(1_000);
    arrive(&mut node, conn, 1_000_000);
    node.advance(14_999);
    assert!(!node.is_closed(conn));
    node.advance(2);
    assert!(node.is_closed(conn));
}

#[test]
fn who_has_something_unread_is_not_silent() {
    let (mut node, conn) = node();
    let id = node.sockets[conn.0].id;
    node.set_now(second(1015));
    node.call(0, |core, turn| core.handle_silence_heeding(&|other| other == id, turn));
    assert!(!node.is_closed(conn));
    // The unread packet was a PINGREQ.
    node.send(conn, &Packet::PingReq);
    node.advance(14_000);
    assert_eq!(node.take(conn), [Received::PingResp]);
    node.advance(2_000);
    assert!(node.is_closed(conn));
}

#[test]
fn who_has_nothing_unread_is_silent_though_others_have() {
    let (mut node, conn) = node();
    node.set_now(second(1015));
    node.call(0, |core, turn| core.handle_silence_heeding(&|_| false, turn));
    assert_eq!(node.end_code(conn), Some(ReasonCode::KeepAliveTimeout));
}

/// The machine was suspended, and the Client with it.
#[test]
fn time_in_which_the_process_did_not_run_is_nobodys_silence() {
    let (mut node, conn) = node();
    let before_connect = node.open(0);
    node.set_now(second(1003));
    node.settle();
    node.set_now(second(5003));
    node.cores[0].note_absence(second(1003), second(5003));
    node.settle();
    assert!(!node.is_closed(conn) && !node.is_closed(before_connect));
    // The time that each had left is still left.
    node.advance(1_999);
    assert!(!node.is_closed(before_connect));
    node.advance(2);
    assert!(node.is_closed(before_connect) && !node.is_closed(conn));
    node.advance(9_998);
    assert!(!node.is_closed(conn));
    node.advance(2);
    assert_eq!(node.end_code(conn), Some(ReasonCode::KeepAliveTimeout));
}
