//! Sessions of the embedding program: what it receives and acknowledges. The worker that has such a
//! Session speaks MQTT for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use midge_codec::{PacketIdentifier, PublishProperties, QoS, UserProperties};
use midge_core::{ConnectionId, Message};

use crate::program::bounded_queue::BoundedQueue;

/// How a [`ProgramSession`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Who acknowledges messages, and when.
    pub acknowledge: Acknowledge,
    /// How long the Session lives on in seconds while the program does not have it open, within the
    /// limit of the broker; `u32::MAX`: it does not expire. 0: it ends when it is closed.
    pub expiry_seconds: u32,
    /// How many messages of QoS 1 and 2 the program may have without having acknowledged them. All
    /// others wait in the Session's queue. 0 counts as 1, and the limit
    /// `inflight_messages_max` holds, too.
    pub unacknowledged_max: u16,
}

impl Default for SessionOptions {
    /// By hand, the Session does not expire, and 100 messages may be unacknowledged.
    fn default() -> Self {
        let acknowledge = Acknowledge::ByHand;
        Self { acknowledge, expiry_seconds: u32::MAX, unacknowledged_max: 100 }
    }
}

/// Who acknowledges the messages of a [`ProgramSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// The program, by [`SessionMessage::acknowledge`].
    ByHand,
    /// The Session, as soon as the program takes a message: if the program ends before it has used
    /// the message, the message does not come again.
    WhenTaken,
}

/// A Session of the program, see [`BrokerHandle::open_session`](crate::BrokerHandle::open_session).
/// Dropping it closes it; it lives on and gathers messages, as that of an absent Client does.
///
/// Messages of QoS 0 are not kept: 10,000 may wait here, and further ones are dropped.
pub struct ProgramSession {
    queue: SessionQueue,
    line: Line,
    acknowledge: Acknowledge,
    was_present: bool,
}

/// The queue between a worker and the program.
pub(crate) type SessionQueue = Arc<BoundedQueue<SessionMessage>>;

/// A message as a Session of the program gets it.
#[derive(Clone)]
pub struct SessionMessage {
    message: Message,
    retain: bool,
    is_again: bool,
    /// How it is acknowledged; absent at QoS 0.
    delivery: Option<SessionDelivery>,
    line: Line,
}

/// Which delivery is acknowledged. Packet Identifiers come again, numbers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionDelivery {
    pub(crate) packet_id: PacketIdentifier,
    pub(crate) number: u64,
}

/// What a program does with its Session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionAct {
    Acknowledge { connection: ConnectionId, delivery: SessionDelivery, qos: QoS },
    Close { connection: ConnectionId },
    End { connection: ConnectionId },
}

/// The way from the program to the worker that has its Session.
#[derive(Clone)]
pub(crate) struct Line {
    connection: ConnectionId,
    send: Arc<dyn Fn(SessionAct) + Send + Sync>,
}

/// Messages of QoS 0 that may wait to be received.
const WAITING_MAX: usize = 10_000;

impl Line {
    pub(crate) fn new(
        connection: ConnectionId,
        send: impl Fn(SessionAct) + Send + Sync + 'static,
    ) -> Self {
        Self { connection, send: Arc::new(send) }
    }
}

impl ProgramSession {
    pub(crate) fn new(
        queue: SessionQueue,
        line: Line,
        acknowledge: Acknowledge,
        was_present: bool,
    ) -> Self {
        Self { queue, line, acknowledge, was_present }
    }

    /// Returns a queue for the messages of a Session.
    pub(crate) fn new_queue() -> SessionQueue {
        Arc::new(BoundedQueue::new(WAITING_MAX))
    }

    /// Returns whether the broker had the Session already: it may have messages and subscriptions
    /// of earlier times.
    pub fn was_present(&self) -> bool {
        self.was_present
    }

    /// Waits for the next message; `None` when the Session is not open any more: the broker has
    /// stopped, another part of the program has opened it, or it was disconnected, as any Client
    /// may be.
    pub fn recv(&self) -> Option<SessionMessage> {
        self.queue.recv().map(|message| self.hand_out(message))
    }

    /// Does the same as [`ProgramSession::recv`], but waits at most this long; `None` after that.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<SessionMessage> {
        self.queue.recv_timeout(timeout).map(|message| self.hand_out(message))
    }

    /// Returns the next message, as a future for any runtime; `None` as for
    /// [`ProgramSession::recv`].
    pub async fn next(&mut self) -> Option<SessionMessage> {
        let message = poll_fn(|context| self.queue.poll_next(context)).await;
        message.map(|message| self.hand_out(message))
    }

    /// Returns how many messages of QoS 0 have been missed so far, because too many were waiting.
    pub fn missed(&self) -> u64 {
        self.queue.missed()
    }

    /// Ends the Session for good, with its subscriptions and everything that waits for it.
    pub fn end(self) {
        (self.line.send)(SessionAct::End { connection: self.line.connection });
    }

    fn hand_out(&self, message: SessionMessage) -> SessionMessage {
        if self.acknowledge == Acknowledge::WhenTaken {
            message.acknowledge();
        }
        message
    }
}

impl Drop for ProgramSession {
    fn drop(&mut self) {
        (self.line.send)(SessionAct::Close { connection: self.line.connection });
    }
}

impl SessionMessage {
    /// Makes the message of a PUBLISH.
    pub(crate) fn new(
        message: Message,
        retain: bool,
        is_again: bool,
        delivery: Option<SessionDelivery>,
        line: Line,
    ) -> Self {
        Self { message, retain, is_again, delivery, line }
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// Acknowledges the message: it does not come again. Has no effect the second time, at QoS 0,
    /// and if the Session has been closed since: then the message does come again.
    pub fn acknowledge(&self) {
        if let Some(delivery) = self.delivery {
            let (connection, qos) = (self.line.connection, self.qos());
            (self.line.send)(SessionAct::Acknowledge { connection, delivery, qos });
        }
    }

    /// Returns the Topic Name.
    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }

    /// Returns the QoS that the message was delivered with.
    pub fn qos(&self) -> QoS {
        self.message.attributes().qos
    }

    /// Returns whether the message was retained before the subscription was made.
    pub fn is_retained(&self) -> bool {
        self.retain
    }

    /// Returns whether the program may have had the message before, without acknowledging it.
    pub fn comes_again(&self) -> bool {
        self.is_again
    }

    /// Returns the properties.
    pub fn properties(&self) -> PublishProperties<'_> {
        self.message.decode_properties()
    }

    /// Returns the User Properties.
    pub fn user_properties(&self) -> UserProperties<'_> {
        self.properties().user_properties
    }
}

impl std::fmt::Debug for ProgramSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramSession")
            .field("acknowledge", &self.acknowledge)
            .field("was_present", &self.was_present)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SessionMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionMessage").field("message", &self.message).finish_non_exhaustive()
    }
}
