//! Requests that a server accepts, and those that it refuses.

use std::sync::Arc;

use proptest::prelude::*;

use super::{BINARY, Side, WebSocketError, WebSocketOptions, WebSocketSession, from_client};

/// Headers of a good request: RFC 6455's own (1.3), except for the subprotocol.
const HEADERS: [(&str, &str); 6] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "mqtt"),
    ("Sec-WebSocket-Version", "13"),
];

/// The answer to that key by RFC 6455, 1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn request(line: &str, headers: &[(&str, &str)]) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{line}\r\n{}\r\n", lines.collect::<String>())
}

fn good_request() -> String {
    request("GET /mqtt HTTP/1.1", &HEADERS)
}

/// Returns a good request with other values of `name`; with no values, the header is absent.
fn with(name: &str, values: &[&str]) -> String {
    let mut headers = HEADERS.to_vec();
    headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    headers.extend(values.iter().map(|value| (name, *value)));
    request("GET /mqtt HTTP/1.1", &headers)
}

/// Asserts that the request is accepted, and returns the subprotocol.
fn must_be_taken(request: &str) -> String {
    let mut side = Side::server();
    let result = side.receive(request.as_bytes());
    assert_eq!(result, Ok(()), "{request}");
    assert!(!side.session.is_handshaking(), "{request}");
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let rest = side.out_text().strip_prefix(head).unwrap();
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: ");
    rest.strip_prefix(&accept).unwrap().strip_suffix("\r\n\r\n").unwrap().to_string()
}

