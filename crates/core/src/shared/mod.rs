//! Shared subscriptions. Each group has a home worker, which keeps the list of members and tells it
//! to all others. The publishing worker chooses a member from its copy of the list, so
//! that a message takes the same way as any other and keeps its place among them. The home decides
//! when the copy does not suffice: when nobody is connected, or the strategy needs one memory for
//! the whole node.

mod flushing;
mod held;
mod peer_gone;
mod presence;
mod shedding;

pub(crate) use flushing::Flushes;
pub(crate) use presence::Presences;

pub(crate) mod backlog;
pub(crate) mod members;

use std::num::NonZeroU64;

use hashbrown::HashMap;
use midge_codec::QoS;

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{GroupId, SessionId, SessionSlot, WorkerId};
use crate::base::limits::Limits;
use crate::base::message::{Message, Publication};
use crate::base::random::Random;
use crate::base::strategy::SharedStrategy;
use crate::base::time::Timestamp;
use crate::base::work::Work;
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{Member, Peer, SharedPeer};
use crate::boundary::store_records::{GroupRecord, Owner, Round, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::Grant;
use crate::clients::drops::Party;
use crate::gate::Admitted;
use crate::ground::Ground;
use crate::shared::backlog::{BacklogEntry, GroupBacklog};
use crate::shared::members::Members;

/// A message of a shared subscription can be passed on, so any worker may have to keep it.
const ANY_WORKER: WorkerSet = WorkerSet::ANY;

/// The shared subscriptions of a node, as one worker has part in them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) groups: SharedGroups,
    pub(crate) flushes: Flushes,
    pub(crate) presences: Presences,
    random: Random,
}

/// The groups that this worker is home to, and what it knows of the others.
#[derive(Debug)]
pub(crate) struct SharedGroups {
    worker: WorkerId,
    groups: HashMap<u64, Group, foldhash::fast::FixedState>,
    by_name: HashMap<(Box<str>, Box<str>), u64, foldhash::fast::FixedState>,
    /// Copies of the lists of members that other workers keep, by the numbers of the groups.
    copies: HashMap<u64, (WorkerId, Members), foldhash::fast::FixedState>,
}

#[derive(Debug)]
struct Group {
    name: Box<str>,
    filter: Box<str>,
    members: Members,
    /// Messages that wait for a member to connect.
    backlog: GroupBacklog,
    /// Whether the store knows the group: it has had a member that is in the store.
    is_stored: bool,
    last_sequence: u64,
    /// Whether the group is on the list of those that wait for a confirmation.
    is_held: bool,
    /// Whether its messages are on their way to the members.
    is_flushing: bool,
}

/// The members that did not take a message, and why it was refused last, if it was.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) barred: Vec<SessionId>,
    pub(crate) refusal: Option<DropReason>,
}

impl SharedGroups {
    pub(crate) fn new(worker: WorkerId, seed: u64) -> Self {
        Self {
            worker,
            groups: HashMap::default(),
            by_name: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            copies: HashMap::default(),
        }
    }

    fn id(&self, number: u64) -> GroupId {
        GroupId { home: self.worker, number }
    }

    fn get(&mut self, group: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(&group.number)
    }

    fn members(&mut self, group: GroupId) -> Option<&mut Members> {
        if group.home == self.worker {
            self.get(group).map(|group| &mut group.members)
        } else {
            self.copies.get_mut(&group.number).map(|(_, members)| members)
        }
    }

    /// The group of this number, if it still exists.
    pub(crate) fn by_number(&self, number: u64) -> Option<GroupId> {
        if self.groups.contains_key(&number) {
            return Some(self.id(number));
        }
        let (home, _) = self.copies.get(&number)?;
        Some(GroupId { home: *home, number })
    }

    /// Restores a message that the store has kept for a group.
    pub(crate) fn restore_message(&mut self, id: GroupId, message: Message, sequence: u64) {
        if let Some(group) = self.get(id) {
            let sequence = NonZeroU64::new(sequence);
            group.backlog.push(BacklogEntry { message, sequence, hold: None });
        }
    }

    /// Takes out the messages of a group that have expired.
    pub(crate) fn take_expired(&mut self, id: GroupId, now: Timestamp) -> Vec<BacklogEntry> {
        self.get(id).map_or_else(Vec::new, |group| group.backlog.take_expired(now))
    }

    /// The group of this name, if this worker is home to one.
    pub(crate) fn by_name(&self, name: &str, filter: &str) -> Option<GroupId> {
        let number = self.by_name.get(&(name.into(), filter.into()))?;
        Some(self.id(*number))
    }

