//! What every storage engine under test has to do, and the list of their names.
//!
//! Nothing here may know how an engine stores anything.

use std::path::Path;

use crate::{fjall_alone, journal_alone, journal_redb, redb_alone, sqlite};

/// Anything that can go wrong in an engine, as text for a person.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A queued message that was read back.
pub struct Message {
    pub seq: u64,
    pub payload: Vec<u8>,
}

/// A storage engine that holds a queue for each session.
pub trait Candidate {
    /// Queues a message; it counts when `commit` has returned.
    fn enqueue(&mut self, session: u32, seq: u64, payload: &[u8]) -> Outcome<()>;
    /// Forgets an acknowledged message; it counts when `commit` has returned.
    fn finish(&mut self, session: u32, seq: u64) -> Outcome<()>;
    /// Makes everything since the last commit durable, as a whole.
    fn commit(&mut self) -> Outcome<()>;
    /// Appends up to `max` unfinished messages of a session, in order, from `from` on.
    fn read(&mut self, session: u32, from: u64, max: usize, out: &mut Vec<Message>) -> Outcome<()>;
    /// Moves everything to where it rests: tables, main file, checkpoint.
    fn settle(&mut self) -> Outcome<()>;
    /// What the engine noticed by itself since the last call: damage, torn tails.
    fn take_damage(&mut self) -> Vec<String>;
    /// Closes in the regular way.
    fn close(self: Box<Self>) -> Outcome<()>;
}

/// Names that `open` takes.
pub const NAMES: [&str; 9] = [
    "journal",
    "journal-zeroed",
    "journal-redb",
    "journal-redb-inline",
    "fjall",
    "fjall-small",
    "redb",
    "redb-checked",
    "sqlite",
];

/// Opens or reopens the store of a candidate in a directory.
pub fn open(name: &str, dir: &Path) -> Outcome<Box<dyn Candidate>> {
    Ok(match name {
        "journal" => Box::new(journal_alone::JournalAlone::open(dir, false)?),
        "journal-zeroed" => Box::new(journal_alone::JournalAlone::open(dir, true)?),
        "journal-redb" => Box::new(journal_redb::JournalRedb::open(dir, true)?),
        "journal-redb-inline" => Box::new(journal_redb::JournalRedb::open(dir, false)?),
        "fjall" => Box::new(fjall_alone::FjallAlone::open(dir, false)?),
        "fjall-small" => Box::new(fjall_alone::FjallAlone::open(dir, true)?),
        "redb" => Box::new(redb_alone::RedbAlone::open(dir, false)?),
        "redb-checked" => Box::new(redb_alone::RedbAlone::open(dir, true)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(dir)?),
        _ => return Err(format!("no candidate {name}; there are {NAMES:?}").into()),
    })
}
