//! What peers can make a broker hold: it stays within `memory_bytes_max` whatever they do, serves
//! honest clients, and recovers by itself.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::broker::{Broker, Directory, free_address, wait_until};
use crate::mqtt;
use crate::pair::{client, dial};

const MB: u64 = 1 << 20;
/// The broker acts at 85 % of this, which leaves some 20 MB for what arrives before its threads get
/// a processor. How much that is depends on the machine, not on the limit.
const LIMIT: u64 = 128 * MB;
const QOS_1: u8 = 0x32;
const DUP: u8 = 0x08;
const RETAINED_QOS_1: u8 = 0x33;

/// A broker that may use [`LIMIT`], and the largest resident memory that it had.
struct Small {
    broker: Broker,
    address: SocketAddr,
    _directory: Directory,
    peak: Peak,
}

struct Peak {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Peak {
    fn watch(process: u32) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stops);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !is_over.load(Ordering::Relaxed) {
                let statm = fs::read_to_string(format!("/proc/{process}/statm"));
                let statm = statm.unwrap_or_default();
                let pages = statm.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok());
                peak = peak.max(pages.unwrap_or(0) * 4096);
                thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        Self { stops, thread: Some(thread) }
    }

    fn end(&mut self) -> u64 {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap())
    }
}

fn small(more: &str) -> Small {
    let (directory, address) = (Directory::new(), free_address());
    let configuration = format!(
        "[broker]\nworkers = 2\n[[listener]]\nbind = '{address}'\n\
         [limits]\nmemory_bytes_max = {LIMIT}\n{more}\n"
    );
    let broker = Broker::start(&directory, &configuration, &[address]);
    let peak = Peak::watch(broker.process());
    Small { broker, address, _directory: directory, peak }
}

impl Small {
    /// Expects that many new Sessions are let in, and that published messages arrive.
    fn expect_recovery(&mut self, what: &str) {
        let address = self.address;
        let enter = |number: usize| {
            let mut stream = dial(address);
            stream.write_all(&mqtt::connect(&format!("after-{number}"))).unwrap();
            mqtt::receive_connack(&mut stream).ok().map(|()| stream)
        };
        let mut newcomers = Vec::new();
        let took = wait_until("new Sessions are let in", || {
            newcomers = (0..40).filter_map(enter).collect();
            newcomers.len() == 40
        });
        let mut publisher = newcomers.pop().unwrap();
        publisher.write_all(&mqtt::publish_1("after", 1, b"x")).unwrap();
        assert_eq!(mqtt::receive(&mut publisher).unwrap().0, mqtt::PUBACK);
        let peak = self.peak.end();
        let log = self.broker.log();
        eprintln!("{what}: at most {} MB, recovered within {took:?}", peak / MB);
        assert!(peak <= LIMIT, "{} MB for {what}:\n{log}", peak / MB);
    }
}

/// Sends bytes; returns false if the broker takes none for `patience` or ends the connection.
fn send(stream: &mut TcpStream, bytes: &[u8], patience: Duration) -> bool {
    stream.set_write_timeout(Some(patience)).unwrap();
    match stream.write_all(bytes) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        // The broker ended this connection for the sake of others.
        Err(_) => false,
    }
}

#[test]
fn unfinished_packets_of_many() {
    let mut small = small("");
    let address = small.address;
    let whole = mqtt::large_publish(QOS_1, "t", Some(7), &vec![7; 950_000]);
    let mut crowd: Vec<_> =
        (0..160).map(|number| client(address, &format!("half-{number}"))).collect();
    for stream in &mut crowd {
        stream.set_nonblocking(true).unwrap();
    }
    // All of them at once: each sends a piece in turn, and none completes its packet.
    let mut sent = vec![0; crowd.len()];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        for (stream, sent) in crowd.iter_mut().zip(&mut sent) {
            let rest = &whole[*sent..900_000];
            *sent += stream.write(&rest[..rest.len().min(50_000)]).unwrap_or(0);
        }
        thread::sleep(Duration::from_millis(5));
    }
    // An honest client gets through, after those that are not.
    wait_until("a large message of somebody who sends all of it is taken", || {
        let mut honest = dial(address);
        let all = [&mqtt::connect("honest")[..], &whole].concat();
        let is_sent = send(&mut honest, &all, Duration::from_secs(20));
        is_sent
            && mqtt::receive_connack(&mut honest).is_ok()
            && mqtt::receive(&mut honest).is_ok_and(|(first_byte, _)| first_byte == mqtt::PUBACK)
    });
    drop(crowd);
    small.expect_recovery("unfinished packets");
}

