//! The embedded store: what the broker has acknowledged is on the disk.
//!
//! It keeps Sessions, subscriptions, queued and retained messages in a journal of segment files,
//! commits in groups, and finds everything again after a `kill -9` or a power cut. It decides
//! nothing about MQTT, and it never says that something is durable before the device has said so.

mod apply;
mod block_cache;
mod checkpoint;
mod clock;
mod compaction;
pub mod disk;
mod engine;
mod error;
mod fetching;
mod index;
mod journal;
mod location;
mod pending;
mod quarantine;
mod queue;
mod real_disk;
mod record;
mod record_reader;
mod recovery;
mod replay;
mod report;
mod reserve;
mod segment;
mod segment_files;
mod side_by_side;
mod survey;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "tools"))]
pub mod tools;
mod writer;

pub use clock::{Reading, Uptime};
pub use disk::{Disk, DiskFile};
pub use engine::{Engine, Options, StoreUsage};
pub use error::{OpenError, StoreError};
pub use location::Location;
pub use real_disk::RealDisk;
pub use recovery::Opened;
pub use report::{Damage, DamageKind, Report};
