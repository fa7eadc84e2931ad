//! All listeners of a broker: bound together, opened together, looked after by one control.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::accepting::Reception;
use crate::acceptor::{Accepted, Acceptor};
use crate::admission::{Admission, ListenerFigures};
use crate::listen::{Listen, ListenAddress, Protocol};
use crate::listener::{BindError, Listener, ListenerAddress};
#[cfg(feature = "quic")]
use crate::quic::{QuicListeners, QuicSocket};
use crate::tls::{TlsFileError, TlsServer};

/// Bound listeners that do not accept yet.
#[derive(Debug)]
pub struct Listeners {
    bound: Vec<Bound>,
    control: Arc<ListenerControl>,
}

#[derive(Debug)]
enum Bound {
    Sockets(Listener, Reception),
    #[cfg(feature = "quic")]
    Quic(QuicSocket),
}

/// Listeners that accept. With them go the connections of QUIC: so they are to be dropped after
/// all streams, and that waits until the last bytes of those have arrived, for at most two seconds.
#[derive(Debug)]
pub struct RunningListeners {
    acceptor: Option<Acceptor>,
    #[cfg(feature = "quic")]
    quic: Option<QuicListeners>,
}

impl RunningListeners {
    /// Takes no further connections. Those that are there go on.
    pub fn stop_accepting(&mut self) {
        self.acceptor = None;
        #[cfg(feature = "quic")]
        if let Some(quic) = &self.quic {
            quic.stop_accepting();
        }
    }
}

/// What can be asked of listeners while they run.
#[derive(Debug)]
pub struct ListenerControl {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    address: ListenerAddress,
    admission: Arc<Admission>,
    tls: Option<Arc<TlsServer>>,
}

/// What came of looking at a listener's certificates.
#[derive(Debug)]
pub struct Renewal {
    /// The listener's number.
    pub listener: usize,
    /// Where it listens.
    pub address: ListenerAddress,
    /// Whether new ones are in effect, or why the old ones stay.
    pub result: Result<bool, TlsFileError>,
}

