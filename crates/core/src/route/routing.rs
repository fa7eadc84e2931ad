//! Takes an admitted publication to everybody who gets it: retains, matches and delivers it.

use midge_codec::QoS;

use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{GroupId, SessionSlot};
use crate::base::message::{Attributes, Message, Publication};
use crate::base::work::Work;
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{Peer, QuestionId};
use crate::boundary::turn::Turn;
use crate::clients::crossings::RoutedFrom;
use crate::clients::drops::Party;
use crate::clients::{Clients, Grant};
use crate::connection::output::SHARED_PAYLOAD_BYTES_MIN;
use crate::gate::{Admitted, PublishGate};
use crate::ground::Ground;
use crate::route::Router;
use crate::route::put_off::Routing;
use crate::tree::subscription_tree::Subscriber;

/// One Session that gets a publication, with what all its matching subscriptions say together.
#[derive(Debug)]
pub(crate) struct Target {
    session: SessionSlot,
    generation: u32,
    qos: QoS,
    retain_as_published: bool,
    identifiers: Identifiers,
}

impl Router {
    /// Publishes through the gate, for a publisher that cannot be told what becomes of the message.
    /// Returns how many receivers (sessions, workers, groups) matched.
    pub(crate) fn publish(
        &mut self,
        ground: &mut Ground,
        publication: Publication<'_>,
        turn: &mut Turn,
    ) -> Result<usize, DropReason> {
        self.publish_for(ground, publication, false, turn).map(|(matched, _)| matched)
    }

