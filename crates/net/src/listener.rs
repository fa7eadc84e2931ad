//! Sockets that wait for connections: TCP sockets here, Unix sockets in `unix`.
//!
//! Their options are set only here. This module must never read from a connection.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol as IpProtocol, SockRef, Socket, TcpKeepalive, Type};

use crate::listen::{Listen, ListenAddress, Protocol, TcpOptions};
use crate::peer::PeerAddress;
use crate::socket::PlainSocket;
use crate::unix::{FileIdentity, UnixListener};

/// A bound socket. It takes no connections before it listens. The file of a Unix socket is removed
/// from its directory when the listener is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: ListenerSocket,
    address: ListenerAddress,
    /// The address as it was asked for.
    name: String,
    tcp: TcpOptions,
    /// Whether another socket of this process may be bound to the same port for now.
    shares_port: bool,
}

/// The listeners of this process that may be in the way of a new one, because they are about to go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Yielding {
    /// A listener that shares its port, see [`Listener::share_port`].
    pub(crate) port: bool,
    /// The file of a Unix socket at the same path.
    pub(crate) file: Option<FileIdentity>,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerAddress {
    /// An address of IPv4 or IPv6 with the port that the operating system chose.
    Network(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why an address could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address as it was asked for.
    pub address: String,
    /// What the operating system said.
    pub error: io::Error,
}

/// What a poller registers and connections come out of.
#[derive(Debug)]
pub(crate) enum ListenerSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds a TCP or Unix socket. A name is tried with each of its addresses. QUIC has sockets of
    /// another kind.
    ///
    /// # Errors
    ///
    /// The name is unknown, the port or the socket is in use, the address is not this machine's, or
    /// another part of what is asked for is impossible.
    pub(crate) fn bind(listen: &Listen, yielding: Yielding) -> Result<Self, BindError> {
        Self::bind_any(listen, yielding)
            .map_err(|error| BindError { address: listen.address.to_string(), error })
    }

    /// Lets the operating system take connections from now on.
    ///
    /// # Errors
    ///
    /// Somebody else has begun to listen there since the socket was bound.
    pub(crate) fn listen(&mut self) -> Result<(), BindError> {
        let backlog = backlog(&self.tcp);
        let listens = match &mut self.socket {
            ListenerSocket::Tcp(socket) => SockRef::from(&*socket).listen(backlog),
            ListenerSocket::Unix(socket) => socket.listen(backlog),
        };
        let listens = listens.and_then(|()| match self.shares_port {
            // Nobody else may be bound to the port as well.
            true => self.share_port(false),
            false => Ok(()),
        });
        listens.map_err(|error| BindError { address: self.name.clone(), error })
    }

    /// Sets whether another socket of this process may be bound to an address that is a part of
    /// this one, or that this one is a part of. The other socket has to share its port, too.
    pub(crate) fn share_port(&mut self, shares: bool) -> io::Result<()> {
        self.shares_port = shares;
        match &self.socket {
            ListenerSocket::Tcp(socket) => share_port(socket, shares),
            ListenerSocket::Unix(_) => Ok(()),
        }
    }

    /// Returns which file the listener is, if it is a Unix socket.
    pub(crate) fn file(&self) -> Option<FileIdentity> {
        match &self.socket {
            ListenerSocket::Tcp(_) => None,
            ListenerSocket::Unix(socket) => Some(socket.file()),
        }
    }

    /// Sets other TCP options, for connections from now on.
    pub(crate) fn set_tcp_options(&mut self, options: &TcpOptions) -> io::Result<()> {
        let ListenerSocket::Tcp(socket) = &self.socket else {
            return Ok(());
        };
        let socket = SockRef::from(socket);
        set_options(&socket, options)?;
        if options.backlog != self.tcp.backlog {
            socket.listen(backlog(options))?;
        }
        self.tcp = options.clone();
        Ok(())
    }

    /// Returns a listener that listens already.
    #[cfg(test)]
    pub(crate) fn open(listen: &Listen) -> Result<Self, BindError> {
        let mut listener = Self::bind(listen, Yielding::default())?;
        listener.listen()?;
        Ok(listener)
    }

    /// Returns the address that was bound, with the port that the operating system chose.
    pub(crate) fn local_address(&self) -> &ListenerAddress {
        &self.address
    }

    /// Returns the next connection that waits, and where it comes from. `WouldBlock`: there is
    /// none.
    pub(crate) fn accept(&self) -> io::Result<(PlainSocket, PeerAddress)> {
        match &self.socket {
            ListenerSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // Linux passes the listener's options on to connections, which saves two calls for
                // each.
                if cfg!(not(target_os = "linux")) {
                    set_options(&SockRef::from(&stream), &self.tcp)?;
                }
                Ok((PlainSocket::Tcp(stream), PeerAddress::Network(peer)))
            }
            ListenerSocket::Unix(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((PlainSocket::Unix(stream), peer))
            }
        }
    }

    fn bind_any(listen: &Listen, yielding: Yielding) -> io::Result<Self> {
        if matches!(listen.protocol, Protocol::Quic(_)) {
            let text = "QUIC is spoken over UDP, not over TCP or a Unix socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (name, tcp) = (listen.address.to_string(), listen.tcp.clone());
        match &listen.address {
            ListenAddress::Network(address) => {
                let shares_port = yielding.port;
                let bind = |address| bind_tcp(address, &tcp, shares_port);
                let (socket, address) = first_address(address, bind)?;
                let address = ListenerAddress::Network(address);
                Ok(Self { socket: ListenerSocket::Tcp(socket), address, name, tcp, shares_port })
            }
            ListenAddress::Unix(path) => {
                let socket = UnixListener::bind(path, &listen.unix, yielding.file)?;
                let (socket, address) =
                    (ListenerSocket::Unix(socket), ListenerAddress::Unix(path.clone()));
                Ok(Self { socket, address, name, tcp, shares_port: false })
            }
        }
    }
}

