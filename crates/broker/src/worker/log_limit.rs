//! Limits how many log lines strangers can cause.
//!
//! A stranger who can open connections can have each of them end in a way that is worth a line.
//! More than a few lines a second are only counted, so that they neither fill a disk nor hold up a
//! worker.

use midge_core::{Timestamp, counted};

/// Counts the lines of one worker about peers that are not connected (yet).
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// The second that is counted; `written` is the number of lines in it.
    second: u64,
    written: u32,
    left_out: u64,
}

impl LogLimit {
    /// The most lines in a second.
    const LINES_MAX: u32 = 10;

    /// Returns whether one more line may be written. The first line of a new second says how many
    /// were left out.
    pub(crate) fn allows(&mut self, now: Timestamp) -> bool {
        let second = now.as_millis() / 1000;
        if second != self.second {
            let left_out = std::mem::take(&mut self.left_out);
            if left_out > 0 {
                let lines = counted(left_out, "line");
                log::warn!("left out: {lines} about connections that failed");
            }
            (self.second, self.written) = (second, 0);
        }
        let is_allowed = self.written < Self::LINES_MAX;
        match is_allowed {
            true => self.written += 1,
            false => self.left_out += 1,
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use midge_core::Timestamp;

    use super::LogLimit;

    #[test]
    fn a_second_has_so_many_lines_and_the_rest_is_counted() {
        let mut limit = LogLimit::default();
        let at = |millis: u64| Timestamp::from_millis(1_000_000 + millis);
        let written = (0..500).filter(|_| limit.allows(at(10))).count();
        assert_eq!((written, limit.left_out), (10, 490));
        assert!(limit.allows(at(1_001)));
        assert_eq!((limit.written, limit.left_out), (1, 0));
    }
}
