//! The parts of a token as it is sent: JWS Compact Serialization (RFC 7515 section 7.1).
//!
//! Nothing here is believed: whether the signature is right is for [`super::key_set`] to say. No
//! error text quotes the token.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

/// The claims of a token.
pub(crate) type Claims = Map<String, Value>;

/// A token in its parts.
pub(crate) struct Compact<'a> {
    /// The header parameter `alg`.
    pub(crate) algorithm: Box<str>,
    /// The header parameter `kid`.
    pub(crate) key_id: Option<Box<str>>,
    /// The claims, as anybody could have written them.
    pub(crate) claims: Claims,
    /// The bytes that the signature is about.
    pub(crate) signed: &'a [u8],
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

/// Why bytes are no token that can be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CompactError {
    /// They are something else, such as a password.
    NoToken,
    /// They are a token, but not one that can be accepted.
    Refused(&'static str),
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, CompactError> {
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CompactError::NoToken);
        };
        let decode = |part| {
            let decoded = str::from_utf8(part).ok().map(Base64UrlUnpadded::decode_vec);
            decoded.and_then(Result::ok).ok_or(CompactError::NoToken)
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let (header, payload) = (decode(header)?, decode(payload)?);
        let signature = decode(signature)?;
        let Ok(Value::Object(header)) = serde_json::from_slice(&header) else {
            return Err(CompactError::NoToken);
        };
        let refused = |text| Err(CompactError::Refused(text));
        let Some(Value::String(algorithm)) = header.get("alg") else {
            return refused("the header of the token has no `alg`");
        };
        if header.contains_key("crit") {
            return refused("the header of the token has `crit`: no extension is known here");
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.as_str().into()),
            Some(_) => return refused("the `kid` of the token is no text"),
        };
        let Ok(Value::Object(claims)) = serde_json::from_slice(&payload) else {
            return refused("the claims of the token are no JSON object");
        };
        let algorithm = algorithm.as_str().into();
        Ok(Self { algorithm, key_id, claims, signed, signature })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(header: &str, payload: &str) -> CompactError {
        let parts =
            [header, payload, "s"].map(|part| Base64UrlUnpadded::encode_string(part.as_bytes()));
        Compact::parse(parts.join(".").as_bytes()).err().expect("it is no good token")
    }

    #[test]
    fn a_password_is_no_token() {
        for password in ["", "secret", "a.b", "..", "a.b.c", "YQ.YQ.YQ", "a.b.c.d", "ey.ey.ey="] {
            assert_eq!(
                Compact::parse(password.as_bytes()).err(),
                Some(CompactError::NoToken),
                "{password}"
            );
        }
        assert_eq!(error("[]", "{}"), CompactError::NoToken);
        assert_eq!(error("\"alg\"", "{}"), CompactError::NoToken);
    }

    #[test]
    fn a_token_with_a_strange_header_is_refused() {
        for (header, payload) in [
            ("{}", "{}"),
            (r#"{"alg":1}"#, "{}"),
            (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}"),
            (r#"{"alg":"HS256","kid":1}"#, "{}"),
            (r#"{"alg":"HS256"}"#, "[]"),
            (r#"{"alg":"HS256"}"#, "{"),
        ] {
            assert!(matches!(error(header, payload), CompactError::Refused(_)), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), header: String, payload: String) {
            let _ = Compact::parse(&bytes);
            let _ = error(&header, &payload);
        }
    }
}
