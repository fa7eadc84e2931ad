//! Sessions on their way from one worker to another, as far as it concerns who gets a message.
//!
//! Every worker, at one moment, begins to send what is for such a Session to its new worker. What
//! it had sent before is for the old one. So each message reaches the Session once, and those of
//! one worker in order: the old worker takes from another what came before that worker's moment,
//! and the new one what came after it. The new worker keeps that aside until the Session is there.
//!
//! Nothing here decides when a Session goes.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;
use midge_codec::{QoS, ReasonCode};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::identity::{ConnectionId, SessionId, SessionSlot, WorkerId};
use crate::base::limits::Limits;
use crate::base::message::Publication;
use crate::base::time::Timestamp;
use crate::base::timers::Timer;
use crate::base::worker_set::WorkerSet;
use crate::boundary::effects::DisconnectReason;
use crate::boundary::store_records::Round;
use crate::clients::{Clients, Grant, delivery_of};
use crate::connection::Connection;
use crate::session::Session;

/// Why and how the Network Connection of a Session ends that is about to go to another worker. It
/// ends there.
#[derive(Clone, Debug)]
pub(crate) struct PostponedEnd {
    pub(crate) reason_code: Option<ReasonCode>,
    pub(crate) reason: DisconnectReason,
    /// When that was; a Will Message and the Session's end are due from then on.
    pub(crate) at: Timestamp,
    /// Whether nothing more can be sent on it.
    pub(crate) is_lost: bool,
}

/// A message for a Session that has not arrived yet.
#[derive(Debug)]
pub(crate) struct PutBy {
    pub(crate) delivery: Delivery,
    /// What the store keeps of it counts with this round, which waits for the Session.
    pub(crate) round: Option<Round>,
    /// Its number among all that were put by.
    pub(crate) number: u64,
}

/// The messages for one Session that has not arrived yet, in order. They are bounded as its queue
/// and its output will be: what has no room here would find none there.
#[derive(Debug, Default)]
struct PutByQueue {
    messages: VecDeque<PutBy>,
    /// How many of them have QoS 1 or 2.
    acknowledged: usize,
    acknowledged_bytes: usize,
    /// Bytes of those with QoS 0.
    unacknowledged_bytes: usize,
}

impl PutByQueue {
    fn check_room(&self, qos: QoS, bytes: usize, limits: &Limits) -> Result<(), DropReason> {
        if qos == QoS::AtMostOnce {
            let has_room = self.unacknowledged_bytes <= limits.output_bytes_max as usize;
            return if has_room { Ok(()) } else { Err(DropReason::SlowConsumer) };
        }
        let in_flight = usize::from(limits.inflight_messages_max);
        let messages_max = (limits.queue_messages_max as usize).saturating_add(in_flight);
        if self.acknowledged >= messages_max {
            return Err(DropReason::QueueFull);
        }
        let bytes_max = limits.queue_bytes_max as usize + limits.output_bytes_max as usize;
        if self.acknowledged > 0 && self.acknowledged_bytes.saturating_add(bytes) > bytes_max {
            return Err(DropReason::QueueBytes);
        }
        Ok(())
    }

    fn push(&mut self, message: PutBy) {
        let bytes = message.delivery.message.size();
        if message.delivery.qos == QoS::AtMostOnce {
            self.unacknowledged_bytes += bytes;
        } else {
            self.acknowledged += 1;
            self.acknowledged_bytes += bytes;
        }
        self.messages.push_back(message);
    }
}

/// Where a message comes from that is being routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RoutedFrom {
    /// This worker's publishers.
    #[default]
    Own,
    Worker(WorkerId),
    /// The broker itself, which gives it to all workers, with its edition.
    OwnTopics(u64),
}

#[derive(Debug)]
enum Direction {
    /// The workers switch: the Session is about to leave.
    Switching(Option<PostponedEnd>),
    /// The Session is not here yet. `is_online`: its Client counts as connected until the old
    /// worker says otherwise. A message given to an absent Client by mistake is given back, but
    /// nobody would report a Client that is present.
    Arriving {
        is_online: bool,
        put_by: PutByQueue,
    },
    Arrived,
}

/// A Session that leaves, and what goes with it.
pub(crate) struct Taken {
    pub(crate) session: Session,
    pub(crate) connection: Option<Connection>,
    /// Why the Network Connection is to end, if it is.
    pub(crate) ended: Option<PostponedEnd>,
}

#[derive(Debug)]
struct Crossing {
    session: SessionId,
    direction: Direction,
    /// Workers that send to the new worker by now, as far as this one has heard.
    switched: WorkerSet,
}

