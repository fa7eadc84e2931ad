//! What waits for the store, and what a store may be given.
//!
//! Nothing that promises durability leaves before the store has confirmed it.

pub(crate) mod rounds;
pub mod storable;
