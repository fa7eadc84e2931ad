//! What waits for the store: the commit that is being gathered, and the acknowledgements that must
//! not leave before it is durable.
//!
//! A worker's turn is one *round*. What it keeps goes into the turn's commit. What other workers
//! keep on its behalf goes into theirs; at the end of the turn they are asked, and answer when
//! their commits are on the way. The store takes commits in order: once all have answered, the
//! receipt of one more commit of this worker says that all of it is durable. So an acknowledgement
//! waits first for the answers (*gathering*), then for a receipt (*committing*); if no other worker
//! was involved, only for the receipt of its own turn.
//!
//! It must never let an acknowledgement overtake an earlier one, and never forget one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, PacketType, QoS, ReasonCode};

use crate::drops::DropReason;
use crate::effects::Effects;
use crate::identity::{ConnectionId, Identity, SessionId, WorkerId};
use crate::outgoing::Delivery;
use crate::peer::{Peer, Ticket};
use crate::stored::{Commit, Durability, Enqueue, Owner, Receipt, Round, StoreOp, StoredDelivery};

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
    /// A Session's queue may go on: a QoS 2 message in it was not durable yet.
    Send(SessionId),
    /// The same: the store knows now that messages below this sequence may be sent.
    Ahead(SessionId, u64),
    /// Another worker was asked whether it takes something, under this ticket.
    Asked(Ticket, Box<Held>),
}

/// What another worker was asked for, and nobody knows yet whether it has said no.
#[derive(Debug)]
struct Question {
    /// The round whose end waits for the answer.
    round: u64,
    /// How many acknowledgements say what came of it.
    waiting: u32,
    is_refused: bool,
    /// The QoS 2 message that it is about, and which record of the round's end remembers its Packet
    /// Identifier, if one does.
    packet: Option<(SessionId, PacketIdentifier)>,
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
    pub(crate) is_enabled: bool,
    /// Whether the store takes no new messages.
    pub(crate) is_full: bool,
    /// Workers that have Sessions in the store, as a set of bits: only they are asked.
    storing: u64,

    /// The number of the commit that is open, and what is in it.
    commit: u64,
    ops: Vec<StoreOp>,
    /// Rounds that are released with the commit that is open.
    ready: Vec<RoundEnd>,

    open: OpenRound,
    gathering: VecDeque<Gathering>,
    committing: VecDeque<Committing>,
    receipt: Receipt,
    /// Where acknowledgements for streams that have ended go, and how many are still held back.
    redirects: HashMap<ConnectionId, (ConnectionId, u32), foldhash::fast::FixedState>,

    /// On whose behalf things are done now, if not on that of this worker's own round.
    origin: Option<Round>,
    /// The round that each worker was told last: what it gets next to keep belongs to it.
    told: Box<[Option<Round>]>,
    /// The round that each worker has told last.
    heard: Box<[Option<Round>]>,
    /// To whom what came from another worker was passed on.
    passed_on: HashMap<Round, u64, foldhash::fast::FixedState>,
    to_answer: Vec<Asked>,
    /// The last ticket that was given to a question of another worker that others have to answer
    /// first; questions about rounds of this worker's own have ticket 0.
    last_ticket: Ticket,
    /// The last confirmed round of each worker.
    confirmed: Box<[u64]>,
    /// Sessions that wait for rounds of each other worker to be confirmed, by their numbers.
    unconfirmed: Box<[BTreeMap<u64, Vec<SessionId>>]>,
    /// Counts what was sent to other workers to be kept.
    sent: u64,
    questions: HashMap<Ticket, Question, foldhash::fast::FixedState>,
    last_question: Ticket,
    /// Without a store: what has waited for other workers only.
    answered: Vec<Held>,
}

/// The round of this turn.
#[derive(Debug)]
struct OpenRound {
    number: u64,
    /// Workers that have got something to keep, as a set of bits.
    asked: u64,
    end: RoundEnd,
}

/// What follows when all that a round has kept is durable.
#[derive(Debug, Default)]
struct RoundEnd {
    number: u64,
    held: Vec<Held>,
    /// What has to be kept behind everything that the round has kept anywhere.
    deferred: Vec<StoreOp>,
    /// The strongest promise in it; absent if nobody waits.
    durability: Option<Durability>,
    /// Whether other workers have kept QoS 2 messages, which count once the round is confirmed.
    confirms: bool,
    /// Whether this worker has.
    is_provisional: bool,
}

/// A round that waits for other workers, or for fan-outs that were put off.
#[derive(Debug)]
struct Gathering {
    answers: u32,
    /// How many fan-outs have to be done.
    routings: u64,
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
    /// As the answer has to name it.
    ticket: Ticket,
    /// As those name it who have to answer first.
    own_ticket: Ticket,
    answers: u32,
    routings: u64,
}

