//! What is kept of a password so that a Client can prove that it knows it.
//!
//! Who has it cannot log in with it, but can guess passwords, and pass for the broker.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64ct::{Base64, Encoding as _};

use super::message::Digest;
use super::preparing::prepare;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub(crate) iterations: NonZeroU32,
    pub(crate) salt: Box<[u8]>,
    pub(crate) stored_key: Digest,
    pub(crate) server_key: Digest,
}

/// Why there is no [`ScramVerifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// The password is empty, or has characters that SASLprep forbids.
    Password,
    /// There are too few iterations, or too many.
    Iterations,
    /// The salt is too short, or too long.
    Salt,
    /// It is not written as [`ScramVerifier`] is.
    Format,
}

impl ScramVerifier {
    /// The name of the mechanism, and of the Authentication Method.
    pub const MECHANISM: &str = "SCRAM-SHA-256";

    /// The least iterations (RFC 7677 section 4).
    pub const ITERATIONS_MIN: u32 = 4096;

    /// The most iterations: Clients have to carry them out at each login.
    pub const ITERATIONS_MAX: u32 = 10_000_000;

    /// The bytes of a salt that is made up. All salts should have as many: others tell that there
    /// is such a user.
    pub const SALT_BYTES: usize = 16;

    const SALT_BYTES_ALLOWED: std::ops::RangeInclusive<usize> = 8..=64;

    /// Derives the verifier of a password. Takes as long as the iterations take.
    ///
    /// # Errors
    ///
    /// The password, the salt or the number of iterations cannot be used.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Result<Self, ScramError> {
        check(salt, iterations)?;
        let password = prepare(password).ok_or(ScramError::Password)?;
        let mut salted = Digest::default();
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut salted);
        let client_key = hmac(&salted, b"Client Key");
        let server_key = hmac(&salted, b"Server Key");
        Ok(Self { iterations, salt: salt.into(), stored_key: sha256(&client_key), server_key })
    }

    /// Returns whether a proof shows that the Client knows the password.
    pub(crate) fn accepts(&self, proof: &Digest, auth_message: &[u8]) -> bool {
        let signature = hmac(&self.stored_key, auth_message);
        let mut client_key = *proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, signed)| *byte ^= signed);
        verify_slices_are_equal(&sha256(&client_key), &self.stored_key).is_ok()
    }

    /// Returns what shows the Client that the broker knows the password, too.
    pub(crate) fn server_signature(&self, auth_message: &[u8]) -> Digest {
        hmac(&self.server_key, auth_message)
    }
}

fn check(salt: &[u8], iterations: NonZeroU32) -> Result<(), ScramError> {
    let allowed = ScramVerifier::ITERATIONS_MIN..=ScramVerifier::ITERATIONS_MAX;
    if !allowed.contains(&iterations.get()) {
        return Err(ScramError::Iterations);
    }
    match ScramVerifier::SALT_BYTES_ALLOWED.contains(&salt.len()) {
        true => Ok(()),
        false => Err(ScramError::Salt),
    }
}

/// HMAC with SHA-256.
pub(crate) fn hmac(key: &Digest, message: &[u8]) -> Digest {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    digest_of(tag.as_ref())
}

fn sha256(message: &[u8]) -> Digest {
    digest_of(digest::digest(&digest::SHA256, message).as_ref())
}

fn digest_of(bytes: &[u8]) -> Digest {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

/// As it stands in a file: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, the salt and the
/// keys in base64. That is for files only, never for a log.
impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| Base64::encode_string(bytes);
        let (salt, stored) = (encode(&self.salt), encode(&self.stored_key));
        let (mechanism, server) = (Self::MECHANISM, encode(&self.server_key));
        write!(f, "{mechanism}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// As [`ScramVerifier`] is displayed.
impl FromStr for ScramVerifier {
    type Err = ScramError;

    fn from_str(text: &str) -> Result<Self, ScramError> {
        let parts: Vec<&str> = text.split('$').collect();
        let [Self::MECHANISM, salting, keys] = parts[..] else {
            return Err(ScramError::Format);
        };
        let (iterations, salt) = salting.split_once(':').ok_or(ScramError::Format)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(ScramError::Format)?;
        if !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ScramError::Format);
        }
        let iterations = iterations.parse().map_err(|_| ScramError::Iterations)?;
        let decode = |text: &str| Base64::decode_vec(text).map_err(|_| ScramError::Format);
        let digest = |text: &str| decode(text)?.try_into().map_err(|_| ScramError::Format);
        let salt = decode(salt)?.into_boxed_slice();
        check(&salt, iterations)?;
        let (stored_key, server_key) = (digest(stored_key)?, digest(server_key)?);
        Ok(Self { iterations, salt, stored_key, server_key })
    }
}

