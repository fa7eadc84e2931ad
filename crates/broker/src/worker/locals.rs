//! The subscribers inside the process that belong to one worker.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::ReasonCode;
use midge_core::{ConnectionId, DropReason};

use crate::inbox::{Inbox, Letter, LocalMessage, LocalSubscribe};
use crate::program::bounded_queue::BoundedQueue;
use crate::program::message::ReceivedMessage;
use crate::program::publish_window::Permit;
use crate::program::reply::{Answer, RequestError};
use crate::program::subscription::{Subscription, new_queue};
use crate::worker::Worker;

/// Queues to receivers inside the process, by the core's name for them.
#[derive(Default)]
pub(crate) struct Locals {
    receivers: HashMap<ConnectionId, Local, foldhash::fast::FixedState>,
    /// Messages of the process that are to be published, in the order in which they came.
    waiting: VecDeque<Box<LocalMessage>>,
    /// Messages published by the process that are not durable yet, by their tickets.
    publishes: HashMap<u64, Published, foldhash::fast::FixedState>,
    last_ticket: u64,
}

/// What is left to do for a message: first to give back its room, then to answer.
type Published = (Permit, Answer<usize, RequestError>);

struct Local {
    queue: Arc<BoundedQueue<ReceivedMessage>>,
    /// The caller who waits for the subscription to take effect.
    answer: Option<Answer<Subscription, RequestError>>,
}

impl Locals {
    /// Passes a message on. Returns false if the receiver does not take its messages in time.
    pub(crate) fn send(&self, connection: ConnectionId, message: ReceivedMessage) -> bool {
        self.receivers.get(&connection).is_some_and(|local| local.queue.push(message))
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
            answer.end(match refusal {
                Some(code) => Err(RequestError::Refused(code)),
                None => {
                    let inbox = Arc::clone(inbox);
                    let end = move || inbox.send(Letter::Unsubscribe { connection });
                    Ok(Subscription::new(Arc::clone(&local.queue), end))
                }
            });
        }
        if refusal.is_some() {
            self.remove(connection);
        }
        refusal.is_some()
    }

    /// Takes a message that is to be published.
    pub(crate) fn note_publish(&mut self, message: Box<LocalMessage>) {
        self.waiting.push_back(message);
    }

    /// Returns whether messages are still to be published.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns a ticket for a message of the process, under which the outcome is reported.
    fn begin_publish(&mut self, published: Published) -> u64 {
        self.last_ticket += 1;
        self.publishes.insert(self.last_ticket, published);
        self.last_ticket
    }

    pub(crate) fn end_publish(&mut self, ticket: u64, outcome: Result<usize, DropReason>) {
        if let Some((permit, answer)) = self.publishes.remove(&ticket) {
            drop(permit);
            answer.end(outcome.map_err(RequestError::Dropped));
        }
    }

    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        if let Some(local) = self.receivers.remove(&connection) {
            local.queue.close();
        }
    }

    pub(crate) fn close_all(&mut self) {
        for (_, local) in self.receivers.drain() {
            local.queue.close();
        }
    }
}

impl Worker {
    /// Publishes what the process has given. The process is one publisher among many: in a turn
    /// about as much is taken from it as from a socket, at least one message, and none while
    /// publishers are held back.
    pub(crate) fn publish_waiting(&mut self) {
        let mut bytes = 0;
        while (bytes == 0 || bytes < Self::SCRATCH_BYTES && !self.core.is_turn_over())
            && !self.core.holds_publishers_back()
            && let Some(local) = self.locals.waiting.pop_front()
        {
            let LocalMessage { message, permit, answer } = *local;
            bytes += message.size();
            let ticket = self.locals.begin_publish((permit, answer));
            self.core.publish_local(&message.as_local(), ticket, &mut self.turn);
        }
    }

    pub(crate) fn subscribe_local(&mut self, subscribe: LocalSubscribe) {
        let LocalSubscribe { filter, options, answer } = subscribe;
        let id = self.core.open_local(&mut self.turn);
        self.locals.receivers.insert(id, Local { queue: new_queue(), answer: Some(answer) });
        self.core.subscribe_local(id, &filter, options, &mut self.turn);
    }
}
