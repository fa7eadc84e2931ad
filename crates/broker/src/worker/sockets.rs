//! The driver's half of a connection: its stream, and the part of a packet that has come so far.

use std::sync::Arc;

use midge_core::{ConnectionId, Timestamp};
use midge_net::Stream;

use crate::hook::Kept;
use crate::listener_terms::ListenerTerms;
use crate::worker::reservations::Reservation;

/// A connection's stream. While it is idle it owns no buffer.
pub(crate) struct Socket {
    pub(crate) id: ConnectionId,
    pub(crate) stream: Stream,
    /// The terms of the listener that the connection came by.
    pub(crate) terms: Arc<ListenerTerms>,
    /// When the connection was accepted.
    pub(crate) opened: Timestamp,
    /// Bytes that were read and do not make up a whole packet yet.
    pub(crate) partial: Vec<u8>,
    /// There may be something to read in the stream (edge-triggered: this is not reported again).
    pub(crate) is_readable: bool,
    /// The last read has taken all that was there, and nothing was reported since.
    pub(crate) is_drained: bool,
    /// The end of the stream was reported: reading goes on until it is reached.
    pub(crate) ends: bool,
    /// Whether it waits on the list of those to be read.
    pub(crate) is_queued: bool,
    /// Packets of this connection wait for the next turn; nothing more is read before they are
    /// handled.
    pub(crate) is_postponed: bool,
    /// The core wants to be given packets; otherwise bytes are left where they are.
    pub(crate) is_reading: bool,
    /// The Client Identifier claimed for a CONNECT that is not accepted yet.
    #[allow(clippy::redundant_allocation)] // absent but for a moment: one word, not two
    pub(crate) claim: Option<Box<Box<str>>>,
    /// Too much waits to be written: nothing is read, because it would cause further answers.
    pub(crate) is_choked: bool,
    /// Writing has failed: what came before that is still read, and nothing more is written.
    pub(crate) is_broken: bool,
    /// To be closed as soon as its last bytes are written.
    pub(crate) is_closing: bool,
    /// Its Client has sent a DISCONNECT, and nothing comes behind it.
    pub(crate) has_left: bool,
    /// There is no room for the connection: only its CONNECT is answered.
    pub(crate) is_turned_away: bool,
    /// The control stream, if this is a data stream.
    pub(crate) control: Option<ConnectionId>,
    /// The error that a data stream ends with.
    pub(crate) abort_code: Option<u8>,
    /// A CONNECT has come: from now on the connection belongs to this worker.
    pub(crate) has_asked: bool,
    /// Its CONNECT waits behind others of the same Client: until it is next, it does not go on the
    /// list.
    pub(crate) is_parked: bool,
    /// Memory for a large packet of which only a part has come.
    pub(crate) reservation: Reservation,
    /// Whether something has come or gone since Clients were given to other workers last.
    pub(crate) is_active: bool,
    /// What an enhanced authentication keeps until the next step.
    pub(crate) authentication: Option<Box<Kept>>,
}

/// A connection that has come to a worker, from a listener or from another worker.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) terms: Arc<ListenerTerms>,
    /// When it was accepted.
    pub(crate) opened: Timestamp,
    pub(crate) is_turned_away: bool,
    /// What was read from it already.
    pub(crate) bytes: Vec<u8>,
}

impl Socket {
    /// Returns whether the socket is read as soon as something comes: neither the core, nor the
    /// turn, nor memory holds it back, and it is not waiting for a turn.
    pub(crate) fn comes_to_be_read(&self) -> bool {
        let is_held_back = !self.is_reading || self.is_postponed || self.reservation.waits();
        !(is_held_back || self.is_readable && self.is_queued)
    }

    /// Returns whether something may be there that only the turn holds back.
    pub(crate) fn is_to_be_read(&self) -> bool {
        let has_more = self.is_readable && !self.is_choked || self.is_postponed;
        self.is_reading && !self.reservation.waits() && has_more
    }

    /// Returns whether the stream can be closed without destroying what its peer has not read yet:
    /// the operating system does destroy it if something is unread here then, or comes later.
    pub(crate) fn may_be_closed_at_once(&self) -> bool {
        self.stream.is_plain() && self.is_drained && (self.has_left || self.ends)
    }

