//! Sockets that wait for connections.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// A bound TCP socket.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: TcpListener,
    address: SocketAddr,
}

/// Why an address could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address as it was asked for.
    pub address: String,
    /// What the operating system said.
    pub error: io::Error,
}

impl Listener {
    /// Connections that may wait to be accepted.
    const BACKLOG: i32 = 4096;

    /// Binds `address`: `IP:PORT` or `NAME:PORT`. `[::]:PORT` takes IPv4 too. Port 0 lets the
    /// operating system choose.
    ///
    /// # Errors
    ///
    /// The name is unknown, the port is in use, or the address is not this machine's.
    pub fn bind(address: &str) -> Result<Self, BindError> {
        let bind_error = |error| BindError { address: address.to_string(), error };
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in address.to_socket_addrs().map_err(bind_error)? {
            match Self::bind_socket(candidate) {
                Ok(listener) => return Ok(listener),
                Err(error) => last_error = error,
            }
        }
        Err(bind_error(last_error))
    }

    /// The address that was bound, with the port that the operating system chose.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    fn bind_socket(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            let takes_ipv4 = address.ip().is_unspecified();
            socket.set_only_v6(!takes_ipv4)?;
        }
        // A restart must not wait for the connections of the last run to time out.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(Self::BACKLOG)?;
        let socket = TcpListener::from_std(socket.into());
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("the port is in use; is another broker running there?")
            }
            io::ErrorKind::PermissionDenied => {
                f.write_str("not permitted; ports below 1024 need privileges")
            }
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("the address is not one of this machine")
            }
            _ => self.error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::Listener;

    #[test]
    fn a_port_in_use_is_named() {
        let first = Listener::bind("127.0.0.1:0").unwrap();
        let address = first.local_address().to_string();
        let error = Listener::bind(&address).unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("in use"), "{error}");
    }

    #[test]
    fn an_address_without_port_is_refused() {
        assert!(Listener::bind("127.0.0.1").is_err());
    }
}
