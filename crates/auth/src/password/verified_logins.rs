//! The logins that were right before, so that a Client that comes back costs microseconds.
//!
//! For each user it keeps one digest, under a key that never leaves the process: of the name, the
//! password, and the hash that it was verified with. A hash that changes makes the digest
//! worthless. It must never keep a password, or a login that was wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::password_hash::PasswordHash;

/// Digests of right logins. Those of the users who have not come for longest go when it is full.
pub(super) struct VerifiedLogins {
    key: hmac::Key,
    logins: Mutex<Generations>,
}

/// The users who came since the last turn, and those who came before. When the young ones are half
/// of the maximum, the old ones go.
#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Digest>,
    old: HashMap<Box<str>, Digest>,
}

type Digest = [u8; 32];

impl VerifiedLogins {
    /// The most users whose logins are kept.
    pub(super) const USERS_MAX: usize = 100_000;

    /// `key`: from a cryptographic random source.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), logins: Mutex::default() }
    }

    /// Returns whether this was right before, by this hash.
    pub(super) fn knows(&self, user: &str, password: &[u8], hash: &PasswordHash) -> bool {
        let digest = self.digest(user, password, hash);
        let mut logins = self.logins();
        let Some(known) = logins.young.get(user).or_else(|| logins.old.get(user)) else {
            return false;
        };
        if verify_slices_are_equal(known, &digest).is_err() {
            return false;
        }
        if let Some((user, digest)) = logins.old.remove_entry(user) {
            logins.insert(user, digest);
        }
        true
    }

    /// Notes that this was right.
    pub(super) fn remember(&self, user: &str, password: &[u8], hash: &PasswordHash) {
        let digest = self.digest(user, password, hash);
        let mut logins = self.logins();
        logins.old.remove(user);
        logins.insert(user.into(), digest);
    }

    /// Drops a user's digest.
    pub(super) fn forget(&self, user: &str) {
        let mut logins = self.logins();
        logins.young.remove(user);
        logins.old.remove(user);
    }

    fn digest(&self, user: &str, password: &[u8], hash: &PasswordHash) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user.as_bytes(), password, hash.to_string().as_bytes()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn logins(&self) -> MutexGuard<'_, Generations> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, user: Box<str>, digest: Digest) {
        if self.young.len() >= VerifiedLogins::USERS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user, digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::password_hash::tests::quick;

    #[test]
    fn only_what_was_right_by_the_same_hash_is_known() {
        let (logins, hash) = (VerifiedLogins::new([1; 32]), quick(b"x", 1));
        assert!(!logins.knows("alice", b"x", &hash));
        logins.remember("alice", b"x", &hash);
        assert!(logins.knows("alice", b"x", &hash));
        assert!(!logins.knows("alice", b"y", &hash));
        assert!(!logins.knows("bob", b"x", &hash));
        assert!(!logins.knows("alice", b"x", &quick(b"x", 2)));
        logins.forget("alice");
        assert!(!logins.knows("alice", b"x", &hash));
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let (logins, hash) = (VerifiedLogins::new([1; 32]), quick(b"x", 1));
        let digest = |user, password: &[u8]| logins.digest(user, password, &hash);
        assert_ne!(digest("ab", b"c"), digest("a", b"bc"));
        assert_ne!(digest("a", b"b"), VerifiedLogins::new([2; 32]).digest("a", b"b", &hash));
    }

    #[test]
    fn the_users_who_came_last_are_kept() {
        let (logins, hash) = (VerifiedLogins::new([1; 32]), quick(b"x", 1));
        logins.remember("often", b"x", &hash);
        logins.remember("once", b"x", &hash);
        for number in 0..2 * VerifiedLogins::USERS_MAX {
            logins.logins().insert(number.to_string().into(), Digest::default());
            if number % 1000 == 0 {
                assert!(logins.knows("often", b"x", &hash));
            }
        }
        assert!(logins.knows("often", b"x", &hash));
        assert!(!logins.knows("once", b"x", &hash));
        let logins = logins.logins();
        assert!(logins.young.len() + logins.old.len() <= VerifiedLogins::USERS_MAX);
    }
}
