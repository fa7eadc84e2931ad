//! SIGINT, SIGTERM and SIGHUP as something that a poll loop can wait for.
//!
//! The first signal lets a command end in good order; another one ends the process as it would
//! without this module. So does the first one while a command is blocked in a system call.

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use midge_net::Poller;
use mio::net::UnixStream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// The signals that ask a command to end.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Becomes readable when a signal arrives.
    wake: UnixStream,
    /// The number of the last signal, or 0.
    last: Arc<AtomicUsize>,
    /// Whether a signal ends the process at once.
    deadly: Arc<AtomicBool>,
}

impl Signals {
    /// Takes over the signals; each of them wakes `poller` under `number`.
    pub(crate) fn register(poller: &Poller, number: usize) -> io::Result<Self> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let mut wake = UnixStream::from_std(reader);
        poller.register_source(&mut wake, number)?;
        let last = Arc::new(AtomicUsize::new(0));
        let deadly = Arc::new(AtomicBool::new(true));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&deadly))?;
            flag::register(signal, Arc::clone(&deadly))?;
            flag::register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { wake, last, deadly })
    }

    /// Sets whether the next signal ends the process at once instead of waking the poll.
    pub(crate) fn set_deadly(&self, deadly: bool) {
        self.deadly.store(deadly, Ordering::SeqCst);
    }

    /// Returns the signal that arrived, if any.
    pub(crate) fn last(&self) -> Option<i32> {
        match self.last.load(Ordering::SeqCst) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// Makes the poll wake up for the next signal too.
    pub(crate) fn drain(&mut self) {
        let mut bytes = [0; 16];
        while matches!(self.wake.read(&mut bytes), Ok(1..)) {}
    }
}
