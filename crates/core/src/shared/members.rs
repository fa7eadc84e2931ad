//! The members of a shared subscription, and which of them gets a message.

use crate::base::hashing::hash_str;
use crate::base::identity::SessionId;
use crate::base::message::Publication;
use crate::base::random::Random;
use crate::base::strategy::SharedStrategy;
use crate::boundary::peer_messages::Member;

/// The members of a group, and the index where round robin goes on or that sticky stays with.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(super) list: Vec<Member>,
    next: usize,
}

impl Members {
    pub(crate) fn get(&mut self, session: SessionId) -> Option<&mut Member> {
        self.list.iter_mut().find(|member| member.session == session)
    }

    pub(crate) fn put(&mut self, member: Member) {
        match self.get(member.session) {
            Some(known) => *known = Member { in_flight: known.in_flight, ..member },
            None => self.list.push(member),
        }
    }

    /// Forgets a member without changing whose turn is next.
    pub(crate) fn remove(&mut self, session: SessionId) {
        if let Some(index) = self.list.iter().position(|member| member.session == session) {
            self.list.remove(index);
            self.next -= usize::from(index < self.next);
        }
    }

    /// Chooses the member that gets `message` and returns its index; `None` if nobody is eligible.
    /// Those in `barred` did not take the message before.
    pub(crate) fn choose(
        &mut self,
        message: &Publication<'_>,
        strategy: SharedStrategy,
        any_state: bool,
        barred: &[SessionId],
        random: &mut Random,
        seed: u64,
    ) -> Option<usize> {
        let is_eligible =
            |member: &Member| (any_state || member.online) && !barred.contains(&member.session);
        let eligible: smallvec::SmallVec<[usize; 16]> =
            (0..self.list.len()).filter(|&index| is_eligible(&self.list[index])).collect();
        if eligible.is_empty() {
            return None;
        }
        let by_hash = |text: &str| (hash_str(seed, text) % eligible.len() as u64) as usize;
        Some(match strategy {
            SharedStrategy::RoundRobin => {
                let next = eligible.iter().copied().find(|&index| index >= self.next);
                let chosen = next.unwrap_or(eligible[0]);
                self.next = chosen + 1;
                chosen
            }
            SharedStrategy::Random => eligible[random.below(eligible.len())],
            SharedStrategy::Sticky => {
                let current = eligible.iter().copied().find(|&index| index == self.next);
                self.next = current.unwrap_or_else(|| eligible[random.below(eligible.len())]);
                self.next
            }
            SharedStrategy::LeastInFlight => {
                let fewest = eligible.iter().min_by_key(|&&index| self.list[index].in_flight);
                fewest.copied().unwrap_or(eligible[0])
            }
            SharedStrategy::HashByClient => eligible[by_hash(&message.publisher.client_id)],
            SharedStrategy::HashByTopic => eligible[by_hash(message.topic)],
        })
    }
}
