//! Headers of the PROXY protocol, whole and in pieces, good and bad.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;

use super::{ProxyError, ProxyHeader, ProxyProgress};
use crate::listen::{ProxyMode, ProxyOptions};
use crate::peer::{PeerAddress, ProxiedTls, ProxyInfo};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

fn proxy() -> PeerAddress {
    PeerAddress::Network("10.0.0.1:5000".parse().unwrap())
}

fn options(mode: ProxyMode) -> ProxyOptions {
    ProxyOptions { mode, from: Vec::new() }
}

fn header(mode: ProxyMode) -> ProxyHeader {
    ProxyHeader::new(Arc::new(options(mode)), proxy())
}

/// Returns a header of version 2.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

fn addresses4() -> Vec<u8> {
    vec![192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x07, 0x5b]
}

fn value(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

fn info(destination: &str) -> ProxyInfo {
    ProxyInfo {
        proxy: proxy(),
        destination: Some(destination.parse().unwrap()),
        authority: None,
        alpn: None,
        tls: None,
    }
}

fn done(source: Option<&str>, info: Option<ProxyInfo>, rest: &[u8]) -> ProxyProgress {
    let source = source.map(|source| source.parse::<SocketAddr>().unwrap());
    ProxyProgress::Done { source, info: info.map(Arc::new), rest: rest.to_vec() }
}

fn tls(client: u8, failure: u32) -> Vec<u8> {
    let fixed = [&[client], &failure.to_be_bytes()[..]].concat();
    let values = [value(0x21, b"TLSv1.3"), value(0x22, b"sensor-7"), value(0x23, b"x")];
    value(0x20, &[fixed, values.concat()].concat())
}

/// Returns headers with their results, if exactly `rest` comes after them.
fn good(rest: &[u8]) -> Vec<(&'static str, Vec<u8>, ProxyProgress)> {
    let source4 = Some("192.0.2.7:12345");
    let info4 = || info("198.51.100.1:1883");
    let line = |line: &str| line.as_bytes().to_vec();
    let addresses6 = [&[0; 15][..], &[7], &[0; 15], &[1], &[0x30, 0x39, 0x07, 0x5b]].concat();
    let paths = [&b"/run/a"[..], &[0; 102], b"/run/b", &[0; 102]].concat();
    let values = [value(1, b"mqtt"), value(2, b"broker.example"), tls(7, 0), value(2, b"again")];
    let with_values = [addresses4(), values.concat()].concat();
    let all_values = ProxyInfo {
        authority: Some("broker.example".to_string()),
        alpn: Some(b"mqtt".to_vec()),
        tls: Some(ProxiedTls {
            version: Some("TLSv1.3".to_string()),
            common_name: Some("sensor-7".to_string()),
            is_verified: true,
        }),
        ..info4()
    };
    let of_path = ProxyInfo { destination: None, alpn: Some(b"x".to_vec()), ..info4() };
    let paths_and_value = [paths, value(1, b"x")].concat();
    let without_family = ProxyInfo { destination: None, ..info4() };
    let longest_line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 16));
    let filled = [addresses4(), value(4, &[0; 4096 - 16 - 12 - 3])].concat();
    vec![
        (
            "TCP4",
            line("PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\r\n"),
            done(source4, Some(info4()), rest),
        ),
        (
            "TCP6",
            line("PROXY TCP6 ::7 ::1 12345 1883\r\n"),
            done(Some("[::7]:12345"), Some(info("[::1]:1883")), rest),
        ),
        ("UNKNOWN", line("PROXY UNKNOWN\r\n"), done(None, None, rest)),
        ("UNKNOWN and more", line("PROXY UNKNOWN a b c d e f g\r\n"), done(None, None, rest)),
        ("longest line", longest_line.into_bytes(), done(None, None, rest)),
        ("v2", binary(PROXY, TCP4, &addresses4()), done(source4, Some(info4()), rest)),
        (
            "v2 TCP6",
            binary(PROXY, TCP6, &addresses6),
            done(Some("[::7]:12345"), Some(info("[::1]:1883")), rest),
        ),
        ("v2 UNIX", binary(PROXY, UNIX, &paths_and_value), done(None, Some(of_path), rest)),
        ("v2 LOCAL", binary(LOCAL, 0, &[]), done(None, None, rest)),
        ("v2 LOCAL with addresses", binary(LOCAL, TCP4, &addresses4()), done(None, None, rest)),
        ("v2 LOCAL with a family alone", binary(LOCAL, TCP4, &[]), done(None, None, rest)),
        ("v2 no family", binary(PROXY, 0, &[1, 2, 3]), done(None, Some(without_family), rest)),
        (
            "v2 with values",
            binary(PROXY, TCP4, &with_values),
            done(source4, Some(all_values), rest),
        ),
        ("v2 longest", binary(PROXY, TCP4, &filled), done(source4, Some(info4()), rest)),
    ]
}

