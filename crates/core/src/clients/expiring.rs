//! Expired messages give way before a message is refused for want of room: in the queue of a
//! Session, in the store, in the backlog of a shared subscription.
//!
//! Queues remember when the first of their messages may expire, so they are searched only if there
//! may be something to find. Messages in the store have to be read for that: a worker sweeps one
//! queue after the other, a page at a time. Meanwhile it takes new messages as if everything that
//! may have expired were gone. This module must never drop a message that was sent and not
//! acknowledged.

use std::collections::VecDeque;

use crate::base::drop_reason::DropReason;
use crate::base::identity::{SessionId, SessionSlot};
use crate::boundary::store_records::Fetch;
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::drops::Party;
use crate::session::outgoing::Outgoing;

/// Queues in the store that are searched for what has expired, one page at a time.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    waiting: VecDeque<SessionId>,
    /// The Session whose page was asked for, and the ticket of the question.
    current: Option<(SessionId, u64)>,
}

impl Clients {
    /// Makes room in a full queue: what has expired gives way. Ok if there is room now, or if there
    /// will be once the queue's part in the store has been swept.
    #[cold]
    pub(crate) fn make_room(
        &mut self,
        slot: SessionSlot,
        bytes: usize,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let Some(outgoing) = self.sessions[slot as usize].outgoing_mut() else {
            return Ok(());
        };
        for waiting in outgoing.take_expired(turn.now) {
            let topic = waiting.delivery.message.topic();
            self.note_drop(Party::Receiver(slot), topic, DropReason::Expired, turn);
            self.note_failure(slot, waiting.delivery.group);
            self.forget_stored(slot, waiting.sequence);
        }
        let extent = self.extent(u16::MAX);
        let outgoing = self.sessions[slot as usize].make_outgoing(extent);
        let refusal = outgoing.check_room(bytes, &self.limits);
        let (session, is_allowed) = match refusal {
            Ok(()) => (None, true),
            Err(_) => {
                let begins = outgoing.begin_sweep(turn.now);
                let is_allowed = outgoing.may_overrun(bytes, &self.limits, turn.now);
                (begins.then(|| self.session_id(slot)), is_allowed)
            }
        };
        self.sweeps.waiting.extend(session);
        self.run_sweeps(turn);
        self.fetch_more(slot, turn);
        if is_allowed { Ok(()) } else { refusal }
    }

    /// Whether this Session and ticket are those of the page that is on its way. If so, none is
    /// any more.
    pub(crate) fn end_sweep_fetch(&mut self, session: SessionId, ticket: u64) -> bool {
        let is_it = self.sweeps.current == Some((session, ticket));
        self.sweeps.current = self.sweeps.current.filter(|_| !is_it);
        is_it
    }

    /// Goes on with a queue later.
    pub(crate) fn sweep_on(&mut self, session: SessionId) {
        self.sweeps.waiting.push_back(session);
    }

    /// Asks the store for the next page, if none is on its way.
    pub(crate) fn run_sweeps(&mut self, turn: &mut Turn) {
        while self.sweeps.current.is_none()
            && let Some(session) = self.sweeps.waiting.pop_front()
        {
            let Some(slot) = self.slot_of(session) else {
                continue;
            };
            let ticket = self.last_fetch + 1;
            let session_state = &mut self.sessions[slot as usize];
            if let Some(owner) = session_state.owner()
                && let Some(outgoing) = session_state.outgoing_mut()
                && let Some(from) = outgoing.ask_page(ticket)
            {
                self.last_fetch = ticket;
                self.sweeps.current = Some((session, ticket));
                let (messages_max, bytes_max) = Outgoing::fetch_size();
                turn.fx.fetches.push(Fetch {
                    owner,
                    session,
                    ticket,
                    from,
                    messages_max,
                    bytes_max,
                });
            }
        }
    }
}