/// The Sessions that come and go, and where those are that have gone.
#[derive(Debug, Default)]
pub(crate) struct Crossings {
    by_slot: HashMap<SessionSlot, Crossing, foldhash::fast::FixedState>,
    /// The workers of Sessions that are not where they were made.
    whereabouts: HashMap<SessionId, WorkerId, foldhash::fast::FixedState>,
    /// Sessions of this worker that have come from others.
    adopted: HashMap<SessionId, SessionSlot, foldhash::fast::FixedState>,
    /// Connections that are not read until their Sessions have gone.
    quiet: BTreeSet<ConnectionId>,
    routed_from: RoutedFrom,
    /// Sessions that have got a later edition of the broker's own topics, at their last worker.
    ahead: HashMap<SessionSlot, u64, foldhash::fast::FixedState>,
    /// How many messages were put by so far.
    put_by_count: u64,
}

impl Crossing {
    /// Whether what `from` has sent is for the other worker: while the Session leaves, what came
    /// after that worker's moment; when it is coming or has come, what came before it.
    fn is_barred(&self, from: RoutedFrom, own: WorkerId) -> bool {
        let worker = match from {
            // A Session gets these at the worker where it is.
            RoutedFrom::OwnTopics(_) => {
                return matches!(self.direction, Direction::Arriving { .. });
            }
            RoutedFrom::Own => own,
            RoutedFrom::Worker(worker) => worker,
        };
        let has_switched = self.switched.contains(worker);
        matches!(self.direction, Direction::Switching(_)) == has_switched
    }

    fn have_all_switched(&self, members: WorkerSet) -> bool {
        members.into_iter().all(|worker| self.switched.contains(worker))
    }
}

impl Crossings {
    fn slot_of(&self, session: SessionId) -> Option<SessionSlot> {
        self.by_slot.iter().find(|(_, it)| it.session == session).map(|(&slot, _)| slot)
    }

    fn arriving(&self, slot: SessionSlot) -> bool {
        let crossing = self.by_slot.get(&slot);
        crossing.is_some_and(|it| matches!(it.direction, Direction::Arriving { .. }))
    }

    fn leaving(&self, slot: SessionSlot) -> bool {
        let crossing = self.by_slot.get(&slot);
        crossing.is_some_and(|it| matches!(it.direction, Direction::Switching(_)))
    }

    /// The edition of the broker's own topics that a Session is known to have got.
    pub(crate) fn edition_of(&self, slot: SessionSlot) -> u64 {
        self.ahead.get(&slot).copied().unwrap_or(0)
    }

    /// Forgets who was ahead of this edition.
    pub(crate) fn forget_editions(&mut self, edition: u64) {
        self.ahead.retain(|_, ahead| *ahead > edition);
    }