#[test]
fn readers_that_do_not_read() {
    let mut small = small("");
    let address = small.address;
    let mut crowd: Vec<_> = (0..200)
        .map(|number| {
            let mut stream = client(address, &format!("deaf-{number}"));
            stream.write_all(&mqtt::subscribe("flood")).unwrap();
            assert_eq!(mqtt::receive(&mut stream).unwrap().0, 0x90);
            stream
        })
        .collect();
    let mut publisher = client(address, "publisher");
    let message = mqtt::large_publish(mqtt::PUBLISH, "flood", None, &[7; 1_000]).repeat(50);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        send(&mut publisher, &message, Duration::from_millis(500));
    }
    crowd.truncate(100);
    // Half of them are still there, and a subscriber that reads gets what is published.
    wait_until("a message gets through", || {
        let mut stream = dial(address);
        let hello = [mqtt::connect("reader"), mqtt::subscribe("quiet")].concat();
        stream.write_all(&hello).unwrap();
        if mqtt::receive_connack(&mut stream).is_err() {
            return false;
        }
        assert_eq!(mqtt::receive(&mut stream).unwrap().0, 0x90);
        stream.write_all(&mqtt::publish("quiet", b"x")).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        mqtt::receive(&mut stream).is_ok_and(|(first_byte, _)| first_byte == mqtt::PUBLISH)
    });
    drop(crowd);
    small.expect_recovery("readers that do not read");
}

#[test]
fn retained_messages_beyond_the_memory() {
    const COUNT: u16 = 200;
    let mut small = small("");
    let address = small.address;
    let mut publisher = client(address, "publisher");
    let payload = vec![7; 900_000];
    for number in 0..COUNT {
        let topic = format!("large/{number}");
        let bytes = mqtt::large_publish(RETAINED_QOS_1, &topic, Some(number + 1), &payload);
        assert!(send(&mut publisher, &bytes, Duration::from_secs(20)), "{}", small.broker.log());
        assert_eq!(mqtt::receive(&mut publisher).expect("a PUBACK").0, mqtt::PUBACK);
    }
    drop(publisher);
    // A newcomer can remove what fills the memory.
    let mut keeper = client(address, "keeper");
    for number in 0..COUNT {
        let topic = format!("large/{number}");
        let bytes = mqtt::large_publish(RETAINED_QOS_1, &topic, Some(number + 1), &[]);
        keeper.write_all(&bytes).unwrap();
        assert_eq!(mqtt::receive(&mut keeper).expect("a PUBACK").0, mqtt::PUBACK);
    }
    small.expect_recovery("retained messages");
}

#[test]
fn queues_of_clients_that_are_away() {
    let mut small = small("queue_bytes_max = 4194304");
    let address = small.address;
    for number in 0..200 {
        let mut stream = dial(address);
        let topic = format!("q/{number}");
        stream.write_all(&mqtt::connect_for(&format!("away-{number}"), 0, 0)).unwrap();
        mqtt::receive_connack(&mut stream).expect("a CONNACK");
        stream.write_all(&mqtt::subscribe_at(&topic, 1)).unwrap();
        assert_eq!(mqtt::receive(&mut stream).unwrap().0, 0x90);
    }
    let mut publisher = client(address, "publisher");
    let start = Instant::now();
    let mut acknowledged = 0;
    for number in (0..200_u16).cycle() {
        if start.elapsed() > Duration::from_secs(15) {
            break;
        }
        let bytes = mqtt::large_publish(QOS_1, &format!("q/{number}"), Some(1), &[7; 50_000]);
        if send(&mut publisher, &bytes, Duration::from_secs(20)) {
            acknowledged += u32::from(mqtt::receive(&mut publisher).is_ok());
        }
    }
    assert!(acknowledged > 600, "only {acknowledged}: {}", small.broker.log());
    drop(publisher);
    small.expect_recovery("queues");
}

