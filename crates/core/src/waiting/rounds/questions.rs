//! Questions to another worker whose verdict an acknowledgement tells: whether it retains a
//! message.
//!
//! A verdict comes before the answer to the round in which the question was asked, so nothing waits
//! for it beside that.

use midge_codec::PacketIdentifier;

use super::{Held, Rounds};
use crate::base::durability::Durability;
use crate::base::identity::{SessionId, WorkerId};
use crate::boundary::peer_messages::QuestionId;
use crate::boundary::store_records::StoreOp;

/// A question to another worker, until everything that waits for its answer has left.
#[derive(Debug)]
pub(super) struct Question {
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

impl Rounds {
    /// Asks another worker to say so if it refuses something that is sent to it now. What is held
    /// under the returned ticket waits for its answer.
    pub(crate) fn ask(&mut self, to: WorkerId) -> QuestionId {
        debug_assert!(self.origin.is_none(), "only publishers of this worker ask");
        match self.members.contains(to) {
            true => _ = self.open.asked.insert(to),
            false => self.open.end.is_broken = true,
        }
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
}