    /// How many messages were put by so far, and how many of the first ones have been delivered.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let first = self.by_slot.values().filter_map(|it| match &it.direction {
            Direction::Arriving { put_by, .. } => {
                put_by.messages.front().map(|first| first.number - 1)
            }
            _ => None,
        });
        (self.put_by_count, first.min().unwrap_or(self.put_by_count))
    }

    /// How many messages wait for Sessions to arrive, and their bytes.
    pub(crate) fn put_by_usage(&self) -> (usize, usize) {
        let all = self.by_slot.values().filter_map(|it| match &it.direction {
            Direction::Arriving { put_by, .. } => Some(&put_by.messages),
            _ => None,
        });
        let sizes = all.flatten().map(|it| it.delivery.message.held_bytes());
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    /// Whether a Session is here only by half: it is about to go, or has not come yet.
    pub(crate) fn is_any_under_way(&self) -> bool {
        self.by_slot.values().any(|it| !matches!(it.direction, Direction::Arrived))
    }

    /// Whether this connection is not to be read until its Session has gone.
    #[inline]
    pub(crate) fn is_quiet(&self, id: ConnectionId) -> bool {
        !self.quiet.is_empty() && self.quiet.contains(&id)
    }

    /// Sets whether a connection is not to be read.
    pub(crate) fn set_quiet(&mut self, id: ConnectionId, is_quiet: bool) {
        if is_quiet {
            self.quiet.insert(id);
        } else {
            self.quiet.remove(&id);
        }
    }

    pub(crate) fn slot_of_adopted(&self, session: SessionId) -> Option<SessionSlot> {
        if self.adopted.is_empty() { None } else { self.adopted.get(&session).copied() }
    }

    /// Begins to take what is for a Session that is to come into this slot.
    fn expect(&mut self, slot: SessionSlot, session: SessionId) {
        let direction = Direction::Arriving { is_online: true, put_by: PutByQueue::default() };
        self.by_slot.insert(slot, Crossing { session, direction, switched: WorkerSet::EMPTY });
    }

    /// The Session in this slot leaves: what this worker publishes from now on is not for it.
    pub(crate) fn begin_switching(&mut self, slot: SessionSlot, session: SessionId, own: WorkerId) {
        let (direction, switched) = (Direction::Switching(None), WorkerSet::one(own));
        self.by_slot.insert(slot, Crossing { session, direction, switched });
    }

    /// Notes that a worker sends what is for the Session to the new worker by now.
    pub(crate) fn note_switched(&mut self, session: SessionId, worker: WorkerId) {
        let slot = self.slot_of(session);
        if let Some(crossing) = slot.and_then(|slot| self.by_slot.get_mut(&slot)) {
            crossing.switched.insert(worker);
        }
    }

    /// Whether all workers that are there send what is for the Session to the new worker by now.
    pub(crate) fn have_all_switched(&self, session: SessionId, members: WorkerSet) -> bool {
        let crossing = self.slot_of(session).and_then(|slot| self.by_slot.get(&slot));
        crossing.is_some_and(|crossing| crossing.have_all_switched(members))
    }

    /// Lets the Session of this slot stay that was about to go. Returns why its Network Connection
    /// is to end, if it is.
    pub(crate) fn stay(&mut self, slot: SessionSlot) -> Option<PostponedEnd> {
        match self.by_slot.remove(&slot).map(|it| it.direction) {
            Some(Direction::Switching(ended)) => ended,
            _ => None,
        }
    }

    /// Notes whether the Client of a Session that is to come is connected.
    pub(crate) fn note_online(&mut self, session: SessionId, online: bool) {
        let slot = self.slot_of(session);
        let crossing = slot.and_then(|slot| self.by_slot.get_mut(&slot));
        if let Some(Crossing { direction: Direction::Arriving { is_online, .. }, .. }) = crossing {
            *is_online = online;
        }
    }

    /// Forgets the moves of Sessions that are here if all workers that are there have switched.
    pub(crate) fn end_complete(&mut self, members: WorkerSet) {
        self.by_slot.retain(|_, it| {
            !(matches!(it.direction, Direction::Arrived) && it.have_all_switched(members))
        });
    }

    /// Notes on which worker a Session is from now on.
    pub(crate) fn note_whereabouts(&mut self, session: SessionId, worker: WorkerId) {
        if session.worker == worker {
            self.whereabouts.remove(&session);
        } else {
            self.whereabouts.insert(session, worker);
        }
    }

    /// Notes that the Session of this slot has ended here.
    pub(super) fn end(&mut self, slot: SessionSlot, session: SessionId) {
        self.by_slot.remove(&slot);
        self.ahead.remove(&slot);
        self.adopted.remove(&session);
    }

    /// Whether other workers know that a Session has moved.
    pub(crate) fn is_known_to_others(&self, session: SessionId) -> bool {
        self.whereabouts.contains_key(&session)
    }

    /// Forgets a Session that has ended.
    pub(crate) fn forget_whereabouts(&mut self, session: SessionId) {
        self.whereabouts.remove(&session);
    }
}

impl Clients {
    /// The worker that a Session is on.
    #[inline]
    pub(crate) fn worker_of(&self, session: SessionId) -> WorkerId {
        let whereabouts = &self.crossings.whereabouts;
        if whereabouts.is_empty() {
            return session.worker;
        }
        whereabouts.get(&session).copied().unwrap_or(session.worker)
    }

    /// Notes where the messages come from that are routed from now on.
    pub(crate) fn set_routed_from(&mut self, from: RoutedFrom) {
        self.crossings.routed_from = from;
    }

    /// Notes that a Session has got the broker's own topics up to this edition.
    pub(crate) fn note_edition(&mut self, slot: SessionSlot, edition: u64) {
        self.crossings.ahead.insert(slot, edition);
    }

    /// Whether what is routed now does not go to the Session in this slot: it has ended, or what
    /// comes this way is for another worker.
    #[inline]
    pub(crate) fn is_closed_to_route(&self, slot: SessionSlot) -> bool {
        let Crossings { by_slot, ahead, routed_from, .. } = &self.crossings;
        if by_slot.is_empty() && ahead.is_empty() {
            return self.is_over(slot);
        }
        if let RoutedFrom::OwnTopics(edition) = *routed_from
            && ahead.get(&slot).is_some_and(|&ahead| edition <= ahead)
        {
            return true;
        }
        match by_slot.get(&slot) {
            Some(crossing) => crossing.is_barred(*routed_from, self.worker),
            None => self.is_over(slot),
        }
    }

