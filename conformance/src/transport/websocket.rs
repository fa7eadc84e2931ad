//! WebSocket by tungstenite, as a carrier of MQTT and, for the statements about WebSocket itself,
//! message by message.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message};

use super::Transport;
use super::frames::Framing;
use super::stream::{Stream, TcpStream};
use crate::endpoint::{Carrier, Endpoint};
use crate::target;

const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol";

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    socket: tungstenite::WebSocket<S>,
    framing: Framing,
}

/// The result of an opening handshake.
#[derive(Debug)]
struct Opened<S> {
    socket: tungstenite::WebSocket<S>,
    /// The subprotocol that the broker chose.
    subprotocol: Option<String>,
}

impl<S: Stream> WebSocket<S> {
    pub(crate) fn open(below: S, endpoint: &Endpoint, framing: Framing) -> io::Result<Self> {
        let opened = shake_hands(below, endpoint, Some("mqtt")).map_err(|error| match error {
            Error::Io(error) => error,
            error => io::Error::other(error),
        })?;
        Ok(Self { socket: opened.socket, framing })
    }
}

fn shake_hands<S: Stream>(
    below: S,
    endpoint: &Endpoint,
    subprotocols: Option<&str>,
) -> Result<Opened<S>, Error> {
    let Endpoint { host, address, path, .. } = endpoint;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let url = format!("ws://{host}:{}{path}", address.port());
    let mut request = url.into_client_request()?;
    if let Some(subprotocols) = subprotocols {
        let value = HeaderValue::from_str(subprotocols).expect("a header's value");
        request.headers_mut().insert(SUBPROTOCOL, value);
    }
    let (socket, response) = tungstenite::client(request, below).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => Error::Io(ErrorKind::TimedOut.into()),
    })?;
    let chosen = response.headers().get(SUBPROTOCOL);
    let subprotocol = chosen.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Ok(Opened { socket, subprotocol })
}

/// Turns an error into one of I/O. The end of a WebSocket, whichever side began it, becomes
/// `BrokenPipe` or `ConnectionReset`; a violation of the protocol becomes `InvalidData`.
fn io_result<T>(result: Result<T, Error>) -> io::Result<T> {
    result.map_err(|error| match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => ErrorKind::BrokenPipe.into(),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => ErrorKind::ConnectionReset.into(),
        error => io::Error::new(ErrorKind::InvalidData, error),
    })
}

impl<S: Stream> Transport for WebSocket<S> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for frame in self.framing.frames(bytes) {
            io_result(self.socket.write(frame))?;
        }
        io_result(self.socket.flush())
    }

    fn receive(&mut self, inbox: &mut Vec<u8>, wait: Duration) -> io::Result<usize> {
        self.socket.get_mut().set_wait(wait)?;
        loop {
            match io_result(self.socket.read())? {
                Message::Binary(bytes) if bytes.is_empty() => {}
                Message::Binary(bytes) => {
                    inbox.extend_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                Message::Close(_) => return Ok(0),
                Message::Ping(_) | Message::Pong(_) => {}
                other => {
                    let text = format!("MQTT is in binary messages, this came: {other:?}");
                    return Err(io::Error::new(ErrorKind::InvalidData, text));
                }
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        io_result(self.socket.close(None))?;
        io_result(self.socket.flush())
    }

    fn cut(&mut self) {
        self.socket.get_mut().cut();
    }
}

/// A WebSocket for a test that determines each frame itself.
#[derive(Debug)]
pub struct Peer {
    socket: tungstenite::WebSocket<TcpStream>,
    /// The subprotocol that the broker chose.
    pub subprotocol: Option<String>,
}

/// How a broker refuses an opening handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// By an answer with another status than 101.
    Status(u16),
    /// By ending the connection.
    Closed,
}

impl Peer {
    /// Opens a WebSocket to a plain listener and offers these subprotocols.
    ///
    /// # Errors
    /// When the broker refuses.
    ///
    /// # Panics
    /// When the broker neither accepts nor refuses.
    pub fn open(endpoint: &Endpoint, subprotocols: Option<&str>) -> Result<Self, Refused> {
        assert_eq!(endpoint.carrier, Carrier::WebSocket, "only a plain WebSocket is opened so");
        let below = TcpStream::open(endpoint.address)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", endpoint.address));
        match shake_hands(below, endpoint, subprotocols) {
            Ok(Opened { socket, subprotocol }) => Ok(Self { socket, subprotocol }),
            Err(Error::Http(response)) => Err(Refused::Status(response.status().as_u16())),
            Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => Err(Refused::Closed),
            Err(Error::Io(error)) if is_end(&error) => Err(Refused::Closed),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends messages or single frames.
    pub fn send(&mut self, frames: impl IntoIterator<Item = Message>) {
        for frame in frames {
            io_result(self.socket.write(frame)).expect("a WebSocket that takes a frame");
        }
        io_result(self.socket.flush()).expect("a WebSocket that takes frames");
    }

    /// Receives the bytes of the next binary message.
    pub fn receive(&mut self) -> Vec<u8> {
        match io_result(self.socket.read()) {
            Ok(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("expected a binary message, received {other:?}"),
        }
    }

    /// Receives the payload of the next message, which has to be a pong.
    pub fn receive_pong(&mut self) -> Vec<u8> {
        match io_result(self.socket.read()) {
            Ok(Message::Pong(bytes)) => bytes.to_vec(),
            other => panic!("expected a pong, received {other:?}"),
        }
    }

    /// Expects the broker to close the WebSocket with a Close frame of one of `codes`, which MQTT
    /// packets may precede. The Close frame may be missing only where that is allowed.
    pub fn expect_closed(&mut self, codes: &[u16]) {
        loop {
            match io_result(self.socket.read()) {
                Ok(Message::Binary(_)) => {}
                Ok(Message::Close(Some(frame))) => {
                    let code = u16::from(frame.code);
                    let is_right = codes.contains(&code) || !target::is_strict();
                    assert!(is_right, "closed with {code}, which is none of {codes:?}");
                    return;
                }
                Ok(Message::Close(None)) => {
                    assert!(!target::is_strict(), "a Close frame without a code");
                    return;
                }
                Err(error) if is_end(&error) => {
                    assert!(!target::is_strict(), "closed without a Close frame: {error}");
                    return;
                }
                other => panic!("expected the end, received {other:?}"),
            }
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
    )
}
