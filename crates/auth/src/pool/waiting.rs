//! Jobs that wait for a thread. Networks take turns, so that one that sends many jobs makes itself
//! wait, not the others. This module must never run a job.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use super::ticket::Ended;
use crate::host_network::HostNetwork;

/// A job, by its deadline and its number.
pub(super) type JobKey = (Instant, u64);

/// Does a job, and answers it.
pub(super) type Run = Box<dyn FnOnce() -> Ended + Send>;

/// A job that waits.
pub(super) struct WaitingJob {
    pub(super) key: JobKey,
    pub(super) network: Option<HostNetwork>,
    pub(super) memory_bytes: u64,
    pub(super) run: Run,
}

/// All jobs that wait.
#[derive(Default)]
pub(super) struct Waiting {
    jobs: HashMap<Option<HostNetwork>, Queue>,
    /// The networks of `jobs` by the numbers of their turns.
    turns: BTreeMap<u64, Option<HostNetwork>>,
    next_turn: u64,
    /// The networks of `jobs` by the number of their jobs.
    by_count: BTreeSet<(usize, Option<HostNetwork>)>,
    /// The networks of jobs by the jobs' keys.
    networks: HashMap<JobKey, Option<HostNetwork>>,
}

/// The jobs of a network.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<WaitingJob>,
    /// When it is the network's turn.
    turn: u64,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.networks.len()
    }

    pub(super) fn push(&mut self, job: WaitingJob) {
        let network = job.network;
        self.networks.insert(job.key, network);
        let queue = self.jobs.entry(network).or_default();
        let before = queue.jobs.len();
        queue.jobs.push_back(job);
        if before == 0 {
            self.take_new_turn(network);
        }
        self.count_anew(network, before, before + 1);
    }

    /// Returns the job whose turn it is.
    pub(super) fn first(&self) -> Option<&WaitingJob> {
        let (_, network) = self.turns.first_key_value()?;
        self.jobs.get(network)?.jobs.front()
    }

    /// Takes the job whose turn it is. Its network takes its next turn after all others.
    pub(super) fn pop(&mut self) -> Option<WaitingJob> {
        let (_, network) = self.turns.pop_first()?;
        self.take_new_turn(network);
        self.take_from(network, VecDeque::pop_front)
    }

    /// Takes the last job of the network that has the most, unless `network` would have as many.
    pub(super) fn make_room_for(&mut self, network: Option<HostNetwork>) -> Option<WaitingJob> {
        let (most, greedy) = *self.by_count.last()?;
        let own = self.jobs.get(&network).map_or(0, |queue| queue.jobs.len());
        (own + 1 < most).then(|| self.take_from(greedy, VecDeque::pop_back))?
    }

    /// Removes a job, and returns it.
    pub(super) fn remove(&mut self, key: JobKey) -> Option<WaitingJob> {
        let network = self.networks.get(&key).copied()?;
        self.take_from(network, |jobs| {
            // The one with the earliest deadline is most often the one that came first.
            let at = jobs.iter().position(|job| job.key == key)?;
            jobs.remove(at)
        })
    }

    fn take_new_turn(&mut self, network: Option<HostNetwork>) {
        if let Some(queue) = self.jobs.get_mut(&network) {
            self.next_turn += 1;
            queue.turn = self.next_turn;
            self.turns.insert(queue.turn, network);
        }
    }

    fn take_from(
        &mut self,
        network: Option<HostNetwork>,
        take: impl FnOnce(&mut VecDeque<WaitingJob>) -> Option<WaitingJob>,
    ) -> Option<WaitingJob> {
        let queue = self.jobs.get_mut(&network)?;
        let before = queue.jobs.len();
        let job = take(&mut queue.jobs)?;
        if before == 1 {
            self.turns.remove(&queue.turn);
            self.jobs.remove(&network);
        }
        self.networks.remove(&job.key);
        self.count_anew(network, before, before - 1);
        Some(job)
    }

    fn count_anew(&mut self, network: Option<HostNetwork>, before: usize, after: usize) {
        self.by_count.remove(&(before, network));
        if after > 0 {
            self.by_count.insert((after, network));
        }
    }
}
