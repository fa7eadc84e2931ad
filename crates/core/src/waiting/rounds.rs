//! What waits for the store: the commit that is being gathered, and the acknowledgements that must
//! not leave before it is durable.
//!
//! A worker's turn is one *round*. What the worker keeps goes into the turn's commit. What other
//! workers keep on its behalf goes into theirs: at the end of the turn it asks them, and they
//! answer when their commits are on the way. The store takes commits in order: once all have
//! answered, the receipt of one more commit of this worker says that everything in the round is
//! durable. So an acknowledgement waits first for the answers (*gathering*), then for a receipt
//! (*committing*); if no other worker was involved, only for the receipt of its own turn.
//!
//! An acknowledgement must never overtake an earlier one, and none must be forgotten.

mod moving;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, PacketType, QoS, ReasonCode};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, Identity, SessionId, WorkerId};
use crate::boundary::peer_messages::{Peer, QuestionId, Ticket};
use crate::boundary::store_records::{
    Commit, Enqueue, Owner, Receipt, Round, StoreOp, StoredDelivery,
};
use crate::boundary::turn::Turn;

pub(crate) use moving::Postponed;

/// Something that happens when what came before it is durable.
#[derive(Debug)]
pub(crate) enum Held {
    /// An acknowledgement leaves.
    Acknowledge(HeldAcknowledgement),
    /// The process learns what became of a message of its own, under its ticket.
    Published(u64, Result<usize, DropReason>),
    /// A CONNACK leaves.
    Connected(ConnectionId),
    /// The store knows that a Session of this Client has ended.
    Ended(Arc<Identity>),
    /// One thing less that a SUBACK or UNSUBACK waits for.
    Subscribed(Ticket),
    /// A Session's queue, which waited for a QoS 2 message to become durable, may go on.
    Send(SessionId),
    /// A Session's queue may go on: the store now knows that messages below this sequence may be
    /// sent.
    Ahead(SessionId, u64),
    /// Something whose outcome depends on another worker, which was asked under this ticket.
    Asked(QuestionId, Box<Held>),
}

/// A question to another worker, until everything that waits for its answer has left.
#[derive(Debug)]
struct Question {
    /// The round whose end waits for the answer.
    round: u64,
    /// How many acknowledgements wait to say what came of it.
    waiting: u32,
    is_refused: bool,
    /// The QoS 2 message that the question is about.
    packet: Option<(SessionId, PacketIdentifier)>,
    /// The record at the round's end that remembers its Packet Identifier, if there is one.
    deferred: Option<usize>,
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

/// The commits and rounds of one worker.
#[derive(Debug)]
pub(crate) struct Rounds {
    worker: WorkerId,
    /// Whether there is a store.
    is_enabled: bool,
    /// Whether the store takes no new messages.
    is_full: bool,
    /// Workers that have Sessions in the store, as a set of bits: only they are asked.
    storing: u64,

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
    /// For rounds of other workers: the workers, as a set of bits, to which this one has passed
    /// something on.
    passed_on: HashMap<Round, u64, foldhash::fast::FixedState>,
    to_answer: Vec<Asked>,
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
}

/// The round of this turn.
#[derive(Debug)]
struct OpenRound {
    number: u64,
    /// Workers that have got something to keep or were asked for a verdict, as a set of bits.
    asked: u64,
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
}

/// A round that waits for other workers, or for fan-outs that were put off.
#[derive(Debug)]
struct Gathering {
    answers: u32,
    /// What has to be done first.
    postponed: Postponed,
    end: RoundEnd,
}

/// A commit that is on its way to the disk.
#[derive(Debug)]
struct Committing {
    commit: u64,
    durability: Durability,
    ends: Vec<RoundEnd>,
}

/// Another worker's question that is not answered yet.
#[derive(Debug)]
struct Asked {
    by: WorkerId,
    round: Round,
    /// The ticket that the answer has to name.
    ticket: Ticket,
    /// The ticket named by the workers that have to answer first.
    own_ticket: Ticket,
    answers: u32,
    postponed: Postponed,
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
            storing: 0,
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
            last_ticket: 0,
            confirmed: vec![0; workers].into_boxed_slice(),
            unconfirmed: vec![BTreeMap::new(); workers].into_boxed_slice(),
            sent: 0,
            questions: HashMap::default(),
            last_question: 0,
            answered: Vec::new(),
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
            message: Arc::clone(&delivery.message),
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

    /// Asks another worker to say so if it refuses something that is sent to it now. What is held
    /// under the returned ticket waits for its answer.
    pub(crate) fn ask(&mut self, to: WorkerId) -> QuestionId {
        debug_assert!(self.origin.is_none(), "only publishers of this worker ask");
        self.open.asked |= to.bit();
        let ticket = QuestionId::MIN.saturating_add(self.last_question);
        self.last_question = ticket.get();
        let round = self.open.number;
        let question =
            Question { round, waiting: 0, is_refused: false, packet: None, deferred: None };
        self.questions.insert(ticket, question);
        ticket
    }

