//! What is measured: durations, and what processes take of the machine.

pub(super) mod histogram;
pub(super) mod process;
