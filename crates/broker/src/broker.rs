//! A whole broker: a builder makes and starts it, and [`Broker::stop`] stops it.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use midge_core::{
    Capabilities, Core, CoreConfig, Counters, Durability, DurabilityRules, Limits, NodeBudget,
    SharedStrategy, TopicRules, WorkerId,
};
use midge_net::{Listen, ListenError, ListenerAddress, Listeners, Poller, Watcher};
use midge_store::OpenError;

use crate::access::{Access, AccessControl, NodePolicy};
use crate::clock::{Clock, Clocks, MachineClocks};
use crate::directory::Directory;
use crate::drop_log;
use crate::handle::BrokerHandle;
use crate::hook::{GuardedHook, Hook};
use crate::inbox::{Inbox, Letter};
use crate::listener_terms::ListenerSettings;
use crate::listeners::{BrokerListeners, with_deadline};
use crate::memory::share::Share;
use crate::memory::unfinished::Unfinished;
use crate::memory::{self, Allocator, MemoryGauge};
use crate::own_topics::{Bell, OwnTopics};
use crate::passing_on::PassingOn;
use crate::placement::Placement;
use crate::program::publish_window::PublishWindow;
use crate::pulse::Pulse;
use crate::random;
use crate::storage::recovery::{Restored, restore};
use crate::storage::{self, OnFailure, Order, Orders, Storage, StoreThread};
use crate::watch::Watch;
use crate::worker::{Node, WaysIn, Worker, WorkerParts};

/// Makes a [`Broker`]. Everything except the addresses to listen on has a default.
pub struct BrokerBuilder {
    listen: Vec<Listen>,
    workers: usize,
    limits: Limits,
    topics: TopicRules,
    shared_strategy: SharedStrategy,
    shared_backlog: bool,
    response_prefix: Option<Box<str>>,
    hook: Option<Arc<dyn Hook>>,
    access: Option<Access>,
    seed: Option<u64>,
    storage: Option<Storage>,
    durability: DurabilityRules,
    listener_durabilities: Vec<Option<Durability>>,
    capabilities: Capabilities,
    listener_capabilities: Vec<Option<Capabilities>>,
    on_failure: OnFailure,
    clocks: Arc<dyn Clocks>,
    own_topics_interval: Option<Duration>,
    trace_client: Option<Arc<str>>,
    allocator: Option<Allocator>,
    publish_bytes_max: usize,
    placement: Placement,
}

/// A running broker. Dropping it stops it at once; [`Broker::stop`] first lets Clients go.
pub struct Broker {
    listeners: Arc<BrokerListeners>,
    _own_topics: Option<OwnTopics>,
    workers: Vec<JoinHandle<()>>,
    /// The store's thread, and where the store is.
    store: Option<(Arc<Orders>, JoinHandle<()>, String)>,
    handle: BrokerHandle,
    addresses: Vec<ListenerAddress>,
}

/// Why a broker did not start. Nothing of it is left running.
#[derive(Debug)]
pub enum StartError {
    /// A listener could not be made, because of its address, its certificates or its options.
    Listen(ListenError),
    /// The operating system refused a thread or a descriptor.
    System(io::Error),
    /// The store could not be opened.
    Store(OpenError),
}

