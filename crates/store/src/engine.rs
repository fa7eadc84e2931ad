//! The store as its one thread sees it: takes commits, writes and syncs them, finds messages
//! again, and keeps its files in order. It has no thread, no clock and no randomness of its own.

use std::sync::Arc;
use std::{fmt, io};

use midge_core::{Commit, Fetch, Fetched, Timestamp, WorkerId};

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

impl Options {
    /// Whether a store with these options ever accepts a message: the segment that is written and
    /// the next one have to fit beside the room that is kept for acknowledgements. Three segments
    /// and an index are enough.
    pub fn have_room_for_messages(&self) -> bool {
        let room = self.bytes_max - reserve_bytes(self);
        self.segment_bytes.saturating_mul(2) <= room
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 8 << 20, checkpoint_bytes: 64 << 20, bytes_max: u64::MAX }
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
    /// How much was appended when the last mark was.
    marked_at: u64,
    /// How much was appended when there was last nothing to be maintained.
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

/// Bodies of records that were read, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) record: Vec<u8>,
    pub(crate) message: Vec<u8>,
}

impl Engine {
    /// How often whoever has the store calls [`Engine::mark`], though nothing happens.
    pub const BEAT_MS: u64 = 30_000;

    /// Opens the store in a directory, or begins one; `reading` is what the clocks show now.
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

    /// Takes a commit: all of it counts once it is written, or nothing.
    pub fn apply(&mut self, _worker: WorkerId, commit: Commit) {
        for op in commit.ops {
            self.apply_op(&op);
        }
        self.writer.end_commit();
    }

    /// Notes what the clocks show at a moment of the store's time, if that is needed: the clock was
    /// set, or something else is to be written, or `is_beat`: the broker says that it is alive.
    /// True if there is something to be written now.
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

    /// Whether somebody may need to know how long the broker has lived.
    pub fn needs_beats(&self) -> bool {
        !self.index.owners.is_empty()
    }

    pub(crate) fn write_mark(&mut self, at: Timestamp, reading: Reading) {
        let mark = Mark { at, reading };
        self.append(mark::TAG, |out| mark::encode(&mark, out));
        self.index.mark = Some(mark);
        self.marked_at = self.writer.appended();
    }

    /// Writes what was applied to the file: it survives the end of the process.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`]: nothing of it may count yet; it can be tried again.
    pub fn write(&mut self) -> Result<(), StoreError> {
        self.check()?;
        self.writer.journal.write()
    }

    /// Waits until what was written is on the device: it survives a power cut.
    ///
    /// # Errors
    ///
    /// Nothing of it may count, and the store takes nothing any more.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        self.writer.journal.sync()
    }

    /// Finds the next messages that wait for an owner, as of what was applied before.
    pub fn fetch(&mut self, fetch: &Fetch) -> Fetched {
        let (entries, next) =
            self.fetch_entries(fetch.owner, fetch.from, fetch.messages_max, fetch.bytes_max);
        let &Fetch { owner, session, ticket, .. } = fetch;
        Fetched { owner, session, ticket, entries, next }
    }

    /// Whether new messages have to be refused: there is little room, which acknowledgements need.
    pub fn is_full(&self) -> bool {
        self.is_over_limit || self.writer.journal.is_short() || !self.reserve.is_there()
    }

    /// Does a slice of what keeps the files in order; true: there is more to be done at once.
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
        // Also while there is more to be done: as long as there is no reserve, there always is.
        if !self.is_over_limit && !self.writer.journal.is_short() {
            self.reserve.refill(&*self.disk).map_err(|error| reserve_error(&error))?;
        }
        Ok(more)
    }

    /// Looking at all segments costs something: not before a part of a segment was written.
    fn is_maintenance_due(&self) -> bool {
        let written = |at| self.writer.appended() - at >= self.options.segment_bytes / 64;
        let is_busy = self.compaction.is_some() || self.checkpoints.is_writing();
        let has_work = is_busy || self.is_full() || !self.index.to_fold.is_empty();
        has_work || self.maintained_at.is_none_or(written)
    }

    /// Keeps a spare segment, at the expense of the reserve if it has to be.
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

    /// Ends with everything on the device and a checkpoint, so that the next start is quick.
    ///
    /// # Errors
    ///
    /// If that does not succeed; what was synced before is safe all the same.
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

    /// What was found to be damaged since the last call, for the log.
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

    /// Bytes of all files but the reserve.
    pub(crate) fn bytes_used(&self) -> u64 {
        self.writer.journal.bytes_on_disk() + self.checkpoints.bytes_on_disk()
    }

    /// New messages are refused at the limit less what acknowledgements and compaction need, and
    /// taken again below 90 % of that.
    fn update_limit(&mut self) {
        let limit = self.options.bytes_max - reserve_bytes(&self.options);
        let used = self.bytes_used();
        self.is_over_limit = used > limit || self.is_over_limit && used > limit / 10 * 9;
    }
}

/// How much room new messages must leave.
pub(crate) fn reserve_bytes(options: &Options) -> u64 {
    options.segment_bytes.saturating_mul(4).min(options.bytes_max / 4)
}

fn reserve_error(error: &io::Error) -> StoreError {
    StoreError::Fatal(format!("reserve: {error}"))
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
