//! Where a client's handshake, on the thread of QUIC, meets the stream, on its owner's thread.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::task::AbortHandle;

use super::connection::Connection;

/// The stream's end. Dropping it before the handshake is over ends the handshake.
#[derive(Debug)]
pub(super) struct Meeting {
    place: Place,
    task: AbortHandle,
}

/// The handshake's end.
#[derive(Clone, Debug)]
pub(super) struct Place {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    result: Option<io::Result<Connection>>,
    waker: Waker,
}

impl Meeting {
    /// Waits for what `task` will bring to `place`.
    #[cfg(feature = "client")]
    pub(super) fn new(place: Place, task: AbortHandle) -> Self {
        Self { place, task }
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        self.place.lock().waker = waker;
    }

    /// Takes the result of the handshake, once.
    pub(super) fn take(&self) -> Option<io::Result<Connection>> {
        self.place.lock().result.take()
    }

    /// Whether [`Meeting::take`] has a connection to give.
    ///
    /// # Errors
    ///
    /// Why the handshake has failed.
    pub(super) fn is_over(&self) -> io::Result<bool> {
        match &self.place.lock().result {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Place {
    #[cfg(feature = "client")]
    pub(super) fn new() -> Self {
        let inner = Inner { result: None, waker: Waker::noop().clone() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Gives the stream the result.
    #[cfg(feature = "client")]
    pub(super) fn bring(&self, result: io::Result<Connection>) {
        let waker = {
            let mut inner = self.lock();
            inner.result = Some(result);
            inner.waker.clone()
        };
        waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
