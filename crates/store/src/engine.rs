//! The store as its one thread sees it: takes commits, writes and syncs them, finds messages
//! again, and keeps its files in order. It has no thread, no clock and no randomness of its own.

use std::fmt;
use std::sync::Arc;

use midge_core::{Commit, Fetch, Fetched, Timestamp, WorkerId};

use crate::checkpoint::Checkpoints;
use crate::compaction::Compaction;
use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::index::Index;
use crate::record::Restorer;
use crate::recovery::{self, Opened};
use crate::report::Damage;
use crate::writer::Writer;

/// Damage that nobody has asked for yet is remembered up to this many places.
const DAMAGE_MAX: usize = 1000;

/// How large things may get.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The length of a segment of the journal.
    pub segment_bytes: u64,
    /// After how many bytes in the journal a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// How many bytes the files may have; near to it no new messages are to be accepted.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, checkpoint_bytes: 64 << 20, bytes_max: u64::MAX }
    }
}

/// What a store needs and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Bytes of all files, without what was set aside as damaged.
    pub bytes_on_disk: u64,
    /// About how many of them are needed.
    pub bytes_alive: u64,
    /// Segments of the journal that are in use.
    pub segments: u64,
    /// Sessions and shared subscriptions.
    pub owners: u64,
    /// Messages that wait for an owner.
    pub queued_messages: u64,
    /// Messages that wait for no owner.
    pub kept_messages: u64,
    /// Places that turned out to be damaged since the store was opened.
    pub damaged: u64,
}

/// An open store.
pub struct Engine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) opened_at: Timestamp,
    pub(crate) writer: Writer,
    pub(crate) index: Index,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) restorer: Restorer,
    pub(crate) buffers: Buffers,
    damage: Vec<Damage>,
    damage_count: u64,
    is_over_limit: bool,
}

/// Bodies of records that were read, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) record: Vec<u8>,
    pub(crate) message: Vec<u8>,
}

impl Engine {
    /// Opens the store in a directory, or begins one; `now` is for the names of files that have to
    /// be set aside.
    ///
    /// # Errors
    ///
    /// If the files cannot be read or written, or are of a newer version. Damage is no error: it is
    /// in the report.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        recovery::open(disk, options, now)
    }

    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        opened_at: Timestamp,
        writer: Writer,
        index: Index,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            disk,
            options,
            opened_at,
            writer,
            index,
            checkpoints,
            compaction: None,
            restorer: Restorer::default(),
            buffers: Buffers::default(),
            damage: Vec::new(),
            damage_count: 0,
            is_over_limit: false,
        }
    }

    /// Takes a commit: all of it counts once it is written, or nothing.
    pub fn apply(&mut self, _worker: WorkerId, commit: Commit) {
        for op in commit.ops {
            self.apply_op(&op);
        }
        self.writer.end_commit();
    }

    /// Writes what was applied to the file: it survives the end of the process.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`]: nothing of it may count yet; it can be tried again.
    pub fn write(&mut self) -> Result<(), StoreError> {
        self.writer.journal.write()?;
        self.update_limit();
        Ok(())
    }

    /// Waits until what was written is on the device: it survives a power cut.
    ///
    /// # Errors
    ///
    /// Nothing of it may count, and the store takes nothing any more.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.writer.journal.sync()
    }

    /// Finds the next messages that wait for an owner, as of what was applied before.
    pub fn fetch(&mut self, fetch: &Fetch) -> Fetched {
        let (entries, next) =
            self.fetch_entries(fetch.owner, fetch.from, fetch.messages_max, fetch.bytes_max);
        Fetched { owner: fetch.owner, session: fetch.session, entries, next }
    }

    /// Whether new messages have to be refused: there is little room, which acknowledgements need.
    pub fn is_full(&self) -> bool {
        self.is_over_limit || self.writer.journal.is_short()
    }

    /// Does a slice of what keeps the files in order; true: there is more to be done at once.
    ///
    /// # Errors
    ///
    /// As with [`Engine::sync`].
    pub fn maintain(&mut self) -> Result<bool, StoreError> {
        soften(self.writer.journal.keep_spare())?;
        self.update_limit();
        let more = self.continue_checkpoint()?
            || self.continue_compaction()?
            || self.fold_subscriptions()
            || self.start_checkpoint_if_due()?
            || self.start_compaction_if_due();
        if !more {
            soften(self.writer.journal.keep_spare())?;
        }
        self.update_limit();
        Ok(more)
    }

    /// Ends with everything on the device and a checkpoint, so that the next start is quick.
    ///
    /// # Errors
    ///
    /// If that does not succeed; what was synced before is safe all the same.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.writer.flush()?;
        self.write_checkpoint_at_once()
    }

    /// What the store needs and holds.
    pub fn usage(&self) -> StoreUsage {
        StoreUsage {
            bytes_on_disk: self.bytes_used(),
            bytes_alive: self.index.holdings.live_bytes(),
            segments: self.writer.journal.segments().len() as u64,
            owners: self.index.owners.len() as u64,
            queued_messages: self.index.queued,
            kept_messages: self.index.kept.len() as u64,
            damaged: self.damage_count,
        }
    }

    /// What was found to be damaged since the last call, for the log.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    pub(crate) fn note_damage(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        }
    }

    pub(crate) fn bytes_used(&self) -> u64 {
        self.writer.journal.bytes_on_disk() + self.checkpoints.bytes_on_disk()
    }

    /// New messages are refused at the limit less what acknowledgements and compaction need, and
    /// taken again below 90 % of that.
    fn update_limit(&mut self) {
        let Options { segment_bytes, bytes_max, .. } = self.options;
        let limit = bytes_max - (4 * segment_bytes).min(bytes_max / 4);
        let used = self.bytes_used();
        self.is_over_limit = used > limit || self.is_over_limit && used > limit / 10 * 9;
    }
}

/// A full device is no error here: it shows in [`Engine::is_full`].
pub(crate) fn soften(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Full) => Ok(()),
        other => other,
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
