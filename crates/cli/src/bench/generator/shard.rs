//! A thread of the generator: an event loop that owns some of the clients.
//!
//! It works in turns, as the broker does: take what is ready, read and handle it, let publishers
//! whose windows have opened append their messages, and write once per connection at the end.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_net::{Poller, Scratch};

use super::super::error::BenchError;
use super::client::{Client, Common, Part, Phase};
use super::flow::Flow;
use super::link::{Dialer, Link, Received};
use super::publisher::Publisher;
use crate::endpoint::Waker;

/// How many handshakes may be under way at a time while clients are opened.
const OPENING_MAX: usize = 64;
/// How long opening may make no progress.
const OPENING_PATIENCE: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 256 * 1024;

/// One thread's clients and its loop.
#[derive(Debug)]
pub(crate) struct Shard {
    poller: Poller,
    waker: Waker,
    dialer: Dialer,
    common: Arc<Common>,
    pub(crate) clients: Vec<Client>,
    /// By publisher: its place in `clients`, if it belongs to this thread.
    publisher_at: Vec<Option<usize>>,
    pub(crate) flow: Flow,
    wakers: Arc<Vec<Waker>>,
    /// The buffer into which packets arrive.
    arrived: Vec<u8>,
    scratch: Scratch,
    readable: Vec<usize>,
    dirty: Vec<usize>,
    /// How many clients have become ready since `open` was called.
    opened: usize,
}

/// Makes the loop's poller, and the waker by which other threads reach the loop.
pub(crate) fn new_poller() -> Result<(Poller, Waker), BenchError> {
    let poller = Poller::new();
    let poller = poller.map_err(|error| BenchError::run(format!("no event loop: {error}")))?;
    let waker = Waker::new(&poller);
    Ok((poller, waker))
}

impl Shard {
    /// Makes a shard of `clients`, none of them connected. A packet has at most `packet_bytes_max`.
    pub(crate) fn new(
        (poller, waker): (Poller, Waker),
        wakers: Arc<Vec<Waker>>,
        common: Arc<Common>,
        clients: Vec<Client>,
        flow: Flow,
        packet_bytes_max: usize,
    ) -> Result<Self, BenchError> {
        let mut publisher_at = vec![None; flow.progress.publishers()];
        for (place, client) in clients.iter().enumerate() {
            if let Part::Publisher(publisher) = &client.part {
                publisher_at[publisher.index] = Some(place);
            }
        }
        Ok(Self {
            poller,
            waker,
            dialer: Dialer::new(&common.endpoint)?,
            common,
            clients,
            publisher_at,
            flow,
            wakers,
            arrived: vec![0; READ_BYTES.max(2 * packet_bytes_max)],
            scratch: Scratch::new(),
            readable: Vec::new(),
            dirty: Vec::new(),
            opened: 0,
        })
    }

    /// Returns the publishers of this thread.
    pub(crate) fn publishers(&mut self) -> impl Iterator<Item = &mut Publisher> {
        self.clients.iter_mut().filter_map(|client| match &mut client.part {
            Part::Publisher(publisher) => Some(publisher),
            Part::Subscriber(_) => None,
        })
    }

