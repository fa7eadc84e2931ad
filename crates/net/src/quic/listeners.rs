//! Accepts QUIC connections: decides who may come in, and handles handshakes and the first stream.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Connecting, Endpoint, Incoming, RecvStream, SendStream, ServerConfig};
use tokio::task::AbortHandle;
use tokio::time::{Instant as RuntimeInstant, timeout_at};

use super::code;
use super::config::server_transport;
use super::connection::{Connection, canonical};
use super::socket::{QuicSocket, QuicTerms};
use super::stream::QuicStream;
use super::thread::{QuicThread, Shared};
use super::tls::ServerCrypto;
use crate::acceptor::{Accepted, PassOn};
use crate::admission::Slot;
use crate::stream::Stream;

/// Counts log lines about failed handshakes in this second, so that strangers cannot fill the log.
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
/// Dropping this first delivers the last bytes of streams that were dropped before, then closes
/// those that are still open, and waits for both at most two seconds. So a broker drops it after
/// its workers.
#[derive(Debug)]
pub(crate) struct QuicListeners {
    // The first field is dropped first: the endpoints are closed before their thread ends.
    open: Vec<OpenListener>,
    thread: QuicThread,
    /// Locked while listeners change, and while a connection is passed on.
    changing: Arc<Mutex<()>>,
}

/// A listener that is ready but does not answer yet. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct ReadyListener {
    number: usize,
    endpoint: (u64, Endpoint),
    listener: Arc<QuicListener>,
    is_open: bool,
}

/// Other terms of a listener, ready to apply to its connections from now on.
#[derive(Debug)]
pub(crate) struct ReadyTerms {
    number: usize,
    listener: Arc<QuicListener>,
}

/// A listener that accepts.
#[derive(Debug)]
struct OpenListener {
    number: usize,
    endpoint: (u64, Endpoint),
    current: Arc<Current>,
    accepting: AbortHandle,
}

/// The present terms of a listener, whatever they were when a handshake began.
struct Current {
    listener: Mutex<Arc<QuicListener>>,
    changing: Arc<Mutex<()>>,
    pass_on: PassOn,
}

/// What the tasks of a listener share while its terms stay the same.
struct QuicListener {
    number: usize,
    runtime: Arc<Shared>,
    crypto: ServerCrypto,
    /// Everything but the certificates, which may change.
    config: ServerConfig,
    terms: QuicTerms,
    /// Has one more reference for each handshake under way.
    handshakes: Arc<()>,
    /// Whether the listener is gone.
    is_closed: Arc<AtomicBool>,
    lines: Lines,
}

impl QuicListeners {
    /// Starts the thread, without listeners.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors.
    pub(crate) fn start() -> io::Result<Self> {
        let thread = QuicThread::start("midge-quic")?;
        Ok(Self { open: Vec::new(), thread, changing: Arc::default() })
    }

    /// Returns whether a listener is about to end, so that its port may become free in a moment.
    pub(crate) fn may_free_a_port(&self) -> bool {
        self.thread.shared().may_free_a_port(self.open.len())
    }

    /// Makes everything ready on a socket, but answers nobody yet.
    ///
    /// # Errors
    ///
    /// The operating system refuses descriptors, or the certificates cannot be used for QUIC.
    pub(crate) fn ready(&self, number: usize, socket: QuicSocket) -> io::Result<ReadyListener> {
        let listener = QuicListener::new(number, self.thread.shared(), socket.terms)?;
        let config = Some(listener.config.clone());
        let endpoint = self.thread.shared().add_endpoint(socket.socket, config)?;
        Ok(ReadyListener { number, endpoint, listener: Arc::new(listener), is_open: false })
    }

