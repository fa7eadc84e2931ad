//! Helpers for tests, here and in other crates: a disk in memory that fails in every way that a
//! disk may, and the means to fuzz a data directory. Never part of the broker.

mod directory;
mod faulty_disk;
pub(crate) mod plain;
mod random;
mod reseal;
pub(crate) mod samples;
mod survival;

pub use directory::{Directory, End, Mode};
pub use faulty_disk::FaultyDisk;
pub use random::Random;
pub use survival::check_survival;
