//! A program that publishes faster than the broker takes: it is held back, in its own threads and
//! tasks and nowhere else, and loses nothing.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use midge_broker::{
    Broker, BrokerHandle, Hook, Identity, Limits, NoRoom, OwnedMessage, ProtocolVersion, QoS,
    RequestError,
};

use crate::client::{Client, bytes_of, publish_packet};
use crate::support::{DEADLINE, address, block_on, builder, in_time, until};

/// Holds up each thread that publishes to `held`, until the test opens the gate.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    asked: AtomicU64,
    /// Which thread publishes to a topic.
    threads: Mutex<HashMap<String, String>>,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn thread_of(&self, topic: &str) -> Option<String> {
        self.threads.lock().unwrap().get(topic).cloned()
    }
}

impl Hook for Gate {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let name = thread::current().name().unwrap_or_default().to_string();
        self.threads.lock().unwrap().insert(topic.to_string(), name);
        if topic.starts_with("held") {
            let is_open = self.opened.wait_while(self.is_open.lock().unwrap(), |open| !*open);
            drop(is_open.unwrap());
        }
        true
    }
}

fn message(topic: &str, payload: impl AsRef<[u8]>) -> OwnedMessage {
    OwnedMessage::new(topic, payload).unwrap()
}

fn gated(workers: usize, bytes_max: usize) -> (Broker, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let builder = builder(workers).hook(Arc::clone(&gate) as _).publish_bytes_max(bytes_max);
    (builder.start().unwrap(), gate)
}

