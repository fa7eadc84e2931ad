//! CONNECTs that wait for what their Clients have sent on an old connection.
//!
//! CONNECTs of one Client Identifier stand in a line and are handled in the order in which they
//! came. Only the first of a line is read, so the work of a turn does not grow with the length of
//! the lines. The wait is bounded: an old connection that keeps sending is read for a limited
//! number of turns, and an old connection with an incomplete packet is waited for once by the whole
//! line. An old connection that itself waits for its CONNACK is waited for, so that each CONNECT of
//! the line is answered, unless the disk takes too long.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use midge_core::{ConnectionId, Timestamp};

use crate::worker::Worker;
use crate::worker::sockets::Socket;

/// The lines of a worker. There are at most as many places as connections.
#[derive(Default)]
pub(crate) struct ConnectLines {
    /// The lines by Client Identifier; none of them is empty.
    lines: HashMap<Arc<str>, Line>,
    /// Every connection that stands in a line, with the Client Identifier of the line.
    places: HashMap<ConnectionId, Arc<str>>,
    /// First ones of lines whose old connections cannot be read at present.
    held: Vec<ConnectionId>,
    /// When `held` was last looked at.
    looked_at: Timestamp,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<ConnectionId>,
    /// The old connection that is waited for; `turns` counts the turns of waiting while it was
    /// read.
    old: Option<ConnectionId>,
    turns: u16,
    /// For how many turns the line waited for old connections that could not be read.
    held_turns: u16,
    /// For how many turns the line waited for CONNACKs that wait for the store.
    unanswered_turns: u16,
}

/// Why a CONNECT waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The old connection is read on.
    Reading,
    /// Something has come on the old connection that cannot be handled at present.
    Held,
    /// The old connection's own CONNACK waits for the store.
    Unanswered,
}

impl ConnectLines {
    /// The most turns for which CONNECTs wait for one old connection: more than a socket holds can
    /// be read in them. Turns in which nothing can be read are [`Worker::HELD_CONNECTS_PAUSE`]
    /// apart, which makes a quarter of a second.
    const TURNS_MAX: u16 = 256;

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether lines have to be looked at again even if nothing comes in the meantime.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns whether another connection is the first of this line.
    fn is_behind(&self, id: ConnectionId, client_id: &str) -> bool {
        let first = self.lines.get(client_id).and_then(|line| line.waiting.front());
        first.is_some_and(|&first| first != id)
    }

    /// Takes a place at the end of the line, if the connection has none yet.
    fn join(&mut self, id: ConnectionId, client_id: &str) -> &mut Line {
        let known = self.lines.get_key_value(client_id).map(|(name, _)| Arc::clone(name));
        let client_id = known.unwrap_or_else(|| client_id.into());
        let line = self.lines.entry(Arc::clone(&client_id)).or_default();
        if self.places.insert(id, client_id).is_none() {
            line.waiting.push_back(id);
        }
        line
    }

    /// Takes a place, as the connection that waits for this old connection.
    fn join_behind(&mut self, id: ConnectionId, client_id: &str, old: ConnectionId) {
        let line = self.join(id, client_id);
        if line.old.replace(old) != Some(old) {
            line.turns = 0;
        }
    }

    /// Gives up a place, if the connection has one. Returns the next one if the first of a line has
    /// left.
    fn leave(&mut self, id: ConnectionId) -> Option<ConnectionId> {
        if self.is_empty() {
            return None; // nearly always
        }
        let client_id = self.places.remove(&id)?;
        let line = self.lines.get_mut(&client_id)?;
        let place = line.waiting.iter().position(|&other| other == id)?;
        line.waiting.remove(place);
        let next = line.waiting.front().copied();
        if next.is_none() {
            self.lines.remove(&client_id);
        }
        if self.places.is_empty() {
            // No memory is kept. Those that wait for a Session to move stand in no line.
            let (held, looked_at) = (std::mem::take(&mut self.held), self.looked_at);
            *self = Self { held, looked_at, ..Self::default() };
        }
        next.filter(|_| place == 0)
    }

