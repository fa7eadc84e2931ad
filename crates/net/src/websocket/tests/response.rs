//! A client's request, and the responses that the client accepts or refuses.

use tungstenite::handshake::derive_accept_key;

use super::{BINARY, Side, WebSocketError, WebSocketSession, from_server};

/// Returns a client that has sent its request, and the good response to that.
fn client() -> (Side, String) {
    let mut out = Vec::new();
    let session = WebSocketSession::client("example.org:8083", "/mqtt?a=b", &mut out);
    let request = String::from_utf8(out).unwrap();
    let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\nsec-websocket-protocol: mqtt\r\n\r\n",
        derive_accept_key(key.as_bytes()),
    );
    (Side::new(session), response)
}

fn refused(change: impl FnOnce(String) -> String) -> String {
    let (mut side, response) = client();
    let response = change(response);
    let Err(WebSocketError::Response(reason)) = side.receive(response.as_bytes()) else {
        panic!("must be refused: {response}");
    };
    assert_eq!(side.out, b"", "a server that refuses is told nothing");
    reason
}

#[test]
fn a_request_has_what_it_needs() {
    let mut out = Vec::new();
    WebSocketSession::client("example.org:8083", "/mqtt?a=b", &mut out);
    let request = String::from_utf8(out).unwrap();
    for line in [
        "GET /mqtt?a=b HTTP/1.1",
        "Host: example.org:8083",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
    ] {
        assert!(request.split("\r\n").any(|other| other == line), "{line} in {request}");
    }
    assert!(request.ends_with("\r\n\r\n"));
}

#[test]
fn host_and_path_cannot_break_out_of_their_line() {
    let mut out = Vec::new();
    WebSocketSession::client("example.org\r\nX: 1", "a b\r\nY: 1#\u{e9}", &mut out);
    let request = String::from_utf8(out).unwrap();
    assert!(request.starts_with("GET /a%20b%0D%0AY:%201%23%C3%A9 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nHost: example.orgX:1\r\n"), "{request}");
}

#[test]
fn a_good_response_is_taken_with_a_frame_behind_it_in_any_pieces() {
    for piece_length in [1, 2, 3, 50, 1000] {
        let (mut side, response) = client();
        let stream = [response.into_bytes(), from_server(BINARY, b"hello, client")].concat();
        side.receive_in_pieces(&stream, piece_length).unwrap();
        assert_eq!(side.payload, b"hello, client");
        assert!(!side.session.is_handshaking());
    }
}

#[test]
fn other_responses_are_refused_and_say_why() {
    for (from, to, word) in [
        ("upgrade: WebSocket", "upgrade: h2c", "Upgrade"),
        ("connection: upgrade", "connection: close", "Connection"),
        ("sec-websocket-accept: ", "sec-websocket-accept: x", "Sec-WebSocket-Accept"),
        ("protocol: mqtt", "protocol: mqttv3.1", "subprotocol"),
        ("sec-websocket-protocol: mqtt\r\n", "", "subprotocol"),
        ("\r\n\r\n", "\r\nsec-websocket-extensions: x\r\n\r\n", "extension"),
        ("HTTP/1.1", "HTTP/1.0", "malformed"),
        ("HTTP/1.1", "SSH-2.0", "does not answer in HTTP"),
        ("101 Switching Protocols", "200 OK", "200 OK"),
        ("\r\n\r\n", "\r\nx: \0\r\n\r\n", "malformed"),
    ] {
        let reason = refused(|response| response.replacen(from, to, 1));
        assert!(reason.contains(word), "{word} in {reason}");
    }
    let reason = refused(|_| format!("HTTP/1.1 101 {}", "a".repeat(9000)));
    assert!(reason.contains("8192"), "{reason}");
}

#[test]
fn a_refusing_servers_own_words_are_passed_on() {
    let reason = refused(|_| {
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 22\r\n\r\nNot from here.\r\nGo\tto\x1b B."
            .to_string()
    });
    assert_eq!(reason, "it answers 403 Forbidden: Not from here. Go to B.");
}
