//! Headers that an administrator adds to requests. Their values may be secrets and must never be
//! shown.

use std::fmt;

use ureq::http::{HeaderName, HeaderValue, header};

use super::error::HttpSetupError;

/// Headers of a request.
#[derive(Clone, Default)]
pub struct HttpHeaders(Vec<(HeaderName, HeaderValue)>);

impl HttpHeaders {
    /// Adds a header, or replaces the one of the same name.
    ///
    /// # Errors
    ///
    /// The name or the value is not allowed, or the client sets the header itself.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), HttpSetupError> {
        let error = |detail| HttpSetupError::new(format!("header {name:?}"), detail);
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(error("a name has letters, digits and `-`, and no colon"));
        };
        let own = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let others = [header::CONNECTION, header::EXPECT, header::UPGRADE, header::TRAILER];
        if own.contains(&parsed) || others.contains(&parsed) {
            return Err(error("leave it out: the client sets it itself"));
        }
        let (true, Ok(mut value)) = (value.is_ascii(), HeaderValue::from_str(value)) else {
            return Err(error("a value is one line of ASCII characters"));
        };
        value.set_sensitive(true);
        self.0.retain(|(other, _)| *other != parsed);
        self.0.push((parsed, value));
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// Shows no value.
impl fmt::Debug for HttpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
