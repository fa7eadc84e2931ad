//! Candidate (a): the journal, with redb behind it. When the journal has grown by 64 MiB, what is
//! still queued in it is moved into redb as one sorted batch, and the segments are removed.
//!
//! The move is one redb transaction that also says from where the journal has to be replayed. It
//! runs in a thread of its own or, to compare, inside the commit that made the journal too large.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::candidate::{Candidate, Message, Outcome};
use crate::journal::Journal;
use crate::journal_alone::{ENQUEUE, FINISHED};
use crate::queue::{Queue, body, parse};
use crate::replay::frame_at;

/// The value is a CRC32C of key and payload, then the payload.
const QUEUE: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("queue");
const META: TableDefinition<u8, u64> = TableDefinition::new("meta");
const MOVE_AFTER_SEGMENTS: usize = 4;

/// See the module.
pub struct JournalRedb {
    db: Arc<Database>,
    journal: Journal,
    sessions: HashMap<u32, Session>,
    damage: Vec<String>,
    scratch: Vec<u8>,
    background: bool,
    moving: Option<JoinHandle<Outcome<Moved>>>,
}

#[derive(Default)]
struct Session {
    /// Sequences before this one are in redb, except those that are gone.
    moved_to: u64,
    /// Sequences before this one are on their way into redb.
    moving_to: u64,
    /// Finished while in redb or on the way, not removed from it yet.
    gone: BTreeSet<u64>,
    queue: Queue,
}

impl Session {
    fn finish(&mut self, seq: u64) {
        if seq < self.moved_to {
            self.gone.insert(seq);
        } else {
            self.queue.remove(seq);
            if seq < self.moving_to {
                self.gone.insert(seq);
            }
        }
    }
}

/// What a move takes along, so that it needs nothing of the rest.
struct Move {
    db: Arc<Database>,
    from: u64,
    keep: Vec<(u32, u64, u64)>,
    gone: Vec<(u32, u64)>,
    files: HashMap<u32, File>,
}

struct Moved {
    from: u64,
    to: HashMap<u32, u64>,
    gone: Vec<(u32, u64)>,
    damage: Vec<String>,
}

impl Move {
    fn run(self) -> Outcome<Moved> {
        let write = self.db.begin_write()?;
        let mut to = HashMap::new();
        let mut damage = Vec::new();
        let mut table = write.open_table(QUEUE)?;
        for key in &self.gone {
            table.remove(*key)?;
        }
        let mut bytes = Vec::new();
        let mut value = Vec::new();
        for (session, seq, place) in &self.keep {
            to.insert(*session, seq + 1);
            match self.payload(*session, *seq, *place, &mut bytes) {
                Some(payload) => {
                    value.clear();
                    value.extend_from_slice(&sum(*session, *seq, payload).to_le_bytes());
                    value.extend_from_slice(payload);
                    table.insert((*session, *seq), value.as_slice())?;
                }
                None => damage.push(format!("{place:x} cannot be moved")),
            }
        }
        drop(table);
        write.open_table(META)?.insert(0, self.from)?;
        write.commit()?;
        Ok(Moved { from: self.from, to, gone: self.gone, damage })
    }

    fn payload<'a>(
        &self,
        session: u32,
        seq: u64,
        place: u64,
        bytes: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let segment = (place >> 32) as u32;
        // Payloads of this program are small; the product would have to read on.
        bytes.resize(4096, 0);
        let got = self.files.get(&segment)?.read_at(bytes, place & 0xffff_ffff).ok()?;
        let (_, range) = frame_at(segment, &bytes[..got], 0)?;
        let (of, number, payload) = parse(&bytes[range])?;
        ((of, number) == (session, seq)).then_some(payload)
    }
}

fn sum(session: u32, seq: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&body(session, seq)), payload)
}

impl JournalRedb {
    /// `background`: survivors are moved in a thread of their own.
    pub fn open(dir: &Path, background: bool) -> Outcome<Self> {
        let db = Database::builder().set_cache_size(16 << 20).create(dir.join("queue.redb"))?;
        let write = db.begin_write()?;
        drop(write.open_table(QUEUE)?);
        drop(write.open_table(META)?);
        write.commit()?;
        let read = db.begin_read()?;
        let from = read.open_table(META)?.get(0)?.map_or(0, |from| from.value());
        let table = read.open_table(QUEUE)?;
        let mut sessions: HashMap<u32, Session> = HashMap::new();
        let mut next = 0;
        while let Some(first) = table.range((next, 0)..)?.next() {
            let session = first?.0.value().0;
            if let Some(last) = table.range((session, 0)..=(session, u64::MAX))?.next_back() {
                let moved_to = last?.0.value().1 + 1;
                sessions.insert(session, Session { moved_to, ..Session::default() });
            }
            next = session + 1;
        }
        let mut damage = Vec::new();
        let journal = Journal::open(dir, false, from, from, &mut damage, &mut |at, tag, body| {
            let Some((session, seq, _)) = parse(body) else { return };
            let session = sessions.entry(session).or_default();
            match tag {
                ENQUEUE if seq >= session.moved_to => {
                    session.queue.insert(seq, at);
                }
                FINISHED => session.finish(seq),
                _ => {}
            }
        })?;
        let mut store = Self {
            db: Arc::new(db),
            journal,
            sessions,
            damage,
            scratch: Vec::new(),
            background,
            moving: None,
        };
        store.remove_before(from)?;
        Ok(store)
    }