    /// Whether the Session in this slot is about to go to another worker, which decides about
    /// everything that happens to it from now on.
    #[inline]
    pub(crate) fn is_switching(&self, slot: SessionSlot) -> bool {
        !self.crossings.by_slot.is_empty() && self.crossings.leaving(slot)
    }

    /// Whether the Session of this slot has not come yet.
    #[inline]
    pub(crate) fn is_arriving(&self, slot: SessionSlot) -> bool {
        !self.crossings.by_slot.is_empty() && self.crossings.arriving(slot)
    }

    /// Whether a Session that is here is still on its way in some respect.
    pub(crate) fn is_crossing(&self, slot: SessionSlot) -> bool {
        self.crossings.by_slot.contains_key(&slot)
    }

    /// The slot of a Session that is here or is to come.
    pub(crate) fn slot_of_receiver(&self, session: SessionId) -> Option<SessionSlot> {
        let coming = || self.crossings.slot_of(session).filter(|&slot| self.is_arriving(slot));
        self.slot_of(session).or_else(coming)
    }

    /// Whether the Client of a Session that is here, or is to come, is connected.
    pub(crate) fn is_online(&self, slot: SessionSlot) -> bool {
        match self.crossings.by_slot.get(&slot).map(|it| &it.direction) {
            Some(Direction::Arriving { is_online, .. }) => *is_online,
            _ => self.sessions[slot as usize].attached().is_some(),
        }
    }

    /// Keeps a message aside until its Session has arrived. The error says which limit forbids it.
    #[cold]
    pub(super) fn put_by(
        &mut self,
        slot: SessionSlot,
        publication: &Publication<'_>,
        grant: &Grant<'_>,
    ) -> Result<(), DropReason> {
        let attributes = publication.attributes;
        let qos = attributes.qos.min(grant.qos);
        if let Some(Crossing { direction: Direction::Arriving { put_by, .. }, .. }) =
            self.crossings.by_slot.get(&slot)
        {
            if qos == QoS::AtMostOnce && self.drop_qos0 {
                return Err(DropReason::MemoryPressure);
            }
            put_by.check_room(qos, publication.size(), &self.limits)?;
        }
        let delivery = delivery_of(publication, grant, qos);
        let round = self.rounds.put_off(attributes.qos, attributes.durability);
        self.crossings.put_by_count += 1;
        let number = self.crossings.put_by_count;
        if let Some(round) = round {
            self.rounds.wait_for_arrival(round, number);
        }
        let crossing = self.crossings.by_slot.get_mut(&slot);
        if let Some(Direction::Arriving { put_by, .. }) = crossing.map(|it| &mut it.direction) {
            put_by.push(PutBy { delivery, round, number });
        }
        Ok(())
    }

    /// Makes a place for a Session that is to come. Nothing reaches it until workers have switched.
    pub(crate) fn expect_session(&mut self, session: SessionId, stub: Session) -> SessionSlot {
        let generation = self.next_generation().get();
        let mut stub = stub;
        stub.take_place(generation);
        let slot = self.sessions.insert(stub) as SessionSlot;
        self.over += 1;
        self.crossings.expect(slot, session);
        slot
    }

    /// Gives up the place of a Session that does not come after all. Returns it with the messages
    /// that were put by.
    pub(crate) fn give_up_place(
        &mut self,
        session: SessionId,
    ) -> Option<(SessionSlot, VecDeque<PutBy>)> {
        let slot = self.crossings.slot_of(session).filter(|&slot| self.is_arriving(slot))?;
        match self.crossings.by_slot.remove(&slot)?.direction {
            Direction::Arriving { put_by, .. } => Some((slot, put_by.messages)),
            _ => None,
        }
    }

    /// Puts a Session that has come into its place. Returns its slot with the messages that were
    /// put by; `None` if there is no place.
    pub(crate) fn install_session(
        &mut self,
        session: SessionId,
        mut state: Session,
    ) -> Option<(SessionSlot, VecDeque<PutBy>)> {
        let slot = self.crossings.slot_of(session).filter(|&slot| self.is_arriving(slot))?;
        let crossing = self.crossings.by_slot.get_mut(&slot)?;
        let direction = std::mem::replace(&mut crossing.direction, Direction::Arrived);
        let Direction::Arriving { put_by, .. } = direction else {
            return None;
        };
        state.take_place(self.sessions[slot as usize].generation());
        self.sessions[slot as usize] = state;
        self.over -= 1;
        self.enter_name(slot);
        self.crossings.adopted.insert(session, slot);
        Some((slot, put_by.messages))
    }

