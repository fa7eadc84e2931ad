//! The thread that reads certificate files again when they have changed. It does nothing else,
//! because a file system may be slow.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use midge_net::ListenerControl;

/// The running thread. It ends after this is dropped, but nobody waits for it: it may be stuck at a
/// file.
pub(crate) struct CertificateWatch {
    _end: Sender<()>,
}

impl CertificateWatch {
    /// How often the files are looked at.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Starts the thread. Returns `None` if no listener has certificates.
    pub(crate) fn start(listeners: Arc<ListenerControl>) -> io::Result<Option<Self>> {
        if !listeners.have_certificates() {
            return Ok(None);
        }
        let (end, ended) = mpsc::channel();
        let look = move || {
            while ended.recv_timeout(Self::INTERVAL) == Err(RecvTimeoutError::Timeout) {
                renew(&listeners);
            }
        };
        thread::Builder::new().name("midge-files".into()).spawn(look)?;
        Ok(Some(Self { _end: end }))
    }
}

fn renew(listeners: &ListenerControl) {
    for renewal in listeners.reload_changed_certificates() {
        let address = renewal.address;
        match renewal.result {
            Ok(_) => log::info!("{address}: the changed certificate files are in effect"),
            Err(error) => log::error!(
                "{address}: the changed certificate files cannot be used, the old ones stay in \
                 effect: {error}"
            ),
        }
    }
}
