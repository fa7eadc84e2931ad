//! The subscribers inside the process that belong to one worker.

use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::ReasonCode;
use midge_core::{ConnectionId, DropReason};

use crate::inbox::{Inbox, LocalSubscribe};
use crate::message::ReceivedMessage;
use crate::reply::Answer;
use crate::subscription::{Sender, Subscription};
use crate::worker::Worker;

/// Queues to receivers inside the process, by the core's name for them.
#[derive(Default)]
pub(crate) struct Locals {
    receivers: HashMap<ConnectionId, Local, foldhash::fast::FixedState>,
    /// Messages published by the process that are not durable yet, by their tickets.
    publishes: HashMap<u64, PublishAnswer, foldhash::fast::FixedState>,
    last_ticket: u64,
}

type PublishAnswer = Answer<Result<usize, DropReason>>;

struct Local {
    sender: Sender,
    /// The caller who waits for the subscription to take effect.
    answer: Option<Answer<Result<Subscription, ReasonCode>>>,
}

impl Locals {
    /// Passes a message on. Returns false if the receiver does not take its messages in time.
    pub(crate) fn send(&self, connection: ConnectionId, message: ReceivedMessage) -> bool {
        self.receivers.get(&connection).is_some_and(|local| local.sender.send(message))
    }

    /// Answers that the subscription is in effect or was refused. Returns true if it was refused.
    /// If nobody waits for the answer any more, the subscription is dropped with it, and so ends.
    pub(crate) fn answer(
        &mut self,
        connection: ConnectionId,
        codes: &[ReasonCode],
        inbox: &Arc<Inbox>,
    ) -> bool {
        let refusal = codes.iter().copied().find(|code| code.is_error());
        if let Some(local) = self.receivers.get_mut(&connection)
            && let Some(answer) = local.answer.take()
        {
            answer.send(match refusal {
                Some(code) => Err(code),
                None => Ok(Subscription::new(&local.sender, Arc::clone(inbox), connection)),
            });
        }
        if refusal.is_some() {
            self.remove(connection);
        }
        refusal.is_some()
    }

    /// Returns a ticket for a message of the process, under which the outcome is reported.
    pub(crate) fn begin_publish(&mut self, answer: PublishAnswer) -> u64 {
        self.last_ticket += 1;
        self.publishes.insert(self.last_ticket, answer);
        self.last_ticket
    }

    pub(crate) fn end_publish(&mut self, ticket: u64, outcome: Result<usize, DropReason>) {
        if let Some(answer) = self.publishes.remove(&ticket) {
            answer.send(outcome);
        }
    }

    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        if let Some(local) = self.receivers.remove(&connection) {
            local.sender.close();
        }
    }

    pub(crate) fn close_all(&mut self) {
        for (_, local) in self.receivers.drain() {
            local.sender.close();
        }
    }
}

impl Worker {
    pub(crate) fn subscribe_local(&mut self, subscribe: LocalSubscribe) {
        let LocalSubscribe { filter, options, answer } = subscribe;
        let sender = Sender::new();
        let id = self.core.open_local(&mut self.turn);
        self.locals.receivers.insert(id, Local { sender, answer: Some(answer) });
        self.core.subscribe_local(id, &filter, options, &mut self.turn);
    }
}