    /// Like `publish`, for a publisher that may want to know what becomes of the message (`asks`).
    /// Besides the number of receivers, returns the ticket of the question to another worker
    /// whether it retains the message, if it was asked.
    pub(crate) fn publish_for(
        &mut self,
        ground: &mut Ground,
        publication: Publication<'_>,
        asks: bool,
        turn: &mut Turn,
    ) -> Result<(usize, Option<QuestionId>), DropReason> {
        let (topic, publisher) = (publication.topic, Party::Publisher(publication.publisher));
        let admitted = PublishGate(&*ground.clients.policy).admit(publication, turn.now);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(reason) => {
                ground.clients.note_drop(publisher, topic, reason, turn);
                return Err(reason);
            }
        };
        ground.clients.counters.messages_received += 1;
        let bytes = admitted.publication().payload.len() as u64;
        ground.clients.counters.payload_bytes_received += bytes;
        let retained = match admitted.publication().attributes.retain {
            true => self.retained.retain(ground, &admitted, asks, turn),
            false => Ok(None),
        };
        let matched = self.route(ground, &admitted, turn);
        if matched == 0 && !admitted.publication().attributes.retain {
            ground.clients.note_drop(publisher, topic, DropReason::NoSubscriber, turn);
        }
        retained.map(|ticket| (matched, ticket))
    }

    /// Like `publish_for`, unless something that would have to be kept could not be: then nobody
    /// gets the publication, so that its publisher can send it again.
    pub(crate) fn publish_unless_lost(
        &mut self,
        ground: &mut Ground,
        publication: Publication<'_>,
        asks: bool,
        turn: &mut Turn,
    ) -> Result<(usize, Option<QuestionId>), DropReason> {
        match self.obstacle(ground, &publication) {
            None => self.publish_for(ground, publication, asks, turn),
            Some(reason) => {
                let publisher = Party::Publisher(publication.publisher);
                ground.clients.note_drop(publisher, publication.topic, reason, turn);
                Err(reason)
            }
        }
    }

    /// Why something that would have to be kept cannot be: the store has no room, or the worker
    /// that would keep it is gone.
    #[inline]
    fn obstacle(
        &mut self,
        ground: &mut Ground,
        publication: &Publication<'_>,
    ) -> Option<DropReason> {
        let rounds = &ground.clients.rounds;
        let (is_full, misses_some) = (rounds.is_full(), rounds.misses_some());
        if is_full && self.would_be_kept(ground, publication) {
            return Some(DropReason::StoreFull);
        }
        let is_missed = misses_some && self.would_be_kept_by_missing(ground, publication);
        is_missed.then_some(DropReason::PeerGone)
    }

    /// Whether the home of a retained message is gone, or the only worker that keeps messages for
    /// some of the subscribers.
    #[cold]
    fn would_be_kept_by_missing(
        &mut self,
        ground: &mut Ground,
        publication: &Publication<'_>,
    ) -> bool {
        let Attributes { qos, durability, retain, .. } = publication.attributes;
        if qos == QoS::AtMostOnce {
            return false;
        }
        if retain && !ground.is_member(ground.home_of(publication.topic)) {
            return true;
        }
        if durability == Durability::Memory {
            return false;
        }
        ground.tree.match_topic_name(publication.topic, &mut self.scratch);
        let (rounds, tree) = (&ground.clients.rounds, &ground.tree);
        self.scratch.matched().iter().any(|&node| rounds.misses_any(tree.remote_workers(node)))
    }

    #[cold]
    fn would_be_kept(&mut self, ground: &mut Ground, publication: &Publication<'_>) -> bool {
        let Attributes { qos, durability, retain, .. } = publication.attributes;
        if durability == Durability::Memory {
            return false;
        }
        if retain && !publication.payload.is_empty() {
            return true;
        }
        if qos == QoS::AtMostOnce {
            return false;
        }
        ground.tree.match_topic_name(publication.topic, &mut self.scratch);
        let clients = &ground.clients;
        let is_stored = |subscriber: &Subscriber| {
            let session = clients.session(subscriber.session);
            subscriber.options.qos() > QoS::AtMostOnce && session.is_stored()
        };
        self.scratch.matched().iter().any(|&node| {
            clients.rounds.any_stores(ground.tree.remote_workers(node))
                || !ground.tree.groups(node).is_empty()
                || ground.tree.subscribers(node).iter().any(is_stored)
        })
    }

    /// Sends a publication to all subscribers of this node; returns how many receivers matched.
    fn route(&mut self, ground: &mut Ground, admitted: &Admitted<'_>, turn: &mut Turn) -> usize {
        let publication = admitted.publication();
        ground.tree.match_topic_name(publication.topic, &mut self.scratch);
        ground.work.add(1 + self.scratch.visited());
        if self.scratch.matched().is_empty() {
            return 0;
        }
        let mut remote = WorkerSet::EMPTY;
        let mut groups: smallvec::SmallVec<[GroupId; 4]> = smallvec::SmallVec::new();
        for &node in self.scratch.matched() {
            remote = remote.union(ground.tree.remote_workers(node));
            groups.extend_from_slice(ground.tree.groups(node));
        }
        let mut matched = self.route_locally(ground, publication, turn);
        for worker in remote {
            ground.note_sent(worker, WorkerSet::one(worker), publication.attributes, turn);
            turn.fx.send(worker, Peer::Publish(publication.share()).into());
            matched += 1;
        }
        ground.work.add(groups.len() * Work::GROUP);
        for group in groups {
            self.shared.publish(ground, group, publication, turn);
            matched += 1;
        }
        matched
    }

    /// Routes a publication that another worker's gate has admitted to the subscribers of this one.
    pub(crate) fn route_from_peer(
        &mut self,
        ground: &mut Ground,
        admitted: &Admitted<'_>,
        turn: &mut Turn,
    ) {
        ground.tree.match_topic_name(admitted.publication().topic, &mut self.scratch);
        ground.work.add(1 + self.scratch.visited());
        self.route_locally(ground, admitted.publication(), turn);
    }

    /// Routes a message of the broker itself, which all workers have, to the subscribers of this
    /// one. Only the first worker gives it to the shared subscriptions.
    pub(crate) fn route_own(&mut self, ground: &mut Ground, message: &Message, turn: &mut Turn) {
        let publication = Publication::of(message);
        ground.tree.match_topic_name(publication.topic, &mut self.scratch);
        let mut groups = Vec::new();
        if ground.config.worker.index() == 0 {
            let matched = self.scratch.matched().iter();
            groups.extend(matched.flat_map(|&node| ground.tree.groups(node)).copied());
        }
        self.retained.note_seen(publication.topic);
        ground.clients.set_routed_from(RoutedFrom::OwnTopics(self.retained.own_topics.edition()));
        self.route_locally(ground, &publication, turn);
        ground.clients.set_routed_from(RoutedFrom::Own);
        for group in groups {
            self.shared.publish(ground, group, &publication, turn);
        }
    }

    /// Delivers to a Session that has just arrived the messages of the broker itself that its last
    /// worker did not have yet.
    pub(crate) fn catch_up(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        edition: u64,
        turn: &mut Turn,
    ) {
        for message in self.retained.own_topics.since(edition) {
            let publication = Publication::of(&message);
            ground.tree.match_topic_name(publication.topic, &mut self.scratch);
            let all = self.scratch.matched().iter().flat_map(|&node| ground.tree.subscribers(node));
            let Some(subscriber) = all.copied().find(|subscriber| subscriber.session == slot)
            else {
                continue;
            };
            let grant = Grant {
                qos: subscriber.options.qos(),
                retain: subscriber.options.retain_as_published(),
                identifiers: subscriber.identifier.as_slice(),
                group: None,
            };
            let clients = &mut ground.clients;
            if let Err(reason) = clients.deliver_single(slot, &publication, &grant, turn) {
                clients.note_drop(Party::Receiver(slot), publication.topic, reason, turn);
            }
        }
    }

    /// Delivers to the local subscribers of the matched nodes, now or later; returns to how many.
    fn route_locally(
        &mut self,
        ground: &mut Ground,
        publication: &Publication<'_>,
        turn: &mut Turn,
    ) -> usize {
        if publication.attributes.retain {
            self.note_live(ground, publication.topic);
        }
        let mut subscribers = 0;
        let mut nodes_with_subscribers = 0;
        for &node in self.scratch.matched() {
            let count = ground.tree.subscribers(node).len();
            subscribers += count;
            nodes_with_subscribers += usize::from(count > 0);
        }
        if subscribers == 0 {
            return 0;
        }
        ground.work.add(subscribers);
        let at_once = self.put_off.admits(subscribers, copied_bytes(publication));
        if at_once && nodes_with_subscribers == 1 {
            return self.deliver_to_one_filter(ground, publication, subscribers, turn);
        }
        let targets = self.collect_targets(ground, publication, subscribers);
        let count = targets.len();
        if at_once {
            ground.clients.begin_publication(count);
            for target in &targets {
                deliver_to(&mut ground.clients, target, publication, turn);
            }
        } else {
            let Attributes { qos, durability, .. } = publication.attributes;
            let round = ground.clients.rounds.put_off(qos, durability);
            self.put_off.push(publication.share(), targets, round);
        }
        count
    }

    /// Notes that a retained message reaches this worker's subscribers as a live one. For those of
    /// them that wait for retained messages, what other workers have kept of its topic is older.
    fn note_live(&mut self, ground: &mut Ground, topic: &str) {
        if ground.config.workers == 1 || self.retained.requests.is_empty() {
            return;
        }
        for &node in self.scratch.matched() {
            for subscriber in ground.tree.subscribers(node) {
                let session = ground.clients.session_id(subscriber.session);
                self.retained.requests.note_live(session, topic);
            }
        }
    }

    /// The common case: one filter matches, so no Session can be met twice. Returns how many
    /// Sessions it delivers to.
    fn deliver_to_one_filter(
        &mut self,
        ground: &mut Ground,
        publication: &Publication<'_>,
        subscribers: usize,
        turn: &mut Turn,
    ) -> usize {
        let mut count = 0;
        ground.clients.begin_publication(subscribers);
        for &node in self.scratch.matched() {
            for subscriber in ground.tree.subscribers(node) {
                if !wants(&ground.clients, subscriber, publication) {
                    continue;
                }
                count += 1;
                let options = subscriber.options;
                let identifiers = subscriber.identifier.as_slice();
                let grant = Grant {
                    qos: options.qos(),
                    retain: options.retain_as_published() && publication.attributes.retain,
                    identifiers,
                    group: None,
                };
                let slot = subscriber.session;
                if let Err(reason) = ground.clients.deliver(slot, publication, &grant, turn) {
                    let receiver = Party::Receiver(slot);
                    ground.clients.note_drop(receiver, publication.topic, reason, turn);
                }
            }
        }
        count
    }

    /// Makes one entry for each Session, however many of its subscriptions match, with the highest
    /// QoS and all Subscription Identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-3].
    fn collect_targets(
        &mut self,
        ground: &mut Ground,
        publication: &Publication<'_>,
        expected: usize,
    ) -> Vec<Target> {
        self.match_stamp += 1;
        let mut targets: Vec<Target> = Vec::with_capacity(expected);
        for &node in self.scratch.matched() {
            for subscriber in ground.tree.subscribers(node) {
                if !wants(&ground.clients, subscriber, publication) {
                    continue;
                }
                let session = ground.clients.session_mut(subscriber.session);
                match session.index_in_match(self.match_stamp, targets.len() as u32) {
                    Some(index) => targets[index as usize].merge(subscriber),
                    None => targets.push(Target::new(subscriber, session.generation())),
                }
            }
        }
        targets
    }

    /// Goes on with fan-outs that were put off, within this turn's share.
    pub(crate) fn run_routings(&mut self, ground: &mut Ground, turn: &mut Turn) {
        while !self.put_off.is_turn_over() {
            let Some(mut routing) = self.put_off.take() else {
                break;
            };
            self.run_routing(ground, &mut routing, turn);
            if routing.next < routing.targets.len() {
                self.put_off.put_back(routing);
            }
        }
    }

    fn run_routing(&mut self, ground: &mut Ground, routing: &mut Routing, turn: &mut Turn) {
        let message = routing.message.clone();
        let publication = Publication::of(&message);
        let rest = routing.targets.len() - routing.next;
        let is_void = routing.round.is_some_and(|round| ground.clients.rounds.is_void(round));
        if is_void && message.attributes().qos == QoS::ExactlyOnce {
            let (nobody, reason) = (Party::Nobody, DropReason::PeerGone);
            ground.clients.note_drops(nobody, publication.topic, reason, rest as u64, turn);
            routing.next += rest;
            return;
        }
        let count = self.put_off.take_deliveries(rest, copied_bytes(&publication));
        ground.clients.rounds.resume_origin(routing.round);
        ground.clients.begin_publication(count);
        for target in &routing.targets[routing.next..routing.next + count] {
            if ground.clients.is_generation(target.session, target.generation) {
                deliver_to(&mut ground.clients, target, &publication, turn);
            } else {
                let (nobody, reason) = (Party::Nobody, DropReason::SessionEnded);
                ground.clients.note_drop(nobody, publication.topic, reason, turn);
            }
        }
        ground.clients.rounds.end_origin();
        routing.next += count;
    }
}

