//! Opens connections: looks up the name, checks every address it has, and only then connects.
//!
//! ureq asks for a connection only when it has kept none, so names are looked up only then, too.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration as Wait;
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector};

use super::destination;
use super::error::HttpProblem;

/// Finds the addresses of a name, with this port. It may take long.
pub(super) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// So many names are looked up at once; a look-up that takes too long cannot be stopped.
const LOOKUPS_MAX: usize = 16;

/// At most so many addresses of a name are tried.
const ADDRESSES_MAX: usize = 16;

thread_local! {
    /// Whether this thread has opened a connection. ureq does that on the thread that makes the
    /// request.
    static HAS_CONNECTED: Cell<bool> = const { Cell::new(false) };
}

/// Forgets that this thread has opened a connection.
pub(super) fn forget_connected() {
    HAS_CONNECTED.set(false);
}

/// Returns whether this thread has tried to open a connection since.
pub(super) fn has_connected() -> bool {
    HAS_CONNECTED.get()
}

/// Asks the system for the addresses of names.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// Opens connections.
pub(super) struct Connecting {
    tcp: TcpConnector,
    allow_plain: bool,
    lookup: Lookup,
    lookups: Arc<AtomicUsize>,
}

impl Connecting {
    pub(super) fn new(allow_plain: bool, lookup: Lookup) -> Self {
        Self { tcp: TcpConnector::default(), allow_plain, lookup, lookups: Arc::default() }
    }

    /// Returns the addresses of the host, all of which were checked.
    fn addresses(&self, uri: &Uri, within: Option<Duration>) -> Result<Vec<SocketAddr>, Error> {
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.look_up(host, port, within)?,
        };
        // If only one of them is forbidden, whoever has named them means no good.
        for address in &addresses {
            destination::check(address.ip(), is_tls || self.allow_plain).map_err(other)?;
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }

    fn look_up(
        &self,
        host: &str,
        port: u16,
        within: Option<Duration>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let Some(place) = Place::take(&self.lookups) else {
            return Err(other(HttpProblem::TooManyLookups));
        };
        let (sender, found) = sync_channel(1);
        let (lookup, name) = (Arc::clone(&self.lookup), host.to_owned());
        let thread = thread::Builder::new().name("auth-lookup".into());
        thread.spawn(move || {
            let addresses = lookup(&name, port);
            drop(place);
            // The request may be over by now.
            let _ = sender.send(addresses);
        })?;
        let addresses = match within {
            Some(within) => found.recv_timeout(within),
            None => found.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match addresses {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(other(HttpProblem::UnknownHost(error.to_string().into()))),
            Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(ureq::Timeout::Resolve)),
            Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
        }
    }
}

fn other(problem: HttpProblem) -> Error {
    Error::Other(Box::new(problem))
}

impl Connector for Connecting {
    type Out = <TcpConnector as Connector>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        HAS_CONNECTED.set(true);
        let began = Instant::now();
        let within = match details.timeout.after {
            Wait::Exact(within) => Some(within),
            Wait::NotHappening => None,
        };
        let mut addrs = details.resolver.empty();
        for address in self.addresses(details.uri, within)?.into_iter().take(ADDRESSES_MAX) {
            addrs.push(address);
        }
        let mut timeout = details.timeout;
        if let Some(within) = within {
            timeout.after = Wait::Exact(within.saturating_sub(began.elapsed()));
            if timeout.after.is_zero() {
                return Err(Error::Timeout(timeout.reason));
            }
        }
        let details = ConnectionDetails {
            uri: details.uri,
            addrs,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: (details.current_time)(),
            timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        self.tcp.connect(&details, chained)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("allow_plain", &self.allow_plain).finish_non_exhaustive()
    }
}

/// A place among the look-ups.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        if taken.fetch_add(1, Ordering::Relaxed) >= LOOKUPS_MAX {
            taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Looks nothing up: [`Connecting`] does, when a connection is needed.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}
