//! A thread of the generator: an event loop that owns some of the clients.
//!
//! It works in turns, as the broker does: take what is ready, read and handle it, let publishers
//! whose windows have opened append their messages, and write once per connection at the end.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::client::{Client, Common, Part, Phase};
use super::error::BenchError;
use super::flow::Flow;
use super::link::Received;
use super::publisher::Publisher;

const WAKER: Token = Token(usize::MAX);
/// Handshakes under way at a time while clients are opened.
const OPENING_MAX: usize = 64;
/// How long opening may stand still.
const OPENING_PATIENCE: Duration = Duration::from_secs(20);
const SCRATCH_BYTES: usize = 256 * 1024;

/// One thread's clients and its loop.
#[derive(Debug)]
pub(crate) struct Shard {
    poll: Poll,
    events: Events,
    common: Arc<Common>,
    pub(crate) clients: Vec<Client>,
    /// By publisher: its place in `clients`, if it is of this thread.
    publisher_at: Vec<Option<usize>>,
    pub(crate) flow: Flow,
    wakers: Arc<Vec<Waker>>,
    scratch: Vec<u8>,
    readable: Vec<usize>,
    dirty: Vec<usize>,
    /// How many clients became ready since `open` was called.
    opened: usize,
}

/// The loop's poll with the waker by which other threads reach it.
pub(crate) fn new_poll() -> Result<(Poll, Waker), BenchError> {
    let make = || {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((poll, waker))
    };
    make().map_err(|error: std::io::Error| BenchError::run(format!("no event loop: {error}")))
}

impl Shard {
    /// A shard of `clients`, none of them connected. A packet has at most `packet_bytes_max`.
    pub(crate) fn new(
        poll: Poll,
        wakers: Arc<Vec<Waker>>,
        common: Arc<Common>,
        clients: Vec<Client>,
        flow: Flow,
        packet_bytes_max: usize,
    ) -> Self {
        let mut publisher_at = vec![None; flow.progress.publishers()];
        for (place, client) in clients.iter().enumerate() {
            if let Part::Publisher(publisher) = &client.part {
                publisher_at[publisher.index] = Some(place);
            }
        }
        Self {
            poll,
            events: Events::with_capacity(1024),
            common,
            clients,
            publisher_at,
            flow,
            wakers,
            scratch: vec![0; SCRATCH_BYTES.max(2 * packet_bytes_max)],
            readable: Vec::new(),
            dirty: Vec::new(),
            opened: 0,
        }
    }

    /// The publishers of this thread.
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
                self.clients[place].open(&self.common, self.poll.registry(), Token(place))?;
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
        places.iter().try_for_each(|&place| self.clients[place].close(&self.common))
    }

    /// One turn; waits for at most `timeout` for something to happen.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> Result<(), BenchError> {
        let timeout = if self.readable.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(BenchError::run(format!("waiting for events: {error}")));
            }
            _ => {}
        }
        self.take_events()?;
        self.receive()?;
        self.publish()?;
        self.flush()?;
        while let Some(thread) = self.flow.next_waiting_thread() {
            let woken = self.wakers[thread].wake();
            woken.map_err(|error| BenchError::run(format!("waking a thread: {error}")))?;
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), BenchError> {
        for event in &self.events {
            if event.token() == WAKER {
                self.flow.mark_all_due();
                continue;
            }
            let place = event.token().0;
            let client = &mut self.clients[place];
            if event.is_writable() {
                if client.phase == Phase::Connecting {
                    client.introduce(&self.common)?;
                }
                mark_dirty(client, place, &mut self.dirty);
            }
            if event.is_readable() {
                mark_readable(client, place, &mut self.readable);
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), BenchError> {
        // What has more to read joins the list of the next turn.
        let mut reading = std::mem::take(&mut self.readable);
        for place in reading.drain(..) {
            let client = &mut self.clients[place];
            client.is_readable = false;
            let Some(link) = &mut client.link else { continue };
            match link.read(&mut self.scratch).map_err(|error| client.broken(&error))? {
                Received::Nothing => {}
                Received::Closed => {
                    let error = ErrorKind::UnexpectedEof.into();
                    return Err(client.broken(&error));
                }
                Received::Bytes { length, more } => {
                    self.flow.note_time();
                    let bytes = &self.scratch[..length];
                    let became_ready = client.handle_bytes(bytes, &self.common, &mut self.flow)?;
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

    /// Writes a batch as soon as it is there, so that its time stamp is that of the write.
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
            link.flush().map_err(|error| client.broken(&error))?;
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
            link.flush().map_err(|error| client.broken(&error))?;
        }
        Ok(())
    }
}

#[inline]
fn mark_dirty(client: &mut Client, place: usize, dirty: &mut Vec<usize>) {
    let has_output = client.link.as_ref().is_some_and(|link| !link.out.is_empty());
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
