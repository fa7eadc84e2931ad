//! Candidate (c): the journal alone. Messages stay where they were appended, an index in memory
//! says where, a checkpoint is a dump of that index.
//!
//! Segments are removed oldest first, so that a record that finishes a message is never removed
//! before the message. When most of the journal is dead, survivors of the oldest segment are
//! copied to the end.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::candidate::{Candidate, Message, Outcome};
use crate::journal::{
    COMMIT_MAX, Journal, SEGMENT, location, read_whole, segment_path, write_whole,
};
use crate::queue::{Queue, body, parse};
use crate::replay::{HEADER, frame_at};

/// Record: a message is queued.
pub const ENQUEUE: u8 = 22;
/// Record: a message is finished.
pub const FINISHED: u8 = 25;

const CHECKPOINT_AFTER: u64 = 64 << 20;
const SLACK_SEGMENTS: u64 = 8;

/// See the module.
pub struct JournalAlone {
    dir: PathBuf,
    journal: Journal,
    index: Index,
    damage: Vec<String>,
    scratch: Vec<u8>,
    last_checkpoint: u64,
    checkpoint_bytes: u64,
    /// Segment that is being emptied, its bytes, and how far that is.
    emptying: Option<(u32, Vec<u8>, usize)>,
}

#[derive(Default)]
struct Index {
    queues: HashMap<u32, Queue>,
    /// How many unfinished messages are in each segment, and their number in all.
    alive: BTreeMap<u32, u64>,
    count: u64,
}

impl Index {
    fn insert(&mut self, session: u32, seq: u64, place: u64) {
        let old = self.queues.entry(session).or_default().insert(seq, place);
        self.count_down(old);
        *self.alive.entry((place >> 32) as u32).or_default() += 1;
        self.count += 1;
    }

    fn remove(&mut self, session: u32, seq: u64) {
        let old = self.queues.get_mut(&session).and_then(|queue| queue.remove(seq));
        self.count_down(old);
    }

    fn count_down(&mut self, place: Option<u64>) {
        if let Some(place) = place {
            *self.alive.entry((place >> 32) as u32).or_default() -= 1;
            self.count -= 1;
        }
    }

    fn load(bytes: &[u8], oldest: u32) -> Outcome<(u64, Self)> {
        let mut rest = bytes;
        let end = rest.split_off(..8).ok_or("short checkpoint")?;
        let mut index = Self::default();
        while !rest.is_empty() {
            let (session, queue) = Queue::decode(&mut rest)?;
            for (seq, place) in queue.iter(0) {
                // Only segments without any unfinished message are removed.
                if (place >> 32) as u32 >= oldest {
                    index.insert(session, seq, place);
                }
            }
        }
        Ok((u64::from_le_bytes(end.try_into()?), index))
    }
}

impl JournalAlone {
    /// `zeroed`: a new segment is filled with zeros, so that later writes change no metadata.
    pub fn open(dir: &Path, zeroed: bool) -> Outcome<Self> {
        let mut damage = Vec::new();
        let oldest = oldest_segment(dir)?;
        let mut from = 0;
        let mut index = Index::default();
        for name in ["checkpoint", "checkpoint-old"] {
            let loaded = read_whole(dir, name)
                .and_then(|bytes| bytes.map(|bytes| Index::load(&bytes, oldest)).transpose());
            match loaded {
                Ok(Some(found)) => {
                    (from, index) = found;
                    break;
                }
                Ok(None) => {}
                Err(error) => damage.push(error.to_string()),
            }
        }
        let journal =
            Journal::open(dir, zeroed, from, from, &mut damage, &mut |at, tag, body| match (
                tag,
                parse(body),
            ) {
                (ENQUEUE, Some((session, seq, _))) => index.insert(session, seq, at),
                (FINISHED, Some((session, seq, _))) => index.remove(session, seq),
                _ => {}
            })?;
        let last_checkpoint = from;
        Ok(Self {
            dir: dir.to_path_buf(),
            journal,
            index,
            damage,
            scratch: Vec::new(),
            last_checkpoint,
            checkpoint_bytes: 0,
            emptying: None,
        })
    }

    fn checkpoint(&mut self) -> Outcome<()> {
        let end = self.journal.end();
        let mut bytes = end.to_le_bytes().to_vec();
        for (session, queue) in &self.index.queues {
            queue.encode(*session, &mut bytes);
        }
        let newest = self.dir.join("checkpoint");
        if newest.exists() {
            std::fs::rename(newest, self.dir.join("checkpoint-old"))?;
        }
        write_whole(&self.dir, "checkpoint", &bytes)?;
        self.last_checkpoint = end;
        self.checkpoint_bytes = bytes.len() as u64;
        Ok(())
    }

