//! SUBSCRIBE: makes subscriptions, and gives up what they hold when they end.

use std::num::NonZeroU32;
use std::sync::Arc;

use midge_codec::{
    PacketType, QoS, ReasonCode, RetainHandling, Subscribe, Subscription, SubscriptionOptions,
};

use crate::base::identity::{ConnectionId, SessionId, SessionSlot, WorkerId};
use crate::boundary::peer_messages::{Member, Peer, SharedPeer, Ticket};
use crate::boundary::store_records::{StoreOp, SubscriptionRecord};
use crate::boundary::turn::Turn;
use crate::connection::Connection;
use crate::ground::Ground;
use crate::retained::walking::RequestTerms;
use crate::route::Router;
use crate::session::{Subscribed, SubscriptionKind};
use crate::subscribe::slices::{ManyFilters, Task};
use crate::subscribe::{Subscriptions, Unanswerable};
use crate::topics::filter_request::{EXCLUSIVE_PREFIX, FilterRequest, RequestKind};
use crate::topics::rewrite::TopicRules;
use crate::tree::subscription_tree::{Filler, Subscriber};
use crate::waiting::pending::RemoteStep;

/// A Client that asks for subscriptions, or for whom the broker does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// The stream that the SUBSCRIBE came on.
    pub(crate) connection: ConnectionId,
    pub(crate) slot: SessionSlot,
    /// The Subscription Identifier of the SUBSCRIBE.
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A Session that has a subscription, or had it: its name, and the slot that the tree knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) session: SessionId,
    pub(crate) slot: SessionSlot,
}

/// Which filter of which pending SUBSCRIBE.
#[derive(Clone, Copy, Debug)]
struct Position {
    subscribe: Ticket,
    index: usize,
}

/// One filter of a SUBSCRIBE with everything that belongs to it.
pub(super) struct Wanted {
    pub(super) request: FilterRequest,
    pub(super) options: SubscriptionOptions,
    pub(super) identifier: Option<NonZeroU32>,
}

/// Where one filter of a SUBSCRIBE stands after it was handled.
enum Step {
    Done(ReasonCode),
    /// Another worker has to answer first.
    Waits,
    /// Like `Waits`, and messages sent because of the old subscription may still be on their way.
    Replaces,
}

impl Subscriptions {
    /// Handles a SUBSCRIBE. The answer leaves when it is true; see [`crate::subscribe::answers`].
    pub(crate) fn handle_subscribe(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        id: ConnectionId,
        slot: SessionSlot,
        packet: &Subscribe<'_>,
        turn: &mut Turn,
    ) -> Result<(), Unanswerable> {
        if let Err((code, detail)) = ground.clients.check_offered_filters(id, packet) {
            return Err(Unanswerable::Violation(code, detail));
        }
        let count = packet.subscriptions.len();
        let (answer, packet_id) = (PacketType::SubAck, packet.packet_id);
        let ticket = self.begin_answer(ground, id, slot, answer, packet_id, count)?;
        let identifier = packet.subscription_identifier;
        let is_bridge = ground.clients.connection(id).is_some_and(Connection::is_bridge);
        let filters = packet.subscriptions.iter().map(|entry| match is_bridge {
            true => (entry.filter, as_bridge(entry)),
            false => (entry.filter, entry.options),
        });
        if !self.slices.admits(count) {
            let filters = filters.collect();
            let (session, task) = (ground.clients.session_id(slot), Task::Subscribe(identifier));
            let packet = ManyFilters { connection: id, session, ticket, task, filters };
            self.slice(ground, packet, turn);
            return Ok(());
        }
        let asking = Asking { connection: id, slot, identifier };
        self.subscribe_some(router, ground, asking, ticket, filters, turn);
        self.end_subscribe(router, ground, ticket, Some(slot), turn);
        router.go_on_with_streams(ground, slot, turn);
        Ok(())
    }

    /// Makes subscriptions that no packet asks for.
    pub(crate) fn subscribe<'f>(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        asking: Asking,
        filters: impl Iterator<Item = (&'f str, SubscriptionOptions)>,
        turn: &mut Turn,
    ) {
        let Asking { connection, slot, .. } = asking;
        let ticket = ground.begin_answer(PacketType::SubAck, connection, slot, None);
        self.subscribe_some(router, ground, asking, ticket, filters, turn);
        self.end_subscribe(router, ground, ticket, Some(slot), turn);
    }

