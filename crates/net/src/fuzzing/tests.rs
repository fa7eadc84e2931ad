//! The fuzz targets `websocket` and `proxy_header` without a fuzzer, on their seeds and on
//! thousands of random changes of these.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use proptest::prelude::*;
use proptest::sample::Index;

use super::{check_proxy_header, check_websocket};

/// If this variable is set to any value, the seeds are written instead of compared.
const WRITE: &str = "MIDGE_WRITE_SEEDS";

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nOrigin: http://a\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, mqtt\r\n\r\n";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

type Seeds = BTreeMap<&'static str, Vec<u8>>;

/// Returns the byte that says what a session is, and how long pieces are.
fn choice(session: u8, piece_length: u8) -> u8 {
    session | (piece_length - 1) << 2
}

fn websocket_seeds() -> Seeds {
    // Masks of zeros, so that a change of the masked bytes is the same change of the payload.
    let masked = |first: u8, payload: &[u8]| {
        [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    };
    let message = [masked(0x02, b"\x30\x03\0"), masked(0x89, b"?"), masked(0x80, b"\x01a")];
    let message = message.concat();
    let long = [&[0x82, 0xfe, 1, 0, 1, 2, 3, 4][..], &[7; 256]].concat();
    let longer = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &[7; 20]].concat();
    let close = masked(0x88, b"\x03\xe8bye");
    let seed = |session, parts: &[&[u8]]| [&[choice(session, 3)], &parts.concat()[..]].concat();
    let other_request = REQUEST.replace("chat, mqtt", "mqttv3.1").replace("/mqtt ", "/mqtt?a=b ");
    Seeds::from([
        ("request", seed(0, &[REQUEST.as_bytes()])),
        ("request-and-frames", seed(0, &[REQUEST.as_bytes(), &message, &close])),
        ("request-for-another-subprotocol", seed(0, &[other_request.as_bytes()])),
        ("request-for-another-path", seed(0, &[REQUEST.replace("mqtt ", "x ").as_bytes()])),
        ("server-messages", seed(1, &[&message, &long, &message, &longer])),
        ("server-close", seed(1, &[&message, &close, &message])),
        ("server-pings", seed(1, &[&masked(0x89, b"").repeat(20), &masked(0x8a, &[1; 125])])),
        ("client-messages", seed(2, &[b"\x02\x02ab\x89\x01c\x80\0\x82\x7e\x00\x80", &[7; 128]])),
        ("client-close", seed(2, &[b"\x88\x02\x03\xe8"])),
        ("closing", seed(3, &[&message, &close, &message])),
    ])
}

fn proxy_header_seeds() -> Seeds {
    let binary = |command: u8, family: u8, payload: &[u8]| {
        let length = (payload.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family], &length, payload].concat()
    };
    let values = b"\x01\0\x04mqtt\x02\0\x01a\x20\0\x16\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x04name";
    let with_values = [&[127, 0, 0, 1, 127, 0, 0, 2, 1, 2, 3, 4], &values[..]].concat();
    let seed = |parts: &[&[u8]]| [&[5], &parts.concat()[..]].concat();
    Seeds::from([
        ("line-tcp4", seed(&[b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\r\n\x10\x0c"])),
        ("line-tcp6", seed(&[b"PROXY TCP6 ::7 2001:db8::1 12345 1883\r\n\x10\x0c"])),
        ("line-unknown", seed(&[b"PROXY UNKNOWN\r\n\x10\x0c"])),
        ("binary-tcp4", seed(&[&binary(0x21, 0x11, &with_values[..12]), b"rest"])),
        ("binary-tcp4-values", seed(&[&binary(0x21, 0x11, &with_values), b"rest"])),
        ("binary-tcp6", seed(&[&binary(0x21, 0x21, &[1; 36])])),
        ("binary-unix", seed(&[&binary(0x21, 0x31, &[b'/'; 216])])),
        ("binary-local", seed(&[&binary(0x20, 0, b""), b"rest"])),
        ("none-tls", [&[4], &b"\x16\x03\x01\x02\0\x01\0\x01"[..]].concat()),
        ("none-http", [&[4], &b"PUT / HTTP/1.1\r\n\r\n"[..]].concat()),
    ])
}

/// A target's name, its seeds and its body.
type Target = (&'static str, Seeds, fn(&[u8]));

fn all_seeds() -> [Target; 2] {
    [
        ("websocket", websocket_seeds(), check_websocket),
        ("proxy_header", proxy_header_seeds(), check_proxy_header),
    ]
}

#[test]
fn seeds_on_disk_are_these() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (target, seeds, check) in all_seeds() {
        let directory = root.join(target);
        if env::var_os(WRITE).is_some() {
            fs::create_dir_all(&directory).unwrap();
            for (name, bytes) in &seeds {
                fs::write(directory.join(name), bytes).unwrap();
            }
        }
        for (name, bytes) in &seeds {
            let found = fs::read(directory.join(name)).unwrap_or_default();
            assert!(found == *bytes, "fuzz/seeds/{target}/{name} is old: run with {WRITE}=1");
            check(bytes);
        }
        let count = fs::read_dir(directory).unwrap().count();
        assert_eq!(count, seeds.len(), "fuzz/seeds/{target} has seeds that nobody makes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn mutations_of_seeds_hold(
        (target, seed) in (0..2usize, any::<Index>()),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4u8), 0..6),
    ) {
        let (_, seeds, check) = &all_seeds()[target];
        let seeds: Vec<_> = seeds.values().cloned().collect();
        let mut bytes = seed.get(&seeds).clone();
        for (index, byte, change) in changes {
            let index = index.index(bytes.len());
            match change {
                0 => bytes.insert(index, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(index)),
                2 => bytes.truncate(index + 1),
                _ => bytes[index] = byte,
            }
        }
        check(&bytes);
    }
}
