//! 27: the PUBREL has come. The body is that of 26.

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 27;

pub(crate) use super::await_release::{decode, encode};