    /// Makes some subscriptions of a SUBSCRIBE.
    pub(crate) fn subscribe_some<'f>(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        asking: Asking,
        ticket: Ticket,
        filters: impl Iterator<Item = (&'f str, SubscriptionOptions)>,
        turn: &mut Turn,
    ) {
        let first = ground.pending.subscribe(ticket).map_or(0, |it| it.filters());
        for (index, entry) in (first..).zip(filters) {
            ground.work.add(1);
            let (filter, position) = (entry.0, Position { subscribe: ticket, index });
            let step = self.subscribe_one(router, ground, asking, entry, position, turn);
            let (code, waiting) = match step {
                Step::Done(code) => (code, 0),
                Step::Waits | Step::Replaces => (ReasonCode::UnspecifiedError, 1),
            };
            if waiting > 0 || !code.is_error() {
                self.note_stream(ground, asking.connection, asking.slot, filter);
            }
            if let Some(subscribe) = ground.pending.subscribe(ticket) {
                subscribe.note_filter(filter, code);
                subscribe.wait_for(waiting);
                subscribe.need_fence_if(matches!(step, Step::Replaces));
            }
        }
    }

    /// Notes that a subscription belongs to the stream that its SUBSCRIBE came on.
    fn note_stream(
        &mut self,
        ground: &mut Ground,
        id: ConnectionId,
        slot: SessionSlot,
        filter: &str,
    ) {
        if ground.clients.control_with_streams(slot).is_none() {
            return;
        }
        let levels_max = ground.config.limits.topic_levels_max;
        let request = FilterRequest::parse(filter, &ground.config.topics, levels_max);
        if let Ok(FilterRequest { filter, key, .. }) = request {
            ground.clients.route_to_stream(slot, &key, &filter, id);
        }
    }

    /// Ends a SUBSCRIBE whose filters are all done: it is answered when they are in effect
    /// everywhere.
    pub(crate) fn end_subscribe(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        slot: Option<SessionSlot>,
        turn: &mut Turn,
    ) {
        let mut waiting = 0;
        if ground.config.workers > 1 {
            waiting += 1;
            ground.pending.put_behind_fence(ticket);
        }
        waiting += usize::from(!ground.is_restoring && ground.wait_for_store(ticket, slot));
        if let Some(subscribe) = ground.pending.subscribe(ticket) {
            subscribe.wait_for(waiting);
        }
        self.arrive(router, ground, ticket, turn);
    }

    fn subscribe_one(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        asking: Asking,
        (filter, options): (&str, SubscriptionOptions),
        position: Position,
        turn: &mut Turn,
    ) -> Step {
        let Asking { slot, identifier, .. } = asking;
        let levels_max = ground.config.limits.topic_levels_max;
        let none = TopicRules::default();
        // A restored subscription was rewritten when it was made.
        let topics = if ground.is_restoring { &none } else { &*ground.config.topics };
        let request = match FilterRequest::parse(filter, topics, levels_max) {
            Ok(request) => request,
            Err(code) => return Step::Done(code),
        };
        let offered = ground.clients.offered_to(slot);
        let options = SubscriptionOptions { qos: options.qos.min(offered.qos_max), ..options };
        if let Err(code) = self.check_subscription(ground, slot, &request, options) {
            return Step::Done(code); // refused alone: the others are not touched
        }
        let wanted = Wanted { request, options, identifier };
        let remote_step = |home: WorkerId, wanted: &Wanted| RemoteStep {
            home,
            subscribe: position.subscribe,
            index: position.index,
            key: wanted.request.key.as_str().into(),
            is_new: false,
        };
        match &wanted.request.kind {
            RequestKind::Plain => {
                self.add_plain(router, ground, slot, &wanted, position.subscribe, turn);
                Step::Done(granted(options.qos))
            }
            RequestKind::Exclusive => {
                self.claim_exclusive(router, ground, slot, &wanted, position, turn)
            }
            RequestKind::Shared { name } => {
                let home = ground.home_of(&format!("{name}/{}", wanted.request.filter));
                if !ground.is_member(home) {
                    return Step::Done(ReasonCode::ImplementationSpecificError);
                }
                let member = self.member(ground, slot, &wanted);
                let kept =
                    self.note_subscription(ground, slot, &wanted, SubscriptionKind::Shared(None));
                let filter = wanted.request.filter.as_str();
                if home == ground.config.worker {
                    let group = router.shared.join(ground, name, filter, member, turn);
                    ground.clients.set_group(slot, &wanted.request.key, group);
                    return Step::Done(granted(options.qos));
                }
                if let Some(SubscriptionKind::Shared(Some(group))) = kept {
                    ground.clients.set_group(slot, &wanted.request.key, group);
                }
                let is_replaced = kept.is_some();
                let ticket = ground.pending.begin_step(remote_step(home, &wanted));
                let (name, filter) = (Arc::from(name.as_str()), Arc::from(filter));
                turn.fx.send(home, SharedPeer::Join { ticket, name, filter, member }.into());
                if is_replaced { Step::Replaces } else { Step::Waits }
            }
        }
    }