impl Broker {
    /// Returns a builder with all defaults and without listeners.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder {
            listen: Vec::new(),
            workers: BrokerBuilder::workers_default(),
            limits: Limits::default(),
            topics: TopicRules::default(),
            shared_strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: Some("response".into()),
            hook: None,
            access: None,
            seed: None,
            storage: None,
            durability: DurabilityRules::default(),
            capabilities: Capabilities::default(),
            listener_durabilities: Vec::new(),
            listener_capabilities: Vec::new(),
            on_failure: Arc::new(|_| ()),
            clocks: Arc::new(MachineClocks::new()),
            own_topics_interval: None,
            trace_client: None,
            allocator: None,
            publish_bytes_max: BrokerBuilder::PUBLISH_BYTES_MAX_DEFAULT,
            placement: Placement::default(),
        }
    }

    /// Returns the addresses that the broker began to listen on, in the order in which they were
    /// asked for. See [`BrokerHandle::listeners`] for the present ones.
    pub fn local_addresses(&self) -> &[ListenerAddress] {
        &self.addresses
    }

    /// Returns a handle, by which the program talks to the broker.
    pub fn handle(&self) -> BrokerHandle {
        self.handle.clone()
    }

    /// Stops in an orderly way: accepts no new connections, tells MQTT 5 Clients (0x8B Server
    /// shutting down), and sends what is already written. After `deadline` it ends whatever is
    /// left.
    pub fn stop(self, deadline: Duration) {
        self.listeners.stop_accepting();
        self.send_to_all(|| Letter::Drain);
        let begun = Instant::now();
        // The workers must be drained twice in a row: a letter may have been on its way from one to
        // another.
        let mut quiet = 0;
        while begun.elapsed() < deadline && quiet < 2 {
            thread::sleep(Duration::from_millis(5));
            quiet = if self.is_drained() { quiet + 1 } else { 0 };
        }
    }

    fn is_drained(&self) -> bool {
        let mut workers = self.workers.iter().zip(self.handle.inboxes.iter());
        workers.all(|(thread, inbox)| thread.is_finished() || inbox.is_drained())
    }

    /// Logs how many messages were dropped in all, including those that are lost by the end itself.
    fn tell_drops(&self) {
        let mut counters = Counters::default();
        self.handle.inboxes.iter().for_each(|inbox| counters.add(&inbox.left_counters()));
        match drop_log::sum_in_words(&counters) {
            Some(words) => {
                log::info!(count = counters.lost(); "messages dropped since the start: {words}");
            }
            None => log::debug!("no message was dropped since the start"),
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
        self.listeners.stop_accepting();
        self.send_to_all(|| Letter::Stop);
        let has_run = !self.workers.is_empty();
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                log::error!("a worker has panicked");
            }
        }
        if has_run {
            self.tell_drops();
        }
        self.handle.events.close();
        // After the workers: this sends the last bytes that they have written by QUIC.
        self.listeners.end();
        // After the workers: by now the store has everything that they wanted to keep.
        if let Some((orders, thread, place)) = self.store.take() {
            orders.send([Order::Close]);
            storage::wait_for_end(thread, &place);
        }
    }
}

impl BrokerBuilder {
    /// The default of [`BrokerBuilder::publish_bytes_max`]: 16 MiB, tens of thousands of messages.
    pub const PUBLISH_BYTES_MAX_DEFAULT: usize = 16 << 20;

    /// Listens for MQTT over TCP on `IP:PORT` or `NAME:PORT`, on a Unix socket with `unix:PATH`, or
    /// by any other transport as a [`Listen`] says. May be called many times.
    ///
    /// ```no_run
    /// use midge_broker::{Broker, Listen, TlsOptions, WebSocketOptions};
    ///
    /// let tls = TlsOptions::new("server.pem", "server.key").client_ca("devices-ca.pem");
    /// let broker = Broker::builder()
    ///     .listen("0.0.0.0:1883")
    ///     .listen(Listen::new("0.0.0.0:8883").tls(tls))
    ///     .listen(Listen::new("0.0.0.0:8083").websocket(WebSocketOptions::default()))
    ///     .start()?;
    /// # Ok::<(), midge_broker::StartError>(())
    /// ```
    #[must_use]
    pub fn listen(mut self, listen: impl Into<Listen>) -> Self {
        self.listen.push(listen.into());
        self
    }

    /// Listens as [`BrokerBuilder::listen`] does, with settings for this listener alone.
    #[must_use]
    pub fn listener(mut self, settings: ListenerSettings) -> Self {
        let ListenerSettings { listen, durability, capabilities } = settings;
        let index = self.listen.len();
        self = self.listen(listen).listener_capabilities(index, capabilities);
        match durability {
            Some(durability) => self.listener_durability(index, durability),
            None => self,
        }
    }

