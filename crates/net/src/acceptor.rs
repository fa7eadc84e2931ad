//! The thread that accepts connections of all listeners and passes them on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::listener::Listener;
use crate::peer::PeerAddress;
use crate::socket::PlainSocket;
use crate::stream::Stream;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub stream: Stream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The listener's place in the list that the acceptor was started with.
    pub listener: usize,
}

/// The running thread; stops and closes its listeners when dropped.
#[derive(Debug)]
pub struct Acceptor {
    waker: Arc<Waker>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const STOP: Token = Token(usize::MAX);

/// How long to wait after the operating system had no descriptor left for a connection.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Starts to accept. `pass_on` gets every connection; `every_second` is called about once a
    /// second, for whoever needs a clock beside the workers.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors.
    pub fn start(
        mut listeners: Vec<Listener>,
        mut pass_on: impl FnMut(Accepted) + Send + 'static,
        mut every_second: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        for (number, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listener.socket, Token(number), Interest::READABLE)?;
        }
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        let stops = Arc::new(AtomicBool::new(false));
        let is_stopping = Arc::clone(&stops);
        let thread = thread::Builder::new().name("midge-accept".into()).spawn(move || {
            let mut events = Events::with_capacity(64);
            while !is_stopping.load(Ordering::Acquire) {
                if let Err(error) = poll.poll(&mut events, Some(Duration::from_secs(1)))
                    && error.kind() != io::ErrorKind::Interrupted
                {
                    log::error!("waiting for connections failed: {error}");
                    return;
                }
                // All of them each time: one that ran out of descriptors is tried again.
                for (number, listener) in listeners.iter().enumerate() {
                    accept_all(listener, number, &mut pass_on);
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

fn accept_all(listener: &Listener, number: usize, pass_on: &mut impl FnMut(Accepted)) {
    loop {
        match listener.accept() {
            Ok((PlainSocket::Tcp(stream), PeerAddress::Network(peer))) => {
                pass_on(Accepted { stream: Stream::tcp(stream), peer, listener: number });
            }
            Ok(_) => log::error!("{} cannot be served yet", listener.local_address()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The peer gave up before it was accepted, or a signal came: the next one may do.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                log::error!("cannot accept a connection on {}: {error}", listener.local_address());
                return thread::sleep(PAUSE_WITHOUT_DESCRIPTORS);
            }
        }
    }
}
