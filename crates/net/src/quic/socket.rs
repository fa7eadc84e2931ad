//! A UDP socket that waits for QUIC.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol as IpProtocol, Socket, Type};

use crate::admission::Admission;
use crate::listen::{Listen, ListenAddress, Protocol, QuicOptions};
use crate::listener::{BindError, first_address};
use crate::tls::TlsServer;

/// The size of the socket's buffers. Datagrams of many clients arrive together; those that the
/// operating system does not keep are lost and sent again. It may allow less than this.
const BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// The number of handshakes under way above which clients first have to show that their address is
/// theirs.
const RETRY_ABOVE: usize = 64;

/// The time from the first datagram to the control stream, if the listener sets none.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A bound UDP socket with what its listener asks for.
pub(crate) struct QuicSocket {
    pub(super) socket: UdpSocket,
    pub(super) address: SocketAddr,
    pub(super) terms: QuicTerms,
}

/// What a listener asks for besides its socket.
pub(crate) struct QuicTerms {
    pub(super) options: QuicOptions,
    pub(super) tls: Arc<TlsServer>,
    pub(super) admission: Arc<Admission>,
    /// The time from the first datagram to the control stream.
    pub(super) deadline: Duration,
    pub(super) retry_above: usize,
}

impl QuicTerms {
    /// Returns what `listen` asks for; `None` if that is not QUIC.
    pub(crate) fn new(
        listen: &Listen,
        tls: Arc<TlsServer>,
        admission: Arc<Admission>,
    ) -> Option<Self> {
        let Protocol::Quic(options) = &listen.protocol else {
            return None;
        };
        let deadline = listen.limits.connect_deadline.unwrap_or(HANDSHAKE_MAX);
        let (options, retry_above) = (options.clone(), RETRY_ABOVE);
        Some(Self { options, tls, admission, deadline, retry_above })
    }
}

impl QuicSocket {
    /// Binds `address`: `IP:PORT` or `NAME:PORT`. `[::]:PORT` takes IPv4 too; port 0 lets the
    /// operating system choose.
    ///
    /// # Errors
    ///
    /// The address is not one for UDP, the name is unknown, the port is in use, or the address is
    /// not this machine's.
    pub(crate) fn bind(address: &ListenAddress, terms: QuicTerms) -> Result<Self, BindError> {
        let bind_error = |error| BindError { address: address.to_string(), error };
        let ListenAddress::Network(address) = address else {
            let text = "QUIC needs an address of UDP";
            return Err(bind_error(io::Error::new(io::ErrorKind::InvalidInput, text)));
        };
        let socket = first_address(address, bind_udp).map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        Ok(Self { socket, address, terms })
    }

    /// Returns the address that was bound, with the port that the operating system chose.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.address
    }
}

/// Returns a bound socket, of both families if the address stands for all IPv6 addresses.
pub(super) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(IpProtocol::UDP))?;
    if address.is_ipv6() {
        let takes_ipv4 = address.ip().is_unspecified();
        socket.set_only_v6(!takes_ipv4)?;
    }
    // Smaller buffers work, too.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSocket").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for QuicTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTerms").field("options", &self.options).finish_non_exhaustive()
    }
}
