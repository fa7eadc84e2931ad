//! Connecting to a server of QUIC.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use quinn::{ClientConfig, ConnectError, Connecting, Endpoint};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::config::client_transport;
use super::connection::Connection;
use super::failure;
use super::runtime::{QuicRuntime, Shared};
use super::socket::bind_udp;
use super::stream::QuicStream;
use super::tls::{client_crypto, info};
use crate::listen::QuicOptions;
use crate::tls::TlsClient;

/// Connections of one client program, all on one UDP socket.
#[derive(Debug)]
pub struct QuicClient {
    runtime: Arc<QuicRuntime>,
    endpoint: Endpoint,
    config: ClientConfig,
    options: QuicOptions,
}

impl QuicClient {
    /// Binds any free port for connections with these certificates.
    ///
    /// # Errors
    ///
    /// The operating system refuses a socket, or `tls` cannot do TLS 1.3.
    pub fn new(
        runtime: &Arc<QuicRuntime>,
        tls: &TlsClient,
        options: &QuicOptions,
    ) -> io::Result<Self> {
        let crypto = client_crypto(&tls.client_config()).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(client_transport(options));
        let endpoint = runtime.shared().add_endpoint(any_socket()?, None)?;
        let (runtime, options) = (Arc::clone(runtime), options.clone());
        Ok(Self { runtime, endpoint, config, options })
    }

    /// Begins to connect to `address`, whose certificate has to be that of `server_name`. The
    /// stream is handshaking; a failure, also that of a handshake longer than `deadline`, is told by its
    /// reads and writes.
    ///
    /// # Errors
    ///
    /// `server_name` is none, or `address` is of a family that this machine does not have.
    pub fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        deadline: Duration,
    ) -> io::Result<QuicStream> {
        let shared = self.runtime.shared();
        let connecting = {
            let _context = shared.handle().enter();
            self.endpoint
                .connect_with(self.config.clone(), address, server_name)
                .map_err(|error| connect_failed(&error))?
        };
        let (mut tell, told) = oneshot::channel();
        let (runtime, options) = (Arc::clone(shared), self.options.clone());
        shared.handle().spawn(async move {
            let mut handshake = pin!(timeout(deadline, shake_hands(connecting, runtime, options)));
            let result = poll_fn(|context| match tell.poll_closed(context) {
                // Nobody waits for it any more.
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => handshake.as_mut().poll(context).map(Some),
            });
            let Some(result) = result.await else { return };
            let result = result.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
            });
            // If nobody waits any more, the connection is closed with it.
            let _ = tell.send(result);
        });
        Ok(QuicStream::connecting(told, address))
    }

    /// Goes on with another port, as after a change of the network. Connections survive.
    ///
    /// # Errors
    ///
    /// The operating system refuses a socket.
    pub fn rebind(&self) -> io::Result<()> {
        let _context = self.runtime.shared().handle().enter();
        self.endpoint.rebind(any_socket()?)
    }
}

async fn shake_hands(
    connecting: Connecting,
    runtime: Arc<Shared>,
    options: QuicOptions,
) -> io::Result<Connection> {
    let lost = |error| failure::connection_lost(&error);
    let connection = connecting.await.map_err(lost)?;
    let control = connection.open_bi().await.map_err(lost)?;
    let tls = info(&connection);
    Ok(Connection::new(connection, control, runtime, tls, &options))
}

/// A socket of both families, or of IPv4 on a machine that has no other.
fn any_socket() -> io::Result<UdpSocket> {
    bind_udp((Ipv6Addr::UNSPECIFIED, 0).into())
        .or_else(|_| bind_udp((Ipv4Addr::UNSPECIFIED, 0).into()))
}

fn connect_failed(error: &ConnectError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}
