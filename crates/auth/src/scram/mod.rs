//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a Client and the broker prove to each other that they know
//! the same password, and neither shows it.
//!
//! The Client's first message comes with the CONNECT, [`ScramMember`] answers with a salt, the
//! Client proves itself with the next AUTH, and the broker's proof goes into the CONNACK. What is
//! kept of a password is a [`ScramVerifier`]. This module must never show a password, a verifier or
//! a proof in a text.

mod exchange;
mod message;
mod preparing;
mod random;
mod scram_member;
#[cfg(test)]
mod tests;
mod verifier;

pub use random::{Random, SystemRandom};
pub use scram_member::{ScramConfig, ScramMember, Verifiers};
pub use verifier::{ScramError, ScramVerifier};
