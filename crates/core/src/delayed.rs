//! `$delayed/SECONDS/topic`: messages that are published when their time has come.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::core::Core;
use crate::counters::DropReason;
use crate::effects::Effects;
use crate::message::{Message, Publication};
use crate::time::Timestamp;
use crate::timers::Timer;

/// The waiting messages of one worker.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    messages: HashMap<u64, Arc<Message>, foldhash::fast::FixedState>,
    next_number: u64,
}

impl Delayed {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
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
        let refusal = if !policy.may_publish(publisher, topic, attributes.qos, attributes.retain) {
            Some(DropReason::PublishNotAuthorized)
        } else if self.delayed.len() >= self.config.limits.delayed_messages_max as usize {
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
        self.delayed.messages.insert(number, publication.share());
        self.timers.set(now.plus_seconds(u64::from(seconds)), Timer::Delayed(number));
        Ok(())
    }

    pub(crate) fn publish_delayed(&mut self, number: u64, now: Timestamp, fx: &mut Effects) {
        if let Some(message) = self.delayed.messages.remove(&number) {
            // What becomes of it is counted; its publisher has its acknowledgement.
            let _ = self.publish(Publication::of(&message), now, fx);
        }
    }
}
