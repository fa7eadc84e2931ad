//! The one error of this crate: a sentence for the person at the terminal.

use std::fmt;

/// What went wrong, and what to do about it if that is known.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// Makes a failure that says `what` failed and `why`.
    pub fn because(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// A result whose error is a [`Failure`].
pub type Result<T> = std::result::Result<T, Failure>;
