//! 25: a message is finished. The body is that of 24.

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 25;

pub(crate) use super::taken::{decode, encode};