#[test]
fn headers_are_read_whole_with_what_follows_and_in_any_two_pieces() {
    let rest = b"\x10\x0c\0\x04MQTT";
    for ((name, bytes, alone), (_, _, followed)) in good(b"").into_iter().zip(good(rest)) {
        assert_eq!(header(ProxyMode::Required).receive(&bytes), Ok(alone), "{name}");
        let stream = [&bytes[..], rest].concat();
        assert_eq!(header(ProxyMode::Optional).receive(&stream).as_ref(), Ok(&followed), "{name}");
        for first in 0..bytes.len() {
            let mut pieces = header(ProxyMode::Required);
            assert_eq!(pieces.receive(&stream[..first]), Ok(ProxyProgress::Wait), "{name} {first}");
            assert_eq!(pieces.receive(&stream[first..]).as_ref(), Ok(&followed), "{name} {first}");
        }
    }
}

#[test]
fn headers_are_read_byte_by_byte() {
    for (name, bytes, alone) in good(b"") {
        let mut pieces = header(ProxyMode::Required);
        let (last, before) = bytes.split_last().unwrap();
        for byte in before {
            assert_eq!(pieces.receive(&[*byte]), Ok(ProxyProgress::Wait), "{name}");
        }
        assert_eq!(pieces.receive(&[*last]), Ok(alone), "{name}");
    }
}

#[test]
fn a_certificate_counts_as_verified_only_if_it_was_shown_and_found_good() {
    for (client, failure, is_verified) in
        [(7, 0, true), (3, 0, true), (5, 0, true), (1, 0, false), (7, 1, false), (1, 1, false)]
    {
        let payload = [addresses4(), tls(client, failure)].concat();
        let progress = header(ProxyMode::Required).receive(&binary(PROXY, TCP4, &payload));
        let Ok(ProxyProgress::Done { info: Some(info), .. }) = progress else {
            panic!("{progress:?}");
        };
        assert_eq!(
            info.tls.as_ref().map(|tls| tls.is_verified),
            Some(is_verified),
            "{client} {failure}"
        );
    }
    let payload = [addresses4(), tls(0, 0)].concat();
    let progress = header(ProxyMode::Required).receive(&binary(PROXY, TCP4, &payload));
    let without_tls = done(Some("192.0.2.7:12345"), Some(info("198.51.100.1:1883")), b"");
    assert_eq!(progress, Ok(without_tls), "the Client spoke no TLS");
}

/// Bytes from a Client without a proxy, and bytes that begin like a header but are none.
const NO_HEADERS: [&[u8]; 7] = [
    b"\x16\x03\x01\x02\0\x01",
    b"\x10\x0c\0\x04MQTT",
    b"GET /mqtt HTTP/1.1\r\n",
    b"PUT / HTTP/1.1\r\n",
    b"PROXIES",
    b"\r\n\r\nhello",
    b"\r\n\r\n\0\r\nQUIT\r",
];

#[test]
fn without_a_header_all_is_passed_on_where_it_may_be_absent() {
    for bytes in NO_HEADERS {
        for first in 0..bytes.len() {
            let mut pieces = header(ProxyMode::Optional);
            let rest = match pieces.receive(&bytes[..first]).unwrap() {
                ProxyProgress::Done { source: None, info: None, rest } => {
                    [&rest, &bytes[first..]].concat()
                }
                ProxyProgress::Done { .. } => panic!("there is no header"),
                ProxyProgress::Wait => {
                    let progress = pieces.receive(&bytes[first..]);
                    assert_eq!(progress, Ok(done(None, None, bytes)));
                    continue;
                }
            };
            assert_eq!(rest, bytes);
        }
        assert_eq!(header(ProxyMode::Required).receive(bytes), Err(ProxyError::Missing));
        assert_eq!(header(ProxyMode::Off).receive(bytes), Ok(done(None, None, bytes)));
    }
}

