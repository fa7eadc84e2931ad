//! Checkpoints: the index in a file, so that a start need not read the whole journal. Two of them
//! are kept: if the newer one is damaged, the older one and a longer stretch of the journal say the
//! same. A segment is removed only when neither of the two needs it.

pub(crate) mod content;
mod decoding;
mod files;
#[cfg(test)]
mod tests;

use std::io;

use content::encode;

use crate::disk::DiskFile;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::location::Location;
use crate::reserve::is_full;

#[cfg(any(test, feature = "tools"))]
pub(crate) use files::damage_of;
pub(crate) use files::number_of;
pub(crate) use files::{Found, find, name};

/// How much of a checkpoint is written at once.
const SLICE_BYTES: usize = 1 << 20;

/// The checkpoints on the disk, and the one that is being written.
pub(crate) struct Checkpoints {
    /// Those on the disk that count, oldest first: at most two.
    pub(crate) kept: Vec<CheckpointFile>,
    /// The number of the next checkpoint: none has had it or a larger one.
    pub(crate) next_number: u64,
    writing: Option<Writing>,
    /// How many bytes had been appended when the last checkpoint was begun.
    begun_at: u64,
    /// After a failure, how many bytes must have been appended since then before the next try.
    retry_at: u64,
}

/// A checkpoint on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointFile {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// Where replay goes on after this checkpoint; absent if the file was not read.
    pub(crate) position: Option<Location>,
}

struct Writing {
    number: u64,
    position: Location,
    bytes: Vec<u8>,
    written: usize,
    file: Option<Box<dyn DiskFile>>,
    /// Segments in which nothing is held, as of this checkpoint.
    dead: Vec<u32>,
    /// Those of them that are removed once the checkpoint is on the disk.
    leaving: Vec<u32>,
}

impl Checkpoints {
    pub(crate) fn new(kept: Vec<CheckpointFile>, next_number: u64) -> Self {
        Self { kept, next_number, writing: None, begun_at: 0, retry_at: 0 }
    }

    pub(crate) fn bytes_on_disk(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes).sum()
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    fn last_bytes(&self) -> u64 {
        self.kept.last().map_or(0, |kept| kept.bytes)
    }
}

impl Engine {
    /// Continues the checkpoint that is being written. Returns whether there was one.
    pub(crate) fn continue_checkpoint(&mut self) -> Result<bool, StoreError> {
        let Some(mut writing) = self.checkpoints.writing.take() else {
            return Ok(false);
        };
        match self.write_slice(&mut writing) {
            Ok(false) => self.checkpoints.writing = Some(writing),
            Ok(true) => self.finish_checkpoint(writing)?,
            Err(error) => self.abandon_checkpoint(writing, &error)?,
        }
        Ok(true)
    }

    pub(crate) fn start_checkpoint_if_due(&mut self) -> Result<bool, StoreError> {
        let appended = self.writer.appended() - self.checkpoints.begun_at;
        let interval = self.options.checkpoint_bytes.max(4 * self.checkpoints.last_bytes());
        // At the start there may have been no room for the first one.
        let due = self.checkpoints.kept.is_empty()
            || appended >= interval
            || self.has_garbage() && self.has_dead_segments();
        if !due || appended < self.checkpoints.retry_at {
            return Ok(false);
        }
        match self.start_checkpoint() {
            Ok(()) => Ok(true),
            Err(StoreError::Full) => Ok(false),
            Err(fatal) => Err(fatal),
        }
    }

    /// Returns whether much more is on the disk than is needed, or the store is full.
    pub(crate) fn has_garbage(&self) -> bool {
        let allowed = 2 * self.index.holdings.bytes_alive() + 8 * self.options.segment_bytes;
        self.writer.journal.bytes_on_disk() > allowed || self.is_full()
    }

    pub(crate) fn write_checkpoint_at_once(&mut self) -> Result<(), StoreError> {
        while self.continue_checkpoint()? {}
        self.start_checkpoint()?;
        while self.continue_checkpoint()? {}
        Ok(())
    }

    /// Begins a checkpoint of the state as of now. Everything that it comes from is put on the
    /// device first.
    fn start_checkpoint(&mut self) -> Result<(), StoreError> {
        self.writer.flush()?;
        let position = self.writer.journal.end();
        let number = self.checkpoints.next_number;
        let dead: Vec<u32> = self.sealed_dead_segments(position.segment()).collect();
        let bytes = encode(number, position, &self.index);
        let leaving = self.choose_leaving(&dead);
        for segment in &leaving {
            self.index.holdings.get_mut(*segment).leaving = true;
        }
        self.checkpoints.next_number += 1;
        self.checkpoints.retry_at = 0;
        self.checkpoints.begun_at = self.writer.appended();
        self.checkpoints.writing =
            Some(Writing { number, position, bytes, written: 0, file: None, dead, leaving });
        Ok(())
    }

