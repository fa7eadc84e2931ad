//! The signals that a broker listens to: SIGTERM and SIGINT end it, SIGHUP reloads.
//!
//! The second signal of those that end it does so at once, whatever the broker is busy with.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Read the configuration again.
    Reload,
    /// End; this is the signal's name.
    End(&'static str),
}

/// Signals that arrived and were not answered yet.
#[derive(Debug)]
pub(crate) struct Signals {
    /// One byte for each signal.
    wake: UnixStream,
    reload: Arc<AtomicBool>,
    /// The number of the signal, or 0.
    end: Arc<AtomicUsize>,
}

impl Signals {
    /// Takes the signals over.
    pub(crate) fn register() -> io::Result<Self> {
        let (wake, writer) = UnixStream::pair()?;
        let ending = Arc::new(AtomicBool::new(false));
        let end = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal arms what the second one meets.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&ending))?;
            flag::register(signal, Arc::clone(&ending))?;
            flag::register_usize(signal, Arc::clone(&end), signal.unsigned_abs() as usize)?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        let reload = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&reload))?;
        pipe::register(SIGHUP, writer)?;
        Ok(Self { wake, reload, end })
    }

    /// Waits for the next signal.
    pub(crate) fn wait(&mut self) -> Request {
        loop {
            match self.end.load(Ordering::SeqCst) {
                0 => {}
                signal if signal == SIGINT.unsigned_abs() as usize => {
                    return Request::End("SIGINT");
                }
                _ => return Request::End("SIGTERM"),
            }
            if self.reload.swap(false, Ordering::SeqCst) {
                return Request::Reload;
            }
            match self.wake.read(&mut [0; 16]) {
                Ok(0) => return Request::End("the end of all signals"),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Request::End("an error of the signal pipe"),
            }
        }
    }
}
