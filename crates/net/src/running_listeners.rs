//! Listeners that accept, and how they are changed while they do.
//!
//! A change has two steps. First everything that can fail is made ready: certificates are loaded,
//! sockets are bound, and the operating system takes connections. Then, and only if all of that
//! went well, all of it takes effect. This module must never end a connection: that is up to its
//! owner.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::accepting::Reception;
use crate::acceptor::{Acceptor, HeldDoors, PassOn};
use crate::entrance::Door;
#[cfg(feature = "quic")]
use crate::listen::Protocol;
use crate::listen::{Listen, ListenAddress};
use crate::listener::{BindError, Listener, ListenerAddress, Yielding};
use crate::listener_control::{Entry, ListenerControl};
#[cfg(feature = "quic")]
use crate::listeners::quic_terms;
use crate::listeners::{Bound, BoundSocket, ListenError, load_tls};
use crate::neighbours::{Advice, is_in_use, name_neighbour};
#[cfg(feature = "quic")]
use crate::quic::{QuicListeners, ReadyListener, ReadyTerms};
use crate::unix::FileIdentity;

/// Listeners that accept. Dropping them ends the connections of QUIC, so they have to be dropped
/// after all streams. The drop waits until the last bytes of those have arrived, for at most two
/// seconds.
pub struct RunningListeners {
    control: Arc<ListenerControl>,
    acceptor: Option<Acceptor>,
    pass_on: PassOn,
    #[cfg(feature = "quic")]
    quic: Option<QuicListeners>,
}

/// Changes of running listeners, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct ListenerChanges {
    /// New listeners; no present listener has their numbers.
    pub added: Vec<(usize, Listen)>,
    /// Other settings for connections from now on, at the same place ([`Listen::is_at_place_of`]).
    pub changed: Vec<(usize, Listen)>,
    /// Listeners that are closed.
    pub removed: Vec<usize>,
}

/// Changes that are ready to take effect, and cannot fail any more. Dropping them leaves everything
/// as it was.
#[derive(Debug)]
pub struct ReadyChanges {
    added: Vec<Opening>,
    changed: Vec<(Entry, Exchange)>,
    removed: Vec<usize>,
}

/// A new listener whose connections wait to be accepted.
#[derive(Debug)]
struct Opening {
    entry: Entry,
    socket: ReadySocket,
}

#[derive(Debug)]
enum ReadySocket {
    Stream(Listener),
    #[cfg(feature = "quic")]
    Quic(ReadyListener),
}

/// What is new about a listener that stays.
#[derive(Debug)]
enum Exchange {
    /// Everything but its socket.
    Terms,
    /// A socket that takes the place of the old one.
    Socket(Listener),
    #[cfg(feature = "quic")]
    Quic(Option<ReadyTerms>),
}

impl RunningListeners {
    /// How long a change waits for the ports of listeners that are about to go.
    const PORT_PATIENCE: Duration = Duration::from_secs(3);
    const PORT_PAUSE: Duration = Duration::from_millis(10);

    /// Opens listeners, all at once.
    pub(crate) fn start(
        bound: Vec<Bound>,
        control: Arc<ListenerControl>,
        acceptor: Acceptor,
        pass_on: PassOn,
    ) -> Result<Self, ListenError> {
        let mut running = Self {
            control,
            acceptor: Some(acceptor),
            pass_on,
            #[cfg(feature = "quic")]
            quic: None,
        };
        let openings = running.ready(bound)?;
        running.open(openings);
        Ok(running)
    }

    /// Makes changes ready. Until they are carried out nothing is different, except that new
    /// addresses are taken.
    ///
    /// # Errors
    ///
    /// One of the listeners cannot be made as asked for, or no listeners run any more. Nothing has
    /// changed then.
    pub fn prepare(&mut self, changes: ListenerChanges) -> Result<ReadyChanges, ListenError> {
        let changed = changes.changed.iter().map(|(number, listen)| self.exchange(*number, listen));
        let changed = changed.collect::<Result<_, _>>()?;
        let yielding = self.yielding(&changes)?;
        self.acceptor()?.share_ports(&yielding, true)?;
        let bound = self.bind(&changes, &yielding);
        let added = bound.and_then(|bound| self.ready(bound));
        self.acceptor()?.share_ports(&yielding, false)?;
        Ok(ReadyChanges { added: added?, changed, removed: changes.removed })
    }

