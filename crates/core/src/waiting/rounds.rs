//! What waits for the store: the commit that is being gathered, and the acknowledgements that must
//! not leave before it is durable.
//!
//! A worker's turn is one *round*. What the worker keeps goes into the turn's commit. What other
//! workers keep on its behalf goes into theirs: at the end of the turn it asks them, and their
//! answers say that it is kept ([`Assurance`]). Workers with one journal answer when their commits
//! are on the way there: the store takes commits in order, so once all have answered, the receipt
//! of one more commit of this worker says that everything in the round is durable. So an
//! acknowledgement waits first for the answers (*gathering*), then for a receipt (*committing*); if
//! no other worker was involved, only for the receipt of its own turn.
//!
//! An acknowledgement must never overtake an earlier one, and none must be forgotten. None must say
//! that something is kept that only a worker that is gone was given (`voids`).

mod answers;
mod postponed;
mod questions;
#[cfg(test)]
mod tests;
pub(crate) mod voids;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, PacketType, QoS, ReasonCode};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, Identity, SessionId, WorkerId};
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{Assurance, Peer, QuestionId, Ticket};
use crate::boundary::store_records::{
    Commit, Enqueue, Owner, Receipt, Round, StoreOp, StoredDelivery,
};
use crate::boundary::turn::Turn;
use answers::{Answer, Asked, PassedOn};
use questions::Question;

pub(crate) use postponed::Postponed;

/// Something that happens when what came before it is durable.
#[derive(Debug)]
pub(crate) enum Held {
    /// An acknowledgement leaves.
    Acknowledge(HeldAcknowledgement),
    /// The process learns what became of a message of its own, under its ticket.
    Published(u64, Result<usize, DropReason>),
    /// A CONNACK leaves.
    Connected(ConnectionId),
    /// The store knows that a Session of this Client has ended, which has this number there.
    Ended(Arc<Identity>, u64),
    /// One thing less that a SUBACK or UNSUBACK waits for.
    Subscribed(Ticket),
    /// A Session's queue, which waited for a QoS 2 message to become durable, may go on.
    Send(SessionId),
    /// A Session's queue may go on: the store now knows that messages below this sequence may be
    /// sent.
    Ahead(SessionId, u64),
    /// Something whose outcome depends on another worker, which was asked under this ticket.
    Asked(QuestionId, Box<Held>),
    /// Something that would say that everything in a round is kept, and not all of it is.
    Withheld(Box<Held>),
}

/// One of the four acknowledgements, before it leaves.
#[derive(Debug)]
pub(crate) struct HeldAcknowledgement {
    pub(crate) to: ConnectionId,
    pub(crate) kind: PacketType,
    pub(crate) packet_id: PacketIdentifier,
    pub(crate) reason_code: ReasonCode,
    pub(crate) explanation: Option<&'static str>,
}

impl HeldAcknowledgement {
    /// Whether it tells a publisher that its message is kept.
    fn is_of_publisher(&self) -> bool {
        matches!(self.kind, PacketType::PubAck | PacketType::PubRec)
    }
}

/// The commits and rounds of one worker.
#[derive(Debug)]
pub(crate) struct Rounds {
    worker: WorkerId,
    /// Whether there is a store.
    is_enabled: bool,
    /// Whether the store takes no new messages.
    is_full: bool,
    /// The workers that are there, this one among them.
    members: WorkerSet,
    /// Whether some worker is gone.
    is_short: bool,
    /// Workers that have Sessions in the store: only they are asked. Those that are gone stay in
    /// it, because nobody else keeps messages for their Sessions.
    storing: WorkerSet,
    /// Workers whose journals are not this worker's.
    own_journals: WorkerSet,

    /// The number of the open commit; `ops` is what is in it.
    commit: u64,
    ops: Vec<StoreOp>,
    /// Rounds that are released with the open commit.
    ready: Vec<RoundEnd>,

    open: OpenRound,
    gathering: VecDeque<Gathering>,
    committing: VecDeque<Committing>,
    receipt: Receipt,
    /// Where acknowledgements for streams that have ended go, and how many are still held back.
    redirects: HashMap<ConnectionId, (ConnectionId, u32), foldhash::fast::FixedState>,