    /// The groups of this worker that have no members.
    pub(crate) fn without_members(&self) -> Vec<GroupId> {
        let groups = self.groups.iter().filter(|(_, group)| group.members.list.is_empty());
        let mut numbers: Vec<_> = groups.map(|(&number, _)| number).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| self.id(number)).collect()
    }

    /// The last sequence that a group of this worker has given out.
    pub(crate) fn last_sequence(&mut self, id: GroupId) -> Option<u64> {
        self.get(id).map(|group| group.last_sequence)
    }

    /// Notes what the home of a group tells of a member.
    pub(crate) fn note_member(&mut self, group: GroupId, member: Member) {
        let copy = self.copies.entry(group.number);
        copy.or_insert_with(|| (group.home, Members::default())).1.put(member);
    }

    pub(crate) fn note_member_gone(&mut self, group: GroupId, session: SessionId) {
        if let Some((_, members)) = self.copies.get_mut(&group.number) {
            members.remove(session);
        }
    }

    /// Forgets a group that does not exist any more.
    pub(crate) fn forget(&mut self, group: GroupId) {
        self.copies.remove(&group.number);
    }
}

impl Group {
    /// Whether messages of this durability are kept in the store, too.
    fn stores(&self, durability: Durability) -> bool {
        self.is_stored && durability > Durability::Memory
    }

    /// Keeps a message; returns its name in the store, if it is kept there, too.
    fn keep(
        &mut self,
        message: Message,
        hold: Option<Round>,
        limits: &Limits,
    ) -> Result<Option<NonZeroU64>, DropReason> {
        if !self.backlog.can_keep(message.size(), limits) {
            return Err(DropReason::SharedBacklogFull);
        }
        let is_stored = self.stores(message.attributes().durability);
        let sequence = is_stored.then(|| NonZeroU64::MIN.saturating_add(self.last_sequence));
        self.last_sequence = sequence.map_or(self.last_sequence, NonZeroU64::get);
        let hold = hold.filter(|_| is_stored);
        self.backlog.push(BacklogEntry { message, sequence, hold });
        Ok(sequence)
    }
}

impl Shared {
    pub(crate) fn new(worker: WorkerId, seed: u64, random: Random) -> Self {
        Self {
            groups: SharedGroups::new(worker, seed),
            flushes: Flushes::default(),
            presences: Presences::default(),
            random,
        }
    }

    /// Makes room in the full backlog of a shared subscription: what has expired gives way.
    #[cold]
    pub(crate) fn make_room(&mut self, ground: &mut Ground, id: GroupId, turn: &mut Turn) {
        for kept in self.groups.take_expired(id, turn.now) {
            let topic = kept.message.topic();
            ground.clients.note_drop(Party::Nobody, topic, DropReason::Expired, turn);
            if let Some(sequence) = kept.sequence {
                let (owner, sequence) = (Owner::Group(id.number), sequence.get());
                ground.clients.rounds.keep(StoreOp::Finished { owner, sequence });
            }
        }
    }

    /// Takes a member in, or changes what it asked for; the group is made if it does not exist.
    pub(crate) fn join(
        &mut self,
        ground: &mut Ground,
        name: &str,
        filter: &str,
        member: Member,
        turn: &mut Turn,
    ) -> GroupId {
        let key = (name.into(), filter.into());
        let number = match self.groups.by_name.get(&key) {
            Some(&number) => number,
            None => {
                let number = ground.numbers.next(turn.now).get();
                self.make_group(ground, key, number, turn);
                number
            }
        };
        let id = self.groups.id(number);
        if let Some(members) = self.groups.members(id) {
            ground.work.add(members.list.len() / Work::MEMBERS);
            members.put(member);
        }
        if member.is_stored {
            self.store_group(ground, id);
        }
        self.announce_member(ground, id, member, turn);
        if member.online {
            self.flush_group(ground, id, turn);
        }
        id
    }

    fn make_group(
        &mut self,
        ground: &mut Ground,
        key: (Box<str>, Box<str>),
        number: u64,
        turn: &mut Turn,
    ) {
        let (name, filter) = key.clone();
        let group = Group {
            name,
            filter,
            members: Members::default(),
            backlog: GroupBacklog::default(),
            is_stored: false,
            last_sequence: 0,
            is_held: false,
            is_flushing: false,
        };
        self.groups.groups.insert(number, group);
        let id = self.groups.id(number);
        ground.tree.add_group(&key.1, id);
        self.announce_group(ground, &key.1, id, true, turn);
        self.groups.by_name.insert(key, number);
    }

