//! More than the disk or a link can take: who waits, and who is served nevertheless.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use midge_broker::{Broker, Limits, ProtocolVersion, QoS, ReasonCode, Storage};
use midge_codec::{Packet, PacketType};
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::durability::gate::{GatedDisk, Pace};
use crate::support::{DEADLINE, address, builder, counters, until};

const V5: ProtocolVersion = ProtocolVersion::V5;
/// The shortest possible Keep Alive: 1.5 seconds may pass in silence.
const KEEP_ALIVE_SECONDS: u16 = 1;
const SILENCE: Duration = Duration::from_millis(1500);

/// Connects a Client with this Keep Alive.
fn hasty(address: SocketAddr, client_id: &str, keep_alive_seconds: u16) -> Client {
    let connect = midge_codec::Connect { keep_alive_seconds, ..connect_packet(V5, client_id) };
    Client::open(address).connected(&connect)
}

fn retained(topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = bytes_of(&publish_packet(topic, payload, QoS::AtLeastOnce, Some(id)), V5);
    bytes[0] |= 1;
    bytes
}

/// A Client that pings ten times a second on its own thread until it is told to end, whether or not
/// it is answered.
struct Pinging {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Pinging {
    /// A pause that may make the Client silent: a busy machine may not let the thread run.
    const SILENT: Duration = Duration::from_millis(SILENCE.as_millis() as u64 / 2);

    fn begin(address: SocketAddr) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                Self::ping_on(hasty(address, "quiet", KEEP_ALIVE_SECONDS), &is_over);
            }
        });
        Self { ends, thread }
    }

    /// Pings until the end, or until the broker has ended the connection for a good reason.
    fn ping_on(mut client: Client, is_over: &AtomicBool) {
        let (mut sent, mut longest) = (Instant::now(), Duration::ZERO);
        let mut answers = 0;
        while !is_over.load(Ordering::Relaxed) || answers == 0 {
            let before = std::mem::replace(&mut sent, Instant::now());
            let _ = client.try_send_bytes(&[0xC0, 0]);
            longest = longest.max(before.elapsed());
            match client.receive_within(Duration::from_millis(100)) {
                Some(Received::PingResp) => answers += 1,
                None => (),
                Some(_) if longest >= Self::SILENT => return,
                Some(other) => panic!("no PINGRESP but {other:?}, never silent for {longest:?}"),
            }
            thread::sleep(Duration::from_millis(100).saturating_sub(sent.elapsed()));
        }
    }

    /// Ends the thread; fails the test if the Client was found silent without reason.
    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// How many bytes the payload of a large message has.
const LARGE_BYTES: usize = 900_000;

/// Publishes `count` large messages one after the other, on its own thread; then pings until all of
/// them are acknowledged.
fn publish_large(mut publisher: Client, count: u16) -> JoinHandle<()> {
    thread::spawn(move || {
        let payload = vec![7; LARGE_BYTES];
        for id in 1..=count {
            publisher.send_bytes(&retained(&format!("large/{id}"), &payload, id));
        }
        let (mut next, begun) = (1, Instant::now());
        while next <= count {
            publisher.send_bytes(&[0xC0, 0]);
            match publisher.receive_within(Duration::from_millis(100)) {
                Some(Received::Ack { kind: PacketType::PubAck, id, code }) if id == next => {
                    assert_eq!(code, ReasonCode::NoMatchingSubscribers);
                    next += 1;
                }
                Some(Received::PingResp) => (),
                // The sockets may hold all of the messages before the broker reads more of them.
                None if begun.elapsed() < 3 * DEADLINE => (),
                other => panic!("no PUBACK of {next} but {other:?}"),
            }
        }
    })
}

/// Returns how much the broker has read when it stops reading.
fn bytes_read_at_last(broker: &Broker) -> u64 {
    let mut at_last = 0;
    until("the publisher is held back", || {
        thread::sleep(Duration::from_millis(200));
        let before = std::mem::replace(&mut at_last, counters(broker).bytes_received);
        before > 10_000_000 && at_last < before + 100
    });
    at_last
}

/// The disk stands still. Then the amount that the broker reads is bounded by what may wait for the
/// disk and, with two workers, also by what one of them holds for the other, however much is
/// published and however much the sockets hold.
#[test]
fn a_stalled_disk_holds_back_publishers_and_silences_nobody() {
    const FOR_DISK: u64 = 16 << 20;
    const FOR_WORKER: u64 = 64 << 20;
    // The message that exceeds the bound, and the beginning of the next one.
    const BEYOND: u64 = 2 * LARGE_BYTES as u64;
    for (workers, count, bytes_max) in [(1, 30, FOR_DISK), (2, 100, FOR_DISK + FOR_WORKER)] {
        let disk = GatedDisk::new(FaultyDisk::new(1));
        let storage = Storage::on_disk(Arc::new(disk.clone()));
        let broker = builder(workers).storage(storage).start().unwrap();
        let publisher = hasty(address(&broker), "publisher", 2 * KEEP_ALIVE_SECONDS);
        let quiet = Pinging::begin(address(&broker));
        let stall = disk.stall();
        let publisher = publish_large(publisher, count);
        let bytes = bytes_read_at_last(&broker);
        assert!(bytes <= bytes_max + BEYOND, "{workers} workers: {bytes} bytes were taken");

        // Nobody is found silent; a newcomer is let in, can subscribe, and sees its connection
        // closed when it disconnects.
        thread::sleep(3 * SILENCE);
        let mut newcomer = Client::connect(address(&broker), "newcomer");
        newcomer.subscribe("other/#", QoS::AtLeastOnce);
        newcomer.disconnect();

        drop(stall);
        publisher.join().unwrap();
        quiet.end();
    }
}

