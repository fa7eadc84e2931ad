//! The clocks of the simulated machine: somebody sets the time of day, and the uptime starts again
//! with every power cut.

use midge_core::Timestamp;
use midge_store::testing::Random;
use midge_store::{Engine, Reading, Uptime};

pub(crate) struct Clocks {
    /// How far the time of day is ahead of the simulation's own time.
    ahead_ms: u64,
    boot: u128,
    booted_at: Timestamp,
    beat_at: Timestamp,
}

impl Clocks {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { ahead_ms: 0, boot: 1, booted_at: now, beat_at: now }
    }

    pub(crate) fn reading(&self, now: Timestamp) -> Reading {
        let uptime = Uptime { boot: self.boot, millis: now - self.booted_at };
        Reading { wall_ms: now.as_millis() + self.ahead_ms, uptime: Some(uptime) }
    }

    /// Restarts the machine.
    pub(crate) fn boot(&mut self, now: Timestamp) {
        self.boot += 1;
        self.booted_at = now;
    }

    /// Sets the clock to a time up to weeks ahead.
    pub(crate) fn set(&mut self, random: &mut Random) {
        self.ahead_ms = random.below(4_000_000_000) as u64;
    }

    /// Does what the store's thread does before it writes.
    pub(crate) fn mark(&mut self, engine: &mut Engine, now: Timestamp) {
        let is_beat = now - self.beat_at >= Engine::BEAT_MS;
        if is_beat {
            self.beat_at = now;
        }
        engine.mark(now, self.reading(now), is_beat);
    }
}