    /// Returns the default number of worker threads: one for each processor that the process may
    /// use, at most 64.
    pub fn workers_default() -> usize {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        processors.min(WorkerId::MAX_WORKERS)
    }

    /// Sets the number of worker threads, at least 1 and at most 64; the default is
    /// [`BrokerBuilder::workers_default`].
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets how Clients are placed on the workers; the default is [`Placement::Auto`].
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Sets all limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the rules for topic rewriting and automatic subscriptions.
    #[must_use]
    pub fn topics(mut self, topics: TopicRules) -> Self {
        self.topics = topics;
        self
    }

    /// Sets how shared subscriptions choose a member.
    #[must_use]
    pub fn shared_strategy(mut self, strategy: SharedStrategy) -> Self {
        self.shared_strategy = strategy;
        self
    }

    /// Sets whether a shared subscription keeps messages itself while no member is connected (the
    /// default); otherwise they go to the queue of a member.
    #[must_use]
    pub fn shared_backlog(mut self, keeps: bool) -> Self {
        self.shared_backlog = keeps;
        self
    }

    /// Sets the prefix of the Response Information that Clients may request: this, `/` and the
    /// Client Identifier.
    #[must_use]
    pub fn response_prefix(mut self, prefix: Option<String>) -> Self {
        self.response_prefix = prefix.map(String::into_boxed_str);
        self
    }

    /// Sets the hook that makes decisions and is told of events.
    #[must_use]
    pub fn hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Sets who comes in and what Clients may do. Then the chain decides about each CONNECT, in
    /// place of [`Hook::authenticate`]; what a hook forbids stays forbidden.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Seeds hash tables. The default is a different seed at each start, which nobody can guess.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Keeps Sessions and messages in a data directory, so that everything acknowledged survives
    /// the end of the process and a power cut. The default is to keep them in memory only.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Keeps Sessions and messages in this directory: [`BrokerBuilder::storage`] with its defaults.
    #[must_use]
    pub fn data(self, directory: impl Into<PathBuf>) -> Self {
        self.storage(Storage::new(directory))
    }

