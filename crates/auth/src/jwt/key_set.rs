//! The keys of an issuer, and how a token finds the one that it was signed with.

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::algorithm::{Algorithm, AlgorithmSet};
use super::jwk;
use super::key::{Key, KeyError, decode_base64};
use super::quoting::quoted;

/// The keys of an issuer.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<String>,
}

impl KeySet {
    /// The most keys of a set.
    pub const KEYS_MAX: usize = 100;

    /// How many keys are tried for a token that does not name its key.
    const TRIED_MAX: usize = 16;

    /// Reads a shared secret: text, or base64. A line break at the end is not part of it.
    ///
    /// # Errors
    ///
    /// The secret is too short, or no base64.
    pub fn from_secret(
        secret: &[u8],
        is_base64: bool,
        algorithms: AlgorithmSet,
    ) -> Result<Self, KeyError> {
        let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        let key = if is_base64 {
            let decoded = str::from_utf8(secret).ok().and_then(|it| decode_base64(it.trim()));
            let error = || KeyError("the shared secret is no base64".into());
            Key::from_secret(&decoded.ok_or_else(error)?, algorithms)?
        } else {
            Key::from_secret(secret, algorithms)?
        };
        Ok(Self { keys: vec![key], skipped: Vec::new() })
    }

    /// Reads public keys in PEM (`-----BEGIN PUBLIC KEY-----`), one after the other.
    ///
    /// # Errors
    ///
    /// There is none, one is not valid, or there are too many.
    pub fn from_pem(pem: &[u8], algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (index, der) in SubjectPublicKeyInfoDer::pem_slice_iter(pem).enumerate() {
            let number = index + 1;
            let der = der.map_err(|_| KeyError(format!("public key {number} is no valid PEM")))?;
            let key = Key::from_public_key(&der, algorithms);
            keys.push(key.map_err(|error| KeyError(format!("public key {number}: {error}")))?);
        }
        let text = "there is no `-----BEGIN PUBLIC KEY-----` in it";
        Self::of(keys, Vec::new(), text)
    }

    /// Reads a JWK Set, `{"keys": [...]}`. Keys that cannot be used are left out, as RFC 7517
    /// section 5 demands: an issuer may have keys for other purposes.
    ///
    /// # Errors
    ///
    /// It is no JWK Set, has no key that can be used, or too many.
    pub fn from_jwks(json: &[u8], algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        let set: Value = serde_json::from_slice(json).map_err(|error| {
            // The error's own text may quote the file.
            let (line, column) = (error.line(), error.column());
            KeyError(format!("the JWK Set is no JSON (line {line}, column {column})"))
        })?;
        let Some(Value::Array(jwks)) = set.get("keys") else {
            return Err(KeyError("the JWK Set has no list `keys`".into()));
        };
        if jwks.len() > Self::KEYS_MAX {
            let (count, max) = (jwks.len(), Self::KEYS_MAX);
            return Err(KeyError(format!("the JWK Set has {count} keys, at most {max} are read")));
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, jwk) in jwks.iter().enumerate() {
            match jwk::key(jwk, algorithms) {
                Ok(key) => keys.push(key),
                Err(error) => skipped.push(match jwk.get("kid").and_then(Value::as_str) {
                    Some(id) => format!("key {}: {error}", quoted(id)),
                    None => format!("key {}: {error}", index + 1),
                }),
            }
        }
        let text = match skipped.first() {
            Some(first) => format!("the JWK Set has no key that can be used; {first}"),
            None => "the JWK Set has no key".into(),
        };
        Self::of(keys, skipped, &text)
    }

    fn of(keys: Vec<Key>, skipped: Vec<String>, if_empty: &str) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError(if_empty.into()));
        }
        if keys.len() > Self::KEYS_MAX {
            let text = format!("there are {} keys, at most {}", keys.len(), Self::KEYS_MAX);
            return Err(KeyError(text));
        }
        Ok(Self { keys, skipped })
    }

    /// Returns how many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Says which keys of a JWK Set were left out, and why.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Returns whether a token that names this key may have been signed with one of these. A key
    /// without a name may be any.
    pub(crate) fn may_have(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref().is_none_or(|id| id == key_id))
    }

    /// Checks a signature.
    ///
    /// # Errors
    ///
    /// A text for the log: there is no key for it, or the signature is wrong.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        let is_named = |key: &&Key| match (key_id, key.id.as_deref()) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        let mut named = self.keys.iter().filter(is_named).peekable();
        if named.peek().is_none() {
            let id = quoted(key_id.unwrap_or_default());
            return Err(format!("the token is signed with the key {id}, which is not known"));
        }
        let mut fit = named.filter(|key| key.algorithms().contains(algorithm)).peekable();
        if fit.peek().is_none() {
            let name = algorithm.name();
            return Err(format!("the token is signed with {name}, and no key for it is for that"));
        }
        let mut tried = fit.take(Self::TRIED_MAX);
        match tried.any(|key| key.verify(algorithm, signed, signature)) {
            true => Ok(()),
            false => Err("the signature of the token is wrong".into()),
        }
    }
}
