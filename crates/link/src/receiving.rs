//! The half of an end that receives: payloads are taken once and in order, and count as held until
//! the program has kept them. What comes early waits for what is missing before it.

use std::collections::{BTreeMap, VecDeque};

use crate::link::Settings;

/// The payloads that come from one incarnation of the other end.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    /// Everything up to this number was taken.
    taken: u64,
    /// Everything up to this number was kept.
    kept: u64,
    /// What has come early.
    early: BTreeMap<u64, Vec<u8>>,
    /// The sizes of what was taken and not kept.
    unkept: VecDeque<usize>,
    /// Bytes of both.
    bytes: usize,
}

impl Receiving {
    /// Up to which number everything was taken, and kept.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.taken, self.kept)
    }

    /// How many payloads wait for those before them, or to be kept, and their bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.early.len() + self.unkept.len(), self.bytes)
    }

    /// Handles a payload. Returns those that are taken now, with their numbers. One for which there
    /// is no room comes again.
    pub(crate) fn handle(
        &mut self,
        number: u64,
        payload: &[u8],
        settings: &Settings,
    ) -> Vec<(u64, Vec<u8>)> {
        let end = self.kept.saturating_add(settings.window_payloads as u64);
        if number <= self.taken || number > end || self.early.contains_key(&number) {
            return Vec::new();
        }
        if number > self.taken + 1 {
            if self.fits(payload.len(), settings) {
                self.bytes += payload.len();
                self.early.insert(number, payload.to_vec());
            }
            return Vec::new();
        }
        // Whatever has come early makes room for the one that is due.
        while !self.fits(payload.len(), settings)
            && let Some((_, last)) = self.early.pop_last()
        {
            self.bytes -= last.len();
        }
        if !self.fits(payload.len(), settings) && !self.unkept.is_empty() {
            return Vec::new();
        }
        self.bytes += payload.len();
        let mut next = Some(payload.to_vec());
        let mut all = Vec::new();
        while let Some(payload) = next {
            self.taken += 1;
            self.unkept.push_back(payload.len());
            all.push((self.taken, payload));
            next = self.early.remove(&(self.taken + 1));
        }
        all
    }

    fn fits(&self, bytes: usize, settings: &Settings) -> bool {
        self.bytes.saturating_add(bytes) <= settings.window_bytes
    }

    /// Notes that the program has kept everything up to this number. Returns whether that is news.
    pub(crate) fn keep(&mut self, number: u64) -> bool {
        let before = self.kept;
        while self.kept < number.min(self.taken) {
            self.bytes -= self.unkept.pop_front().unwrap_or(0);
            self.kept += 1;
        }
        self.kept > before
    }
}
