//! Candidate (d): redb holds everything in one table, key = (session, sequence).

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::candidate::{Candidate, Message, Outcome};

const QUEUE: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("queue");

enum Change {
    Enqueue(u32, u64, Vec<u8>),
    Finish(u32, u64),
}

/// One write transaction per commit with the default durability, a cache of 64 MiB.
pub struct RedbAlone {
    db: Database,
    changes: Vec<Change>,
}

impl RedbAlone {
    /// `checked` verifies every page's checksum at open.
    pub fn open(dir: &Path, checked: bool) -> Outcome<Self> {
        let db = Database::builder()
            .set_cache_size(64 << 20)
            .set_check_integrity_on_open(checked)
            .create(dir.join("queue.redb"))?;
        let write = db.begin_write()?;
        drop(write.open_table(QUEUE)?);
        write.commit()?;
        Ok(Self { db, changes: Vec::new() })
    }
}

impl Candidate for RedbAlone {
    fn enqueue(&mut self, session: u32, seq: u64, payload: &[u8]) -> Outcome<()> {
        self.changes.push(Change::Enqueue(session, seq, payload.to_vec()));
        Ok(())
    }

    fn finish(&mut self, session: u32, seq: u64) -> Outcome<()> {
        self.changes.push(Change::Finish(session, seq));
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        let write = self.db.begin_write()?;
        let mut table = write.open_table(QUEUE)?;
        for change in self.changes.drain(..) {
            match change {
                Change::Enqueue(session, seq, payload) => {
                    table.insert((session, seq), payload.as_slice())?;
                }
                Change::Finish(session, seq) => {
                    table.remove((session, seq))?;
                }
            }
        }
        drop(table);
        Ok(write.commit()?)
    }

    fn read(&mut self, session: u32, from: u64, max: usize, out: &mut Vec<Message>) -> Outcome<()> {
        let table = self.db.begin_read()?.open_table(QUEUE)?;
        for entry in table.range((session, from)..=(session, u64::MAX))?.take(max) {
            let (key, value) = entry?;
            out.push(Message { seq: key.value().1, payload: value.value().to_vec() });
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn take_damage(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.db.close()?)
    }
}
