//! Sessions that go from one worker to another, with their Network Connections or without.
//!
//! 1. The worker that has the Session says which filters it has (`Prepare`). The new worker makes a
//!    place for it and tells all workers that it wants them; when they know (a fence), it answers
//!    (`Prepared`). From then on both get these messages, and only the old one uses them.
//! 2. The Session comes to rest: nothing more is read from its Client, and whatever the worker owes
//!    it or the store is done. If that takes too long, the Session stays.
//! 3. All workers switch, each at a moment of its own: `Switch`, `Switched`. What a worker had sent
//!    before its moment is for the old worker, which still takes it; what it sends later is for the
//!    new one, which puts it by. From here on there is no way back, and nothing is waited for but
//!    the other workers' next turns. Whatever would end the Session or its Network Connection ends
//!    it at the new worker.
//! 4. When the old worker has heard of all these moments, the Session leaves, behind the commit
//!    with everything that was kept for it. The new worker goes on with what it has put by.
//!
//! Rounds of which something is put by wait for the Session to arrive, and no Session waits for a
//! round once the workers switch: so nobody waits for each other.
//!
//! If a worker goes for good meanwhile, nobody waits for its switch (`peer_gone`).
//!
//! A Session keeps its name (`SessionId`). Only messages of shared subscriptions are sent to a
//! Session by name; the workers remember where those are that have moved.
//! docs/decisions/0018-a-session-moves-between-two-moments-of-each-worker.md has the reasons.

mod arriving;
mod leaving;
mod peer_gone;

use crate::base::identity::SessionId;
use crate::base::identity::{ConnectionId, WorkerId};
use crate::base::time::Timestamp;
use crate::boundary::peer_messages::{MovePeer, Ticket, WantedFilter};
use crate::boundary::store_records::Round;
use crate::boundary::turn::Turn;
use crate::clients::crossings::PostponedEnd;
use crate::connection::Connection;
use crate::core::Core;
use crate::ground::Ground;
use crate::route::Router;
use crate::session::Session;

/// A Session that has left its worker, with everything that it has. It is opaque to the driver,
/// which carries it to the worker [`MovedSession::to`].
#[derive(Debug)]
pub struct MovedSession {
    session: SessionId,
    to: WorkerId,
    state: Session,
    connection: Option<Connection>,
    ended: Option<PostponedEnd>,
    /// The connection that it had at the old worker.
    left: Option<ConnectionId>,
    /// The edition of the broker's own topics that the old worker had.
    edition: u64,
}

/// Why a Session does not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveRefusal {
    /// There is no such Session here.
    Unknown,
    /// It cannot go now: its Client is just connecting, it is on its way already, too many are, or
    /// memory is short.
    Unready,
    /// It has more subscriptions, or other things, than can go in one piece.
    TooLarge,
}

/// The Sessions of a worker that are to go, and those that are to come.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    leaving: Vec<Leaving>,
    arriving: Vec<Arriving>,
    evicted: Vec<MovedSession>,
    last_ticket: Ticket,
}

/// A Session that is to come from another worker.
#[derive(Debug)]
struct Arriving {
    session: SessionId,
    from: WorkerId,
    /// As they are in the tree.
    filters: Vec<WantedFilter>,
}

#[derive(Debug)]
struct Leaving {
    session: SessionId,
    to: WorkerId,
    ticket: Ticket,
    filters: Vec<WantedFilter>,
    since: Timestamp,
    stage: Stage,
}

/// How far a Session has come that is to go.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The new worker prepares.
    Preparing,
    /// Something is still to be done that may take its Client's help.
    Busy,
    /// Nothing is read from its Client. Once nothing is held back, what was put `behind` this round
    /// has to be on its way to the store.
    Quiet { connection: Option<ConnectionId>, behind: Option<Round> },
    /// The workers switch. When all have, so many fan-outs have to be done.
    Switching { fan_outs: Option<u64> },
}

impl MovedSession {
    /// The worker that it goes to.
    pub fn to(&self) -> WorkerId {
        self.to
    }

    /// The name that its Network Connection had at the old worker.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.left
    }

    /// The Client Identifier.
    pub fn client_id(&self) -> &str {
        &self.state.identity().client_id
    }
}

impl Moves {
    /// Whether the next turn has something to do for Sessions that are to go.
    pub(crate) fn has_work(&self, ground: &Ground, router: &Router) -> bool {
        let may_go_on = |leaving: &Leaving| match leaving.stage {
            _ if ground.clients.slot_of(leaving.session).is_none() => true, // it has ended
            Stage::Quiet { behind: Some(round), .. } => ground.clients.rounds.has_left(round),
            Stage::Switching { fan_outs: Some(count) } => router.put_off.done() >= count,
            _ => false,
        };
        !self.evicted.is_empty() || self.leaving.iter().any(may_go_on)
    }

    /// How many subscriptions the tree has for Sessions that are not here yet.
    pub(crate) fn subscriptions_to_come(&self) -> usize {
        self.arriving.iter().map(|it| it.filters.len()).sum()
    }

    /// When the first Session has to stay that has not come to rest by then.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let can_stay = |it: &&Leaving| !matches!(it.stage, Stage::Switching { .. });
        let waiting = self.leaving.iter().filter(can_stay);
        waiting.map(|it| it.since + Core::LEAVING_PATIENCE_MS).min()
    }
}

impl Core {
    /// Whether a Session of this Client is on its way from here to another worker. The driver lets
    /// a CONNECT of this Client wait until it is not.
    pub fn is_moving(&self, client_id: &str) -> bool {
        let slot = self.ground.clients.session_by_client_id(client_id);
        let session = slot.map(|slot| self.ground.clients.session_id(slot));
        session.is_some_and(|session| self.moves.leaving.iter().any(|it| it.session == session))
    }

    pub(crate) fn is_any_moving(&self) -> bool {
        !self.moves.leaving.is_empty()
            || !self.moves.evicted.is_empty()
            || self.ground.clients.crossings.is_any_under_way()
    }

    /// Tells the other workers that a Session has ended, if they know that it had moved.
    pub(crate) fn tell_over(&mut self, session: SessionId, turn: &mut Turn) {
        let crossings = &mut self.ground.clients.crossings;
        if crossings.is_known_to_others(session) {
            crossings.forget_whereabouts(session);
            for worker in self.ground.other_workers() {
                turn.fx.send(worker, MovePeer::Over { session }.into());
            }
        }
    }

    /// Handles what another worker says about a Session that moves.
    pub(crate) fn handle_move_peer(&mut self, from: WorkerId, message: MovePeer, turn: &mut Turn) {
        match message {
            MovePeer::Prepare { ticket, session } => self.prepare(from, ticket, *session, turn),
            MovePeer::Prepared { ticket } => self.note_prepared(ticket),
            MovePeer::CallOff { session } => self.handle_call_off(session, turn),
            MovePeer::Switch { session, to, online } => {
                self.switch_for(from, session, to, online, turn);
            }
            MovePeer::Switched { session } => self.note_switched(session, from),
            MovePeer::Over { session } => self.ground.clients.crossings.forget_whereabouts(session),
        }
    }

    fn note_switched(&mut self, session: SessionId, worker: WorkerId) {
        self.ground.clients.crossings.note_switched(session, worker);
        let members = self.ground.clients.rounds.members();
        self.ground.clients.crossings.end_complete(members);
    }
}