    fn remove_before(&mut self, from: u64) -> Outcome<()> {
        for segment in self.journal.segments() {
            if segment < (from >> 32) as u32 {
                self.journal.remove(segment)?;
            }
        }
        Ok(())
    }

    fn prepare(&self) -> Outcome<Move> {
        let mut keep = Vec::new();
        let mut gone = Vec::new();
        for (number, session) in &self.sessions {
            keep.extend(session.queue.iter(0).map(|(seq, place)| (*number, seq, place)));
            gone.extend(session.gone.iter().map(|seq| (*number, *seq)));
        }
        keep.sort_unstable();
        gone.sort_unstable();
        let mut files = HashMap::new();
        for segment in self.journal.segments() {
            files.insert(segment, self.journal.share(segment)?);
        }
        Ok(Move { db: Arc::clone(&self.db), from: self.journal.end(), keep, gone, files })
    }

    fn moved(&mut self, moved: Moved) -> Outcome<()> {
        self.damage.extend(moved.damage);
        for (session, seq) in moved.gone {
            self.sessions.entry(session).or_default().gone.remove(&seq);
        }
        for (number, to) in moved.to {
            let session = self.sessions.entry(number).or_default();
            session.moved_to = to;
            session.queue.cut(to);
        }
        self.remove_before(moved.from)
    }

    fn wait(&mut self) -> Outcome<()> {
        if let Some(moving) = self.moving.take() {
            let moved = moving.join().map_err(|_| "the moving thread panicked")??;
            self.moved(moved)?;
        }
        Ok(())
    }

    fn maintain(&mut self) -> Outcome<()> {
        if self.moving.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait()?;
        }
        if self.moving.is_none() && self.journal.count() > MOVE_AFTER_SEGMENTS {
            let work = self.prepare()?;
            for (number, seq, _) in &work.keep {
                self.sessions.entry(*number).or_default().moving_to = seq + 1;
            }
            if self.background {
                self.moving = Some(std::thread::spawn(move || work.run()));
            } else {
                self.moved(work.run()?)?;
            }
        }
        Ok(())
    }
}

impl Candidate for JournalRedb {
    fn enqueue(&mut self, session: u32, seq: u64, payload: &[u8]) -> Outcome<()> {
        let place = self.journal.append(ENQUEUE, &[&body(session, seq), payload])?;
        self.sessions.entry(session).or_default().queue.insert(seq, place);
        Ok(())
    }

    fn finish(&mut self, session: u32, seq: u64) -> Outcome<()> {
        self.journal.append(FINISHED, &[&body(session, seq)])?;
        self.sessions.entry(session).or_default().finish(seq);
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        self.journal.commit()?;
        self.maintain()
    }

    fn read(&mut self, number: u32, from: u64, max: usize, out: &mut Vec<Message>) -> Outcome<()> {
        let Some(session) = self.sessions.get(&number) else { return Ok(()) };
        let stop = out.len() + max;
        if from < session.moved_to {
            let table = self.db.begin_read()?.open_table(QUEUE)?;
            for entry in table.range((number, from)..(number, session.moved_to))? {
                let (key, value) = entry?;
                let (seq, value) = (key.value().1, value.value());
                if out.len() == stop {
                    return Ok(());
                }
                if session.gone.contains(&seq) {
                    continue;
                }
                match value.split_first_chunk::<4>() {
                    Some((check, payload))
                        if u32::from_le_bytes(*check) == sum(number, seq, payload) =>
                    {
                        out.push(Message { seq, payload: payload.to_vec() });
                    }
                    _ => self.damage.push(format!("value of {number} {seq} is damaged")),
                }
            }
        }
        for (seq, place) in session.queue.iter(from).take(stop - out.len()) {
            match self.journal.read(place, &mut self.scratch) {
                Ok((ENQUEUE, range)) => match parse(&self.scratch[range]) {
                    Some((of, same, payload)) if (of, same) == (number, seq) => {
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
        self.wait()?;
        let work = self.prepare()?;
        self.moved(work.run()?)
    }

    fn take_damage(&mut self) -> Vec<String> {
        std::mem::take(&mut self.damage)
    }

    fn close(mut self: Box<Self>) -> Outcome<()> {
        self.wait()?;
        let db = Arc::into_inner(self.db).ok_or("redb is still in use")?;
        Ok(db.close()?)
    }
}