    /// Returns whether the line of this Client may wait for one turn more, for this reason.
    fn may_wait(&self, client_id: &str, old: ConnectionId, reason: Waiting) -> bool {
        let line = self.lines.get(client_id);
        line.is_none_or(|line| {
            let turns = match reason {
                Waiting::Reading if line.old == Some(old) => line.turns,
                Waiting::Reading => 0,
                Waiting::Held => line.held_turns,
                Waiting::Unanswered => line.unanswered_turns,
            };
            turns < Self::TURNS_MAX
        })
    }

    /// Returns whether nobody in the line of this Client has met this old connection yet.
    fn is_first_behind(&self, old: ConnectionId, client_id: &str) -> bool {
        self.lines.get(client_id).is_none_or(|line| line.old != Some(old))
    }

    fn has_place(&self, id: ConnectionId) -> bool {
        self.places.contains_key(&id)
    }

    fn line_of(&mut self, id: ConnectionId) -> Option<&mut Line> {
        self.places.get(&id).and_then(|client_id| self.lines.get_mut(client_id))
    }

    /// Counts a turn for which the first of a line has to wait while the old connection is read.
    fn count_turn(&mut self, id: ConnectionId) {
        if let Some(line) = self.line_of(id) {
            line.turns = line.turns.saturating_add(1);
        }
    }

    /// Counts a turn for which the first of a line has to wait while nothing can be read.
    fn hold(&mut self, id: ConnectionId, reason: Waiting) {
        if let Some(line) = self.line_of(id) {
            let is_unanswered = reason == Waiting::Unanswered;
            let turns =
                if is_unanswered { &mut line.unanswered_turns } else { &mut line.held_turns };
            *turns = turns.saturating_add(1);
        }
        self.held.push(id);
    }

    /// Takes the connections that are held, if it is time to look at them again.
    fn take_held(&mut self, now: Timestamp) -> Vec<ConnectionId> {
        if self.held.is_empty() || now == self.looked_at {
            return Vec::new();
        }
        self.looked_at = now;
        std::mem::take(&mut self.held)
    }
}

impl Worker {
    /// The most reads of an old connection in a turn on behalf of one CONNECT that waits for it.
    const READS_BEFORE_CONNECT_MAX: usize = 64;
    /// The part of a turn's share of bytes that a CONNECT uses up each time it is looked at.
    const CONNECT_BYTES: usize = 4096;

    /// Reads a socket that was taken off the list. If its CONNECT has to wait for an old
    /// connection, that is read first, in the same turn: otherwise a storm of CONNECTs would take
    /// as many turns as there are CONNECTs.
    pub(crate) fn read_listed(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        socket.is_queued = false;
        if socket.is_parked {
            return;
        }
        self.comes_behind = None;
        self.read_socket(id);
        for _ in 0..Self::READS_BEFORE_CONNECT_MAX {
            let Some(old) = self.comes_behind.filter(|_| self.has_share()) else {
                break;
            };
            self.read_socket(old);
            self.comes_behind = None;
            self.read_socket(id);
        }
        if self.comes_behind.is_some() {
            self.connect_lines.count_turn(id);
        }
    }

    /// Returns whether a CONNECT must not be handled yet, because something that has come on an old
    /// connection of the same Client counts before it, or another CONNECT of that Client does.
    pub(crate) fn has_connect_to_wait(&mut self, id: ConnectionId, client_id: &str) -> bool {
        if !self.connect_lines.is_empty() {
            self.turn_bytes += Self::CONNECT_BYTES;
        }
        if self.connect_lines.is_behind(id, client_id) {
            self.connect_lines.join(id, client_id);
            self.park(id);
            return true;
        }
        let old = self.core.connection_of(client_id).filter(|&old| old != id);
        let reason = old.and_then(|old| Some((old, self.what_to_wait_for(old, client_id)?)));
        let Some((old, (stream, reason))) = reason else {
            self.go_on_with_connect(id);
            return false;
        };
        self.connect_lines.join_behind(id, client_id, old);
        if reason == Waiting::Reading {
            self.comes_behind = Some(stream);
            self.postpone(id);
        } else {
            self.park(id);
            self.connect_lines.hold(id, reason);
        }
        true
    }

