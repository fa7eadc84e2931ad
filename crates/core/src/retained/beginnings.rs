//! A SUBSCRIBE with many filters asks for as many walks over the retained messages. In each turn, a
//! bounded number of walks begin, or are released to follow the SUBACK. This module must never
//! change their order.

use std::collections::VecDeque;

use crate::boundary::peer_messages::Ticket;
use crate::boundary::turn::Turn;
use crate::core::Core;

/// What is left to do for the walks of SUBSCRIBE packets.
#[derive(Debug)]
pub(crate) struct Beginnings {
    waiting: VecDeque<(Ticket, Step)>,
    /// How many more walks this turn has time for.
    left: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The walks are to begin, before the SUBACK leaves.
    Begin,
    /// The SUBACK has left, and the walks are to follow it.
    Follow,
}

impl Default for Beginnings {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), left: Self::WALKS_PER_TURN }
    }
}

impl Beginnings {
    const WALKS_PER_TURN: usize = 1_024;
    /// How many walks of one SUBSCRIBE are handled before the next SUBSCRIBE has its turn.
    const SLICE: usize = 128;

    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Core {
    /// Begins the walks of a SUBSCRIBE, which stays pending until they have brought their first
    /// matches.
    pub(crate) fn begin_walks(&mut self, subscribe: Ticket, turn: &mut Turn) {
        let count = self.retained.beginnings.left;
        if self.begin_some(subscribe, count, turn) {
            self.arrive(subscribe, turn);
        } else {
            self.retained.beginnings.waiting.push_back((subscribe, Step::Begin));
        }
    }

    /// Lets the walks that waited for a SUBACK follow it, now that it has left.
    pub(crate) fn release_walks(&mut self, subscribe: Ticket) {
        let count = self.retained.beginnings.left;
        if !self.release_some(subscribe, count) {
            self.retained.beginnings.waiting.push_back((subscribe, Step::Follow));
        }
    }

    /// Continues with the walks that are to begin or to follow their SUBACKs, within this turn's
    /// share.
    pub(crate) fn run_beginnings(&mut self, turn: &mut Turn) {
        // Waiting walks make progress even if many others have begun at once in this turn.
        self.retained.beginnings.left = self.retained.beginnings.left.max(Beginnings::SLICE);
        while self.retained.beginnings.left > 0 {
            let Some((subscribe, step)) = self.retained.beginnings.waiting.pop_front() else {
                break;
            };
            let count = self.retained.beginnings.left.min(Beginnings::SLICE);
            match (step, self.run_beginning(subscribe, step, count, turn)) {
                (Step::Begin, true) => self.arrive(subscribe, turn),
                (Step::Follow, true) => (),
                (_, false) => self.retained.beginnings.waiting.push_back((subscribe, step)),
            }
        }
    }

    fn run_beginning(
        &mut self,
        subscribe: Ticket,
        step: Step,
        count: usize,
        turn: &mut Turn,
    ) -> bool {
        match step {
            Step::Begin => self.begin_some(subscribe, count, turn),
            Step::Follow => self.release_some(subscribe, count),
        }
    }

    /// Begins up to `count` walks; true if all have begun.
    fn begin_some(&mut self, subscribe: Ticket, count: usize, turn: &mut Turn) -> bool {
        let tickets = self.retained.wishes.take_to_begin(subscribe, count);
        self.note_beginnings(tickets.len());
        let is_all = tickets.len() < count;
        for ticket in tickets {
            let answers = self.begin_walk(ticket, subscribe, turn);
            self.ground.work.add(answers);
            if let Some(pending) = self.pending.subscribe(subscribe) {
                pending.waiting += answers;
            }
        }
        is_all
    }

    /// Lets up to `count` walks follow the SUBACK; true if all do.
    fn release_some(&mut self, subscribe: Ticket, count: usize) -> bool {
        let released = self.retained.wishes.release(subscribe, count);
        self.note_beginnings(released);
        released < count || !self.retained.wishes.holds(subscribe)
    }

    fn note_beginnings(&mut self, walks: usize) {
        self.ground.work.add(walks);
        self.retained.beginnings.left -= walks;
    }

    /// Renews the share of walks at the end of a turn.
    pub(crate) fn renew_beginnings(&mut self) {
        self.retained.beginnings.left = Beginnings::WALKS_PER_TURN;
    }
}
