//! Code of the program that the broker's threads run outside a hook: its clocks, which stand here
//! for its log, its disk and its allocator as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use midge_broker::{
    BrokerHandle, Clocks, Hook, Identity, OwnedMessage, QoS, ReasonCode, RequestError, Stopped,
    Storage,
};
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received};
use crate::clocks::{Machine, TODAY};
use crate::support::{DEADLINE, address, builder, in_time, until};

fn message(topic: &str) -> OwnedMessage {
    OwnedMessage::new(topic, "x").unwrap()
}

/// The clocks of a machine, whose code does something else before it tells the uptime.
struct Busy<F>(Arc<Machine>, F);

impl<F: Fn(&str) + Send + Sync> Busy<F> {
    fn new(meanwhile: F) -> Arc<Self> {
        Arc::new(Self(Machine::new(TODAY), meanwhile))
    }
}

impl<F: Fn(&str) + Send + Sync> Clocks for Busy<F> {
    fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }

    fn uptime_ms(&self) -> u64 {
        (self.1)(thread::current().name().unwrap_or_default());
        self.0.uptime_ms()
    }

    fn boot(&self) -> Option<u128> {
        self.0.boot()
    }
}

/// What became of requests that each thread has made: to publish, and to know the figures.
#[derive(Default)]
struct Requests {
    handle: OnceLock<BrokerHandle>,
    outcomes: Mutex<BTreeMap<String, Outcomes>>,
}

type Outcomes = (Result<usize, RequestError>, Result<(), Stopped>);

impl Requests {
    fn make(&self, thread: &str) {
        let Some(handle) = self.handle.get().filter(|_| thread.starts_with("midge-")) else {
            return;
        };
        if !self.outcomes.lock().unwrap().contains_key(thread) {
            let published = handle.publish(message("t")).wait();
            let figures = handle.figures().wait().map(|_| ());
            self.outcomes.lock().unwrap().insert(thread.to_string(), (published, figures));
        }
    }
}

/// Holds the worker up that publishes to `held`, until the lock can be taken.
struct Held(Arc<Mutex<()>>, OnceLock<String>);

impl Hook for Held {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        if topic == "held" {
            let name = thread::current().name().unwrap_or_default().to_string();
            self.1.set(name).unwrap();
            drop(self.0.lock());
        }
        true
    }
}

/// There is no room, and what a thread would wait for may be its own work.
#[test]
fn no_thread_of_the_broker_waits_whoever_makes_the_request() {
    let requests = Arc::new(Requests::default());
    let clocks = Busy::new({
        let requests = Arc::clone(&requests);
        move |thread: &str| requests.make(thread)
    });
    let gate = Arc::new(Mutex::new(()));
    let hook = Arc::new(Held(Arc::clone(&gate), OnceLock::new()));
    let builder = builder(2).clocks(clocks).hook(Arc::clone(&hook) as _).publish_bytes_max(1);
    let storage = Storage::on_disk(Arc::new(FaultyDisk::new(1)));
    let broker = builder.storage(storage).start().unwrap();
    let is_held = gate.lock().unwrap();
    let held = broker.handle().publish(message("held"));
    until("a worker is held up", || hook.1.get().is_some());
    assert!(requests.handle.set(broker.handle()).is_ok());
    let others = || {
        drop((broker.handle().figures(), broker.handle().store_usage()));
        let outcomes = requests.outcomes.lock().unwrap();
        outcomes.keys().filter(|name| Some(*name) != hook.1.get()).count()
    };
    // The other worker, the store, and the thread that accepts.
    until("they have asked", || others() == 3);
    drop(is_held);
    assert_eq!(in_time("the first message", move || held.wait()), Ok(0));
    for (name, outcome) in &*requests.outcomes.lock().unwrap() {
        if Some(name) != hook.1.get() {
            assert_eq!(*outcome, (Err(RequestError::NoRoom), Err(Stopped)), "{name}");
        }
    }
}

/// Retained messages have their homes at both workers, and one of these panics.
#[test]
fn nobody_waits_for_a_worker_that_has_panicked() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let clocks = Busy::new({
        let is_broken = Arc::clone(&is_broken);
        move |thread: &str| {
            let breaks = thread == "midge-worker-1" && is_broken.load(Ordering::SeqCst);
            assert!(!breaks, "the clock of a test breaks");
        }
    });
    let (tell, told) = channel();
    let builder = builder(2).clocks(clocks).publish_bytes_max(1);
    let broker = builder.on_failure(move |why| tell.send(why.to_string()).unwrap());
    let broker = broker.start().unwrap();
    let mut client = Client::connect(address(&broker), "c");
    is_broken.store(true, Ordering::SeqCst);
    let handle = broker.handle();
    let outcomes = in_time("everybody is answered", move || {
        let topics = (0..32).map(|number| format!("t/{number}"));
        let messages = topics.map(|topic| message(&topic).qos(QoS::AtLeastOnce).retain());
        messages.map(|message| handle.publish(message).wait()).collect::<Vec<_>>()
    });
    assert!(outcomes.contains(&Err(RequestError::Stopped)), "{outcomes:?}");
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "a worker has ended");
    assert_eq!(client.receive(), Received::Closed);
}

/// Lets the second worker panic as soon as the first one has something to tell it of a subscription
/// to `t`. Knows which Clients have subscribed on the first one.
#[derive(Default)]
struct Breaker {
    is_broken: AtomicBool,
    on_first: Mutex<BTreeSet<String>>,
}

impl Hook for Breaker {
    fn may_subscribe(&self, subscriber: &Identity, filter: &str, _: QoS) -> bool {
        if thread::current().name() == Some("midge-worker-0") {
            self.on_first.lock().unwrap().insert(subscriber.client_id.to_string());
            self.is_broken.fetch_or(filter == "t", Ordering::SeqCst);
        }
        true
    }
}

/// The SUBACK waits for both workers.
#[test]
fn a_subscription_does_not_wait_for_a_worker_that_panics_meanwhile() {
    let breaker = Arc::new(Breaker::default());
    let clocks = Busy::new({
        let breaker = Arc::clone(&breaker);
        move |thread: &str| {
            let breaks = thread == "midge-worker-1" && breaker.is_broken.load(Ordering::SeqCst);
            assert!(!breaks, "the clock of a test breaks");
        }
    });
    let builder = builder(2).clocks(clocks).hook(Arc::clone(&breaker) as _);
    let broker = builder.start().unwrap();
    let mut clients: Vec<_> = ["a", "b", "c"]
        .map(|client_id| (client_id, Client::connect(address(&broker), client_id)))
        .into();
    clients.iter_mut().for_each(|(_, client)| client.subscribe("before", QoS::AtMostOnce));
    let on_first = breaker.on_first.lock().unwrap().clone();
    let mut on_first = clients.into_iter().filter(|(client_id, _)| on_first.contains(*client_id));
    let (_, mut client) = on_first.next().expect("three connections are spread over two workers");
    assert_eq!(client.try_subscribe("t", QoS::AtLeastOnce), ReasonCode::GrantedQoS1);
    assert_eq!(client.receive(), Received::Closed);
}