    /// The round on whose behalf things are done now, if it is not this worker's own.
    origin: Option<Round>,
    /// The round that each worker was told last. Whatever that worker gets to keep from now on
    /// belongs to this round.
    told: Box<[Option<Round>]>,
    /// The round that each worker has told this one last.
    heard: Box<[Option<Round>]>,
    /// For rounds of other workers: to whom this one has passed something on.
    passed_on: HashMap<Round, PassedOn, foldhash::fast::FixedState>,
    to_answer: Vec<Asked>,
    /// Answers that leave when the open commit is durable.
    ready_answers: Vec<Answer>,
    /// The last ticket that was given to a question of another worker, under which this one asks
    /// others in turn. Questions about this worker's own rounds have ticket 0.
    last_ticket: Ticket,
    /// The last confirmed round of each worker.
    confirmed: Box<[u64]>,
    /// Sessions that wait for rounds of each other worker to be confirmed, by their numbers.
    unconfirmed: Box<[BTreeMap<u64, Vec<SessionId>>]>,
    /// Counts what was sent to other workers to be kept, and fan-outs that were put off.
    sent: u64,
    questions: HashMap<QuestionId, Question, foldhash::fast::FixedState>,
    last_question: u64,
    /// Without a store: what has waited for other workers only.
    answered: Vec<Held>,
    /// Rounds that will never be confirmed although their workers are there.
    void: BTreeSet<Round>,
    /// What the core has not heard yet about rounds of this worker that are void.
    voided: Vec<voids::Voided>,
    /// Of whom the store has more than it would have if no worker were gone.
    unfinished: BTreeSet<Owner>,
}

/// The round of this turn.
#[derive(Debug)]
struct OpenRound {
    number: u64,
    /// Workers that have got something to keep or were asked for a verdict.
    asked: WorkerSet,
    end: RoundEnd,
}

/// What follows when all that a round has kept is durable.
#[derive(Debug, Default)]
struct RoundEnd {
    number: u64,
    held: Vec<Held>,
    /// What has to be kept after everything that the round has kept anywhere.
    deferred: Vec<StoreOp>,
    /// The strongest promise in it; absent if nobody waits.
    durability: Option<Durability>,
    /// Whether other workers have kept QoS 2 messages, which count once the round is confirmed.
    confirms: bool,
    /// Whether this worker has kept such messages.
    is_provisional: bool,
    /// Sessions that have ended and of whose messages some were passed on in it.
    passed_on_of: Vec<Owner>,
    /// Whether some of it was given only to a worker that is gone.
    is_broken: bool,
}

/// A round that waits for other workers, or for fan-outs that were put off.
#[derive(Debug)]
struct Gathering {
    /// The workers whose answers are outstanding.
    awaited: WorkerSet,
    /// The work that has to be done before it ends.
    postponed: Postponed,
    end: RoundEnd,
}

/// A commit that is on its way to the disk.
#[derive(Debug)]
struct Committing {
    commit: u64,
    durability: Durability,
    ends: Vec<RoundEnd>,
    /// Answers to workers with other journals, which say that this commit is durable.
    answers: Vec<Answer>,
}

/// A point in time, to find out whether something was kept, or sent to be kept, since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    ops: usize,
    deferred: usize,
    sent: u64,
}

impl Rounds {
    pub(crate) fn new(worker: WorkerId, workers: usize, is_enabled: bool) -> Self {
        Self {
            worker,
            is_enabled,
            is_full: false,
            members: WorkerSet::first(workers),
            is_short: false,
            storing: WorkerSet::EMPTY,
            own_journals: WorkerSet::EMPTY,
            commit: 1,
            ops: Vec::new(),
            ready: Vec::new(),
            open: OpenRound::new(1),
            gathering: VecDeque::new(),
            committing: VecDeque::new(),
            receipt: Receipt::default(),
            redirects: HashMap::default(),
            origin: None,
            told: vec![None; workers].into_boxed_slice(),
            heard: vec![None; workers].into_boxed_slice(),
            passed_on: HashMap::default(),
            to_answer: Vec::new(),
            ready_answers: Vec::new(),
            last_ticket: 0,
            confirmed: vec![0; workers].into_boxed_slice(),
            unconfirmed: vec![BTreeMap::new(); workers].into_boxed_slice(),
            sent: 0,
            questions: HashMap::default(),
            last_question: 0,
            answered: Vec::new(),
            void: BTreeSet::new(),
            voided: Vec::new(),
            unfinished: BTreeSet::new(),
        }
    }

    /// Whether there is a store.
    #[inline]
    pub(crate) fn has_store(&self) -> bool {
        self.is_enabled
    }

    /// Whether the store takes no new messages.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Adds to the open commit.
    #[inline]
    pub(crate) fn keep(&mut self, op: StoreOp) {
        self.ops.push(op);
    }

