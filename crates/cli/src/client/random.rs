//! Names that nobody else has chosen: for client identifiers, response topics, correlation data.

use std::hash::{BuildHasher, RandomState};

/// Returns sixteen hexadecimal digits, different in each call and process. They are not a secret.
pub(crate) fn token() -> String {
    // Every RandomState has keys of its own, seeded by the operating system.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Returns a number from 0 up to 1, different in each call.
pub(crate) fn fraction() -> f64 {
    const BITS: u32 = 32;
    let number = RandomState::new().hash_one(std::process::id()) >> (u64::BITS - BITS);
    number as f64 / 2_f64.powi(BITS as i32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn differs_each_time() {
        let (first, second) = (super::token(), super::token());
        assert_eq!(first.len(), 16);
        assert_ne!(first, second);
        let fractions = [super::fraction(), super::fraction()];
        assert!(fractions.iter().all(|fraction| (0.0..1.0).contains(fraction)), "{fractions:?}");
        assert_ne!(fractions[0], fractions[1]);
    }
}
