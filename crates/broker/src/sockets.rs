//! The driver's half of a connection: its stream, and the part of a packet that has come so far.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use midge_core::ConnectionId;
use midge_net::Stream;

/// A connection's stream. An idle one owns no buffer.
pub(crate) struct Socket {
    pub(crate) id: ConnectionId,
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: u16,
    /// Bytes that were read and do not make up a whole packet yet.
    pub(crate) partial: Vec<u8>,
    /// There may be something to read in the stream (edge-triggered: not told again).
    pub(crate) is_readable: bool,
    /// The end of the stream has come: reading goes on until it is met.
    pub(crate) ends: bool,
    /// Whether it waits on the list of those to be read.
    pub(crate) is_queued: bool,
    /// The core wants to hear of it; else what comes is left where it is.
    pub(crate) is_reading: bool,
    /// The Client Identifier that was claimed for a CONNECT which is not accepted yet.
    pub(crate) claim: Option<Box<str>>,
}

/// All sockets of a worker, by the slot of their connection.
#[derive(Default)]
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
    count: usize,
    /// To be closed when the last bytes are written, or when they have waited too long.
    closing: VecDeque<(Instant, ConnectionId)>,
    /// Closed by this side; kept a little, so that the peer can read the last bytes.
    lingering: VecDeque<(Instant, Stream)>,
}

impl Sockets {
    /// How long a peer has to take the last bytes before its connection is closed without them.
    const CLOSING_MAX: Duration = Duration::from_secs(5);
    const LINGER: Duration = Duration::from_secs(1);
    const LINGERING_MAX: usize = 1024;

    pub(crate) fn insert(&mut self, socket: Socket) {
        let slot = socket.id.slot();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.count += usize::from(self.slots[slot].is_none());
        self.slots[slot] = Some(socket);
    }

    pub(crate) fn get(&mut self, slot: usize) -> Option<&mut Socket> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The socket of this connection, not of a later one in the same slot.
    pub(crate) fn of(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.get(id.slot()).filter(|socket| socket.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        self.of(id)?;
        self.count -= 1;
        self.slots[id.slot()].take()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps a connection that is to be closed as long as its last bytes are on their way.
    pub(crate) fn close_later(&mut self, id: ConnectionId) {
        self.closing.push_back((Instant::now() + Self::CLOSING_MAX, id));
    }

    /// Takes out the closing connections for which `is_done` or whose time is over.
    pub(crate) fn take_closed(
        &mut self,
        mut is_done: impl FnMut(ConnectionId) -> bool,
    ) -> Vec<ConnectionId> {
        if self.closing.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let (done, closing) =
            self.closing.drain(..).partition(|&(until, id)| until <= now || is_done(id));
        self.closing = closing;
        let done: VecDeque<(Instant, ConnectionId)> = done;
        done.into_iter().map(|(_, id)| id).collect()
    }

    /// Keeps a stream whose writing side was shut down. Closing it at once could make the kernel
    /// throw away what the peer has not read yet, if something unread had come from it.
    pub(crate) fn linger(&mut self, stream: Stream) {
        if self.lingering.len() >= Self::LINGERING_MAX {
            self.lingering.pop_front();
        }
        self.lingering.push_back((Instant::now() + Self::LINGER, stream));
    }

    /// Closes what has lingered long enough; says when to ask again.
    pub(crate) fn end_lingering(&mut self) -> Option<Duration> {
        if self.lingering.is_empty() && self.closing.is_empty() {
            return None;
        }
        let now = Instant::now();
        while self.lingering.front().is_some_and(|(until, _)| *until <= now) {
            self.lingering.pop_front();
        }
        let lingering = self.lingering.front().map(|(until, _)| *until);
        let closing = self.closing.front().map(|(until, _)| *until);
        let next = [lingering, closing].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }
}