    /// Adds a message that waits for `owner`. A QoS 2 message counts only together with everything
    /// else that is kept of it, such as the Packet Identifier that it came with. The rest may be in
    /// a later commit.
    pub(crate) fn keep_message(&mut self, owner: Owner, sequence: u64, delivery: &Delivery) {
        let attributes = delivery.message.attributes();
        let (exactly_once, durability) =
            (attributes.qos == QoS::ExactlyOnce, attributes.durability);
        let delivery = StoredDelivery {
            message: delivery.message.clone(),
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers.clone(),
            group: delivery.group.map(|group| group.number),
        };
        let round = exactly_once
            .then(|| self.origin.unwrap_or_else(|| self.own_provisional_round(durability)));
        self.keep(StoreOp::Enqueue(Box::new(Enqueue { owner, sequence, delivery, round })));
    }

    /// The message waits for the round, even if nobody else does.
    fn own_provisional_round(&mut self, durability: Durability) -> Round {
        self.open.end.is_provisional = true;
        self.open.end.promise(durability.max(Durability::Interval));
        Round { worker: self.worker, number: self.open.number }
    }

    /// Returns the round with which a message that is kept now counts, and before whose
    /// confirmation the message must not go on; `None` if it counts by itself.
    pub(crate) fn round_of(&self, delivery_qos: QoS) -> Option<Round> {
        let own = Round { worker: self.worker, number: self.open.number };
        (delivery_qos == QoS::ExactlyOnce).then(|| self.origin.unwrap_or(own))
    }

    /// Adds to the commit that follows when everything that this round keeps is on its way to the
    /// store, at other workers, too.
    pub(crate) fn keep_behind_round(&mut self, op: StoreOp) {
        self.open.end.deferred.push(op);
    }

    /// Holds something back until everything of this round is as durable as it has to be.
    pub(crate) fn hold(&mut self, held: Held, durability: Durability) {
        self.open.end.promise(durability.max(Durability::Interval));
        self.open.end.held.push(held);
    }

    /// Redirects the `held` acknowledgements that are held back for a stream that has ended to
    /// another one.
    pub(crate) fn redirect(&mut self, from: ConnectionId, to: ConnectionId, held: u32) {
        if held > 0 {
            self.redirects.insert(from, (to, held));
        }
    }

    /// Returns where an acknowledgement that is no longer held back goes, if its stream has ended.
    pub(crate) fn take_redirect(&mut self, from: ConnectionId) -> Option<ConnectionId> {
        if self.redirects.is_empty() {
            return None;
        }
        let (to, held) = self.redirects.get_mut(&from)?;
        let to = *to;
        *held -= 1;
        if *held == 0 {
            self.redirects.remove(&from);
        }
        Some(to)
    }

