//! Accepting connections of QUIC: who may come in, handshakes, and the first stream.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Connecting, Endpoint, Incoming, RecvStream, SendStream, ServerConfig};
use tokio::time::{Instant as RuntimeInstant, timeout_at};

use super::code;
use super::config::server_transport;
use super::connection::{Connection, canonical};
use super::socket::QuicSocket;
use super::stream::QuicStream;
use super::thread::{QuicThread, Shared};
use super::tls::ServerCrypto;
use crate::acceptor::Accepted;
use crate::admission::Admission;
use crate::listen::QuicOptions;
use crate::stream::Stream;

/// Lines about failed handshakes in this second: whoever knocks does not fill a log.
#[derive(Default)]
struct Lines(Mutex<(Option<Instant>, u32)>);

impl Lines {
    const A_SECOND: u32 = 10;

    fn allow(&self, now: Instant) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, written) = &mut *lines;
        if since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (*since, *written) = (Some(now), 0);
        }
        *written += 1;
        *written <= Self::A_SECOND
    }
}

/// The running listeners and their thread.
///
/// Dropped, it sees off the last bytes of streams that were dropped before, closes those that are
/// still open, and waits for both at most two seconds. So a broker drops it after its workers.
#[derive(Debug)]
pub(crate) struct QuicListeners {
    thread: QuicThread,
}

/// Listeners that are ready, and that do not answer yet.
pub(crate) struct PreparedListeners {
    // The first field goes first: the endpoints are closed before their thread ends.
    listeners: Vec<(Endpoint, Arc<QuicListener>)>,
    thread: QuicThread,
}

/// One of them, shared by its tasks.
struct QuicListener {
    number: usize,
    runtime: Arc<Shared>,
    crypto: ServerCrypto,
    /// All but the certificates, which may change.
    config: ServerConfig,
    admission: Arc<Admission>,
    deadline: Duration,
    retry_above: usize,
    options: QuicOptions,
    /// One more reference for each handshake under way.
    handshakes: Arc<()>,
    lines: Lines,
}

impl PreparedListeners {
    /// Starts to accept. `pass_on` gets every connection, on the thread of the listeners: it must
    /// not block.
    pub(crate) fn start(
        self,
        pass_on: &(impl Fn(Accepted) + Clone + Send + 'static),
    ) -> QuicListeners {
        for (endpoint, listener) in self.listeners {
            let pass_on = pass_on.clone();
            self.thread.shared().handle().spawn(async move {
                while let Some(incoming) = endpoint.accept().await {
                    listener.accept(incoming, &pass_on);
                }
            });
        }
        QuicListeners { thread: self.thread }
    }
}

impl QuicListeners {
    /// Makes everything ready on sockets, each with its listener's number. Nobody is answered yet.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors, or the certificates are of no use for
    /// QUIC.
    pub(crate) fn prepare(sockets: Vec<(usize, QuicSocket)>) -> io::Result<PreparedListeners> {
        let thread = QuicThread::start("midge-quic")?;
        let listener = |(number, socket)| listen(thread.shared(), number, socket);
        let listeners = sockets.into_iter().map(listener).collect::<io::Result<_>>()?;
        Ok(PreparedListeners { listeners, thread })
    }

