//! SUBSCRIBE and UNSUBSCRIBE packets whose answers wait:
//!
//! - A SUBACK leaves only once every worker of the node knows of the subscription, and the homes of
//!   shared and exclusive ones have answered.
//! - An UNSUBACK leaves only once no worker chooses the Session any more, and the messages it was
//!   chosen for have come.
//! - Both leave only once the store knows what they say.

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, PacketType, ReasonCode};

use crate::base::identity::{ConnectionId, SessionId, WorkerId};
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{Peer, PeerMessage, Ticket};
use crate::boundary::turn::Turn;

/// A SUBSCRIBE whose SUBACK waits, or an UNSUBSCRIBE whose UNSUBACK does.
#[derive(Debug)]
pub(crate) struct PendingSubscribe {
    answer: PacketType,
    /// The stream that the packet came on, and the control stream.
    streams: (ConnectionId, ConnectionId),
    session: SessionId,
    /// Absent for subscriptions that no packet asked for.
    packet_id: Option<PacketIdentifier>,
    filters: Vec<Box<str>>,
    reason_codes: Vec<ReasonCode>,
    /// How many answers, fences and receipts are outstanding.
    waiting: usize,
    /// Whether the first retained messages were asked for already.
    fetches: bool,
    /// Whether a fence has to follow the answers: the home of a shared subscription has told all
    /// workers, but what they sent before that may still be on its way.
    needs_fence: bool,
}

/// One filter of a pending SUBSCRIBE that another worker decides about, or of a pending UNSUBSCRIBE
/// that it has a part in.
#[derive(Debug)]
pub(crate) struct RemoteStep {
    /// The worker that was asked.
    pub(crate) home: WorkerId,
    pub(crate) subscribe: Ticket,
    pub(crate) index: usize,
    /// The subscription's name in its Session.
    pub(crate) key: Box<str>,
    /// Whether the Session had no such exclusive subscription before.
    pub(crate) is_new: bool,
}

/// What happens when all workers have passed a fence.
#[derive(Debug, Default)]
struct BehindFence {
    /// The workers that have not passed it.
    awaited: WorkerSet,
    subscribes: Vec<Ticket>,
    answers: Vec<(WorkerId, PeerMessage)>,
}

#[derive(Debug, Default)]
pub(crate) struct Pending {
    subscribes: HashMap<Ticket, PendingSubscribe, foldhash::fast::FixedState>,
    steps: HashMap<Ticket, RemoteStep, foldhash::fast::FixedState>,
    fences: HashMap<Ticket, BehindFence, foldhash::fast::FixedState>,
    /// Gathers over a turn; becomes a fence at its end.
    open: BehindFence,
    last_ticket: Ticket,
}

impl PendingSubscribe {
    /// Begins to gather an answer; it waits for one arrival, until all filters are done.
    pub(crate) fn new(
        answer: PacketType,
        streams: (ConnectionId, ConnectionId),
        session: SessionId,
        packet_id: Option<PacketIdentifier>,
    ) -> Self {
        Self {
            answer,
            streams,
            session,
            packet_id,
            filters: Vec::new(),
            reason_codes: Vec::new(),
            waiting: 1,
            fetches: false,
            needs_fence: false,
        }
    }

    /// Whether it is a SUBACK or an UNSUBACK.
    pub(crate) fn answer(&self) -> PacketType {
        self.answer
    }