#[test]
fn who_is_no_proxy_may_not_send_a_header() {
    let from = vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let receive = |mode, address: &str, bytes: &[u8]| {
        let address = PeerAddress::Network(SocketAddr::new(address.parse().unwrap(), 1));
        let options = Arc::new(ProxyOptions { mode, from: from.clone() });
        ProxyHeader::new(options, address).receive(bytes)
    };
    for (name, bytes, _) in good(b"") {
        for mode in [ProxyMode::Optional, ProxyMode::Required] {
            for stranger in ["10.2.0.1", "::ffff:10.2.0.1", "fe80::1"] {
                let refused = receive(mode, stranger, &bytes);
                assert_eq!(refused, Err(ProxyError::NotTrusted), "{name} from {stranger}");
            }
            for friend in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
                let progress = receive(mode, friend, &bytes);
                assert!(matches!(progress, Ok(ProxyProgress::Done { .. })), "{name}: {progress:?}");
            }
        }
    }
    let no_header = NO_HEADERS[0];
    let direct = receive(ProxyMode::Optional, "10.2.0.1", no_header);
    assert_eq!(direct, Ok(done(None, None, no_header)), "strangers may connect without a header");
    let direct = receive(ProxyMode::Required, "10.2.0.1", &no_header[..1]);
    assert_eq!(direct, Err(ProxyError::NotTrusted), "only proxies may connect");
}

#[test]
fn a_process_of_this_machine_is_a_proxy_only_if_anybody_may_be() {
    let process = PeerAddress::Process { user: 1, group: 1, process: None };
    let bytes = binary(LOCAL, 0, &[]);
    let receive =
        |options: ProxyOptions| ProxyHeader::new(Arc::new(options), process).receive(&bytes);
    assert_eq!(receive(options(ProxyMode::Required)), Ok(done(None, None, b"")));
    let from = vec![IpAddr::from([127, 0, 0, 1]).into()];
    let refused = receive(ProxyOptions { mode: ProxyMode::Required, from });
    assert_eq!(refused, Err(ProxyError::NotTrusted));
}

#[test]
fn malformed_headers_are_refused() {
    let lines = [
        "PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 12345 65536\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 12345 1883\r\n",
        "PROXY TCP4 ::7 ::1 12345 1883\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 12345 1883\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 12345 1883\r\n",
        "PROXY TCP4 a\r b\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY \u{e9}\r\n",
    ];
    let too_long_line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 15));
    let with = |values: &[u8]| binary(PROXY, TCP4, &[&addresses4(), values].concat());
    let binaries = [
        binary(0x11, TCP4, &addresses4()),
        binary(0x22, TCP4, &addresses4()),
        binary(PROXY, 0x41, &addresses4()),
        binary(PROXY, 0x13, &addresses4()),
        binary(PROXY, TCP4, &addresses4()[..11]),
        binary(PROXY, TCP6, &addresses4()),
        with(&[1, 0]),
        with(&[1, 0, 5, b'm']),
        with(&value(2, b"\xff")),
        with(&value(0x20, &[1, 0, 0, 0])),
        with(&value(0x20, &[1, 0, 0, 0, 0, 0x22, 0, 9])),
        with(&value(0x20, &[1, 0, 0, 0, 0, 0x22, 0, 1, 0xff])),
    ];
    let lines = lines.into_iter().map(|line| line.as_bytes().to_vec());
    for bytes in lines.chain([too_long_line.into_bytes()]).chain(binaries) {
        let refused = header(ProxyMode::Optional).receive(&bytes);
        assert!(matches!(refused, Err(ProxyError::Malformed(_))), "{refused:?} for {bytes:?}");
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_it_comes() {
    let claim = [SIGNATURE, &[PROXY, TCP4], &4081u16.to_be_bytes()].concat();
    assert_eq!(header(ProxyMode::Required).receive(&claim), Err(ProxyError::TooLong));
    let claim = [SIGNATURE, &[PROXY, TCP4], &4080u16.to_be_bytes()].concat();
    assert_eq!(header(ProxyMode::Required).receive(&claim), Ok(ProxyProgress::Wait));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_one_verdict(
        mut bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (0..14usize).prop_map(|index| good(b"rest").swap_remove(index).1),
        ],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        piece_length in 1..50usize,
    ) {
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
        }
        let whole = header(ProxyMode::Optional).receive(&bytes);
        let mut pieces = header(ProxyMode::Optional);
        let mut verdict = Ok(ProxyProgress::Wait);
        let mut taken = 0;
        for piece in bytes.chunks(piece_length) {
            verdict = pieces.receive(piece);
            taken += piece.len();
            if verdict != Ok(ProxyProgress::Wait) {
                break;
            }
        }
        if let Ok(ProxyProgress::Done { rest, .. }) = &mut verdict {
            rest.extend_from_slice(&bytes[taken..]);
        }
        prop_assert_eq!(whole, verdict);
    }
}