    fn maintain(&mut self) -> Outcome<()> {
        while self.journal.oldest() != self.journal.current()
            && self.index.alive.get(&self.journal.oldest()).is_none_or(|alive| *alive == 0)
        {
            let oldest = self.journal.oldest();
            self.journal.remove(oldest)?;
            self.index.alive.remove(&oldest);
            self.emptying.take_if(|(segment, ..)| *segment == oldest);
        }
        let span = |place: u64| (place >> 32) * SEGMENT + (place & 0xffff_ffff);
        let grown = span(self.journal.end()).saturating_sub(span(self.last_checkpoint));
        if grown > CHECKPOINT_AFTER.max(4 * self.checkpoint_bytes) {
            self.checkpoint()?;
        }
        let used = self.journal.count() as u64 * SEGMENT;
        if used > 2 * self.index.count * 130 + SLACK_SEGMENTS * SEGMENT {
            self.empty_oldest()?;
        }
        Ok(())
    }

    /// Copies a slice of what is alive in the oldest segment to the end of the journal.
    fn empty_oldest(&mut self) -> Outcome<()> {
        let oldest = self.journal.oldest();
        let (segment, bytes, mut at) = match self.emptying.take() {
            Some(state) => state,
            None => (oldest, std::fs::read(segment_path(&self.dir, oldest))?, HEADER),
        };
        let stop = at + (2 << 20);
        let mut copies = Vec::new();
        while at < stop && self.journal.building() < COMMIT_MAX / 2 {
            let Some((tag, range)) = frame_at(segment, &bytes, at) else {
                if self.index.alive.get(&segment).is_some_and(|alive| *alive > 0) {
                    self.damage.push(format!("segment {segment} cannot be emptied at {at}"));
                }
                break;
            };
            let record = &bytes[range.clone()];
            if tag == ENQUEUE
                && let Some((session, seq, _)) = parse(record)
                && self.index.queues.get(&session).and_then(|queue| queue.get(seq))
                    == Some(location(segment, at))
            {
                copies.push((session, seq, self.journal.append(ENQUEUE, &[record])?));
            }
            at = range.end;
        }
        self.journal.commit()?;
        for (session, seq, place) in copies {
            self.index.insert(session, seq, place);
        }
        self.emptying = Some((segment, bytes, at));
        Ok(())
    }
}

fn oldest_segment(dir: &Path) -> Outcome<u32> {
    let mut oldest = u32::MAX;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("journal-"));
        if let Some(number) = number.and_then(|hex| u32::from_str_radix(hex, 16).ok()) {
            oldest = oldest.min(number);
        }
    }
    Ok(oldest)
}

impl Candidate for JournalAlone {
    fn enqueue(&mut self, session: u32, seq: u64, payload: &[u8]) -> Outcome<()> {
        let place = self.journal.append(ENQUEUE, &[&body(session, seq), payload])?;
        self.index.insert(session, seq, place);
        Ok(())
    }

    fn finish(&mut self, session: u32, seq: u64) -> Outcome<()> {
        self.journal.append(FINISHED, &[&body(session, seq)])?;
        self.index.remove(session, seq);
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        self.journal.commit()?;
        self.maintain()
    }

    fn read(&mut self, session: u32, from: u64, max: usize, out: &mut Vec<Message>) -> Outcome<()> {
        let Some(queue) = self.index.queues.get(&session) else { return Ok(()) };
        for (seq, place) in queue.iter(from).take(max) {
            match self.journal.read(place, &mut self.scratch) {
                Ok((ENQUEUE, range)) => match parse(&self.scratch[range]) {
                    Some((of, number, payload)) if (of, number) == (session, seq) => {
                        out.push(Message { seq, payload: payload.to_vec() });
                    }
                    _ => self.damage.push(format!("{place:x} is another message")),
                },
                Ok(_) => self.damage.push(format!("{place:x} is no message")),
                Err(error) => self.damage.push(format!("{place:x}: {error}")),
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        self.checkpoint()
    }

    fn take_damage(&mut self) -> Vec<String> {
        std::mem::take(&mut self.damage)
    }

    fn close(mut self: Box<Self>) -> Outcome<()> {
        self.checkpoint()
    }
}
