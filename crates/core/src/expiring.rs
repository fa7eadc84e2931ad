//! Expired messages give way before a message is refused for want of room: in the queue of a
//! Session, in the store, in the backlog of a shared subscription.
//!
//! Queues remember when the first of their messages may expire, so they are searched only if there
//! may be something to find. Messages in the store have to be read for that: a worker sweeps one
//! queue after the other, a page at a time. Meanwhile it takes new messages as if everything that
//! may have expired were gone. This module must never drop a QoS 2 message that its Client may
//! already know.

use std::collections::VecDeque;

use midge_codec::QoS;

use crate::clients::Clients;
use crate::core::Core;
use crate::drops::{DropReason, Party};
use crate::identity::SessionId;
use crate::outgoing::Outgoing;
use crate::stored::{Fetch, Fetched, FetchedEntry, Owner, StoreOp, StoredDelivery};
use crate::subscription_tree::{GroupId, SessionSlot};
use crate::time::Timestamp;
use crate::turn::Turn;

/// Messages of a queue that have an expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiring {
    /// At least as many as there are.
    pub(crate) count: usize,
    /// None of them expires earlier.
    earliest: Option<Timestamp>,
}

/// Queues in the store that are searched for what has expired, one page at a time.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    waiting: VecDeque<SessionId>,
    /// The Session whose page was asked for, and the ticket of the question.
    current: Option<(SessionId, u64)>,
}

impl Expiring {
    /// Stands for `count` messages whose expiry is not known.
    pub(crate) fn unknown(count: usize) -> Self {
        let earliest = (count > 0).then_some(Timestamp::from_millis(0));
        Self { count, earliest }
    }

    #[inline]
    pub(crate) fn add(&mut self, expires_at: Option<Timestamp>) {
        if let Some(at) = expires_at {
            self.count += 1;
            self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        }
    }

    /// Takes a counted message off, because it is gone.
    pub(crate) fn remove(&mut self, expires_at: Option<Timestamp>) {
        if expires_at.is_some() {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// How many may have expired by now.
    pub(crate) fn may_be_over(&self, now: Timestamp) -> usize {
        if self.earliest.is_some_and(|at| at <= now) { self.count } else { 0 }
    }
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
        let Some(outgoing) = &mut self.sessions[slot as usize].outgoing else {
            return Ok(());
        };
        for waiting in outgoing.take_expired(turn.now) {
            let topic = waiting.delivery.message.topic();
            self.note_drop(Party::Receiver(slot), topic, DropReason::Expired, turn);
            self.note_failure(slot, waiting.delivery.group);
            self.forget_stored(slot, waiting.sequence);
        }
        let extent = self.extent(u16::MAX);
        let outgoing = self.sessions[slot as usize].outgoing_mut(extent);
        let refusal = outgoing.has_room(bytes, &self.limits);
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

    /// Asks the store for the next page, if none is on its way.
    fn run_sweeps(&mut self, turn: &mut Turn) {
        while self.sweeps.current.is_none()
            && let Some(session) = self.sweeps.waiting.pop_front()
        {
            let Some(slot) = self.slot_of(session) else {
                continue;
            };
            let ticket = self.last_fetch + 1;
            let session_state = &mut self.sessions[slot as usize];
            let owner = Owner::Session(session_state.number);
            let outgoing = session_state.outgoing.as_mut();
            if let Some(from) = outgoing.and_then(|outgoing| outgoing.ask_page(ticket)) {
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

impl Core {
    /// Takes a page if it belongs to the queue that is being swept. True if it does.
    pub(crate) fn take_page(&mut self, fetched: &Fetched, turn: &mut Turn) -> bool {
        let is_it = Some((fetched.session, fetched.ticket)) == self.clients.sweeps.current;
        if is_it {
            self.clients.sweeps.current = None;
            if let Some(slot) = self.clients.slot_of(fetched.session) {
                self.sweep_page(slot, fetched, turn);
            }
            self.clients.run_sweeps(turn);
        }
        is_it
    }

    fn sweep_page(&mut self, slot: SessionSlot, page: &Fetched, turn: &mut Turn) {
        let Some(outgoing) = &mut self.clients.session(slot).outgoing else {
            return;
        };
        if !outgoing.takes_page(page.ticket) {
            return; // a connection has begun or ended meanwhile
        }
        let over: Vec<(u64, &StoredDelivery)> = {
            let over =
                page.entries.iter().filter_map(|FetchedEntry { sequence, delivery, .. }| {
                    let delivery = delivery.as_ref()?;
                    outgoing.sweep(*sequence, delivery, turn.now).then_some((*sequence, delivery))
                });
            over.collect()
        };
        let goes_on = outgoing.end_page(page.next, turn.now);
        for (sequence, delivery) in over {
            let group = delivery.group.and_then(|number| self.groups.by_number(number));
            let topic = delivery.message.topic();
            self.clients.note_drop(Party::Receiver(slot), topic, DropReason::Expired, turn);
            self.clients.note_failure(slot, group);
            self.clients.forget_stored(slot, sequence);
        }
        if goes_on {
            self.clients.sweeps.waiting.push_back(page.session);
        }
        // Sending goes first: it may end the sweep, which begins anew when needed.
        self.go_on(slot, turn);
    }

    /// Makes room in the full backlog of a shared subscription: what has expired gives way.
    #[cold]
    pub(crate) fn make_room_in_group(&mut self, id: GroupId, turn: &mut Turn) {
        for kept in self.groups.take_expired(id, turn.now) {
            let topic = kept.message.topic();
            self.clients.note_drop(Party::Nobody, topic, DropReason::Expired, turn);
            if kept.sequence > 0 {
                let (owner, sequence) = (Owner::Group(id.number), kept.sequence);
                self.clients.rounds.keep(StoreOp::Finished { owner, sequence });
            }
        }
    }
}

/// Whether an expired message may be dropped: a QoS 2 message that its Client may already know must
/// be completed [MQTT-4.3.3-7].
pub(crate) fn may_drop(qos: QoS, may_be_sent: bool) -> bool {
    qos < QoS::ExactlyOnce || !may_be_sent
}

#[cfg(test)]
mod tests {
    use super::Expiring;
    use crate::time::Timestamp;

    #[test]
    fn what_may_have_expired_is_known_by_the_first_one() {
        let at = Timestamp::from_millis;
        let mut expiring = Expiring::default();
        expiring.add(None);
        assert_eq!(expiring.may_be_over(at(u64::MAX)), 0);
        expiring.add(Some(at(7)));
        expiring.add(Some(at(5)));
        assert_eq!((expiring.may_be_over(at(4)), expiring.may_be_over(at(5))), (0, 2));
        expiring.remove(Some(at(5)));
        assert_eq!(expiring.may_be_over(at(5)), 1, "perhaps");
        assert_eq!(Expiring::unknown(3).may_be_over(at(0)), 3);
    }
}
