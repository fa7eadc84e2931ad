//! `connect`: a storm of clients that connect, get their CONNACK, and leave.
//!
//! A client that has left waits for the broker to close the connection, so that the side that
//! keeps the port in TIME_WAIT is the broker's and the generator does not run out of ports.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::super::args::BenchArgs;
use super::super::error::BenchError;
use super::super::handshake::{self, Introduction};
use super::super::histogram::Histogram;
use super::super::link::{Link, Received};
use super::super::output;
use super::super::progress::Progress;
use super::{Gate, Snapshot};

/// How long a client that has left waits for the broker to close.
const LEAVING_MAX: Duration = Duration::from_secs(1);

/// What one thread found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
    /// From the first SYN to the CONNACK.
    pub(crate) latency: Histogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    AwaitsConnAck,
    Leaving,
    Over,
}

/// A place in the storm, taken by one client after the other.
struct Place {
    link: Option<Link>,
    stage: Stage,
    since: Instant,
    client_id: String,
}

struct Storm<'a> {
    args: &'a BenchArgs,
    address: std::net::SocketAddr,
    poll: Poll,
    places: Vec<Place>,
    scratch: Vec<u8>,
    begun: u64,
    connected: u64,
    latency: Histogram,
    /// How many may be begun.
    quota: u64,
}

/// Runs the storm in this thread.
pub(crate) fn run(
    args: &BenchArgs,
    thread: usize,
    poll: Poll,
    progress: &Progress,
    gate: &Gate,
) -> Result<Outcome, BenchError> {
    let mut storm = Storm::new(args, thread, poll)?;
    gate.pass(progress)?;
    let start = Instant::now();
    let mut shown = start;
    storm.begin_all()?;
    while start.elapsed().as_secs_f64() < args.warmup() {
        storm.turn()?;
    }
    let before = Snapshot::take(args, thread, 0, storm.connected)?;
    storm.latency = Histogram::new();
    let end = args.warmup() + args.seconds;
    while storm.goes_on(start.elapsed().as_secs_f64() < end) {
        storm.turn()?;
        progress.report_delivered(thread, storm.connected);
        if thread == 0 {
            output::progress_sometimes(args, &mut shown, "connected", progress.delivered());
        }
        if progress.has_failed() {
            return Err(BenchError::run("another thread has failed"));
        }
    }
    let after = Snapshot::take(args, thread, 0, storm.connected)?;
    Ok(Outcome { before, after, latency: storm.latency })
}

impl<'a> Storm<'a> {
    fn new(args: &'a BenchArgs, thread: usize, poll: Poll) -> Result<Self, BenchError> {
        let threads = usize::from(args.threads);
        let numbers = (thread..args.clients()).step_by(threads);
        let places = numbers.map(|n| Place {
            link: None,
            stage: Stage::Over,
            since: Instant::now(),
            client_id: format!("{}-{n}", args.topic),
        });
        let (thread, threads) = (thread as u64, threads as u64);
        let share = |all: u64| all / threads + u64::from(thread < all % threads);
        Ok(Self {
            args,
            address: args.address()?,
            poll,
            places: places.collect(),
            scratch: vec![0; 4096],
            begun: 0,
            connected: 0,
            latency: Histogram::new(),
            quota: args.messages.map_or(u64::MAX, share),
        })
    }

    fn goes_on(&self, in_time: bool) -> bool {
        if self.quota == u64::MAX { in_time } else { self.connected < self.quota }
    }

    fn begin_all(&mut self) -> Result<(), BenchError> {
        (0..self.places.len()).try_for_each(|index| self.begin(index))
    }

    /// Lets the next client take this place.
    fn begin(&mut self, index: usize) -> Result<(), BenchError> {
        let place = &mut self.places[index];
        (place.link, place.stage) = (None, Stage::Over);
        if self.begun < self.quota {
            self.begun += 1;
            let link = Link::connect(self.address, self.poll.registry(), Token(index));
            place.link = Some(link.map_err(|error| failed(self.address, &error))?);
            place.stage = Stage::Connecting;
            place.since = Instant::now();
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(self.failed(&error)),
            _ => {}
        }
        for event in &events {
            let index = event.token().0;
            if index >= self.places.len() {
                continue;
            }
            if event.is_writable() && self.places[index].stage == Stage::Connecting {
                self.introduce(index)?;
            }
            if event.is_readable() {
                self.receive(index)?;
            }
        }
        let now = Instant::now();
        for index in 0..self.places.len() {
            let place = &self.places[index];
            if place.stage == Stage::Leaving && now - place.since > LEAVING_MAX {
                self.begin(index)?;
            }
        }
        Ok(())
    }

    fn introduce(&mut self, index: usize) -> Result<(), BenchError> {
        let place = &mut self.places[index];
        let Some(link) = &mut place.link else { return Ok(()) };
        if link.is_established().map_err(|error| failed(self.address, &error))? {
            let introduction = Introduction {
                protocol: self.args.protocol,
                client_id: &place.client_id,
                clean_start: true,
                persistent: false,
                keep_alive_seconds: self.args.keep_alive,
                user_name: self.args.user.as_deref(),
                password: self.args.password.as_deref(),
            };
            introduction.append(&mut link.out)?;
            place.stage = Stage::AwaitsConnAck;
            link.flush().map_err(|error| failed(self.address, &error))?;
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<(), BenchError> {
        let (protocol, address) = (self.args.protocol, self.address);
        let place = &mut self.places[index];
        let Some(link) = &mut place.link else { return Ok(()) };
        match link.read(&mut self.scratch).map_err(|error| failed(address, &error))? {
            Received::Nothing => Ok(()),
            Received::Closed if place.stage == Stage::Leaving => self.begin(index),
            Received::Closed => Err(failed(address, &ErrorKind::UnexpectedEof.into())),
            Received::Bytes { length, .. } => {
                let mut welcomed = false;
                link.split(&self.scratch[..length], |frame, _| {
                    welcomed = true;
                    handshake::welcome(protocol, frame).map(|_| ())
                })?;
                if welcomed {
                    self.connected += 1;
                    self.latency.record(place.since.elapsed().as_nanos() as u64);
                    handshake::disconnect(protocol, &mut link.out)?;
                    link.flush().map_err(|error| failed(address, &error))?;
                    (place.stage, place.since) = (Stage::Leaving, Instant::now());
                }
                Ok(())
            }
        }
    }

    fn failed(&self, error: &std::io::Error) -> BenchError {
        failed(self.address, error)
    }
}

fn failed(address: std::net::SocketAddr, error: &std::io::Error) -> BenchError {
    BenchError::run(format!("cannot connect to {address}: {error}"))
}
