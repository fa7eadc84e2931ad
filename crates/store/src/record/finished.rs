//! 25: a message has come to its end. The body is that of 24.

/// Never to be changed: files have it.
pub(crate) const TAG: u8 = 25;

pub(crate) use super::taken::{decode, encode};
