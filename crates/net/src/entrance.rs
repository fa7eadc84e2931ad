//! The listeners that accept, and who watches each of them: the thread of the acceptor, or a poller
//! that was lent to it.
//!
//! Whoever watches a listener learns that somebody waits there, and accepts. A connection that is
//! accepted where it is going to be read needs no second thread. This module must never wait on
//! behalf of a poller: if the listeners are held, the thread accepts instead.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token, Waker};

use crate::accepting::Reception;
use crate::acceptor::{Accepted, PassOn};
use crate::listener::Listener;
use crate::poller::{Poller, Watcher};
use crate::unix::FileIdentity;

/// The listeners that accept. The thread of the acceptor and the pollers share them.
#[derive(Debug, Default)]
pub struct Entrance {
    doors: Mutex<Vec<Door>>,
    /// Wakes the thread of the acceptor, once it runs.
    thread: OnceLock<Waker>,
}

/// A listener, and what its connections become.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) number: usize,
    pub(crate) listener: Listener,
    pub(crate) reception: Reception,
    /// Which poller watches it; `None`: the thread does.
    watcher: Option<usize>,
    /// When the log was last told that it cannot accept.
    failure_told: Cell<Option<Instant>>,
}

/// Those who can watch listeners.
#[derive(Debug)]
pub(crate) struct Watchers {
    /// The thread of the acceptor.
    pub(crate) thread: Registry,
    pub(crate) pollers: Vec<Watcher>,
}

/// What is left after a listener had its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nobody,
    /// There may be more, but it is the turn of others.
    More,
    /// The next one could not be accepted, mostly for want of a descriptor.
    Failed,
}

/// The token of all listeners that the thread watches: any event makes it look at all of them.
pub(crate) const LISTENER: Token = Token(0);

/// How many connections of one listener the thread accepts before it is the turn of others.
const ACCEPTED_BY_THREAD_MAX: usize = 1024;

impl Entrance {
    /// How many connections of one listener a poller's thread accepts at a time.
    const ACCEPTED_BY_WORKER_MAX: usize = 64;

    /// Accepts connections of a listener that a poller has reported
    /// ([`Readiness::listener`](crate::Readiness::listener)). Returns whether there may be more, so
    /// that this is to be called again. Never waits: while the listeners are being changed, the
    /// thread of the acceptor takes over.
    pub fn accept(&self, number: usize, take: impl FnMut(Accepted)) -> bool {
        let doors = match self.doors.try_lock() {
            Ok(doors) => doors,
            Err(TryLockError::Poisoned(doors)) => doors.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.wake_thread();
                return false;
            }
        };
        let Some(door) = doors.iter().find(|door| door.number == number) else {
            return false;
        };
        match door.accept_some(Self::ACCEPTED_BY_WORKER_MAX, take) {
            Waiting::Nobody => false,
            Waiting::More => true,
            Waiting::Failed => {
                // It tries again later.
                self.wake_thread();
                false
            }
        }
    }

    /// Sets what wakes the thread.
    pub(crate) fn set_thread(&self, waker: Waker) {
        // There is one thread for each entrance.
        let _ = self.thread.set(waker);
    }

    /// Has the thread look at all listeners, and at who is to watch them.
    pub(crate) fn wake_thread(&self) {
        if let Some(thread) = self.thread.get() {
            let _ = thread.wake();
        }
    }

    /// Accepts from all listeners. Says of each what is left.
    pub(crate) fn accept_all(&self, pass_on: &PassOn) -> Vec<Waiting> {
        let accept =
            |door: &Door| door.accept_some(ACCEPTED_BY_THREAD_MAX, |accepted| pass_on(accepted));
        self.lock().iter().map(accept).collect()
    }

    /// Has all listeners watched by one of the pollers, or by the thread. One that the operating
    /// system does not let watch is looked at once a second.
    pub(crate) fn watch_by(&self, watcher: Option<usize>, watchers: &Watchers) {
        for door in self.lock().iter_mut().filter(|door| door.watcher != watcher) {
            let Door { listener, number, .. } = door;
            // Fails if its watcher has ended, and then nobody watches it.
            let _ = watchers.registry(door.watcher).deregister(&mut listener.socket);
            let token = token(watcher, *number);
            let registry = watchers.registry(watcher);
            if let Err(error) = registry.register(&mut listener.socket, token, Interest::READABLE) {
                let address = listener.local_address();
                log::error!("{address}: cannot watch for connections: {error}");
            }
            door.watcher = watcher;
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns which file a listener is, if it is a Unix socket.
    pub(crate) fn file(&self, number: usize) -> Option<FileIdentity> {
        self.lock().iter().find(|door| door.number == number)?.listener.file()
    }
}

impl Watchers {
    fn registry(&self, watcher: Option<usize>) -> &Registry {
        let poller = watcher.and_then(|watcher| self.pollers.get(watcher));
        poller.map_or(&self.thread, |poller| &poller.registry)
    }
}

fn token(watcher: Option<usize>, number: usize) -> Token {
    watcher.map_or(LISTENER, |_| Poller::listener_token(number))
}

impl Door {
    const FAILURE_INTERVAL: Duration = Duration::from_secs(1);

    /// Makes a door of a listener that the thread watches.
    pub(crate) fn new(number: usize, listener: Listener, reception: Reception) -> Self {
        Self { number, listener, reception, watcher: None, failure_told: Cell::new(None) }
    }

    /// Logs why nobody can be accepted, once a second.
    fn tell_failure(&self, error: &io::Error, now: Instant) {
        let told = self.failure_told.get();
        if told.is_none_or(|told| now.duration_since(told) >= Self::FAILURE_INTERVAL) {
            self.failure_told.set(Some(now));
            let address = self.listener.local_address();
            log::error!("cannot accept a connection on {address}: {error}");
        }
    }

    /// Accepts up to `count` connections that wait.
    pub(crate) fn accept_some(&self, count: usize, mut take: impl FnMut(Accepted)) -> Waiting {
        let (listener, number) = (&self.listener, self.number);
        for _ in 0..count {
            let opened = Instant::now();
            match self.reception.accept(listener, opened) {
                Ok(Some((stream, refusal))) => {
                    take(Accepted { stream, listener: number, opened, refusal });
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
                    self.tell_failure(&error, opened);
                    return Waiting::Failed;
                }
            }
        }
        Waiting::More
    }
}

#[cfg(test)]
mod tests;
