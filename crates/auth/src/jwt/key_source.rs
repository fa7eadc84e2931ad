//! Where the keys of an issuer come from.

use std::sync::Arc;

use super::key_set::KeySet;

/// Where the keys of an issuer come from.
pub trait KeySource: Send + Sync {
    /// Returns the keys that there are now. `key_id`: the key that a token names, so that a source
    /// can look whether the issuer has a new one. May take its time.
    ///
    /// # Errors
    ///
    /// A text for the log: there are no keys now, and nobody can say whether a token is good.
    fn keys(&self, key_id: Option<&str>) -> Result<Arc<KeySet>, String>;

    /// Does what is due, so that no login has to wait for it. To be called once before the first
    /// login, and every few seconds. May take its time.
    fn maintain(&self) {}

    /// Says what keeps the source from having the newest keys.
    fn problem(&self) -> Option<String> {
        None
    }
}

/// Keys that never change.
impl KeySource for Arc<KeySet> {
    fn keys(&self, _: Option<&str>) -> Result<Arc<KeySet>, String> {
        Ok(Self::clone(self))
    }
}
