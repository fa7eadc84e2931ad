//! Promises that the broker is known not to keep yet. They are looked at and told, but fail no
//! test; each line goes with the change that mends it.

/// Rules of `check`.
pub(crate) const RULES: &[&str] = &["a message comes again without DUP", "DUP is missing"];