/// Publishes to `topics` topics in turn for a while; returns how many messages were acknowledged.
fn flood(address: SocketAddr, topics: u16, payload: &[u8], time: Duration) -> u32 {
    let start = Instant::now();
    let mut acknowledged = 0;
    let mut publisher = None;
    for number in (0..topics).cycle() {
        if start.elapsed() > time {
            break;
        }
        // The broker may also disconnect a Client that publishes that much.
        let stream = publisher.get_or_insert_with(|| client(address, "publisher"));
        let bytes = mqtt::large_publish(QOS_1, &format!("u/{number}"), Some(1), payload);
        let is_sent = send(stream, &bytes, Duration::from_secs(20));
        match is_sent && mqtt::receive(stream).is_ok() {
            true => acknowledged += 1,
            false => publisher = None,
        }
    }
    acknowledged
}

/// Unacknowledged messages have been written to the socket and are kept.
#[test]
fn messages_under_way_that_nobody_acknowledges() {
    let mut small = small("");
    let address = small.address;
    let subscribe = |number: usize| {
        let mut stream = client(address, &format!("mute-{number}"));
        stream.write_all(&mqtt::subscribe_at(&format!("u/{number}"), 1)).unwrap();
        assert_eq!(mqtt::receive(&mut stream).unwrap().0, 0x90);
        stream
    };
    let crowd: Vec<_> = (0..100).map(subscribe).collect();
    let acknowledged = flood(address, 100, &[7; 50_000], Duration::from_secs(8));
    assert!(acknowledged > 300, "only {acknowledged}: {}", small.broker.log());
    drop(crowd);
    small.expect_recovery("messages under way");
}

/// Clients that leave large Wills behind are refused or given up, not one for which little is kept.
#[test]
fn wills_of_clients_that_are_away() {
    const MESSAGES: u16 = 50;
    let mut small = small("");
    let address = small.address;
    let come_back = || {
        let mut honest = dial(address);
        honest.write_all(&mqtt::connect_for("honest", 0, 0)).unwrap();
        (mqtt::receive(&mut honest).unwrap(), honest)
    };
    let (_, mut honest) = come_back();
    honest.write_all(&mqtt::subscribe_at("honest", 1)).unwrap();
    assert_eq!(mqtt::receive(&mut honest).unwrap().0, 0x90);
    drop(honest);
    let mut publisher = client(address, "publisher");
    for number in 1..=MESSAGES {
        publisher.write_all(&mqtt::publish_1("honest", number, b"x")).unwrap();
        assert_eq!(mqtt::receive(&mut publisher).unwrap().0, mqtt::PUBACK);
    }
    let start = Instant::now();
    let mut refused = 0;
    for number in 0.. {
        if refused > 1_000 || start.elapsed() > Duration::from_secs(20) {
            break;
        }
        let mut stream = dial(address);
        let connect = mqtt::connect_with_lasting_will(&format!("will-{number}"), &[7; 15_000]);
        let answer = stream.write_all(&connect).and_then(|()| mqtt::receive(&mut stream));
        refused += u32::from(!answer.is_ok_and(|(_, body)| body[1] == 0));
    }
    assert!(refused > 0, "all were let in: {}", small.broker.log());
    let (connack, mut honest) = come_back();
    assert_eq!(connack, (0x20, vec![1, 0]), "{}", small.broker.log());
    for _ in 0..MESSAGES {
        // DUP is set on what the broker sent before it noticed that the Client was away.
        assert_eq!(mqtt::receive(&mut honest).expect("a message").0 & !DUP, QOS_1);
    }
    let peak = small.peak.end();
    eprintln!("wills: at most {} MB, {refused} refused", peak / MB);
    assert!(peak <= LIMIT, "{} MB: {}", peak / MB, small.broker.log());
}