    /// The stream that the packet came on, and the control stream.
    pub(crate) fn streams(&self) -> (ConnectionId, ConnectionId) {
        self.streams
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Absent for subscriptions that no packet asked for.
    pub(crate) fn packet_id(&self) -> Option<PacketIdentifier> {
        self.packet_id
    }

    pub(crate) fn reason_codes(&self) -> &[ReasonCode] {
        &self.reason_codes
    }

    /// How many filters of a SUBSCRIBE were noted so far.
    pub(crate) fn filters(&self) -> usize {
        self.filters.len()
    }

    /// Returns the filters of a SUBSCRIBE with what became of them.
    pub(crate) fn into_outcomes(self) -> impl Iterator<Item = (Box<str>, ReasonCode)> {
        self.filters.into_iter().zip(self.reason_codes)
    }

    /// Notes the next filter of a SUBSCRIBE, and what is known of it.
    pub(crate) fn note_filter(&mut self, filter: &str, code: ReasonCode) {
        self.filters.push(filter.into());
        self.reason_codes.push(code);
    }

    /// Notes what became of the next filter of an UNSUBSCRIBE.
    pub(crate) fn note_code(&mut self, code: ReasonCode) {
        self.reason_codes.push(code);
    }

    /// Notes what another worker has decided about a filter.
    pub(crate) fn decide(&mut self, index: usize, code: ReasonCode) {
        self.reason_codes[index] = code;
    }

    /// Waits for so many more answers, fences or receipts.
    pub(crate) fn wait_for(&mut self, count: usize) {
        self.waiting += count;
    }

    /// Has a fence follow the answers, if that is so.
    pub(crate) fn need_fence_if(&mut self, is_so: bool) {
        self.needs_fence |= is_so;
    }

    pub(crate) fn needs_fence(&self) -> bool {
        self.needs_fence
    }

    /// Notes that its first retained messages are asked for. Returns whether that is new.
    pub(crate) fn begin_fetching(&mut self) -> bool {
        !std::mem::replace(&mut self.fetches, true)
    }
}

impl Pending {
    /// Gives back the room of what has left.
    pub(crate) fn give_back(&mut self) {
        let Self { subscribes, steps, fences, .. } = self;
        subscribes.shrink_to(subscribes.len() * 2);
        steps.shrink_to(steps.len() * 2);
        fences.shrink_to(fences.len() * 2);
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    pub(crate) fn insert(&mut self, ticket: Ticket, subscribe: PendingSubscribe) {
        self.subscribes.insert(ticket, subscribe);
    }

    /// A new ticket for one filter that another worker decides about.
    pub(crate) fn begin_step(&mut self, step: RemoteStep) -> Ticket {
        let ticket = self.ticket();
        self.steps.insert(ticket, step);
        ticket
    }

    pub(crate) fn take_step(&mut self, ticket: Ticket) -> Option<RemoteStep> {
        self.steps.remove(&ticket)
    }

    pub(crate) fn subscribe(&mut self, ticket: Ticket) -> Option<&mut PendingSubscribe> {
        self.subscribes.get_mut(&ticket)
    }

    /// Whether an answer to a Session's Client waits.
    pub(crate) fn concerns(&self, session: SessionId) -> bool {
        self.subscribes.values().any(|subscribe| subscribe.session == session)
    }

    /// Notes that there is one thing less to wait for. Returns the SUBSCRIBE if it was the last one
    /// and no fence has to follow.
    pub(crate) fn arrive(&mut self, ticket: Ticket) -> Option<PendingSubscribe> {
        let subscribe = self.subscribes.get_mut(&ticket)?;
        subscribe.waiting -= 1;
        if subscribe.waiting > 0 {
            return None;
        }
        if std::mem::take(&mut subscribe.needs_fence) {
            subscribe.waiting = 1;
            self.put_behind_fence(ticket);
            return None;
        }
        self.subscribes.remove(&ticket)
    }

    /// Ends a turn: asks all other workers to say when they have seen what it announced. Returns
    /// the SUBSCRIBE packets for which there is nobody to ask.
    pub(crate) fn raise_fence(&mut self, others: WorkerSet, turn: &mut Turn) -> Vec<Ticket> {
        if !self.has_work() {
            return Vec::new();
        }
        let ticket = self.ticket();
        let behind = BehindFence { awaited: others, ..std::mem::take(&mut self.open) };
        for worker in others {
            turn.fx.send(worker, Peer::Fence(ticket).into());
        }
        self.fences.insert(ticket, behind);
        self.lift_if_passed(ticket, turn)
    }

    /// Notes that another worker has passed a fence. If it was the last one, sends the answers that
    /// waited for it, and returns the SUBSCRIBE packets that did.
    pub(crate) fn pass_fence(
        &mut self,
        by: WorkerId,
        ticket: Ticket,
        turn: &mut Turn,
    ) -> Vec<Ticket> {
        let fence = self.fences.get_mut(&ticket);
        match fence.is_some_and(|fence| fence.awaited.remove(by)) {
            true => self.lift_if_passed(ticket, turn),
            false => Vec::new(),
        }
    }

    fn lift_if_passed(&mut self, ticket: Ticket, turn: &mut Turn) -> Vec<Ticket> {
        if self.fences.get(&ticket).is_none_or(|fence| !fence.awaited.is_empty()) {
            return Vec::new();
        }
        let behind = self.fences.remove(&ticket).unwrap_or_default();
        for (worker, answer) in behind.answers {
            turn.fx.send(worker, answer);
        }
        behind.subscribes
    }

    /// Takes a worker that is gone out of everything that waits for it: it passes no fence, nothing
    /// is told to it, and it decides about nothing. Returns the SUBSCRIBE packets that waited only
    /// for it to pass a fence, and the tickets of the steps that it was to decide about, both in
    /// the order in which they began to wait.
    pub(crate) fn forget_worker(
        &mut self,
        gone: WorkerId,
        turn: &mut Turn,
    ) -> (Vec<Ticket>, Vec<Ticket>) {
        let is_for_others = |(to, _): &(WorkerId, PeerMessage)| *to != gone;
        self.open.answers.retain(is_for_others);
        let mut fences: Vec<_> = self.fences.keys().copied().collect();
        fences.sort_unstable();
        let mut subscribes = Vec::new();
        for ticket in fences {
            if let Some(fence) = self.fences.get_mut(&ticket) {
                fence.answers.retain(is_for_others);
                fence.awaited.remove(gone);
            }
            subscribes.append(&mut self.lift_if_passed(ticket, turn));
        }
        let steps = self.steps.iter().filter(|(_, step)| step.home == gone);
        let mut steps: Vec<_> = steps.map(|(&ticket, _)| ticket).collect();
        steps.sort_unstable();
        (subscribes, steps)
    }

    /// Whether a fence has to be raised at the end of the next turn. Subscriptions made after the
    /// end of a turn, when connections are read again, wait for it.
    pub(crate) fn has_work(&self) -> bool {
        !self.open.subscribes.is_empty() || !self.open.answers.is_empty()
    }

    pub(crate) fn put_behind_fence(&mut self, subscribe: Ticket) {
        self.open.subscribes.push(subscribe);
    }

    /// Sends an answer to another worker when all workers know what was told before.
    pub(crate) fn answer_behind_fence(&mut self, to: WorkerId, answer: impl Into<PeerMessage>) {
        self.open.answers.push((to, answer.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;

    #[test]
    fn a_fence_that_was_not_raised_yet_is_work() {
        let mut pending = Pending::default();
        assert!(!pending.has_work());
        pending.put_behind_fence(1);
        assert!(pending.has_work(), "a worker that sleeps now would never raise it");
    }
}
