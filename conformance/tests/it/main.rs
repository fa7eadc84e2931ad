//! The tests of the normative statements, by specification and chapter, and of the tables.
//!
//! What both versions demand alike is a scenario; a test names the statements that it proves.

mod scenario;
mod table;
