//! How a WebSocket ends.

use std::io::IoSlice;

use super::{BINARY, CLOSE, PING, Role, Side, close_of, frame, from_client, from_server};

#[test]
fn a_close_is_answered_once_with_its_code_and_ends() {
    for code in [1000u16, 1001, 1003, 1007, 1008, 1011, 1014, 3000, 4999] {
        for reason in ["", "going \u{e4}way"] {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            let close = from_client(CLOSE, &payload);
            let stream = [from_client(BINARY, b"last"), close, vec![0xff; 20]].concat();
            for piece_length in [1, 5, stream.len()] {
                let mut side = Side::opened(Role::Server);
                side.receive_in_pieces(&stream, piece_length).unwrap();
                assert!(side.has_ended);
                assert_eq!(side.payload, b"last");
                assert_eq!(close_of(&side.out), (code, ""));
            }
        }
    }
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    let mut side = Side::opened(Role::Server);
    side.receive(&from_client(CLOSE, b"")).unwrap();
    assert!(side.has_ended);
    assert_eq!(side.out, from_server(CLOSE, b""));
}

#[test]
fn after_our_close_all_but_the_peers_close_is_ignored() {
    let mut side = Side::opened(Role::Server);
    side.session.close(&mut side.out);
    side.session.close(&mut side.out);
    assert_eq!(close_of(&side.out), (1000, ""), "once");
    side.out.clear();
    side.session.seal(&[IoSlice::new(b"x")], 1, &mut side.out);
    let stream = [from_client(BINARY, b"data"), from_client(PING, b"?")].concat();
    side.receive(&stream).unwrap();
    assert_eq!((&side.out[..], &side.payload[..]), (&b""[..], &b""[..]));
    assert!(!side.has_ended);
    side.receive(&from_client(CLOSE, &[3, 0xe8])).unwrap();
    assert!(side.has_ended);
    assert_eq!(side.out, b"");
}

#[test]
fn a_rule_broken_after_our_close_is_an_end() {
    let mut side = Side::opened(Role::Server);
    side.session.close(&mut side.out);
    side.out.clear();
    side.receive(&from_server(BINARY, b"not masked")).unwrap();
    assert!(side.has_ended);
    assert_eq!(side.out, b"");
}

#[test]
fn after_a_broken_rule_nothing_is_taken_or_sent() {
    let mut side = Side::opened(Role::Server);
    side.receive(&from_server(BINARY, b"not masked")).unwrap_err();
    side.out.clear();
    side.receive(&from_client(BINARY, b"data")).unwrap();
    side.session.seal(&[IoSlice::new(b"x")], 1, &mut side.out);
    side.session.close(&mut side.out);
    assert!(side.has_ended);
    assert_eq!((&side.out[..], &side.payload[..]), (&b""[..], &b""[..]));
}

#[test]
fn a_clients_close_is_masked() {
    let mut side = Side::opened(Role::Client);
    side.session.close(&mut side.out);
    let mask = side.out[2..6].first_chunk().copied();
    assert_eq!(side.out, frame(0x88, mask, &1000u16.to_be_bytes()));
}

#[test]
fn closing_in_the_middle_of_a_handshake_says_nothing() {
    let mut side = Side::server();
    side.session.close(&mut side.out);
    assert!(!side.session.is_handshaking());
    side.receive(b"GET").unwrap();
    assert!(side.has_ended);
    assert_eq!(side.out, b"");
}
