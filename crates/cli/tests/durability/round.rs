//! One life of the broker, as its clients see it: where it is, whether it is over, and where to
//! report what is wrong.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::wire::{Connection, Gone};
use crate::message::Key;
use crate::trace::Moment;

/// How long clients wait for an answer before the broker counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One life of the broker, or of the Network Connections if the broker lives on.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) number: u32,
    pub(crate) port: u16,
    pub(crate) findings: Arc<Findings>,
    began: Instant,
    is_over: AtomicBool,
    /// Microseconds until the first client was answered; `u64::MAX`: none was yet.
    first_answer: AtomicU64,
    ready: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<BTreeMap<Fault, Vec<Finding>>>);

/// Something that is wrong.
#[derive(Debug)]
struct Finding {
    text: String,
    /// The message concerned.
    key: Option<Key>,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Lost,
    Duplicated,
    Altered,
    OutOfOrder,
    RetainedLost,
    SubscriptionLost,
    WillMissing,
    SessionLost,
    WrongAnswer,
    Complaint,
}

impl Round {
    pub(crate) fn new(number: u32, port: u16, findings: Arc<Findings>) -> Self {
        Self {
            number,
            port,
            findings,
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            first_answer: AtomicU64::new(u64::MAX),
            ready: AtomicUsize::new(0),
            streams: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        let micros = self.began.elapsed().as_micros() as u32;
        Moment { round: self.number, micros }
    }

    /// Notes that a client has received its CONNACK.
    pub(crate) fn note_answer(&self) {
        let micros = self.began.elapsed().as_micros() as u64;
        self.first_answer.fetch_min(micros, Ordering::SeqCst);
    }

    /// Returns the time from the beginning until the first CONNACK.
    pub(crate) fn first_answer(&self) -> Option<Duration> {
        let micros = self.first_answer.load(Ordering::SeqCst);
        (micros < u64::MAX).then(|| Duration::from_micros(micros))
    }

    /// Notes that a client is connected and ready for its part of the round.
    pub(crate) fn note_ready(&self) {
        self.ready.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until this many clients are ready.
    pub(crate) fn wait_until_ready(&self, clients: usize) {
        self.wait_until(|| self.ready.load(Ordering::SeqCst) >= clients);
    }

    /// Waits until a condition holds, but not forever, and not if anything is wrong: a client that
    /// has failed has reported it.
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() && self.findings.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Allows Network Connections to end from now on.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Registers a Network Connection for [`Round::cut`].
    pub(crate) fn enter(&self, connection: &Connection) -> Result<(), Gone> {
        let stream = connection.stream()?;
        self.streams.lock().unwrap().push(stream);
        if self.is_over() { Err(Gone::Ended) } else { Ok(()) }
    }

    /// Cuts all Network Connections while the broker lives on.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Notes how a client's part of the round has ended.
    pub(crate) fn conclude(&self, client_id: &str, end: Result<(), Gone>) {
        let text = match end {
            Ok(()) => return,
            Err(Gone::Ended) if self.is_over() => return,
            Err(Gone::Ended) => "closes the Network Connection although nothing is wrong".into(),
            Err(Gone::Broken(text)) => text,
        };
        self.find(Fault::WrongAnswer, &format!("{client_id}: the broker {text}"));
    }

    pub(crate) fn find(&self, fault: Fault, text: &str) {
        self.find_about(None, fault, text);
    }

    /// Reports that something is wrong with a message.
    pub(crate) fn find_about(&self, key: Option<Key>, fault: Fault, text: &str) {
        let Moment { round, micros } = self.now();
        let milliseconds = f64::from(micros) / 1000.0;
        let text = format!("round {round}, {milliseconds:.3} ms: {text}");
        let finding = Finding { text, key };
        self.findings.0.lock().unwrap().entry(fault).or_default().push(finding);
    }
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.0.lock().unwrap().get(&fault).map_or(0, Vec::len)
    }

    /// Returns all findings, the first ones of each kind in full, with what `publisher` knows about
    /// the message.
    pub(crate) fn describe(&self, publisher: impl Fn(Key) -> String) -> String {
        const IN_FULL: usize = 4;
        let mut text = String::new();
        for (fault, findings) in self.0.lock().unwrap().iter() {
            text.push_str(&format!("{fault:?}: {}\n", findings.len()));
            for finding in findings.iter().take(IN_FULL) {
                text.push_str(&format!("  {}\n", finding.text.trim_end()));
                text.push_str(&finding.key.map_or_else(String::new, &publisher));
            }
        }
        text
    }
}