/// Why a listener cannot be.
#[derive(Debug)]
pub enum ListenError {
    /// Its address cannot be listened on.
    Bind(BindError),
    /// Its certificates cannot be used.
    Tls {
        /// The listener.
        address: ListenAddress,
        /// What is wrong with them.
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

impl Listeners {
    /// Binds all of them, or none. No peer finds them before they are started.
    ///
    /// # Errors
    ///
    /// One of them cannot be.
    pub fn bind(listens: &[Listen]) -> Result<Self, ListenError> {
        let (mut bound, mut entries) = (Vec::new(), Vec::new());
        for listen in listens {
            check(listen)?;
            let tls = load_tls(listen)?;
            let admission = Arc::new(Admission::new(listen.limits.clone()));
            let (listener, address) = match &listen.protocol {
                #[cfg(feature = "quic")]
                Protocol::Quic(_) => {
                    let tls = tls.clone().ok_or_else(|| options(listen, NEEDS_TLS))?;
                    let socket = QuicSocket::bind(listen, tls, Arc::clone(&admission))?;
                    let address = ListenerAddress::Network(socket.local_address());
                    (Bound::Quic(socket), address)
                }
                _ => {
                    let listener = Listener::bind(listen)?;
                    let address = listener.local_address().clone();
                    let reception = Reception::new(listen, Arc::clone(&admission), tls.clone());
                    (Bound::Sockets(listener, reception), address)
                }
            };
            bound.push(listener);
            entries.push(Entry { address, admission, tls });
        }
        Ok(Self { bound, control: Arc::new(ListenerControl { entries }) })
    }

    /// Where they listen, in the order in which they were asked for.
    pub fn addresses(&self) -> Vec<ListenerAddress> {
        self.control.entries.iter().map(|entry| entry.address.clone()).collect()
    }

    /// What to look after them with.
    pub fn control(&self) -> Arc<ListenerControl> {
        Arc::clone(&self.control)
    }

    /// Starts to accept, by all of them: whoever is let in by one finds the others open, too.
    /// `pass_on` gets every connection with its listener's number; `every_second` is called about
    /// once a second.
    ///
    /// # Errors
    ///
    /// Somebody else has begun to listen at one of the addresses, or the operating system refuses a
    /// thread or descriptors.
    pub fn start(
        self,
        pass_on: impl Fn(Accepted) + Clone + Send + 'static,
        every_second: impl FnMut() + Send + 'static,
    ) -> Result<RunningListeners, ListenError> {
        let mut sockets = Vec::new();
        #[cfg(feature = "quic")]
        let mut quic = Vec::new();
        for (number, bound) in self.bound.into_iter().enumerate() {
            match bound {
                Bound::Sockets(listener, reception) => sockets.push((number, listener, reception)),
                #[cfg(feature = "quic")]
                Bound::Quic(socket) => quic.push((number, socket)),
            }
        }
        // What can fail comes first, then all open at once.
        #[cfg(feature = "quic")]
        let quic = match quic.is_empty() {
            true => None,
            false => Some(QuicListeners::prepare(quic)?),
        };
        for (_, listener, _) in &mut sockets {
            listener.listen()?;
        }
        #[cfg(feature = "quic")]
        let quic = quic.map(|quic| quic.start(&pass_on));
        Ok(RunningListeners {
            #[cfg(feature = "quic")]
            quic,
            acceptor: Some(Acceptor::start(sockets, pass_on, every_second)?),
        })
    }
}

const NEEDS_TLS: &str = "QUIC needs a certificate and its key";

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

fn load_tls(listen: &Listen) -> Result<Option<Arc<TlsServer>>, ListenError> {
    let Some(files) = &listen.tls else {
        return Ok(None);
    };
    let alpn: &[&[u8]] = match &listen.protocol {
        // A browser offers its own; whoever offers MQTT over TLS by name may.
        Protocol::WebSocket(_) => &[b"http/1.1"],
        Protocol::Mqtt | Protocol::Quic(_) => &[b"mqtt"],
    };
    let loaded = TlsServer::load(files, alpn);
    let failed = |error| ListenError::Tls { address: listen.address.clone(), error };
    let loaded = loaded.map_err(failed)?;
    warn_of_files(&loaded, &listen.address);
    Ok(Some(Arc::new(loaded)))
}

/// Files that can be used, but hardly as somebody wants it: an expired certificate, an old list.
fn warn_of_files(tls: &TlsServer, address: impl fmt::Display) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for warning in tls.warnings(i64::try_from(now).unwrap_or(i64::MAX)) {
        log::warn!("{address}: {warning}");
    }
}

impl ListenerControl {
    /// What each listener has let in and refused.
    pub fn figures(&self) -> Vec<(ListenerAddress, ListenerFigures)> {
        let figures = |entry: &Entry| (entry.address.clone(), entry.admission.figures());
        self.entries.iter().map(figures).collect()
    }

    /// Whether any listener has certificates.
    pub fn have_certificates(&self) -> bool {
        self.entries.iter().any(|entry| entry.tls.is_some())
    }

    /// Reads all certificates, keys, authorities and revocations again. Connections go on; where
    /// something is wrong with the new files, the old ones stay in effect.
    pub fn reload_certificates(&self) -> Vec<Renewal> {
        self.renew(|tls| Some(tls.reload()))
    }

    /// Reads those files again that have changed. What stayed the same is not mentioned.
    pub fn reload_changed_certificates(&self) -> Vec<Renewal> {
        self.renew(|tls| Some(tls.reload_if_changed()?.map(|()| true)))
    }

    fn renew(
        &self,
        look: impl Fn(&TlsServer) -> Option<Result<bool, TlsFileError>>,
    ) -> Vec<Renewal> {
        let renewal = |(listener, entry): (usize, &Entry)| {
            let tls = entry.tls.as_ref()?;
            let result = look(tls)?;
            if matches!(result, Ok(true)) {
                warn_of_files(tls, &entry.address);
            }
            Some(Renewal { listener, address: entry.address.clone(), result })
        };
        self.entries.iter().enumerate().filter_map(renewal).collect()
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
