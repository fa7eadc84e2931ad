//! The client's side: opens streams to a server, by any transport.
//!
//! These streams are read, written and waited for like accepted ones. Handshakes go on while the
//! stream is read; until they are complete, writing returns `WouldBlock`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UnixStream};

use crate::layered::Layered;
use crate::peer::{PeerAddress, Transport};
#[cfg(feature = "quic")]
use crate::quic::QuicRuntime;
use crate::socket::PlainSocket;
use crate::stream::Stream;
use crate::tls::{TlsClient, TlsClientOptions, TlsFileError};
use crate::websocket::WebSocketSession;

/// Where a server is, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The transport.
    pub transport: Transport,
    /// A name or an address; for a Unix socket, its path.
    pub host: String,
    /// The port; it means nothing for a Unix socket.
    pub port: u16,
    /// The path of a WebSocket's URL, such as `/mqtt`.
    pub path: String,
}

/// Opens streams to one server.
#[derive(Debug)]
pub struct Connector {
    target: Target,
    tls: Option<Arc<TlsClient>>,
    #[cfg(feature = "quic")]
    quic: Option<QuicRuntime>,
}

impl Connector {
    /// Makes a connector and opens nothing yet. `tls` counts only for the transports that have TLS.
    ///
    /// # Errors
    ///
    /// A file of `tls` cannot be used, or the operating system refuses a thread for QUIC.
    pub fn new(target: Target, tls: &TlsClientOptions) -> Result<Self, TlsFileError> {
        let needs_tls = matches!(
            target.transport,
            Transport::Tls | Transport::SecureWebSocket | Transport::Quic
        );
        let tls = needs_tls.then(|| TlsClient::new(tls)).transpose()?.map(Arc::new);
        Ok(Self {
            target,
            tls,
            #[cfg(feature = "quic")]
            quic: None,
        })
    }

    /// Returns the server that streams are opened to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the addresses of the host, none for a Unix socket. Asks the name service and waits
    /// for it.
    ///
    /// # Errors
    ///
    /// The host is unknown.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if self.target.transport == Transport::Unix {
            return Ok(Vec::new());
        }
        Ok((self.target.host.as_str(), self.target.port).to_socket_addrs()?.collect())
    }

    /// Begins to connect to one of the addresses (which does not matter for a Unix socket).
    /// [`Stream::is_established`] and readiness tell when the connection is there.
    ///
    /// # Errors
    ///
    /// The operating system's errors.
    pub fn open(&mut self, address: Option<SocketAddr>) -> io::Result<Stream> {
        match (self.target.transport, address) {
            (Transport::Unix, _) => self.open_unix(),
            #[cfg(feature = "quic")]
            (Transport::Quic, Some(address)) => self.open_quic(address),
            (_, Some(address)) => {
                let socket = TcpStream::connect(address)?;
                // Clients want small packets to be sent at once.
                let _ = socket.set_nodelay(true);
                self.above(PlainSocket::Tcp(socket), PeerAddress::Network(address))
            }
            (_, None) => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
        }
    }

    /// Connects to the first address of the host that accepts, and waits until it does.
    ///
    /// # Errors
    ///
    /// The error of the last address; `TimedOut` after `timeout`.
    pub fn connect(&mut self, timeout: Duration) -> io::Result<Stream> {
        let deadline = Instant::now() + timeout;
        if matches!(self.target.transport, Transport::Unix) {
            return self.open(None);
        }
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in self.addresses()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.connect_to(address, left) {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    fn connect_to(&mut self, address: SocketAddr, timeout: Duration) -> io::Result<Stream> {
        if self.target.transport == Transport::Quic {
            return self.open(Some(address));
        }
        let socket = std::net::TcpStream::connect_timeout(&address, timeout)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let socket = PlainSocket::Tcp(TcpStream::from_std(socket));
        self.above(socket, PeerAddress::Network(address))
    }

    fn open_unix(&self) -> io::Result<Stream> {
        let socket = UnixStream::connect(PathBuf::from(&self.target.host))?;
        let address = PeerAddress::Process { user: 0, group: 0, process: None };
        Ok(Stream::plain(PlainSocket::Unix(socket), address, None))
    }

    #[cfg(feature = "quic")]
    fn open_quic(&mut self, address: SocketAddr) -> io::Result<Stream> {
        let tls = self.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
        let runtime = match &mut self.quic {
            Some(runtime) => runtime,
            none => none.insert(QuicRuntime::new()?),
        };
        Ok(Stream::quic(runtime.connect(address, &self.target.host, &tls)?))
    }

    /// Puts the target's layers above a socket.
    fn above(&self, socket: PlainSocket, address: PeerAddress) -> io::Result<Stream> {
        let failed = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let tls = self.tls.as_ref().map(|tls| tls.open(&self.target.host)).transpose();
        let tls = tls.map_err(failed)?;
        let mut greeting = Vec::new();
        let websocket = match self.target.transport {
            Transport::WebSocket | Transport::SecureWebSocket => {
                Some(WebSocketSession::client(&self.authority(), &self.target.path, &mut greeting))
            }
            _ => None,
        };
        if tls.is_none() && websocket.is_none() {
            return Ok(Stream::plain(socket, address, None));
        }
        let layered = Layered::opened(socket, tls, websocket, greeting)?;
        Ok(Stream::layered(layered, address, None))
    }

    /// Returns the host as HTTP names it.
    fn authority(&self) -> String {
        let Target { host, port, .. } = &self.target;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}
