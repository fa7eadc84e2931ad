//! Keys that are read, and keys that are left out.

use proptest::prelude::*;

use super::*;

fn all() -> AlgorithmSet {
    Algorithm::ALL.into_iter().collect()
}

fn set(keys: &[Value]) -> Result<KeySet, KeyError> {
    KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes(), all())
}

/// A JWK with another member.
fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

fn number(bytes: usize) -> String {
    Base64UrlUnpadded::encode_string(&vec![0xFF; bytes])
}

#[test]
fn public_keys_in_pem_are_read() {
    let signers = [&RSA, &P256, &P384, &P521, &ED25519];
    let pem: Vec<String> = signers.iter().map(|it| it.pem()).collect();
    let keys = KeySet::from_pem(pem.concat().as_bytes(), all()).unwrap();
    assert_eq!(keys.len(), 5);
    let member = member_of(JwtConfig::default(), all(), Arc::new(keys));
    for algorithm in AlgorithmSet::OF_PUBLIC_KEYS.iter() {
        assert!(is_allowed(&verdict(&member, &token(algorithm, &claims("u")))), "{algorithm:?}");
    }
    for pem in ["", "a", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(KeySet::from_pem(pem.as_bytes(), all()).is_err(), "{pem}");
    }
    // Bare points are no keys in DER: these are of P-256 and of Ed25519.
    let point = [&[4], &*vec![0xFF; 64]].concat();
    assert!(Key::from_public_key(&point, all()).is_err());
    assert!(Key::from_public_key(&[0x30; 32], all()).is_err());
    // No algorithm of its kind is allowed.
    assert!(KeySet::from_pem(RSA.pem().as_bytes(), AlgorithmSet::OF_SECRETS).is_err());
}

#[test]
fn a_secret_is_text_or_base64() {
    let read = |secret: &[u8], is_base64| KeySet::from_secret(secret, is_base64, all());
    let token = hs256(&claims("u"));
    let base64 = Base64::encode_string(SECRET);
    let line = [SECRET, b"\r\n"].concat();
    for (secret, is_base64) in [
        (SECRET, false),
        (&line, false),
        (base64.as_bytes(), true),
        (base64.trim_end_matches('=').as_bytes(), true),
        (format!("{base64}\n").as_bytes(), true),
    ] {
        let keys = Arc::new(read(secret, is_base64).unwrap());
        assert!(is_allowed(&verdict(&member_of(JwtConfig::default(), all(), keys), &token)));
    }
    assert!(read(b"", false).is_err());
    assert!(read(&[b'a'; 31], false).is_err());
    assert!(read(b"\n", true).is_err());
    assert!(read(b"canary!", true).is_err());
}

#[test]
fn a_key_of_a_set_is_left_out_if_it_is_not_for_signatures_or_not_valid() {
    let good = P256.jwk("good");
    let rsa = RSA.jwk("r");
    for bad in [
        json!("x"),
        json!({}),
        with(good.clone(), "kty", json!("XYZ")),
        with(good.clone(), "kty", json!("RSA")),
        with(good.clone(), "use", json!("enc")),
        with(good.clone(), "use", json!(1)),
        with(good.clone(), "key_ops", json!(["sign"])),
        with(good.clone(), "key_ops", json!("verify")),
        with(good.clone(), "alg", json!("ES384")),
        with(good.clone(), "alg", json!("RSA-OAEP")),
        with(good.clone(), "alg", json!(1)),
        with(good.clone(), "kid", json!(1)),
        with(good.clone(), "crv", json!("secp256k1")),
        with(good.clone(), "crv", json!("P-384")),
        with(good.clone(), "x", json!(number(32))),
        with(good.clone(), "x", json!(number(31))),
        with(good.clone(), "y", json!(number(33))),
        with(good.clone(), "y", json!("=")),
        with(rsa.clone(), "n", json!(number(128))),
        with(rsa.clone(), "n", json!(number(255))),
        with(rsa.clone(), "n", json!(number(1025))),
        with(rsa.clone(), "n", json!("")),
        with(rsa.clone(), "n", json!("AQAB")),
        with(rsa.clone(), "e", json!("")),
        with(rsa.clone(), "e", json!("AQ")),
        with(rsa.clone(), "e", json!("Ag")),
        with(ED25519.jwk("e"), "crv", json!("Ed448")),
        with(ED25519.jwk("e"), "crv", json!("P-256")),
        with(ED25519.jwk("e"), "x", json!(number(31))),
        with(HMAC.jwk("h"), "k", json!(number(31))),
    ] {
        let keys = set(&[bad.clone(), good.clone()]).unwrap();
        assert_eq!((keys.len(), keys.skipped().len()), (1, 1), "{bad}");
        assert!(set(std::slice::from_ref(&bad)).is_err(), "{bad}");
    }
    for also_good in [
        with(good.clone(), "use", json!("sig")),
        with(good.clone(), "key_ops", json!(["sign", "verify"])),
        with(good.clone(), "alg", json!("ES256")),
        with(rsa.clone(), "alg", json!("PS512")),
        with(rsa, "n", json!(number(1024))),
        with(good, "d", json!("AAAA")),
    ] {
        assert_eq!(set(std::slice::from_ref(&also_good)).unwrap().len(), 1, "{also_good}");
    }
}

