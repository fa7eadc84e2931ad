//! A turn of a worker: the time at which it happens, and everything that comes out of it.

use crate::base::time::Timestamp;
use crate::boundary::effects::Effects;

/// The time of a turn and its effects. The driver sets the time when a turn begins, hands the turn
/// to every entry point that can have effects, and carries them out at its end.
///
/// The time is the same for everything within a turn: whatever a worker handles in one turn, it
/// handles at one moment.
#[derive(Debug)]
pub struct Turn {
    /// The time of this turn.
    pub now: Timestamp,
    /// What the driver has to do, in the order in which it was asked for.
    pub fx: Effects,
}

impl Turn {
    /// Returns a turn at this time, without effects, for a worker of a node with `workers` workers.
    pub fn new(now: Timestamp, workers: usize) -> Self {
        Self { now, fx: Effects::new(workers) }
    }
}
