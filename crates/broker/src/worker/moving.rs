//! Sessions that go to another worker, and those that come, with their sockets.
//!
//! The core decides when a Session leaves. Its socket is taken out in the same turn, before
//! anything else can get the slot of its connection; both are sent behind the turn's commits and
//! batches. The directory lets every CONNECT of the Client wait from the beginning until the new
//! worker has taken the Session in: only then, and there, does the owner change. A CONNECT that
//! waits has the move called off, if that can still be done.

use std::mem;
use std::sync::Arc;

use midge_codec::ReasonCode;
use midge_core::{ConnectionId, MovedSession, WorkerId};

use crate::inbox::{Letter, MovingSocket};
use crate::worker::Worker;
use crate::worker::sockets::Socket;

/// What a worker knows of the Sessions that are to leave it.
#[derive(Default)]
pub(crate) struct Moving {
    /// The Clients whose Sessions have begun to move.
    begun: Vec<Box<str>>,
    /// Sessions that have left and are not sent yet.
    left: Vec<(Box<MovedSession>, Option<Box<MovingSocket>>)>,
    /// Requests about Clients whose Sessions are on their way: where they will be is not known yet.
    followers: Vec<Letter>,
}

impl Moving {
    pub(crate) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Takes the requests that have waited, each to be looked at again.
    pub(crate) fn take_followers(&mut self) -> Vec<Letter> {
        mem::take(&mut self.followers)
    }
}

impl Worker {
    /// Begins to give the Session of a Client to another worker. Returns false if it stays.
    pub(crate) fn begin_move(&mut self, client_id: &str, to: WorkerId) -> bool {
        let Some(directory) = self.node.directory.clone() else {
            return false;
        };
        if !self.may_move(client_id) || !directory.begin_move(client_id, self.id) {
            return false;
        }
        if self.core.evict_session(client_id, to, &mut self.turn).is_err() {
            directory.end_move(client_id, self.id, self.core.owns(client_id));
            return false;
        }
        self.moving.begun.push(client_id.into());
        true
    }

    /// Whether the socket of a Client can be given to another worker. A QUIC connection stays: its
    /// streams are opened at the worker that has it.
    fn may_move(&mut self, client_id: &str) -> bool {
        let connection = self.core.connection_of(client_id);
        let socket = connection.map(|id| self.sockets.of(id));
        socket.is_none_or(|socket| socket.is_some_and(|it| it.may_move()))
    }

    /// Takes the sockets of the Sessions that have left the core in this turn, and notes which
    /// Sessions stay after all.
    pub(crate) fn take_evicted(&mut self) {
        if self.moving.begun.is_empty() {
            return;
        }
        while let Some(moved) = self.core.take_evicted() {
            let socket = moved.connection().and_then(|id| self.take_socket(id));
            self.moving.begun.retain(|client_id| **client_id != *moved.client_id());
            self.moving.left.push((Box::new(moved), socket));
        }
        let (core, id) = (&self.core, self.id);
        let directory = &self.node.directory;
        self.moving.begun.retain(|client_id| {
            let is_moving = core.is_moving(client_id);
            if let (false, Some(directory)) = (is_moving, directory) {
                directory.end_move(client_id, id, core.owns(client_id));
            }
            is_moving
        });
    }

    fn take_socket(&mut self, id: ConnectionId) -> Option<Box<MovingSocket>> {
        let mut socket = self.sockets.remove(id)?;
        self.end_reservation(&socket.reservation);
        if self.poller.deregister(&mut socket.stream).is_err() {
            self.count_closed(false);
            return None;
        }
        let Socket { stream, terms, opened, partial, ends, is_broken, .. } = socket;
        Some(Box::new(MovingSocket { stream, terms, opened, partial, ends, is_broken }))
    }

    /// Sends the Sessions that have left. What the other worker needs to go on with them is on its
    /// way already.
    pub(crate) fn send_evicted(&mut self) {
        for (session, socket) in mem::take(&mut self.moving.left) {
            let to = session.to();
            if socket.is_some() {
                self.count_handed_over(to);
            }
            self.node.inboxes[to.index()].send(Letter::Moved { session, socket });
        }
    }

    /// Takes in a Session that another worker has given to this one.
    pub(crate) fn adopt(&mut self, session: MovedSession, socket: Option<Box<MovingSocket>>) {
        let client_id = Box::from(session.client_id());
        let id = self.core.adopt_session(session, &mut self.turn);
        if let Some(directory) = &self.node.directory {
            directory.end_move(&client_id, self.id, self.core.owns(&client_id));
        }
        match (id, socket) {
            (Some(id), Some(socket)) => self.adopt_socket(id, *socket),
            (Some(id), None) => self.core.handle_closed(id, &mut self.turn),
            (None, Some(_)) => self.count_closed(false),
            (None, None) => (),
        }
    }

    fn adopt_socket(&mut self, id: ConnectionId, moved: MovingSocket) {
        let MovingSocket { mut stream, terms, opened, partial, ends, is_broken } = moved;
        if let Err(error) = self.poller.register(&mut stream, id.slot()) {
            log::error!("{}: cannot watch the connection: {error}", stream.address());
            self.core.handle_closed(id, &mut self.turn);
            return self.count_closed(false);
        }
        let (is_postponed, place) = (!partial.is_empty(), Arc::clone(&terms.place));
        let socket = Socket::new(id, stream, terms, opened);
        let has_asked = true;
        let socket = Socket { partial, is_postponed, ends, is_broken, has_asked, ..socket };
        self.sockets.insert(socket);
        // Something may have come while nobody watched it.
        self.readable.push_back(id);
        if place.is_removed() {
            // Its listener went while the Session was on its way.
            self.core.end_connection(id, ReasonCode::AdministrativeAction, &mut self.turn);
        }
    }

    /// Lets a request about a Client follow its Session: to the worker that it has moved to, or
    /// into the next turn if it is on its way. Returns what is to be handled here.
    pub(crate) fn follow(&mut self, letter: Letter) -> Option<Letter> {
        let client_id = match &letter {
            Letter::Disconnect { client_id, .. }
            | Letter::Client { client_id, .. }
            | Letter::Move { client_id, .. } => client_id,
            _ => return Some(letter),
        };
        let Some(directory) = self.node.directory.as_ref() else {
            return Some(letter);
        };
        if self.core.has_session(client_id) {
            return Some(letter);
        }
        if directory.is_moving(client_id) {
            self.moving.followers.push(letter);
            return None;
        }
        match directory.owner(client_id).filter(|&owner| owner != self.id) {
            Some(owner) => {
                self.node.inboxes[owner.index()].send(letter);
                None
            }
            None => Some(letter),
        }
    }
}
