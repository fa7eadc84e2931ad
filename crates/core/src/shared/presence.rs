//! Tells the homes of a Session's shared subscriptions that its Client has come or gone. A Session
//! may have a hundred thousand of them, so this is done in slices, and each home is told what holds
//! at that time. A home that does not know yet may choose an absent member in vain; it then tries
//! the next one.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::base::identity::{GroupId, SessionId, SessionSlot};
use crate::base::work::Work;
use crate::boundary::peer_messages::{Member, SharedPeer};
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::session::{Session, SubscriptionKind};
use crate::shared::Shared;

/// The groups that are still to be told of a Client's coming or going.
#[derive(Debug)]
pub(crate) struct Presences {
    /// Sessions in the order of their turns.
    order: VecDeque<SessionId>,
    groups: HashMap<SessionId, Vec<GroupId>, foldhash::fast::FixedState>,
    /// How many groups this turn has time for.
    left: usize,
}

impl Default for Presences {
    fn default() -> Self {
        let (order, groups) = (VecDeque::new(), HashMap::default());
        Self { order, groups, left: Self::GROUPS_PER_TURN }
    }
}

impl Presences {
    const GROUPS_PER_TURN: usize = 1_024;
    /// How many groups of one Session are told before it is another one's turn.
    const SLICE: usize = 128;

    pub(crate) fn has_work(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whether groups are still to be told of this Session.
    pub(crate) fn concern(&self, session: SessionId) -> bool {
        self.groups.contains_key(&session)
    }

    /// Tells these groups later, instead of those that waited for the Session: a group that was
    /// told the earlier state has to be told again.
    fn put_off(&mut self, session: SessionId, groups: Vec<GroupId>) {
        if self.groups.insert(session, groups).is_none() {
            self.order.push_back(session);
        }
    }

    /// The next groups of the Session whose turn it is.
    fn next(&mut self) -> Option<(SessionId, Vec<GroupId>)> {
        let session = self.order.pop_front()?;
        let mut groups = self.groups.remove(&session)?;
        let count = groups.len().min(Self::SLICE).min(self.left);
        let slice = groups.split_off(groups.len() - count);
        if !groups.is_empty() {
            self.put_off(session, groups);
        }
        Some((session, slice))
    }
}

impl Shared {
    /// Tells the homes of a Session's groups that its Client has come or gone.
    pub(crate) fn tell_online(&mut self, ground: &mut Ground, slot: SessionSlot, turn: &mut Turn) {
        if ground.clients.session(slot).shared_subscriptions() == 0 {
            return;
        }
        let session = ground.clients.session_id(slot);
        ground.work.add(ground.clients.session(slot).subscriptions().len() / Work::SUBSCRIPTIONS);
        let groups = groups_of(ground.clients.session(slot));
        let presences = &mut self.presences;
        if groups.len() > presences.left || presences.groups.contains_key(&session) {
            return presences.put_off(session, groups);
        }
        self.tell_some(ground, session, groups, turn);
    }

    fn tell_some(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        groups: Vec<GroupId>,
        turn: &mut Turn,
    ) {
        self.presences.left -= groups.len();
        let Some(slot) = ground.clients.slot_of(session) else {
            return; // it has left its groups
        };
        let online = ground.clients.session(slot).attached().is_some();
        ground.work.add(groups.len() * ground.config.workers);
        for group in groups {
            if group.home == ground.config.worker {
                self.handle_online(ground, group, session, online, turn);
            } else {
                turn.fx.send(group.home, SharedPeer::Online { group, session, online }.into());
            }
        }
    }

    /// Goes on telling, within this turn's share.
    pub(crate) fn run_presences(&mut self, ground: &mut Ground, turn: &mut Turn) {
        // Whatever was told at once in this turn, those that wait make progress.
        self.presences.left = self.presences.left.max(Presences::SLICE);
        while self.presences.left > 0
            && let Some((session, groups)) = self.presences.next()
        {
            self.tell_some(ground, session, groups, turn);
        }
        self.presences.left = Presences::GROUPS_PER_TURN;
    }

    pub(crate) fn handle_online(
        &mut self,
        ground: &mut Ground,
        group: GroupId,
        session: SessionId,
        online: bool,
        turn: &mut Turn,
    ) {
        let Some(members) = self.groups.members(group) else {
            return;
        };
        ground.work.add(members.list.len() / Work::MEMBERS);
        let Some(member) = members.get(session) else {
            return;
        };
        member.online = online;
        let member = *member;
        self.announce_member(ground, group, member, turn);
        if online {
            self.flush_group(ground, group, turn);
        }
    }

    /// Notes the presence of a member that its worker has told beside something else. What the
    /// worker tells later is newer.
    pub(super) fn note_presence(
        &mut self,
        ground: &mut Ground,
        group: GroupId,
        session: SessionId,
        online: bool,
        turn: &mut Turn,
    ) {
        let members = self.groups.members(group);
        let known = members.and_then(|members| members.get(session)).map(|member| member.online);
        if known.is_some_and(|known| known != online) {
            self.handle_online(ground, group, session, online, turn);
        }
    }

    /// Whether a member can take a message now, as far as this worker knows.
    pub(crate) fn is_present(&self, ground: &Ground, member: &Member) -> bool {
        let is_own = ground.clients.worker_of(member.session) == ground.config.worker;
        member.online && (!is_own || ground.clients.is_connected(member.session))
    }
}

pub(super) fn groups_of(session: &Session) -> Vec<GroupId> {
    let kinds = session.subscriptions().iter().map(|(_, subscribed)| subscribed.kind);
    let groups = kinds.filter_map(|kind| match kind {
        SubscriptionKind::Shared(group) => group,
        _ => None,
    });
    groups.collect()
}