    /// Carries changes out. When this returns, removed listeners accept nobody any more, and new
    /// ones accept. `beside` is called when the changed listeners have changed, and before anybody
    /// comes by them or by a new one: a connection that is passed on before that call came by the
    /// old ones.
    ///
    /// A file that has appeared at the path of a Unix socket meanwhile, or the directory of that
    /// path, can prevent other [`UnixOptions`](crate::UnixOptions) from taking effect. Such
    /// listeners keep the old options; their numbers are returned, with the reasons.
    pub fn carry_out(
        &mut self,
        changes: ReadyChanges,
        beside: impl FnOnce(),
    ) -> Vec<(usize, BindError)> {
        let failed = self.put_into_effect(changes.changed, beside);
        let entries: Vec<_> = changes.added.iter().map(|opening| opening.entry.clone()).collect();
        self.control.entries().extend(entries);
        self.open(changes.added);
        for number in changes.removed {
            if let Some(acceptor) = &self.acceptor {
                acceptor.remove(number);
            }
            #[cfg(feature = "quic")]
            if let Some(quic) = &mut self.quic {
                quic.remove(number);
            }
            self.control.entries().retain(|entry| entry.number != number);
        }
        failed
    }

    /// Takes no further connections. Existing ones go on.
    pub fn stop_accepting(&mut self) {
        self.acceptor = None;
        #[cfg(feature = "quic")]
        if let Some(quic) = &self.quic {
            quic.stop_accepting();
        }
    }

    fn acceptor(&self) -> Result<&Acceptor, ListenError> {
        self.acceptor.as_ref().ok_or_else(|| io::Error::other("the broker has stopped").into())
    }

    /// Returns the listeners that are about to go and have the port of a new one, even if at
    /// another address.
    fn yielding(&self, changes: &ListenerChanges) -> Result<Vec<usize>, ListenError> {
        let ports: Vec<_> =
            changes.added.iter().filter_map(|(_, listen)| tcp_port(listen)).collect();
        let entries = self.control.entries();
        let goes = entries.iter().filter(|entry| changes.removed.contains(&entry.number));
        let yields = |entry: &&Entry| {
            let port = entry.address.network().map(|address| address.port());
            !entry.listen.is_quic() && port.is_some_and(|port| ports.contains(&port))
        };
        Ok(goes.filter(yields).map(|entry| entry.number).collect())
    }

    fn bind(
        &self,
        changes: &ListenerChanges,
        yielding: &[usize],
    ) -> Result<Vec<Bound>, ListenError> {
        let ports = self.ports_of(yielding);
        let begun = Instant::now();
        let bind = |(number, listen): &(usize, Listen)| {
            let tls = load_tls(listen)?;
            let port = tcp_port(listen).is_some_and(|port| ports.contains(&port));
            let yielding = Yielding { port, file: None };
            loop {
                let bound = Bound::new(*number, listen, tls.clone(), yielding);
                let may_wait = begun.elapsed() < Self::PORT_PATIENCE && !self.control.is_ending();
                let waits = listen.is_quic() && bound.as_ref().is_err_and(is_in_use);
                if !(waits && may_wait && self.may_free_a_port()) {
                    return bound.map_err(|error| self.naming_neighbour(error, listen));
                }
                thread::sleep(Self::PORT_PAUSE);
            }
        };
        changes.added.iter().map(bind).collect()
    }

    /// Returns whether the port of a removed listener may become free in a moment. QUIC connections
    /// need the port until they have ended.
    fn may_free_a_port(&self) -> bool {
        #[cfg(feature = "quic")]
        let may = self.quic.as_ref().is_some_and(QuicListeners::may_free_a_port);
        #[cfg(not(feature = "quic"))]
        let may = false;
        may
    }

