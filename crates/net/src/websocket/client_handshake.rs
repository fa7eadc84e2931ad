//! The client's part of the opening handshake: sends the request, and checks whether the response
//! opens a WebSocket.

use std::fmt::Write;

use tungstenite::handshake::client::{Response, generate_key};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;

use super::error::WebSocketError;
use super::head::{Head, lists, single};
use super::{HEAD_BYTES_MAX, SUBPROTOCOLS};

/// Waits for the response.
#[derive(Debug)]
pub(super) struct ClientHandshake {
    accept: String,
    head: Head,
}

/// How much of the text of a server that refuses is passed on.
const WORDS_BYTES_MAX: usize = 300;

impl ClientHandshake {
    /// Appends the request to `out`. Characters that must not be in a request's head (spaces,
    /// control characters) are escaped in `path` and left out of `host`.
    pub(super) fn new(host: &str, path: &str, out: &mut Vec<u8>) -> Self {
        let host: String = host.chars().filter(char::is_ascii_graphic).collect();
        let path = escape(path);
        let (key, subprotocol) = (generate_key(), SUBPROTOCOLS[0]);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        out.extend_from_slice(request.as_bytes());
        Self { accept: derive_accept_key(key.as_bytes()), head: Head::default() }
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.head.kept_bytes()
    }

    /// Takes what arrived. Returns how many bytes belonged to the response, once it is complete and
    /// has opened the WebSocket.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Option<usize>, WebSocketError> {
        let taken = self.head.take(bytes);
        if self.head.bytes().first().is_some_and(|first| *first != b'H') {
            return Err(wrong("it does not answer in HTTP; is this the port of a WebSocket?"));
        }
        let too_long = |_| wrong(format!("its answer has more than {HEAD_BYTES_MAX} bytes"));
        let Some(taken) = taken.map_err(too_long)? else {
            return Ok(None);
        };
        self.check(&bytes[taken..])?;
        Ok(Some(taken))
    }

    /// Checks the response. RFC 6455, 4.1
    fn check(&self, body: &[u8]) -> Result<(), WebSocketError> {
        let head = self.head.bytes();
        let response = match Response::try_parse(head) {
            Ok(Some((length, response))) if length == head.len() => response,
            Ok(_) => return Err(wrong("its answer is no response of HTTP/1.1")),
            Err(error) => return Err(wrong(format!("its answer is malformed: {error}"))),
        };
        if response.status().as_u16() != 101 {
            let status = response.status();
            return Err(wrong(format!("it answers {status}{}", own_words(body))));
        }
        let headers = response.headers();
        let subprotocol = single(headers, "Sec-WebSocket-Protocol");
        for (is_good, reason) in [
            (lists(headers, "Upgrade", "websocket"), "its answer lacks Upgrade: websocket"),
            (lists(headers, "Connection", "upgrade"), "its answer lacks Connection: Upgrade"),
            (
                single(headers, "Sec-WebSocket-Accept") == Some(&self.accept),
                "its Sec-WebSocket-Accept does not fit the key",
            ),
            (subprotocol == Some(SUBPROTOCOLS[0]), "it does not choose the subprotocol mqtt"),
            (
                !headers.contains_key("Sec-WebSocket-Extensions"),
                "it chooses an extension that was not offered",
            ),
        ] {
            if !is_good {
                return Err(wrong(reason));
            }
        }
        Ok(())
    }
}

fn wrong(reason: impl Into<String>) -> WebSocketError {
    WebSocketError::Response(reason.into())
}

fn escape(path: &str) -> String {
    let mut escaped = String::from(if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && byte != b'#' {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Returns the beginning of the body, fit to be shown on one line.
fn own_words(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(&body[..body.len().min(WORDS_BYTES_MAX)]);
    let words: Vec<_> = body.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if words.is_empty() { words } else { format!(": {words}") }
}
