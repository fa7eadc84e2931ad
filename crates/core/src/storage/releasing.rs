//! Does what waited for the store or for another worker: acknowledgements leave, queues go on. A
//! round may have held back something for each of a hundred thousand Sessions, so this happens in
//! slices, in the order in which things were held back: no acknowledgement overtakes another one.

use std::collections::VecDeque;

use midge_codec::ReasonCode;

use crate::base::drop_reason::DropReason;
use crate::boundary::effects::DisconnectReason;
use crate::boundary::turn::Turn;
use crate::core::Core;
use crate::receive::publishing::Verdict;
use crate::waiting::rounds::{Held, HeldAcknowledgement};

/// What is not held back any more and has not happened yet.
#[derive(Debug)]
pub(crate) struct Releases {
    waiting: VecDeque<Held>,
    /// How many of them this turn has time for.
    left: usize,
}

impl Default for Releases {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), left: Self::PER_TURN }
    }
}

impl Releases {
    const PER_TURN: usize = 16_384;

    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.len() * size_of::<Held>()
    }
}

impl Core {
    /// Does what is released, now or as soon as a turn has time for it.
    pub(crate) fn release(&mut self, released: impl IntoIterator<Item = Held>, turn: &mut Turn) {
        self.releases.waiting.extend(released);
        self.go_on_releasing(turn);
    }

    fn go_on_releasing(&mut self, turn: &mut Turn) {
        while self.releases.left > 0
            && let Some(held) = self.releases.waiting.pop_front()
        {
            self.releases.left -= 1;
            self.ground.work.add(1);
            self.release_one(held, turn);
        }
    }

    /// Goes on with what earlier turns had no time for, within this turn's share.
    pub(crate) fn run_releases(&mut self, turn: &mut Turn) {
        self.go_on_releasing(turn);
        self.releases.left = Releases::PER_TURN;
    }

    fn release_one(&mut self, held: Held, turn: &mut Turn) {
        match held {
            Held::Acknowledge(acknowledgement) => {
                self.ground.clients.release_acknowledgement(&acknowledgement, turn);
            }
            Held::Connected(id) => self.complete_connect(id, turn),
            Held::Ended(client, _) => self.remains.settle_end(client, turn),
            Held::Subscribed(ticket) => {
                self.subscriptions.arrive(&mut self.router, &mut self.ground, ticket, turn);
            }
            Held::Published(ticket, outcome) => turn.fx.local_published.push((ticket, outcome)),
            Held::Send(session) => self.send_on(session, turn),
            Held::Ahead(session, sent_before) => {
                self.ground.clients.note_ahead(session, sent_before);
                self.send_on(session, turn);
            }
            Held::Asked(ticket, held) => {
                let is_refused = self.ground.clients.rounds.take_refusal(ticket);
                let held = if is_refused { refused(*held) } else { *held };
                self.release_one(held, turn);
            }
            Held::Withheld(held) => self.withhold(*held, turn),
        }
    }

    /// Lets go of something that must not be told. A publisher that gets no acknowledgement is
    /// disconnected, so that it sends again what it has no answer for.
    fn withhold(&mut self, held: Held, turn: &mut Turn) {
        match held {
            Held::Acknowledge(held) => {
                if let Some(id) = self.ground.clients.withhold_acknowledgement(&held) {
                    let code = ReasonCode::ImplementationSpecificError;
                    self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
                }
            }
            Held::Published(ticket, _) => {
                turn.fx.local_published.push((ticket, Err(DropReason::PeerGone)));
            }
            Held::Asked(ticket, held) => {
                // Whatever came of the question.
                self.ground.clients.rounds.take_refusal(ticket);
                self.withhold(*held, turn);
            }
            held => self.release_one(held, turn),
        }
    }
}

/// Returns what is said instead when the home of a topic has no room for a retained message.
fn refused(held: Held) -> Held {
    match held {
        Held::Acknowledge(held) => {
            let verdict = Verdict::from(DropReason::RetainedLimit);
            let Verdict { reason_code, explanation, .. } = verdict;
            Held::Acknowledge(HeldAcknowledgement { reason_code, explanation, ..held })
        }
        Held::Published(ticket, _) => Held::Published(ticket, Err(DropReason::RetainedLimit)),
        held => held,
    }
}
