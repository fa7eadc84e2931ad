//! What an acknowledgement is worth: brokers on a disk that fails are killed, cut off from power,
//! filled up and failed, and everything that they had acknowledged is looked for afterwards. The
//! tables in `docs/durability.md` are what comes out.

mod full;
pub(crate) mod gate;
mod outcome;
mod publisher;
mod run;
mod scene;
mod subscriber;
mod table;