/// Shows no key.
impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "the password is empty, or has characters that SASLprep forbids",
            Self::Iterations => "a verifier has 4096 to 10000000 iterations",
            Self::Salt => "a salt has 8 to 64 bytes",
            Self::Format => {
                "a verifier is written as SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, \
                 the salt and the keys in base64"
            }
        })
    }
}

impl std::error::Error for ScramError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn derive(password: &str) -> ScramVerifier {
        ScramVerifier::derive(password, &[7; 16], NonZeroU32::new(4096).unwrap()).unwrap()
    }

    #[test]
    fn a_verifier_is_written_as_it_is_read() {
        let text = derive("canary").to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:BwcHBwcHBwcHBwcHBwcHBw==$"), "{text}");
        assert!(text.parse::<ScramVerifier>() == Ok(derive("canary")));
        assert!(derive("canary") != derive("Canary"));
        let shown = format!("{:?}", derive("canary"));
        assert_eq!(shown, "ScramVerifier { iterations: 4096, .. }");
    }

    #[test]
    fn passwords_that_look_alike_are_alike() {
        assert!(derive("IX") == derive("\u{2168}"));
        assert!(derive("IX") == derive("I\u{AD}X"));
        let salt = [7; 16];
        let iterations = NonZeroU32::new(4096).unwrap();
        for password in ["", "\u{7}", "\u{AD}"] {
            let error = ScramVerifier::derive(password, &salt, iterations).unwrap_err();
            assert_eq!(error, ScramError::Password);
        }
    }

    /// S15: a line that is malformed lets nobody in.
    #[test]
    fn s15_a_verifier_that_is_malformed_is_none() {
        let good = derive("p").to_string();
        let keys = good.rsplit_once('$').unwrap().1;
        let with = |salting: &str| format!("SCRAM-SHA-256${salting}${keys}");
        let salt = "BwcHBwcHBwcHBwcHBwcHBw==";
        for (text, error) in [
            (String::new(), ScramError::Format),
            (good.replace("256", "1"), ScramError::Format),
            (good.clone() + "$", ScramError::Format),
            (good[..good.len() - 1].into(), ScramError::Format),
            (good.replace('$', ":"), ScramError::Format),
            (with(""), ScramError::Format),
            (with(&format!("4096:{}", &salt[1..])), ScramError::Format),
            (with(&format!("+4096:{salt}")), ScramError::Format),
            (with(&format!("0:{salt}")), ScramError::Iterations),
            (with(&format!(":{salt}")), ScramError::Iterations),
            (with(&format!("4095:{salt}")), ScramError::Iterations),
            (with(&format!("10000001:{salt}")), ScramError::Iterations),
            (with(&format!("99999999999:{salt}")), ScramError::Iterations),
            (with("4096:"), ScramError::Salt),
            (with("4096:AAAA"), ScramError::Salt),
            (format!("SCRAM-SHA-256$4096:{salt}$:"), ScramError::Format),
        ] {
            assert_eq!(text.parse::<ScramVerifier>().unwrap_err(), error, "{text}");
        }
        assert!(with(&format!("4096:{salt}")).parse::<ScramVerifier>().is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, salting: String, keys: String) {
            let _ = text.parse::<ScramVerifier>();
            let _ = format!("SCRAM-SHA-256${salting}${keys}").parse::<ScramVerifier>();
        }
    }
}
