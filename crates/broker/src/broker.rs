//! A whole broker: made by a builder, started, stopped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use midge_core::{
    AllowAll, Core, CoreConfig, DurabilityRules, Limits, Policy, SharedStrategy, TopicRules,
    WorkerId,
};
use midge_net::{Accepted, Acceptor, BindError, Listener, Poller};

use crate::clock::Clock;
use crate::directory::Directory;
use crate::handle::BrokerHandle;
use crate::hook::{Hook, HookPolicy};
use crate::inbox::{Inbox, Letter};
use crate::memory::MemoryWatch;
use crate::worker::{Worker, WorkerParts};

/// Makes a [`Broker`]. Everything has a default but the addresses to listen on.
pub struct BrokerBuilder {
    listen: Vec<String>,
    workers: usize,
    limits: Limits,
    topics: TopicRules,
    shared_strategy: SharedStrategy,
    shared_backlog: bool,
    response_prefix: Option<Box<str>>,
    hook: Option<Arc<dyn Hook>>,
    seed: Option<u64>,
}

/// A running broker. Dropping it stops it at once; [`Broker::stop`] lets Clients go first.
pub struct Broker {
    acceptor: Option<Acceptor>,
    workers: Vec<JoinHandle<()>>,
    handle: BrokerHandle,
    addresses: Vec<SocketAddr>,
}

/// Why a broker did not start. Nothing of it is left running.
#[derive(Debug)]
pub enum StartError {
    /// An address could not be listened on.
    Bind(BindError),
    /// The operating system refused a thread or a descriptor.
    System(io::Error),
}

impl Broker {
    /// A builder with all defaults and without listeners.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder {
            listen: Vec::new(),
            workers: thread::available_parallelism().map_or(1, usize::from),
            limits: Limits::default(),
            topics: TopicRules::default(),
            shared_strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: Some("response".into()),
            hook: None,
            seed: None,
        }
    }

    /// The addresses that it listens on, in the order in which they were asked for.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How the program talks to it.
    pub fn handle(&self) -> BrokerHandle {
        self.handle.clone()
    }

    /// Stops in an orderly way: no new connections, MQTT 5 Clients are told (0x8B Server shutting
    /// down), what is written already leaves. After `deadline` it ends whatever is left.
    pub fn stop(mut self, deadline: Duration) {
        self.acceptor = None;
        self.send_to_all(|| Letter::Drain);
        let begun = Instant::now();
        while begun.elapsed() < deadline && !self.workers.iter().all(JoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn send_to_all(&self, letter: impl Fn() -> Letter) {
        for inbox in self.handle.inboxes.iter() {
            inbox.send(letter());
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.acceptor = None;
        self.send_to_all(|| Letter::Stop);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                log::error!("a worker has panicked");
            }
        }
    }
}

impl BrokerBuilder {
    /// Listens for MQTT over TCP on `IP:PORT` or `NAME:PORT`. May be called many times.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// How many worker threads there are; the default is the number of processors. At least 1, at
    /// most 64.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// All limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Topic rewriting and automatic subscriptions.
    #[must_use]
    pub fn topics(mut self, topics: TopicRules) -> Self {
        self.topics = topics;
        self
    }

    /// How shared subscriptions choose a member.
    #[must_use]
    pub fn shared_strategy(mut self, strategy: SharedStrategy) -> Self {
        self.shared_strategy = strategy;
        self
    }

    /// Whether a shared subscription keeps messages itself while no member is connected; else
    /// they go to the queue of a member. The default is that it does.
    #[must_use]
    pub fn shared_backlog(mut self, keeps: bool) -> Self {
        self.shared_backlog = keeps;
        self
    }

    /// What Request Response Information is answered with: this, `/` and the Client Identifier.
    #[must_use]
    pub fn response_prefix(mut self, prefix: Option<String>) -> Self {
        self.response_prefix = prefix.map(String::into_boxed_str);
        self
    }

