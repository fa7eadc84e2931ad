//! The signals that a broker listens to: SIGTERM and SIGINT end it, SIGHUP reloads.
//!
//! The second signal that asks for the end ends the process at once, whatever the broker is busy
//! with. A signal that comes right after the first is its echo: `timeout`, Ctrl-C below `cargo run`
//! and some supervisors signal both the process and its group.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// How long after the first signal another one counts as the same.
const ECHO: Duration = Duration::from_millis(500);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Read the configuration again.
    Reload,
    /// The broker has failed: end.
    Fail,
    /// End; the text is the signal's name.
    End(&'static str),
}

/// Signals that have arrived and have not been answered yet.
#[derive(Debug)]
pub(crate) struct Signals {
    /// One byte for each signal.
    wake: UnixStream,
    reload: Arc<AtomicBool>,
    /// The number of the signal, or 0.
    end: Arc<AtomicUsize>,
    /// Whether the broker has failed.
    failed: Arc<AtomicBool>,
    writer: UnixStream,
    /// Whether the next signal ends the process at once.
    deadly: Arc<AtomicBool>,
}

impl Signals {
    /// Registers the handlers of the signals.
    pub(crate) fn register() -> io::Result<Self> {
        let (wake, writer) = UnixStream::pair()?;
        let deadly = Arc::new(AtomicBool::new(false));
        let end = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&deadly))?;
            flag::register_usize(signal, Arc::clone(&end), signal.unsigned_abs() as usize)?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        let reload = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&reload))?;
        pipe::register(SIGHUP, writer.try_clone()?)?;
        let failed = Arc::new(AtomicBool::new(false));
        Ok(Self { wake, reload, end, failed, writer, deadly })
    }

    /// Returns the function to call when the broker has failed.
    pub(crate) fn failure(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let (failed, writer) = (Arc::clone(&self.failed), self.writer.try_clone());
        move |_| {
            failed.store(true, Ordering::SeqCst);
            if let Ok(mut writer) = writer.as_ref() {
                // A full pipe wakes the reader as well.
                let _ = writer.write(&[0]);
            }
        }
    }

    /// Makes a further signal end the process at once, as soon as the time of an echo is over.
    pub(crate) fn arm(&self) -> io::Result<()> {
        let deadly = Arc::clone(&self.deadly);
        let arm = move || {
            thread::sleep(ECHO);
            deadly.store(true, Ordering::SeqCst);
        };
        thread::Builder::new().name("midge-signals".into()).spawn(arm).map(|_| ())
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
            if self.failed.load(Ordering::SeqCst) {
                return Request::Fail;
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
