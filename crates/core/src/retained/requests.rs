//! The retained messages that new subscriptions have asked for and that are on their way: which
//! requests there are, whose they are, and which of them may be able to go on.
//!
//! A Client can make many subscriptions, again and again. So each has at most one request, and
//! nothing that comes for one request looks through all of them: it finds the request by its name.
//! This module must never decide what is delivered.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::base::identity::SessionId;
use crate::boundary::peer_messages::Ticket;

/// All requests of a worker, each with an `R` that says more about it.
#[derive(Debug)]
pub(crate) struct Requests<R> {
    requests: HashMap<Ticket, Entry<R>, FixedState>,
    /// Requests whose SUBACK has not left, or that have not followed it yet, by their SUBSCRIBE.
    held: HashMap<Ticket, HeldRequests, FixedState>,
    sessions: HashMap<SessionId, OfSession, FixedState>,
    /// Sessions whose requests may be able to go on.
    awake: VecDeque<SessionId>,
    seed: u64,
    /// Counts live messages.
    moment: u64,
}

#[derive(Debug)]
struct Entry<R> {
    session: SessionId,
    key: Box<str>,
    /// Live messages with a later moment came after the subscription.
    since: u64,
    /// Absent while it is lent.
    request: Option<R>,
}

/// The requests of one SUBSCRIBE, in order.
#[derive(Debug, Default)]
struct HeldRequests {
    tickets: VecDeque<Ticket>,
    /// How many of them were taken to begin.
    begun: usize,
}

/// The requests of one Session.
#[derive(Debug)]
struct OfSession {
    /// By the names of their subscriptions in the Session.
    by_key: HashMap<Box<str>, Ticket, FixedState>,
    /// Those whose SUBACK has left, in order; some may have ended.
    order: VecDeque<Ticket>,
    is_awake: bool,
    /// The topics for which a live message has come meanwhile, and when: what another worker has
    /// kept may be older, and must not come after the live message.
    live: HashMap<Box<str>, u64, FixedState>,
}

impl<R> Requests<R> {
    /// Topics remembered per Session; beyond it an older message may follow a newer one.
    const LIVE_MAX: usize = 10_000;