    /// Sets what an acknowledgement promises; the default is [`Durability::Fsync`]. Without storage
    /// it promises nothing that outlives the process.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability.default = durability;
        self
    }

    /// Sets what an acknowledgement promises to Clients that come by one listener, the one with
    /// this `index`.
    #[must_use]
    pub fn listener_durability(mut self, index: usize, durability: Durability) -> Self {
        let listeners = &mut self.listener_durabilities;
        listeners.resize(listeners.len().max(index + 1), None);
        listeners[index] = Some(durability);
        self
    }

    /// Sets what an acknowledgement promises for messages to a matching topic, whatever the
    /// listener. If several filters match, the first one counts.
    #[must_use]
    pub fn topic_durability(mut self, filter: impl Into<String>, durability: Durability) -> Self {
        self.durability.topics.push((filter.into().into_boxed_str(), durability));
        self
    }

    /// Sets what Clients may ask for: protocol versions, QoS, retained messages, kinds of
    /// subscriptions.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Sets what Clients that come by one listener, the one with this `index`, may ask for.
    #[must_use]
    pub fn listener_capabilities(mut self, index: usize, capabilities: Capabilities) -> Self {
        let listeners = &mut self.listener_capabilities;
        listeners.resize(listeners.len().max(index + 1), None);
        listeners[index] = Some(capabilities);
        self
    }

    /// Sets a function to be called, on one of the broker's threads, when the store or a worker has
    /// failed. All connections are closed then; the program should drop the broker, and end if it
    /// has nothing else to do.
    #[must_use]
    pub fn on_failure(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_failure = Arc::new(tell);
        self
    }

    /// Replaces the clocks of this machine, to test what happens when a clock is set.
    #[must_use]
    pub fn clocks(mut self, clocks: Arc<dyn Clocks>) -> Self {
        self.clocks = clocks;
        self
    }

    /// Sets the interval at which the broker publishes its state below `$SYS`: everything at once
    /// at its start, then at each interval what has changed. By default it publishes nothing.
    #[must_use]
    pub fn own_topics_interval(mut self, interval: Option<Duration>) -> Self {
        self.own_topics_interval = interval;
        self
    }

    /// Sets whose packets the log shows at its level `trace`, by Client Identifier; the default is
    /// everybody's.
    #[must_use]
    pub fn trace_client(mut self, client_id: Option<String>) -> Self {
        self.trace_client = client_id.map(Arc::from);
        self
    }

    /// Lets the program's allocator tell how many bytes are in use, so that `memory_bytes_max`
    /// counts these bytes and nothing else. Without it the broker estimates them.
    #[must_use]
    pub fn allocator(mut self, allocator: Allocator) -> Self {
        self.allocator = Some(allocator);
        self
    }

    /// Sets how many bytes of messages the program may have published without having got the
    /// replies; further ones wait ([`BrokerHandle::publish`]) or are refused
    /// ([`BrokerHandle::try_publish`]). A message counts with what the broker remembers of it,
    /// together a few hundred bytes more than its payload, so this bounds their number, too. The
    /// default is [`BrokerBuilder::PUBLISH_BYTES_MAX_DEFAULT`]; it is never more than an eighth of
    /// the memory that the broker may use. A message that is larger than all that is published
    /// alone.
    #[must_use]
    pub fn publish_bytes_max(mut self, bytes: usize) -> Self {
        self.publish_bytes_max = bytes;
        self
    }

    /// Starts the broker, which accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// An address cannot be listened on, or the operating system refuses threads or descriptors.
    /// Nothing is left running then.
    pub fn start(mut self) -> Result<Broker, StartError> {
        let own_bytes = memory::resident_bytes();
        let settings = self.listener_settings();
        let listens: Vec<_> =
            settings.iter().map(|it| with_deadline(&it.listen, &self.limits)).collect();
        let bound = Listeners::bind(&listens)?;
        let count = self.workers.clamp(1, WorkerId::MAX_WORKERS);
        let pollers: Vec<_> = (0..count).map(|_| Poller::new()).collect::<Result<_, _>>()?;
        let let_in = Arc::new(AtomicUsize::new(0));
        let packet_bytes_max = self.listener_packet_bytes_max();
        let share = Share::of(&mut self.limits, count, packet_bytes_max);
        let inboxes: Arc<[Arc<Inbox>]> =
            pollers.iter().map(|poller| new_inbox(poller, &let_in, share.inbox)).collect();
        let orders = self.storage.is_some().then(|| Arc::new(Orders::new(share.orders)));
        let memory = self.memory(own_bytes, count, &share);
        let (addresses, control) = (bound.addresses(), bound.control());
        let listeners = Arc::new(BrokerListeners::new(
            &self.limits,
            settings.into_iter().zip(addresses.clone()).collect(),
            control,
            Arc::clone(&inboxes),
            Arc::clone(&memory.unfinished),
        ));
        let publish_window = PublishWindow::new(self.publish_bytes_max.min(share.published));
        let [seed] = random::words()?;
        let access = AccessControl::start(self.access.take(), count)?;
        let handle = BrokerHandle::new(
            Arc::clone(&inboxes),
            (count > 1).then(|| Arc::new(Directory::new(seed))),
            orders.clone(),
            Arc::clone(&listeners),
            publish_window,
            access,
        );
        let mut broker = Broker {
            listeners: Arc::clone(&listeners),
            _own_topics: None,
            workers: Vec::new(),
            store: None,
            handle,
            addresses,
        };
        let (bell, rings) = Bell::new();
        let passing_on = Arc::new(PassingOn {
            placement: self.placement,
            inboxes: Arc::clone(&inboxes),
            table: Arc::clone(&listeners.table),
            connections_max: Arc::clone(&listeners.connections_max),
            beyond: Arc::default(),
        });
        let watchers = pollers.iter().map(Poller::watcher).collect::<Result<_, _>>()?;
        let ways_in = WaysIn { entrance: bound.entrance(), passing_on };
        let parts = Parts {
            inboxes: &inboxes,
            orders: orders.as_ref(),
            memory: &memory,
            share: &share,
            bell: &bell,
            ways_in: &ways_in,
        };
        let clock = self.start_workers(pollers, &parts, &mut broker)?;
        let pulse = Pulse::new(clock, inboxes, orders);
        let own_topics = self.own_topics_interval;
        let own_topics = own_topics.map(|it| OwnTopics::start(broker.handle(), it, bell, rings));
        broker._own_topics = own_topics.transpose()?;
        start_listeners(bound, &listeners, watchers, ways_in.passing_on, pulse, memory)?;
        Ok(broker)
    }

    fn memory(&self, own_bytes: u64, workers: usize, share: &Share) -> Memory {
        let limit = self.limits.memory_bytes_max;
        let gauge = MemoryGauge::new(limit, own_bytes, workers, self.allocator);
        let unfinished = Arc::new(Unfinished::new(share.unfinished));
        Memory { gauge: Arc::new(gauge), unfinished }
    }

    fn start_workers(
        &self,
        pollers: Vec<Poller>,
        parts: &Parts<'_>,
        broker: &mut Broker,
    ) -> Result<Clock, StartError> {
        let &Parts { inboxes, orders, memory, share, bell, ways_in } = parts;
        let [random_seed] = random::words()?;
        let seed = self.seed.unwrap_or(random_seed);
        let count = pollers.len();
        let directory = broker.handle.directory.clone();
        let hook = self.hook.as_ref().map(|hook| Arc::new(GuardedHook::new(Arc::clone(hook))));
        let policy = NodePolicy::of(hook.as_ref(), broker.handle.access.as_ref());
        let limits = Arc::new(self.limits.clone());
        let budget = Arc::new(NodeBudget::default());
        let topics = Arc::new(self.topics.clone());
        let mut clock = Clock::start(Arc::clone(&self.clocks));
        let durability =
            DurabilityRules { has_store: self.storage.is_some(), ..self.durability.clone() };
        let config = |worker, secret| CoreConfig {
            worker,
            workers: count,
            seed,
            secret,
            limits: Arc::clone(&limits),
            budget: Arc::clone(&budget),
            policy: Arc::clone(&policy),
            topics: Arc::clone(&topics),
            shared_strategy: self.shared_strategy,
            shared_backlog: self.shared_backlog,
            response_prefix: self.response_prefix.clone(),
            tell_drops: hook.as_ref().is_some_and(|hook| hook.wants_drops()),
            durability: durability.clone(),
        };
        let mut cores = Vec::with_capacity(count);
        for index in 0..count {
            cores.push(Core::new(config(WorkerId::new(index), random::words()?)));
        }
        if let (Some(storage), Some(orders)) = (&self.storage, orders) {
            // The processors of the workers have nothing to do yet.
            let readers = NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
            let opened = storage.open(&self.limits, readers, clock.first_reading())?;
            clock = clock.going_on_from(opened.now);
            let restored =
                restore(&storage.place, opened, &mut cores, seed, directory.as_deref(), &clock)?;
            let thread = self.start_store(storage, restored, &clock, inboxes, orders)?;
            broker.store = Some((Arc::clone(orders), thread, storage.place.to_string()));
        }
        let node = Node {
            inboxes: Arc::clone(inboxes),
            directory,
            hook,
            access: broker.handle.access.clone(),
            orders: orders.cloned(),
            bell: bell.clone(),
            on_failure: Arc::clone(&self.on_failure),
            events: Arc::clone(&broker.handle.events),
            clock: clock.clone(),
            memory: Arc::clone(&memory.gauge),
            unfinished: Arc::clone(&memory.unfinished),
            publish_window: Arc::clone(&broker.handle.publish_window),
            ways_in: ways_in.clone(),
        };
        let cores = pollers.into_iter().zip(cores).enumerate();
        for (index, (poller, core)) in cores {
            let id = WorkerId::new(index);
            broker.workers.push(self.start_worker(id, core, poller, node.clone(), share)?);
        }
        Ok(clock)
    }

    fn start_worker(
        &self,
        id: WorkerId,
        core: Core,
        poller: Poller,
        node: Node,
        share: &Share,
    ) -> io::Result<JoinHandle<()>> {
        let parts = WorkerParts {
            id,
            core,
            poller,
            now: node.clock.now(),
            node,
            output_bytes_max: self.limits.output_bytes_max,
            trace_client: self.trace_client.clone(),
            turn_bytes_max: share.turn,
            placement: self.placement,
        };
        let thread = thread::Builder::new().name(format!("midge-worker-{}", id.index()));
        thread.spawn(move || Worker::new(parts).run())
    }

    /// Returns the largest packet size that a listener sets for itself.
    fn listener_packet_bytes_max(&self) -> Option<u32> {
        let own = self.listener_capabilities.iter().flatten().chain([&self.capabilities]);
        own.filter_map(|it| it.packet_bytes_max).max()
    }

    /// Returns the settings that were asked for, one for each listener.
    fn listener_settings(&self) -> Vec<ListenerSettings> {
        let settings = self.listen.iter().enumerate().map(|(index, listen)| {
            let capabilities = self.listener_capabilities.get(index).copied().flatten();
            ListenerSettings {
                listen: listen.clone(),
                durability: self.listener_durabilities.get(index).copied().flatten(),
                capabilities: capabilities.unwrap_or(self.capabilities),
            }
        });
        settings.collect()
    }

    fn start_store(
        &self,
        storage: &Storage,
        restored: Restored,
        clock: &Clock,
        inboxes: &Arc<[Arc<Inbox>]>,
        orders: &Arc<Orders>,
    ) -> Result<JoinHandle<()>, StartError> {
        let (orders, inboxes, clock) = (Arc::clone(orders), Arc::clone(inboxes), clock.clone());
        let on_failure = Arc::clone(&self.on_failure);
        let thread =
            StoreThread::new(restored, clock, orders, inboxes, storage.interval, on_failure);
        Ok(thread.start()?)
    }
}