    pub(crate) fn take_answered(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.answered)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { ops: self.ops.len(), deferred: self.open.end.deferred.len(), sent: self.sent }
    }

    /// Notes that what `from` sends to be kept from now on belongs to this round.
    pub(crate) fn hear(&mut self, from: WorkerId, round: Round) {
        self.heard[from.index()] = Some(round);
    }

    /// From now on, things are done on behalf of the round that `from` has told last, until
    /// [`Rounds::end_origin`].
    pub(crate) fn begin_origin(&mut self, from: WorkerId) {
        self.origin = self.heard[from.index()];
    }

    pub(crate) fn end_origin(&mut self) {
        self.origin = None;
    }

    /// Returns the round that has to be confirmed before a QoS 2 message that is kept for `session`
    /// now may be sent; the Session goes on then. If the message were sent earlier, the Client
    /// could know it under a Packet Identifier that nobody remembers.
    pub(crate) fn hold_back(&mut self, session: SessionId, durability: Durability) -> Round {
        if let Some(round) = self.origin {
            let waiting = &mut self.unconfirmed[round.worker.index()];
            let waiting = waiting.entry(round.number).or_default();
            if waiting.last() != Some(&session) {
                waiting.push(session);
            }
            return round;
        }
        self.hold(Held::Send(session), durability);
        Round { worker: self.worker, number: self.open.number }
    }

    /// QoS 2 messages that `session` fetches now, and that the store knows to be confirmed, wait
    /// for the returned round: their confirmation may not be durable yet.
    pub(crate) fn hold_fetched(&mut self, session: SessionId) -> Round {
        self.hold(Held::Send(session), Durability::Fsync);
        Round { worker: self.worker, number: self.open.number }
    }

    /// The round of this turn.
    pub(crate) fn open_round(&self) -> Round {
        Round { worker: self.worker, number: self.open.number }
    }

    /// Whether what this round has kept may be sent.
    #[inline]
    pub(crate) fn is_confirmed(&self, round: Round) -> bool {
        self.confirmed[round.worker.index()] >= round.number
            && (self.void.is_empty() || !self.void.contains(&round))
    }

    /// Notes that a worker has Sessions in the store; it counts as such from now on.
    pub(crate) fn note_storing(&mut self, worker: WorkerId) {
        self.storing.insert(worker);
    }

    pub(crate) fn is_storing(&self, worker: WorkerId) -> bool {
        self.storing.contains(worker)
    }

    /// Whether one of these workers has Sessions in the store.
    pub(crate) fn any_stores(&self, workers: WorkerSet) -> bool {
        self.storing.intersects(workers)
    }

    /// From now on, things are done on behalf of a round of which something was put off.
    pub(crate) fn resume_origin(&mut self, round: Option<Round>) {
        self.origin = round;
    }

    /// What is done now belongs to this worker's own round, until [`Rounds::resume_origin`].
    pub(crate) fn leave_origin(&mut self) -> Option<Round> {
        self.origin.take()
    }

    /// Notes that a message leaves for another worker, which may have to keep it. Call this before
    /// the message is sent.
    pub(crate) fn note_sent(
        &mut self,
        to: WorkerId,
        qos: QoS,
        durability: Durability,
        turn: &mut Turn,
    ) {
        if !self.is_enabled || durability == Durability::Memory || qos == QoS::AtMostOnce {
            return;
        }
        self.sent += 1;
        let is_there = self.members.contains(to);
        // A message that was put by and is delivered in the same turn belongs to the open round,
        // whose question is still to come.
        let open = self.open_round();
        let round = match self.origin.filter(|&round| round != open) {
            Some(round) => {
                let passed_on = self.passed_on.entry(round).or_default();
                passed_on.is_broken |= !is_there;
                if is_there {
                    passed_on.to.insert(to);
                }
                round
            }
            None => {
                self.open.end.promise(durability);
                self.open.end.confirms |= qos == QoS::ExactlyOnce;
                self.open.end.is_broken |= !is_there;
                if is_there {
                    self.open.asked.insert(to);
                }
                open
            }
        };
        if is_there && self.told[to.index()].replace(round) != Some(round) {
            turn.fx.send(to, Peer::Round(round).into());
        }
    }

    /// Notes that a worker's round is durable; returns the Sessions that waited for it or an
    /// earlier one.
    pub(crate) fn handle_confirmed(&mut self, round: Round) -> Vec<SessionId> {
        let confirmed = &mut self.confirmed[round.worker.index()];
        *confirmed = round.number.max(*confirmed);
        let waiting = &mut self.unconfirmed[round.worker.index()];
        let later = waiting.split_off(&(round.number + 1));
        std::mem::replace(waiting, later).into_values().flatten().collect()
    }

    /// Whether a turn has to be ended soon, even if nothing comes from outside. `done` says what is
    /// done of what was put off.
    pub(crate) fn has_work(&self, done: Postponed) -> bool {
        let done = if self.is_enabled { done } else { Postponed::NONE };
        !self.ops.is_empty()
            || !self.ready.is_empty()
            || !self.open.is_idle()
            || self.to_answer.iter().any(|asked| asked.is_complete(done))
            || self.gathering.front().is_some_and(|front| front.is_complete(done))
    }

    /// Whether rounds wait for other workers, or other workers for this one.
    pub(crate) fn is_gathering(&self) -> bool {
        let owes_answers = |it: &Committing| !it.answers.is_empty();
        !self.gathering.is_empty()
            || !self.to_answer.is_empty()
            || self.committing.iter().any(owes_answers)
    }

    /// Ends a turn: sends the open round on its way, and whatever is complete now. `pushed` says
    /// what was put off so far, and `done` what of that is done.
    pub(crate) fn close_turn(&mut self, pushed: Postponed, done: Postponed, turn: &mut Turn) {
        // Without a store, there is no promise that fan-outs which were put off could break.
        let none = (Postponed::NONE, Postponed::NONE);
        let (pushed, done) = if self.is_enabled { (pushed, done) } else { none };
        self.ask_late(turn);
        self.close_round(pushed, done, turn);
        while self.gathering.front().is_some_and(|round| round.is_complete(done)) {
            if let Some(Gathering { end, .. }) = self.gathering.pop_front() {
                self.make_ready(end, turn);
            }
        }
        let answers = self.take_answers(done);
        self.close_commit(turn);
        // After the commit, which has to be with the store before the other worker hears of it.
        for (Answer { to, round, ticket }, assurance) in answers {
            turn.fx.send(to, Peer::Answer { round, ticket, assurance }.into());
        }
    }

    fn close_round(&mut self, pushed: Postponed, done: Postponed, turn: &mut Turn) {
        if self.open.is_idle() {
            return;
        }
        let number = self.open.number;
        let round = std::mem::replace(&mut self.open, OpenRound::new(number + 1));
        let OpenRound { asked, end, .. } = round;
        for to in asked {
            let round = Round { worker: self.worker, number };
            turn.fx.send(to, Peer::Ask { round, ticket: 0 }.into());
        }
        let gathering = Gathering { awaited: asked, postponed: pushed, end };
        if self.gathering.is_empty() && gathering.is_complete(done) {
            self.make_ready(gathering.end, turn);
        } else {
            self.gathering.push_back(gathering);
        }
    }

    fn make_ready(&mut self, mut end: RoundEnd, turn: &mut Turn) {
        if end.is_broken {
            self.void_own(&mut end, turn);
        } else if !self.unfinished.is_empty() {
            self.keep_unfinished(&mut end);
        }
        self.ops.append(&mut end.deferred);
        if (end.confirms || end.is_provisional) && !end.is_broken {
            self.ops.push(StoreOp::Confirm(Round { worker: self.worker, number: end.number }));
        }
        self.ready.push(end);
    }

    fn close_commit(&mut self, turn: &mut Turn) {
        if !self.is_enabled {
            self.ops.clear();
            return self.answered.extend(self.ready.drain(..).flat_map(|end| end.held));
        }
        let promise = self.ready.iter().filter_map(|end| end.durability).max();
        let answers = std::mem::take(&mut self.ready_answers);
        let promise = if answers.is_empty() { promise } else { Some(Durability::Fsync) };
        if self.ops.is_empty() && promise.is_none() {
            return self.ready.clear();
        }
        let number = self.commit;
        self.commit += 1;
        let durability = promise.unwrap_or(Durability::Memory);
        let emptied = turn.fx.emptied_ops.pop().unwrap_or_default();
        let ops = std::mem::replace(&mut self.ops, emptied);
        turn.fx.commits.push(Commit { number, durability, ops });
        let ends = std::mem::take(&mut self.ready);
        if !ends.is_empty() || !answers.is_empty() {
            self.committing.push_back(Committing { commit: number, durability, ends, answers });
        }
    }

    pub(crate) fn note_receipt(&mut self, receipt: Receipt) {
        self.receipt = receipt;
    }

    /// Returns what the receipts release, one commit at a time; `None` if there is no more.
    pub(crate) fn next_released(&mut self, turn: &mut Turn) -> Option<Vec<Held>> {
        let front = self.committing.front()?;
        let durable = match front.durability {
            Durability::Fsync => self.receipt.synced,
            _ => self.receipt.written,
        };
        if durable < front.commit {
            return None;
        }
        let mut held = Vec::new();
        let Committing { ends, answers, .. } = self.committing.pop_front()?;
        for mut end in ends {
            self.confirmed[self.worker.index()] = end.number;
            held.append(&mut end.held);
            if end.confirms && !end.is_broken {
                let round = Round { worker: self.worker, number: end.number };
                held.extend(self.handle_confirmed(round).into_iter().map(Held::Send));
                self.tell_others(&Peer::Confirmed(round), turn);
            }
        }
        for Answer { to, round, ticket } in answers {
            let assurance = Assurance::Durable;
            turn.fx.send(to, Peer::Answer { round, ticket, assurance }.into());
        }
        Some(held)
    }

    fn tell_others(&self, message: &Peer, turn: &mut Turn) {
        for to in self.members.without(self.worker) {
            turn.fx.send(to, message.clone().into());
        }
    }
}

impl OpenRound {
    fn new(number: u64) -> Self {
        Self { number, asked: WorkerSet::EMPTY, end: RoundEnd { number, ..RoundEnd::default() } }
    }

    fn is_idle(&self) -> bool {
        let RoundEnd { held, deferred, durability, is_provisional, .. } = &self.end;
        let has_end = !held.is_empty() || !deferred.is_empty() || durability.is_some();
        self.asked.is_empty() && !has_end && !is_provisional
    }
}

impl RoundEnd {
    fn promise(&mut self, durability: Durability) {
        self.durability = self.durability.max(Some(durability));
    }
}

impl Gathering {
    fn is_complete(&self, done: Postponed) -> bool {
        self.awaited.is_empty() && self.postponed.is_within(done)
    }
}
