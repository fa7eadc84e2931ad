//! What carries a Client's bytes to the broker: TCP, TLS, WebSocket over either, QUIC.
//!
//! The far side of each is the broker's own. This side consists of other projects' blocking clients
//! and shares no code with the broker.

pub mod frames;
mod quic;
mod stream;
mod tls;
pub mod websocket;

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use crate::endpoint::{Carrier, Endpoint};
use frames::Framing;
use stream::{Stream, TcpStream};
use tls::TlsStream;
use websocket::WebSocket;

/// How long opening a connection may take, and each write.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stream of bytes to the broker and back.
pub(crate) trait Transport: Debug + Send {
    /// Sends all of `bytes`.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Appends what arrives within `wait` to `inbox` and returns how many bytes those are; 0 is the
    /// end. If the read takes too long, the error is `WouldBlock` or `TimedOut`.
    fn receive(&mut self, inbox: &mut Vec<u8>, wait: Duration) -> io::Result<usize>;

    /// Tells the broker, in the carrier's own way, that nothing more comes: TCP's FIN, TLS's
    /// `close_notify` and a FIN, a Close frame, or the end of QUIC's stream. What the broker still
    /// sends is received.
    fn finish(&mut self) -> io::Result<()>;

    /// Ends the connection without announcing it, as a dying process does.
    fn cut(&mut self);
}

/// Opens a connection to `endpoint`; `framing` determines the WebSocket frames.
pub(crate) fn open(endpoint: &Endpoint, framing: Framing) -> io::Result<Box<dyn Transport>> {
    let tcp = || TcpStream::open(endpoint.address);
    Ok(match endpoint.carrier {
        Carrier::Tcp => Box::new(Plain(tcp()?)),
        Carrier::Tls => Box::new(Plain(TlsStream::open(tcp()?, endpoint)?)),
        Carrier::WebSocket => Box::new(WebSocket::open(tcp()?, endpoint, framing)?),
        Carrier::WebSocketTls => {
            Box::new(WebSocket::open(TlsStream::open(tcp()?, endpoint)?, endpoint, framing)?)
        }
        Carrier::Quic => Box::new(quic::Quic::open(endpoint)?),
    })
}

/// A stream that carries MQTT directly.
#[derive(Debug)]
struct Plain<S>(S);

impl<S: Stream> Transport for Plain<S> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    fn receive(&mut self, inbox: &mut Vec<u8>, wait: Duration) -> io::Result<usize> {
        self.0.set_wait(wait)?;
        let mut chunk = [0; 64 * 1024];
        let count = self.0.read(&mut chunk)?;
        inbox.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.finish()
    }

    fn cut(&mut self) {
        self.0.cut();
    }
}
