//! Names that nobody else has chosen: for client identifiers, response topics, correlation data.

use std::hash::{BuildHasher, RandomState};

/// Sixteen hexadecimal digits, different in each call and process. Not a secret.
pub(crate) fn token() -> String {
    // Every RandomState has keys of its own, seeded by the operating system.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn differs_each_time() {
        let (first, second) = (super::token(), super::token());
        assert_eq!(first.len(), 16);
        assert_ne!(first, second);
    }
}
