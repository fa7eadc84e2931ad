//! JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, AlgorithmSet};
use super::key::{Key, KeyError};

/// The most bytes of a number in a key: the modulus of an RSA key of 8192 bits.
const NUMBER_BYTES_MAX: usize = 1024;

/// Makes a key of a JSON Web Key, for those of `algorithms` that it is for. Of a private key only
/// the public part is used.
///
/// # Errors
///
/// The key is of a kind that is not known, is not for signatures, or is not valid.
pub(crate) fn key(jwk: &Value, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    let Value::Object(jwk) = jwk else {
        return refused("it is no JSON object");
    };
    check_use(jwk)?;
    let algorithms = match jwk.get("alg") {
        None => algorithms,
        Some(name) => {
            let Some(algorithm) = name.as_str().and_then(Algorithm::named) else {
                return refused("its `alg` is none for signatures");
            };
            if !algorithms.contains(algorithm) {
                let text = format!("its `alg` {} is not allowed", algorithm.name());
                return Err(KeyError(text));
            }
            [algorithm].into_iter().collect()
        }
    };
    let id = match jwk.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str().into()),
        Some(_) => return refused("its `kid` is no text"),
    };
    let key = match text(jwk, "kty")? {
        "oct" => Key::from_secret(&bytes(jwk, "k")?, algorithms),
        "RSA" => rsa(jwk, algorithms),
        "EC" => ec(jwk, algorithms),
        "OKP" => okp(jwk, algorithms),
        _ => refused("its `kty` is none of oct, RSA, EC and OKP"),
    };
    Ok(key?.named(id))
}

/// Checks that the key is for checking signatures. A key may say both, and both have to be right.
fn check_use(jwk: &Map<String, Value>) -> Result<(), KeyError> {
    if jwk.get("use").is_some_and(|it| it != "sig") {
        return refused("its `use` is not `sig`");
    }
    let verifies = |operations: &Value| {
        let mut operations = operations.as_array().into_iter().flatten();
        operations.any(|operation| operation == "verify")
    };
    if jwk.get("key_ops").is_some_and(|it| !verifies(it)) {
        return refused("its `key_ops` do not have `verify`");
    }
    Ok(())
}

fn rsa(jwk: &Map<String, Value>, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let der = RsaPublicKeyComponents { n, e }.as_der();
    match der {
        Ok(der) => Key::from_rsa(der.as_ref(), algorithms),
        Err(_) => refused("`n` and `e` are no RSA key"),
    }
}

fn ec(jwk: &Map<String, Value>, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    let curve = text(jwk, "crv")?;
    let length = match curve {
        "P-256" => 32,
        "P-384" => 48,
        "P-521" => 66,
        _ => return refused("its `crv` is none of P-256, P-384 and P-521"),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return refused("`x` and `y` do not have the length of the curve");
    }
    // An uncompressed point.
    Key::from_point(curve, &[&[4], &*x, &*y].concat(), algorithms)
}

fn okp(jwk: &Map<String, Value>, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    let (curve, x) = (text(jwk, "crv")?, bytes(jwk, "x")?);
    if curve != "Ed25519" || x.len() != 32 {
        return refused("it is no Ed25519 key of 32 bytes");
    }
    Key::from_point(curve, &x, algorithms)
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<&'a str, KeyError> {
    let text = jwk.get(name).and_then(Value::as_str);
    text.ok_or_else(|| KeyError(format!("`{name}` is missing, or no text")))
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, KeyError> {
    let bytes = Base64UrlUnpadded::decode_vec(text(jwk, name)?);
    let bytes = bytes.map_err(|_| KeyError(format!("`{name}` is no base64url")))?;
    if bytes.len() > NUMBER_BYTES_MAX {
        return Err(KeyError(format!("`{name}` has more than {NUMBER_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn refused<T>(text: &str) -> Result<T, KeyError> {
    Err(KeyError(text.into()))
}
