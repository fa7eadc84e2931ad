//! Reads retained and delayed messages at a start, in the order in which they stand in the journal,
//! by several threads.

use std::num::NonZeroUsize;

use midge_core::{Kept, Message};

use crate::fetching::incomprehensible;
use crate::index::{Index, KeptEntry};
use crate::journal::Journal;
use crate::location::Location;
use crate::record::{Body, Restorer, decode_kept, decode_message};
use crate::record_reader::RecordReader;
use crate::report::Damage;
use crate::side_by_side::{parts, side_by_side};

/// All kept messages that can be read, and the numbers of those that cannot.
#[derive(Default)]
pub(super) struct KeptMessages {
    pub(super) messages: Vec<(u64, Kept, Message)>,
    /// In the order of their records.
    pub(super) lost: Vec<(u64, Damage)>,
}

/// Reads all kept messages.
pub(super) fn read(index: &Index, journal: &Journal, readers: NonZeroUsize) -> KeptMessages {
    let mut known: Vec<_> =
        index.kept.iter().map(|(number, kept)| (kept.places.record, *number, kept)).collect();
    known.sort_unstable_by_key(|(record, _, _)| *record);
    let found = side_by_side(&parts(&known, readers), |known| read_part(known, journal));
    drop(known);
    let mut all = KeptMessages::default();
    all.messages.reserve_exact(found.iter().map(|part| part.messages.len()).sum());
    for part in found {
        all.messages.extend(part.messages);
        all.lost.extend(part.lost);
    }
    all
}

fn read_part(known: &[(Location, u64, &KeptEntry)], journal: &Journal) -> KeptMessages {
    let (mut records, mut messages) = (journal.reader(), journal.reader());
    let mut restorer = Restorer::default();
    let mut part = KeptMessages::default();
    part.messages.reserve_exact(known.len());
    for &(_, number, kept) in known {
        match read_one(number, kept, &mut records, &mut messages, &mut restorer) {
            Ok((what, message)) => part.messages.push((number, what, message)),
            Err(damage) => part.lost.push((number, damage)),
        }
    }
    part
}

/// Reads a kept message; its record may say that the message itself is in another one.
fn read_one(
    number: u64,
    kept: &KeptEntry,
    records: &mut RecordReader<'_>,
    messages: &mut RecordReader<'_>,
    restorer: &mut Restorer,
) -> Result<(Kept, Message), Damage> {
    let at = kept.places.record;
    let (tag, record) = records.read(at)?;
    let bad = |bad| incomprehensible(at, bad);
    let (what, body) = decode_kept(tag, record, number).map_err(bad)?;
    kept.places.check(&body).map_err(bad)?;
    let message = match body {
        Body::Inline(stored) => restorer.restore(&stored, Some(at)),
        Body::At { message: at, .. } => {
            let (tag, record) = messages.read(at)?;
            let stored = decode_message(tag, record).map_err(|bad| incomprehensible(at, bad))?;
            restorer.restore(&stored, Some(at))
        }
    };
    Ok((what, message))
}
