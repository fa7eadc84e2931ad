//! QUIC by quinn: a connection with one bidirectional stream, which is the Network Connection.
//!
//! All connections of a test process share endpoints and a runtime on its own thread; the tests
//! themselves stay blocking.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint as QuicEndpoint, RecvStream, SendStream, VarInt};
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use super::{PATIENCE, Transport, tls};
use crate::endpoint::Endpoint;

/// The largest piece that one read takes.
const PIECE: usize = 64 * 1024;

/// A connection and its stream.
#[derive(Debug)]
pub(crate) struct Quic {
    /// Present until it is dropped.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    sending: SendStream,
    receiving: RecvStream,
}

impl Quic {
    pub(crate) fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let config = tls::quic_config(&endpoint.trust).map_err(io::Error::other)?;
        let config = QuicClientConfig::try_from(config).map_err(io::Error::other)?;
        let config = ClientConfig::new(Arc::new(config));
        let (address, host) = (endpoint.address, &endpoint.host);
        let opened = wait_for(PATIENCE, async {
            let from = local_endpoint(address)?;
            let connecting = from.connect_with(config, address, host).map_err(io::Error::other)?;
            let connection = connecting.await.map_err(io::Error::other)?;
            let (sending, receiving) = connection.open_bi().await.map_err(io::Error::other)?;
            io::Result::Ok(Open { connection, sending, receiving })
        });
        Ok(Self { open: Some(opened??) })
    }

    fn open_mut(&mut self) -> &mut Open {
        self.open.as_mut().expect("it is not dropped yet")
    }
}

/// Closes like a socket: what was sent before still arrives.
impl Drop for Quic {
    fn drop(&mut self) {
        if let Some(mut open) = self.open.take() {
            runtime().spawn(async move {
                // An error means that it was finished already, or that the broker was first.
                let _ = open.sending.finish();
                let _ = timeout(PATIENCE, open.sending.stopped()).await;
                drop(open.receiving);
                open.connection.close(VarInt::from_u32(0), b"");
            });
        }
    }
}

impl Transport for Quic {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = wait_for(PATIENCE, self.open_mut().sending.write_all(bytes))?;
        // Whatever the reason, the broker accepts no more.
        sent.map_err(|error| io::Error::new(ErrorKind::BrokenPipe, error))
    }

    fn receive(&mut self, inbox: &mut Vec<u8>, wait: Duration) -> io::Result<usize> {
        match wait_for(wait, self.open_mut().receiving.read_chunk(PIECE, true))? {
            Ok(Some(chunk)) => {
                inbox.extend_from_slice(&chunk.bytes);
                Ok(chunk.bytes.len())
            }
            Ok(None) => Ok(0),
            Err(error) => Err(io::Error::new(ErrorKind::ConnectionReset, error)),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let finished = self.open_mut().sending.finish();
        finished.map_err(|error| io::Error::new(ErrorKind::BrokenPipe, error))
    }

    fn cut(&mut self) {
        self.open_mut().connection.close(VarInt::from_u32(1), b"");
    }
}

/// Waits at most `wait` for `future` in the calling thread.
fn wait_for<T>(wait: Duration, future: impl Future<Output = T>) -> io::Result<T> {
    let done = runtime().block_on(async { timeout(wait, future).await });
    done.map_err(|_| ErrorKind::TimedOut.into())
}

/// Returns the runtime, which a thread drives as long as the process lives.
fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime for QUIC");
            tell.send(runtime.handle().clone()).expect("the process waits for its runtime");
            runtime.block_on(std::future::pending::<()>());
        });
        told.recv().expect("a runtime for QUIC")
    })
}

/// Returns the endpoint of this process that can reach `address`.
fn local_endpoint(address: SocketAddr) -> io::Result<QuicEndpoint> {
    static ENDPOINTS: [OnceLock<QuicEndpoint>; 2] = [OnceLock::new(), OnceLock::new()];
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let place = &ENDPOINTS[usize::from(address.is_ipv6())];
    if let Some(endpoint) = place.get() {
        return Ok(endpoint.clone());
    }
    let endpoint = QuicEndpoint::client(SocketAddr::new(any, 0))?;
    Ok(place.get_or_init(|| endpoint).clone())
}