    fn ports_of(&self, numbers: &[usize]) -> Vec<u16> {
        let entries = self.control.entries();
        let entries = entries.iter().filter(|entry| numbers.contains(&entry.number));
        entries.filter_map(|entry| Some(entry.address.network()?.port())).collect()
    }

    /// Adds to an error which listener of our own, if any, has the address in use.
    fn naming_neighbour(&self, error: ListenError, listen: &Listen) -> ListenError {
        // One lock after the other, never both at once.
        let entries = self.control.entries().clone();
        let file = |entry: &Entry| self.acceptor.as_ref()?.entrance().file(entry.number);
        let own = entries.iter().map(|entry| (entry, file(entry)));
        name_neighbour(error, listen, own, &Advice::AT_CHANGE)
    }

    /// Has the operating system take connections on bound sockets from now on.
    fn ready(&mut self, bound: Vec<Bound>) -> Result<Vec<Opening>, ListenError> {
        let mut openings = Vec::with_capacity(bound.len());
        // The steps that can fail come first, then all sockets open at once.
        for Bound { entry, socket } in bound {
            let socket = match socket {
                BoundSocket::Stream(listener) => ReadySocket::Stream(listener),
                #[cfg(feature = "quic")]
                BoundSocket::Quic(socket) => {
                    let quic = match &mut self.quic {
                        Some(quic) => quic,
                        none => none.insert(QuicListeners::start()?),
                    };
                    ReadySocket::Quic(quic.ready(entry.number, socket)?)
                }
            };
            openings.push(Opening { entry, socket });
        }
        for place in 0..openings.len() {
            let (earlier, others) = openings.split_at_mut(place);
            let Opening { entry, socket } = &mut others[0];
            #[cfg_attr(not(feature = "quic"), allow(irrefutable_let_patterns))]
            if let ReadySocket::Stream(listener) = socket {
                listener.listen().map_err(|error| {
                    let own = earlier.iter().map(|it| (&it.entry, it.file()));
                    name_neighbour(error.into(), &entry.listen, own, &Advice::AT_START)
                })?;
            }
        }
        // Not before all of them listen: nobody is accepted by one while another may still fail.
        let acceptor = self.acceptor()?;
        for Opening { socket, .. } in &mut openings {
            #[cfg_attr(not(feature = "quic"), allow(irrefutable_let_patterns))]
            if let ReadySocket::Stream(listener) = socket {
                acceptor.watch(listener)?;
            }
        }
        Ok(openings)
    }

    fn open(&mut self, openings: Vec<Opening>) {
        let mut doors = Vec::new();
        for Opening { entry, socket } in openings {
            match socket {
                ReadySocket::Stream(listener) => {
                    doors.push(Door::new(entry.number, listener, reception(&entry)));
                }
                #[cfg(feature = "quic")]
                ReadySocket::Quic(ready) => {
                    if let Some(quic) = &mut self.quic {
                        quic.open(ready, &self.pass_on);
                    }
                }
            }
        }
        if let Some(acceptor) = &self.acceptor {
            acceptor.add(doors);
        }
    }

