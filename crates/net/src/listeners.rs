//! All listeners of a broker at its start: they are bound together and opened together.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::acceptor::{Accepted, Acceptor, PassOn};
use crate::admission::Admission;
use crate::entrance::Entrance;
use crate::listen::{Listen, ListenAddress, Protocol};
use crate::listener::{BindError, Listener, ListenerAddress, Yielding};
use crate::listener_control::{Entry, ListenerControl};
use crate::neighbours::{Advice, name_neighbour};
use crate::poller::Watcher;
#[cfg(feature = "quic")]
use crate::quic::{QuicSocket, QuicTerms};
use crate::running_listeners::RunningListeners;
use crate::tls::{TlsFileError, TlsServer};

/// Bound listeners that do not accept yet.
#[derive(Debug)]
pub struct Listeners {
    bound: Vec<Bound>,
    control: Arc<ListenerControl>,
    entrance: Arc<Entrance>,
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) entry: Entry,
    pub(crate) socket: BoundSocket,
}

#[derive(Debug)]
pub(crate) enum BoundSocket {
    Stream(Listener),
    #[cfg(feature = "quic")]
    Quic(QuicSocket),
}

/// Why a listener cannot be made.
#[derive(Debug)]
pub enum ListenError {
    /// Its address cannot be listened on.
    Bind(BindError),
    /// Its certificates cannot be used.
    Tls {
        /// The listener.
        address: ListenAddress,
        /// What is wrong with its certificates.
        error: TlsFileError,
    },
    /// Its options contradict each other, or this build lacks what it needs.
    Options {
        /// The listener.
        address: ListenAddress,
        /// What is wrong and what to do.
        message: String,
    },
    /// The operating system refuses a thread or descriptors.
    System(io::Error),
}

impl Bound {
    /// Binds a listener whose certificates are loaded.
    pub(crate) fn new(
        number: usize,
        listen: &Listen,
        tls: Option<Arc<TlsServer>>,
        yielding: Yielding,
    ) -> Result<Self, ListenError> {
        let admission = Arc::new(Admission::new(listen.limits.clone()));
        let (socket, address) = match &listen.protocol {
            #[cfg(feature = "quic")]
            Protocol::Quic(_) => {
                let terms = quic_terms(listen, &admission, tls.as_ref())?;
                let socket = QuicSocket::bind(&listen.address, terms)?;
                let address = ListenerAddress::Network(socket.local_address());
                (BoundSocket::Quic(socket), address)
            }
            _ => {
                let listener = Listener::bind(listen, yielding)?;
                let address = listener.local_address().clone();
                (BoundSocket::Stream(listener), address)
            }
        };
        let entry = Entry { number, listen: listen.clone(), address, admission, tls };
        Ok(Self { entry, socket })
    }
}

impl Listeners {
    /// Binds all of the listeners, or none. Peers cannot find them before they are started. Their
    /// numbers are their positions in `listens`.
    ///
    /// # Errors
    ///
    /// One of them cannot be made.
    pub fn bind(listens: &[Listen]) -> Result<Self, ListenError> {
        let mut bound: Vec<Bound> = Vec::with_capacity(listens.len());
        for (number, listen) in listens.iter().enumerate() {
            let one = Bound::new(number, listen, load_tls(listen)?, Yielding::default());
            bound.push(one.map_err(|error| {
                // No Unix socket of ours has its path yet.
                let own = bound.iter().map(|it| (&it.entry, None));
                name_neighbour(error, listen, own, &Advice::AT_START)
            })?);
        }
        let entries = bound.iter().map(|bound| bound.entry.clone()).collect();
        let control = Arc::new(ListenerControl::new(entries));
        Ok(Self { bound, control, entrance: Arc::default() })
    }

    /// Returns where they listen, in the order in which they were asked for.
    pub fn addresses(&self) -> Vec<ListenerAddress> {
        self.bound.iter().map(|bound| bound.entry.address.clone()).collect()
    }

    /// Returns what manages the listeners while they run.
    pub fn control(&self) -> Arc<ListenerControl> {
        Arc::clone(&self.control)
    }

    /// Returns what those accept by whose pollers watch the listeners.
    pub fn entrance(&self) -> Arc<Entrance> {
        Arc::clone(&self.entrance)
    }