/// The worker is held up, and the program goes on publishing without waiting for any reply.
#[test]
fn a_program_that_waits_for_no_reply_waits_for_room_and_loses_nothing() {
    const COUNT: u64 = 100_000;
    const BYTES_MAX: usize = 1 << 20;
    let (broker, gate) = gated(1, BYTES_MAX);
    let handle = broker.handle();
    let given = Arc::new(AtomicU64::new(0));
    let (replies, waited) = mpsc::channel();
    let publishing = thread::spawn({
        let (handle, given) = (broker.handle(), Arc::clone(&given));
        move || {
            for number in 0..COUNT {
                let topic = if number == 0 { "held" } else { "t" };
                replies.send(handle.publish(message(topic, number.to_be_bytes()))).unwrap();
                given.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    until("there is no room", || handle.try_publish(message("t", "")).is_err());
    let NoRoom(refused) = handle.try_publish(message("t", "mine")).unwrap_err();
    assert_eq!(format!("{refused:?}"), format!("{:?}", message("t", "mine")));
    let in_it = given.load(Ordering::SeqCst);

    gate.open();
    assert!(in_it > 100 && in_it <= (BYTES_MAX / 256) as u64, "{in_it} messages wait");
    for number in 0..COUNT {
        let reply = waited.recv_timeout(DEADLINE).unwrap();
        assert_eq!(reply.wait(), Ok(0), "message {number}");
    }
    publishing.join().unwrap();
    assert!(gate.asked.load(Ordering::SeqCst) >= COUNT);
}

#[test]
fn a_task_waits_for_room_without_blocking_its_thread() {
    let (broker, gate) = gated(1, 1);
    let handle = broker.handle();
    let heard = handle.subscribe("#", QoS::AtMostOnce).wait().unwrap();
    let first = handle.publish(message("held", "1"));
    let mut context = Context::from_waker(Waker::noop());
    let mut second = Box::pin(handle.publish_async(message("t", "2")));
    assert!(second.as_mut().poll(&mut context).is_pending());
    {
        let mut given_up = pin!(handle.publish_async(message("t", "never")));
        assert!(given_up.as_mut().poll(&mut context).is_pending());
    }
    gate.open();
    assert_eq!(first.wait(), Ok(1));
    assert_eq!(block_on(async { second.await.await }), Ok(1));
    assert_eq!(handle.publish(message("t", "3")).wait(), Ok(1));
    for expected in ["1", "2", "3"] {
        assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), expected.as_bytes());
    }
}

/// A task is told that there is room, but cannot take it while its thread waits for some.
#[test]
fn a_thread_that_waits_for_room_does_not_wait_for_its_own_tasks() {
    let (broker, gate) = gated(1, 1 << 20);
    let handle = broker.handle();
    let large = || message("t", [0; 1 << 16]);
    let mut replies = vec![handle.publish(message("held", ""))];
    while let Ok(reply) = handle.try_publish(large()) {
        replies.push(reply);
    }
    in_time("the thread goes on", move || {
        let mut task = Box::pin(handle.publish_async(large()));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        gate.open();
        for reply in replies {
            assert_eq!(reply.wait(), Ok(0));
        }
        assert_eq!(handle.publish(large()).wait(), Ok(0));
        assert_eq!(block_on(async { task.await.await }), Ok(0));
    });
}

/// Notes in which order messages are published.
#[derive(Default)]
struct Order {
    gate: Gate,
    topics: Mutex<Vec<String>>,
}

impl Hook for Order {
    fn may_publish(&self, who: &Identity, topic: &str, qos: QoS, retain: bool) -> bool {
        self.topics.lock().unwrap().push(topic.to_string());
        self.gate.may_publish(who, topic, qos, retain)
    }
}

/// In each turn the program puts off as much as a turn may.
#[test]
fn a_program_that_publishes_all_the_time_leaves_clients_a_share_of_each_turn() {
    let hook = Arc::new(Order::default());
    let limits = Limits { turn_deliveries_max: 1_000, ..Limits::default() };
    let broker = builder(1).hook(Arc::clone(&hook) as _).limits(limits).start().unwrap();
    let handle = broker.handle();
    let _heard: Vec<_> =
        (0..100).map(|_| handle.subscribe("program", QoS::AtMostOnce).wait().unwrap()).collect();
    let mut clients = ["a", "b"].map(|client_id| Client::connect(address(&broker), client_id));
    let mut replies = vec![handle.publish(message("held", ""))];
    until("the worker is held up", || hook.gate.thread_of("held").is_some());
    replies.extend((0..1_000).map(|_| handle.publish(message("program", ""))));
    let packet = publish_packet("client", b"", QoS::AtMostOnce, None);
    for client in &mut clients {
        client.send_bytes(&bytes_of(&packet, ProtocolVersion::V5).repeat(50));
    }
    hook.gate.open();
    clients.iter_mut().for_each(Client::ping);
    let topics = hook.topics.lock().unwrap();
    let places = (0..topics.len()).filter(|place| topics[*place] == "client");
    let places: Vec<_> = places.collect();
    // Should the second one come a turn later, there is one turn's share of the program between.
    let between = places[places.len() - 1] + 1 - places[0] - places.len();
    assert!(between < 50, "{between} messages of the program came between");
}

/// Publishes to `echo/...` whatever is published to `t`, on the worker's thread.
#[derive(Default)]
struct Echo {
    handle: OnceLock<BrokerHandle>,
    outcomes: Mutex<Vec<Poll<Result<usize, RequestError>>>>,
}

impl Hook for Echo {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        if let (Some(handle), "t") = (self.handle.get(), topic) {
            let mut reply = pin!(handle.publish(message("echo", "")));
            let outcome = reply.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.outcomes.lock().unwrap().push(outcome);
        }
        true
    }
}

/// A worker that waited for room would wait for itself.
#[test]
fn a_hook_that_publishes_never_holds_up_its_worker() {
    let hook = Arc::new(Echo::default());
    // Room for one message.
    let builder = builder(1).hook(Arc::clone(&hook) as _).publish_bytes_max(1);
    let broker = builder.start().unwrap();
    let handle = broker.handle();
    assert!(hook.handle.set(broker.handle()).is_ok());
    in_time("the worker goes on", move || {
        assert_eq!(handle.publish(message("t", "")).wait(), Ok(0));
        assert_eq!(handle.publish(message("other", "")).wait(), Ok(0));
    });
    let expected = [Poll::Ready(Err(RequestError::NoRoom))];
    assert_eq!(*hook.outcomes.lock().unwrap(), expected);
    assert!(!RequestError::NoRoom.to_string().is_empty());
}

#[test]
fn topics_enter_by_different_workers_and_each_always_by_the_same() {
    let (broker, gate) = gated(2, 1 << 20);
    let topics: Vec<_> = (0..32).map(|number| format!("t/{number}")).collect();
    let publish_all = || {
        for topic in &topics {
            assert_eq!(broker.handle().publish(message(topic, "")).wait(), Ok(0));
        }
        gate.threads.lock().unwrap().clone()
    };
    let threads = publish_all();
    assert!(threads.values().any(|name| *name != threads["t/0"]), "{threads:?}");
    assert_eq!(publish_all(), threads);
}

/// What one worker publishes waits for the other one. It is not taken then from the program, which
/// is held back like any publisher.
#[test]
fn a_program_is_held_back_while_a_worker_is_far_behind() {
    const MEMORY_BYTES: u64 = 256 << 20;
    const PAYLOAD_BYTES: usize = 256 << 10;
    const COUNT: usize = 1_000;
    let gate = Arc::new(Gate::default());
    let limits = Limits { memory_bytes_max: MEMORY_BYTES, ..Limits::default() };
    let builder = builder(2).hook(Arc::clone(&gate) as _).limits(limits);
    let broker = builder.publish_bytes_max(1 << 20).start().unwrap();
    let handle = broker.handle();
    // One subscriber on each worker, so that each has to pass on what it publishes.
    let heard: Vec<_> =
        (0..2).map(|_| handle.subscribe("t/#", QoS::AtMostOnce).wait().unwrap()).collect();
    let held = handle.publish(message("held", ""));
    until("a worker is held up", || gate.thread_of("held").is_some());
    let busy = gate.thread_of("held");
    // The other one is idle. It publishes some of these topics.
    let topics: Vec<_> = (0..16).map(|number| format!("t/{number}")).collect();
    let probes: Vec<_> = topics.iter().map(|it| handle.publish(message(it, ""))).collect();
    let is_of_idle = |topic: &&String| gate.thread_of(topic).is_some_and(|it| Some(it) != busy);
    until("the other one works", || topics.iter().any(|topic| is_of_idle(&topic)));
    let topic = topics.iter().find(is_of_idle).unwrap();
    let mut given = 0;
    let is_held_back = |given: &mut usize| {
        let next = handle.try_publish(message(topic, vec![0; PAYLOAD_BYTES]));
        *given += usize::from(next.is_ok());
        next.is_err() && *given > 0
    };
    until("it is held back", || is_held_back(&mut given));
    gate.open();
    assert!(given < COUNT, "{given}");
    assert_eq!(held.wait(), Ok(0));
    assert!(probes.into_iter().all(|reply| reply.wait() == Ok(2)));
    for subscription in &heard {
        for _ in 0..given + topics.len() {
            assert!(subscription.recv_timeout(DEADLINE).is_some());
        }
    }
}
