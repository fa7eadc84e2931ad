//! A SUBSCRIBE with many filters asks for as many walks over the retained messages. In each turn, a
//! bounded number of walks begin, or are released to follow the SUBACK. This module must never
//! change their order.

use std::collections::VecDeque;

use crate::boundary::peer_messages::Ticket;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::retained::Retained;

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

impl Retained {
    /// Begins the walks of a SUBSCRIBE, which stays pending until they have brought their first
    /// matches.
    pub(crate) fn begin_walks(&mut self, ground: &mut Ground, subscribe: Ticket, turn: &mut Turn) {
        let count = self.beginnings.left;
        if self.begin_some(ground, subscribe, count, turn) {
            self.arrived.push_back(subscribe);
        } else {
            self.beginnings.waiting.push_back((subscribe, Step::Begin));
        }
    }

    /// Lets the walks that waited for a SUBACK follow it, now that it has left.
    pub(crate) fn let_walks_follow(&mut self, ground: &mut Ground, subscribe: Ticket) {
        let count = self.beginnings.left;
        if !self.let_some_follow(ground, subscribe, count) {
            self.beginnings.waiting.push_back((subscribe, Step::Follow));
        }
    }

    /// Continues with the walks that are to begin or to follow their SUBACKs, within this turn's
    /// share.
    pub(crate) fn run_beginnings(&mut self, ground: &mut Ground, turn: &mut Turn) {
        // Waiting walks make progress even if many others have begun at once in this turn.
        self.beginnings.left = self.beginnings.left.max(Beginnings::SLICE);
        while self.beginnings.left > 0 {
            let Some((subscribe, step)) = self.beginnings.waiting.pop_front() else {
                break;
            };
            let count = self.beginnings.left.min(Beginnings::SLICE);
            match (step, self.run_beginning(ground, subscribe, step, count, turn)) {
                (Step::Begin, true) => self.arrived.push_back(subscribe),
                (Step::Follow, true) => (),
                (_, false) => self.beginnings.waiting.push_back((subscribe, step)),
            }
        }
    }

    fn run_beginning(
        &mut self,
        ground: &mut Ground,
        subscribe: Ticket,
        step: Step,
        count: usize,
        turn: &mut Turn,
    ) -> bool {
        match step {
            Step::Begin => self.begin_some(ground, subscribe, count, turn),
            Step::Follow => self.let_some_follow(ground, subscribe, count),
        }
    }

    /// Begins up to `count` walks; true if all have begun.
    fn begin_some(
        &mut self,
        ground: &mut Ground,
        subscribe: Ticket,
        count: usize,
        turn: &mut Turn,
    ) -> bool {
        let tickets = self.requests.take_to_begin(subscribe, count);
        self.note_beginnings(ground, tickets.len());
        let is_all = tickets.len() < count;
        for ticket in tickets {
            let answers = self.begin_walk(ground, ticket, subscribe, turn);
            ground.work.add(answers);
            if let Some(pending) = ground.pending.subscribe(subscribe) {
                pending.wait_for(answers);
            }
        }
        is_all
    }

    /// Lets up to `count` walks follow the SUBACK; true if all do.
    fn let_some_follow(&mut self, ground: &mut Ground, subscribe: Ticket, count: usize) -> bool {
        let followed = self.requests.let_follow(subscribe, count);
        self.note_beginnings(ground, followed);
        followed < count || !self.requests.holds(subscribe)
    }

    fn note_beginnings(&mut self, ground: &mut Ground, walks: usize) {
        ground.work.add(walks);
        self.beginnings.left -= walks;
    }

    /// Renews the share of walks at the end of a turn.
    pub(crate) fn renew_beginnings(&mut self) {
        self.beginnings.left = Beginnings::WALKS_PER_TURN;
    }
}
