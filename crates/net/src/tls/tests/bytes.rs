//! Bytes in pieces of any size, many bytes, and bytes that are no TLS.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::pair::{BOTH, Pair, client, client_config};
use super::pki::{Authority, Directory, Issued};
use crate::plain::Plain;
use crate::tls::{TlsServer, TlsSession};

struct Scene {
    authority: Authority,
    server: TlsServer,
    certificate: Issued,
}

/// Made only once, because making keys takes long.
static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let ca = directory.write("ca.crt", authority.pem());
    let server = TlsServer::load(&directory.listener(&authority).client_ca(ca), &[]).unwrap();
    let certificate = authority.client("sensor", 1);
    Scene { authority, server, certificate }
});

fn config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(client_config(&SCENE.authority, version, Some(&SCENE.certificate)))
}

fn session() -> TlsSession {
    SCENE.server.open().unwrap()
}

#[test]
fn bytes_may_come_one_by_one() {
    for version in BOTH {
        let mut pair = Pair::new(session(), client(&config(version), "localhost"));
        pair.run_cut(&mut || 1);
        pair.assert_open();
        assert_eq!(pair.ours.kept(), b"");
        pair.theirs.writer().write_all(b"slowly").unwrap();
        pair.run_cut(&mut || 1);
        assert_eq!(pair.received, b"slowly");
        pair.send(b"at once");
        assert_eq!(pair.their_received, b"at once");
    }
}

#[test]
fn much_goes_both_ways() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 3) as u8).collect();
    for version in BOTH {
        let mut pair = Pair::connect(&SCENE.server, &config(version), "localhost");
        for part in bytes.chunks(64 * 1024) {
            pair.send(part);
        }
        pair.write(&bytes);
        pair.assert_open();
        assert!(pair.received == bytes);
        assert!(pair.their_received == bytes);
        assert_eq!(pair.ours.kept().len(), 0);
        assert!(pair.kept_max <= 64 * 1024);
    }
}

#[test]
fn the_end_is_told_on_both_sides() {
    for version in BOTH {
        let mut pair = Pair::connect(&SCENE.server, &config(version), "localhost");
        pair.theirs.writer().write_all(b"last words").unwrap();
        pair.theirs.send_close_notify();
        pair.run();
        assert!(pair.has_ended);
        assert_eq!(pair.received, b"last words");
        // The other direction is still open, and what comes after the end is ignored.
        pair.send(b"good bye");
        assert_eq!(pair.their_received, b"good bye");
        assert_eq!(pair.deliver(b"nonsense"), b"");
        assert!(pair.our_error.is_none() && pair.ours.kept().is_empty());
        let mut out = Vec::new();
        pair.ours.close(&mut out);
        let length = out.len();
        pair.ours.close(&mut out);
        assert_eq!(out.len(), length, "only once");
        pair.deliver_to_them(&out);
        assert!(pair.their_end);
        assert!(pair.ours.seal(b"more", &mut out).is_err());
    }
}

#[test]
fn our_end_leaves_their_way_open() {
    for version in BOTH {
        let mut pair = Pair::connect(&SCENE.server, &config(version), "localhost");
        let mut out = Vec::new();
        pair.ours.close(&mut out);
        pair.deliver_to_them(&out);
        assert!(pair.their_end);
        pair.write(b"one more thing");
        assert_eq!(pair.received, b"one more thing");
        assert!(pair.our_error.is_none());
    }
}

/// Half a record waits while we send.
#[test]
fn sending_does_not_disturb_what_is_kept() {
    let mut pair = Pair::connect(&SCENE.server, &config(&TLS13), "localhost");
    pair.theirs.writer().write_all(b"in two halves").unwrap();
    let mut bytes = Vec::new();
    pair.theirs.write_tls(&mut bytes).unwrap();
    pair.deliver(&bytes[..9]);
    assert_eq!(pair.ours.kept().len(), 9);
    pair.send(b"meanwhile");
    assert_eq!(pair.ours.kept().len(), 9);
    pair.deliver(&bytes[9..]);
    assert_eq!(
        (pair.received.as_slice(), pair.ours.kept().len()),
        (b"in two halves".as_slice(), 0)
    );
    assert_eq!(pair.their_received, b"meanwhile");
}

