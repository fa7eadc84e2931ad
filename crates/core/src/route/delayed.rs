//! `$delayed/SECONDS/topic`: messages that are published when their time has come.

use hashbrown::HashMap;
use midge_codec::QoS;

use crate::base::budget::Allowance;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::limits::Limits;
use crate::base::message::{Message, Publication};
use crate::base::time::Timestamp;
use crate::base::timers::{Kind, Timer};
use crate::boundary::store_records::{Kept, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::ground::Ground;
use crate::route::Router;

/// The waiting messages of one worker.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    /// By number, under which the store knows them, too; the flag says whether it keeps them.
    messages: HashMap<u64, (Message, bool), foldhash::fast::FixedState>,
}

impl Delayed {
    /// At most this many overdue messages are published to make room for one.
    const OVERDUE_AT_ONCE: usize = 16;

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes they take. Looks at all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.values().map(|(message, _)| message.size()).sum()
    }

    /// Returns whether the store keeps this message.
    pub(crate) fn is_stored(&self, number: u64) -> bool {
        self.messages.get(&number).is_some_and(|(_, is_stored)| *is_stored)
    }

    /// How many of them the store does not keep.
    pub(crate) fn volatile_messages(&self) -> usize {
        self.messages.values().filter(|(_, is_stored)| !is_stored).count()
    }
}

/// Returns how many messages all workers together may delay, and how many bytes.
fn allowance(limits: &Limits) -> Allowance {
    let count_max = u64::from(limits.delayed_messages_max);
    Allowance { count_max, bytes_max: limits.delayed_bytes_max }
}

impl Router {
    /// Keeps a message for later. The policy is asked twice whether its publisher may publish it:
    /// at once, so that the publisher learns of a refusal, and again at the moment of effect.
    /// Returns why the message was refused, if it was.
    pub(crate) fn delay(
        &mut self,
        ground: &mut Ground,
        publication: &Publication<'_>,
        seconds: u32,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let at = turn.now.plus_seconds(u64::from(seconds));
        let attributes = publication.attributes;
        let policy = &ground.clients.policy;
        let (publisher, topic) = (publication.publisher, publication.topic);
        let size = topic.len() + publication.properties.len() + publication.payload.len();
        let is_stored = ground.clients.rounds.has_store()
            && attributes.qos > QoS::AtMostOnce
            && attributes.durability > Durability::Memory;
        let refusal = if !policy.may_publish(publisher, topic, attributes.qos, attributes.retain) {
            Some(DropReason::PublishNotAuthorized)
        } else if is_stored && ground.clients.rounds.is_full() {
            Some(DropReason::StoreFull)
        } else if attributes.has_expired(at) {
            // Nobody would ever get it.
            Some(DropReason::Expired)
        } else {
            let is_allowed = !ground.strain.is_short_of_memory()
                && self.make_room_for_delayed(ground, size, turn);
            ground.clients.counters.limits_exceeded += u64::from(!is_allowed);
            (!is_allowed).then_some(DropReason::DelayedLimit)
        };
        if let Some(reason) = refusal {
            ground.clients.note_drop(Party::Publisher(publisher), topic, reason, turn);
            return Err(reason);
        }
        let number = ground.numbers.next(turn.now).get();
        let message = publication.share();
        if is_stored {
            let (what, message) = (Kept::Delayed(at), message.clone());
            let op = StoreOp::Keep { number, what, message };
            match attributes.qos {
                // It goes into one commit with the Packet Identifier that it came with.
                QoS::ExactlyOnce => ground.clients.rounds.keep_behind_round(op),
                _ => ground.clients.rounds.keep(op),
            }
        }
        self.delayed.messages.insert(number, (message, is_stored));
        ground.timers.set(at, Timer::Delayed(number));
        Ok(())
    }

    /// Takes what one more message needs off the limits; false if there is no room. Messages whose
    /// time has come take no place even if their timers are late: they are published first.
    fn make_room_for_delayed(
        &mut self,
        ground: &mut Ground,
        bytes: usize,
        turn: &mut Turn,
    ) -> bool {
        for _ in 0..Delayed::OVERDUE_AT_ONCE {
            let allowance = allowance(&ground.config.limits);
            if ground.clients.budget.delayed.change(1, bytes as i64, allowance) {
                return true;
            }
            match ground.timers.pop_due_of(Kind::Delayed, turn.now) {
                Some(Timer::Delayed(number)) => {
                    ground.work.add(1);
                    self.publish_delayed(ground, number, turn);
                }
                _ => return false,
            }
        }
        false
    }

    pub(crate) fn publish_delayed(&mut self, ground: &mut Ground, number: u64, turn: &mut Turn) {
        if let Some((message, is_stored)) = self.delayed.messages.remove(&number) {
            ground.clients.budget.delayed.give_back(1, message.size() as u64);
            // The outcome is counted; the publisher already has its acknowledgement.
            let _ = self.publish(ground, Publication::of(&message), turn);
            if is_stored {
                ground.clients.rounds.keep_behind_round(StoreOp::Unkeep { number });
            }
        }
    }

    /// Takes over a message that the store has kept until its time has come.
    pub(crate) fn restore_delayed(
        &mut self,
        ground: &mut Ground,
        number: u64,
        at: Timestamp,
        message: Message,
    ) {
        ground.clients.budget.delayed.add(1, message.size() as u64);
        self.delayed.messages.insert(number, (message, true));
        ground.timers.set(at, Timer::Delayed(number));
    }
}
