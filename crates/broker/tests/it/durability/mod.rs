//! What an acknowledgement is worth: brokers on a faulty disk are killed, lose power, fill up and
//! fail. Afterwards the tests look for everything that was acknowledged. The tables in
//! `docs/durability.md` are the result.

mod full;
pub(crate) mod gate;
mod outcome;
mod publisher;
mod run;
mod scene;
mod subscriber;
mod table;
