//! The thread that accepts connections for all listeners and passes them on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::accepting::Reception;
use crate::admission::Refusal;
use crate::listen::TcpOptions;
use crate::listener::Listener;
use crate::stream::Stream;
use crate::unix::FileIdentity;

/// Receives the connections that were accepted.
pub(crate) type PassOn = Arc<dyn Fn(Accepted) + Send + Sync>;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection's bytes.
    pub stream: Stream,
    /// The listener's number.
    pub listener: usize,
    /// When the connection came. Its deadlines count from then on.
    pub opened: Instant,
    /// Why the peer shall be told to come later, if the listener has no room for the connection.
    pub refusal: Option<Refusal>,
}

/// The running thread. Dropping it stops the thread and closes its listeners.
#[derive(Debug)]
pub(crate) struct Acceptor {
    doors: Arc<Mutex<Vec<Door>>>,
    registry: Registry,
    waker: Arc<Waker>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The listeners of an acceptor, held while no connection is accepted.
#[derive(Debug)]
pub(crate) struct HeldDoors<'a> {
    acceptor: &'a Acceptor,
    doors: MutexGuard<'a, Vec<Door>>,
}

/// A listener, and what its connections become.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) number: usize,
    pub(crate) listener: Listener,
    pub(crate) reception: Reception,
}

const STOP: Token = Token(usize::MAX);

/// The token of all listeners: any event makes the thread look at all of them.
const LISTENER: Token = Token(0);

/// How many connections of one listener are accepted before it is the turn of others.
const ACCEPTED_MAX: usize = 1024;

/// How long to wait after the operating system had no descriptor left for a connection.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Starts the thread, without listeners. `pass_on` gets every connection with its listener's
    /// number; `every_second` is called on the thread each time before it waits for connections, at
    /// least about once a second, for work that needs a clock outside the workers.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors.
    pub(crate) fn start(
        pass_on: PassOn,
        mut every_second: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        let (doors, stops) = (Arc::<Mutex<Vec<Door>>>::default(), Arc::new(AtomicBool::new(false)));
        let (is_stopping, of_thread) = (Arc::clone(&stops), Arc::clone(&doors));
        let thread = thread::Builder::new().name("midge-accept".into()).spawn(move || {
            let mut events = Events::with_capacity(64);
            let mut is_busy = false;
            while !is_stopping.load(Ordering::Acquire) {
                every_second();
                let wait = if is_busy { Duration::ZERO } else { Duration::from_secs(1) };
                if let Err(error) = poll.poll(&mut events, Some(wait))
                    && error.kind() != io::ErrorKind::Interrupted
                {
                    log::error!("waiting for connections failed: {error}");
                    return;
                }
                // All of them each time, so that a listener that ran out of descriptors is tried
                // again.
                let waiting: Vec<_> =
                    lock(&of_thread).iter().map(|door| door.accept_all(&pass_on)).collect();
                is_busy = waiting.contains(&Waiting::More);
                if waiting.contains(&Waiting::NoDescriptor) {
                    thread::sleep(PAUSE_WITHOUT_DESCRIPTORS);
                }
            }
        })?;
        Ok(Self { doors, registry, waker, stops, thread: Some(thread) })
    }

    /// Has a listener watched before [`Self::add`] makes the thread accept from it.
    ///
    /// # Errors
    ///
    /// The operating system refuses to watch it.
    pub(crate) fn watch(&self, listener: &mut Listener) -> io::Result<()> {
        self.registry.register(&mut listener.socket, LISTENER, Interest::READABLE)
    }

    /// Accepts from these listeners from now on; all of them are watched already.
    pub(crate) fn add(&self, doors: impl IntoIterator<Item = Door>) {
        lock(&self.doors).extend(doors);
        let _ = self.waker.wake();
    }

    /// Closes a listener. When this returns, it accepts nobody any more.
    pub(crate) fn remove(&self, number: usize) {
        lock(&self.doors).retain(|door| door.number != number);
    }

    /// Holds the listeners: nobody is accepted until the result is dropped.
    pub(crate) fn hold(&self) -> HeldDoors<'_> {
        HeldDoors { acceptor: self, doors: lock(&self.doors) }
    }

    /// Sets whether other sockets of this process may be bound to the ports of some listeners.
    pub(crate) fn share_ports(&self, numbers: &[usize], shares: bool) -> io::Result<()> {
        let mut doors = lock(&self.doors);
        let mut doors = doors.iter_mut().filter(|door| numbers.contains(&door.number));
        doors.try_for_each(|door| door.listener.share_port(shares))
    }

    /// Returns which file a listener is, if it is a Unix socket.
    pub(crate) fn file(&self, number: usize) -> Option<FileIdentity> {
        let doors = lock(&self.doors);
        doors.iter().find(|door| door.number == number)?.listener.file()
    }
}

impl HeldDoors<'_> {
    /// Changes what connections of a listener become from now on, and their options.
    pub(crate) fn change(&mut self, number: usize, reception: Reception, tcp: &TcpOptions) {
        let Some(door) = self.door(number) else { return };
        door.reception = reception;
        if let Err(error) = door.listener.set_tcp_options(tcp) {
            let address = door.listener.local_address();
            log::error!("{address}: not all options of TCP are in effect: {error}");
        }
    }

    /// Puts a listener, which is watched already, in the place of the one with the same number.
    /// Peers can no longer find the old one, but those that wait there are still accepted.
    pub(crate) fn replace(&mut self, door: Door, pass_on: &PassOn) {
        if let Some(old) = self.door(door.number) {
            while old.accept_all(pass_on) == Waiting::More {}
            *old = door;
        }
        let _ = self.acceptor.waker.wake();
    }

    fn door(&mut self, number: usize) -> Option<&mut Door> {
        self.doors.iter_mut().find(|door| door.number == number)
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(doors: &Mutex<Vec<Door>>) -> MutexGuard<'_, Vec<Door>> {
    doors.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left after a listener had its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nobody,
    /// There may be more, but it is the turn of others.
    More,
    /// The operating system had no descriptor for the next one.
    NoDescriptor,
}

impl Door {
    /// Accepts the connections that wait.
    fn accept_all(&self, pass_on: &PassOn) -> Waiting {
        let (listener, number) = (&self.listener, self.number);
        for _ in 0..ACCEPTED_MAX {
            let opened = Instant::now();
            match self.reception.accept(listener, opened) {
                Ok(Some((stream, refusal))) => {
                    pass_on(Accepted { stream, listener: number, opened, refusal });
                }
                // Refused without a word.
                Ok(None) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Waiting::Nobody,
                // The peer gave up before it was accepted, or a signal came: the next connection
                // may work.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    let address = listener.local_address();
                    log::error!("cannot accept a connection on {address}: {error}");
                    return Waiting::NoDescriptor;
                }
            }
        }
        Waiting::More
    }
}
