//! UNSUBSCRIBE: ends subscriptions of Sessions that go on. The answer must never leave while
//! anything may still come on their behalf.

use std::sync::Arc;

use midge_codec::{PacketType, ReasonCode, SubscriptionOptions, Unsubscribe};

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::boundary::effects::Event;
use crate::boundary::peer_messages::{SharedPeer, Ticket};
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::route::Router;
use crate::subscribe::slices::{ManyFilters, Task};
use crate::subscribe::subscribing::Holder;
use crate::subscribe::{Subscriptions, Unanswerable};
use crate::topics::filter_request::FilterRequest;
use crate::topics::rewrite::TopicRules;
use crate::waiting::pending::RemoteStep;

impl Subscriptions {
    /// Handles an UNSUBSCRIBE. The answer leaves when nothing more can come.
    pub(crate) fn handle_unsubscribe(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        id: ConnectionId,
        slot: SessionSlot,
        packet: &Unsubscribe<'_>,
        turn: &mut Turn,
    ) -> Result<(), Unanswerable> {
        let count = packet.filters.len();
        let (answer, packet_id) = (PacketType::UnsubAck, packet.packet_id);
        let ticket = self.begin_answer(ground, id, slot, answer, packet_id, count)?;
        if !self.slices.admits(count) {
            let options = SubscriptionOptions::default();
            let filters = packet.filters.iter().map(|filter| (filter, options)).collect();
            let (session, task) = (ground.clients.session_id(slot), Task::Unsubscribe);
            let packet = ManyFilters { connection: id, session, ticket, task, filters };
            self.slice(ground, packet, turn);
            return Ok(());
        }
        self.unsubscribe_some(router, ground, slot, ticket, packet.filters.iter(), turn);
        self.end_unsubscribe(router, ground, ticket, Some(slot), turn);
        router.go_on_with_streams(ground, slot, turn);
        Ok(())
    }

    /// Ends some subscriptions of an UNSUBSCRIBE.
    pub(crate) fn unsubscribe_some<'f>(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        slot: SessionSlot,
        ticket: Ticket,
        filters: impl Iterator<Item = &'f str>,
        turn: &mut Turn,
    ) {
        let levels_max = ground.config.limits.topic_levels_max;
        let (rules, as_written) = (Arc::clone(&ground.config.topics), TopicRules::default());
        for filter in filters {
            ground.work.add(1);
            let mut end = |rules: &TopicRules| {
                let request = FilterRequest::parse(filter, rules, levels_max)?;
                let ended =
                    self.end_subscription(router, ground, slot, &request.key, Some(ticket), turn);
                ended.ok_or(ReasonCode::NoSubscriptionExisted)
            };
            let mut ended = end(&rules);
            if ended.is_err() && !rules.rewrites.is_empty() {
                // The subscription may be older than the present rules for rewriting.
                ended = ended.or_else(|code| end(&as_written).map_err(|_| code));
            }
            let (code, waiting) = match ended {
                Ok(waiting) => (ReasonCode::Success, waiting),
                Err(code) => (code, 0),
            };
            if let Some(unsubscribe) = ground.pending.subscribe(ticket) {
                unsubscribe.note_code(code);
                unsubscribe.wait_for(waiting);
                unsubscribe.need_fence_if(waiting > 0);
            }
        }
    }

    /// Ends an UNSUBSCRIBE whose filters are all done.
    pub(crate) fn end_unsubscribe(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        slot: Option<SessionSlot>,
        turn: &mut Turn,
    ) {
        // A subscription that is not there may have gone a moment ago, by an UNSUBSCRIBE whose
        // answer still waits.
        if ground.config.workers > 1
            && let Some(unsubscribe) = ground.pending.subscribe(ticket)
            && !unsubscribe.needs_fence()
        {
            unsubscribe.wait_for(1);
            ground.pending.put_behind_fence(ticket);
        }
        // A subscription that was not there may still be in the store.
        let waits = ground.wait_for_store(ticket, slot);
        if let Some(unsubscribe) = ground.pending.subscribe(ticket) {
            unsubscribe.wait_for(usize::from(waits));
        }
        self.arrive(router, ground, ticket, turn);
    }

    /// Ends a subscription of a Session that goes on, because it is not allowed any more.
    pub(crate) fn revoke(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        slot: SessionSlot,
        key: &str,
        turn: &mut Turn,
    ) {
        self.end_subscription(router, ground, slot, key, None, turn);
    }

    /// Ends a subscription of a Session that goes on, for the UNSUBSCRIBE with this ticket, if any.
    /// Returns how many answers its UNSUBACK has to wait for; `None` if there is no such
    /// subscription.
    fn end_subscription(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        slot: SessionSlot,
        key: &str,
        ticket: Option<Ticket>,
        turn: &mut Turn,
    ) -> Option<usize> {
        let home = FilterRequest::shared_of(key).map(|(name, filter)| {
            let home = ground.home_of(&format!("{name}/{filter}"));
            (home, name, filter)
        });
        let subscribed = ground.clients.take_subscription(slot, key)?;
        let session = ground.clients.session_id(slot);
        router.retained.drop_request(session, key, turn);
        let mut waiting = 0;
        match (home, ticket) {
            // A home that is gone chooses nobody any more.
            (Some((home, name, filter)), Some(subscribe))
                if home != ground.config.worker && ground.is_member(home) =>
            {
                waiting = 1;
                let (index, is_new, key) = (0, false, key.into());
                let step = RemoteStep { home, subscribe, index, key, is_new };
                let ticket = ground.pending.begin_step(step);
                let (name, filter) = (name.into(), filter.into());
                let leave = SharedPeer::Unsubscribe { ticket, name, filter, session };
                turn.fx.send(home, leave.into());
            }
            _ => {
                let (holder, kind) = (Holder { session, slot }, &subscribed.kind);
                self.free_subscription(router, ground, holder, key, kind, turn);
            }
        }
        ground.clients.forget_subscription(slot, key);
        let client = Arc::clone(ground.clients.session(slot).identity());
        turn.fx.events.push(Event::Unsubscribed { client, filter: key.into() });
        Some(waiting)
    }
}