    /// Has the groups of a Session that the store has come to know stored as well.
    pub(crate) fn store_groups_of(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        turn: &mut Turn,
    ) {
        for group in presence::groups_of(ground.clients.session(slot)) {
            ground.work.add(1);
            if group.home == ground.config.worker {
                self.store_group(ground, group);
            } else {
                turn.fx.send(group.home, SharedPeer::Stored { group }.into());
            }
        }
    }

    /// The store has to know a group before it can keep messages for it.
    pub(crate) fn store_group(&mut self, ground: &mut Ground, id: GroupId) {
        let Some(group) = self.groups.get(id).filter(|group| !group.is_stored) else {
            return;
        };
        group.is_stored = true;
        let (number, name, filter) = (id.number, group.name.clone(), group.filter.clone());
        ground.clients.rounds.keep(StoreOp::Group(GroupRecord { number, name, filter }));
    }

    fn announce_group(
        &self,
        ground: &Ground,
        filter: &str,
        group: GroupId,
        exists: bool,
        turn: &mut Turn,
    ) {
        for worker in ground.other_workers() {
            turn.fx.send(worker, Peer::Group { filter: filter.into(), group, exists }.into());
        }
    }

    fn announce_member(&self, ground: &Ground, group: GroupId, member: Member, turn: &mut Turn) {
        for worker in ground.other_workers() {
            turn.fx.send(worker, Peer::GroupMember { group, member }.into());
        }
    }

    /// Ends the membership of a Session.
    pub(crate) fn leave(
        &mut self,
        ground: &mut Ground,
        group: GroupId,
        session: SessionId,
        turn: &mut Turn,
    ) {
        if group.home != ground.config.worker {
            return turn.fx.send(group.home, SharedPeer::Leave { group, session }.into());
        }
        let Some(entry) = self.groups.get(group) else {
            return;
        };
        ground.work.add(entry.members.list.len() / Work::MEMBERS);
        entry.members.remove(session);
        if entry.members.list.is_empty() {
            return self.end_group(ground, group, turn);
        }
        for worker in ground.other_workers() {
            turn.fx.send(worker, Peer::GroupMemberGone { group, session }.into());
        }
    }

    pub(crate) fn end_group(&mut self, ground: &mut Ground, id: GroupId, turn: &mut Turn) {
        let Some(group) = self.groups.groups.remove(&id.number) else {
            return;
        };
        for BacklogEntry { message, .. } in group.backlog.iter() {
            ground.clients.note_drop(
                Party::Nobody,
                message.topic(),
                DropReason::SessionEnded,
                turn,
            );
        }
        if group.is_stored {
            ground.clients.rounds.keep_behind_round(StoreOp::Ended(Owner::Group(id.number)));
        }
        ground.tree.remove_group(&group.filter, id);
        self.announce_group(ground, &group.filter, id, false, turn);
        let key = (group.name, group.filter);
        if self.groups.by_name.get(&key) == Some(&id.number) {
            self.groups.by_name.remove(&key);
        }
    }

    /// Gives a publication to a shared subscription whose filter it matches.
    pub(crate) fn publish(
        &mut self,
        ground: &mut Ground,
        group: GroupId,
        publication: &Publication<'_>,
        turn: &mut Turn,
    ) {
        if group.home == ground.config.worker {
            return self.distribute(ground, group, publication, Tried::default(), turn);
        }
        if !ground.config.shared_strategy.needs_home()
            && let Some(member) = self.choose_member(ground, group, publication, &[])
            && self.deliver_to_member(ground, group, member, publication, &[], turn).is_ok()
        {
            return;
        }
        let message = publication.share();
        ground.note_sent(group.home, ANY_WORKER, publication.attributes, turn);
        turn.fx.send(group.home, SharedPeer::Publish { group, message }.into());
    }

    /// Gives a publication that another worker's gate has admitted to a shared subscription that
    /// this worker is home to.
    pub(crate) fn publish_from_peer(
        &mut self,
        ground: &mut Ground,
        group: GroupId,
        admitted: &Admitted<'_>,
        turn: &mut Turn,
    ) {
        self.distribute(ground, group, admitted.publication(), Tried::default(), turn);
    }

    /// Gives a message to one member of a group that this worker is home to, after those that the
    /// group has kept and that are on their way.
    fn distribute(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        publication: &Publication<'_>,
        tried: Tried,
        turn: &mut Turn,
    ) {
        if tried.barred.is_empty() && self.joins_flush(ground, id, publication, turn) {
            return self.keep_for_group(ground, id, publication, &tried, turn);
        }
        self.give_out(ground, id, publication, tried, turn);
    }