    /// Whether no subscriber of this thread is in the middle of a QoS 2 exchange.
    pub(crate) fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| match &client.part {
            Part::Subscriber(subscriber) => subscriber.is_settled(),
            Part::Publisher(_) => true,
        })
    }

    /// Connects (and subscribes) the clients at `places` and returns when all are ready.
    pub(crate) fn open(&mut self, places: &[usize]) -> Result<(), BenchError> {
        self.opened = 0;
        let mut begun = 0;
        let mut last = (0, Instant::now());
        while self.opened < places.len() {
            while begun < places.len() && begun - self.opened < OPENING_MAX {
                let place = places[begun];
                let client = &mut self.clients[place];
                client.open(&self.common, &mut self.dialer, &self.poller, place)?;
                begun += 1;
            }
            self.turn(Some(Duration::from_millis(100)))?;
            if last.0 != self.opened {
                last = (self.opened, Instant::now());
            } else if last.1.elapsed() > OPENING_PATIENCE {
                return Err(BenchError::run("the broker does not answer CONNECT or SUBSCRIBE"));
            }
            if self.flow.progress.has_failed() {
                return Err(BenchError::run("another thread has failed"));
            }
        }
        Ok(())
    }

    /// Disconnects the clients at `places`.
    pub(crate) fn close(&mut self, places: &[usize]) -> Result<(), BenchError> {
        let Self { clients, common, scratch, .. } = self;
        places.iter().try_for_each(|&place| clients[place].close(common, scratch))
    }

    /// Runs one turn; waits for at most `timeout` for something to happen.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> Result<(), BenchError> {
        let timeout = if self.readable.is_empty() { timeout } else { Some(Duration::ZERO) };
        let waited = self.poller.wait(timeout);
        waited.map_err(|error| BenchError::run(format!("waiting for events: {error}")))?;
        self.take_events()?;
        self.receive()?;
        self.publish()?;
        self.flush()?;
        while let Some(thread) = self.flow.next_waiting_thread() {
            self.wakers[thread].wake();
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), BenchError> {
        for event in self.poller.ready() {
            let place = event.number;
            let client = &mut self.clients[place];
            if event.writable {
                if client.phase == Phase::Connecting {
                    client.introduce(&self.common)?;
                }
                mark_dirty(client, place, &mut self.dirty);
            }
            if event.readable {
                mark_readable(client, place, &mut self.readable);
            }
        }
        if self.waker.take() {
            self.flow.mark_all_due();
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), BenchError> {
        // A client with more to read joins the list of the next turn.
        let mut reading = std::mem::take(&mut self.readable);
        for place in reading.drain(..) {
            let client = &mut self.clients[place];
            client.is_readable = false;
            let Some(link) = &mut client.link else { continue };
            let read = link.read(&mut self.arrived, &mut self.scratch);
            match read.map_err(|error| client.broken(&self.common, &error))? {
                // A handshake may be complete now, and bytes that waited for that can leave.
                Received::Nothing => mark_dirty(client, place, &mut self.dirty),
                Received::Closed => {
                    let error = io::Error::from(ErrorKind::UnexpectedEof);
                    return Err(client.broken(&self.common, &error));
                }
                Received::Bytes { length, more } => {
                    self.flow.note_time();
                    let bytes = &self.arrived[..length];
                    let was_greeting = client.phase == Phase::AwaitsConnAck;
                    let became_ready = client.handle_bytes(bytes, &self.common, &mut self.flow)?;
                    if was_greeting && client.phase != Phase::AwaitsConnAck {
                        client.begin_data_stream(&self.common, &self.poller, place)?;
                    }
                    self.opened += usize::from(became_ready);
                    mark_dirty(client, place, &mut self.dirty);
                    if more {
                        mark_readable(client, place, &mut self.readable);
                    }
                }
            }
        }
        if self.readable.is_empty() {
            self.readable = reading;
        }
        Ok(())
    }

    /// Lets all publishers send what they may, without waiting for an event.
    pub(crate) fn push(&mut self) -> Result<(), BenchError> {
        self.flow.mark_all_due();
        self.publish()?;
        self.flush()
    }

    /// Writes each batch as soon as it is made, so that its time stamp is that of the write.
    fn publish(&mut self) -> Result<(), BenchError> {
        while let Some(index) = self.flow.next_due() {
            let Some(place) = self.publisher_at[index] else { continue };
            let client = &mut self.clients[place];
            let Part::Publisher(publisher) = &mut client.part else { continue };
            if client.phase != Phase::Ready {
                continue;
            }
            let Some(link) = &mut client.link else { continue };
            let (done, clock) = (self.flow.progress.done(index), || self.flow.elapsed_nanos());
            publisher.publish(done, clock, &mut link.out);
            if publisher.take_finished() {
                self.flow.progress.finish(index, publisher.sent());
            }
            let flushed = link.flush(&mut self.scratch);
            flushed.map_err(|error| client.broken(&self.common, &error))?;
        }
        Ok(())
    }

    /// Lets the publisher `index` send `now` the message that was due at `due`.
    pub(crate) fn publish_scheduled(&mut self, index: usize, due: u64, now: u64) {
        let Some(place) = self.publisher_at[index] else { return };
        let client = &mut self.clients[place];
        if let (Part::Publisher(publisher), Some(link)) = (&mut client.part, &mut client.link) {
            publisher.publish_scheduled(due, now, &mut link.out);
            mark_dirty(client, place, &mut self.dirty);
        }
    }

    /// Writes what is to be sent.
    pub(crate) fn flush(&mut self) -> Result<(), BenchError> {
        for place in self.dirty.drain(..) {
            let client = &mut self.clients[place];
            client.is_dirty = false;
            let Some(link) = &mut client.link else { continue };
            let flushed = link.flush(&mut self.scratch);
            flushed.map_err(|error| client.broken(&self.common, &error))?;
        }
        Ok(())
    }
}

#[inline]
fn mark_dirty(client: &mut Client, place: usize, dirty: &mut Vec<usize>) {
    let has_output = client.link.as_ref().is_some_and(Link::wants_flush);
    if has_output && !client.is_dirty {
        client.is_dirty = true;
        dirty.push(place);
    }
}

#[inline]
fn mark_readable(client: &mut Client, place: usize, readable: &mut Vec<usize>) {
    if !client.is_readable {
        client.is_readable = true;
        readable.push(place);
    }
}
