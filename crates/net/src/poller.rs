//! Tells which of many streams can be read or written. Each worker has one poller.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Duration;

use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::stream::{Source, Stream};

/// The token of the poller's own waker.
const NOTIFIED: Token = Token(usize::MAX);

/// Waits for readiness. It is edge-triggered: readiness is reported once, and again only after a
/// read or write has met `WouldBlock` (or a read has got less than it asked for).
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
    notifier: Arc<Notifier>,
    signals: Arc<Signals>,
}

/// Lets listeners be watched by a poller, see [`Poller::watcher`].
#[derive(Debug)]
pub struct Watcher {
    pub(crate) registry: Registry,
}

/// How a stream that the operating system does not know reports that it is ready, from any thread.
#[derive(Debug)]
pub(crate) struct Signal {
    number: usize,
    is_given: AtomicBool,
    signals: Arc<Signals>,
}

/// The signals that were given since the last look.
#[derive(Debug)]
struct Signals {
    given: Mutex<Vec<Arc<Signal>>>,
    notifier: Arc<Notifier>,
}

/// Wakes a poller from another thread. Many calls between two turns cause one wake-up.
#[derive(Debug)]
pub struct Notifier {
    waker: Waker,
    is_notified: AtomicBool,
}

/// What a stream is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// The number that the stream was registered with.
    pub number: usize,
    /// There is something to read, which may be the end.
    pub readable: bool,
    /// The peer will send nothing more: the end comes after what there is to read.
    pub ends: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Poller {
    /// The numbers from here on, except the last one, stand for listeners.
    const FIRST_LISTENER: usize = usize::MAX - (1 << 16) - 1;

    /// Events taken from the operating system at a time.
    pub const EVENTS: usize = 1024;

    /// Returns a poller without streams.
    ///
    /// # Errors
    ///
    /// The operating system has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), NOTIFIED)?;
        let notifier = Arc::new(Notifier { waker, is_notified: AtomicBool::new(false) });
        let given = Mutex::new(Vec::new());
        let signals = Arc::new(Signals { given, notifier: Arc::clone(&notifier) });
        Ok(Self { poll, events: Events::with_capacity(Self::EVENTS), notifier, signals })
    }

    /// Returns what other threads wake this poller with.
    pub fn notifier(&self) -> Arc<Notifier> {
        Arc::clone(&self.notifier)
    }

    /// Returns what has the poller watch listeners. [`Readiness::listener`] reports them.
    ///
    /// # Errors
    ///
    /// The operating system has no more descriptors.
    pub fn watcher(&self) -> io::Result<Watcher> {
        Ok(Watcher { registry: self.poll.registry().try_clone()? })
    }

    /// Returns the token of the listener with this number, which is less than 65,536.
    pub(crate) fn listener_token(number: usize) -> Token {
        debug_assert!(number < 1 << 16, "there are no more numbers");
        Token(Self::FIRST_LISTENER + number)
    }

    /// Adds a stream, whose readiness is reported under `number`, which is small: a slot.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn register(&self, stream: &mut Stream, number: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match stream.readiness() {
            Source::System(source) => {
                self.poll.registry().register(source, Token(number), interest)
            }
            #[cfg(feature = "quic")]
            Source::Signals(quic) => {
                quic.set_signal(Some(self.signal(number)));
                Ok(())
            }
            #[cfg(feature = "quic")]
            Source::DataSignals(quic) => {
                quic.set_signal(Some(self.signal(number)));
                Ok(())
            }
        }
    }

    /// Adds something other than a stream. It is reported under `number`, which is small, when it
    /// can be read.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn register_source(
        &self,
        source: &mut impl mio::event::Source,
        number: usize,
    ) -> io::Result<()> {
        self.poll.registry().register(source, Token(number), Interest::READABLE)
    }

    /// Returns a signal for the stream `number`.
    #[cfg(feature = "quic")]
    pub(crate) fn signal(&self, number: usize) -> Arc<Signal> {
        let signals = Arc::clone(&self.signals);
        Arc::new(Signal { number, is_given: AtomicBool::new(false), signals })
    }

    /// Removes a stream.
    ///
    /// # Errors
    ///
    /// It was not registered.
    pub fn deregister(&self, stream: &mut Stream) -> io::Result<()> {
        match stream.readiness() {
            Source::System(source) => self.poll.registry().deregister(source),
            #[cfg(feature = "quic")]
            Source::Signals(quic) => {
                quic.set_signal(None);
                Ok(())
            }
            #[cfg(feature = "quic")]
            Source::DataSignals(quic) => {
                quic.set_signal(None);
                Ok(())
            }
        }
    }

    /// Removes a stream by closing it. This takes no call of its own: the operating system forgets
    /// what is closed.
    pub fn forget(&self, mut stream: Stream) {
        match stream.readiness() {
            Source::System(_) => (),
            #[cfg(feature = "quic")]
            Source::Signals(quic) => quic.set_signal(None),
            #[cfg(feature = "quic")]
            Source::DataSignals(quic) => quic.set_signal(None),
        }
    }

    /// Waits until something is ready, somebody notifies, or `timeout` has passed.
    ///
    /// # Errors
    ///
    /// The operating system's errors, except an interruption.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// Returns whether the last wait has found as much as one wait can, so that there may be more.
    pub fn may_have_more(&self) -> bool {
        self.events.iter().nth(Self::EVENTS - 1).is_some()
    }

    /// Returns what the last wait has found. Clears the notification first, so that a notification
    /// from now on ends the next wait.
    pub fn ready(&self) -> impl Iterator<Item = Readiness> {
        self.notifier.is_notified.store(false, Ordering::Release);
        let events = self.events.iter().filter(|event| event.token() != NOTIFIED);
        let of_system = events.map(|event| Readiness {
            number: event.token().0,
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            ends: event.is_read_closed() || event.is_error(),
            writable: event.is_writable() || event.is_write_closed(),
        });
        of_system.chain(self.signals.take().into_iter().map(|signal| signal.readiness()))
    }
}

impl Readiness {
    /// Returns the number of the listener at which somebody waits, if it is one and no stream.
    pub fn listener(&self) -> Option<usize> {
        self.number.checked_sub(Poller::FIRST_LISTENER)
    }
}

impl Signals {
    fn take(&self) -> Vec<Arc<Signal>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Signal>>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signal {
    /// Returns what the signal stands for. If it is given from now on, it counts again.
    fn readiness(&self) -> Readiness {
        self.is_given.store(false, Ordering::Release);
        Readiness { number: self.number, readable: true, ends: false, writable: true }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        if !self.is_given.swap(true, Ordering::AcqRel) {
            let signals = Arc::clone(&self.signals);
            signals.lock().push(self);
            signals.notifier.notify();
        }
    }
}

impl Notifier {
    /// Wakes the poller, now or at its next wait.
    pub fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            // Waking fails only if the poller is gone, and then there is nobody to be woken.
            let _ = self.waker.wake();
        }
    }
}