    /// Notes that the question is about a QoS 2 message with this Packet Identifier. `is_kept` says
    /// whether the last record that was put behind the round remembers it.
    pub(crate) fn note_packet(
        &mut self,
        ticket: QuestionId,
        session: SessionId,
        packet_id: PacketIdentifier,
        is_kept: bool,
    ) {
        let last = self.open.end.deferred.len().checked_sub(1).filter(|_| is_kept);
        if let Some(question) = self.questions.get_mut(&ticket) {
            (question.packet, question.deferred) = (Some((session, packet_id)), last);
        }
    }

    /// Whether this question is open.
    pub(crate) fn is_asking(&self, ticket: QuestionId) -> bool {
        self.questions.contains_key(&ticket)
    }

    /// Holds back something that tells what came of a question.
    pub(crate) fn hold_asked(&mut self, ticket: QuestionId, held: Held, durability: Durability) {
        if let Some(question) = self.questions.get_mut(&ticket) {
            question.waiting += 1;
        }
        self.hold(Held::Asked(ticket, Box::new(held)), durability);
    }

    /// Notes that the other worker has refused. Returns the Packet Identifier that is free again.
    pub(crate) fn refuse(&mut self, ticket: QuestionId) -> Option<(SessionId, PacketIdentifier)> {
        let question = self.questions.get_mut(&ticket)?;
        question.is_refused = true;
        let first = self.gathering.front().map_or(0, |waiting| waiting.end.number);
        let round = question.round.checked_sub(first).map(|index| index as usize);
        let waiting = round.and_then(|index| self.gathering.get_mut(index));
        if let (Some(waiting), Some(index)) = (waiting, question.deferred)
            && let Some(op) = waiting.end.deferred.get_mut(index)
            && let StoreOp::AwaitRelease { session, packet_id } = *op
        {
            *op = StoreOp::Released { session, packet_id };
        }
        question.packet
    }

    /// Whether the other worker has refused. Called for each thing held under this ticket when it
    /// leaves.
    pub(crate) fn take_refusal(&mut self, ticket: QuestionId) -> bool {
        let Some(question) = self.questions.get_mut(&ticket) else {
            return false;
        };
        let is_refused = question.is_refused;
        question.waiting -= 1;
        if question.waiting == 0 {
            self.questions.remove(&ticket);
        }
        is_refused
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
    }

    /// Notes that a worker has Sessions in the store; it counts as such from now on.
    pub(crate) fn note_storing(&mut self, worker: WorkerId) {
        self.storing |= worker.bit();
    }

    pub(crate) fn is_storing(&self, worker: WorkerId) -> bool {
        self.storing & worker.bit() != 0
    }

    /// Whether one of these workers has Sessions in the store.
    pub(crate) fn any_stores(&self, workers: u64) -> bool {
        self.storing & workers != 0
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
        let (round, known) = match self.origin {
            Some(round) => (round, self.passed_on.entry(round).or_insert(0)),
            None => {
                let number = self.open.number;
                self.open.end.promise(durability);
                self.open.end.confirms |= qos == QoS::ExactlyOnce;
                (Round { worker: self.worker, number }, &mut self.open.asked)
            }
        };
        self.sent += 1;
        *known |= to.bit();
        if self.told[to.index()].replace(round) != Some(round) {
            turn.fx.send(to, Peer::Round(round).into());
        }
    }

    /// Handles the question of another worker that has sent all that it had to send in this round.
    pub(crate) fn handle_ask(
        &mut self,
        by: WorkerId,
        round: Round,
        ticket: Ticket,
        postponed: Postponed,
        turn: &mut Turn,
    ) {
        let postponed = if self.is_enabled { postponed } else { Postponed::NONE };
        self.last_ticket += 1;
        let own_ticket = self.last_ticket;
        let mut passed_on = self.passed_on.remove(&round).unwrap_or(0);
        let answers = passed_on.count_ones();
        while passed_on != 0 {
            let to = WorkerId::new(passed_on.trailing_zeros() as usize);
            turn.fx.send(to, Peer::Ask { round, ticket: own_ticket }.into());
            passed_on &= passed_on - 1;
        }
        self.to_answer.push(Asked { by, round, ticket, own_ticket, answers, postponed });
    }

