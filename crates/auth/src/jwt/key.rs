//! A key that signatures of tokens are checked with.
//!
//! A key knows the algorithms that it is good for, and each of them has its own material: a public
//! key can never serve as the secret of an HMAC, nor a key of one family for another. No key is
//! shown in a text.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding as _};

use super::algorithm::{Algorithm, AlgorithmSet};

/// A key that signatures are checked with.
pub struct Key {
    /// The key's name, which a token's `kid` refers to.
    pub(crate) id: Option<Box<str>>,
    verifiers: Vec<(Algorithm, Verifier)>,
}

enum Verifier {
    Secret(Box<hmac::Key>),
    PublicKey(ParsedPublicKey),
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub(crate) String);

impl Key {
    /// The least bytes of a shared secret: those of the digest of HS256 (RFC 7518 section 3.2).
    pub const SECRET_BYTES_MIN: usize = 32;

    const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

    /// Makes a key of a shared secret, for those of `algorithms` that are made for secrets.
    ///
    /// # Errors
    ///
    /// The secret is too short, or none of the algorithms is for secrets.
    pub fn from_secret(secret: &[u8], algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        if secret.len() < Self::SECRET_BYTES_MIN {
            return Err(KeyError(format!(
                "a shared secret has at least {} bytes, this one has {}: generate a longer one",
                Self::SECRET_BYTES_MIN,
                secret.len()
            )));
        }
        let usable = AlgorithmSet::OF_SECRETS.intersection(algorithms);
        let verifiers = usable.iter().filter_map(|algorithm| {
            let kind = match algorithm {
                Algorithm::Hs256 => hmac::HMAC_SHA256,
                Algorithm::Hs384 => hmac::HMAC_SHA384,
                Algorithm::Hs512 => hmac::HMAC_SHA512,
                _ => return None,
            };
            Some((algorithm, Verifier::Secret(Box::new(hmac::Key::new(kind, secret)))))
        });
        Self::of(verifiers.collect(), AlgorithmSet::OF_SECRETS, algorithms)
    }

    /// Makes a key of a public key in DER (SubjectPublicKeyInfo): RSA, P-256, P-384, P-521 or
    /// Ed25519.
    ///
    /// # Errors
    ///
    /// It is no such key, an RSA key has less than 2048 or more than 8192 bits, or none of the
    /// algorithms is for it.
    pub fn from_public_key(der: &[u8], algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        if PublicEncryptingKey::from_der(der).is_ok() {
            return Self::from_rsa(der, algorithms);
        }
        // Bytes that are not DER would be read as a bare point: any 32 are one of Ed25519.
        let is_der = der.starts_with(&[0x30]) && der.len() > 32;
        let kinds = [&P256[..], &P384[..], &P521[..], &ED25519[..]];
        let fits = |kind: &&[Kind]| is_der && ParsedPublicKey::new(kind[0].1, der).is_ok();
        match kinds.into_iter().find(fits) {
            Some(kind) => Self::of_kind(der, kind, algorithms),
            None => Err(KeyError(
                "it is no public key of RSA (2048 to 8192 bits), P-256, P-384, P-521 or Ed25519"
                    .into(),
            )),
        }
    }

    /// Makes a key of an RSA key in DER.
    pub(crate) fn from_rsa(der: &[u8], algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        let bits = PublicEncryptingKey::from_der(der).map(|rsa| rsa.key_size_bits());
        match bits.is_ok_and(|bits| Self::RSA_BITS.contains(&bits)) {
            true => Self::of_kind(der, &RSA, algorithms),
            false => Err(KeyError("it is no valid RSA key of 2048 to 8192 bits".into())),
        }
    }

    /// Makes a key of the point of a curve.
    pub(crate) fn from_point(
        curve: &str,
        point: &[u8],
        algorithms: AlgorithmSet,
    ) -> Result<Self, KeyError> {
        match curve {
            "P-256" => Self::of_kind(point, &P256, algorithms),
            "P-384" => Self::of_kind(point, &P384, algorithms),
            "P-521" => Self::of_kind(point, &P521, algorithms),
            "Ed25519" => Self::of_kind(point, &ED25519, algorithms),
            _ => Err(KeyError("there are the curves P-256, P-384, P-521 and Ed25519".into())),
        }
    }

    fn of_kind(bytes: &[u8], kind: &[Kind], algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        let of_kind: AlgorithmSet = kind.iter().map(|(algorithm, _)| *algorithm).collect();
        let mut verifiers = Vec::new();
        for (algorithm, verification) in kind {
            if algorithms.contains(*algorithm) {
                let parsed = ParsedPublicKey::new(*verification, bytes)
                    .map_err(|_| KeyError("it is no valid public key of its kind".into()))?;
                verifiers.push((*algorithm, Verifier::PublicKey(parsed)));
            }
        }
        Self::of(verifiers, of_kind, algorithms)
    }

    fn of(
        verifiers: Vec<(Algorithm, Verifier)>,
        of_kind: AlgorithmSet,
        algorithms: AlgorithmSet,
    ) -> Result<Self, KeyError> {
        if verifiers.is_empty() {
            return Err(KeyError(format!(
                "such a key is for {of_kind}, and none of them is among the allowed algorithms \
                 ({algorithms})"
            )));
        }
        Ok(Self { id: None, verifiers })
    }

    /// The same key with this name.
    pub(crate) fn named(self, id: Option<Box<str>>) -> Self {
        Self { id, ..self }
    }

    /// Returns the algorithms that the key is for, as far as they are allowed.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm).collect()
    }

    /// Returns whether `signature` is one of `signed`, by this algorithm and this key.
    pub fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let mut verifiers = self.verifiers.iter().filter(|(it, _)| *it == algorithm);
        verifiers.any(|(_, verifier)| match verifier {
            Verifier::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Verifier::PublicKey(key) => key.verify_sig(signed, signature).is_ok(),
        })
    }
}

type Kind = (Algorithm, &'static dyn VerificationAlgorithm);

static RSA: [Kind; 6] = [
    (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
];
static P256: [Kind; 1] = [(Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED)];
static P384: [Kind; 1] = [(Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED)];
static P521: [Kind; 1] = [(Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED)];
static ED25519: [Kind; 1] = [(Algorithm::EdDsa, &signature::ED25519)];

/// Decodes base64 of either alphabet, with or without `=` at its end.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    match text.contains(['-', '_']) {
        true => Base64UrlUnpadded::decode_vec(text).ok(),
        false => Base64Unpadded::decode_vec(text).ok(),
    }
}

/// Shows the name and the algorithms.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &format_args!("{}", self.algorithms()))
            .finish_non_exhaustive()
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}
