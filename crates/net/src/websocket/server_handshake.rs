//! The server's part of the opening handshake: decides which requests become a WebSocket.
//!
//! The response to a refused request says what was wrong and what to do: its sender may have no
//! other way to find out.

use std::sync::Arc;

use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::Request;
use tungstenite::http::HeaderMap;

use super::error::WebSocketError;
use super::head::{Head, list, lists, single};
use super::{HEAD_BYTES_MAX, SUBPROTOCOLS};
use crate::listen::WebSocketOptions;

/// Waits for a request.
#[derive(Debug)]
pub(super) struct ServerHandshake {
    options: Arc<WebSocketOptions>,
    head: Head,
    /// Whether the line with the method is complete and was checked.
    has_line: bool,
}

/// An HTTP status with its phrase.
type Status = (u16, &'static str);

const BAD_REQUEST: Status = (400, "Bad Request");
const FORBIDDEN: Status = (403, "Forbidden");
const NOT_FOUND: Status = (404, "Not Found");
const METHOD_NOT_ALLOWED: Status = (405, "Method Not Allowed");
const UPGRADE_REQUIRED: Status = (426, "Upgrade Required");
const HEADERS_TOO_LARGE: Status = (431, "Request Header Fields Too Large");
const VERSION_NOT_SUPPORTED: Status = (505, "HTTP Version Not Supported");

/// A request that becomes no WebSocket.
struct Refusal {
    status: Status,
    reason: String,
}

impl ServerHandshake {
    pub(super) fn new(options: Arc<WebSocketOptions>) -> Self {
        Self { options, head: Head::default(), has_line: false }
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.head.kept_bytes()
    }

    /// Takes what arrived. Returns how many bytes belonged to the request, once it is complete and
    /// its response is in `out`.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, WebSocketError> {
        match self.answer(bytes, out) {
            Ok(taken) => Ok(taken),
            Err(refusal) => {
                refusal.write(out);
                let Refusal { status: (status, _), reason } = refusal;
                Err(WebSocketError::Request { status, reason })
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let taken = self.head.take(bytes);
        if !self.has_line && !self.head.bytes().is_empty() {
            self.has_line = bytes.contains(&b'\n');
            check_start(self.head.bytes(), self.has_line)?;
        }
        let Some(taken) = taken.map_err(|_| {
            let reason = format!("The request's head has more than {HEAD_BYTES_MAX} bytes.");
            refuse(HEADERS_TOO_LARGE, reason)
        })?
        else {
            return Ok(None);
        };
        let request = parse(self.head.bytes())?;
        let headers = request.headers();
        check_http(headers)?;
        self.check_path(request.uri().path())?;
        check_upgrade(headers)?;
        let key = key(headers)?;
        self.check_origin(headers)?;
        let subprotocol = choose_subprotocol(headers)?;
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
            derive_accept_key(key.as_bytes()),
        );
        out.extend_from_slice(response.as_bytes());
        Ok(Some(taken))
    }

    fn check_path(&self, path: &str) -> Result<(), Refusal> {
        let wanted = &self.options.path;
        if path != wanted {
            let reason = format!("Nothing is here. The WebSocket is at the path {wanted}");
            return Err(refuse(NOT_FOUND, reason));
        }
        Ok(())
    }

    /// Checks which page asks, as browsers tell. Other Clients need not, and some pretend to be a
    /// page.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let origins = &self.options.origins;
        if origins.is_empty() || !headers.contains_key("Origin") {
            return Ok(());
        }
        let origin = single(headers, "Origin").unwrap_or_default();
        if !origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            let origin = origin.chars().take(100).collect::<String>().escape_default().to_string();
            let reason = format!(
                "Pages of {origin} may not connect. Add this origin to those that the listener \
                 allows (websocket.origins)."
            );
            return Err(refuse(FORBIDDEN, &reason));
        }
        Ok(())
    }
}

/// Refuses bytes that cannot become a request, without waiting for more of them: a method has
/// letters only, and the first line, once it is complete, names HTTP.
fn check_start(head: &[u8], has_line: bool) -> Result<(), Refusal> {
    /// The first byte of a TLS record with a handshake message.
    const TLS_HANDSHAKE: u8 = 0x16;
    const METHOD_BYTES_MAX: usize = 16;
    if head.first() == Some(&TLS_HANDSHAKE) {
        let reason = "This port speaks WebSocket without TLS. Use ws: instead of wss:, or the \
                      port of a listener with TLS.";
        return Err(refuse(BAD_REQUEST, reason));
    }
    let start = &head[..head.len().min(METHOD_BYTES_MAX)];
    let method = start.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_alphabetic);
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let names_http = || line.windows(6).any(|part| part == b" HTTP/");
    if !is_method || has_line && !names_http() {
        let reason = "This port speaks WebSocket, which begins with an HTTP request. Use a \
                      WebSocket client, or the port of a listener without WebSocket.";
        return Err(refuse(BAD_REQUEST, reason));
    }
    Ok(())
}

