//! The tests of the normative statements, by specification and chapter, and of the tables.
//!
//! What both versions demand alike is a scenario; a test names the statements that it proves.

mod scenario;
mod table;
mod v311_choices;
mod v311_connect;
mod v311_format;
mod v311_operation;
mod v311_publish;
mod v311_subscribe;
mod v311_will;
