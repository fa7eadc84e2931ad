//! The hashes of `mosquitto_passwd`: `$7$ITERATIONS$SALT$HASH` is PBKDF2 with HMAC-SHA512, and
//! `$6$SALT$HASH` is SHA-512 of the password and the salt. Only the first is ever written.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use aws_lc_rs::{digest, pbkdf2};
use base64ct::{Base64, Encoding};

use super::fields::Fields;
use super::password_hash::{HashError, PasswordHash, Scheme};

/// mosquitto 2.0 accepts no other length, later ones also 64.
pub(super) const SALT_BYTES: usize = 12;
pub(super) const DIGEST_BYTES: usize = 64;
const READ_SALT_BYTES: RangeInclusive<usize> = 8..=64;

/// The number of rounds of PBKDF2. The default is the one that OWASP recommends for SHA-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Iterations(NonZeroU32);

impl Iterations {
    /// The most iterations: about a second or two.
    pub const MAX: u32 = 2_000_000;

    /// `None` for none, and for more than [`Self::MAX`].
    pub fn new(iterations: u32) -> Option<Self> {
        NonZeroU32::new(iterations).filter(|it| it.get() <= Self::MAX).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for Iterations {
    fn default() -> Self {
        Self(NonZeroU32::new(210_000).expect("it is not zero"))
    }
}

pub(super) fn pbkdf2(iterations: Iterations, password: &[u8], salt: &[u8], digest: &mut [u8]) {
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations.0, salt, password, digest);
}

pub(super) fn salted(password: &[u8], salt: &[u8], digest: &mut [u8]) {
    let mut context = digest::Context::new(&digest::SHA512);
    context.update(password);
    context.update(salt);
    digest.copy_from_slice(context.finish().as_ref());
}

/// Reads the fields behind `$7`.
pub(super) fn parse_pbkdf2(mut fields: Fields<'_>) -> Result<PasswordHash, HashError> {
    let field = fields.next("the iterations of `$7$ITERATIONS$SALT$HASH`")?;
    let number = field.number("", "iterations", 1..=Iterations::MAX)?;
    let iterations = Iterations::new(number).ok_or_else(|| field.error("too many iterations"))?;
    finish(Scheme::Pbkdf2Sha512(iterations), fields, "`$7$ITERATIONS$SALT$HASH`")
}

/// Reads the fields behind `$6`.
pub(super) fn parse_salted(fields: Fields<'_>) -> Result<PasswordHash, HashError> {
    finish(Scheme::Sha512, fields, "`$6$SALT$HASH`")
}

fn finish(scheme: Scheme, mut fields: Fields<'_>, shape: &str) -> Result<PasswordHash, HashError> {
    let salt = fields.next(&format!("the salt of {shape}"))?.base64("the salt", READ_SALT_BYTES)?;
    let digest = fields.next(&format!("the hash of {shape}"))?;
    let digest = digest.base64("the hash", DIGEST_BYTES..=DIGEST_BYTES)?;
    fields.end()?;
    Ok(PasswordHash::new(scheme, salt, digest))
}

/// Writes the fields behind `$6` or `$7`.
pub(super) fn write(
    iterations: Option<Iterations>,
    salt: &[u8],
    digest: &[u8],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    if let Some(iterations) = iterations {
        write!(f, "${}", iterations.get())?;
    }
    let [salt, digest] = [salt, digest].map(Base64::encode_string);
    write!(f, "${salt}${digest}")
}
