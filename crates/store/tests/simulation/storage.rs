//! What the store's thread does, without a thread: it takes orders in the order in which they were
//! submitted, writes, syncs when somebody waits for that, and tells how far commits have come.

use std::sync::Arc;

use midge_core::{Commit, Durability, Receipt, Timestamp, WorkerId};
use midge_store::testing::{FaultyDisk, Random};
use midge_store::{Engine, StoreError};

use crate::node::{Letter, Node, Order};
use crate::plan::{Pace, Plan};

/// How far one worker's commits have come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    applied: u64,
    written: u64,
    synced: u64,
    /// The last commits that somebody waits for, to be written and to be synced.
    awaits_write: Option<u64>,
    awaits_sync: Option<u64>,
}

pub(crate) struct Storage {
    pub(crate) disk: Arc<FaultyDisk>,
    pub(crate) engine: Engine,
    progress: Vec<Progress>,
    is_full: bool,
    /// Whether the device took nothing at the last attempt.
    is_stuck: bool,
    /// The number of disk operations after which the power is gone.
    pub(crate) ends_after: u64,
    pub(crate) has_maintenance: bool,
    pub(crate) pace: Pace,
    /// When the sync that is under way ends.
    syncs_until: Option<Timestamp>,
}

/// Why the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PowerCut,
    Fatal(String),
}

impl Storage {
    pub(crate) fn new(disk: Arc<FaultyDisk>, engine: Engine, plan: &Plan, ends_after: u64) -> Self {
        Self {
            disk,
            engine,
            progress: vec![Progress::default(); plan.workers],
            is_full: false,
            is_stuck: false,
            ends_after,
            has_maintenance: true,
            pace: plan.pace,
            syncs_until: None,
        }
    }

    /// Applies a commit of the recovery at once; somebody waits for its receipt.
    pub(crate) fn apply(&mut self, worker: WorkerId, commit: Commit) {
        let progress = &mut self.progress[worker.index()];
        (progress.applied, progress.awaits_sync) = (commit.number, Some(commit.number));
        self.engine.apply(worker, commit);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.disk.operations() >= self.ends_after
    }

    /// Runs one round of the thread, or a part of it: while it syncs, it does nothing else. If the
    /// power is cut on the way, nothing that it would tell gets out.
    pub(crate) fn step(
        &mut self,
        node: &mut Node,
        is_thorough: bool,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(), End> {
        let mut letters = Vec::new();
        let result = match self.syncs_until {
            Some(until) if now < until => return Ok(()),
            Some(_) => {
                self.syncs_until = None;
                self.sync()
            }
            None => {
                let count = node.orders.len();
                let takes_all = is_thorough || random.one_in(2);
                let some = if takes_all { count } else { random.below(count + 1) };
                for order in node.orders.drain(..some) {
                    self.carry_out(order, &mut letters);
                }
                let written = self.write();
                let syncs = written.is_ok() && (is_thorough || !random.one_in(4));
                match if syncs { self.pace.next(random) } else { 0 } {
                    0 if syncs => self.sync(),
                    0 => written,
                    millis => {
                        self.syncs_until = Some(now + millis);
                        // Fetched messages are delivered before the sync ends.
                        return self.tell(node, letters);
                    }
                }
            }
        };
        self.conclude(node, letters, result, is_thorough, random)
    }

    /// Lets syncs take no time from now on.
    pub(crate) fn hasten(&mut self) {
        self.pace = Pace::default();
        self.syncs_until = self.syncs_until.map(|_| Timestamp::default());
    }

    /// Ends a round.
    fn conclude(
        &mut self,
        node: &mut Node,
        mut letters: Vec<(usize, Letter)>,
        mut result: Result<(), StoreError>,
        is_thorough: bool,
        random: &mut Random,
    ) -> Result<(), End> {
        if result.is_ok() {
            self.tell_receipts(&mut letters);
            for _ in 0..if is_thorough { 1 } else { random.below(3) } {
                result = result.and_then(|()| self.maintain());
            }
            self.tell_full(&mut letters);
        }
        if let (false, Err(error)) = (self.is_cut(), result) {
            return Err(End::Fatal(error.to_string()));
        }
        self.tell(node, letters)
    }

    fn tell(&mut self, node: &mut Node, letters: Vec<(usize, Letter)>) -> Result<(), End> {
        if self.is_cut() {
            return Err(End::PowerCut);
        }
        let damage = self.engine.take_damage();
        assert!(damage.is_empty(), "damage on a sound disk: {damage:?}");
        for (worker, letter) in letters {
            node.letters[worker].push_back(letter);
        }
        Ok(())
    }

    fn carry_out(&mut self, order: Order, letters: &mut Vec<(usize, Letter)>) {
        match order {
            Order::Commit(worker, commit) => {
                let progress = &mut self.progress[worker.index()];
                assert!(commit.number > progress.applied, "commits are in order");
                progress.applied = commit.number;
                match commit.durability {
                    Durability::Memory => (),
                    Durability::Interval => progress.awaits_write = Some(commit.number),
                    Durability::Fsync => progress.awaits_sync = Some(commit.number),
                }
                self.engine.apply(worker, commit);
            }
            Order::Fetch(worker, fetch) => {
                let fetched = Box::new(self.engine.fetch(&fetch));
                letters.push((worker.index(), Letter::Fetched(fetched)));
            }
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.is_stuck = false;
        match self.engine.write() {
            Ok(()) => {
                self.progress.iter_mut().for_each(|it| it.written = it.applied);
                Ok(())
            }
            Err(StoreError::Full) => {
                self.is_stuck = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.engine.sync()?;
        self.progress.iter_mut().for_each(|it| it.synced = it.written);
        Ok(())
    }

    /// Gives receipts to those who wait for them.
    fn tell_receipts(&mut self, letters: &mut Vec<(usize, Letter)>) {
        for (worker, progress) in self.progress.iter_mut().enumerate() {
            let Progress { written, synced, awaits_write, awaits_sync, .. } = *progress;
            let has_written = awaits_write.is_some_and(|awaited| written >= awaited);
            let has_synced = awaits_sync.is_some_and(|awaited| synced >= awaited);
            if has_written || has_synced {
                progress.awaits_write = awaits_write.filter(|_| !has_written);
                progress.awaits_sync = awaits_sync.filter(|_| !has_synced);
                letters.push((worker, Letter::Receipt(Receipt { written, synced })));
            }
        }
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        self.has_maintenance = match self.engine.maintain() {
            Ok(has_more) => has_more,
            Err(StoreError::Full) => false,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    fn tell_full(&mut self, letters: &mut Vec<(usize, Letter)>) {
        let is_full = self.is_stuck || self.engine.is_full();
        if is_full != self.is_full {
            self.is_full = is_full;
            for worker in 0..self.progress.len() {
                letters.push((worker, Letter::StoreFull(is_full)));
            }
        }
    }

    /// Returns whether everything is written and nothing is left to be put in order.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_idle = self.syncs_until.is_none();
        is_idle && !self.is_stuck && !self.has_maintenance && !self.is_full
    }
}
