//! Secrets that a machine has chosen, of 160 bits: nobody can guess them, however fast the hash is.
//!
//! So their hash, `$midge-secret$SALT$HASH`, is one HMAC-SHA256 of the secret under the salt. It
//! must never be used for a password that a person has chosen: only [`GeneratedSecret::hash`] makes
//! one.

use std::fmt;
use std::fmt::Write as _;

use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};

use super::fields::Fields;
use super::password_hash::{HashError, PasswordHash, Scheme};

pub(super) const NAME: &str = "midge-secret";
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// A secret that was made from random bytes: 40 hexadecimal digits.
pub struct GeneratedSecret(String);

impl GeneratedSecret {
    /// Makes a secret from bytes of a cryptographic random source.
    pub fn from_random(random: [u8; 20]) -> Self {
        let mut text = String::with_capacity(2 * random.len());
        for byte in random {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Returns the secret itself, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the fast hash, with a random salt.
    pub fn hash(&self, salt: [u8; SALT_BYTES]) -> PasswordHash {
        let mut digest = [0; DIGEST_BYTES];
        hash(self.0.as_bytes(), &salt, &mut digest);
        PasswordHash::new(Scheme::GeneratedSecret, salt.into(), digest.into())
    }
}

impl fmt::Debug for GeneratedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeneratedSecret(..)")
    }
}

pub(super) fn hash(secret: &[u8], salt: &[u8], digest: &mut [u8]) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    digest.copy_from_slice(hmac::sign(&key, secret).as_ref());
}

/// Reads the fields behind `$midge-secret`.
pub(super) fn parse(mut fields: Fields<'_>) -> Result<PasswordHash, HashError> {
    let salt = fields.next("the salt of `$midge-secret$SALT$HASH`")?;
    let salt = salt.base64("the salt", SALT_BYTES..=SALT_BYTES)?;
    let digest = fields.next("the hash of `$midge-secret$SALT$HASH`")?;
    let digest = digest.base64("the hash", DIGEST_BYTES..=DIGEST_BYTES)?;
    fields.end()?;
    Ok(PasswordHash::new(Scheme::GeneratedSecret, salt, digest))
}

/// Writes the fields behind `$midge-secret`.
pub(super) fn write(salt: &[u8], digest: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [salt, digest] = [salt, digest].map(Base64::encode_string);
    write!(f, "${salt}${digest}")
}
