//! `connect`: a storm of clients that connect, get their CONNACK, and leave.
//!
//! A client that has left waits for the broker to close the connection. So the port stays in
//! TIME_WAIT on the broker's side, and the generator does not run out of ports.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use midge_net::{Poller, Scratch};

use super::super::args::BenchArgs;
use super::super::error::BenchError;
use super::super::generator::handshake::{self, Introduction};
use super::super::generator::link::{Dialer, Link, Received};
use super::super::generator::progress::Progress;
use super::super::measure::histogram::Histogram;
use super::super::output;
use super::{Gate, Snapshot};
use crate::endpoint::{Endpoint, Secret};

/// Room for the packets of a handshake, and for the TLS record or WebSocket frame around them.
const ARRIVED_BYTES: usize = 32 * 1024;
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
    endpoint: Endpoint,
    dialer: Dialer,
    poller: Poller,
    places: Vec<Place>,
    arrived: Vec<u8>,
    scratch: Scratch,
    user_name: Option<String>,
    password: Option<Secret>,
    begun: u64,
    connected: u64,
    latency: Histogram,
    /// How many connections may be begun.
    quota: u64,
}

/// Runs the storm in this thread.
pub(crate) fn run(
    args: &BenchArgs,
    thread: usize,
    poller: Poller,
    progress: &Progress,
    gate: &Gate,
) -> Result<Outcome, BenchError> {
    let mut storm = Storm::new(args, thread, poller)?;
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
    fn new(args: &'a BenchArgs, thread: usize, poller: Poller) -> Result<Self, BenchError> {
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
        let endpoint = args.endpoint()?;
        Ok(Self {
            args,
            dialer: Dialer::new(&endpoint)?,
            endpoint,
            poller,
            places: places.collect(),
            arrived: vec![0; ARRIVED_BYTES],
            scratch: Scratch::new(),
            user_name: args.user_name()?,
            password: args.password()?,
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
            let link = self.dialer.open(&self.poller, index);
            place.link = Some(link.map_err(|error| failed(&self.endpoint, &error))?);
            place.stage = Stage::Connecting;
            place.since = Instant::now();
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), BenchError> {
        let waited = self.poller.wait(Some(Duration::from_millis(20)));
        waited.map_err(|error| failed(&self.endpoint, &error))?;
        let ready: Vec<_> = self.poller.ready().collect();
        for event in ready {
            let index = event.number;
            if event.writable && self.places[index].stage == Stage::Connecting {
                self.introduce(index)?;
            }
            if event.readable {
                while self.receive(index)? {}
            }
            self.flush(index)?;
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
        if link.is_established().map_err(|error| failed(&self.endpoint, &error))? {
            let introduction = Introduction {
                protocol: self.args.protocol,
                client_id: &place.client_id,
                clean_start: true,
                persistent: false,
                keep_alive_seconds: self.args.keep_alive,
                user_name: self.user_name.as_deref(),
                password: self.password.as_ref().map(Secret::expose),
            };
            introduction.append(&mut link.out)?;
            place.stage = Stage::AwaitsConnAck;
        }
        Ok(())
    }

    /// Sends what the client or a layer below has to send.
    fn flush(&mut self, index: usize) -> Result<(), BenchError> {
        let place = &mut self.places[index];
        let Some(link) = &mut place.link else { return Ok(()) };
        if !link.wants_flush() || place.stage == Stage::Connecting {
            return Ok(());
        }
        link.flush(&mut self.scratch).map_err(|error| failed(&self.endpoint, &error))
    }

    /// Reads once. Returns whether there may be more.
    fn receive(&mut self, index: usize) -> Result<bool, BenchError> {
        let (protocol, endpoint) = (self.args.protocol, &self.endpoint);
        let place = &mut self.places[index];
        let Some(link) = &mut place.link else { return Ok(false) };
        let read = link.read(&mut self.arrived, &mut self.scratch);
        match read.map_err(|error| failed(endpoint, &error))? {
            Received::Nothing => Ok(false),
            Received::Closed if place.stage == Stage::Leaving => self.begin(index).map(|()| false),
            Received::Closed => Err(failed(endpoint, &ErrorKind::UnexpectedEof.into())),
            Received::Bytes { length, more } => {
                let mut welcomed = false;
                link.split(&self.arrived[..length], |frame, _| {
                    welcomed = true;
                    handshake::welcome(protocol, frame).map(|_| ())
                })?;
                if welcomed {
                    self.connected += 1;
                    self.latency.record(place.since.elapsed().as_nanos() as u64);
                    handshake::disconnect(protocol, &mut link.out)?;
                    (place.stage, place.since) = (Stage::Leaving, Instant::now());
                }
                Ok(more)
            }
        }
    }
}

fn failed(endpoint: &Endpoint, error: &io::Error) -> BenchError {
    let failure = match error.kind() {
        ErrorKind::UnexpectedEof => endpoint.ended_in_handshake(),
        _ => endpoint.cannot_connect(error, None),
    };
    BenchError::run(failure.text)
}
