//! How a broker stops: Clients are told, written bytes leave, and it never takes too long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{Broker, DropReason, OwnedMessage, ProtocolVersion, QoS, ReasonCode, Storage};
use midge_store::testing::FaultyDisk;

use crate::alone::alone;
use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::durability::gate::GatedDisk;
use crate::support::{DEADLINE, address, broker, builder, dropped, in_time, until, usage};

/// Stops the broker and returns how long that took.
fn stop(broker: Broker, deadline: Duration) -> Duration {
    let begun = Instant::now();
    in_time("the broker stops", move || broker.stop(deadline));
    begun.elapsed()
}

#[test]
fn clients_of_5_are_told_and_all_are_closed() {
    let broker = broker(2);
    let mut fives: Vec<_> = (0..10).map(|_| Client::connect(address(&broker), "")).collect();
    let mut threes: Vec<_> =
        (0..10).map(|n| Client::connect_v3(address(&broker), &format!("v3-{n}"))).collect();
    let mut silent = Client::open(address(&broker));
    until("all are there", || usage(&broker).connections == 21);
    let at = address(&broker);
    let took = stop(broker, DEADLINE);
    for client in &mut fives {
        assert_eq!(client.receive(), Received::Disconnect(ReasonCode::ServerShuttingDown));
        assert_eq!(client.receive(), Received::Closed);
    }
    for client in &mut threes {
        assert_eq!(client.receive(), Received::Closed);
    }
    assert_eq!(silent.receive(), Received::Closed);
    assert!(took < DEADLINE / 2, "{took:?}");
    assert!(std::net::TcpStream::connect(at).is_err(), "nobody listens any more");
}

/// Keeps the warnings of this process.
struct Warnings(std::sync::Mutex<Vec<String>>);

static WARNINGS: Warnings = Warnings(std::sync::Mutex::new(Vec::new()));

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn an_end_that_waits_for_a_disk_says_so() {
    if !alone("stopping::an_end_that_waits_for_a_disk_says_so") {
        return;
    }
    log::set_logger(&WARNINGS).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let disk = GatedDisk::new(FaultyDisk::new(1));
    let broker = builder(1).storage(Storage::on_disk(Arc::new(disk.clone()))).start().unwrap();
    let stall = disk.stall();
    let ending = thread::spawn(move || drop(broker));
    let is_told = |line: &String| line.contains("the disk of the store in the given disk has not");
    until("it says so", || WARNINGS.0.lock().unwrap().iter().any(is_told));
    assert!(!ending.is_finished());
    drop(stall);
    ending.join().unwrap();
}

#[test]
fn a_broker_without_clients_stops_at_once() {
    let took = stop(broker(4), DEADLINE);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let took = stop(broker(1), Duration::MAX);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn subscribers_inside_the_process_get_what_was_there_and_then_the_end() {
    let broker = broker(2);
    let subscription = broker.handle().subscribe("s", QoS::AtMostOnce).wait().unwrap();
    for number in 0..10 {
        let message = OwnedMessage::new("s", number.to_string()).unwrap();
        broker.handle().publish(message).wait().unwrap();
    }
    stop(broker, DEADLINE);
    for number in 0..10 {
        assert_eq!(subscription.recv().unwrap().payload(), number.to_string().as_bytes());
    }
    assert!(subscription.recv().is_none());
}

/// Connects a Client that reads nothing, and for which the broker has written more than the kernel
/// takes; returns how many messages those are. They are numbered from 0.
fn stalled_client(broker: &Broker) -> (Client, u64) {
    let connect = connect_packet(ProtocolVersion::V5, "stalled");
    let mut client = Client::open_narrow(address(broker)).connected(&connect);
    client.subscribe("bulk", QoS::AtMostOnce);
    let mut number = 0_u64;
    while dropped(broker, DropReason::SlowConsumer) == 0 {
        let mut payload = vec![0; 10_000];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        let message = OwnedMessage::new("bulk", payload).unwrap();
        broker.handle().publish(message).wait().unwrap();
        number += 1;
    }
    (client, number - 1)
}

#[test]
fn what_is_written_for_a_slow_reader_still_leaves() {
    let broker = broker(1);
    let (mut reader, count) = stalled_client(&broker);
    let stopping = thread::spawn(move || broker.stop(DEADLINE));
    for number in 0..count {
        assert_eq!(reader.message().payload[..8], number.to_be_bytes());
    }
    assert_eq!(reader.receive(), Received::Disconnect(ReasonCode::ServerShuttingDown));
    assert_eq!(reader.receive(), Received::Closed);
    until("the broker has stopped", || stopping.is_finished());
    stopping.join().unwrap();
}

#[test]
fn a_stalled_client_does_not_hold_it_up() {
    let broker = broker(2);
    let (_stalled, _) = stalled_client(&broker);
    let mut other = Client::connect(address(&broker), "other");
    let took = stop(broker, Duration::from_millis(500));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(other.receive(), Received::Disconnect(ReasonCode::ServerShuttingDown));
}

#[test]
fn a_client_that_is_sending_reads_the_reason() {
    for round in 0..2 {
        let broker = builder(2).start().unwrap();
        let at = address(&broker);
        let publishing: Vec<_> =
            (0..4).map(|number| thread::spawn(move || publish_until_closed(at, number))).collect();
        until("all of them publish", || {
            let (counters, usage) = broker.handle().figures().wait().unwrap();
            usage.sessions == 4 && counters.messages_received > 100
        });
        stop(broker, DEADLINE);
        for thread in publishing {
            let last = thread.join().unwrap();
            let expected = Received::Disconnect(ReasonCode::ServerShuttingDown);
            assert_eq!(last, expected, "round {round}");
        }
    }
}

/// Publishes without reading until the broker accepts no more; then reads what it had sent.
fn publish_until_closed(address: SocketAddr, number: usize) -> Received {
    let mut client = Client::connect(address, &format!("p{number}"));
    let packet = publish_packet("t", &[0; 1000], QoS::AtMostOnce, None);
    let bytes = bytes_of(&packet, ProtocolVersion::V5);
    loop {
        if client.try_send_bytes(&bytes).is_err() {
            return client.receive();
        }
    }
}