    /// Starts to accept. `pass_on` gets every connection, on the thread of the listeners: it must
    /// not block.
    pub(crate) fn open(&mut self, mut ready: ReadyListener, pass_on: &PassOn) {
        ready.is_open = true;
        let current = Arc::new(Current {
            listener: Mutex::new(Arc::clone(&ready.listener)),
            changing: Arc::clone(&self.changing),
            pass_on: Arc::clone(pass_on),
        });
        let endpoint = ready.endpoint.1.clone();
        let of_task = Arc::clone(&current);
        let accepting = self.thread.shared().handle().spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                of_task.get().accept(incoming, &of_task);
            }
        });
        self.open.push(OpenListener {
            number: ready.number,
            endpoint: ready.endpoint.clone(),
            current,
            accepting: accepting.abort_handle(),
        });
    }

    /// Makes other terms of a listener ready; `None` if there is no such listener.
    ///
    /// # Errors
    ///
    /// The certificates cannot be used for QUIC.
    pub(crate) fn ready_terms(
        &self,
        number: usize,
        terms: QuicTerms,
    ) -> io::Result<Option<ReadyTerms>> {
        let Some(open) = self.open.iter().find(|open| open.number == number) else {
            return Ok(None);
        };
        let listener = Arc::new(open.current.get().with_terms(terms)?);
        Ok(Some(ReadyTerms { number, listener }))
    }

    /// Holds all connections: none is passed on until the result is dropped.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts connections on these terms from now on. Handshakes under way go on if the new terms
    /// would lead to the same result.
    pub(crate) fn change(&self, ready: ReadyTerms) {
        let Some(open) = self.open.iter().find(|open| open.number == ready.number) else {
            return;
        };
        open.endpoint.1.set_server_config(Some(ready.listener.config.clone()));
        open.current.set(ready.listener);
    }

    /// Takes no further connections by a listener. Existing ones go on until their owners end them;
    /// then the listener's socket is closed.
    pub(crate) fn remove(&mut self, number: usize) {
        let is_gone = |open: &mut OpenListener| open.number == number;
        for open in self.open.extract_if(.., is_gone) {
            open.current.get().is_closed.store(true, Ordering::Release);
            // Until then, new connections are refused.
            self.thread.shared().end_endpoint(open.endpoint, Some(open.accepting));
        }
    }

    /// Takes no further connections. Existing ones go on.
    pub(crate) fn stop_accepting(&self) {
        self.thread.shared().stop_accepting();
    }
}

impl Current {
    fn get(&self) -> Arc<QuicListener> {
        Arc::clone(&self.lock())
    }

    fn set(&self, listener: Arc<QuicListener>) {
        *self.lock() = listener;
    }

    fn lock(&self) -> MutexGuard<'_, Arc<QuicListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on a connection whose handshake was with `listener`, unless the present terms ask for
    /// another handshake: what they allow a Client is only for those who have passed that one.
    fn pass_on(&self, listener: &QuicListener, shaken: Shaken) -> Result<(), String> {
        if listener.is_stopping() {
            return Ok(());
        }
        let Shaken { mut connection, mut slot, address, opened } = shaken;
        let _unchanging = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.get().admits_as(listener) {
            connection.close(code::SERVER_BUSY);
            return Err("the listener has got other settings since it began".to_string());
        }
        slot.handshake_done();
        let stream = Stream::quic(QuicStream::open(connection.with_slot(slot), address));
        (self.pass_on)(Accepted { stream, listener: listener.number, opened, refusal: None });
        Ok(())
    }
}

/// A connection whose handshake is complete.
struct Shaken {
    connection: Connection,
    slot: Slot,
    address: SocketAddr,
    /// When the connection's first datagram came.
    opened: Instant,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Drop for ReadyListener {
    fn drop(&mut self) {
        if !self.is_open {
            self.listener.runtime.end_endpoint(self.endpoint.clone(), None);
        }
    }
}

impl QuicListener {
    fn new(number: usize, runtime: &Arc<Shared>, terms: QuicTerms) -> io::Result<Self> {
        let crypto = ServerCrypto::new(Arc::clone(&terms.tls), terms.options.early_data);
        let mut config = ServerConfig::with_crypto(crypto.newest().map_err(io::Error::other)?);
        config.transport_config(server_transport(&terms.options));
        // A token would let a returning client show where it is. Nothing here remembers which
        // tokens have been used, so none would count.
        config.validation_token.sent(0);
        Ok(Self {
            number,
            runtime: Arc::clone(runtime),
            crypto,
            config,
            terms,
            handshakes: Arc::default(),
            is_closed: Arc::default(),
            lines: Lines::default(),
        })
    }