impl ListenerAddress {
    /// Returns the address, if it is a network address.
    pub fn network(&self) -> Option<SocketAddr> {
        match self {
            Self::Network(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl Source for ListenerSocket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.source().register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.source().reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

impl ListenerSocket {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener) => listener.source(),
        }
    }
}

/// Tries the addresses of `IP:PORT` or `NAME:PORT` in turn. If none works, returns the last error.
pub(crate) fn first_address<T>(
    address: &str,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match bind(candidate) {
            Ok(bound) => return Ok(bound),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn bind_tcp(
    address: SocketAddr,
    options: &TcpOptions,
    shares_port: bool,
) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(IpProtocol::TCP))?;
    if address.is_ipv6() {
        let takes_ipv4 = address.ip().is_unspecified();
        socket.set_only_v6(!takes_ipv4)?;
    }
    // A restart must not wait for the connections of the last run to time out.
    socket.set_reuse_address(true)?;
    if shares_port {
        share_port(&socket, true)?;
    }
    socket.set_nonblocking(true)?;
    set_options(&SockRef::from(&socket), options)?;
    socket.bind(&address.into())?;
    let socket = TcpListener::from_std(socket.into());
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn set_options(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.no_delay)?;
    if options.keep_alive.is_zero() {
        return socket.set_keepalive(false);
    }
    // Operating systems count in whole seconds, and accept neither zero nor very large numbers.
    let seconds = options.keep_alive.as_secs().clamp(1, 32_767);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(seconds)))
}

fn share_port(socket: &impl AsFd, shares: bool) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::ReusePort, &shares)?)
}

fn backlog(options: &TcpOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        if self.error.raw_os_error().is_none() {
            // This error comes from code that knew more than the operating system.
            return self.error.fmt(f);
        }
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
    use std::net::TcpStream;

    use super::*;
    use crate::listen::QuicOptions;

    /// Waits for a connection, as a poller would.
    fn accept(listener: &Listener) -> (PlainSocket, PeerAddress) {
        loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => return accepted.unwrap(),
            }
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = Listener::open(&Listen::new("127.0.0.1:0")).unwrap();
        let address = first.local_address().to_string();
        let error = Listener::open(&Listen::new(&address)).unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("in use"), "{error}");
    }

    #[test]
    fn who_is_only_bound_is_not_there_yet() {
        let mut listener =
            Listener::bind(&Listen::new("127.0.0.1:0"), Yielding::default()).unwrap();
        let address = listener.local_address().network().unwrap();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // Of two bound sockets, only one can listen.
        let listen = Listen::new(address.to_string());
        let mut other = Listener::bind(&listen, Yielding::default()).unwrap();
        listener.listen().unwrap();
        TcpStream::connect(address).unwrap();
        let error = other.listen().unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
    }

    #[test]
    fn one_that_goes_lets_another_one_have_its_port() {
        let mut old = Listener::open(&Listen::new("127.0.0.1:0")).unwrap();
        let port = old.local_address().network().unwrap().port();
        let all = Listen::new(format!("0.0.0.0:{port}"));
        old.share_port(true).unwrap();
        Listener::bind(&all, Yielding::default()).unwrap_err();
        let mut new = Listener::bind(&all, Yielding { port: true, file: None }).unwrap();
        new.listen().unwrap();
        old.share_port(false).unwrap();
        Listener::bind(&all, Yielding::default()).unwrap_err();
        drop(old);
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_, peer) = accept(&new);
        assert_eq!(peer, PeerAddress::Network(client.local_addr().unwrap()));
    }

    #[test]
    fn what_cannot_be_listened_on_is_explained() {
        let quic = Listen::new("127.0.0.1:0").quic(QuicOptions::default());
        for (listen, part) in [
            (Listen::new("127.0.0.1"), "127.0.0.1"),
            (Listen::new("192.0.2.1:1883"), "not one of this machine"),
            (quic, "UDP"),
        ] {
            let error = Listener::open(&listen).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn all_addresses_of_ipv6_take_ipv4_too() {
        let Ok(listener) = Listener::open(&Listen::new("[::]:0")) else {
            return; // A machine without IPv6.
        };
        let port = listener.local_address().network().unwrap().port();
        for address in ["127.0.0.1", "::1"] {
            let address: std::net::IpAddr = address.parse().unwrap();
            let client = TcpStream::connect((address, port)).unwrap();
            let (_, peer) = accept(&listener);
            assert_eq!(peer.ip(), Some(address), "IPv4 is told as IPv4");
            drop(client);
        }
        let listener = Listener::open(&Listen::new("[::1]:0")).unwrap();
        let port = listener.local_address().network().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }

    #[test]
    fn connections_have_the_options_of_the_listener() {
        for (no_delay, seconds) in [(true, 7), (false, 0)] {
            let mut listen = Listen::new("127.0.0.1:0");
            listen.tcp.no_delay = no_delay;
            listen.tcp.keep_alive = Duration::from_secs(seconds);
            let listener = Listener::open(&listen).unwrap();
            let address = listener.local_address().network().unwrap();
            let client = TcpStream::connect(address).unwrap();
            let (PlainSocket::Tcp(stream), peer) = accept(&listener) else { panic!("not TCP") };
            assert_eq!(peer, PeerAddress::Network(client.local_addr().unwrap()));
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_nodelay().unwrap(), no_delay);
            assert_eq!(socket.keepalive().unwrap(), seconds > 0);
            if seconds > 0 {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(seconds));
            }
        }
    }
}
