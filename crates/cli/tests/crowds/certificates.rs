//! Replacing certificates while 500 TLS clients publish.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Directory, free_address, wait_until};
use crate::mqtt;
use crate::secure::{Authority, Certificate, Stream};

const THREADS: usize = 4;
const CLIENTS_PER_THREAD: usize = 125;
/// How soon a new certificate is shown after its files are in place.
const SOON: Duration = Duration::from_secs(2);
/// How many acknowledgements each Client gets before each step and after it.
const ROUNDS: u64 = 10;

/// The Clients of one thread, which publish in turn.
struct Crowd {
    clients: Vec<Stream>,
    number: usize,
}

/// What all threads share.
#[derive(Default)]
struct Progress {
    is_over: AtomicBool,
    acknowledged: AtomicU64,
}

impl Crowd {
    fn connect(authority: &Authority, address: SocketAddr, number: usize) -> Self {
        let client = |index| {
            let mut stream = authority.open(address).expect("a handshake");
            stream.write_all(&mqtt::connect(&format!("crowd-{number}-{index}"))).unwrap();
            mqtt::receive_connack(&mut stream).expect("a CONNACK");
            stream
        };
        Self { clients: (0..CLIENTS_PER_THREAD).map(client).collect(), number }
    }

    /// Publishes from all Clients and waits for every acknowledgement, until told to stop.
    fn publish(&mut self, progress: &Progress) -> io::Result<()> {
        let mut packet_id = 0_u16;
        while !progress.is_over.load(Ordering::Relaxed) {
            packet_id = packet_id % 60_000 + 1;
            let topic = format!("crowd/{}", self.number);
            for client in &mut self.clients {
                client.write_all(&mqtt::publish_1(&topic, packet_id, b"payload"))?;
            }
            for client in &mut self.clients {
                let (first_byte, body) = mqtt::receive(client)?;
                if first_byte != mqtt::PUBACK || body[..2] != packet_id.to_be_bytes() {
                    let text = format!("not acknowledged: {first_byte:02x} {body:02x?}");
                    return Err(io::Error::other(text));
                }
                progress.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Progress {
    /// Waits until every Client has received some more acknowledgements.
    fn wait_for_more(&self) {
        let clients = (THREADS * CLIENTS_PER_THREAD) as u64;
        let goal = self.acknowledged.load(Ordering::Relaxed) + ROUNDS * clients;
        wait_until("all go on publishing", || self.acknowledged.load(Ordering::Relaxed) >= goal);
    }
}

fn put(directory: &Directory, certificate: &Certificate) {
    directory.write("server.key", &certificate.key);
    directory.write("server.pem", &certificate.pem);
}

fn wait_until_shown(authority: &Authority, address: SocketAddr, certificate: &Certificate) {
    let start = Instant::now();
    wait_until("the new certificate is shown", || authority.shown(address) == certificate.shown);
    let took = start.elapsed();
    eprintln!("the new certificate was shown after {took:?}");
    assert!(took < SOON, "the new certificate was shown only after {took:?}");
}

/// Replaces the files in various ways while the Clients publish.
fn replace(
    directory: &Directory,
    broker: &Broker,
    authority: &Authority,
    address: SocketAddr,
    progress: &Progress,
) {
    progress.wait_for_more();
    let second = authority.certificate();
    put(directory, &second);
    wait_until_shown(authority, address, &second);
    progress.wait_for_more();

    // A broken new file leaves the old certificate in use, and the log says so.
    directory.write("server.pem", "-----BEGIN CERTIFICATE-----\nbroken\n");
    wait_until("the log tells of the broken file", || {
        broker.log().lines().any(|line| line.contains("ERROR") && line.contains("server.pem"))
    });
    assert!(authority.shown(address) == second.shown, "the old certificate is in effect");
    progress.wait_for_more();

    // The same holds for a missing file, and for one with the key of another certificate.
    fs::remove_file(directory.path("server.pem")).unwrap();
    broker.hang_up();
    progress.wait_for_more();
    assert!(authority.shown(address) == second.shown, "the old certificate is in effect");
    directory.write("server.pem", &authority.certificate().pem);
    broker.hang_up();
    progress.wait_for_more();
    assert!(authority.shown(address) == second.shown, "the old certificate is in effect");

    let third = authority.certificate();
    put(directory, &third);
    broker.hang_up();
    wait_until_shown(authority, address, &third);
    progress.wait_for_more();
}

#[test]
fn certificates_are_replaced_while_500_clients_publish() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let address = free_address();
    let first = authority.certificate();
    put(&directory, &first);
    let configuration = format!(
        "[[listener]]\nbind = '{address}'\ntls.certificate = 'server.pem'\n\
         tls.key = 'server.key'\n"
    );
    let broker = Broker::start(&directory, &configuration, &[address]);
    assert!(authority.shown(address) == first.shown);
    let progress = Arc::new(Progress::default());
    thread::scope(|scope| {
        let (authority, progress) = (&authority, &progress);
        let crowds: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn(move || {
                    let mut crowd = Crowd::connect(authority, address, number);
                    let done = crowd.publish(progress);
                    // This lets a thread that waits for more acknowledgements stop waiting.
                    progress.is_over.store(true, Ordering::Relaxed);
                    done
                })
            })
            .collect();
        replace(&directory, &broker, authority, address, progress);
        progress.is_over.store(true, Ordering::Relaxed);
        for crowd in crowds {
            crowd.join().unwrap().expect("no connection is lost and nothing unacknowledged");
        }
    });
    eprintln!("{} messages were acknowledged", progress.acknowledged.load(Ordering::Relaxed));
}
