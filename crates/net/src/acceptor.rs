//! The thread that accepts connections of all listeners and passes them on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::accepting::Reception;
use crate::admission::Refusal;
use crate::listener::Listener;
use crate::stream::Stream;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub stream: Stream,
    /// The listener's place in the list that the acceptor was started with.
    pub listener: usize,
    /// When it came: its deadlines count from then on.
    pub opened: Instant,
    /// Why it shall be told to come later, if its listener has no room for it.
    pub refusal: Option<Refusal>,
}

/// The running thread; stops and closes its listeners when dropped.
#[derive(Debug)]
pub(crate) struct Acceptor {
    waker: Arc<Waker>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const STOP: Token = Token(usize::MAX);

/// Connections of one listener that are accepted before it is the turn of others.
const ACCEPTED_MAX: usize = 1024;

/// How long to wait after the operating system had no descriptor left for a connection.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Starts to accept. `pass_on` gets every connection with its listener's number;
    /// `every_second` is called about once a second, for whoever needs a clock beside the workers.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors.
    pub(crate) fn start(
        mut listeners: Vec<(usize, Listener, Reception)>,
        mut pass_on: impl FnMut(Accepted) + Send + 'static,
        mut every_second: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        for (place, (_, listener, _)) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listener.socket, Token(place), Interest::READABLE)?;
        }
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        let stops = Arc::new(AtomicBool::new(false));
        let is_stopping = Arc::clone(&stops);
        let thread = thread::Builder::new().name("midge-accept".into()).spawn(move || {
            let mut events = Events::with_capacity(64);
            let mut is_busy = false;
            while !is_stopping.load(Ordering::Acquire) {
                let wait = if is_busy { Duration::ZERO } else { Duration::from_secs(1) };
                if let Err(error) = poll.poll(&mut events, Some(wait))
                    && error.kind() != io::ErrorKind::Interrupted
                {
                    log::error!("waiting for connections failed: {error}");
                    return;
                }
                // All of them each time: one that ran out of descriptors is tried again.
                is_busy = false;
                for (number, listener, reception) in &listeners {
                    is_busy |= accept_all(listener, reception, *number, &mut pass_on);
                }
                every_second();
            }
        })?;
        Ok(Self { waker, stops, thread: Some(thread) })
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

/// Accepts what waits at a listener. True if there may be more, and it is the turn of others.
fn accept_all(
    listener: &Listener,
    reception: &Reception,
    number: usize,
    pass_on: &mut impl FnMut(Accepted),
) -> bool {
    for _ in 0..ACCEPTED_MAX {
        let opened = Instant::now();
        match reception.accept(listener, opened) {
            Ok(Some((stream, refusal))) => {
                pass_on(Accepted { stream, listener: number, opened, refusal });
            }
            // Refused without a word.
            Ok(None) => (),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // The peer gave up before it was accepted, or a signal came: the next one may do.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                log::error!("cannot accept a connection on {}: {error}", listener.local_address());
                thread::sleep(PAUSE_WITHOUT_DESCRIPTORS);
                return false;
            }
        }
    }
    true
}
