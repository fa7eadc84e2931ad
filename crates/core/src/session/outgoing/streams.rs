//! What changes in a Session's sending half when its messages go on several streams of one Network
//! Connection: the streams share the window, and one that the Client does not read must not hold up
//! the others.

use std::num::NonZeroU32;

use midge_codec::QoS;

use super::{Delivery, Outgoing, Waiting};
use crate::base::identity::ConnectionId;
use crate::boundary::store_records::Round;

/// The stream that a message goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) stream: ConnectionId,
    /// Whether the Session's messages go on other streams, too.
    pub(crate) has_others: bool,
    /// Whether the stream's output has room for it.
    pub(crate) has_output: bool,
}

impl Outgoing {
    /// Marks what is under way on a stream that has ended as to be sent again: messages and
    /// PUBRELs.
    pub(crate) fn send_again(&mut self, stream: ConnectionId) {
        let mut again = Vec::new();
        for (entry, is_sent) in self.in_flight.take_all() {
            match is_sent && entry.stream != Some(stream.generation) {
                true => self.in_flight.push(entry),
                false => again.push(entry),
            }
        }
        self.in_flight.push_unsent(again);
    }

    /// Takes the next message from the queue that may be sent while messages go on several streams.
    /// A message whose stream has no room, or has used up its share of the window, holds back only
    /// its own stream. Only the first `LOOK_AHEAD` messages of the queue are examined.
    pub(crate) fn dequeue_any(
        &mut self,
        mut stream_of: impl FnMut(&str) -> ConnectionId,
        mut has_output: impl FnMut(NonZeroU32) -> bool,
        may_send: impl Fn(Round) -> bool,
        held_back: &mut Vec<NonZeroU32>,
    ) -> Option<Waiting> {
        held_back.clear();
        for index in 0..self.queue.len().min(Self::LOOK_AHEAD) {
            if !self.has_window() {
                return None;
            }
            let waiting = &mut self.queue[index];
            let topic = waiting.delivery.message.topic();
            let stream = *waiting.stream.get_or_insert_with(|| stream_of(topic).generation);
            let Waiting { hold, sequence, .. } = *waiting;
            if held_back.contains(&stream) {
                continue;
            }
            // After a crash, only the first of these count as sent: see `Sent`.
            let Delivery { qos, group, .. } = &waiting.delivery;
            let keeps_place = sequence.is_some() && *qos == QoS::ExactlyOnce && group.is_some();
            if !(keeps_place && index > 0)
                && hold.is_none_or(&may_send)
                && has_output(stream)
                && self.has_share(stream)
                && self.has_packet_identifier(sequence)
            {
                let waiting = self.queue.remove(index)?;
                self.queue_bytes -= waiting.delivery.message.size();
                return Some(waiting);
            }
            held_back.push(stream);
        }
        None
    }

    /// Forgets which streams the waiting messages go on, because that has changed.
    pub(crate) fn forget_streams(&mut self) {
        self.queue.iter_mut().for_each(|waiting| waiting.stream = None);
    }

    /// Whether everything that waits is known to go on other streams than this one.
    pub(super) fn only_others_wait(&self, stream: ConnectionId) -> bool {
        let is_other =
            |waiting: &Waiting| waiting.stream.is_some_and(|other| other != stream.generation);
        self.stored.messages == 0
            && self.queue.len() <= Self::LOOK_AHEAD
            && self.queue.iter().all(is_other)
    }

    /// Whether one of several streams may have one more message under way: each may have as many as
    /// the window has left for all others. So streams that nobody reads leave room for the rest.
    pub(super) fn has_share(&self, stream: NonZeroU32) -> bool {
        let all = self.in_flight.len();
        let left = self.window().saturating_sub(all);
        let own = || self.in_flight.iter().filter(|entry| entry.stream == Some(stream)).count();
        all < left || own() < left
    }
}