    /// Handles the answer that another worker's part of a round is on its way to the store.
    pub(crate) fn handle_answer(&mut self, round: Round, ticket: Ticket) {
        let answers = if ticket == 0 {
            let mut gathering = self.gathering.iter_mut();
            let waiting = gathering.find(|waiting| waiting.end.number == round.number);
            waiting.map(|waiting| &mut waiting.answers)
        } else {
            let mut to_answer = self.to_answer.iter_mut();
            let asked = to_answer.find(|asked| asked.own_ticket == ticket);
            asked.map(|asked| &mut asked.answers)
        };
        if let Some(answers) = answers {
            *answers -= 1;
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

    /// Whether a turn has to be ended soon, even if nothing comes from outside.
    pub(crate) fn has_work(&self) -> bool {
        !self.ops.is_empty()
            || !self.ready.is_empty()
            || !self.open.is_idle()
            || self.to_answer.iter().any(|asked| asked.answers == 0)
            || self.gathering.front().is_some_and(|front| front.answers == 0)
    }

    /// Whether rounds wait for other workers, or other workers for this one.
    pub(crate) fn is_gathering(&self) -> bool {
        !self.gathering.is_empty() || !self.to_answer.is_empty()
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
                self.make_ready(end);
            }
        }
        self.close_commit(turn);
        // After the commit, which has to be with the store before the other worker hears of it.
        self.to_answer.retain(|asked| {
            let is_done = asked.answers == 0 && asked.postponed.is_within(done);
            if is_done {
                let (round, ticket) = (asked.round, asked.ticket);
                turn.fx.send(asked.by, Peer::Answer { round, ticket }.into());
            }
            !is_done
        });
    }

    fn close_round(&mut self, pushed: Postponed, done: Postponed, turn: &mut Turn) {
        if self.open.is_idle() {
            return;
        }
        let number = self.open.number;
        let round = std::mem::replace(&mut self.open, OpenRound::new(number + 1));
        let OpenRound { mut asked, end, .. } = round;
        let answers = asked.count_ones();
        while asked != 0 {
            let to = WorkerId::new(asked.trailing_zeros() as usize);
            let round = Round { worker: self.worker, number };
            turn.fx.send(to, Peer::Ask { round, ticket: 0 }.into());
            asked &= asked - 1;
        }
        let gathering = Gathering { answers, postponed: pushed, end };
        if self.gathering.is_empty() && gathering.is_complete(done) {
            self.make_ready(gathering.end);
        } else {
            self.gathering.push_back(gathering);
        }
    }

    fn make_ready(&mut self, mut end: RoundEnd) {
        self.ops.append(&mut end.deferred);
        if end.confirms || end.is_provisional {
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
        if self.ops.is_empty() && promise.is_none() {
            return self.ready.clear();
        }
        let number = self.commit;
        self.commit += 1;
        let durability = promise.unwrap_or(Durability::Memory);
        turn.fx.commits.push(Commit { number, durability, ops: std::mem::take(&mut self.ops) });
        let ends = std::mem::take(&mut self.ready);
        if !ends.is_empty() {
            self.committing.push_back(Committing { commit: number, durability, ends });
        }
    }

    pub(crate) fn note_receipt(&mut self, receipt: Receipt) {
        self.receipt = receipt;
    }

    /// Returns what the receipts release, one commit at a time; `None` if there is no more.
    /// `others` is the set of workers that hear of confirmed rounds.
    pub(crate) fn next_released(&mut self, others: u64, turn: &mut Turn) -> Option<Vec<Held>> {
        let front = self.committing.front()?;
        let durable = match front.durability {
            Durability::Fsync => self.receipt.synced,
            _ => self.receipt.written,
        };
        if durable < front.commit {
            return None;
        }
        let mut held = Vec::new();
        for mut end in self.committing.pop_front()?.ends {
            self.confirmed[self.worker.index()] = end.number;
            held.append(&mut end.held);
            if end.confirms {
                let round = Round { worker: self.worker, number: end.number };
                held.extend(self.handle_confirmed(round).into_iter().map(Held::Send));
                self.tell_confirmed(round, others, turn);
            }
        }
        Some(held)
    }

    fn tell_confirmed(&self, round: Round, mut others: u64, turn: &mut Turn) {
        while others != 0 {
            let to = WorkerId::new(others.trailing_zeros() as usize);
            turn.fx.send(to, Peer::Confirmed(round).into());
            others &= others - 1;
        }
    }
}

impl OpenRound {
    fn new(number: u64) -> Self {
        Self { number, asked: 0, end: RoundEnd { number, ..RoundEnd::default() } }
    }

    fn is_idle(&self) -> bool {
        let RoundEnd { held, deferred, durability, is_provisional, .. } = &self.end;
        let has_end = !held.is_empty() || !deferred.is_empty() || durability.is_some();
        self.asked == 0 && !has_end && !is_provisional
    }
}

impl RoundEnd {
    fn promise(&mut self, durability: Durability) {
        self.durability = self.durability.max(Some(durability));
    }
}

impl Gathering {
    fn is_complete(&self, done: Postponed) -> bool {
        self.answers == 0 && self.postponed.is_within(done)
    }
}

#[cfg(test)]
mod tests;
