//! Candidate (e): SQLite as the known reference, write-ahead log, synchronous = FULL.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::candidate::{Candidate, Message, Outcome};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -65536;
    CREATE TABLE IF NOT EXISTS queue (
        session INTEGER NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID;
";

/// One transaction per commit, a cache of 64 MiB.
pub struct Sqlite {
    db: Connection,
    begun: bool,
}

impl Sqlite {
    pub fn open(dir: &Path) -> Outcome<Self> {
        let db = Connection::open(dir.join("queue.sqlite"))?;
        db.execute_batch(SCHEMA)?;
        db.set_prepared_statement_cache_capacity(16);
        Ok(Self { db, begun: false })
    }

    fn begin(&mut self) -> Outcome<()> {
        if !self.begun {
            self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.begun = true;
        }
        Ok(())
    }
}

impl Candidate for Sqlite {
    fn enqueue(&mut self, session: u32, seq: u64, payload: &[u8]) -> Outcome<()> {
        self.begin()?;
        let mut insert = self.db.prepare_cached("INSERT INTO queue VALUES (?, ?, ?)")?;
        insert.execute(params![session, seq as i64, payload])?;
        Ok(())
    }

    fn finish(&mut self, session: u32, seq: u64) -> Outcome<()> {
        self.begin()?;
        let delete = "DELETE FROM queue WHERE session = ? AND seq = ?";
        self.db.prepare_cached(delete)?.execute(params![session, seq as i64])?;
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        if self.begun {
            self.db.prepare_cached("COMMIT")?.execute([])?;
            self.begun = false;
        }
        Ok(())
    }

    fn read(&mut self, session: u32, from: u64, max: usize, out: &mut Vec<Message>) -> Outcome<()> {
        let mut select = self.db.prepare_cached(
            "SELECT seq, payload FROM queue WHERE session = ? AND seq >= ? ORDER BY seq LIMIT ?",
        )?;
        let mut rows = select.query(params![session, from as i64, max as i64])?;
        while let Some(row) = rows.next()? {
            out.push(Message { seq: row.get::<_, i64>(0)? as u64, payload: row.get(1)? });
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn take_damage(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.db.close().map_err(|(_, error)| error.into())
    }
}
