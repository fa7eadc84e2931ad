//! The thread that drives QUIC's packets, timers and handshakes.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, ServerConfig};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::clock::PatientRuntime;
use super::code;
use super::halves::Halves;

/// How long the peer has to acknowledge the last bytes of a stream.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A thread for QUIC, of all listeners or of a client's connections. Dropped, it sees off the last
/// bytes of streams that were dropped before, closes what is still open, and waits for both at most
/// two seconds.
#[derive(Debug)]
pub(super) struct QuicThread {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What streams need of the thread.
#[derive(Debug)]
pub(super) struct Shared {
    handle: Handle,
    runtime: PatientRuntime,
    endpoints: Mutex<Vec<Endpoint>>,
    is_stopping: AtomicBool,
    /// Streams that were dropped and whose last bytes are on their way.
    lingering: watch::Sender<usize>,
}

impl QuicThread {
    /// Starts the thread, named `name`.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread or descriptors.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let patient = PatientRuntime::new();
        runtime.spawn(patient.clone().beat());
        let shared = Arc::new(Shared {
            handle: runtime.handle().clone(),
            runtime: patient,
            endpoints: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            lingering: watch::Sender::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            runtime.block_on(async {
                // Whether it was sent or its sender is gone is the same.
                let _ = stopped.await;
                for_thread.close().await;
            });
        })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for QuicThread {
    fn drop(&mut self) {
        self.shared.stop_accepting();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// An endpoint on `socket`, which is closed with the runtime.
    pub(super) fn add_endpoint(
        &self,
        socket: UdpSocket,
        server: Option<ServerConfig>,
    ) -> io::Result<Endpoint> {
        let _context = self.handle.enter();
        let config = EndpointConfig::default();
        let runtime = Arc::new(self.runtime.clone());
        let endpoint = Endpoint::new(config, server, socket, runtime)?;
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).push(endpoint.clone());
        Ok(endpoint)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn stop_accepting(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Waits until what was written to `control` has arrived, for at most [`LINGER`], and calls
    /// `end` then. The runtime waits for it before it closes.
    pub(super) fn linger(self: &Arc<Self>, control: Halves, end: impl FnOnce() + Send + 'static) {
        self.lingering.send_modify(|count| *count += 1);
        let shared = Arc::clone(self);
        self.handle.spawn(async move {
            let _ = timeout(LINGER, control.delivered()).await;
            end();
            drop(control);
            shared.lingering.send_modify(|count| *count -= 1);
        });
    }

    async fn close(&self) {
        let mut lingering = self.lingering.subscribe();
        let _ = timeout(LINGER, lingering.wait_for(|count| *count == 0)).await;
        let endpoints =
            std::mem::take(&mut *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner));
        for endpoint in &endpoints {
            endpoint.close(code::NORMAL, b"");
        }
        let idle = async {
            for endpoint in &endpoints {
                endpoint.wait_idle().await;
            }
        };
        let _ = timeout(LINGER, idle).await;
    }
}
