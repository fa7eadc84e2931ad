//! Subscriptions of the embedding program: a bounded queue between a worker and the receiver.

use std::sync::Arc;

use crate::program::bounded_queue::BoundedQueue;
use crate::program::message::ReceivedMessage;
use crate::program::receiver::Receiver;

/// A subscription, whose messages are received inside the process. Dropping it ends the
/// subscription.
///
/// Its Session is not stored, and it promises less than that of a Client; for what must not be lost
/// there is [`BrokerHandle::open_session`](crate::BrokerHandle::open_session). A message counts as
/// delivered, and is acknowledged to its publisher, when it waits here. 10,000 messages may wait;
/// further ones are dropped, whatever their QoS, and nobody sends them again. They are counted here
/// ([`Receiver::missed`]), and in the broker under
/// [`DropReason::LocalReceiverFull`](crate::DropReason::LocalReceiverFull), with a line in the log.
pub type Subscription = Receiver<ReceivedMessage>;

/// Messages that may wait to be received.
const WAITING_MAX: usize = 10_000;

/// Returns a queue for the messages of a subscription.
pub(crate) fn new_queue() -> Arc<BoundedQueue<ReceivedMessage>> {
    Arc::new(BoundedQueue::new(WAITING_MAX))
}