    /// Takes out a Session that goes to another worker. The slot has to be vacated.
    pub(crate) fn take_leaving(&mut self, slot: SessionSlot) -> Taken {
        let name = self.session_id(slot);
        let connection = self.sessions[slot as usize].attached();
        let connection = connection.map(|id| {
            self.crossings.quiet.remove(&id);
            self.attached -= 1;
            self.count_connection_off();
            let mut connection = self.connections.remove(id.slot());
            connection.leave_worker(&mut self.pool);
            connection
        });
        let mut session = self.replace_session(slot);
        session.leave_worker(name);
        self.crossings.adopted.remove(&name);
        self.crossings.ahead.remove(&slot);
        let ended = match self.crossings.by_slot.remove(&slot).map(|it| it.direction) {
            Some(Direction::Switching(ended)) => ended,
            _ => None,
        };
        Taken { session, connection, ended }
    }

    /// Adds the Network Connection of a Session that has come, and attaches it. Returns its name.
    pub(crate) fn install_connection(
        &mut self,
        slot: SessionSlot,
        connection: Connection,
    ) -> ConnectionId {
        let id = connection.id();
        self.add_connection(connection);
        self.count_connection_in();
        self.attach(slot, id);
        id
    }

    /// Notes why the Network Connection of a Session that is about to go has to end. Returns
    /// whether it ends only when the Session has gone.
    pub(crate) fn postpone_end(&mut self, id: ConnectionId, end: PostponedEnd) -> bool {
        if self.crossings.by_slot.is_empty() {
            return false; // nearly always
        }
        let slot = self.connection(id).and_then(Connection::session);
        let Some(slot) = slot.filter(|&slot| self.sessions[slot as usize].attached() == Some(id))
        else {
            return false;
        };
        let crossing = self.crossings.by_slot.get_mut(&slot);
        let Some(Direction::Switching(ended)) = crossing.map(|it| &mut it.direction) else {
            return false;
        };
        let is_lost = end.is_lost || ended.as_ref().is_some_and(|ended| ended.is_lost);
        *ended = Some(PostponedEnd { is_lost, ..ended.take().unwrap_or(end) });
        true
    }

    /// The timers that a connection has.
    pub(crate) fn connection_timers(
        connection: &Connection,
    ) -> impl Iterator<Item = (Timestamp, Timer)> + use<> {
        let id = connection.id();
        let timers = [
            (connection.timer_at(), Timer::Connection(id)),
            (connection.credential_ends_at(), Timer::CredentialEnd(id)),
        ];
        timers.into_iter().filter_map(|(at, timer)| Some((at?, timer)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::durability::Durability;
    use crate::base::identifiers::Identifiers;
    use crate::base::identity::Identity;
    use crate::base::message::Attributes;

    /// Puts messages of this QoS by until there is no more room. Returns how many there are then,
    /// and why there is no room.
    fn fill(qos: QoS, limits: &Limits) -> (usize, DropReason) {
        let attributes = Attributes {
            qos,
            retain: false,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let publisher = Arc::new(Identity::new("p".into(), None));
        let message = Publication::new("t", &[], &[0; 99], attributes, &publisher).share();
        let mut queue = PutByQueue::default();
        loop {
            if let Err(reason) = queue.check_room(qos, message.size(), limits) {
                return (queue.messages.len(), reason);
            }
            let (message, identifiers) = (message.clone(), Identifiers::None);
            let delivery = Delivery { message, qos, retain: false, identifiers, group: None };
            queue.push(PutBy { delivery, round: None, number: 1 });
        }
    }

    #[test]
    fn a_session_that_does_not_arrive_gets_no_more_than_it_could_take() {
        let limits = Limits {
            queue_messages_max: 3,
            inflight_messages_max: 2,
            queue_bytes_max: 10_000,
            output_bytes_max: 1_000,
            ..Limits::default()
        };
        assert_eq!(fill(QoS::AtMostOnce, &limits), (11, DropReason::SlowConsumer));
        assert_eq!(fill(QoS::AtLeastOnce, &limits), (5, DropReason::QueueFull));
        let limits = Limits { queue_messages_max: 1_000, ..limits };
        assert_eq!(fill(QoS::ExactlyOnce, &limits), (110, DropReason::QueueBytes));
    }
}