    pub(crate) fn new(seed: u64) -> Self {
        Self {
            requests: HashMap::default(),
            held: HashMap::default(),
            sessions: HashMap::default(),
            awake: VecDeque::new(),
            seed,
            moment: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether a Session has asked for something.
    pub(crate) fn is_of(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        self.requests.values().filter_map(|entry| entry.request.as_ref())
    }

    /// All requests that are not lent, each with its Session, in no order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionId, &mut R)> {
        let entries = self.requests.values_mut();
        entries.filter_map(|entry| Some((entry.session, entry.request.as_mut()?)))
    }

    /// Adds the request of a subscription, held until the SUBACK leaves; returns the one that it
    /// replaces.
    pub(crate) fn insert(
        &mut self,
        ticket: Ticket,
        subscribe: Ticket,
        session: SessionId,
        key: &str,
        request: R,
    ) -> Option<R> {
        let seed = self.seed;
        let of_session = self.sessions.entry(session).or_insert_with(|| OfSession {
            by_key: HashMap::with_hasher(FixedState::with_seed(seed)),
            order: VecDeque::new(),
            is_awake: false,
            live: HashMap::with_hasher(FixedState::with_seed(seed)),
        });
        let old = of_session.by_key.insert(key.into(), ticket);
        let old = old.and_then(|old| self.requests.remove(&old)?.request);
        let request = Some(request);
        let entry = Entry { session, key: key.into(), since: self.moment, request };
        self.requests.insert(ticket, entry);
        self.held.entry(subscribe).or_default().tickets.push_back(ticket);
        old
    }

    /// Whether a SUBSCRIBE has requests that its SUBACK holds back.
    pub(crate) fn holds(&self, subscribe: Ticket) -> bool {
        self.held.contains_key(&subscribe)
    }

    /// Takes the next requests of a SUBSCRIBE that are to begin, at most `count`; some may have
    /// ended. If there are fewer, these are the last ones.
    pub(crate) fn take_to_begin(&mut self, subscribe: Ticket, count: usize) -> Vec<Ticket> {
        let Some(HeldRequests { tickets, begun }) = self.held.get_mut(&subscribe) else {
            return Vec::new();
        };
        let end = tickets.len().min(*begun + count);
        let taken = tickets.range(*begun..end).copied().collect();
        *begun = end;
        taken
    }

    /// Lets up to `count` of the requests that a SUBACK held back follow it, now that it has left.
    /// Returns how many there were; if fewer than `count`, these are the last ones.
    pub(crate) fn let_follow(&mut self, subscribe: Ticket, count: usize) -> usize {
        for followed in 0..count {
            let held = self.held.get_mut(&subscribe);
            let Some(ticket) = held.and_then(|held| held.tickets.pop_front()) else {
                self.held.remove(&subscribe);
                return followed;
            };
            self.follow(ticket);
        }
        count
    }

    /// Lets a request go on after those of its Session that came before it.
    fn follow(&mut self, ticket: Ticket) {
        let Some(session) = self.requests.get(&ticket).map(|entry| entry.session) else {
            return;
        };
        if let Some(of_session) = self.sessions.get_mut(&session) {
            if of_session.order.len() > 2 * of_session.by_key.len() + 16 {
                let requests = &self.requests;
                of_session.order.retain(|ticket| requests.contains_key(ticket));
            }
            of_session.order.push_back(ticket);
        }
        self.wake(session);
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<(SessionId, &mut R)> {
        let entry = self.requests.get_mut(&ticket)?;
        Some((entry.session, entry.request.as_mut()?))
    }

    /// Gives a request away, until it is given back or removed.
    pub(crate) fn lend(&mut self, ticket: Ticket) -> Option<R> {
        self.requests.get_mut(&ticket)?.request.take()
    }

    pub(crate) fn give_back(&mut self, ticket: Ticket, request: R) {
        if let Some(entry) = self.requests.get_mut(&ticket) {
            entry.request = Some(request);
        }
    }

    /// Takes the next Session whose requests may be able to go on.
    pub(crate) fn next_awake(&mut self) -> Option<SessionId> {
        let session = self.awake.pop_front()?;
        if let Some(of_session) = self.sessions.get_mut(&session) {
            of_session.is_awake = false;
        }
        Some(session)
    }

    /// Gives back the room of requests that are done.
    pub(crate) fn shrink(&mut self) {
        let Self { requests, held, sessions, awake, .. } = self;
        requests.shrink_to(requests.len() * 2);
        held.shrink_to(held.len() * 2);
        sessions.shrink_to(sessions.len() * 2);
        awake.shrink_to(awake.len() * 2);
    }

    pub(crate) fn awake_len(&self) -> usize {
        self.awake.len()
    }

    /// Notes that some request of a Session may be able to go on.
    #[inline]
    pub(crate) fn wake(&mut self, session: SessionId) {
        if self.requests.is_empty() {
            return;
        }
        if let Some(of_session) = self.sessions.get_mut(&session)
            && !of_session.is_awake
        {
            of_session.is_awake = true;
            self.awake.push_back(session);
        }
    }

    /// The request with this index in the order of a Session.
    pub(crate) fn at(&mut self, session: SessionId, index: usize) -> Option<Ticket> {
        loop {
            let of_session = self.sessions.get_mut(&session)?;
            let ticket = *of_session.order.get(index)?;
            if self.requests.contains_key(&ticket) {
                return Some(ticket);
            }
            of_session.order.remove(index);
        }
    }

    /// Notes that a live message of a topic has reached a Session.
    pub(crate) fn note_live(&mut self, session: SessionId, topic: &str) {
        if let Some(of_session) = self.sessions.get_mut(&session) {
            self.moment += 1;
            if of_session.live.len() < Self::LIVE_MAX || of_session.live.contains_key(topic) {
                of_session.live.insert(topic.into(), self.moment);
            }
        }
    }

    /// Notes that a live message of a topic reaches all Sessions that may ask for it.
    pub(crate) fn note_live_for_all(&mut self, topic: &str) {
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.note_live(session, topic));
    }

    /// Whether a live message of a topic has come since this request was made.
    pub(crate) fn is_outdated(&self, ticket: Ticket, topic: &str) -> bool {
        let Some(entry) = self.requests.get(&ticket) else {
            return false;
        };
        let of_session = self.sessions.get(&entry.session);
        let live = of_session.and_then(|of_session| of_session.live.get(topic));
        live.is_some_and(|&moment| moment > entry.since)
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<R> {
        let Entry { session, key, request, .. } = self.requests.remove(&ticket)?;
        if let Some(of_session) = self.sessions.get_mut(&session) {
            of_session.by_key.remove(&key);
            if of_session.by_key.is_empty() {
                self.sessions.remove(&session);
            }
        }
        request
    }

    /// Removes the request of a subscription that is gone.
    pub(crate) fn remove_key(&mut self, session: SessionId, key: &str) -> Option<R> {
        if self.requests.is_empty() {
            return None;
        }
        let ticket = *self.sessions.get(&session)?.by_key.get(key)?;
        self.remove(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::Requests;
    use crate::base::identity::{SessionId, WorkerId};

    fn session(slot: u32) -> SessionId {
        SessionId { worker: WorkerId::new(0), slot, generation: 1 }
    }

    #[test]
    fn a_subscription_that_is_made_again_and_again_has_one_request() {
        let mut requests = Requests::new(1);
        for ticket in 1..=1_000 {
            let old = requests.insert(ticket, 10_000 + ticket, session(1), "t", ticket);
            assert_eq!(old, ticket.checked_sub(1).filter(|&old| old > 0));
            assert_eq!(requests.let_follow(10_000 + ticket, 10), 1);
        }
        assert_eq!(requests.iter().count(), 1);
        let order = requests.sessions[&session(1)].order.len();
        assert!(order <= 20, "{order}");
        assert_eq!(requests.at(session(1), 0), Some(1_000));
        assert_eq!((requests.next_awake(), requests.next_awake()), (Some(session(1)), None));
        assert_eq!(requests.remove_key(session(1), "t"), Some(1_000));
        assert!(requests.is_empty() && requests.sessions.is_empty() && requests.held.is_empty());
    }

    #[test]
    fn a_live_message_outdates_what_was_asked_for_before_it() {
        let mut requests = Requests::new(1);
        requests.insert(1, 11, session(1), "a", ());
        requests.note_live(session(1), "topic");
        requests.note_live(session(2), "other");
        requests.insert(2, 12, session(1), "b", ());
        assert!(requests.is_outdated(1, "topic") && !requests.is_outdated(2, "topic"));
        assert!(!requests.is_outdated(1, "other"));
    }
}
