//! Takes over what the store has kept when a broker starts: Sessions without a Network Connection,
//! shared subscriptions, retained and delayed messages. Nothing is sent meanwhile; whatever has
//! become due is handled at the first timer.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use midge_codec::{ReasonCode, SubscriptionOptions};

use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::hashing::hash_str;
use crate::base::identity::{ConnectionId, GroupId, Identity, SessionId, SessionSlot};
use crate::base::message::Message;
use crate::base::time::Timestamp;
use crate::base::timers::Timer;
use crate::boundary::effects::Event;
use crate::boundary::store_records::{
    Fetch, Fetched, GroupRecord, Kept, Owner, Recovered, RecoveredQueue, RecoveredSession,
    RecoveredSessions, StoreOp, SubscriptionRecord, WillRecord,
};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::session::{NEVER_EXPIRES, Received, Subscribed, SubscriptionKind, Will};
use crate::subscribe::subscribing::Asking;
use crate::topics::filter_request::{FilterRequest, RequestKind};
use crate::topics::rewrite::TopicRules;
use crate::tree::subscription_tree::{Filler, Subscriber};

/// Room is made in advance for no more announcements of filters than this.
const ANNOUNCED_MAX: usize = 1 << 20;

impl Recovered {
    /// Divides what was recovered among `workers` workers whose cores have this seed.
    pub fn divide(self, workers: usize, seed: u64) -> Vec<Self> {
        let mut parts: Vec<_> = (0..workers)
            .map(|_| Self {
                next_number: self.next_number,
                lived_until: self.lived_until,
                ..Self::default()
            })
            .collect();
        let home = |name: &str| (hash_str(seed, name) % workers as u64) as usize;
        // A little more than each gets on the average.
        let expected = |count: usize| count / workers + count / 64;
        for part in &mut parts {
            part.sessions.reserve(expected(self.sessions.len()));
            part.kept.reserve(expected(self.kept.len()));
        }
        for session in newest_first(self.sessions) {
            parts[home(&session.record.client_id)].sessions.push(session);
        }
        for (group, queue) in self.groups {
            let name = format!("{}/{}", group.name, group.filter);
            let part = if workers == 1 { 0 } else { home(&name) };
            parts[part].groups.push((group, queue));
        }
        for (number, what, message) in self.kept {
            parts[home(message.topic())].kept.push((number, what, message));
        }
        parts
    }
}

/// Sorts Sessions by their numbers, which grow with time. A broker that ended between the end of
/// one Session and the beginning of the next may have left both in the store.
fn newest_first(mut sessions: RecoveredSessions) -> impl Iterator<Item = Box<RecoveredSession>> {
    if !sessions.is_sorted_by_key(|session| session.record.number) {
        sessions.sort_by_cached_key(|session| session.record.number);
    }
    sessions.into_iter().rev()
}

impl Core {
    /// Takes over this worker's part of what the store has kept. Before the caller lets Clients in,
    /// it carries out the effects among all cores, `to_workers` and `fetches`, until there are no
    /// more.
    pub fn restore(&mut self, recovered: Recovered, turn: &mut Turn) {
        self.ground.is_restoring = true;
        self.ground.numbers.begin_at(recovered.next_number);
        let lived_until = recovered.lived_until.unwrap_or(turn.now);
        self.reserve(&recovered, turn);
        let mut groups = recovered.groups;
        groups.sort_by_key(|(group, _)| std::cmp::Reverse(group.number));
        for (group, queue) in groups {
            self.restore_group(group, &queue, turn);
        }
        for (number, what, message) in recovered.kept {
            match what {
                Kept::Retained => self.router.retained.restore(&mut self.ground, number, &message),
                Kept::Delayed(at) => {
                    self.router.restore_delayed(&mut self.ground, number, at, message);
                }
            }
        }
        for session in recovered.sessions {
            // A Session that lasts no longer than its Network Connection has ended with it.
            if session.record.expiry_seconds == 0 || self.has_session(&session.record.client_id) {
                self.superseded.push(*session);
            } else {
                self.restore_session(*session, lived_until, turn);
            }
        }
    }

    /// Makes room for all that is taken over, which is quicker than to grow step by step, and does
    /// not need the memory of the last steps.
    fn reserve(&mut self, recovered: &Recovered, turn: &mut Turn) {
        let subscriptions = recovered.sessions.iter().map(|session| session.subscriptions.len());
        let subscriptions: usize = subscriptions.sum();
        self.ground.clients.reserve_sessions(recovered.sessions.len());
        // Each worker tells all others of its filters; of few, if many subscriptions have the same.
        let workers = self.ground.config.workers;
        let announced = subscriptions.min(ANNOUNCED_MAX / workers);
        for worker in self.ground.other_workers() {
            turn.fx.to_workers[worker.index()].reserve(announced);
        }
        // Where there are many workers, their filters are often the same, and need no room twice.
        let of_others = (announced * (workers - 1)).min(subscriptions);
        self.ground.tree.reserve(subscriptions, of_others + of_others / 64);
        let is_retained = |kept: &&(u64, Kept, Message)| kept.1 == Kept::Retained;
        self.router.retained.reserve(recovered.kept.iter().filter(is_retained).count());
    }

