//! Tokens, the keys that sign them and a clock, for the tests of all parts.

#[cfg(feature = "http")]
mod http_fetches;
mod jwks_urls;
mod key_files;
mod keys;
mod logins;
mod signatures;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    RsaSignatureEncoding,
};
use aws_lc_rs::{hmac, signature::EcdsaPublicKey};
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::login::Login;
use crate::member::{Member as _, Verdict};

/// When the tests take place, in seconds since 1970.
const NOW: u64 = 1_700_000_000;

/// A secret that no text may show.
const SECRET: &[u8] = b"the-canary-of-the-shared-secret-of-the-tests";

/// A clock that stands still until it is put forward.
#[derive(Default)]
struct TestClock(Mutex<Duration>);

impl TestClock {
    fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for TestClock {
    fn since_1970(&self) -> Duration {
        Duration::from_secs(NOW) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

/// A key that signs.
enum Signer {
    Secret(&'static [u8]),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
static P256: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING));
static P384: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING));
static P521: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING));
static ED25519: LazyLock<Signer> =
    LazyLock::new(|| Signer::Ed(Ed25519KeyPair::generate().unwrap()));
static HMAC: Signer = Signer::Secret(SECRET);

/// The key that is made for an algorithm.
fn signer(algorithm: Algorithm) -> &'static Signer {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => &HMAC,
        Algorithm::Es256 => &P256,
        Algorithm::Es384 => &P384,
        Algorithm::Es512 => &P521,
        Algorithm::EdDsa => &ED25519,
        _ => &RSA,
    }
}

impl Signer {
    fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        Self::Ec(EcdsaKeyPair::generate(algorithm).unwrap())
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let kind = match algorithm {
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(kind, secret), message).as_ref().into()
            }
            Self::Rsa(key) => {
                let encoding: &RsaSignatureEncoding = match algorithm {
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signed).unwrap();
                signed
            }
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().into(),
            Self::Ed(key) => key.sign(message).as_ref().into(),
        }
    }

    /// The public key in DER.
    fn der(&self) -> Vec<u8> {
        match self {
            Self::Secret(_) => panic!("a secret has no public key"),
            Self::Rsa(key) => key.public_key().as_der().unwrap().as_ref().into(),
            Self::Ec(key) => {
                let key: &EcdsaPublicKey = key.public_key();
                key.as_der().unwrap().as_ref().into()
            }
            Self::Ed(key) => key.public_key().as_der().unwrap().as_ref().into(),
        }
    }

    fn pem(&self) -> String {
        let base64 = Base64::encode_string(&self.der());
        let lines: Vec<&str> = base64.as_bytes().chunks(64).map(text).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The public key, or the secret, as JWK.
    fn jwk(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        match self {
            Self::Secret(secret) => json!({"kty": "oct", "kid": id, "k": encode(secret)}),
            Self::Rsa(key) => {
                // The DER of two numbers: n of 256 bytes, and e.
                let der = key.public_key().as_ref();
                json!({"kty": "RSA", "kid": id, "n": encode(&der[9..265]), "e": "AQAB"})
            }
            Self::Ec(key) => {
                let (x, y) =
                    key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "crv": curve, "kid": id, "x": encode(x), "y": encode(y)})
            }
            Self::Ed(key) => {
                let x = encode(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x})
            }
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// A token with this header, signed by `sign`.
fn token_with(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let parts =
        [header, claims].map(|part| Base64UrlUnpadded::encode_string(part.to_string().as_bytes()));
    let signed = parts.join(".");
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&sign(signed.as_bytes())))
}

/// A token that is signed with the key of the algorithm.
fn token(algorithm: Algorithm, claims: &Value) -> String {
    let header = json!({"alg": algorithm.name(), "typ": "JWT"});
    token_with(&header, claims, |message| signer(algorithm).sign(algorithm, message))
}

/// A token that is signed with [`SECRET`].
fn hs256(claims: &Value) -> String {
    token(Algorithm::Hs256, claims)
}

/// Claims of a token for `user` that are good for an hour.
fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": NOW + 3600})
}

/// Claims that have these ones, too.
fn claims_and(more: &Value) -> Value {
    let mut claims = claims("u");
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn with_password(password: &[u8]) -> Login {
    Login { client_id: "c".into(), password: Some(password.into()), ..Login::default() }
}

/// A member that knows [`SECRET`].
fn member(config: JwtConfig) -> JwtMember {
    let keys = KeySet::from_secret(SECRET, false, AlgorithmSet::OF_SECRETS).unwrap();
    member_of(config, AlgorithmSet::OF_SECRETS, Arc::new(keys))
}

fn member_of(config: JwtConfig, algorithms: AlgorithmSet, keys: Arc<KeySet>) -> JwtMember {
    JwtMember::new(config, algorithms, Box::new(keys), Arc::new(TestClock::default()))
}

/// The member's decision about a token as a Password. No text shows the token or the secret.
fn verdict(member: &JwtMember, token: &str) -> Verdict {
    let verdict = member.authenticate(&with_password(token.as_bytes()));
    if let Verdict::Deny(shown) | Verdict::Failed(shown) = &verdict {
        shows_nothing(shown, token);
    }
    verdict
}

/// Asserts that a text shows neither a part of the token nor the secret.
fn shows_nothing(shown: &str, token: &str) {
    let parts = token.split('.').filter(|part| part.len() > 8);
    for secret in parts.chain(["canary"]) {
        assert!(!shown.contains(secret), "{shown}");
    }
}

fn is_allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow(_))
}

fn is_denied(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Deny(_))
}
