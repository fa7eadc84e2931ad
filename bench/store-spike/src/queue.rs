//! What is queued for a session and where in the journal it is: 8 bytes a message.
//!
//! It knows nothing of files.

use std::collections::VecDeque;

use crate::candidate::Outcome;

/// Locations of the unfinished messages of a session; 0 stands for a finished one.
#[derive(Default)]
pub struct Queue {
    base: u64,
    places: VecDeque<u64>,
}

impl Queue {
    /// Notes where a message is; returns the place it had before.
    pub fn insert(&mut self, seq: u64, place: u64) -> Option<u64> {
        if self.places.is_empty() {
            self.base = seq;
        }
        while seq < self.base {
            self.places.push_front(0);
            self.base -= 1;
        }
        let nth = (seq - self.base) as usize;
        if nth >= self.places.len() {
            self.places.resize(nth + 1, 0);
        }
        let old = std::mem::replace(&mut self.places[nth], place);
        (old != 0).then_some(old)
    }

    /// Forgets a message; returns the place it had.
    pub fn remove(&mut self, seq: u64) -> Option<u64> {
        let nth = seq.checked_sub(self.base)? as usize;
        let place = std::mem::take(self.places.get_mut(nth)?);
        while self.places.front() == Some(&0) {
            self.places.pop_front();
            self.base += 1;
        }
        (place != 0).then_some(place)
    }

    /// Where a message is.
    pub fn get(&self, seq: u64) -> Option<u64> {
        let nth = seq.checked_sub(self.base)? as usize;
        self.places.get(nth).copied().filter(|&place| place != 0)
    }

    /// Unfinished messages in order, from a sequence on.
    pub fn iter(&self, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let skip = (from.saturating_sub(self.base) as usize).min(self.places.len());
        let rest = self.places.range(skip..).enumerate();
        rest.filter(|(_, place)| **place != 0)
            .map(move |(nth, place)| (self.base + (skip + nth) as u64, *place))
    }

    /// Forgets everything before a sequence.
    pub fn cut(&mut self, before: u64) {
        while self.base < before && self.places.pop_front().is_some() {
            self.base += 1;
        }
    }

    /// Appends the queue as bytes.
    pub fn encode(&self, session: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&session.to_le_bytes());
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&(self.places.len() as u32).to_le_bytes());
        for place in &self.places {
            out.extend_from_slice(&place.to_le_bytes());
        }
    }

    /// Takes a queue from the front of the bytes.
    pub fn decode(bytes: &mut &[u8]) -> Outcome<(u32, Self)> {
        let head = bytes.split_off(..16).ok_or("short checkpoint")?;
        let session = u32::from_le_bytes(head[..4].try_into()?);
        let base = u64::from_le_bytes(head[4..12].try_into()?);
        let count = u32::from_le_bytes(head[12..].try_into()?) as usize;
        let places = bytes.split_off(..count * 8).ok_or("short checkpoint")?;
        let places = places.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        Ok((session, Self { base, places: places.collect() }))
    }
}

/// Body of a record about a message: session, sequence, then its payload if it has one.
pub fn body(session: u32, seq: u64) -> [u8; 12] {
    let mut body = [0; 12];
    body[..4].copy_from_slice(&session.to_le_bytes());
    body[4..].copy_from_slice(&seq.to_le_bytes());
    body
}

/// The reverse of `body`.
pub fn parse(body: &[u8]) -> Option<(u32, u64, &[u8])> {
    let (session, rest) = body.split_first_chunk::<4>()?;
    let (seq, payload) = rest.split_first_chunk::<8>()?;
    Some((u32::from_le_bytes(*session), u64::from_le_bytes(*seq), payload))
}
