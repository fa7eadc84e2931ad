//! The thread that owns the store. Workers give it their commits and questions; it writes what has
//! come meanwhile, syncs once for all of it, and tells each worker how far its commits have come.
//!
//! It must never report something as durable before the engine has said so. An engine that has
//! failed ends the broker: it is not tried again.

pub(crate) mod recovery;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io, mem};

use midge_core::{
    Commit, Durability, Fetch, Limits, Message, Receipt, Recovered, StoreOp, WorkerId, counted,
};
use midge_store::{
    Disk, Engine, OpenError, Opened, Options, Reading, RealDisk, Report, StoreError, StoreUsage,
};

use crate::clock::Clock;
use crate::inbox::{Inbox, Letter};
use crate::pending_bytes::{Bytes, PendingBytes};
use crate::program::guard::{guarded, note_thread};
use crate::program::reply::Answer;
use crate::spares::Spares;
use crate::storage::recovery::Restored;

/// Where and how a broker keeps what has to outlive it.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The directory or disk.
    pub place: Place,
    /// The longest time until data promised as [`Durability::Interval`] reaches the device.
    pub interval: Duration,
    /// Bytes of a segment file.
    pub segment_bytes: u64,
    /// Bytes of journal after which a checkpoint is written.
    pub checkpoint_bytes: u64,
}

/// Where a broker keeps what has to outlive it.
#[derive(Clone)]
pub enum Place {
    /// In a data directory, which is made if it does not exist.
    Directory(PathBuf),
    /// In the files of this disk. This lets a program test what its broker does when a disk fails,
    /// or keep the files where it likes. The program has to make sure that only one broker uses the
    /// disk.
    Disk(Arc<dyn Disk>),
}

impl Storage {
    /// Returns the default settings for this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::at(Place::Directory(directory.into()))
    }

    /// Returns the default settings for this disk.
    pub fn on_disk(disk: Arc<dyn Disk>) -> Self {
        Self::at(Place::Disk(disk))
    }

    /// Returns the data directory, if there is one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(directory) => Some(directory),
            Place::Disk(_) => None,
        }
    }

    fn at(place: Place) -> Self {
        let options = Options::default();
        Self {
            place,
            interval: Duration::from_secs(1),
            segment_bytes: options.segment_bytes,
            checkpoint_bytes: options.checkpoint_bytes,
        }
    }
}

impl Storage {
    /// Opens the store, which this broker alone may use, with this many threads that read.
    pub(crate) fn open(
        &self,
        limits: &Limits,
        readers: NonZeroUsize,
        reading: Reading,
    ) -> Result<Opened, OpenError> {
        let disk: Arc<dyn Disk> = match &self.place {
            Place::Directory(directory) => Arc::new(open_directory(directory)?),
            Place::Disk(disk) => Arc::clone(disk),
        };
        let options = Options {
            segment_bytes: self.segment_bytes,
            checkpoint_bytes: self.checkpoint_bytes,
            bytes_max: limits.store_bytes_max,
            readers,
        };
        Engine::open(disk, options, reading)
    }
}