    /// Gives a message to one member of a group, or keeps it if no member takes it.
    fn give_out(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        publication: &Publication<'_>,
        mut tried: Tried,
        turn: &mut Turn,
    ) {
        while let Some(member) = self.choose_member(ground, id, publication, &tried.barred) {
            match self.deliver_to_member(ground, id, member, publication, &tried.barred, turn) {
                Ok(()) => return,
                Err(reason) => tried.refusal = reason.or(tried.refusal),
            }
            self.handle_settled(id, member.session);
            tried.barred.push(member.session);
        }
        let limits = &ground.config.limits;
        let is_full = |group: &mut Group| !group.backlog.can_keep(publication.size(), limits);
        if self.groups.get(id).is_some_and(is_full) {
            self.make_room(ground, id, turn);
        }
        self.keep_for_group(ground, id, publication, &tried, turn);
    }

    /// Keeps a message that no member could take, unless one has refused it.
    fn keep_for_group(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        publication: &Publication<'_>,
        tried: &Tried,
        turn: &mut Turn,
    ) {
        let Some(group) = self.groups.get(id) else {
            let (nobody, reason) = (Party::Nobody, DropReason::SessionEnded);
            return ground.clients.note_drop(nobody, publication.topic, reason, turn);
        };
        let durability = publication.attributes.durability;
        let kept = match tried.refusal {
            Some(reason) => Err(reason),
            None if publication.attributes.qos == QoS::AtMostOnce => Err(DropReason::Offline),
            // Only its members could give the room back: what is in the store is not given up.
            None if ground.strain.is_short_of_memory() && group.stores(durability) => {
                Err(DropReason::MemoryPressure)
            }
            None => {
                let hold = ground.clients.rounds.round_of(publication.attributes.qos);
                group.keep(publication.share(), hold, &ground.config.limits)
            }
        };
        match kept {
            Ok(None) => (),
            Ok(Some(sequence)) => {
                let delivery = Delivery {
                    message: publication.share(),
                    qos: publication.attributes.qos,
                    retain: publication.attributes.retain,
                    identifiers: Identifiers::None,
                    group: Some(id),
                };
                let owner = Owner::Group(id.number);
                ground.clients.rounds.keep_message(owner, sequence.get(), &delivery);
            }
            Err(reason) => {
                // The member that was tried last stands for all of them, if it is known here.
                let last = tried.barred.last();
                let slot = last.and_then(|&session| ground.clients.slot_of(session));
                let party = slot.map_or(Party::Nobody, Party::Receiver);
                ground.clients.note_drop(party, publication.topic, reason, turn);
            }
        }
    }

    fn choose_member(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        publication: &Publication<'_>,
        barred: &[SessionId],
    ) -> Option<Member> {
        let strategy = ground.config.shared_strategy;
        let seed = ground.config.seed;
        let keeps_backlog = ground.config.shared_backlog;
        let is_home = id.home == ground.config.worker;
        let members = self.groups.members(id)?;
        ground.work.add(members.list.len() / Work::MEMBERS);
        let random = &mut self.random;
        let chosen =
            members.choose(publication, strategy, false, barred, random, seed).or_else(|| {
                let waits = is_home && publication.attributes.qos > QoS::AtMostOnce;
                if waits && !keeps_backlog {
                    members.choose(publication, strategy, true, barred, random, seed)
                } else {
                    None
                }
            })?;
        let member = &mut members.list[chosen];
        let qos = publication.attributes.qos.min(member.options.qos());
        // QoS 0 is never acknowledged, and only one strategy needs the count.
        let is_counted = qos > QoS::AtMostOnce && strategy == SharedStrategy::LeastInFlight;
        member.in_flight += u32::from(is_counted);
        Some(*member)
    }

    /// Delivers to the chosen member. An error without a reason means that it is gone or not
    /// connected.
    fn deliver_to_member(
        &mut self,
        ground: &mut Ground,
        group: GroupId,
        member: Member,
        publication: &Publication<'_>,
        barred: &[SessionId],
        turn: &mut Turn,
    ) -> Result<(), Option<DropReason>> {
        let retain = member.options.retain_as_published() && publication.attributes.retain;
        let session = member.session;
        let worker = ground.clients.worker_of(session);
        if worker != ground.config.worker {
            let delivery = Delivery {
                message: publication.share(),
                qos: publication.attributes.qos.min(member.options.qos()),
                retain,
                identifiers: member.identifier.map_or(Identifiers::None, Identifiers::One),
                group: Some(group),
            };
            let barred = barred.to_vec();
            ground.note_sent(worker, ANY_WORKER, publication.attributes, turn);
            turn.fx.send(worker, SharedPeer::Deliver { session, delivery, barred }.into());
            return Ok(());
        }
        let slot = ground.clients.slot_of_receiver(session).ok_or(None)?;
        if ground.config.shared_backlog && !ground.clients.is_connected(session) {
            return Err(None);
        }
        let grant = Grant {
            qos: member.options.qos(),
            retain,
            identifiers: member.identifier.as_slice(),
            group: Some(group),
        };
        ground.clients.deliver_single(slot, publication, &grant, turn).map_err(Some)
    }

