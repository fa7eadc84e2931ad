//! Connects to QUIC servers.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{ClientConfig, Connecting, Endpoint};
use tokio::time::timeout;

use super::config::client_transport;
use super::connection::Connection;
use super::failure;
use super::meeting::{Meeting, Place};
use super::socket::bind_udp;
use super::stream::QuicStream;
use super::thread::{QuicThread, Shared};
use super::tls::{client_crypto, info};
use crate::listen::QuicOptions;
use crate::tls::TlsClient;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The connections of one client program, all on one UDP socket, and their thread. Dropping it
/// still delivers the last bytes of streams that were dropped before.
#[derive(Debug)]
pub(crate) struct QuicRuntime {
    thread: QuicThread,
    endpoint: Endpoint,
    options: QuicOptions,
    deadline: Duration,
    /// The configuration that was last used, with what it was made from.
    config: Mutex<Option<(Arc<TlsClient>, ClientConfig)>>,
}

impl QuicRuntime {
    /// Starts the thread and binds any free port.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or a socket.
    pub(crate) fn new() -> io::Result<Self> {
        Self::with_options(QuicOptions::default(), HANDSHAKE_MAX)
    }

    pub(super) fn with_options(options: QuicOptions, deadline: Duration) -> io::Result<Self> {
        let thread = QuicThread::start("midge-quic-client")?;
        let (_, endpoint) = thread.shared().add_endpoint(any_socket()?, None)?;
        Ok(Self { thread, endpoint, options, deadline, config: Mutex::new(None) })
    }

    /// Begins to connect to `address`, whose certificate has to be that of `server_name`. The
    /// stream returns `WouldBlock` until the handshake is complete, and fails if the handshake
    /// fails.
    ///
    /// # Errors
    ///
    /// `server_name` is not a valid name, or `address` is of a family that this machine does not
    /// have.
    pub(crate) fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: &Arc<TlsClient>,
    ) -> io::Result<QuicStream> {
        let config = self.config(tls)?;
        let shared = self.thread.shared();
        let _context = shared.handle().enter();
        let connecting = self
            .endpoint
            .connect_with(config, address, server_name)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let place = Place::new();
        let handshake = shake_hands(connecting, Arc::clone(shared), self.options.clone());
        let (deadline, end) = (self.deadline, place.clone());
        let task = shared.handle().spawn(async move {
            let result = timeout(deadline, handshake).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
            });
            end.bring(result);
        });
        Ok(QuicStream::connecting(Meeting::new(place, task.abort_handle()), address))
    }

    /// Goes on with another port, as after a change of the network. Connections survive.
    #[cfg(test)]
    pub(super) fn rebind(&self) -> io::Result<()> {
        let _context = self.thread.shared().handle().enter();
        self.endpoint.rebind(any_socket()?)
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.thread.shared()
    }

    /// Returns the configuration, which is made once for each `tls`, so that sessions can be
    /// resumed.
    fn config(&self, tls: &Arc<TlsClient>) -> io::Result<ClientConfig> {
        let mut last = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, config)) = &*last
            && Arc::ptr_eq(from, tls)
        {
            return Ok(config.clone());
        }
        let crypto = client_crypto(&tls.client_config()).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(client_transport(&self.options));
        *last = Some((Arc::clone(tls), config.clone()));
        Ok(config)
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

/// Returns a socket of both families, or of IPv4 on a machine that has no other.
fn any_socket() -> io::Result<UdpSocket> {
    bind_udp((Ipv6Addr::UNSPECIFIED, 0).into())
        .or_else(|_| bind_udp((Ipv4Addr::UNSPECIFIED, 0).into()))
}
