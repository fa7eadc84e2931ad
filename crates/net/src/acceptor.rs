//! The thread that looks after all listeners. It accepts for those that no poller watches, and
//! passes the connections on; once a second it looks at all of them, so that nobody waits for ever
//! at a listener whose watcher does not come.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::accepting::Reception;
use crate::admission::Refusal;
use crate::entrance::{Door, Entrance, LISTENER, Waiting, Watchers};
use crate::listen::TcpOptions;
use crate::listener::Listener;
use crate::poller::Watcher;
use crate::stream::Stream;

/// Receives the connections that the thread has accepted.
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
    entrance: Arc<Entrance>,
    registry: Registry,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The listeners of an acceptor, held while no connection is accepted.
#[derive(Debug)]
pub(crate) struct HeldDoors<'a> {
    entrance: &'a Entrance,
    doors: MutexGuard<'a, Vec<Door>>,
}

/// What the thread works with.
struct Porter<F> {
    poll: Poll,
    entrance: Arc<Entrance>,
    watchers: Watchers,
    pass_on: PassOn,
    before_each_wait: F,
    stops: Arc<AtomicBool>,
}

const STOP: Token = Token(usize::MAX);

/// How long to wait after the operating system had no descriptor left for a connection.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Starts the thread, without listeners. `pass_on` gets every connection that it accepts, with
    /// its listener's number. `before_each_wait` is called on the thread each time before it waits
    /// for connections, at least about once a second, for work that needs a clock outside the
    /// workers; it says which of the pollers watches the listeners from then on, `None` for the
    /// thread.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors.
    pub(crate) fn start(
        entrance: Arc<Entrance>,
        pollers: Vec<Watcher>,
        pass_on: PassOn,
        before_each_wait: impl FnMut() -> Option<usize> + Send + 'static,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        entrance.set_thread(Waker::new(poll.registry(), STOP)?);
        let watchers = Watchers { thread: registry.try_clone()?, pollers };
        let stops = Arc::new(AtomicBool::new(false));
        let porter = Porter {
            poll,
            entrance: Arc::clone(&entrance),
            watchers,
            pass_on,
            before_each_wait,
            stops: Arc::clone(&stops),
        };
        let thread = thread::Builder::new().name("midge-accept".into());
        let thread = Some(thread.spawn(move || porter.run())?);
        Ok(Self { entrance, registry, stops, thread })
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
        self.entrance.lock().extend(doors);
        self.entrance.wake_thread();
    }

    /// Closes a listener. When this returns, it accepts nobody any more.
    pub(crate) fn remove(&self, number: usize) {
        self.entrance.lock().retain(|door| door.number != number);
    }

    /// Holds the listeners: nobody is accepted until the result is dropped.
    pub(crate) fn hold(&self) -> HeldDoors<'_> {
        HeldDoors { entrance: &self.entrance, doors: self.entrance.lock() }
    }

    /// Sets whether other sockets of this process may be bound to the ports of some listeners.
    pub(crate) fn share_ports(&self, numbers: &[usize], shares: bool) -> io::Result<()> {
        let mut doors = self.entrance.lock();
        let mut doors = doors.iter_mut().filter(|door| numbers.contains(&door.number));
        doors.try_for_each(|door| door.listener.share_port(shares))
    }

    /// Returns what all who accept share.
    pub(crate) fn entrance(&self) -> &Entrance {
        &self.entrance
    }
}

impl<F: FnMut() -> Option<usize>> Porter<F> {
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let (mut is_busy, mut is_short) = (false, false);
        while !self.stops.load(Ordering::Acquire) {
            let watcher = (self.before_each_wait)();
            // Where descriptors are short, this thread tries again, and no poller comes in vain.
            self.entrance.watch_by(watcher.filter(|_| !is_short), &self.watchers);
            // The poller does not report again those that wait for a descriptor.
            let wait = if is_busy || is_short { Duration::ZERO } else { Duration::from_secs(1) };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("waiting for connections failed: {error}");
                return;
            }
            // All of them each time, so that a listener that ran out of descriptors is tried
            // again.
            let waiting = self.entrance.accept_all(&self.pass_on);
            is_short = waiting.contains(&Waiting::Failed);
            is_busy = waiting.contains(&Waiting::More);
            if is_short {
                thread::sleep(PAUSE_WITHOUT_DESCRIPTORS);
            }
        }
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

    /// Puts a listener, which the thread watches already, in the place of the one with the same
    /// number. Peers can no longer find the old one, but those that wait there are still accepted.
    pub(crate) fn replace(&mut self, door: Door, pass_on: &PassOn) {
        if let Some(old) = self.door(door.number) {
            old.accept_some(usize::MAX, |accepted| pass_on(accepted));
            *old = door;
        }
        self.entrance.wake_thread();
    }

    fn door(&mut self, number: usize) -> Option<&mut Door> {
        self.doors.iter_mut().find(|door| door.number == number)
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        self.entrance.wake_thread();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Others may keep the entrance.
        let doors = std::mem::take(&mut *self.entrance.lock());
        drop(doors);
    }
}