    /// Takes no further connections. Those that are there go on.
    pub(crate) fn stop_accepting(&self) {
        self.thread.shared().stop_accepting();
    }
}

fn listen(
    runtime: &Arc<Shared>,
    number: usize,
    socket: QuicSocket,
) -> io::Result<(Endpoint, Arc<QuicListener>)> {
    let options = socket.options;
    let crypto = ServerCrypto::new(socket.tls, options.early_data);
    let mut config = ServerConfig::with_crypto(crypto.newest().map_err(io::Error::other)?);
    config.transport_config(server_transport(&options));
    // Whoever comes back would show by a token where it is. Nothing here remembers which tokens
    // have been used, so none would count.
    config.validation_token.sent(0);
    let endpoint = runtime.add_endpoint(socket.socket, Some(config.clone()))?;
    let listener = Arc::new(QuicListener {
        number,
        runtime: Arc::clone(runtime),
        crypto,
        config,
        admission: socket.admission,
        deadline: socket.deadline,
        retry_above: socket.retry_above,
        options,
        handshakes: Arc::default(),
        lines: Lines::default(),
    });
    Ok((endpoint, listener))
}

impl QuicListener {
    /// Decides on a first datagram. Nothing has been computed for it yet.
    fn accept<F>(self: &Arc<Self>, incoming: Incoming, pass_on: &F)
    where
        F: Fn(Accepted) + Clone + Send + 'static,
    {
        if self.runtime.is_stopping() {
            return incoming.refuse();
        }
        // References: the listener's own and one for each.
        let handshakes = Arc::strong_count(&self.handshakes) - 1;
        if handshakes >= self.retry_above && !incoming.remote_address_validated() {
            // It may always be asked, as its address is not validated.
            let _ = incoming.retry();
            return;
        }
        let now = Instant::now();
        let address = canonical(incoming.remote_address());
        let admitted = self.admission.admit(Some(address.ip()), now);
        let admitted = admitted.and_then(|mut slot| slot.begin_handshake().map(|()| slot));
        let mut slot = match admitted {
            Ok(slot) => slot,
            Err(refusal) => {
                log::debug!("refused a connection from {address}: {refusal}");
                return incoming.refuse();
            }
        };
        let (listener, pass_on) = (Arc::clone(self), pass_on.clone());
        let handshake = Arc::clone(&self.handshakes);
        self.runtime.handle().spawn(async move {
            let deadline = RuntimeInstant::from_std(now + listener.deadline);
            match listener.shake_hands(incoming, deadline).await {
                Ok(connection) if !listener.runtime.is_stopping() => {
                    slot.handshake_done();
                    let stream = QuicStream::open(connection.with_slot(slot), address);
                    let (stream, listener) = (Stream::quic(stream), listener.number);
                    pass_on(Accepted { stream, listener, opened: now, refusal: None });
                }
                Ok(_) => (),
                Err(error) if listener.lines.allow(now) => {
                    log::warn!("{address}: the handshake of QUIC failed: {error}");
                }
                Err(error) => log::debug!("{address}: the handshake of QUIC failed: {error}"),
            }
            drop(handshake);
        });
    }

    /// Until the control stream is there.
    async fn shake_hands(
        &self,
        incoming: Incoming,
        deadline: RuntimeInstant,
    ) -> Result<Connection, String> {
        let mut config = self.config.clone();
        config.crypto = self.crypto.newest().map_err(|error| error.to_string())?;
        let connecting =
            incoming.accept_with(Arc::new(config)).map_err(|error| error.to_string())?;
        // A server may always go on at once, also if the Client sent nothing early.
        let early = if self.options.early_data { connecting.into_0rtt() } else { Err(connecting) };
        let connection = match early {
            Ok((connection, _)) => connection,
            Err(connecting) => established(connecting, deadline).await?,
        };
        let control = control_stream(&connection, deadline).await?;
        let tls = self.crypto.info(&connection).map_err(|error| {
            let error = error.to_string();
            connection.close(code::NOT_AUTHORIZED, error.as_bytes());
            error
        })?;
        let runtime = Arc::clone(&self.runtime);
        let connection = Connection::new(connection, control, runtime, tls, &self.options);
        Ok(if self.options.data_streams_max > 0 {
            connection.with_data_streams()
        } else {
            connection
        })
    }
}

/// After the whole handshake.
async fn established(
    connecting: Connecting,
    deadline: RuntimeInstant,
) -> Result<quinn::Connection, String> {
    match timeout_at(deadline, connecting).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it took too long".to_string()),
    }
}

/// The first stream of the Client.
async fn control_stream(
    connection: &quinn::Connection,
    deadline: RuntimeInstant,
) -> Result<(SendStream, RecvStream), String> {
    match timeout_at(deadline, connection.accept_bi()).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("it ended before its first stream: {error}")),
        Err(_) => {
            connection.close(code::NO_CONTROL_STREAM, b"");
            Err("no stream was opened in time".to_string())
        }
    }
}