/// A moment, to find out whether something was kept, or sent to be kept, since.
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

    /// Adds to the open commit.
    #[inline]
    pub(crate) fn keep(&mut self, op: StoreOp) {
        self.ops.push(op);
    }

    /// Adds a message that waits for `owner`. One of QoS 2 counts as a whole with what else is kept
    /// of it, which may be in a later commit: the Packet Identifier that it came with, too.
    pub(crate) fn keep_message(&mut self, owner: Owner, sequence: u64, delivery: &Delivery) {
        let exactly_once = delivery.message.attributes().qos == QoS::ExactlyOnce;
        let delivery = StoredDelivery {
            message: Arc::clone(&delivery.message),
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers.clone(),
            group: delivery.group.map(|group| group.number),
        };
        let round =
            exactly_once.then(|| self.origin.unwrap_or_else(|| self.own_provisional_round()));
        self.keep(StoreOp::Enqueue(Box::new(Enqueue { owner, sequence, delivery, round })));
    }

    fn own_provisional_round(&mut self) -> Round {
        self.open.end.is_provisional = true;
        Round { worker: self.worker, number: self.open.number }
    }

    /// The round with which a message that is kept now counts, and before whose confirmation it
    /// must not go on; absent if it counts by itself.
    pub(crate) fn round_of(&self, delivery_qos: QoS) -> Option<Round> {
        let own = Round { worker: self.worker, number: self.open.number };
        (delivery_qos == QoS::ExactlyOnce).then(|| self.origin.unwrap_or(own))
    }

    /// Adds to the commit that comes when all that this round keeps is on its way to the store, at
    /// other workers, too.
    pub(crate) fn keep_behind_round(&mut self, op: StoreOp) {
        self.open.end.deferred.push(op);
    }

    /// Holds something back until everything of this round is as durable as it has to be.
    pub(crate) fn hold(&mut self, held: Held, durability: Durability) {
        self.open.end.promise(durability.max(Durability::Interval));
        self.open.end.held.push(held);
    }

    /// A stream has ended: so many acknowledgements that are held back for it go to another one.
    pub(crate) fn redirect(&mut self, from: ConnectionId, to: ConnectionId, held: u32) {
        if held > 0 {
            self.redirects.insert(from, (to, held));
        }
    }

    /// Where an acknowledgement that is not held back any more goes, if its stream has ended.
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

    /// Another worker is to say no to something that is sent to it now, if it does: what is held
    /// under the ticket of this question waits for it.
    pub(crate) fn ask(&mut self, to: WorkerId) -> Ticket {
        debug_assert!(self.origin.is_none(), "only publishers of this worker ask");
        self.open.asked |= to.bit();
        self.last_question += 1;
        let question = Question {
            round: self.open.number,
            waiting: 0,
            is_refused: false,
            packet: None,
            deferred: None,
        };
        self.questions.insert(self.last_question, question);
        self.last_question
    }

    /// The question is about a QoS 2 message with this Packet Identifier; `is_kept` says whether
    /// what was put behind the round last remembers it.
    pub(crate) fn note_packet(
        &mut self,
        ticket: Ticket,
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
    pub(crate) fn is_asking(&self, ticket: Ticket) -> bool {
        self.questions.contains_key(&ticket)
    }

    /// What is held tells what comes of a question.
    pub(crate) fn hold_asked(&mut self, ticket: Ticket, held: Held, durability: Durability) {
        if let Some(question) = self.questions.get_mut(&ticket) {
            question.waiting += 1;
        }
        self.hold(Held::Asked(ticket, Box::new(held)), durability);
    }

    /// The other worker has said no. Gives the Packet Identifier that is free again.
    pub(crate) fn refuse(&mut self, ticket: Ticket) -> Option<(SessionId, PacketIdentifier)> {
        let question = self.questions.get_mut(&ticket)?;
        question.is_refused = true;
        let first = self.gathering.front().map_or(0, |waiting| waiting.end.number);
        let round = question.round.checked_sub(first).map(|index| index as usize);
        let waiting = round.and_then(|index| self.gathering.get_mut(index));
        if let (Some(waiting), Some(place)) = (waiting, question.deferred)
            && let Some(op) = waiting.end.deferred.get_mut(place)
            && let StoreOp::AwaitRelease { session, packet_id } = *op
        {
            *op = StoreOp::Released { session, packet_id };
        }
        question.packet
    }

    /// What is held under this ticket leaves: whether the other worker has said no.
    pub(crate) fn take_refusal(&mut self, ticket: Ticket) -> bool {
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

    /// What `from` sends from now on to be kept belongs to this round.
    pub(crate) fn hear(&mut self, from: WorkerId, round: Round) {
        self.heard[from.index()] = Some(round);
    }

    /// Things are done on behalf of the round that `from` has told last, until
    /// [`Rounds::end_origin`].
    pub(crate) fn begin_origin(&mut self, from: WorkerId) {
        self.origin = self.heard[from.index()];
    }

    pub(crate) fn end_origin(&mut self) {
        self.origin = None;
    }

    /// A QoS 2 message that is kept for `session` now must not be sent before this round is
    /// confirmed: its Client would know it under a Packet Identifier that nobody remembers.
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

    /// That QoS 2 messages which `session` fetches now are confirmed may not be durable yet: what
    /// those wait for that the store knows to be confirmed.
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

    /// A worker has Sessions in the store, and counts as one that has from now on.
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

    /// A fan-out is put off: the round that it belongs to waits for it, and what it keeps later
    /// counts with that round.
    pub(crate) fn put_off(&mut self, qos: QoS, durability: Durability) -> Option<Round> {
        if !self.is_enabled || durability == Durability::Memory || qos == QoS::AtMostOnce {
            return None;
        }
        self.sent += 1;
        if self.origin.is_none() {
            self.open.end.promise(durability);
            self.open.end.confirms |= qos == QoS::ExactlyOnce;
        }
        self.origin.or(Some(Round { worker: self.worker, number: self.open.number }))
    }

    /// Things are done on behalf of a round of which something was put off.
    pub(crate) fn resume_origin(&mut self, round: Option<Round>) {
        self.origin = round;
    }

    /// What is done now belongs to this worker's own round, until [`Rounds::resume_origin`].
    pub(crate) fn leave_origin(&mut self) -> Option<Round> {
        self.origin.take()
    }

    /// A message leaves for another worker, which may have to keep it. To be called before it is
    /// sent.
    pub(crate) fn note_sent(
        &mut self,
        to: WorkerId,
        qos: QoS,
        durability: Durability,
        fx: &mut Effects,
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
            fx.send(to, Peer::Round(round).into());
        }
    }

    /// Another worker has sent all that it had to send in this round.
    pub(crate) fn handle_ask(
        &mut self,
        by: WorkerId,
        round: Round,
        ticket: Ticket,
        routings: u64,
        fx: &mut Effects,
    ) {
        let routings = if self.is_enabled { routings } else { 0 };
        self.last_ticket += 1;
        let own_ticket = self.last_ticket;
        let mut passed_on = self.passed_on.remove(&round).unwrap_or(0);
        let answers = passed_on.count_ones();
        while passed_on != 0 {
            let to = WorkerId::new(passed_on.trailing_zeros() as usize);
            fx.send(to, Peer::Ask { round, ticket: own_ticket }.into());
            passed_on &= passed_on - 1;
        }
        self.to_answer.push(Asked { by, round, ticket, own_ticket, answers, routings });
    }

    /// Another worker's part of a round is on its way to the store.
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

    /// The round of another worker is durable: gives the Sessions that waited for it.
    pub(crate) fn handle_confirmed(&mut self, round: Round) -> Vec<SessionId> {
        let confirmed = &mut self.confirmed[round.worker.index()];
        *confirmed = round.number.max(*confirmed);
        let waiting = &mut self.unconfirmed[round.worker.index()];
        let later = waiting.split_off(&(round.number + 1));
        std::mem::replace(waiting, later).into_values().flatten().collect()
    }

    /// Whether a turn has to be ended soon, though nothing may come from outside.
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

    /// The end of a turn: the open round goes on its way, and so does what is complete now.
    /// `pushed` fan-outs were put off so far, `done` of them are done.
    pub(crate) fn close_turn(&mut self, pushed: u64, done: u64, fx: &mut Effects) {
        // Without a store, nothing is promised that fan-outs which were put off could break.
        let (pushed, done) = if self.is_enabled { (pushed, done) } else { (0, 0) };
        self.close_round(pushed, done, fx);
        while self.gathering.front().is_some_and(|round| round.is_complete(done)) {
            if let Some(Gathering { end, .. }) = self.gathering.pop_front() {
                self.make_ready(end);
            }
        }
        self.close_commit(fx);
        // Behind the commit: it has to be with the store before the other worker hears of it.
        self.to_answer.retain(|asked| {
            let is_done = asked.answers == 0 && asked.routings <= done;
            if is_done {
                let (round, ticket) = (asked.round, asked.ticket);
                fx.send(asked.by, Peer::Answer { round, ticket }.into());
            }
            !is_done
        });
    }

    fn close_round(&mut self, pushed: u64, done: u64, fx: &mut Effects) {
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
            fx.send(to, Peer::Ask { round, ticket: 0 }.into());
            asked &= asked - 1;
        }
        let gathering = Gathering { answers, routings: pushed, end };
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

    fn close_commit(&mut self, fx: &mut Effects) {
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
        fx.commits.push(Commit { number, durability, ops: std::mem::take(&mut self.ops) });
        let ends = std::mem::take(&mut self.ready);
        if !ends.is_empty() {
            self.committing.push_back(Committing { commit: number, durability, ends });
        }
    }

    pub(crate) fn note_receipt(&mut self, receipt: Receipt) {
        self.receipt = receipt;
    }

    /// What the receipts release, one after the other.
    pub(crate) fn next_released(&mut self, others: u64, fx: &mut Effects) -> Option<Vec<Held>> {
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
                self.tell_confirmed(round, others, fx);
            }
        }
        Some(held)
    }

    fn tell_confirmed(&self, round: Round, mut others: u64, fx: &mut Effects) {
        while others != 0 {
            let to = WorkerId::new(others.trailing_zeros() as usize);
            fx.send(to, Peer::Confirmed(round).into());
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
    fn is_complete(&self, routings_done: u64) -> bool {
        self.answers == 0 && self.routings <= routings_done
    }
}