/// Asserts that the request is refused by a whole response, and returns the response.
fn must_be_refused(side: &mut Side, request: &[u8], status: u16) -> String {
    let text = String::from_utf8_lossy(request);
    let Err(WebSocketError::Request { status: told, reason }) = side.receive(request) else {
        panic!("must be refused: {text}");
    };
    assert_eq!(told, status, "{reason} {text}");
    let response = side.out_text().to_string();
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, format!("{reason}\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    assert!(head.contains("close"), "{head}");
    assert!(side.session.receive(&mut [b'G'; 9], &mut Vec::new()).unwrap().has_ended);
    response
}

fn refused(request: &str, status: u16) -> String {
    must_be_refused(&mut Side::server(), request.as_bytes(), status)
}

#[test]
fn the_example_of_the_rfc_is_taken() {
    assert_eq!(must_be_taken(&good_request()), "mqtt");
}

#[test]
fn names_are_taken_in_any_case_and_values_as_lists() {
    for change in [str::to_ascii_lowercase, str::to_ascii_uppercase] {
        let headers = HEADERS.map(|(name, value)| (change(name), value));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        must_be_taken(&request("GET /mqtt HTTP/1.1", &headers));
    }
    for (name, values) in [
        ("Upgrade", &["WebSocket"][..]),
        ("Upgrade", &["h2c, websocket"]),
        ("Upgrade", &["h2c", "websocket"]),
        ("Connection", &["upgrade"]),
        ("Connection", &["keep-alive, Upgrade"]),
        ("Connection", &["keep-alive,UPGRADE ,x"]),
        ("Connection", &["keep-alive", "Upgrade"]),
        ("Sec-WebSocket-Version", &["  13 "]),
        ("Content-Length", &["0"]),
        ("Sec-WebSocket-Extensions", &["permessage-deflate; client_max_window_bits"]),
        ("X-Doubled", &["a", "b"]),
    ] {
        must_be_taken(&with(name, values));
    }
}

#[test]
fn the_best_subprotocol_is_chosen() {
    for (offered, chosen) in [
        (&["mqtt"][..], "mqtt"),
        (&["mqttv3.1, mqtt"], "mqtt"),
        (&["mqttv3.1.1", "chat", "mqttv3.1"], "mqttv3.1"),
        (&["chat,mqttv3.1.1,superchat"], "mqttv3.1.1"),
        (&["chat", "superchat , mqtt"], "mqtt"),
        (&["mqtt", "mqtt"], "mqtt"),
    ] {
        assert_eq!(must_be_taken(&with("Sec-WebSocket-Protocol", offered)), chosen, "{offered:?}");
    }
}

#[test]
fn wrong_and_missing_headers_are_refused_and_named() {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    for (name, values, status) in [
        ("Host", &[][..], 400),
        ("Host", &["a", "b"], 400),
        ("Upgrade", &[], 426),
        ("Upgrade", &["websockets"], 426),
        ("Upgrade", &["h2c"], 426),
        ("Connection", &[], 400),
        ("Connection", &["keep-alive"], 400),
        ("Connection", &["no-upgrade"], 400),
        ("Sec-WebSocket-Version", &[], 426),
        ("Sec-WebSocket-Version", &["8"], 426),
        ("Sec-WebSocket-Version", &["13, 8"], 426),
        ("Sec-WebSocket-Version", &["13", "13"], 426),
        ("Sec-WebSocket-Key", &[], 400),
        ("Sec-WebSocket-Key", &[KEY, KEY], 400),
        ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ"], 400),
        ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQQ="], 400),
        ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZR=="], 400),
        ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZS-ub25jZQ=="], 400),
        ("Sec-WebSocket-Protocol", &[], 400),
        ("Sec-WebSocket-Protocol", &[""], 400),
        ("Sec-WebSocket-Protocol", &["chat, MQTT, mqttv5"], 400),
    ] {
        let response = refused(&with(name, values), status);
        assert!(response.contains(name), "the response names {name}: {response}");
    }
    for (name, values) in [("Content-Length", &["5"]), ("Transfer-Encoding", &["chunked"])] {
        assert!(refused(&with(name, values), 400).contains("body"));
    }
}

#[test]
fn refusals_say_what_would_do() {
    let version = refused(&with("Sec-WebSocket-Version", &["8"]), 426);
    assert!(version.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{version}");
    let plain = refused(&with("Upgrade", &[]), 426);
    assert!(plain.contains("\r\nUpgrade: websocket\r\n"), "{plain}");
    assert!(plain.contains("\r\nConnection: Upgrade, close\r\n"), "{plain}");
    let method = refused(&request("POST /mqtt HTTP/1.1", &HEADERS), 405);
    assert!(method.contains("\r\nAllow: GET\r\n"), "{method}");
    let path = refused(&request("GET /other HTTP/1.1", &HEADERS), 404);
    assert!(path.contains("/mqtt"), "{path}");
}

#[test]
fn the_path_counts_and_a_query_string_does_not() {
    for target in ["/mqtt?token=a/b?c", "/mqtt?", "http://server.example.com/mqtt"] {
        must_be_taken(&request(&format!("GET {target} HTTP/1.1"), &HEADERS));
    }
    for target in ["/", "/mqtt/", "/MQTT", "/mqtt2", "/x/mqtt", "/?/mqtt", "*"] {
        refused(&request(&format!("GET {target} HTTP/1.1"), &HEADERS), 404);
    }
}

#[test]
fn what_is_no_request_of_http_1_1_is_refused() {
    refused(&request("GET /mqtt HTTP/1.0", &HEADERS), 505);
    refused(&request("PRI * HTTP/2.0", &[]), 400);
    refused(&request("get /mqtt HTTP/1.1", &HEADERS), 405);
    for line in ["GET /mqtt", "GET", "GET  /mqtt HTTP/1.1", "GET /mqtt HTTP/1.1 x", "GET /\u{e9}\n"]
    {
        refused(&request(line, &HEADERS), 400);
    }
    for header in ["No colon", "Sp ace: 1", "Folded: 1\r\n 2", ": 1", "Nul: \0", "Space : 1"] {
        refused(&format!("GET /mqtt HTTP/1.1\r\n{header}\r\n\r\n"), 400);
    }
    refused(&with("X", &["1"; 200]), 431);
}

#[test]
fn who_speaks_something_else_is_told_at_his_first_byte() {
    for (first, word) in [(0x16, "TLS"), (0x10, "WebSocket client"), (b'\r', "HTTP request")] {
        let response = must_be_refused(&mut Side::server(), &[first], 400);
        assert!(response.contains(word), "{response}");
    }
}

#[test]
fn who_speaks_a_protocol_of_lines_is_told_at_the_end_of_the_first() {
    for start in
        ["SSH-", "SSH-2.0-x\r\n", "AMQP\0", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "EHLO x\n"]
    {
        let response = must_be_refused(&mut Side::server(), start.as_bytes(), 400);
        assert!(response.contains("begins with an HTTP request"), "{start}: {response}");
    }
    for start in ["GE", "GET", "GET /mqtt HTTP/1.1", "GET /mqtt HTTP/1.1\r\nHo"] {
        let mut side = Side::server();
        let result = side.receive_in_pieces(start.as_bytes(), 1);
        assert!(result.is_ok(), "{start}: {result:?}");
    }
}

#[test]
fn a_head_that_is_too_long_is_refused_however_it_comes() {
    let long = with("X-Long", &["a".repeat(8192).as_str()]);
    refused(&long, 431);
    let mut side = Side::server();
    let result = side.receive_in_pieces(long.as_bytes(), 7);
    assert!(matches!(result, Err(WebSocketError::Request { status: 431, .. })), "{result:?}");
    let short = with("X-Long", &["a".repeat(7000).as_str()]);
    must_be_taken(&short);
}

#[test]
fn origins_are_held_against_the_list() {
    let server = |origins: &[&str]| {
        let origins = origins.iter().map(ToString::to_string).collect();
        let options = WebSocketOptions { origins, ..WebSocketOptions::default() };
        Side::new(WebSocketSession::server(Arc::new(options)))
    };
    let allowed = ["https://example.org", "http://localhost:8080"];
    for origins in [&["https://example.org"][..], &["HTTPS://EXAMPLE.org"], &[]] {
        let mut side = server(&allowed);
        assert_eq!(side.receive(with("Origin", origins).as_bytes()), Ok(()), "{origins:?}");
    }
    for origins in [
        &["https://example.com"][..],
        &["https://example.org.evil.example"],
        &["http://example.org"],
        &["https://example.org:444"],
        &["null"],
        &[""],
        &["https://example.org", "https://evil.example"],
    ] {
        must_be_refused(&mut server(&allowed), with("Origin", origins).as_bytes(), 403);
    }
    let mut side = server(&[]);
    assert_eq!(side.receive(with("Origin", &["https://example.com"]).as_bytes()), Ok(()));
}

#[test]
fn a_frame_directly_behind_the_request_is_taken() {
    let stream = [good_request().into_bytes(), from_client(BINARY, b"hello, broker")].concat();
    let mut side = Side::server();
    side.receive(&stream).unwrap();
    assert_eq!(side.payload, b"hello, broker");
}

#[test]
fn an_answer_is_appended_to_what_waits() {
    let mut side = Side::server();
    side.out.extend_from_slice(b"waits");
    side.receive(good_request().as_bytes()).unwrap();
    assert!(side.out_text().starts_with("waitsHTTP/1.1 101"));
}

proptest! {
    #[test]
    fn a_request_and_frames_may_come_in_any_pieces(
        cuts in prop::collection::vec(0..400usize, 0..20),
    ) {
        let stream = [
            good_request().into_bytes(),
            from_client(BINARY, b"hello, "),
            from_client(BINARY, b"broker"),
        ].concat();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut side = Side::server();
        for cut in cuts.windows(2) {
            side.receive(&stream[cut[0]..cut[1]]).unwrap();
        }
        prop_assert_eq!(&side.payload[..], b"hello, broker");
    }
}
