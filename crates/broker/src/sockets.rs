//! The driver's half of a connection: its stream, and the part of a packet that has come so far.

use std::sync::Arc;

use midge_core::{ConnectionId, Timestamp};
use midge_net::Stream;

use crate::listener_terms::ListenerTerms;
use crate::unfinished::Reservation;

/// A connection's stream. An idle one owns no buffer.
pub(crate) struct Socket {
    pub(crate) id: ConnectionId,
    pub(crate) stream: Stream,
    /// What it has of the listener that it came by.
    pub(crate) terms: Arc<ListenerTerms>,
    /// Bytes that were read and do not make up a whole packet yet.
    pub(crate) partial: Vec<u8>,
    /// There may be something to read in the stream (edge-triggered: not told again).
    pub(crate) is_readable: bool,
    /// The end of the stream has come: reading goes on until it is met.
    pub(crate) ends: bool,
    /// Whether it waits on the list of those to be read.
    pub(crate) is_queued: bool,
    /// Packets of it wait for the next turn; nothing more is read before they are handled.
    pub(crate) is_postponed: bool,
    /// The core wants to hear of it; else what comes is left where it is.
    pub(crate) is_reading: bool,
    /// The Client Identifier that was claimed for a CONNECT which is not accepted yet.
    #[allow(clippy::redundant_allocation)] // absent but for a moment: one word, not two
    pub(crate) claim: Option<Box<Box<str>>>,
    /// Too much waits to be written for it: nothing is read, because it would be answered.
    pub(crate) is_choked: bool,
    /// Writing has failed: what came before that is still read, and nothing more is written.
    pub(crate) is_broken: bool,
    /// To be closed as soon as its last bytes are written.
    pub(crate) is_closing: bool,
    /// There is no room for it: only its CONNECT is answered.
    pub(crate) is_turned_away: bool,
    /// It is a data stream beside this connection.
    pub(crate) control: Option<ConnectionId>,
    /// The error that a data stream ends with.
    pub(crate) abort_code: Option<u8>,
    /// A CONNECT has come: from now on the connection is this worker's.
    pub(crate) has_asked: bool,
    /// Its CONNECT waits for others of the same Client: it does not go on the list until then.
    pub(crate) is_parked: bool,
    /// Memory for a large packet of which only a part has come.
    pub(crate) reservation: Reservation,
}

impl Socket {
    /// Whether it is read as soon as something of it comes: neither the core, nor the turn, nor
    /// memory holds it back, and it waits for no turn of its own.
    pub(crate) fn comes_to_be_read(&self) -> bool {
        let is_held_back = !self.is_reading || self.is_postponed || self.reservation.waits();
        !(is_held_back || self.is_readable && self.is_queued)
    }

    /// Whether something may be there that nothing but the turn holds back.
    pub(crate) fn is_to_be_read(&self) -> bool {
        let has_more = self.is_readable && !self.is_choked || self.is_postponed;
        self.is_reading && !self.reservation.waits() && has_more
    }

    /// Notes that it is on the list of those to be read; false if it was, or must not be.
    pub(crate) fn goes_on_list(&mut self) -> bool {
        !self.is_parked && !std::mem::replace(&mut self.is_queued, true)
    }

    /// One that is to be read as soon as may be.
    pub(crate) fn new(id: ConnectionId, stream: Stream, terms: Arc<ListenerTerms>) -> Self {
        Self {
            id,
            stream,
            terms,
            partial: Vec::new(),
            is_readable: true,
            ends: false,
            is_queued: true,
            is_postponed: false,
            is_reading: true,
            claim: None,
            is_choked: false,
            is_broken: false,
            is_closing: false,
            is_turned_away: false,
            control: None,
            abort_code: None,
            has_asked: false,
            is_parked: false,
            reservation: Reservation::default(),
        }
    }
}

/// All sockets of a worker, by the slot of their connection.
#[derive(Default)]
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
}

impl Sockets {
    pub(crate) fn insert(&mut self, socket: Socket) {
        let slot = socket.id.slot();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(socket);
    }

    pub(crate) fn get(&mut self, slot: usize) -> Option<&mut Socket> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The socket of this connection, not of a later one in the same slot.
    pub(crate) fn of(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.get(id.slot()).filter(|socket| socket.id == id)
    }

    /// The same, to look at.
    pub(crate) fn peek(&self, id: ConnectionId) -> Option<&Socket> {
        self.slots.get(id.slot())?.as_ref().filter(|socket| socket.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        self.of(id)?;
        self.slots[id.slot()].take()
    }

    /// Whether something may wait in the stream of a connection that is to be read, or that has to
    /// wait for memory.
    pub(crate) fn has_unread(&self, id: ConnectionId) -> bool {
        let socket = self.slots.get(id.slot()).and_then(Option::as_ref);
        socket.is_some_and(|socket| {
            let is_queued = socket.is_readable && socket.is_queued || socket.is_postponed;
            socket.id == id && (socket.is_reading && is_queued || socket.reservation.waits())
        })
    }

    /// Whether something has come by a connection that is not handled yet, be it that it is not to
    /// be read now, or a packet that is incomplete.
    pub(crate) fn has_unhandled(&self, id: ConnectionId) -> bool {
        self.peek(id).is_some_and(|socket| {
            let is_held_back = socket.is_postponed || socket.reservation.waits();
            socket.is_readable || is_held_back || !socket.partial.is_empty()
        })
    }

    /// Of `count` slots from `first` on, the connections that came by this listener. Data streams
    /// end with their control streams.
    pub(crate) fn came_by(&self, listener: u16, first: usize, count: usize) -> Vec<ConnectionId> {
        let slots = self.slots.iter().skip(first).take(count).flatten();
        let slots = slots.filter(|it| it.terms.place.number == listener && it.control.is_none());
        slots.map(|socket| socket.id).collect()
    }

    /// All of them: not for every turn.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().flatten()
    }

    /// What is kept of an incomplete packet of this connection. While it comes on, it counts less
    /// than what nobody takes.
    pub(crate) fn offence(&self, id: ConnectionId, now: Timestamp) -> usize {
        self.peek(id).map_or(0, |socket| {
            let bytes = socket.partial.capacity();
            if socket.reservation.comes_on(now) { bytes / 4 } else { bytes }
        })
    }

    /// At least as many as there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Looks at all of them: not for every turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }
}
