//! For tests, here and in other crates: a disk in memory that fails in every way that a disk may.
//! Never part of the broker.

mod faulty_disk;
mod random;

pub use faulty_disk::FaultyDisk;
pub use random::Random;