    /// Returns how many bytes are kept of a packet or a handshake of which only a part has come.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.partial.capacity() + self.stream.kept_bytes()
    }

    /// Notes that the socket is on the list of those to be read. Returns false if it was there
    /// already, or must not be.
    pub(crate) fn goes_on_list(&mut self) -> bool {
        !self.is_parked && !std::mem::replace(&mut self.is_queued, true)
    }

    /// Returns whether it can be given to another worker.
    pub(crate) fn may_move(&self) -> bool {
        !self.is_closing
            && !self.is_turned_away
            && self.control.is_none()
            && !self.stream.may_have_data_streams()
    }

    /// Makes a socket that is to be read as soon as possible.
    pub(crate) fn new(
        id: ConnectionId,
        stream: Stream,
        terms: Arc<ListenerTerms>,
        opened: Timestamp,
    ) -> Self {
        Self {
            id,
            stream,
            terms,
            opened,
            partial: Vec::new(),
            is_readable: true,
            is_drained: false,
            ends: false,
            is_queued: true,
            is_postponed: false,
            is_reading: true,
            claim: None,
            is_choked: false,
            is_broken: false,
            is_closing: false,
            has_left: false,
            is_turned_away: false,
            control: None,
            abort_code: None,
            has_asked: false,
            is_parked: false,
            reservation: Reservation::default(),
            is_active: false,
            authentication: None,
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

    /// Returns the socket of this connection, never that of a later one in the same slot.
    pub(crate) fn of(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.get(id.slot()).filter(|socket| socket.id == id)
    }

    /// Does the same as [`Self::of`] for reading only.
    pub(crate) fn peek(&self, id: ConnectionId) -> Option<&Socket> {
        self.slots.get(id.slot())?.as_ref().filter(|socket| socket.id == id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        self.of(id)?;
        self.slots[id.slot()].take()
    }

    /// Returns whether something may wait in the stream of a connection that is to be read or that
    /// has to wait for memory.
    pub(crate) fn has_unread(&self, id: ConnectionId) -> bool {
        let socket = self.slots.get(id.slot()).and_then(Option::as_ref);
        socket.is_some_and(|socket| {
            let is_queued = socket.is_readable && socket.is_queued || socket.is_postponed;
            socket.id == id && (socket.is_reading && is_queued || socket.reservation.waits())
        })
    }

    /// Returns whether something has come on a connection that is not handled yet, because it must
    /// not be read now or because a packet is incomplete.
    pub(crate) fn has_unhandled(&self, id: ConnectionId) -> bool {
        self.peek(id).is_some_and(|socket| {
            let is_held_back = socket.is_postponed || socket.reservation.waits();
            socket.is_readable || is_held_back || !socket.partial.is_empty()
        })
    }

    /// Returns the connections that came by this listener, among `count` slots from `first` on.
    /// Data streams are left out, because they end with their control streams.
    pub(crate) fn came_by(&self, listener: u16, first: usize, count: usize) -> Vec<ConnectionId> {
        let slots = self.slots.iter().skip(first).take(count).flatten();
        let slots = slots.filter(|it| it.terms.place.number == listener && it.control.is_none());
        slots.map(|socket| socket.id).collect()
    }

    /// Returns connections that can be given to another worker and on which something has come or
    /// gone since they were looked at last, among `count` slots from `first` on, around the end.
    pub(crate) fn choose_to_give(&mut self, first: usize, count: usize) -> Vec<ConnectionId> {
        let (before, behind) = self.slots.split_at_mut(first);
        let sockets = behind.iter_mut().chain(before).take(count).flatten();
        let is_it =
            |socket: &mut Socket| std::mem::take(&mut socket.is_active) && socket.may_move();
        sockets.filter_map(|socket| is_it(socket).then_some(socket.id)).collect()
    }

    /// Goes through all sockets, which is too much for every turn.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().flatten()
    }

    /// Returns how much a connection keeps of an incomplete packet or handshake. While a packet
    /// makes progress, it counts less than bytes that nobody takes.
    pub(crate) fn offence(&self, id: ConnectionId, now: Timestamp) -> usize {
        self.peek(id).map_or(0, |socket| {
            let bytes = socket.unfinished_bytes();
            if socket.reservation.comes_on(now) { bytes / 4 } else { bytes }
        })
    }

    /// Returns the number of slots, which is at least the number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether there is no socket. Looks at all slots, which is too much for every turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }
}
