//! The half of an end that sends: payloads from when they are given to it until the other end has
//! kept them. What the other end has not taken is sent again, less and less often while nothing
//! comes of it. What it has taken is not sent again, but asked about until it is kept.

use std::collections::VecDeque;

use crate::link::Settings;

/// The payloads on their way to one incarnation of the other end.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// What was not kept, oldest first.
    unkept: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The other end has kept everything up to this number: the one before the first of `unkept`.
    kept: u64,
    /// The other end has taken everything up to this number.
    taken: u64,
    /// Everything up to this number was sent at least once.
    sent: u64,
    /// What is to be sent again: from the first number up to the second, which is left out.
    again: (u64, u64),
    /// When to send again, or to ask. Set while something is not kept that was sent.
    due_ms: Option<u64>,
    /// How long to wait then.
    pause_ms: u64,
    /// Whether the other end is to be asked how far it has come.
    asks: bool,
}

impl Sending {
    /// The most payloads that are sent again at a time.
    const AGAIN_MAX: u64 = 16;

    /// Whether there is room for one more payload of so many bytes. One that is larger than the
    /// window has it to itself.
    pub(crate) fn has_room(&self, bytes: usize, settings: &Settings) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= settings.window_bytes;
        self.unkept.len() < settings.window_payloads && (fits || self.unkept.is_empty())
    }

    /// Adds a payload and returns its number.
    pub(crate) fn push(&mut self, payload: Vec<u8>) -> u64 {
        self.bytes += payload.len();
        self.unkept.push_back(payload);
        self.last()
    }

    /// How many payloads were not kept, and their bytes.
    pub(crate) fn unkept(&self) -> (usize, usize) {
        (self.unkept.len(), self.bytes)
    }

    /// The last number that was given out.
    fn last(&self) -> u64 {
        self.kept + self.unkept.len() as u64
    }

    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Returns the next payload to be sent now, with its number.
    pub(crate) fn next(&mut self, now_ms: u64, settings: &Settings) -> Option<(u64, &[u8])> {
        self.look_at_time(now_ms, settings);
        let number = if self.again.0 < self.again.1 {
            self.again.0 += 1;
            self.again.0 - 1
        } else if self.sent < self.last() {
            self.sent += 1;
            self.sent
        } else {
            return None;
        };
        if self.due_ms.is_none() {
            self.wait(now_ms, settings.resend_ms_min);
        }
        let index = usize::try_from(number - self.kept - 1).ok()?;
        Some((number, self.unkept.get(index)?))
    }

    /// Whether the other end is to be asked now.
    pub(crate) fn take_question(&mut self) -> bool {
        std::mem::take(&mut self.asks)
    }

    fn look_at_time(&mut self, now_ms: u64, settings: &Settings) {
        if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        let end = (self.taken + Self::AGAIN_MAX).min(self.sent);
        self.again = (self.taken + 1, end + 1);
        self.asks = self.taken == self.sent;
        let pause_ms = self.pause_ms.saturating_mul(2).min(settings.resend_ms_max);
        self.wait(now_ms, pause_ms);
    }

    fn wait(&mut self, now_ms: u64, pause_ms: u64) {
        self.pause_ms = pause_ms.max(1);
        self.due_ms = Some(now_ms.saturating_add(self.pause_ms));
    }

    /// Notes how far the other end has come. Returns the number up to which it has kept everything,
    /// if that is news. What it cannot know is ignored.
    pub(crate) fn note_progress(
        &mut self,
        taken: u64,
        kept: u64,
        now_ms: u64,
        settings: &Settings,
    ) -> Option<u64> {
        if taken > self.sent || (taken, kept) == (self.taken, self.kept) {
            return None;
        }
        // A frame that was late says less than one before it.
        let is_kept = kept > self.kept;
        if taken <= self.taken && !is_kept {
            return None;
        }
        self.taken = self.taken.max(taken);
        self.again.0 = self.again.0.max(self.taken + 1);
        while self.kept < kept {
            self.bytes -= self.unkept.pop_front().map_or(0, |payload| payload.len());
            self.kept += 1;
        }
        self.asks = false;
        self.due_ms = None;
        if self.kept < self.sent {
            self.wait(now_ms, settings.resend_ms_min);
        }
        is_kept.then_some(kept)
    }

    /// Ends the sending. Returns what was not kept, with its numbers.
    pub(crate) fn end(self) -> Vec<(u64, Vec<u8>)> {
        (self.kept + 1..).zip(self.unkept).collect()
    }
}
