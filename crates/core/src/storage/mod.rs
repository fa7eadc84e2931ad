//! The core's side of the store: what it has kept at a start, what it answers, and what goes on
//! when it has confirmed something.
//!
//! Nothing here decides what is kept: the rooms that own a thing do.

pub(crate) mod releasing;
pub(crate) mod restoring;
pub mod storable;
pub(crate) mod storing;
pub(crate) mod sweeping;
