//! Applies the records of the journal to the index, one after the other, when a store is opened. No
//! record is void here: it counted when it was appended. Earlier records may be missing (damaged,
//! or in segments that are gone), so owners and messages may come up that nothing announced.

use midge_core::Owner;

use super::{Detachment, Held, Index, KeptEntry, OwnerEntry};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places};
use crate::record::{Body, BootRound, EnqueueHead, Record};

impl Index {
    /// Applies a record that was found; `bytes` is its size in the journal.
    pub(crate) fn replay(&mut self, at: Location, bytes: u32, record: Record<'_>) {
        let held = Held { place: at, bytes };
        match record {
            Record::Session(number) => self.set_head(Owner::Session(number), held),
            Record::Group(number) => self.set_head(Owner::Group(number), held),
            Record::Detached(detached) => {
                let detachment = Detachment { at: detached.at, sent_before: detached.sent_before };
                self.session(detached.session).detached = Some(detachment);
            }
            Record::WillGone(session) => self.session(session).will_gone = true,
            Record::Subscribed(session) | Record::Unsubscribed(session) => {
                self.session(session);
                self.log_subscription(session, held);
            }
            Record::SubscriptionImage(session, count) => {
                self.session(session);
                self.replace_subscriptions(session, held, count);
            }
            Record::Enqueue(head, body) => self.replay_enqueue(held, &head, &body),
            Record::Taken(owner, sequence) => {
                self.raise_next(owner, sequence);
                self.take(owner, sequence);
            }
            Record::Finished(owner, sequence) => {
                self.raise_next(owner, sequence);
                self.finish(owner, sequence);
            }
            Record::FinishedRun(run) => {
                self.raise_next(run.owner, run.sequences().end - 1);
                for sequence in run.sequences() {
                    self.finish(run.owner, sequence);
                }
            }
            Record::TakenRun(run) => {
                self.raise_next(run.owner, run.sequences().end - 1);
                for sequence in run.sequences() {
                    self.take(run.owner, sequence);
                }
            }
            Record::AwaitRelease(session, packet_id) => {
                self.session(session);
                self.await_release(session, packet_id);
            }
            Record::Released(session, packet_id) => {
                self.release(session, packet_id);
            }
            Record::Confirm(round) => {
                if self.is_of_this_boot(round) {
                    self.confirm(round.round);
                }
            }
            Record::Keep(number, what, body) => {
                let (places, size) = place_of(at, &body);
                self.keep(number, KeptEntry { what, places, size }, bytes);
            }
            Record::Unkeep(number) => {
                self.unkeep(number);
            }
            Record::Ended(owner) => {
                self.end(owner);
            }
            Record::Boot(boot) => {
                self.begin_boot(boot);
            }
            Record::Mark(mark) => self.mark = Some(mark),
        }
    }

    fn replay_enqueue(&mut self, held: Held, head: &EnqueueHead<'_>, body: &Body<'_>) {
        let (places, size) = place_of(held.place, body);
        let mut flags = Flags::default().with(Flags::FROM_GROUP, head.group.is_some());
        if head.sequence == u64::MAX {
            return;
        }
        if let Some(round) = head.round {
            if !self.is_of_this_boot(round) {
                return self.raise_next(head.owner, head.sequence);
            }
            if !self.rounds.is_confirmed(round.round) {
                flags.set(Flags::PROVISIONAL, true);
                self.rounds.add(round.round, head.owner, head.sequence);
            }
        }
        let entry = Entry { sequence: head.sequence, places: Some(places), size, flags };
        let queue = self.owners.entry(head.owner).or_default().queue_mut();
        if queue.get(head.sequence).is_some_and(|known| known.flags.has(Flags::TAKEN)) {
            return;
        }
        let replaced = queue.insert(entry);
        self.queued += 1;
        self.holdings.hold_new_message(places, size, held.bytes);
        if let Some(replaced) = replaced {
            self.forget_entry(&replaced);
        }
    }

    /// Returns the Session. If its record was not found, makes one up: the record may come later,
    /// as a copy.
    fn session(&mut self, number: u64) -> &mut OwnerEntry {
        self.owners.entry(Owner::Session(number)).or_default()
    }

    fn raise_next(&mut self, owner: Owner, sequence: u64) {
        if let Some(entry) = self.owners.get_mut(&owner) {
            entry.queue_mut().raise_next(sequence.saturating_add(1));
        }
    }

    /// Returns whether a round belongs to the current life of the process. If the record of a new
    /// life is damaged, the first round of that life begins it.
    fn is_of_this_boot(&mut self, round: BootRound) -> bool {
        if round.boot > self.rounds.boot() {
            self.begin_boot(round.boot);
        }
        round.boot == self.rounds.boot()
    }
}

fn place_of(at: Location, body: &Body<'_>) -> (Places, u32) {
    let message = match body {
        Body::Inline(_) => at,
        Body::At { message, .. } => *message,
    };
    (Places { record: at, message }, body.message_size())
}