fn open_directory(directory: &Path) -> Result<RealDisk, OpenError> {
    let disk = RealDisk::open(directory)?;
    if let Some(mode) = disk.open_to_others() {
        let directory = directory.display();
        log::warn!(
            "the data directory {directory} is open to other users (mode {mode:04o}); to close it: \
             chmod 700 {directory}"
        );
    }
    Ok(disk)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Disk(_) => f.write_str("the given disk"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Logs what was found in the files of the store.
pub(crate) fn log_report(place: &Place, recovered: &Recovered, report: &Report) {
    for damage in &report.damage {
        match damage.kind.is_harmless() {
            true => log::info!("{damage}"),
            false => log::error!("the store is damaged: {damage}"),
        }
    }
    let unlisted = report.damage_unlisted;
    if unlisted > 0 {
        log::error!("the store is damaged in {}", counted(unlisted, "more place"));
    }
    for name in &report.quarantined {
        log::error!("set aside in {place}: {name}");
    }
    let queued: u64 = recovered.sessions.iter().map(|session| session.queue.messages).sum();
    log::info!(
        "{place}: {}, {}, {}",
        counted(recovered.sessions.len(), "session"),
        counted(queued, "queued message"),
        counted(recovered.kept.len(), "retained or delayed one"),
    );
}

/// Something for the store to do.
pub(crate) enum Order {
    Commit {
        worker: WorkerId,
        commit: Commit,
    },
    Fetch {
        worker: WorkerId,
        fetch: Fetch,
    },
    Usage(Answer<StoreUsage>),
    /// The broker is alive, or the machine's clock was set: the store is to note it.
    Beat,
    /// A worker has ended that should not have. Nobody may wait for it.
    Fail(&'static str),
    /// Write and sync everything, and end.
    Close,
}

/// What waits for the store.
#[derive(Default)]
struct Waiting {
    orders: Vec<Order>,
    /// The lists of commits that the store has carried out, for the next ones.
    emptied: Spares<StoreOp>,
}

/// The orders that the store has not taken yet, and how much it has not carried out.
pub(crate) struct Orders {
    /// `None` once nobody will take orders any more.
    waiting: Mutex<Option<Waiting>>,
    come: Condvar,
    /// Bytes of the orders that wait and of those that are being written.
    pending: PendingBytes,
}

/// What is called when the store or a worker has failed.
pub(crate) type OnFailure = Arc<dyn Fn(&str) + Send + Sync>;

impl Orders {
    /// Makes an empty list of orders. While more than `full_bytes` wait, workers shall not read
    /// publishers.
    pub(crate) fn new(full_bytes: usize) -> Self {
        let waiting = Mutex::new(Some(Waiting::default()));
        Self { waiting, come: Condvar::new(), pending: PendingBytes::new(full_bytes) }
    }

    /// Returns the bytes of the orders that wait or are being written.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.get().all()
    }

    /// Gives the store all of `orders`, in order.
    pub(crate) fn send(&self, orders: impl IntoIterator<Item = Order>) {
        self.put(orders, |_| ());
    }

    /// Does the same, and moves a list that was emptied to `lists`, unless one is there.
    pub(crate) fn send_and_take_emptied(
        &self,
        orders: impl IntoIterator<Item = Order>,
        lists: &mut Vec<Vec<StoreOp>>,
    ) {
        self.put(orders, |waiting| {
            if lists.is_empty() {
                lists.push(waiting.emptied.take());
            }
        });
    }

    fn put(&self, orders: impl IntoIterator<Item = Order>, also: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = &mut *self.lock() {
            for order in orders {
                self.pending.add(order.size());
                waiting.orders.push(order);
            }
            also(waiting);
        }
        self.come.notify_one();
    }

    /// Ends the taking of orders: requests in those that wait are answered by `Stopped`.
    fn close(&self) {
        let mut waiting = self.lock();
        let left = waiting.take();
        self.pending.clear();
        // Not under the lock: a dropped order may make its sender send another one.
        drop(waiting);
        drop(left);
    }

    /// Returns whether workers must not read publishers for now.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.is_full()
    }

    /// Returns whether workers must not read any connection for now: a SUBSCRIBE, too, has to be
    /// kept.
    pub(crate) fn is_overfull(&self) -> bool {
        self.pending.is_overfull()
    }

    /// Gives the lists back that were emptied. Waits for orders, for `timeout` at most, and takes
    /// them all. Returns their bytes, which
    /// count until they are [`Self::done`], because new orders have to wait for these, too.
    fn take(
        &self,
        into: &mut Vec<Order>,
        emptied: &mut Spares<StoreOp>,
        timeout: Option<Duration>,
    ) -> Bytes {
        let is_empty = |waiting: &mut Option<Waiting>| {
            waiting.as_ref().is_none_or(|waiting| waiting.orders.is_empty())
        };
        let waiting = self.lock();
        let mut waiting = match timeout {
            Some(timeout) => {
                let waited = self.come.wait_timeout_while(waiting, timeout, is_empty);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.come.wait_while(waiting, is_empty);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        if let Some(waiting) = &mut *waiting {
            mem::swap(&mut waiting.orders, into);
            waiting.emptied.append(emptied);
        }
        self.pending.get()
    }

    /// Notes that orders of so many bytes, which were taken before, are carried out.
    fn done(&self, bytes: Bytes) {
        self.pending.remove(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the store's thread has ended. If its disk keeps it waiting, a line says so: nothing
/// else shows why the program does not end.
pub(crate) fn wait_for_end(thread: JoinHandle<()>, place: &str) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    let mut is_told = false;
    while !thread.is_finished() {
        if !is_told && begun.elapsed() >= PATIENCE {
            log::warn!(
                "the disk of the store in {place} has not answered for {} s: the broker ends when \
                 what it has to keep is written",
                PATIENCE.as_secs()
            );
            is_told = true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    if thread.join().is_err() {
        log::error!("the thread of the store has panicked");
    }
}

impl Order {
    /// Returns about how much memory the order holds. The receivers of a message stand next to each
    /// other in a commit and share the message.
    fn size<'a>(&'a self) -> Bytes {
        let Self::Commit { commit, .. } = self else {
            return Bytes::of_others(64);
        };
        let mut last: Option<&Message> = None;
        let mut message = |message: &'a Message| {
            let is_shared = last.replace(message).is_some_and(|last| last.is_same(message));
            128 + if is_shared { 0 } else { message.size() }
        };
        let mut bytes = Bytes::default();
        for op in &commit.ops {
            bytes += match op {
                StoreOp::Enqueue(enqueue) => Bytes::of_messages(message(&enqueue.delivery.message)),
                StoreOp::Keep { message: kept, .. } => Bytes::of_messages(message(kept)),
                StoreOp::AwaitRelease { .. } => Bytes::of_messages(64),
                other => Bytes::of_others(size_of_other(other)),
            };
        }
        bytes
    }
}

/// Returns about how much memory an operation holds that no PUBLISH brings.
fn size_of_other(op: &StoreOp) -> usize {
    match op {
        StoreOp::Session(record) => {
            let will = record.will.as_ref().map_or(0, |will| will.message.size());
            record.client_id.len() + will + 128
        }
        StoreOp::Subscribed { subscription, .. } => subscription.filter.len() + 128,
        StoreOp::Unsubscribed { filter, .. } => filter.len() + 128,
        StoreOp::Group(group) => group.filter.len() + group.name.len() + 128,
        _ => 64,
    }
}

/// Makes sure that nobody waits for a store that is gone, however it has ended.
struct FailureGuard {
    orders: Arc<Orders>,
    inboxes: Arc<[Arc<Inbox>]>,
    on_failure: OnFailure,
}

impl FailureGuard {
    /// Closes all connections, because nobody gets an acknowledgement any more.
    fn fail(&self, reason: &str) {
        log::error!("the broker ends, because its store has failed: {reason}");
        for inbox in self.inboxes.iter() {
            inbox.send(Letter::Stop);
        }
        guarded("what is told of a failed store", || (self.on_failure)(reason));
    }
}

impl Drop for FailureGuard {
    fn drop(&mut self) {
        self.orders.close();
        if thread::panicking() {
            self.fail("its thread has panicked");
        }
    }
}

/// How far the commits of one worker have come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    applied: u64,
    written: u64,
    synced: u64,
    /// The last commit that somebody waits for to be written, and, below, to be synced.
    awaits_write: Option<u64>,
    awaits_sync: Option<u64>,
}

/// The state of the running thread.
pub(crate) struct StoreThread {
    engine: Engine,
    clock: Clock,
    has_beat: bool,
    /// The time that the clocks show is to be written.
    has_mark: bool,
    orders: Arc<Orders>,
    /// The lists of commits that were carried out.
    emptied: Spares<StoreOp>,
    inboxes: Arc<[Arc<Inbox>]>,
    progress: Vec<Progress>,
    interval: Duration,
    unsynced_since: Option<Instant>,
    is_full: bool,
    /// The device was full when it was last tried.
    is_stuck: bool,
    has_maintenance: bool,
    on_failure: OnFailure,
}

impl StoreThread {
    /// How long to wait before a full device is tried again.
    const FULL_PAUSE: Duration = Duration::from_millis(50);

    pub(crate) fn new(
        restored: Restored,
        clock: Clock,
        orders: Arc<Orders>,
        inboxes: Arc<[Arc<Inbox>]>,
        interval: Duration,
        on_failure: OnFailure,
    ) -> Self {
        let Restored { engine, applied } = restored;
        let awaited = |applied| {
            let awaits_sync = (applied > 0).then_some(applied);
            Progress { applied, awaits_sync, ..Progress::default() }
        };
        let progress = applied.into_iter().map(awaited).collect();
        Self {
            engine,
            clock,
            has_beat: false,
            has_mark: false,
            orders,
            emptied: Spares::default(),
            inboxes,
            progress,
            interval,
            unsynced_since: None,
            is_full: false,
            is_stuck: false,
            has_maintenance: true,
            on_failure,
        }
    }

    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("midge-store".into()).spawn(move || self.run())
    }

    fn run(mut self) {
        note_thread();
        let guard = FailureGuard {
            orders: Arc::clone(&self.orders),
            inboxes: Arc::clone(&self.inboxes),
            on_failure: Arc::clone(&self.on_failure),
        };
        match self.serve() {
            Ok(()) => match self.engine.close() {
                Ok(()) => log::debug!("the store is closed"),
                Err(error) => log::error!("the store could not be closed: {error}"),
            },
            Err(error) => guard.fail(&error.to_string()),
        }
    }

    /// Serves orders until it is told to close, or until a worker or the engine has failed.
    fn serve(&mut self) -> Result<(), StoreError> {
        let mut orders = Vec::new();
        loop {
            let timeout = self.timeout();
            let bytes = self.orders.take(&mut orders, &mut self.emptied, timeout);
            let mut closes = false;
            for order in orders.drain(..) {
                if let Order::Fail(reason) = order {
                    return Err(StoreError::Fatal(reason.to_string()));
                }
                closes |= self.carry_out(order);
            }
            self.mark();
            self.write()?;
            if closes {
                return Ok(());
            }
            self.sync()?;
            self.orders.done(bytes);
            self.tell_receipts();
            self.maintain()?;
            self.tell_full();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.is_stuck {
            return Some(Self::FULL_PAUSE);
        }
        if self.has_maintenance {
            return Some(Duration::ZERO);
        }
        if self.is_full {
            return Some(Self::FULL_PAUSE);
        }
        self.unsynced_since.map(|since| self.interval.saturating_sub(since.elapsed()))
    }

    /// Carries out an order. Returns true if the thread shall end.
    fn carry_out(&mut self, order: Order) -> bool {
        match order {
            Order::Commit { worker, commit } => {
                let progress = &mut self.progress[worker.index()];
                progress.applied = commit.number;
                match commit.durability {
                    Durability::Memory => (),
                    Durability::Interval => progress.awaits_write = Some(commit.number),
                    Durability::Fsync => progress.awaits_sync = Some(commit.number),
                }
                self.emptied.put(self.engine.apply(worker, commit));
            }
            Order::Fetch { worker, fetch } => {
                let fetched = Box::new(self.engine.fetch(&fetch));
                self.inboxes[worker.index()].send(Letter::Fetched(fetched));
            }
            Order::Usage(answer) => answer.send(self.engine.usage()),
            Order::Beat => self.has_beat = true,
            Order::Close | Order::Fail(_) => return true,
        }
        false
    }

    /// Tells the store what the clocks show, if it wants to know.
    fn mark(&mut self) {
        if !self.is_stuck {
            let (now, reading) = self.clock.read();
            let is_beat = mem::take(&mut self.has_beat) && self.engine.needs_beats();
            self.has_mark |= self.engine.mark(now, reading, is_beat);
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.is_stuck = false;
        match self.engine.write() {
            Ok(()) => {
                let mut is_new = mem::take(&mut self.has_mark);
                for progress in &mut self.progress {
                    is_new |= progress.written < progress.applied;
                    progress.written = progress.applied;
                }
                if is_new && self.unsynced_since.is_none() {
                    self.unsynced_since = Some(Instant::now());
                }
                Ok(())
            }
            Err(StoreError::Full) => {
                self.is_stuck = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs if somebody waits for that, or if the interval is over.
    fn sync(&mut self) -> Result<(), StoreError> {
        let is_awaited = |progress: &Progress| {
            let is_behind = progress.awaits_sync.is_some_and(|awaited| awaited > progress.synced);
            is_behind && progress.written > progress.synced
        };
        let is_due = self.unsynced_since.is_some_and(|since| since.elapsed() >= self.interval);
        if is_due || self.progress.iter().any(is_awaited) {
            self.engine.sync()?;
            self.unsynced_since = None;
            for progress in &mut self.progress {
                progress.synced = progress.written;
            }
        }
        Ok(())
    }

    /// Sends receipts to the workers that wait for them.
    fn tell_receipts(&mut self) {
        for (progress, inbox) in self.progress.iter_mut().zip(self.inboxes.iter()) {
            let &mut Progress { written, synced, awaits_write, awaits_sync, .. } = progress;
            let has_written = awaits_write.is_some_and(|awaited| written >= awaited);
            let has_synced = awaits_sync.is_some_and(|awaited| synced >= awaited);
            if has_written || has_synced {
                progress.awaits_write = awaits_write.filter(|_| !has_written);
                progress.awaits_sync = awaits_sync.filter(|_| !has_synced);
                inbox.send(Letter::Receipt(Receipt { written, synced }));
            }
        }
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        self.has_maintenance = match self.engine.maintain() {
            Ok(has_more) => has_more,
            Err(StoreError::Full) => false,
            Err(error) => return Err(error),
        };
        for damage in self.engine.take_damage() {
            log::error!("the store is damaged: {damage}");
        }
        Ok(())
    }

    fn tell_full(&mut self) {
        let is_full = self.is_stuck || self.engine.is_full();
        if is_full == self.is_full {
            return;
        }
        self.is_full = is_full;
        if is_full {
            log::warn!(
                "the store is full: messages that it would have to keep are refused; make room on \
                 the device, or see limits.store_bytes_max"
            );
        } else {
            log::info!("the store has room again");
        }
        for inbox in self.inboxes.iter() {
            inbox.send(Letter::StoreFull(is_full));
        }
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::{PacketIdentifier, SubscriptionOptions};
    use midge_core::SubscriptionRecord;

    use super::*;

    fn commit(ops: Vec<StoreOp>) -> Order {
        let commit = Commit { number: 1, durability: Durability::Fsync, ops };
        Order::Commit { worker: WorkerId::new(0), commit }
    }

    fn received() -> StoreOp {
        let packet_id = PacketIdentifier::new(1).unwrap();
        StoreOp::AwaitRelease { session: 1, packet_id }
    }

    fn subscribed() -> StoreOp {
        let (filter, options) = ("t".into(), SubscriptionOptions::default());
        let subscription = SubscriptionRecord { filter, options, identifier: None };
        StoreOp::Subscribed { session: 1, subscription }
    }

    #[test]
    fn what_publishers_still_bring_keeps_no_others_unread() {
        let orders = Orders::new(1 << 10);
        orders.send([commit((0..200).map(|_| received()).collect())]);
        assert!(orders.is_full() && !orders.is_overfull());
        orders.send([commit((0..10).map(|_| subscribed()).collect())]);
        assert!(orders.is_overfull());
        let mut taken = Vec::new();
        let bytes = orders.take(&mut taken, &mut Spares::default(), None);
        orders.done(bytes);
        assert_eq!(orders.pending_bytes(), 0);
    }
}
