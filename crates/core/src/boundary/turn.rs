//! A turn of a worker: the time at which it happens, and everything that comes out of it.

use crate::base::time::Timestamp;
use crate::boundary::effects::Effects;

/// The time of a turn and its effects. The driver hands the turn to every entry point that can have
/// effects, and carries them out at its end.
///
/// The driver sets the time when a turn begins, and again whenever it has taken something in: a
/// turn can take long, and what came during it must not count as older than it is. While one call
/// of the core lasts, the time stands still.
#[derive(Debug)]
pub struct Turn {
    /// The time at which what is handed in now has come. It never goes back.
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