/// The disk stands still, and one large message for many stored Sessions waits for it: it takes
/// memory once, and no Client is left unread because of it.
#[test]
fn a_message_for_many_waits_for_a_stalled_disk_once() {
    const SESSIONS: usize = 100;
    let disk = GatedDisk::new(FaultyDisk::new(1));
    let storage = Storage::on_disk(Arc::new(disk.clone()));
    let broker = builder(1).storage(storage).start().unwrap();
    for number in 0..SESSIONS {
        let client_id = format!("sleeper{number}");
        let mut connect = connect_packet(V5, &client_id);
        connect.clean_start = false;
        connect.properties.session_expiry_interval = Some(3600);
        let mut sleeper = Client::open(address(&broker)).connected(&connect);
        sleeper.subscribe("t", QoS::AtLeastOnce);
        sleeper.disconnect();
    }
    let mut quiet = Client::connect(address(&broker), "quiet");
    let mut publisher = Client::connect(address(&broker), "publisher");
    let stall = disk.stall();
    let payload = vec![7; LARGE_BYTES];
    publisher.send(&publish_packet("t", &payload, QoS::AtLeastOnce, Some(1)));
    until("it is there", || counters(&broker).payload_bytes_received >= LARGE_BYTES as u64);
    quiet.ping();
    drop(stall);
    let code = ReasonCode::Success;
    assert_eq!(publisher.receive(), Received::Ack { kind: PacketType::PubAck, id: 1, code });
}

/// Messages that are each larger than a journal file wait behind a stall of seconds. A Client that
/// then connects waits only for those being written and those that came before it.
#[test]
fn a_client_is_let_in_soon_after_a_stall_though_large_messages_wait() {
    const COUNT: u16 = 60;
    const STALL: Duration = Duration::from_millis(3_500);
    // At most 32 MB wait, in files of 4 MB with three syncs each.
    const SYNCS_MAX: u64 = 40;
    let disk = GatedDisk::new(FaultyDisk::new(1));
    let mut storage = Storage::on_disk(Arc::new(disk.clone()));
    storage.segment_bytes = 64 << 10;
    let broker = builder(2).storage(storage).start().unwrap();
    let mut connect = connect_packet(V5, "sleeper");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    let mut sleeper = Client::open(address(&broker)).connected(&connect);
    sleeper.subscribe("t", QoS::AtLeastOnce);
    sleeper.disconnect();

    disk.slow_down(Pace::each(50));
    let publisher = Client::connect(address(&broker), "publisher");
    let stall = disk.stall();
    let publisher = publish_large(publisher, COUNT);
    until("messages wait", || counters(&broker).bytes_received > 10_000_000);
    thread::sleep(STALL);
    let before = disk.faults().syncs();
    let mut sleeper = Client::open(address(&broker));
    sleeper.send(&Packet::Connect(Box::new(connect)));
    drop(stall);
    let connack = sleeper.receive();
    let syncs = disk.faults().syncs() - before;
    assert!(matches!(connack, Received::ConnAck { session_present: true, .. }), "{connack:?}");
    assert!(syncs <= SYNCS_MAX, "{syncs} syncs before the CONNACK");
    publisher.join().unwrap();
}

/// A message that takes three times as long as silence would be tolerated.
#[test]
fn a_packet_over_a_slow_link_arrives_whatever_the_keep_alive() {
    let broker = builder(1).start().unwrap();
    let mut slow = hasty(address(&broker), "slow", KEEP_ALIVE_SECONDS);
    let bytes = retained("slow", &[7; 3_000], 1);
    for part in bytes.chunks(bytes.len() / 30) {
        thread::sleep(SILENCE / 10);
        slow.send_bytes(part);
    }
    let code = ReasonCode::NoMatchingSubscribers;
    assert_eq!(slow.receive(), Received::Ack { kind: PacketType::PubAck, id: 1, code });
}

#[test]
fn a_packet_that_drips_does_not_hold_a_connection() {
    let broker = builder(1).start().unwrap();
    let mut dripping = hasty(address(&broker), "dripping", KEEP_ALIVE_SECONDS);
    let bytes = retained("slow", &[7; 3_000], 1);
    let start = Instant::now();
    let mut bytes = bytes.iter();
    let end = loop {
        let _ = dripping.try_send_bytes(&[*bytes.next().unwrap()]);
        if let Some(received) = dripping.receive_within(Duration::from_millis(50)) {
            break received;
        }
    };
    assert_eq!(end, Received::Disconnect(ReasonCode::KeepAliveTimeout));
    assert!(start.elapsed() >= SILENCE);
}

/// The broker does not read from a Client that does not read its answers, but it hears it.
#[test]
fn who_does_not_read_its_answers_is_not_silent() {
    let limits = Limits { output_bytes_max: 1, ..Limits::default() };
    let broker = builder(1).limits(limits).start().unwrap();
    let connect = midge_codec::Connect {
        keep_alive_seconds: KEEP_ALIVE_SECONDS,
        ..connect_packet(V5, "deaf")
    };
    let mut deaf = Client::open_narrow(address(&broker)).connected(&connect);
    deaf.subscribe("t", QoS::AtMostOnce);
    let mut other = Client::connect(address(&broker), "other");
    other.publish_acknowledged("t", &vec![7; 1_000_000]);
    other.publish_acknowledged("t", &vec![7; 1_000_000]);
    let start = Instant::now();
    while start.elapsed() < 2 * SILENCE {
        deaf.send_bytes(&[0xC0, 0]);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(deaf.message().payload.len(), 1_000_000);
    deaf.ping();
}