    /// Returns how a listener changes that stays where it is.
    fn exchange(&self, number: usize, listen: &Listen) -> Result<(Entry, Exchange), ListenError> {
        let old = self.control.entries().iter().find(|entry| entry.number == number).cloned();
        let old = old.ok_or_else(|| io::Error::other(format!("there is no listener {number}")))?;
        debug_assert!(listen.is_at_place_of(&old.listen), "it stays where it is");
        // If its certificates were loaded anew, it could resume no TLS session.
        let has_same_tls = listen.tls == old.listen.tls && listen.offers_as(&old.listen);
        let tls = if has_same_tls { old.tls.clone() } else { load_tls(listen)? };
        let entry = Entry { listen: listen.clone(), tls, ..old.clone() };
        let acceptor = self.acceptor()?;
        let exchange = match &listen.protocol {
            #[cfg(feature = "quic")]
            Protocol::Quic(_) => {
                let terms = quic_terms(listen, &entry.admission, entry.tls.as_ref())?;
                let ready = self.quic.as_ref().map(|quic| quic.ready_terms(number, terms));
                Exchange::Quic(ready.transpose()?.flatten())
            }
            _ if old.listen.unix != listen.unix
                && matches!(listen.address, ListenAddress::Unix(_)) =>
            {
                let yielding = Yielding { port: false, file: acceptor.entrance().file(number) };
                let mut listener = Listener::bind(listen, yielding)?;
                acceptor.watch(&mut listener)?;
                Exchange::Socket(listener)
            }
            _ => Exchange::Terms,
        };
        Ok((entry, exchange))
    }

    /// Changes all of these listeners before anybody comes by one of them.
    fn put_into_effect(
        &self,
        changed: Vec<(Entry, Exchange)>,
        beside: impl FnOnce(),
    ) -> Vec<(usize, BindError)> {
        #[cfg(feature = "quic")]
        let _handshakes = self.quic.as_ref().map(QuicListeners::hold);
        let mut doors = self.acceptor.as_ref().map(Acceptor::hold);
        let mut failed = Vec::new();
        for (mut entry, exchange) in changed {
            entry.admission.set_limits(&entry.listen.limits);
            let exchanged =
                doors.as_mut().map_or(Ok(()), |doors| self.exchange_door(&entry, exchange, doors));
            let mut entries = self.control.entries();
            let Some(old) = entries.iter_mut().find(|it| it.number == entry.number) else {
                continue;
            };
            if let Err(error) = exchanged {
                failed.push((entry.number, error));
                entry.listen.unix.clone_from(&old.listen.unix);
            }
            *old = entry;
        }
        beside();
        failed
    }

    /// Changes one listener. On an error its old Unix socket stays.
    fn exchange_door(
        &self,
        entry: &Entry,
        exchange: Exchange,
        doors: &mut HeldDoors<'_>,
    ) -> Result<(), BindError> {
        let number = entry.number;
        match exchange {
            Exchange::Terms => doors.change(number, reception(entry), &entry.listen.tcp),
            Exchange::Socket(mut listener) => {
                if let Err(error) = listener.listen() {
                    doors.change(number, reception(entry), &entry.listen.tcp);
                    return Err(error);
                }
                doors.replace(Door::new(number, listener, reception(entry)), &self.pass_on);
            }
            #[cfg(feature = "quic")]
            Exchange::Quic(ready) => {
                if let (Some(ready), Some(quic)) = (ready, &self.quic) {
                    quic.change(ready);
                }
            }
        }
        Ok(())
    }
}

impl Opening {
    /// Returns which file the listener is, if it is a Unix socket.
    fn file(&self) -> Option<FileIdentity> {
        match &self.socket {
            ReadySocket::Stream(listener) => listener.file(),
            #[cfg(feature = "quic")]
            ReadySocket::Quic(_) => None,
        }
    }
}

impl ReadyChanges {
    /// Returns where the new listeners are, by their numbers.
    pub fn added(&self) -> Vec<(usize, ListenerAddress)> {
        let added = self.added.iter();
        added.map(|it| (it.entry.number, it.entry.address.clone())).collect()
    }
}

fn reception(entry: &Entry) -> Reception {
    Reception::new(&entry.listen, Arc::clone(&entry.admission), entry.tls.clone())
}

fn tcp_port(listen: &Listen) -> Option<u16> {
    port_of(listen).filter(|_| !listen.is_quic())
}

/// Returns the port that a listener asks for, if it names one.
fn port_of(listen: &Listen) -> Option<u16> {
    let ListenAddress::Network(address) = &listen.address else { return None };
    let (_, port) = address.rsplit_once(':')?;
    port.parse().ok().filter(|port| *port > 0)
}

impl fmt::Debug for RunningListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningListeners").field("control", &self.control).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
