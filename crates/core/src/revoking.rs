//! What follows when the policy changes, or what is known of a Client. Whatever is published,
//! subscribed, sent, or sent again asks the policy that holds at that moment anyway. What remains
//! is to end the connections of Clients that may not stay, and subscriptions that are not allowed
//! any more. There may be a million of them, so this is done in slices.
//!
//! Subscribers inside the process are not judged again: they are the embedding program's own.

use std::collections::VecDeque;
use std::sync::Arc;

use midge_codec::{QoS, ReasonCode};

use crate::base::identity::{Identity, SessionId, SessionSlot};
use crate::boundary::effects::DisconnectReason;
use crate::boundary::turn::Turn;
use crate::core::Core;
use crate::session::Session;
use crate::topics::filter_request::FilterRequest;
use crate::topics::rewrite::TopicRules;

/// What is still to be judged.
#[derive(Debug, Default)]
pub(crate) struct Revoking {
    /// The lap through all Sessions that a change of the policy has begun.
    lap: Option<Lap>,
    /// Single Sessions, because more, or something else, is known of their Clients.
    sessions: VecDeque<SessionId>,
    /// The Session that is being looked at, and the filters of its subscriptions.
    present: Option<(SessionId, Vec<Box<str>>)>,
}

/// A lap begins where the previous one stopped, so that every slot has its turn, however often the
/// policy changes.
#[derive(Clone, Copy, Debug)]
struct Lap {
    next: SessionSlot,
    /// How many slots are left.
    left: SessionSlot,
}

impl Revoking {
    pub(crate) fn has_work(&self) -> bool {
        self.lap.is_some() || !self.sessions.is_empty() || self.present.is_some()
    }

    /// Has a Session judged by what is known of its Client now.
    pub(crate) fn add(&mut self, session: SessionId) {
        self.sessions.push_back(session);
    }

    fn begin_lap(&mut self, slots_end: SessionSlot) {
        let next = self.lap.map_or(0, |lap| lap.next);
        // The Session that is being looked at may have been judged by the policy before.
        self.sessions.extend(self.present.take().map(|(session, _)| session));
        self.lap = Some(Lap { next, left: slots_end });
    }

    /// The next slot of the lap.
    fn next_slot(&mut self, slots_end: SessionSlot) -> Option<SessionSlot> {
        let lap = self.lap.filter(|lap| lap.left > 0);
        let Some(Lap { next, left }) = lap else {
            self.lap = None;
            return None;
        };
        let slot = if next < slots_end { next } else { 0 };
        self.lap = Some(Lap { next: slot + 1, left: left - 1 });
        Some(slot)
    }
}

impl Core {
    /// How much is done in one turn: a slot without a Session counts as 1, a Session or a
    /// subscription as [`Core::JUDGEMENT`].
    const JUDGED_PER_TURN: usize = 65_536;
    /// What is done in any turn, however much else the worker has to do.
    const JUDGED_PER_TURN_MIN: usize = 4_096;
    /// What it costs to ask the policy, compared with looking at an empty slot.
    const JUDGEMENT: usize = 64;

    /// Handles a change of the policy, which is in effect already. Within the next turns, Clients
    /// that may not stay are disconnected (0x87), and subscriptions that are not allowed any more
    /// end: [`Event::Unsubscribed`](crate::Event::Unsubscribed) tells of each.
    pub fn handle_policy_changed(&mut self) {
        self.revoking.begin_lap(self.ground.clients.slots_end());
    }

    /// Goes on with what is to be judged, within this turn's share.
    pub(crate) fn run_revoking(&mut self, turn: &mut Turn) {
        let mut done = 0;
        while done < Self::JUDGED_PER_TURN_MIN
            || done < Self::JUDGED_PER_TURN && !self.ground.work.is_enough()
        {
            match self.judge_next(turn) {
                Some(cost) => done += cost,
                None => return,
            }
        }
    }

    /// Judges what is next and returns what it cost; `None` if nothing is left.
    fn judge_next(&mut self, turn: &mut Turn) -> Option<usize> {
        if let Some((session, filters)) = &mut self.revoking.present {
            let session = *session;
            match filters.pop() {
                Some(filter) => self.judge_subscription(session, &filter, turn),
                None => self.revoking.present = None,
            }
            self.ground.work.add(1);
            return Some(Self::JUDGEMENT);
        }
        let slots_end = self.ground.clients.slots_end();
        let single = self.revoking.sessions.pop_front();
        let slot = match single {
            Some(session) => self.ground.clients.slot_of(session),
            None => Some(self.revoking.next_slot(slots_end)?),
        };
        let session = slot.and_then(|slot| self.ground.clients.session_at(slot));
        let (Some(slot), true) = (slot, session.is_some_and(Session::is_of_client)) else {
            return Some(1);
        };
        self.revoking.present = self.judge_session(slot, turn);
        Some(Self::JUDGEMENT)
    }

    /// Disconnects a Client that may not stay. Returns what is to be judged of its Session.
    fn judge_session(
        &mut self,
        slot: SessionSlot,
        turn: &mut Turn,
    ) -> Option<(SessionId, Vec<Box<str>>)> {
        let id = self.ground.clients.session_id(slot);
        self.ground.clients.session_mut(slot).forget_policy_note();
        let session = self.ground.clients.session(slot);
        if let Some(connection) = session.attached_or_accepted()
            && !self.ground.clients.policy.may_stay(session.identity())
        {
            let code = ReasonCode::NotAuthorized;
            self.close(connection, Some(code), &DisconnectReason::ByServer(code), turn);
        }
        // The Session may have ended with its Network Connection.
        let slot = self.ground.clients.slot_of(id)?;
        let filters = self.ground.clients.session(slot).subscriptions().filters();
        let filters: Vec<_> = filters.map(Box::from).collect();
        self.ground.work.add(1 + filters.len());
        Some((id, filters))
    }

    /// Ends a subscription that is not allowed any more.
    fn judge_subscription(&mut self, session: SessionId, filter: &str, turn: &mut Turn) {
        let slot = self.ground.clients.slot_of(session);
        // The next worker of a Session that is about to leave judges it, too.
        let Some(slot) = slot.filter(|&slot| !self.ground.clients.is_switching(slot)) else {
            return;
        };
        let session = self.ground.clients.session(slot);
        // As it is now: the Client may have subscribed anew meanwhile.
        let Some(subscribed) = session.subscriptions().get(filter) else {
            return;
        };
        let (identity, qos) = (Arc::clone(session.identity()), subscribed.options.qos);
        if !self.may_have(&identity, filter, qos) {
            self.subscriptions.revoke(&mut self.router, &mut self.ground, slot, filter, turn);
        }
    }

    /// Whether a Client may have this subscription, by the present policy.
    fn may_have(&self, identity: &Identity, key: &str, qos: QoS) -> bool {
        let levels_max = self.ground.config.limits.topic_levels_max;
        // The filter was rewritten when the subscription was made.
        let request = FilterRequest::parse(key, &TopicRules::default(), levels_max);
        // A filter that newer limits forbid is not the policy's business.
        request.map_or(true, |request| {
            self.ground.clients.policy.may_subscribe(identity, &request.filter, qos)
        })
    }
}