    /// Who decides and who is told.
    #[must_use]
    pub fn hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Seeds hash tables and random choices; the default is a different one at each start.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the broker: when this returns, it accepts connections.
    ///
    /// # Errors
    ///
    /// An address cannot be listened on, or the operating system refuses threads or descriptors.
    /// Nothing is left running then.
    pub fn start(self) -> Result<Broker, StartError> {
        let listeners: Vec<_> =
            self.listen.iter().map(|address| Listener::bind(address)).collect::<Result<_, _>>()?;
        let addresses = listeners.iter().map(Listener::local_address).collect();
        let count = self.workers.clamp(1, WorkerId::MAX_WORKERS);
        let pollers: Vec<_> = (0..count).map(|_| Poller::new()).collect::<Result<_, _>>()?;
        let inboxes: Arc<[Arc<Inbox>]> =
            pollers.iter().map(|poller| Arc::new(Inbox::new(poller.notifier()))).collect();
        let handle = BrokerHandle::new(Arc::clone(&inboxes));
        let mut broker = Broker { acceptor: None, workers: Vec::new(), handle, addresses };
        self.start_workers(pollers, &inboxes, &mut broker)?;
        broker.acceptor = Some(self.start_acceptor(listeners, inboxes)?);
        Ok(broker)
    }

    fn start_workers(
        &self,
        pollers: Vec<Poller>,
        inboxes: &Arc<[Arc<Inbox>]>,
        broker: &mut Broker,
    ) -> Result<(), StartError> {
        let seed = self.seed.unwrap_or_else(entropy);
        let count = pollers.len();
        let directory = (count > 1).then(|| Arc::new(Directory::new(seed)));
        let policy: Arc<dyn Policy> = match &self.hook {
            Some(hook) => Arc::new(HookPolicy(Arc::clone(hook))),
            None => Arc::new(AllowAll),
        };
        let limits = Arc::new(self.limits.clone());
        let topics = Arc::new(self.topics.clone());
        let clock = Clock::start();
        for (index, poller) in pollers.into_iter().enumerate() {
            let id = WorkerId::new(index);
            let core = Core::new(CoreConfig {
                worker: id,
                workers: count,
                seed,
                limits: Arc::clone(&limits),
                policy: Arc::clone(&policy),
                topics: Arc::clone(&topics),
                shared_strategy: self.shared_strategy,
                shared_backlog: self.shared_backlog,
                response_prefix: self.response_prefix.clone(),
                durability: DurabilityRules::default(),
                tell_drops: self.hook.as_ref().is_some_and(|hook| hook.wants_drops()),
            });
            let parts = WorkerParts {
                id,
                core,
                poller,
                inboxes: Arc::clone(inboxes),
                directory: directory.clone(),
                hook: self.hook.clone(),
                clock,
                packet_bytes_max: limits.packet_bytes_max,
                packet_before_connect_bytes_max: limits.packet_before_connect_bytes_max,
                output_bytes_max: limits.output_bytes_max,
            };
            let name = format!("midge-worker-{index}");
            let thread = thread::Builder::new().name(name);
            broker.workers.push(thread.spawn(move || Worker::new(parts).run())?);
        }
        Ok(())
    }

    fn start_acceptor(
        &self,
        listeners: Vec<Listener>,
        inboxes: Arc<[Arc<Inbox>]>,
    ) -> Result<Acceptor, StartError> {
        let connections_max = self.limits.connections_max as usize;
        let mut watch = MemoryWatch::new(self.limits.memory_bytes_max);
        let watched = Arc::clone(&inboxes);
        let mut last_look = Instant::now();
        let every_second = move || {
            if last_look.elapsed() < Duration::from_secs(1) {
                return;
            }
            last_look = Instant::now();
            if let Some(pressure) = watch.change() {
                watched.iter().for_each(|inbox| inbox.send(Letter::Pressure(pressure)));
            }
        };
        let acceptor = Acceptor::start(
            listeners,
            move |accepted| pass_on(accepted, &inboxes, connections_max),
            every_second,
        )?;
        Ok(acceptor)
    }
}

/// Gives a connection to the worker that has the fewest.
fn pass_on(accepted: Accepted, inboxes: &[Arc<Inbox>], connections_max: usize) {
    let counts = inboxes.iter().map(|inbox| inbox.connections.load(Ordering::Relaxed));
    let (mut total, mut least) = (0, (usize::MAX, 0));
    for (index, count) in counts.enumerate() {
        total += count;
        least = least.min((count, index));
    }
    if total >= connections_max {
        log::warn!("{}: closed: {total} connections are open already", accepted.peer);
        return;
    }
    let inbox = &inboxes[least.1];
    inbox.connections.fetch_add(1, Ordering::Relaxed);
    let Accepted { stream, peer, listener } = accepted;
    inbox.send(Letter::Accepted { stream, peer, listener: listener as u16 });
}

/// A number that is another one at each start, from the keys of the standard library's hasher.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
