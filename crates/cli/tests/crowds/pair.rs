//! Two clients that connected before the crowd, and the time that a message takes between them.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::broker::PATIENCE;
use crate::mqtt;

/// The pause between two messages.
const PAUSE: Duration = Duration::from_millis(2);

/// A pair that exchanges messages until it is told to stop.
pub(crate) struct Pair {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

/// How long messages took.
pub(crate) struct Latencies {
    pub(crate) count: usize,
    pub(crate) p99: Duration,
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Returns a connected client.
pub(crate) fn client(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = dial(address);
    stream.write_all(&mqtt::connect(client_id)).unwrap();
    mqtt::receive_connack(&mut stream).expect("a CONNACK");
    stream
}

impl Pair {
    /// Connects both clients and begins.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let mut subscriber = client(address, "pair-subscriber");
        subscriber.write_all(&mqtt::subscribe("pair")).unwrap();
        assert_eq!(mqtt::receive(&mut subscriber).unwrap().0, 0x90, "a SUBACK");
        let mut publisher = client(address, "pair-publisher");
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut latencies = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                publisher.write_all(&mqtt::publish("pair", b"tick")).unwrap();
                let (first_byte, _) = mqtt::receive(&mut subscriber).expect("the pair lives");
                assert_eq!(first_byte, mqtt::PUBLISH);
                latencies.push(start.elapsed());
                thread::sleep(PAUSE);
            }
            latencies
        });
        Self { stop, thread }
    }

    /// Stops and returns the latencies.
    pub(crate) fn stop(self) -> Latencies {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = self.thread.join().expect("the pair was served to the end");
        all.sort_unstable();
        let at = |share: usize| all[(all.len() - 1) * share / 100];
        let (p50, p99, max, count) = (at(50), at(99), at(100), all.len());
        eprintln!("{count} messages of the pair: p50 {p50:?}, p99 {p99:?}, at most {max:?}");
        Latencies { count, p99 }
    }
}
