//! `$delayed/SECONDS/topic`: messages that are published when their time has come.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::core::Core;
use crate::counters::DropReason;
use crate::effects::Effects;
use crate::limits::Limits;
use crate::message::{Message, Publication};
use crate::time::Timestamp;
use crate::timers::Timer;

/// The waiting messages of one worker.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    messages: HashMap<u64, Arc<Message>, foldhash::fast::FixedState>,
    next_number: u64,
    bytes: usize,
}

impl Delayed {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether one more message of so many bytes fits into this worker's share of the limits.
    fn has_room(&self, bytes: usize, limits: &Limits, workers: usize) -> bool {
        let share = |limit: u64| if workers == 1 { limit } else { limit / workers as u64 + 1 };
        (self.messages.len() as u64) < share(u64::from(limits.delayed_messages_max))
            && (self.bytes + bytes) as u64 <= share(limits.delayed_bytes_max)
    }
}

impl Core {
    /// Keeps a message for later. Whether its publisher may publish it is asked then, at the
    /// moment of effect, and now, so that it learns of a refusal.
    pub(crate) fn delay(
        &mut self,
        publication: &Publication<'_>,
        seconds: u32,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<(), DropReason> {
        let attributes = publication.attributes;
        let policy = &self.clients.policy;
        let (publisher, topic) = (publication.publisher, publication.topic);
        let size = topic.len() + publication.properties.len() + publication.payload.len();
        let refusal = if !policy.may_publish(publisher, topic, attributes.qos, attributes.retain) {
            Some(DropReason::PublishNotAuthorized)
        } else if !self.delayed.has_room(size, &self.config.limits, self.config.workers) {
            Some(DropReason::DelayedLimit)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.clients.note_drop(None, topic, reason, fx);
            return Err(reason);
        }
        let number = self.delayed.next_number;
        self.delayed.next_number += 1;
        self.delayed.bytes += size;
        self.delayed.messages.insert(number, publication.share());
        self.timers.set(now.plus_seconds(u64::from(seconds)), Timer::Delayed(number));
        Ok(())
    }

    pub(crate) fn publish_delayed(&mut self, number: u64, now: Timestamp, fx: &mut Effects) {
        if let Some(message) = self.delayed.messages.remove(&number) {
            self.delayed.bytes -= message.size();
            // What becomes of it is counted; its publisher has its acknowledgement.
            let _ = self.publish(Publication::of(&message), now, fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Delayed;
    use crate::limits::Limits;

    #[test]
    fn bytes_are_bounded_as_well_as_messages_and_workers_share_both() {
        let limits =
            Limits { delayed_messages_max: 10, delayed_bytes_max: 100, ..Limits::default() };
        let delayed = Delayed { bytes: 40, ..Delayed::default() };
        assert!(delayed.has_room(60, &limits, 1));
        assert!(!delayed.has_room(61, &limits, 1));
        assert!(!delayed.has_room(60, &limits, 2));
        let none = Limits { delayed_messages_max: 0, ..limits };
        assert!(!delayed.has_room(1, &none, 1));
    }
}