    /// Returns what a CONNECT has to wait for on an old connection of its Client, if anything: a
    /// stream of that connection, and why.
    fn what_to_wait_for(
        &mut self,
        old: ConnectionId,
        client_id: &str,
    ) -> Option<(ConnectionId, Waiting)> {
        if self.connect_lines.is_first_behind(old, client_id) {
            self.suppose_readable(old);
        }
        let lines = &self.connect_lines;
        let may_wait = |reason| lines.may_wait(client_id, old, reason);
        let is_connected = self.core.protocol(old).is_some_and(|(_, is_connected)| is_connected);
        if !is_connected {
            return may_wait(Waiting::Unanswered).then_some((old, Waiting::Unanswered));
        }
        let sockets = &self.sockets;
        let is_to_be_read = |id| sockets.peek(id).is_some_and(Socket::is_to_be_read);
        if let Some(stream) = self.core.find_stream(old, &is_to_be_read)
            && may_wait(Waiting::Reading)
        {
            return Some((stream, Waiting::Reading));
        }
        let is_held = |id| sockets.has_unhandled(id) && !is_to_be_read(id);
        let stream = self.core.find_stream(old, &is_held)?;
        may_wait(Waiting::Held).then_some((stream, Waiting::Held))
    }

    /// Marks an old connection as readable. Something may have come on it before the CONNECT, but
    /// after this turn looked at the sockets: only a read can tell.
    fn suppose_readable(&mut self, old: ConnectionId) {
        loop {
            let sockets = &self.sockets;
            let is_quiet = |id| sockets.peek(id).is_some_and(|it| it.is_reading && !it.is_readable);
            let quiet = self.core.find_stream(old, &is_quiet);
            let Some(socket) = quiet.and_then(|stream| self.sockets.of(stream)) else {
                return;
            };
            socket.is_readable = true;
        }
    }

    /// Ends the wait of a CONNECT. It came within its deadline, so the deadline begins anew for
    /// whoever decides about it.
    fn go_on_with_connect(&mut self, id: ConnectionId) {
        if self.connect_lines.has_place(id)
            && let Some(socket) = self.sockets.of(id)
        {
            let until = self.turn.now + u64::from(socket.terms.connect_deadline_ms);
            self.core.set_connect_deadline(id, until);
            self.leave_connect_line(id);
        }
    }

    /// Takes a connection out of its line, because its CONNECT is decided or it has ended. The next
    /// one in the line is read, in this turn if the turn has begun to read.
    pub(crate) fn leave_connect_line(&mut self, id: ConnectionId) {
        let next = self.connect_lines.leave(id).and_then(|next| self.sockets.of(next));
        if let Some(socket) = next {
            socket.is_parked = false;
            if socket.goes_on_list() {
                self.readable.push_front(socket.id);
                self.to_read += 1;
            }
        }
    }

    /// Has the CONNECTs read again whose old connections could not be read.
    pub(crate) fn look_at_held_connects(&mut self) {
        for id in self.connect_lines.take_held(self.turn.now) {
            if let Some(socket) = self.sockets.of(id) {
                socket.is_parked = false;
                self.list(id);
            }
        }
    }

    /// Lets a CONNECT wait because the Session of its Client is on its way to another worker.
    pub(crate) fn hold_connect(&mut self, id: ConnectionId) {
        self.park(id);
        self.connect_lines.hold(id, Waiting::Held);
    }

    /// Stops reading a connection until it is the turn of its CONNECT in the line.
    fn park(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.of(id) {
            socket.is_postponed = true;
            socket.is_parked = true;
        }
    }
}
