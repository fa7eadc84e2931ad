//! The transport below a session: how bytes get to a broker and back.
//!
//! [`Connection`] is what a transport has to be; today there is TCP. This module must never know
//! about Control Packets.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::error::ClientError;

/// How long one address of a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 1883;

/// An open, non-blocking stream of bytes to a broker.
pub(crate) trait Connection: Read + Write {
    /// Asks to be told when the stream can be read or written.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Tells the other side that nothing more will be sent.
    fn finish_sending(&mut self) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn finish_sending(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// The endpoint of a URL's parts. The error says that this build lacks the transport.
    pub(crate) fn new(scheme: &str, host: &str, port: Option<u16>) -> Result<Self, String> {
        match scheme {
            "mqtt" | "tcp" => {
                Ok(Self { host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT) })
            }
            "mqtts" | "ssl" | "tls" | "ws" | "wss" | "quic" => Err(format!(
                "{scheme}:// is not supported by this build: it speaks mqtt:// (TCP) only"
            )),
            _ => Err(format!("{scheme}:// is not a scheme of MQTT: use mqtt://")),
        }
    }

    /// Connects to the first address of the host that accepts, and gives up at `deadline`.
    pub(crate) fn open(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Box<dyn Connection>, ClientError> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| {
            let host = &self.host;
            ClientError::transient(format!(
                "cannot find the host '{host}': {error}. Check the name after -h"
            ))
        })?;
        let mut last_error = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match connect_tcp(address, deadline) {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => last_error = error,
            }
        }
        Err(self.cannot_connect(&last_error))
    }

    fn cannot_connect(&self, error: &io::Error) -> ClientError {
        let (reason, advice) = match error.kind() {
            ErrorKind::ConnectionRefused => (
                "connection refused".to_owned(),
                "Is a broker running there? Start one with: midge",
            ),
            ErrorKind::TimedOut => {
                ("no answer".to_owned(), "Check the address, and that no firewall is in between")
            }
            _ => (error.to_string(), "Check the address after -h and the port after -p"),
        };
        ClientError::transient(format!("cannot connect to {self}: {reason}. {advice}"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn connect_tcp(address: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.map_or(CONNECT_TIMEOUT, |left| left.min(CONNECT_TIMEOUT));
    if timeout.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let stream = std::net::TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_an_endpoint() {
        let endpoint = |host, port| Endpoint::new("mqtt", host, port).unwrap().to_string();
        assert_eq!(endpoint("localhost", None), "localhost:1883");
        assert_eq!(endpoint("::1", Some(1)), "[::1]:1");
    }

    #[test]
    fn refuses_a_scheme_that_this_build_lacks() {
        for scheme in ["mqtts", "ws", "wss"] {
            let error = Endpoint::new(scheme, "h", None).unwrap_err();
            assert!(error.contains("not supported by this build"), "{error}");
        }
        assert!(Endpoint::new("http", "h", None).unwrap_err().contains("use mqtt://"));
    }

    #[test]
    fn says_what_to_do_when_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let endpoint = Endpoint::new("mqtt", "127.0.0.1", Some(port)).unwrap();
        let error = endpoint.open(None).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot connect to 127.0.0.1:{port}: connection refused. \
                 Is a broker running there? Start one with: midge"
            )
        );
        assert_eq!(error.exit_code(), 1);
    }
}