/// How many bytes a publication takes in a receiver's output; a large payload is shared.
#[inline]
fn copied_bytes(publication: &Publication<'_>) -> usize {
    // The fixed header, and the lengths of topic and properties.
    const FRAMING: usize = 8;
    (FRAMING + publication.size()).min(SHARED_PAYLOAD_BYTES_MIN)
}

/// Whether a subscriber gets a publication: its Session has not ended and, with No Local, is not
/// that of the message's own publisher [MQTT-3.8.3-3].
#[inline]
fn wants(clients: &Clients, subscriber: &Subscriber, publication: &Publication<'_>) -> bool {
    let &Subscriber { session, options, .. } = subscriber;
    if clients.is_closed_to_route(session) {
        return false;
    }
    !options.no_local()
        || publication.attributes.publisher_session != Some(clients.session_id(session))
}

fn deliver_to(
    clients: &mut Clients,
    target: &Target,
    publication: &Publication<'_>,
    turn: &mut Turn,
) {
    let grant = Grant {
        qos: target.qos,
        retain: target.retain_as_published && publication.attributes.retain,
        identifiers: target.identifiers.as_slice(),
        group: None,
    };
    if let Err(reason) = clients.deliver(target.session, publication, &grant, turn) {
        clients.note_drop(Party::Receiver(target.session), publication.topic, reason, turn);
    }
}

impl Target {
    fn new(subscriber: &Subscriber, generation: u32) -> Self {
        Self {
            session: subscriber.session,
            generation,
            qos: subscriber.options.qos(),
            retain_as_published: subscriber.options.retain_as_published(),
            identifiers: subscriber.identifier.map_or(Identifiers::None, Identifiers::One),
        }
    }

    fn merge(&mut self, subscriber: &Subscriber) {
        self.qos = self.qos.max(subscriber.options.qos());
        self.retain_as_published |= subscriber.options.retain_as_published();
        if let Some(identifier) = subscriber.identifier {
            self.identifiers.push(identifier);
        }
    }
}