    /// Ends the restoring. Call this when all cores have taken everything over and what they had to
    /// tell each other was carried out: shared subscriptions without members end. The effects of
    /// this call have to be carried out, too.
    pub fn end_restore(&mut self, turn: &mut Turn) {
        for session in std::mem::take(&mut self.superseded) {
            self.end_superseded(session, turn);
        }
        self.ground.is_restoring = false;
        // Only subscriptions that were given up are reported: nobody took part in the rest.
        turn.fx.events.retain(Event::is_refused_subscription);
        for group in self.router.shared.groups.without_members() {
            self.router.shared.end_group(&mut self.ground, group, turn);
        }
    }

    /// Ends a Session that had ended already, with its Network Connection or because its Client
    /// wanted a new one. The store did not learn of that, or learned only that others are to get
    /// what waits for the Session. Its Will Message is published, and other members get what waits
    /// for it from shared subscriptions.
    fn end_superseded(&mut self, session: RecoveredSession, turn: &mut Turn) {
        let session = RecoveredSession { subscriptions: Vec::new(), ..session };
        let slot = self.restore_session(session, turn.now, turn);
        self.end_session(slot, turn);
    }

    fn restore_session(
        &mut self,
        session: RecoveredSession,
        lived_until: Timestamp,
        turn: &mut Turn,
    ) -> SessionSlot {
        let RecoveredSession { record, detached_at, subscriptions, awaiting_release, queue } =
            session;
        let facts = record.facts;
        let identity = Identity { facts, ..Identity::new(record.client_id, record.user_name) };
        let slot = self.ground.clients.insert_session(Arc::new(identity));
        let inflight_max = self.ground.config.limits.inflight_messages_max;
        let extent = self.ground.clients.extent(u16::MAX);
        self.ground.clients.count_in(slot);
        let session = self.ground.clients.session_mut(slot);
        session.set_number(NonZeroU64::new(record.number));
        session.promise(Durability::Fsync);
        session.set_expiry_seconds(record.expiry_seconds);
        for packet_id in awaiting_release {
            let received = Received { promised: Durability::Fsync, ticket: None };
            session.note_received(packet_id, received);
        }
        if queue != RecoveredQueue::default() {
            let outgoing = session.make_outgoing(extent);
            let was_connected = detached_at.is_none();
            outgoing.restore(&queue, was_connected, record.window, inflight_max, turn.now);
        }
        self.ground.tell_storing(turn);
        for subscription in subscriptions {
            self.restore_subscription(slot, subscription, turn);
        }
        let gone_since = detached_at.unwrap_or(lived_until);
        if detached_at.is_none() {
            self.store_absence(slot, gone_since);
        }
        if let Some(will) = record.will {
            self.restore_will(slot, will, gone_since);
        }
        if record.expiry_seconds != NEVER_EXPIRES {
            let at = gone_since.plus_seconds(u64::from(record.expiry_seconds));
            let session = self.ground.clients.session_mut(slot);
            session.note_expiry_timer(Some(at));
            self.ground.timers.set(at, Timer::SessionExpiry(slot, session.generation()));
        }
        slot
    }

    /// Tells the store when a Client that was connected when the broker ended lost its Network
    /// Connection. Otherwise, the intervals of its Session would begin anew with every start.
    fn store_absence(&mut self, slot: SessionSlot, at: Timestamp) {
        let session = self.ground.clients.session(slot);
        let sent_before = session.outgoing().map(|outgoing| outgoing.sent().to_store());
        // Without a queue, it is not known either what was sent: the queue may be in a damaged part
        // of the store.
        let sent_before = sent_before.unwrap_or(u64::MAX);
        if let Some(number) = session.number() {
            let op = StoreOp::Detached { session: number.get(), at, sent_before };
            self.ground.clients.rounds.keep(op);
        }
    }

    /// Restores a Will Message and sets its timer: with no delay it is due at once, since the
    /// Network Connection ended with the broker at the latest.
    fn restore_will(&mut self, slot: SessionSlot, will: WillRecord, gone_since: Timestamp) {
        let WillRecord { message, delay_seconds, expiry_seconds } = will;
        let at = gone_since.plus_seconds(u64::from(delay_seconds));
        let session = self.ground.clients.session_mut(slot);
        session.set_will(Some(Box::new(Will { message, delay_seconds, expiry_seconds })));
        session.note_will_timer(Some(at));
        self.ground.timers.set(at, Timer::WillDelay(slot, session.generation()));
    }