    /// Delivers a message for which another worker has chosen a Session of this one.
    pub(crate) fn handle_deliver(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        delivery: Delivery,
        mut barred: Vec<SessionId>,
        turn: &mut Turn,
    ) {
        let slot = ground.clients.slot_of_receiver(session);
        let slot =
            slot.filter(|&slot| ground.clients.is_online(slot) || !ground.config.shared_backlog);
        let refusal = slot.and_then(|slot| {
            let publication = Publication::of(&delivery.message);
            let grant = crate::clients::grant_of(&delivery);
            ground.clients.deliver_single(slot, &publication, &grant, turn).err()
        });
        if slot.is_none() || refusal.is_some() {
            barred.push(session);
            self.give_back(ground, delivery, Tried { barred, refusal }, turn);
        }
    }

    /// Sends a message back to the home of its group, which chooses again.
    fn give_back(
        &mut self,
        ground: &mut Ground,
        delivery: Delivery,
        tried: Tried,
        turn: &mut Turn,
    ) {
        let Some(group) = delivery.group else {
            return;
        };
        let online = tried.barred.last().is_some_and(|&last| ground.clients.is_connected(last));
        if group.home == ground.config.worker {
            return self.handle_return(ground, &delivery, tried, online, turn);
        }
        let Tried { barred, refusal } = tried;
        ground.note_sent(group.home, ANY_WORKER, delivery.message.attributes(), turn);
        turn.fx.send(group.home, SharedPeer::Return { delivery, barred, refusal, online }.into());
    }

    /// Gives a message that a member cannot take (any more) to another one [MQTT-4.8.2-5], or to
    /// the same one if its Client is back (`online`).
    pub(crate) fn handle_return(
        &mut self,
        ground: &mut Ground,
        delivery: &Delivery,
        mut tried: Tried,
        online: bool,
        turn: &mut Turn,
    ) {
        let (Some(group), Some(&last)) = (delivery.group, tried.barred.last()) else {
            return;
        };
        if delivery.qos > QoS::AtMostOnce {
            self.handle_settled(group, last);
        }
        ground.work.add(Work::GROUP);
        if tried.refusal.is_none() {
            // The others were not connected when they were tried; what is known now is newer.
            tried.barred = if online { Vec::new() } else { vec![last] };
            self.note_presence(ground, group, last, online, turn);
        }
        self.distribute(ground, group, &Publication::of(&delivery.message), tried, turn);
    }

    /// Gives a message of a shared subscription that did not reach this Session to another one.
    pub(crate) fn return_to_group(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        delivery: Delivery,
        turn: &mut Turn,
    ) {
        let tried = Tried { barred: vec![session], refusal: None };
        self.give_back(ground, delivery, tried, turn);
    }

    /// Restores a shared subscription that the store has kept, without its members and messages.
    pub(crate) fn restore_group(
        &mut self,
        ground: &mut Ground,
        key: (Box<str>, Box<str>),
        number: u64,
        last_sequence: u64,
        turn: &mut Turn,
    ) {
        self.make_group(ground, key, number, turn);
        let id = self.groups.id(number);
        if let Some(group) = self.groups.get(id) {
            (group.is_stored, group.last_sequence) = (true, last_sequence);
        }
    }

    /// Notes that a member has completed a message of its group.
    pub(crate) fn settle(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        group: GroupId,
        turn: &mut Turn,
    ) {
        if ground.config.shared_strategy != SharedStrategy::LeastInFlight {
            return;
        }
        if group.home == ground.config.worker {
            self.handle_settled(group, session);
        } else {
            turn.fx.send(group.home, SharedPeer::Settled { group, session }.into());
        }
    }

    /// Settles the messages that did not reach their members and never will.
    pub(crate) fn settle_failed(&mut self, ground: &mut Ground, turn: &mut Turn) {
        for (session, group) in ground.clients.take_failed_of_groups() {
            self.settle(ground, session, group, turn);
        }
    }

    pub(crate) fn handle_settled(&mut self, group: GroupId, session: SessionId) {
        let members = self.groups.members(group);
        if let Some(member) = members.and_then(|members| members.get(session)) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }
}
