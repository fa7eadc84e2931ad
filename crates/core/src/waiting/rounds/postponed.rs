//! What rounds have to do with Sessions that go from one worker to another, and with everything
//! else that is delivered later than it came.

use midge_codec::QoS;

use super::Rounds;
use super::answers::PassedOn;
use crate::base::durability::Durability;
use crate::base::identity::SessionId;
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::Peer;
use crate::boundary::store_records::{Owner, Round, StoreOp};
use crate::boundary::turn::Turn;

/// How many deliveries were put off so far, or how many of the first ones are done: fan-outs, and
/// messages for Sessions that have not arrived from other workers yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Postponed {
    pub(crate) fan_outs: u64,
    pub(crate) arrivals: u64,
}

impl Postponed {
    pub(super) const NONE: Self = Self { fan_outs: 0, arrivals: 0 };

    pub(super) fn is_within(self, done: Self) -> bool {
        self.fan_outs <= done.fan_outs && self.arrivals <= done.arrivals
    }
}

impl Rounds {
    /// Notes that deliveries of a message are put off and returns its round: that round waits for
    /// them, and what they keep later counts with it. `None` if nothing has to be kept.
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

    /// Has a round that is asked about, or gathers its answers, wait for this message as well: it
    /// was routed late, and now waits for its Session to arrive.
    pub(crate) fn wait_for_arrival(&mut self, round: Round, number: u64) {
        let of_others = self.to_answer.iter_mut().filter(|it| it.round == round);
        for asked in of_others {
            asked.postponed.arrivals = number;
        }
        if round.worker == self.worker {
            let own = self.gathering.iter_mut().filter(|it| it.end.number == round.number);
            for gathering in own {
                gathering.postponed.arrivals = number;
            }
        }
    }

    /// Has all workers told when what this worker has kept so far is durable: a Session that waits
    /// for it goes to another one.
    pub(crate) fn confirm_to_all(&mut self) {
        // That worker has to hear if one of them does not count.
        for gathering in &mut self.gathering {
            gathering.end.confirms |= gathering.end.is_provisional;
        }
        self.open.end.confirms = true;
        self.open.end.promise(Durability::Interval);
    }

    /// Notes that something of a round, which had been put by, is not kept by anybody.
    pub(crate) fn break_round(&mut self, round: Round) {
        if round.worker == self.worker {
            let own = self.gathering.iter_mut().map(|it| &mut it.end);
            let own = own.chain([&mut self.open.end]);
            own.filter(|it| it.number == round.number).for_each(|it| it.is_broken = true);
        }
        let asked = self.to_answer.iter_mut().filter(|it| it.round == round);
        if asked.map(|it| it.is_broken = true).count() == 0
            && round.worker != self.worker
            && self.members.contains(round.worker)
        {
            self.passed_on.entry(round).or_default().is_broken = true;
        }
    }

    /// Has a Session that has come from another worker go on when this round is confirmed.
    pub(crate) fn await_confirmation(&mut self, round: Round, session: SessionId) {
        if !self.is_confirmed(round) {
            let waiting = &mut self.unconfirmed[round.worker.index()];
            let waiting = waiting.entry(round.number).or_default();
            if waiting.last() != Some(&session) {
                waiting.push(session);
            }
        }
    }

    /// Whether everything that was put behind this round or an earlier one of this worker is on its
    /// way to the store.
    pub(crate) fn has_left(&self, round: Round) -> bool {
        let is_closed = self.open.number > round.number || self.open.is_idle();
        let first = self.gathering.front();
        is_closed && first.is_none_or(|first| first.end.number > round.number)
    }

    /// Whether a record of the Session with this number in the store waits for a round to end.
    /// Those that its next worker writes have to come after it.
    pub(crate) fn has_put_behind(&self, number: u64) -> bool {
        let ends = self.gathering.iter().map(|it| &it.end).chain([&self.open.end]);
        let mut ops = ends.flat_map(|end| &end.deferred);
        ops.any(|op| session_of(op) == Some(number))
    }

    /// Asks the workers to which something was passed on for a round that was asked about before:
    /// it had waited for a Session to arrive. A worker that has not answered yet is asked again
    /// when it has.
    pub(super) fn ask_late(&mut self, turn: &mut Turn) {
        if self.passed_on.is_empty() {
            return;
        }
        let own = self.worker;
        let of_others = self.to_answer.iter_mut();
        let of_others =
            of_others.map(|it| (it.round, it.own_ticket, &mut it.awaited, &mut it.is_broken));
        let of_own = self.gathering.iter_mut();
        let of_own = of_own.map(|it| {
            let round = Round { worker: own, number: it.end.number };
            (round, 0, &mut it.awaited, &mut it.end.is_broken)
        });
        for (round, ticket, awaited, is_broken) in of_others.chain(of_own) {
            let Some(PassedOn { to: late, is_broken: is_late_broken }) =
                self.passed_on.remove(&round)
            else {
                continue;
            };
            *is_broken |= is_late_broken;
            let mut later = WorkerSet::EMPTY;
            for to in late {
                if awaited.insert(to) {
                    turn.fx.send(to, Peer::Ask { round, ticket }.into());
                } else {
                    later.insert(to);
                }
            }
            if !later.is_empty() {
                self.passed_on.insert(round, PassedOn { to: later, is_broken: false });
            }
        }
    }
}

/// The number of the Session that a record is about, if that goes on.
fn session_of(op: &StoreOp) -> Option<u64> {
    match *op {
        StoreOp::Session(ref record) => Some(record.number),
        StoreOp::Detached { session, .. }
        | StoreOp::SentAhead { session, .. }
        | StoreOp::WillGone { session }
        | StoreOp::AwaitRelease { session, .. }
        | StoreOp::Released { session, .. }
        | StoreOp::Finished { owner: Owner::Session(session), .. } => Some(session),
        _ => None,
    }
}
