//! Turns that take long, because a slow machine or a slow hook holds them up: what comes during one
//! counts from when it comes, not from when the turn began.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midge_broker::{Broker, Hook, Identity, OwnedMessage, ProtocolVersion, QoS, ReasonCode};
use midge_codec::{Connect, Disconnect, Packet, TopicName, Will};

use crate::client::{Client, Received, connect_packet, publish_packet};
use crate::clocks::{Machine, TODAY};
use crate::support::{DEADLINE, address, builder};

/// Holds the worker up: a message to `stop` until the test lets it go on, one to `pass` for a
/// minute on the clock.
struct Delays {
    machine: Arc<Machine>,
    stopped: Mutex<Sender<()>>,
    released: Mutex<Receiver<()>>,
}

impl Hook for Delays {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        match topic {
            "stop" => {
                self.stopped.lock().unwrap().send(()).unwrap();
                self.released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
            "pass" => self.machine.pass(60_000),
            _ => (),
        }
        true
    }
}

/// A broker whose turns can be held up, one worker's or that of the only one.
struct Slow {
    broker: Broker,
    machine: Arc<Machine>,
    stopped: Receiver<()>,
    release: Sender<()>,
    stopper: Client,
}

impl Slow {
    fn start() -> Self {
        Self::with_workers(1)
    }

    fn with_workers(workers: usize) -> Self {
        let machine = Machine::new(TODAY);
        let (tell_stopped, stopped) = channel();
        let (release, released) = channel();
        let (stopped_end, released) = (Mutex::new(tell_stopped), Mutex::new(released));
        let hook = Delays { machine: Arc::clone(&machine), stopped: stopped_end, released };
        let clocks = Arc::clone(&machine);
        let broker = builder(workers).clocks(clocks).hook(Arc::new(hook)).start().unwrap();
        let stopper = Client::connect(address(&broker), "stopper");
        Self { broker, machine, stopped, release, stopper }
    }

    fn connect(&self, connect: &Connect<'_>) -> Client {
        Client::open(address(&self.broker)).connected(connect)
    }

    /// Makes all that `run` sends wait, so that the worker finds it in one turn.
    fn in_one_turn(&mut self, run: impl FnOnce(&Broker)) {
        self.stopper.publish("stop", b"", QoS::AtMostOnce);
        self.stopped.recv_timeout(DEADLINE).unwrap();
        run(&self.broker);
        self.release.send(()).unwrap();
        self.stopper.ping();
    }
}

fn lasting(client_id: &str, expiry_seconds: u32) -> Connect<'_> {
    let mut connect = connect_packet(ProtocolVersion::V5, client_id);
    connect.properties.session_expiry_interval = Some(expiry_seconds);
    connect
}

fn with_will(client_id: &str, delay_seconds: u32) -> Connect<'_> {
    let will = Will {
        topic: TopicName::new("later/will").unwrap(),
        payload: b"will",
        qos: QoS::AtMostOnce,
        retain: false,
        delay_interval_seconds: Some(delay_seconds),
        properties: Default::default(),
    };
    Connect { will: Some(will), ..lasting(client_id, 3600) }
}

/// Returns the payloads that have come, after the broker has had two turns for more of them.
fn payloads(client: &mut Client) -> Vec<Vec<u8>> {
    client.ping();
    client.ping();
    let mut payloads = Vec::new();
    while let Some(received) = client.receive_within(Duration::ZERO) {
        match received {
            Received::Publish(message) => payloads.push(message.payload),
            other => panic!("{other:?}"),
        }
    }
    payloads.sort();
    payloads
}

#[test]
fn what_comes_late_in_a_turn_counts_from_then() {
    let mut slow = Slow::start();
    let mut watcher = Client::connect(address(&slow.broker), "watcher");
    watcher.subscribe("later/#", QoS::AtMostOnce);
    let mut sleeper = slow.connect(&lasting("sleeper", 3600));
    sleeper.subscribe("t", QoS::AtLeastOnce);
    sleeper.disconnect();
    let mut passer = Client::connect(address(&slow.broker), "passer");
    let mut sender = Client::connect(address(&slow.broker), "sender");
    let mut leaver = slow.connect(&lasting("leaver", 30));
    let dying = slow.connect(&with_will("dying", 30));
    slow.in_one_turn(|_| {
        passer.publish("pass", b"", QoS::AtMostOnce);
        sender.publish("$delayed/30/later/message", b"delayed", QoS::AtMostOnce);
        let mut expiring = publish_packet("t", b"expiring", QoS::AtLeastOnce, Some(9));
        if let Packet::Publish(publish) = &mut expiring {
            publish.properties.message_expiry_interval_seconds = Some(30);
        }
        sender.send(&expiring);
        leaver.send(&Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        drop(dying);
    });
    // Nothing has come to its end yet.
    assert_eq!(payloads(&mut watcher), Vec::<Vec<u8>>::new());
    let mut sleeper = lasting("sleeper", 0);
    sleeper.clean_start = false;
    assert_eq!(slow.connect(&sleeper).message().payload, b"expiring");
    let mut leaver = lasting("leaver", 30);
    leaver.clean_start = false;
    let answer = Client::open(address(&slow.broker)).request(&leaver);
    assert!(matches!(answer, Received::ConnAck { session_present: true, .. }), "{answer:?}");
    // Then all of it does.
    slow.machine.pass(31_000);
    assert_eq!(payloads(&mut watcher), [b"delayed".to_vec(), b"will".to_vec()]);
}

#[test]
fn what_a_program_publishes_during_a_turn_counts_from_then() {
    let mut slow = Slow::start();
    let mut watcher = Client::connect(address(&slow.broker), "watcher");
    watcher.subscribe("later/#", QoS::AtMostOnce);
    watcher.publish("$delayed/5/pass", b"", QoS::AtMostOnce);
    let machine = Arc::clone(&slow.machine);
    slow.in_one_turn(|broker| {
        machine.pass(6_000); // the turn begins with the message to `pass`
        let message = OwnedMessage::new("$delayed/30/later/message", "delayed").unwrap();
        drop(broker.handle().publish(message));
    });
    assert_eq!(payloads(&mut watcher), Vec::<Vec<u8>>::new());
    slow.machine.pass(31_000);
    assert_eq!(payloads(&mut watcher), [b"delayed".to_vec()]);
}

/// The worker that watches the listeners stands still, and others let Clients in.
#[test]
fn a_worker_that_stands_still_keeps_nobody_out() {
    let mut slow = Slow::with_workers(2);
    slow.stopper.publish("stop", b"", QoS::AtMostOnce);
    slow.stopped.recv_timeout(DEADLINE).unwrap();
    let mut other = Client::connect(address(&slow.broker), "other");
    other.ping();
    slow.release.send(()).unwrap();
    slow.stopper.ping();
}