fn parse(head: &[u8]) -> Result<Request, Refusal> {
    match Request::try_parse(head) {
        Ok(Some((length, request))) if length == head.len() => Ok(request),
        Err(Error::Protocol(ProtocolError::WrongHttpMethod)) => {
            Err(refuse(METHOD_NOT_ALLOWED, "A WebSocket is opened with the method GET."))
        }
        Err(Error::Protocol(ProtocolError::WrongHttpVersion)) => {
            Err(refuse(VERSION_NOT_SUPPORTED, "A WebSocket is opened with HTTP/1.1."))
        }
        Err(Error::Capacity(CapacityError::TooManyHeaders)) => {
            Err(refuse(HEADERS_TOO_LARGE, "The request has too many headers."))
        }
        Err(Error::Protocol(ProtocolError::HttparseError(error))) => {
            Err(refuse(BAD_REQUEST, format!("This is no request of HTTP/1.1: {error}.")))
        }
        Ok(_) => Err(refuse(BAD_REQUEST, "This is no request of HTTP/1.1.")),
        Err(error) => Err(refuse(BAD_REQUEST, format!("The request is malformed: {error}."))),
    }
}

/// Checks what HTTP/1.1 asks of every request, and of one that has no body.
fn check_http(headers: &HeaderMap) -> Result<(), Refusal> {
    if single(headers, "Host").is_none() {
        return Err(refuse(BAD_REQUEST, "The request needs one header Host."));
    }
    let length = headers.get_all("Content-Length").iter().any(|length| length != "0");
    if length || headers.contains_key("Transfer-Encoding") {
        return Err(refuse(BAD_REQUEST, "A request for a WebSocket has no body."));
    }
    Ok(())
}

/// Checks that the request asks for a WebSocket. RFC 6455, 4.2.1
fn check_upgrade(headers: &HeaderMap) -> Result<(), Refusal> {
    if !lists(headers, "Upgrade", "websocket") {
        let reason = "This is a WebSocket: connect with a WebSocket client. The request needs \
                      the header Upgrade: websocket.";
        return Err(refuse(UPGRADE_REQUIRED, reason));
    }
    if !lists(headers, "Connection", "upgrade") {
        let reason = "The request needs the header Connection: Upgrade. A proxy in between may \
                      have removed it.";
        return Err(refuse(BAD_REQUEST, reason));
    }
    if single(headers, "Sec-WebSocket-Version") != Some("13") {
        let reason = "The request needs one header Sec-WebSocket-Version: 13.";
        return Err(refuse(UPGRADE_REQUIRED, reason));
    }
    Ok(())
}

/// Returns the client's key: 16 bytes in base64, which are 22 digits and two padding signs.
fn key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let is_good = |key: &&str| {
        let digits = key.strip_suffix("==").unwrap_or_default().as_bytes();
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        // The last digit has two bits for the sixteenth byte and four that are zero.
        digits.len() == 22
            && digits.iter().all(is_digit)
            && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
    };
    single(headers, "Sec-WebSocket-Key").filter(is_good).ok_or_else(|| {
        let reason = "The request needs one header Sec-WebSocket-Key with 16 bytes in base64.";
        refuse(BAD_REQUEST, reason)
    })
}

/// Returns the best subprotocol that the client offers. The answer has to name it, so there has to
/// be one.
// [MQTT-6.0.0-3], [MQTT-6.0.0-4]
fn choose_subprotocol(headers: &HeaderMap) -> Result<&'static str, Refusal> {
    let offered = list(headers, "Sec-WebSocket-Protocol").unwrap_or_default();
    let chosen = SUBPROTOCOLS.into_iter().find(|subprotocol| offered.contains(subprotocol));
    chosen.ok_or_else(|| {
        let reason = "The client has to offer the subprotocol mqtt: the request needs the header \
                      Sec-WebSocket-Protocol: mqtt.";
        refuse(BAD_REQUEST, reason)
    })
}

fn refuse(status: Status, reason: impl Into<String>) -> Refusal {
    Refusal { status, reason: reason.into() }
}

impl Refusal {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { status: (status, phrase), reason } = self;
        let more = match self.status {
            METHOD_NOT_ALLOWED => "Allow: GET\r\n",
            UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        // A protocol named under Upgrade has to be announced under Connection. RFC 9110, 7.8
        let connection = if self.status == UPGRADE_REQUIRED { "Upgrade, close" } else { "close" };
        let length = reason.len() + 1;
        let response = format!(
            "HTTP/1.1 {status} {phrase}\r\n{more}Connection: {connection}\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{reason}\n"
        );
        out.extend_from_slice(response.as_bytes());
    }
}
