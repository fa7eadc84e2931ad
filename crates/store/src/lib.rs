//! The embedded store: what the broker has acknowledged is on the disk.
//!
//! It keeps Sessions, subscriptions, queued and retained messages in a journal of segment files,
//! commits in groups, and finds everything again after a `kill -9` or a power cut. It decides
//! nothing about MQTT, and it never says that something is durable before the device has said so.

mod block_cache;
pub mod disk;
mod error;
mod journal;
mod location;
mod pending;
mod quarantine;
mod real_disk;
mod replay;
mod report;
mod segment;
mod segment_files;
mod survey;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use disk::{Disk, DiskFile};
pub use error::{OpenError, StoreError};
pub use location::Location;
pub use real_disk::RealDisk;
pub use report::{Damage, DamageKind, Report};
