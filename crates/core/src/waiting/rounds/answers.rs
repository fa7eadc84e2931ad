//! What workers ask each other about a round, and what an answer says: that the worker has *kept*
//! its part, and how far the asker has to go to rely on that.
//!
//! An answer must never say less than that. A worker with the asker's journal says it when its part
//! is on the way there, ahead of everything that the asker gives to the journal from then on: the
//! asker's own receipt is the receipt of both, which costs no sync and no message. A worker with a
//! journal of its own waits for its own receipt first.

use super::{Postponed, Rounds};
use crate::base::identity::WorkerId;
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{Assurance, Peer, Ticket};
use crate::boundary::store_records::Round;
use crate::boundary::turn::Turn;

/// To whom something of another worker's round was passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PassedOn {
    pub(super) to: WorkerSet,
    /// Whether one of them is gone.
    pub(super) is_broken: bool,
}

/// The answer to another worker's question, except for what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) to: WorkerId,
    pub(super) round: Round,
    pub(super) ticket: Ticket,
}

/// Another worker's question that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) by: WorkerId,
    pub(super) round: Round,
    /// The ticket that the answer has to name.
    pub(super) ticket: Ticket,
    /// The ticket named by the workers that have to answer first.
    pub(super) own_ticket: Ticket,
    /// The workers whose answers are outstanding.
    pub(super) awaited: WorkerSet,
    /// Whether some of it was given only to a worker that is gone.
    pub(super) is_broken: bool,
    /// What has to be done first.
    pub(super) postponed: Postponed,
}

impl Asked {
    pub(super) fn is_complete(&self, done: Postponed) -> bool {
        self.awaited.is_empty() && self.postponed.is_within(done)
    }
}

impl Rounds {
    /// Notes that the journal of another worker is not this worker's: answers between the two say
    /// that something is durable, or they say nothing.
    pub(crate) fn note_own_journal(&mut self, worker: WorkerId) {
        self.own_journals.insert(worker);
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
        let PassedOn { to: awaited, is_broken } = self.passed_on.remove(&round).unwrap_or_default();
        for to in awaited {
            turn.fx.send(to, Peer::Ask { round, ticket: own_ticket }.into());
        }
        let asked = Asked { by, round, ticket, own_ticket, awaited, is_broken, postponed };
        self.to_answer.push(asked);
    }

    /// Handles the answer of another worker about its part of a round.
    pub(crate) fn handle_answer(
        &mut self,
        from: WorkerId,
        round: Round,
        ticket: Ticket,
        assurance: Assurance,
    ) {
        let is_kept = match assurance {
            Assurance::InSharedJournal => !self.own_journals.contains(from),
            Assurance::Durable => true,
            Assurance::Incomplete => false,
        };
        let open = if ticket == 0 {
            let mut gathering = self.gathering.iter_mut();
            let waiting = gathering.find(|it| it.end.number == round.number);
            waiting.map(|it| (&mut it.awaited, &mut it.end.is_broken))
        } else {
            let asked = self.to_answer.iter_mut().find(|asked| asked.own_ticket == ticket);
            asked.map(|asked| (&mut asked.awaited, &mut asked.is_broken))
        };
        if let Some((awaited, is_broken)) = open {
            *is_broken |= awaited.remove(from) && !is_kept;
        }
    }

    /// Takes the answers that leave with this turn. Those that have to wait until this turn's
    /// commit is durable are put beside it.
    pub(super) fn take_answers(&mut self, done: Postponed) -> Vec<(Answer, Assurance)> {
        let (mut answers, mut ready) = (Vec::new(), std::mem::take(&mut self.ready_answers));
        let (own_journals, is_enabled) = (self.own_journals, self.is_enabled);
        self.to_answer.retain(|asked| {
            let is_done = asked.is_complete(done);
            if is_done {
                let answer = Answer { to: asked.by, round: asked.round, ticket: asked.ticket };
                if asked.is_broken {
                    answers.push((answer, Assurance::Incomplete));
                } else if !own_journals.contains(asked.by) {
                    answers.push((answer, Assurance::InSharedJournal));
                } else if is_enabled {
                    ready.push(answer);
                } else {
                    // Nothing is going to keep better what only memory keeps.
                    answers.push((answer, Assurance::Durable));
                }
            }
            !is_done
        });
        self.ready_answers = ready;
        answers
    }
}