    /// Asks the home of an exclusive subscription for it; makes it at once if that is this worker.
    fn claim_exclusive(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        slot: SessionSlot,
        wanted: &Wanted,
        position: Position,
        turn: &mut Turn,
    ) -> Step {
        let home = ground.home_of(&wanted.request.filter);
        let session = ground.clients.session_id(slot);
        if home == ground.config.worker {
            if !self.exclusive.claim(&wanted.request.filter, session) {
                return Step::Done(ReasonCode::QuotaExceeded);
            }
            self.add_plain(router, ground, slot, wanted, position.subscribe, turn);
            return Step::Done(granted(wanted.options.qos));
        }
        if !ground.is_member(home) {
            return Step::Done(ReasonCode::ImplementationSpecificError);
        }
        // The store learns of it when it is granted: a refused one leaves nothing there.
        let is_new = self.note_claim(ground, slot, wanted);
        let key = wanted.request.key.as_str().into();
        let Position { subscribe, index } = position;
        let ticket = ground.pending.begin_step(RemoteStep { home, subscribe, index, key, is_new });
        let filter = Arc::from(wanted.request.filter.as_str());
        turn.fx.send(home, Peer::ExclusiveClaim { ticket, filter, session }.into());
        Step::Waits
    }

    fn check_subscription(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        request: &FilterRequest,
        options: SubscriptionOptions,
    ) -> Result<(), ReasonCode> {
        ground.clients.offered_to(slot).check_filter(&request.key).map_err(|(code, _)| code)?;
        let subscriptions_max = ground.config.limits.subscriptions_per_session_max as usize;
        let session = ground.clients.session(slot);
        let is_new = !session.subscriptions().contains(&request.key);
        // A restored subscription was within the limits when it was made.
        // Nothing else can give back what the subscriptions of a stored Session take: it does not
        // end when its Client is disconnected.
        let is_short = match session.is_stored() {
            true => ground.strain.is_short_of_memory(),
            false => ground.strain.is_very_short_of_memory(),
        };
        let has_room = session.subscriptions().len() < subscriptions_max && !is_short;
        if is_new && !has_room && !ground.is_restoring {
            ground.clients.counters.limits_exceeded += 1;
            return Err(ReasonCode::QuotaExceeded);
        }
        // A Client that comes for its messages subscribes once more, and takes up no more room.
        if is_new && session.is_stored() && ground.clients.rounds.is_full() {
            return Err(ReasonCode::QuotaExceeded);
        }
        // The filter that is authorized is the one that takes effect, without its prefix.
        let policy = &ground.clients.policy;
        match policy.may_subscribe(session.identity(), &request.filter, options.qos) {
            true => Ok(()),
            false => Err(ReasonCode::NotAuthorized),
        }
    }

    /// Puts a subscription into the tree, and notes the retained messages that it asks for: they
    /// follow the SUBACK.
    pub(super) fn add_plain(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        slot: SessionSlot,
        wanted: &Wanted,
        subscribe: Ticket,
        turn: &mut Turn,
    ) {
        let kind = match wanted.request.kind {
            RequestKind::Exclusive => SubscriptionKind::Exclusive,
            _ => SubscriptionKind::Plain,
        };
        let is_new = self.note_subscription(ground, slot, wanted, kind).is_none();
        let filter = wanted.request.filter.as_str();
        let subscriber = Subscriber {
            session: slot,
            identifier: wanted.identifier,
            options: wanted.options.into(),
            filler: Filler::Empty,
        };
        if ground.tree.insert(filter, subscriber) {
            ground.announce_filter(filter, true, turn);
        }
        let wants_retained = match wanted.options.retain_handling {
            RetainHandling::SendAtSubscribe => true, // [MQTT-3.3.1-9]
            RetainHandling::SendIfNew => is_new,     // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false,      // [MQTT-3.3.1-11]
        };
        if wants_retained && !ground.is_restoring {
            let terms = RequestTerms {
                filter: filter.into(),
                key: wanted.request.key.as_str().into(),
                qos: wanted.options.qos,
                identifier: wanted.identifier,
            };
            let session = ground.clients.session_id(slot);
            router.retained.note_request(ground, session, terms, subscribe, turn);
        }
    }