#[test]
fn new_keys_are_taken_and_answered() {
    let mut pair = Pair::connect(&SCENE.server, &config(&TLS13), "localhost");
    for _ in 0..100 {
        match &mut pair.theirs {
            rustls::Connection::Client(client) => client.refresh_traffic_keys().unwrap(),
            rustls::Connection::Server(_) => unreachable!(),
        }
        pair.run_cut(&mut || 7);
        pair.assert_talks();
    }
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_complete() {
    let mut session = session();
    let mut out = Vec::new();
    assert!(session.seal(b"early", &mut out).is_err());
    session.close(&mut out);
    session.begin(&mut out).unwrap();
    assert_eq!(out, b"");
    assert!(session.is_handshaking() && session.info().is_none());
}

/// Gives a session `bytes` in pieces. Returns the error, if any, and the session's last words.
fn receive(session: &mut TlsSession, bytes: &[u8], piece: usize) -> (Option<String>, Vec<u8>) {
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut input = [session.kept(), piece].concat();
        let mut room = vec![0; input.len()];
        if let Err(error) = session.receive(&mut input, &mut Plain::new(&mut room), &mut out) {
            assert!(session.kept().is_empty());
            let again = session.receive(&mut [0; 9], &mut Plain::new(&mut [0; 9]), &mut out);
            assert!(again.is_err(), "it is over");
            return (Some(error.to_string()), out);
        }
        assert!(session.kept().len() <= 64 * 1024);
    }
    (None, out)
}

#[test]
fn what_is_no_tls_is_answered_with_an_alert() {
    // An MQTT CONNECT, and an HTTP request.
    for bytes in [b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0".as_slice(), b"GET / HTTP/1.1\r\n\r\n"] {
        let (error, out) = receive(&mut session(), bytes, 1);
        assert_eq!(error.as_deref(), Some("the peer does not speak TLS"));
        assert_eq!(out, [21, 3, 3, 0, 2, 2, 50], "a fatal alert: decode_error");
    }
}

/// A handshake message that says it is long, in records of one byte each.
#[test]
fn a_handshake_is_not_kept_without_bound() {
    let header = [22, 3, 1, 0, 4, 1, 0, 0xff, 0xf0];
    let filler = [[22, 3, 1, 0, 1, 0].as_slice()].repeat(20_000);
    let bytes = [&header, filler.concat().as_slice()].concat();
    let (error, _) = receive(&mut session(), &bytes, 1000);
    assert_eq!(error.as_deref(), Some("the peer's handshake message is too long"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn records_may_be_split_anywhere(
        pieces in prop::collection::vec(1_usize..700, 1..40),
        sizes in prop::collection::vec(0_usize..40_000, 0..6),
        is_new in any::<bool>(),
    ) {
        let version = if is_new { &TLS13 } else { &TLS12 };
        let mut pair = Pair::new(session(), client(&config(version), "localhost"));
        let mut pieces = pieces.into_iter().cycle();
        let mut cut = || pieces.next().unwrap();
        pair.run_cut(&mut cut);
        pair.assert_open();
        let mut all = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let bytes = vec![number as u8; size];
            all.extend_from_slice(&bytes);
            pair.theirs.writer().write_all(&bytes).unwrap();
            pair.run_cut(&mut cut);
            pair.send(&bytes);
        }
        pair.assert_open();
        prop_assert!(pair.received == all);
        prop_assert!(pair.their_received == all);
        prop_assert_eq!(pair.ours.kept().len(), 0);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..3000),
        piece in 1_usize..500,
        begins_right in any::<bool>(),
    ) {
        let header = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let bytes = if begins_right { [&header, bytes.as_slice()].concat() } else { bytes };
        let (error, out) = receive(&mut session(), &bytes, piece);
        // An alert is one record of its own. Nothing else is said to garbage.
        let is_alert = out.len() == 7 && out[0] == 21 && error.is_some();
        prop_assert!(out.is_empty() || is_alert, "{out:?}");
    }

    /// A good conversation with one byte changed: an error or an odd agreement, but no panic, and
    /// no bytes that the Client did not send.
    #[test]
    fn a_changed_byte_does_no_harm(
        position in any::<prop::sample::Index>(),
        change in 1_u8..,
        flight in 0_usize..3,
        is_new in any::<bool>(),
    ) {
        let version = if is_new { &TLS13 } else { &TLS12 };
        let mut pair = Pair::new(session(), client(&config(version), "localhost"));
        for number in 0..4 {
            if number == 2 && !pair.theirs.is_handshaking() {
                pair.theirs.writer().write_all(b"hello").unwrap();
            }
            let mut bytes = Vec::new();
            while pair.theirs.wants_write() {
                pair.theirs.write_tls(&mut bytes).unwrap();
            }
            if bytes.is_empty() {
                continue;
            }
            if number == flight {
                let index = position.index(bytes.len());
                bytes[index] ^= change;
            }
            let out = pair.deliver(&bytes);
            pair.deliver_to_them(&out);
            if pair.our_error.is_some() {
                break;
            }
        }
        prop_assert!(pair.received.is_empty() || pair.received == b"hello");
    }
}
