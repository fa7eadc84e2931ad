//! Reads messages back from the journal. A message that cannot be read is reported and never asked
//! for again; it must never take its neighbours with it.

use std::ops::ControlFlow;

use midge_core::{FetchedEntry, Message, Owner, Round, StoredDelivery};

use crate::engine::{Buffers, Engine};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places, Queue};
use crate::record::{BadRecord, Body, EnqueueHead, Record, Restorer, decode, decode_message};
use crate::report::{Damage, DamageKind};
use crate::writer::Writer;

impl Engine {
    /// Returns the messages from sequence `from` on that are neither finished nor taken, and the
    /// sequence below which there are no others.
    pub(crate) fn fetch_entries(
        &mut self,
        owner: Owner,
        from: u64,
        messages_max: usize,
        bytes_max: usize,
    ) -> (Vec<FetchedEntry>, u64) {
        let queue = self.index.owners.get(&owner).and_then(|entry| entry.queue.as_deref());
        let Some(queue) = queue else {
            return (Vec::new(), from);
        };
        let (chosen, next) = choose(queue, from, messages_max.max(1), bytes_max as u64);
        let entries = chosen.iter().map(|entry| {
            let (delivery, round) = self.read_entry(owner, entry).unzip();
            FetchedEntry { sequence: entry.sequence, delivery, round: round.flatten() }
        });
        (entries.collect(), next)
    }

    /// Reads the message of a queue entry, with the round that it waits for. Returns `None` and
    /// notes the damage if the message is damaged.
    fn read_entry(
        &mut self,
        owner: Owner,
        entry: &Entry,
    ) -> Option<(StoredDelivery, Option<Round>)> {
        let places = entry.places?;
        match self.read_delivery(owner, entry.sequence, places) {
            Ok((delivery, round)) => {
                let is_provisional = entry.flags.has(Flags::PROVISIONAL);
                Some((delivery, round.filter(|_| is_provisional)))
            }
            Err((place, damage)) => {
                self.index.lose_message(owner, entry.sequence);
                self.note_damaged_record(place, damage);
                None
            }
        }
    }

    fn read_delivery(
        &mut self,
        owner: Owner,
        sequence: u64,
        places: Places,
    ) -> Result<(StoredDelivery, Option<Round>), (Location, Damage)> {
        let at = places.record;
        let Self { writer, buffers: Buffers { record, message }, restorer, .. } = self;
        let journal = &mut writer.journal;
        let (tag, bytes) = journal.look_at(at, record).map_err(|damage| (at, damage))?;
        let bad = |bad| (at, incomprehensible(at, bad));
        let Record::Enqueue(head, body) = decode(tag, bytes).map_err(bad)? else {
            return Err(bad(BadRecord("it is no message of a queue")));
        };
        if (head.owner, head.sequence) != (owner, sequence) {
            return Err(bad(BadRecord("it is a message of another queue")));
        }
        places.check(&body).map_err(bad)?;
        let EnqueueHead { qos, retain, identifiers, group, round, .. } = head;
        let (identifiers, round) = (identifiers.into_owned(), round.map(|round| round.round));
        let message = match body {
            Body::Inline(stored) => restorer.restore(&stored, Some(at)),
            Body::At { message: at, .. } => restore_at(at, writer, message, restorer)?,
        };
        Ok((StoredDelivery { message, qos, retain, identifiers, group }, round))
    }

    /// Notes that a needed record cannot be read: when its segment goes, the file is kept for a
    /// human.
    pub(crate) fn note_damaged_record(&mut self, place: Location, damage: Damage) {
        self.index.holdings.get_mut(place.segment()).damaged = true;
        self.note_damage(damage);
    }
}

/// Restores the message of the record at `at`, which another record refers to.
fn restore_at(
    at: Location,
    writer: &mut Writer,
    buffer: &mut Vec<u8>,
    restorer: &mut Restorer,
) -> Result<Message, (Location, Damage)> {
    let read = writer.journal.look_at(at, buffer);
    let (tag, bytes) = read.map_err(|damage| (at, damage))?;
    let stored = decode_message(tag, bytes);
    let stored = stored.map_err(|bad| (at, incomprehensible(at, bad)))?;
    Ok(restorer.restore(&stored, Some(at)))
}

/// Chooses the entries that are asked for. Also returns the sequence below which there are no
/// others.
fn choose(queue: &Queue, from: u64, messages_max: usize, bytes_max: u64) -> (Vec<Entry>, u64) {
    let mut chosen: Vec<Entry> = Vec::new();
    let mut bytes = 0u64;
    let end = queue.visit_from(from, |entry| {
        if entry.flags.has(Flags::TAKEN) {
            return ControlFlow::Continue(());
        }
        bytes += u64::from(entry.size);
        if chosen.len() >= messages_max || !chosen.is_empty() && bytes > bytes_max {
            return ControlFlow::Break(());
        }
        chosen.push(entry);
        ControlFlow::Continue(())
    });
    let next = match chosen.last() {
        Some(last) if end.is_break() => last.sequence + 1,
        _ => queue.next(),
    };
    (chosen, next)
}

/// Describes the damage of a record whose bytes are as they were written but mean nothing, or not
/// what is needed.
pub(crate) fn incomprehensible(at: Location, bad: BadRecord) -> Damage {
    Damage {
        file: format!("journal-{:016x}", at.segment()),
        offset: u64::from(at.offset()),
        kind: DamageKind::UnreadableMessage,
        detail: format!("the record cannot be used: {}; what it says is lost", bad.0),
    }
}
