//! The embedded store: what the broker has acknowledged is on the disk.
//!
//! It keeps Sessions, subscriptions, queued and retained messages in a journal of segment files,
//! commits in groups, and finds everything again after a `kill -9` or a power cut. It decides
//! nothing about MQTT, and it never says that something is durable before the device has said so.

pub mod disk;
mod error;
#[allow(dead_code)]
mod index;
mod journal;
mod location;
mod quarantine;
#[allow(dead_code)]
mod queue;
#[allow(dead_code)]
mod record;
mod report;

pub use disk::{Disk, DiskFile};
pub use error::{OpenError, StoreError};
pub use location::Location;
pub use report::{Damage, DamageKind, Report};