    /// Makes a subscription again, if its owner may still have it.
    fn restore_subscription(
        &mut self,
        slot: SessionSlot,
        record: SubscriptionRecord,
        turn: &mut Turn,
    ) {
        let SubscriptionRecord { filter, options, identifier } = record;
        let levels_max = self.ground.config.limits.topic_levels_max;
        // The filter was rewritten when the subscription was made.
        let request = FilterRequest::parse(&filter, &TopicRules::default(), levels_max);
        let client = Arc::clone(self.ground.clients.session(slot).identity());
        let policy = &self.ground.clients.policy;
        let request = match request {
            Ok(it) if !policy.may_subscribe(&client, &it.filter, options.qos) => {
                Err(ReasonCode::NotAuthorized)
            }
            request => request,
        };
        let request = match request {
            Ok(request) => request,
            Err(reason_code) => {
                self.ground.clients.forget_subscription(slot, &filter);
                turn.fx.events.push(Event::Subscribed { client, filter, reason_code });
                return;
            }
        };
        if request.kind != RequestKind::Plain {
            return self.restore_by_home(slot, &filter, options, identifier, turn);
        }
        let kind = SubscriptionKind::Plain;
        let subscribed = Subscribed { options, identifier, kind };
        self.ground.clients.session_mut(slot).subscribe(&filter, subscribed);
        let (session, options) = (slot, options.into());
        let subscriber = Subscriber { session, identifier, options, filler: Filler::Empty };
        if self.ground.tree.insert(&request.filter, subscriber) {
            self.ground.announce_filter(&request.filter, true, turn);
        }
    }

    /// Makes shared and exclusive subscriptions at their homes.
    fn restore_by_home(
        &mut self,
        slot: SessionSlot,
        filter: &str,
        options: SubscriptionOptions,
        identifier: Option<NonZeroU32>,
        turn: &mut Turn,
    ) {
        let nobody = ConnectionId { slot: u32::MAX, generation: NonZeroU32::MIN };
        let filters = std::iter::once((filter, options));
        let asking = Asking { connection: nobody, slot, identifier };
        self.subscriptions.subscribe(&mut self.router, &mut self.ground, asking, filters, turn);
    }

    /// Restores a shared subscription at its home, and asks the store for what waits for it.
    fn restore_group(&mut self, record: GroupRecord, queue: &RecoveredQueue, turn: &mut Turn) {
        let GroupRecord { number, name, filter } = record;
        if self.router.shared.groups.by_name(&name, &filter).is_some() {
            // This one had ended before the newer one of its name began.
            return self.ground.clients.rounds.keep(StoreOp::Ended(Owner::Group(number)));
        }
        let last_sequence = queue.next.saturating_sub(1);
        self.router.shared.restore_group(
            &mut self.ground,
            (name, filter),
            number,
            last_sequence,
            turn,
        );
        if queue.messages > 0 {
            let fetch = self.group_fetch(number, queue.first);
            turn.fx.fetches.push(fetch);
        }
    }

    fn group_fetch(&self, number: u64, from: u64) -> Fetch {
        let session =
            SessionId { worker: self.ground.config.worker, slot: u32::MAX, generation: 0 };
        let limits = &self.ground.config.limits;
        Fetch {
            owner: Owner::Group(number),
            session,
            ticket: 0,
            from,
            messages_max: limits.shared_backlog_messages_max as usize,
            bytes_max: limits.shared_backlog_bytes_max as usize,
        }
    }

    /// Takes over messages that the store has kept for a shared subscription.
    pub(crate) fn restore_group_backlog(&mut self, number: u64, fetched: Fetched, turn: &mut Turn) {
        let group = GroupId { home: self.ground.config.worker, number };
        for entry in fetched.entries {
            let sequence = entry.sequence;
            match entry.delivery {
                Some(delivery) => {
                    self.router.shared.groups.restore_message(group, delivery.message, sequence);
                }
                None => {
                    self.ground.clients.note_drop(Party::Nobody, "", DropReason::Damaged, turn);
                    let owner = Owner::Group(number);
                    self.ground.clients.rounds.keep(StoreOp::Finished { owner, sequence });
                }
            }
        }
        match self.router.shared.groups.last_sequence(group) {
            Some(last) if fetched.next <= last => {
                let fetch = self.group_fetch(number, fetched.next);
                turn.fx.fetches.push(fetch);
            }
            Some(_) => self.router.shared.flush_if_online(&mut self.ground, group, turn),
            None => (),
        }
    }
}