    /// Returns the same listener on other terms.
    fn with_terms(&self, terms: QuicTerms) -> io::Result<Self> {
        let mut other = Self::new(self.number, &self.runtime, terms)?;
        // A client that was asked to show its address comes back with something that the old key
        // has signed.
        let mut config = self.config.clone();
        (config.crypto, config.transport) = (other.config.crypto, other.config.transport);
        other.config = config;
        other.is_closed = Arc::clone(&self.is_closed);
        Ok(other)
    }

    /// Returns whether a handshake with the other listener leads to the same result.
    fn admits_as(&self, other: &Self) -> bool {
        let has_same_tls = Arc::ptr_eq(&self.terms.tls, &other.terms.tls);
        has_same_tls && self.terms.options == other.terms.options
    }

    fn is_stopping(&self) -> bool {
        self.runtime.is_stopping() || self.is_closed.load(Ordering::Acquire)
    }

    /// Decides about a first datagram. Nothing has been computed for it yet.
    fn accept(self: &Arc<Self>, incoming: Incoming, current: &Arc<Current>) {
        if self.is_stopping() {
            return incoming.refuse();
        }
        // One reference is the listener's own, and there is one for each handshake.
        let handshakes = Arc::strong_count(&self.handshakes) - 1;
        if handshakes >= self.terms.retry_above && !incoming.remote_address_validated() {
            // A retry is always possible, because the address is not validated.
            let _ = incoming.retry();
            return;
        }
        let now = Instant::now();
        let address = canonical(incoming.remote_address());
        let admitted = self.terms.admission.admit(Some(address.ip()), now);
        let admitted = admitted.and_then(|mut slot| slot.begin_handshake().map(|()| slot));
        let slot = match admitted {
            Ok(slot) => slot,
            Err(refusal) => {
                log::debug!("refused a connection from {address}: {refusal}");
                return incoming.refuse();
            }
        };
        let (listener, current) = (Arc::clone(self), Arc::clone(current));
        let handshake = Arc::clone(&self.handshakes);
        self.runtime.handle().spawn(async move {
            let deadline = RuntimeInstant::from_std(now + listener.terms.deadline);
            let connection = listener.shake_hands(incoming, deadline).await;
            let passed_on = connection.and_then(|connection| {
                let shaken = Shaken { connection, slot, address, opened: now };
                current.pass_on(&listener, shaken)
            });
            match passed_on {
                Ok(()) => (),
                Err(error) if listener.lines.allow(now) => {
                    log::warn!("{address}: the handshake of QUIC failed: {error}");
                }
                Err(error) => log::debug!("{address}: the handshake of QUIC failed: {error}"),
            }
            drop(handshake);
        });
    }

    /// Goes through the handshake, until the control stream is there.
    async fn shake_hands(
        &self,
        incoming: Incoming,
        deadline: RuntimeInstant,
    ) -> Result<Connection, String> {
        let mut config = self.config.clone();
        config.crypto = self.crypto.newest().map_err(|error| error.to_string())?;
        let connecting =
            incoming.accept_with(Arc::new(config)).map_err(|error| error.to_string())?;
        // A server may always go on at once, even if the Client sent nothing early.
        let early =
            if self.terms.options.early_data { connecting.into_0rtt() } else { Err(connecting) };
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
        let connection = Connection::new(connection, control, runtime, tls, &self.terms.options);
        Ok(if self.terms.options.data_streams_max > 0 {
            connection.with_data_streams()
        } else {
            connection
        })
    }
}

/// Waits for the whole handshake.
async fn established(
    connecting: Connecting,
    deadline: RuntimeInstant,
) -> Result<quinn::Connection, String> {
    match timeout_at(deadline, connecting).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it took too long".to_string()),
    }
}

/// Waits for the first stream of the Client.
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

impl fmt::Debug for QuicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicListener").field("number", &self.number).finish_non_exhaustive()
    }
}
