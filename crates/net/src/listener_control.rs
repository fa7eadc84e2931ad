//! Requests to listeners while they run: figures, and reading certificates again.
//!
//! Nothing here accepts, binds or closes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admission::{Admission, ListenerFigures};
use crate::listen::Listen;
use crate::listener::ListenerAddress;
use crate::listeners::warn_of_files;
use crate::tls::{TlsFileError, TlsServer};

/// Takes requests to listeners while they run.
#[derive(Debug, Default)]
pub struct ListenerControl {
    entries: Mutex<Vec<Entry>>,
    /// Whether the listeners are about to be closed, so that nothing is worth waiting for.
    is_ending: AtomicBool,
}

/// A listener, with what its connections share.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: usize,
    /// What was asked for.
    pub(crate) listen: Listen,
    pub(crate) address: ListenerAddress,
    pub(crate) admission: Arc<Admission>,
    pub(crate) tls: Option<Arc<TlsServer>>,
}

/// The result of reading a listener's certificates again.
#[derive(Debug)]
pub struct Renewal {
    /// The listener's number.
    pub listener: usize,
    /// Where the listener listens.
    pub address: ListenerAddress,
    /// Whether new certificates are in effect, or why the old ones stay.
    pub result: Result<bool, TlsFileError>,
}

impl ListenerControl {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        Self { entries: Mutex::new(entries), is_ending: AtomicBool::new(false) }
    }

    /// Returns what each listener has let in and refused, with its number.
    pub fn figures(&self) -> Vec<(usize, ListenerAddress, ListenerFigures)> {
        let entries = self.entries();
        let figures =
            |entry: &Entry| (entry.number, entry.address.clone(), entry.admission.figures());
        entries.iter().map(figures).collect()
    }

    /// Returns whether any listener has certificates.
    pub fn have_certificates(&self) -> bool {
        self.entries().iter().any(|entry| entry.tls.is_some())
    }

    /// Reads all certificates, keys, authorities and revocation lists again. Connections go on. If
    /// something is wrong with the new files, the old ones stay in effect.
    pub fn reload_certificates(&self) -> Vec<Renewal> {
        self.renew(|tls| Some(tls.reload()))
    }

    /// Reads the files again that have changed. Listeners without changes are left out of the
    /// result.
    pub fn reload_changed_certificates(&self) -> Vec<Renewal> {
        self.renew(|tls| Some(tls.reload_if_changed()?.map(|()| true)))
    }

    /// Notes that the listeners are about to be closed: a change that waits for a port gives up.
    pub fn end_waiting(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Returns whether the listeners are about to be closed.
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(
        &self,
        look: impl Fn(&TlsServer) -> Option<Result<bool, TlsFileError>>,
    ) -> Vec<Renewal> {
        // A file system may be slow: nobody else shall wait for it.
        let entries = self.entries().clone();
        let renewal = |entry: Entry| {
            let tls = entry.tls.as_ref()?;
            let result = look(tls)?;
            if matches!(result, Ok(true)) {
                warn_of_files(tls, &entry.address);
            }
            Some(Renewal { listener: entry.number, address: entry.address, result })
        };
        entries.into_iter().filter_map(renewal).collect()
    }
}
