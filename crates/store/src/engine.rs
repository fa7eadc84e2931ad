//! The store as the one thread that uses it sees it: it takes commits, writes and syncs them, finds
//! messages again, and keeps its files in order. It has no thread of its own, except for helpers
//! while it is opened, no clock and no randomness.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::{fmt, io};

use midge_core::{Commit, Fetch, Fetched, StoreOp, Timestamp, WorkerId};

use crate::checkpoint::Checkpoints;
use crate::clock::{Mark, Reading};
use crate::compaction::Compaction;
use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::index::Index;
use crate::record::{Restorer, mark};
use crate::recovery::{self, Opened};
use crate::report::Damage;
use crate::reserve::Reserve;
use crate::writer::Writer;

/// How many places of damage are remembered until somebody asks for them.
const DAMAGE_MAX: usize = 1000;

/// How large the files of a store may get.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The length of a segment of the journal.
    pub segment_bytes: u64,
    /// After how many bytes in the journal a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// How many bytes all files may have. Close to this limit no new messages are to be accepted.
    pub bytes_max: u64,
    /// How many threads read the files when the store is opened. What they find does not depend on
    /// it.
    pub readers: NonZeroUsize,
}

impl Options {
    /// Returns whether a store with these options ever accepts a message. The segment that is being
    /// written and the next one have to fit beside the room that is kept for acknowledgements. Room
    /// for three segments and an index is enough.
    pub fn have_room_for_messages(&self) -> bool {
        let room = self.bytes_max - reserve_bytes(self);
        self.segment_bytes.saturating_mul(2) <= room
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            checkpoint_bytes: 64 << 20,
            bytes_max: u64::MAX,
            readers: NonZeroUsize::MIN,
        }
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
    pub(crate) reserve: Reserve,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) restorer: Restorer,
    pub(crate) buffers: Buffers,
    damage: Vec<Damage>,
    damage_count: u64,
    is_over_limit: bool,
    /// How many bytes had been appended when the last mark was written.
    marked_at: u64,
    /// How many bytes had been appended when maintenance last had nothing more to do; absent while
    /// there is more.
    maintained_at: Option<u64>,
    /// Why nothing is accepted any more.
    fatal: Option<String>,
}

/// What an engine has on its disk.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) writer: Writer,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) reserve: Reserve,
}

/// Buffers for the bodies of records, reused by every read.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) record: Vec<u8>,
    pub(crate) message: Vec<u8>,
}

impl Engine {
    /// How often the thread that has the store calls [`Engine::mark`] even if nothing happens, in
    /// milliseconds.
    pub const BEAT_MS: u64 = 30_000;

