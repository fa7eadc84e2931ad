//! The thread that drives QUIC's packets, timers and handshakes.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quinn::{Endpoint, EndpointConfig, ServerConfig};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::clock::PatientRuntime;
use super::code;
use super::halves::Halves;

/// How long the peer has to acknowledge the last bytes of a stream.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A thread for QUIC, of all listeners or of a client's connections. Dropping it first delivers the
/// last bytes of streams that were dropped before, then closes what is still open, and waits for
/// both at most two seconds.
#[derive(Debug)]
pub(super) struct QuicThread {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What streams need from the thread.
#[derive(Debug)]
pub(super) struct Shared {
    handle: Handle,
    runtime: PatientRuntime,
    endpoints: Mutex<Endpoints>,
    is_stopping: AtomicBool,
    /// How many streams were dropped while their last bytes are still on their way.
    lingering: watch::Sender<usize>,
}

/// The endpoints, until they are closed.
#[derive(Debug, Default)]
struct Endpoints {
    open: Vec<(u64, Endpoint)>,
    /// How many endpoints there have been.
    count: u64,
    /// When an endpoint was last closed while the thread goes on.
    ended: Option<Instant>,
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
                // A sent message and a dropped sender mean the same.
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
    /// How long the connections of an endpoint that ends may take to end.
    const ENDING_MAX: Duration = Duration::from_secs(20);

    /// Adds an endpoint on `socket`. It is closed with the runtime, unless it is ended by its
    /// number before.
    pub(super) fn add_endpoint(
        &self,
        socket: UdpSocket,
        server: Option<ServerConfig>,
    ) -> io::Result<(u64, Endpoint)> {
        let _context = self.handle.enter();
        let config = EndpointConfig::default();
        let runtime = Arc::new(self.runtime.clone());
        let endpoint = Endpoint::new(config, server, socket, runtime)?;
        let mut endpoints = self.endpoints();
        endpoints.count += 1;
        let number = endpoints.count;
        endpoints.open.push((number, endpoint.clone()));
        Ok((number, endpoint))
    }

    /// Closes an endpoint, and ends the task that accepts from it, as soon as its connections have
    /// ended. Ending them, and admitting no new ones, is up to others.
    pub(super) fn end_endpoint(
        self: &Arc<Self>,
        (number, endpoint): (u64, Endpoint),
        accepting: Option<AbortHandle>,
    ) {
        let shared = Arc::clone(self);
        self.handle.spawn(async move {
            if timeout(Self::ENDING_MAX, endpoint.wait_idle()).await.is_err() {
                endpoint.close(code::NORMAL, b"");
                endpoint.wait_idle().await;
            }
            if let Some(accepting) = accepting {
                accepting.abort();
            }
            drop(endpoint);
            let mut endpoints = shared.endpoints();
            endpoints.open.retain(|(it, _)| *it != number);
            endpoints.ended = Some(Instant::now());
        });
    }

    /// Returns whether an endpoint may be about to end, with its port free in a moment.
    pub(super) fn may_free_a_port(&self, running: usize) -> bool {
        const MOMENT: Duration = Duration::from_secs(1);
        let endpoints = self.endpoints();
        let has_just_ended = endpoints.ended.is_some_and(|ended| ended.elapsed() < MOMENT);
        has_just_ended || endpoints.open.len() > running
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits until what was written to `control` has arrived, for at most [`LINGER`], and then
    /// calls `end`. The runtime waits for this before it closes.
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
        let endpoints = std::mem::take(&mut self.endpoints().open);
        for (_, endpoint) in &endpoints {
            endpoint.close(code::NORMAL, b"");
        }
        let idle = async {
            for (_, endpoint) in &endpoints {
                endpoint.wait_idle().await;
            }
        };
        let _ = timeout(LINGER, idle).await;
    }
}