fn start_listeners(
    bound: Listeners,
    listeners: &BrokerListeners,
    watchers: Vec<Watcher>,
    passing_on: Arc<PassingOn>,
    pulse: Pulse,
    memory: Memory,
) -> Result<(), StartError> {
    let (inboxes, beyond) = (Arc::clone(&passing_on.inboxes), Arc::clone(&passing_on.beyond));
    let control = Arc::clone(&listeners.control);
    let mut watch = Watch::new(memory.gauge, memory.unfinished, inboxes, control, beyond, pulse);
    let by_thread = Arc::clone(&passing_on);
    let before_each_wait = move || {
        watch.look();
        passing_on.watcher()
    };
    let running = bound.start(watchers, move |it| by_thread.pass_on(it), before_each_wait)?;
    Ok(listeners.run(running)?)
}

/// What all workers of a broker get.
struct Parts<'p> {
    inboxes: &'p Arc<[Arc<Inbox>]>,
    orders: Option<&'p Arc<Orders>>,
    memory: &'p Memory,
    share: &'p Share,
    bell: &'p Bell,
    ways_in: &'p WaysIn,
}

/// The two things that look after memory.
struct Memory {
    gauge: Arc<MemoryGauge>,
    unfinished: Arc<Unfinished>,
}

fn new_inbox(poller: &Poller, let_in: &Arc<AtomicUsize>, full_bytes: usize) -> Arc<Inbox> {
    Arc::new(Inbox::new(poller.notifier(), Arc::clone(let_in), full_bytes))
}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Store(error)
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
            Self::Listen(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