#[test]
fn a_set_that_is_none_is_an_error() {
    for json in ["", "[]", "{", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "canary"] {
        let error = KeySet::from_jwks(json.as_bytes(), all()).unwrap_err();
        shows_nothing(&error.to_string(), "");
    }
    assert!(set(&vec![P256.jwk("k"); KeySet::KEYS_MAX]).is_ok());
    assert!(set(&vec![P256.jwk("k"); KeySet::KEYS_MAX + 1]).is_err());
}

/// A key set that everybody may read must not be able to make a secret known to everybody.
#[test]
fn secrets_in_a_set_are_used_only_if_that_is_said() {
    let json = json!({"keys": [HMAC.jwk("h")]}).to_string();
    assert!(KeySet::from_jwks(json.as_bytes(), KeyFormat::Jwks.algorithms()).is_err());
    assert!(KeySet::from_jwks(json.as_bytes(), AlgorithmSet::OF_SECRETS).is_ok());
}

#[test]
fn a_token_names_its_key() {
    let other = Signer::ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING);
    let keys = Arc::new(set(&[other.jwk("other"), P256.jwk("good")]).unwrap());
    let member = member_of(JwtConfig::default(), all(), keys);
    let named = |header: Value| {
        let sign = |message: &[u8]| P256.sign(Algorithm::Es256, message);
        verdict(&member, &token_with(&header, &claims("u"), sign))
    };
    assert!(is_allowed(&named(json!({"alg": "ES256", "kid": "good"}))));
    assert!(is_allowed(&named(json!({"alg": "ES256"}))), "all are tried");
    assert!(is_denied(&named(json!({"alg": "ES256", "kid": "other"}))));
    assert!(is_denied(&named(json!({"alg": "ES256", "kid": "absent"}))));
}

#[test]
fn keys_are_not_shown() {
    let keys = set(&[HMAC.jwk("h"), RSA.jwk("r")]).unwrap();
    let shown = format!("{keys:?}");
    assert!(shown.contains("\"h\""));
    for secret in [text(SECRET), &Base64UrlUnpadded::encode_string(SECRET), "canary"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!format!("{:?}", member(JwtConfig::default())).contains("canary"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, n: Vec<u8>, e: Vec<u8>) {
        let _ = KeySet::from_jwks(&bytes, all());
        let _ = KeySet::from_pem(&bytes, all());
        let _ = KeySet::from_secret(&bytes, true, all());
        let _ = Key::from_public_key(&bytes, all());
        let [n, e] = [n, e].map(|it| Base64UrlUnpadded::encode_string(&it));
        let _ = set(&[json!({"kty": "RSA", "n": n, "e": e})]);
        let _ = set(&[json!({"kty": "EC", "crv": "P-256", "x": n, "y": e})]);
        let _ = set(&[json!({"kty": "OKP", "crv": "Ed25519", "x": n})]);
    }
}
