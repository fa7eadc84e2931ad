//! From an admitted publication to everybody who gets it.
//!
//! Only what passed the publish gate comes in here, and nothing here decides whether a Client may.

pub(crate) mod put_off;
pub(crate) mod routing;
