//! Candidate (b): fjall holds everything, key = session and sequence, both big endian.

use std::path::Path;

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode,
};

use crate::candidate::{Candidate, Message, Outcome};

/// One keyspace, one write batch per commit, synced with `fdatasync`.
pub struct FjallAlone {
    db: Database,
    queue: Keyspace,
    batch: WriteBatch,
}

impl FjallAlone {
    /// `small` bounds the memory: memtables of 8 MiB, journals of 128 MiB, a cache of 8 MiB.
    pub fn open(dir: &Path, small: bool) -> Outcome<Self> {
        let mut builder = Database::builder(dir.join("fjall"));
        if small {
            builder = builder.cache_size(8 << 20).max_journaling_size(128 << 20);
        }
        let db = builder.open()?;
        let queue = db.keyspace("queue", || {
            let options = KeyspaceCreateOptions::default();
            if small { options.max_memtable_size(8 << 20) } else { options }
        })?;
        let batch = Self::batch(&db);
        Ok(Self { db, queue, batch })
    }

    fn batch(db: &Database) -> WriteBatch {
        db.batch().durability(Some(PersistMode::SyncData))
    }
}

fn key(session: u32, seq: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&session.to_be_bytes());
    key[4..].copy_from_slice(&seq.to_be_bytes());
    key
}

impl Candidate for FjallAlone {
    fn enqueue(&mut self, session: u32, seq: u64, payload: &[u8]) -> Outcome<()> {
        self.batch.insert(&self.queue, key(session, seq), payload);
        Ok(())
    }

    fn finish(&mut self, session: u32, seq: u64) -> Outcome<()> {
        self.batch.remove(&self.queue, key(session, seq));
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        let batch = std::mem::replace(&mut self.batch, Self::batch(&self.db));
        Ok(batch.commit()?)
    }

    fn read(&mut self, session: u32, from: u64, max: usize, out: &mut Vec<Message>) -> Outcome<()> {
        for entry in self.queue.range(key(session, from)..=key(session, u64::MAX)).take(max) {
            let (key, value) = entry.into_inner()?;
            let seq = u64::from_be_bytes(key.get(4..12).ok_or("short key")?.try_into()?);
            out.push(Message { seq, payload: value.to_vec() });
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        Ok(self.queue.rotate_memtable_and_wait()?)
    }

    fn take_damage(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}