    /// Writes a subscription into its Session; returns the kind of the one it replaces.
    fn note_subscription(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        wanted: &Wanted,
        kind: SubscriptionKind,
    ) -> Option<SubscriptionKind> {
        let (options, identifier) = (wanted.options, wanted.identifier);
        let is_restoring = ground.is_restoring;
        let session = ground.clients.session(slot);
        let known = session.subscriptions().get(&wanted.request.key);
        let is_known = known.is_some_and(|known| {
            (known.options, known.identifier) == (options, identifier)
                // One that is claimed again may not be in the store yet.
                && kind != SubscriptionKind::Exclusive
        });
        if let Some(number) = session.number()
            && !is_restoring
            && !is_known
        {
            let filter = wanted.request.key.as_str().into();
            let subscription = SubscriptionRecord { filter, options, identifier };
            let op = StoreOp::Subscribed { session: number.get(), subscription };
            ground.clients.rounds.keep(op);
        }
        let session = ground.clients.session_mut(slot);
        let replaced =
            session.subscribe(&wanted.request.key, Subscribed { options, identifier, kind });
        replaced.map(|old| old.kind)
    }

    /// Writes an exclusive subscription that its home has not granted yet into its Session. Returns
    /// true if the Session did not have it.
    fn note_claim(&mut self, ground: &mut Ground, slot: SessionSlot, wanted: &Wanted) -> bool {
        let (options, identifier) = (wanted.options, wanted.identifier);
        let claimed = Subscribed { options, identifier, kind: SubscriptionKind::Exclusive };
        let session = ground.clients.session_mut(slot);
        session.subscribe(&wanted.request.key, claimed).is_none()
    }

    /// Gives up everything held by a subscription that was just taken from its Session.
    pub(crate) fn free_subscription(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        holder: Holder,
        key: &str,
        kind: &SubscriptionKind,
        turn: &mut Turn,
    ) {
        let Holder { session, slot } = holder;
        match *kind {
            SubscriptionKind::Plain => self.remove_from_tree(ground, slot, key, turn),
            SubscriptionKind::Exclusive => {
                let filter = key.strip_prefix(EXCLUSIVE_PREFIX).unwrap_or(key);
                self.remove_from_tree(ground, slot, filter, turn);
                self.free_exclusive(ground, filter, session, turn);
            }
            SubscriptionKind::Shared(Some(group)) => {
                router.shared.leave(ground, group, session, turn);
            }
            // Its home has not answered yet: the answer will find no subscription.
            SubscriptionKind::Shared(None) => (),
        }
    }

    /// Takes a filter of a Session out of the tree, unless the Session has it in the other form,
    /// too: plain and exclusive ones share their node in the tree.
    pub(super) fn remove_from_tree(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        filter: &str,
        turn: &mut Turn,
    ) {
        let subscriptions = ground.clients.session(slot).subscriptions();
        let plain = subscriptions.get(filter);
        let exclusive = || subscriptions.get(&format!("{EXCLUSIVE_PREFIX}{filter}"));
        if let Some(other) = plain.or_else(exclusive) {
            let (identifier, options) = (other.identifier, other.options.into());
            ground.tree.insert(
                filter,
                Subscriber { session: slot, identifier, options, filler: Filler::Empty },
            );
        } else if ground.tree.remove(filter, slot) {
            ground.announce_filter(filter, false, turn);
        }
    }

    fn member(&mut self, ground: &mut Ground, slot: SessionSlot, wanted: &Wanted) -> Member {
        Member {
            session: ground.clients.session_id(slot),
            options: wanted.options.into(),
            identifier: wanted.identifier,
            online: ground.clients.session(slot).attached().is_some(),
            is_stored: ground.clients.session(slot).is_stored(),
            in_flight: 0,
        }
    }
}

/// Returns the options that a bridge means, though it can only say so in MQTT 5.0: messages that it
/// brings do not go back to it, and those that it takes away keep their RETAIN flag.
fn as_bridge(entry: Subscription<'_>) -> SubscriptionOptions {
    let no_local = FilterRequest::shared_of(entry.filter).is_none();
    SubscriptionOptions { no_local, retain_as_published: true, ..entry.options }
}

pub(super) fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