    /// Returns the segments in which nothing is held and nothing will be appended.
    fn sealed_dead_segments(&self, current: u32) -> impl Iterator<Item = u32> {
        let segments = self.writer.journal.segments().into_iter();
        segments.filter(move |segment| {
            *segment < current && self.index.holdings.get(*segment).live == 0
        })
    }

    fn has_dead_segments(&self) -> bool {
        self.sealed_dead_segments(self.writer.journal.current_segment()).next().is_some()
    }

    /// Returns those of the dead segments that the last checkpoint does not need either.
    fn choose_leaving(&self, dead: &[u32]) -> Vec<u32> {
        let Some(position) = self.checkpoints.kept.last().and_then(|kept| kept.position) else {
            return Vec::new();
        };
        let before = &self.index.holdings.dead_before;
        let leaves = |segment: &&u32| before.contains(*segment) && **segment < position.segment();
        dead.iter().filter(leaves).copied().collect()
    }

    fn write_slice(&mut self, writing: &mut Writing) -> io::Result<bool> {
        let new_name = files::new_name(writing.number);
        let file = match &mut writing.file {
            Some(file) => file,
            none => none.insert(files::create(&*self.disk, &new_name)?),
        };
        let end = writing.bytes.len().min(writing.written + SLICE_BYTES);
        file.write_at(&writing.bytes[writing.written..end], writing.written as u64)?;
        writing.written = end;
        if end < writing.bytes.len() {
            return Ok(false);
        }
        file.sync_data()?;
        self.disk.rename(&new_name, &name(writing.number))?;
        self.disk.sync_directory()?;
        Ok(true)
    }

    /// Ends a checkpoint that is on the device: removes what only older ones needed.
    fn finish_checkpoint(&mut self, writing: Writing) -> Result<(), StoreError> {
        let Writing { number, position, bytes, dead, leaving, .. } = writing;
        let kept = &mut self.checkpoints.kept;
        kept.push(CheckpointFile { number, bytes: bytes.len() as u64, position: Some(position) });
        while kept.len() > 2 {
            let oldest = kept.remove(0);
            self.disk.remove(&name(oldest.number)).map_err(|error| fatal(oldest.number, &error))?;
        }
        self.index.holdings.dead_before = dead.into_iter().collect();
        for segment in leaving {
            self.remove_segment(segment)?;
        }
        Ok(())
    }

    fn remove_segment(&mut self, segment: u32) -> Result<(), StoreError> {
        let held = self.index.holdings.get(segment);
        debug_assert_eq!(held.live, 0);
        if held.damaged {
            let now = self.opened_at;
            self.writer.journal.quarantine_segment(segment, "unreadable-records", now)?;
        } else {
            self.writer.journal.remove_segment(segment)?;
        }
        self.index.holdings.forget(segment);
        Ok(())
    }

    /// Handles a failure to write a checkpoint. If the device is full, everything that can be
    /// spared goes and the checkpoint is tried once more; if that fails too, it is tried again
    /// later.
    fn abandon_checkpoint(
        &mut self,
        writing: Writing,
        error: &io::Error,
    ) -> Result<(), StoreError> {
        if !is_full(error) {
            return Err(fatal(writing.number, error));
        }
        let mut writing = Writing { written: 0, file: None, ..writing };
        let _ = self.disk.remove(&files::new_name(writing.number));
        let given_up = self.reserve.give_up(&*self.disk);
        if !given_up.map_err(|error| fatal(writing.number, &error))? {
            self.writer.journal.drop_spare();
        }
        if self.checkpoints.kept.len() > 1 {
            // One is enough to start from, and without room there will not be another.
            let oldest = self.checkpoints.kept.remove(0);
            self.disk.remove(&name(oldest.number)).map_err(|error| fatal(oldest.number, &error))?;
        }
        loop {
            match self.write_slice(&mut writing) {
                Ok(false) => {}
                Ok(true) => return self.finish_checkpoint(writing),
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(fatal(writing.number, &error)),
            }
        }
        let _ = self.disk.remove(&files::new_name(writing.number));
        for segment in writing.leaving {
            self.index.holdings.get_mut(segment).leaving = false;
        }
        let since = self.writer.appended() - self.checkpoints.begun_at;
        self.checkpoints.retry_at = since + self.options.segment_bytes / 16;
        Ok(())
    }
}

fn fatal(number: u64, error: &io::Error) -> StoreError {
    StoreError::Fatal(format!("{}: {error}", name(number)))
}
