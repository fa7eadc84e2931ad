//! What all rooms above it stand on: the Clients of the worker, the subscription tree, timers, and
//! what the worker was made with. A room is given the ground for as long as it works on it.
//!
//! The ground belongs to no room, so it must never know of any room that stands on it.

use crate::base::hashing::hash_str;
use crate::base::identity::WorkerId;
use crate::base::numbers::Numbers;
use crate::base::strain::Strain;
use crate::base::timers::Timers;
use crate::base::work::Work;
use crate::clients::Clients;
use crate::core::CoreConfig;
use crate::tree::subscription_tree::SubscriptionTree;
use crate::waiting::pending::Pending;

/// What the rooms of one worker share.
pub(crate) struct Ground {
    pub(crate) config: CoreConfig,
    pub(crate) clients: Clients,
    pub(crate) tree: SubscriptionTree,
    pub(crate) timers: Timers,
    pub(crate) work: Work,
    pub(crate) numbers: Numbers,
    pub(crate) strain: Strain,
    /// SUBSCRIBE and UNSUBSCRIBE packets whose answers wait.
    pub(crate) pending: Pending,
    /// Whether the worker is taking over what a store has kept.
    pub(crate) is_restoring: bool,
}

impl Ground {
    pub(crate) fn other_workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let own = self.config.worker;
        (0..self.config.workers).map(WorkerId::new).filter(move |&worker| worker != own)
    }

    /// The worker that decides about something of this name, for the whole node.
    pub(crate) fn home_of(&self, name: &str) -> WorkerId {
        let workers = self.config.workers;
        let hash = if workers == 1 { 0 } else { hash_str(self.config.seed, name) };
        WorkerId::new((hash % workers as u64) as usize)
    }
}