    /// Opens the store in a directory, or begins one there; `reading` is what the clocks show now.
    ///
    /// # Errors
    ///
    /// If the files cannot be read or written, or are of a newer version. Damage is no error: it is
    /// in the report.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        reading: impl Into<Reading>,
    ) -> Result<Opened, OpenError> {
        recovery::open(disk, options, reading.into())
    }

    pub(crate) fn new(files: Files, options: Options, opened_at: Timestamp, index: Index) -> Self {
        let Files { disk, writer, checkpoints, reserve } = files;
        Self {
            disk,
            options,
            opened_at,
            writer,
            index,
            checkpoints,
            reserve,
            compaction: None,
            restorer: Restorer::default(),
            buffers: Buffers::default(),
            damage: Vec::new(),
            damage_count: 0,
            is_over_limit: false,
            marked_at: 0,
            maintained_at: None,
            fatal: None,
        }
    }

    /// Takes a commit. It counts as a whole once it is written, or not at all. Returns the list of
    /// its operations, empty, for the next one.
    pub fn apply(&mut self, _worker: WorkerId, mut commit: Commit) -> Vec<StoreOp> {
        self.apply_ops(&commit.ops);
        commit.ops.clear();
        self.writer.end_commit();
        commit.ops
    }

    /// Notes what the clocks show at the moment `now` of the store's time, if a mark is due: there
    /// is none yet, the clock was set, the machine was booted, the last mark is old and other
    /// records are to be written, or `is_beat`: the broker says that it is alive. Returns true if
    /// there is something to be written now.
    pub fn mark(&mut self, now: Timestamp, reading: Reading, is_beat: bool) -> bool {
        let has_others = self.writer.appended() > self.marked_at;
        let is_outdated =
            |mark: &Mark| mark.is_outdated(now, &reading, has_others) || is_beat && now > mark.at;
        let is_due = self.index.mark.as_ref().is_none_or(is_outdated);
        if is_due {
            self.write_mark(now, reading);
            self.writer.end_commit();
        }
        is_due
    }

    /// Returns whether there is a Session or shared subscription: only then may somebody need to
    /// know how long the broker has lived.
    pub fn needs_beats(&self) -> bool {
        !self.index.owners.is_empty()
    }

    pub(crate) fn write_mark(&mut self, at: Timestamp, reading: Reading) {
        let mark = Mark { at, reading };
        self.append(mark::TAG, |out| mark::encode(&mark, out));
        self.index.mark = Some(mark);
        self.marked_at = self.writer.appended();
    }

    /// Writes the applied commits to the file, so that they survive the end of the process.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`]: nothing of the commits may count yet; it can be tried again.
    /// [`StoreError::Fatal`]: the store takes nothing any more.
    pub fn write(&mut self) -> Result<(), StoreError> {
        self.check()?;
        self.writer.journal.write()
    }

    /// Waits until everything written is on the device and survives a power cut.
    ///
    /// # Errors
    ///
    /// None of it may count, and the store takes nothing any more.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        self.writer.journal.sync()
    }

    /// Finds the next messages that wait for an owner, taking into account everything applied
    /// before.
    pub fn fetch(&mut self, fetch: &Fetch) -> Fetched {
        let (entries, next) =
            self.fetch_entries(fetch.owner, fetch.from, fetch.messages_max, fetch.bytes_max);
        let &Fetch { owner, session, ticket, .. } = fetch;
        Fetched { owner, session, ticket, entries, next }
    }

    /// Returns whether new messages have to be refused because acknowledgements need the little
    /// room that is left.
    pub fn is_full(&self) -> bool {
        self.is_over_limit || self.writer.journal.is_short() || !self.reserve.is_there()
    }

    /// Does a slice of maintenance, which keeps the files in order. Returns true if there is more
    /// to do at once.
    ///
    /// # Errors
    ///
    /// As with [`Engine::sync`].
    pub fn maintain(&mut self) -> Result<bool, StoreError> {
        self.check()?;
        let result = self.maintain_slice();
        if let Err(StoreError::Fatal(what)) = &result {
            self.fatal = Some(what.clone());
        }
        result
    }

    fn maintain_slice(&mut self) -> Result<bool, StoreError> {
        if !self.is_maintenance_due() {
            soften(self.writer.journal.keep_spare())?;
            return Ok(false);
        }
        self.keep_room()?;
        let more = self.continue_checkpoint()?
            || self.continue_compaction()?
            || self.fold_subscriptions()
            || self.start_checkpoint_if_due()?
            || self.start_compaction_if_due();
        self.maintained_at = (!more).then(|| self.writer.appended());
        // Also while there is more to do: without a reserve there always is.
        if !self.is_over_limit && !self.writer.journal.is_short() {
            self.reserve.refill(&*self.disk).map_err(|error| reserve_error(&error))?;
        }
        Ok(more)
    }

    /// Returns whether maintenance is due. It looks at all segments, which costs something; without
    /// known work it waits until a part of a segment was written.
    fn is_maintenance_due(&self) -> bool {
        let written = |at| self.writer.appended() - at >= self.options.segment_bytes / 64;
        let is_busy = self.compaction.is_some() || self.checkpoints.is_writing();
        let has_work = is_busy || self.is_full() || !self.index.to_fold.is_empty();
        has_work || self.maintained_at.is_none_or(written)
    }

    /// Keeps a spare segment. Gives up the reserve if there is no room for it or too much is in
    /// use.
    fn keep_room(&mut self) -> Result<(), StoreError> {
        soften(self.writer.journal.keep_spare())?;
        self.update_limit();
        if self.is_over_limit || self.writer.journal.is_short() {
            let given_up = self.reserve.give_up(&*self.disk);
            if given_up.map_err(|error| reserve_error(&error))? {
                soften(self.writer.journal.keep_spare())?;
            }
        }
        Ok(())
    }

    /// Closes the store: puts everything on the device and writes a checkpoint, so that the next
    /// start is quick.
    ///
    /// # Errors
    ///
    /// If that does not succeed. Everything synced before is safe all the same.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.check()?;
        self.writer.flush()?;
        self.write_checkpoint_at_once()
    }

    /// What the store needs and holds.
    pub fn usage(&self) -> StoreUsage {
        StoreUsage {
            bytes_on_disk: self.bytes_used() + self.reserve.bytes_on_disk(),
            bytes_alive: self.index.holdings.bytes_alive(),
            segments: self.writer.journal.segments().len() as u64,
            owners: self.index.owners.len() as u64,
            queued_messages: self.index.queued,
            kept_messages: self.index.kept.len() as u64,
            damaged: self.damage_count,
        }
    }

    /// Returns the damage that was found since the last call, for the log.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    fn check(&self) -> Result<(), StoreError> {
        match &self.fatal {
            Some(what) => Err(StoreError::Fatal(what.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn note_damage(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        }
    }

    /// Returns the bytes of all files except the reserve.
    pub(crate) fn bytes_used(&self) -> u64 {
        self.writer.journal.bytes_on_disk() + self.checkpoints.bytes_on_disk()
    }

    /// Updates whether the limit is exceeded. New messages are refused above the limit less what
    /// acknowledgements and compaction need, and taken again at 90 % of that or less.
    fn update_limit(&mut self) {
        let limit = self.options.bytes_max - reserve_bytes(&self.options);
        let used = self.bytes_used();
        self.is_over_limit = used > limit || self.is_over_limit && used > limit / 10 * 9;
    }
}

/// Returns how much room new messages must leave.
pub(crate) fn reserve_bytes(options: &Options) -> u64 {
    options.segment_bytes.saturating_mul(4).min(options.bytes_max / 4)
}

fn reserve_error(error: &io::Error) -> StoreError {
    StoreError::Fatal(format!("reserve: {error}"))
}

/// Drops the error of a full device, which shows in [`Engine::is_full`].
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
