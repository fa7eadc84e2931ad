//! A link between two processes over a transport that may lose, double, delay and reorder whatever
//! it carries.
//!
//! One [`Link`] is one end. It is a state machine without I/O: the driver hands in the frames that
//! have come and the time, and takes out frames to be sent and [`Event`]s. What one end sends, the
//! other one takes once and in order. Payloads are numbered and sent again until the other end has
//! acknowledged them, which it does, cumulatively, when its program has *kept* them.
//!
//! Each end is an *incarnation* with an [`Epoch`], which grows from one to the next. A link is
//! always between two incarnations. When one of them is gone, because the other process has
//! restarted, or has said so, or because the driver says so, that is its end: whatever was not
//! acknowledged by then is reported as not delivered, and nothing comes from it any more. With a
//! newer incarnation everything begins anew.
//!
//! This crate must never name a clock, a random source or a socket, and must never look into a
//! payload. It knows none of our crates.

mod frame;
mod link;
mod receiving;
mod sending;

pub use frame::{Epoch, FrameError};
pub use link::{Event, Link, Refused, Settings};