    /// Starts to accept on all of them at once, so that a peer that is let in by one finds the
    /// others open, too. `pass_on` gets every connection that the acceptor's own thread accepts,
    /// with its listener's number, and every connection of QUIC. `before_each_wait` is called on
    /// that thread, before it first waits for connections and then at least about once a second. It
    /// says which of `pollers` watches the listeners of streams from then on, whose thread then
    /// accepts ([`Entrance::accept`]); `None`: the acceptor's thread does.
    ///
    /// # Errors
    ///
    /// Somebody else has begun to listen at one of the addresses, or the operating system refuses a
    /// thread or descriptors.
    pub fn start(
        self,
        pollers: Vec<Watcher>,
        pass_on: impl Fn(Accepted) + Send + Sync + 'static,
        before_each_wait: impl FnMut() -> Option<usize> + Send + 'static,
    ) -> Result<RunningListeners, ListenError> {
        let pass_on: PassOn = Arc::new(pass_on);
        let acceptor =
            Acceptor::start(self.entrance, pollers, Arc::clone(&pass_on), before_each_wait)?;
        RunningListeners::start(self.bound, self.control, acceptor, pass_on)
    }
}

const NEEDS_TLS: &str = "QUIC needs a certificate and its key";

/// Returns what a QUIC listener asks for besides its address.
#[cfg(feature = "quic")]
pub(crate) fn quic_terms(
    listen: &Listen,
    admission: &Arc<Admission>,
    tls: Option<&Arc<TlsServer>>,
) -> Result<QuicTerms, ListenError> {
    let terms = tls.and_then(|tls| QuicTerms::new(listen, Arc::clone(tls), Arc::clone(admission)));
    terms.ok_or_else(|| options(listen, NEEDS_TLS))
}

fn check(listen: &Listen) -> Result<(), ListenError> {
    if !cfg!(feature = "tls") && listen.tls.is_some() {
        return Err(options(listen, "this build has no TLS: enable the feature `tls`"));
    }
    match &listen.protocol {
        Protocol::Mqtt => Ok(()),
        Protocol::WebSocket(_) if !cfg!(feature = "websocket") => {
            let message = "this build has no WebSocket: enable the feature `websocket`";
            Err(options(listen, message))
        }
        Protocol::WebSocket(_) => Ok(()),
        Protocol::Quic(_) if !cfg!(feature = "quic") => {
            Err(options(listen, "this build has no QUIC: enable the feature `quic`"))
        }
        Protocol::Quic(_) if matches!(listen.address, ListenAddress::Unix(_)) => {
            Err(options(listen, "QUIC needs an address and a port"))
        }
        Protocol::Quic(_) if listen.tls.is_none() => Err(options(listen, NEEDS_TLS)),
        Protocol::Quic(_) => Ok(()),
    }
}

fn options(listen: &Listen, message: &str) -> ListenError {
    ListenError::Options { address: listen.address.clone(), message: message.to_string() }
}

/// Reads the certificates that a listener asks for, after checking that the listener is possible.
pub(crate) fn load_tls(listen: &Listen) -> Result<Option<Arc<TlsServer>>, ListenError> {
    check(listen)?;
    let Some(files) = &listen.tls else {
        return Ok(None);
    };
    let alpn: &[&[u8]] = match &listen.protocol {
        // A browser offers its own protocol; a Client may offer MQTT over TLS by name.
        Protocol::WebSocket(_) => &[b"http/1.1"],
        Protocol::Mqtt | Protocol::Quic(_) => &[b"mqtt"],
    };
    let loaded = TlsServer::load(files, alpn);
    let failed = |error| ListenError::Tls { address: listen.address.clone(), error };
    let loaded = loaded.map_err(failed)?;
    warn_of_files(&loaded, &listen.address);
    Ok(Some(Arc::new(loaded)))
}

/// Logs warnings about files that can be used, but hardly as intended: an expired certificate, an
/// old list.
pub(crate) fn warn_of_files(tls: &TlsServer, address: impl fmt::Display) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for warning in tls.warnings(i64::try_from(now).unwrap_or(i64::MAX)) {
        log::warn!("{address}: {warning}");
    }
}

impl From<BindError> for ListenError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "cannot start to listen: {error}"),
            Self::Bind(error) => error.fmt(f),
            Self::Tls { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Options { address, message } => {
                write!(f, "cannot listen on {address}: {message}")
            }
        }
    }
}

impl std::error::Error for ListenError {}
