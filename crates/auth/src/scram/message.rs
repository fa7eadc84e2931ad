//! The messages of a Client (RFC 5802 section 7). No error text quotes them.

use base64ct::{Base64, Encoding as _};

/// The most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The most bytes of a Client's nonce.
const NONCE_BYTES_MAX: usize = 256;

/// A digest of SHA-256.
pub(crate) type Digest = [u8; 32];

/// The first message, such as `n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL`.
pub(crate) struct ClientFirst<'a> {
    /// `n,,`: what is said about channel binding, and for whom the Client wants to act.
    pub(crate) gs2_header: &'a str,
    /// For whom the Client wants to act, if it says so.
    pub(crate) authorization_id: Option<String>,
    /// What follows the header.
    pub(crate) bare: &'a str,
    /// The name, as it was sent.
    pub(crate) name: String,
    /// The Client's nonce.
    pub(crate) nonce: &'a str,
}

/// The last message, such as `c=biws,r=...,p=...`.
pub(crate) struct ClientFinal<'a> {
    /// The header of the first message, in base64.
    pub(crate) channel_binding: &'a str,
    /// Both nonces.
    pub(crate) nonce: &'a str,
    /// What the proof is about.
    pub(crate) without_proof: &'a str,
    /// The proof.
    pub(crate) proof: Digest,
}

impl<'a> ClientFirst<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, &'static str> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or("the first message has no header")?;
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err("channel binding is not supported"),
            _ => return Err("the first message has no valid header"),
        }
        let (authorization_id, bare) =
            rest.split_once(',').ok_or("the first message has no valid header")?;
        let authorization_id = match authorization_id.strip_prefix("a=") {
            Some(name) => Some(decode_name(name)?),
            None if authorization_id.is_empty() => None,
            None => return Err("the first message has no valid header"),
        };
        let gs2_header = &message[..message.len() - bare.len()];
        if bare.starts_with("m=") {
            return Err("the first message has an extension that must be known, and is not");
        }
        let mut parts = bare.split(',');
        let (Some(name), Some(nonce)) = (parts.next(), parts.next()) else {
            return Err("the first message has no nonce");
        };
        let name = name.strip_prefix("n=").ok_or("the first message has no name")?;
        let nonce = nonce.strip_prefix("r=").ok_or("the first message has no nonce")?;
        let is_good = !nonce.is_empty() && nonce.len() <= NONCE_BYTES_MAX;
        if !is_good || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the nonce is empty, too long, or has other characters than it may");
        }
        if !parts.all(is_attribute) {
            return Err("the first message has an extension that is not valid");
        }
        Ok(Self { gs2_header, authorization_id, bare, name: decode_name(name)?, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, &'static str> {
        let message = text(message)?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or("the last message has no proof")?;
        let mut parts = without_proof.split(',');
        let (Some(binding), Some(nonce)) = (parts.next(), parts.next()) else {
            return Err("the last message has no nonce");
        };
        let channel_binding =
            binding.strip_prefix("c=").ok_or("the last message has no channel binding")?;
        let nonce = nonce.strip_prefix("r=").ok_or("the last message has no nonce")?;
        if !parts.all(is_attribute) {
            return Err("the last message has an extension that is not valid");
        }
        let proof = Base64::decode_vec(proof).ok().and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or("the proof is not 32 bytes in base64")?;
        Ok(Self { channel_binding, nonce, without_proof, proof })
    }
}

fn text(message: &[u8]) -> Result<&str, &'static str> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err("the message is too long");
    }
    str::from_utf8(message).map_err(|_| "the message is no UTF-8")
}

/// Whether a part is a letter, `=`, and a value. A letter that is not known may be left out.
fn is_attribute(part: &str) -> bool {
    let mut characters = part.chars();
    let is_named = characters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
    is_named
        && characters.next() == Some('=')
        && characters.next().is_some()
        && !part.contains('\0')
}

/// Reads a name, in which `=2C` stands for a comma and `=3D` for an equals sign.
fn decode_name(encoded: &str) -> Result<String, &'static str> {
    let mut parts = encoded.split('=');
    let mut name = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err("the name has `=` that is neither `=2C` nor `=3D`"),
        };
        name.push(character);
        name.push_str(rest);
    }
    match name.is_empty() || name.contains('\0') {
        true => Err("the name is empty, or has U+0000"),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_first_message_is_taken_apart() {
        let first = ClientFirst::parse(b"y,a=x=2Cy,n=a=3Db=2Cc,r=N+/x,e=extension").unwrap();
        assert_eq!(first.gs2_header, "y,a=x=2Cy,");
        assert_eq!(first.authorization_id.as_deref(), Some("x,y"));
        assert_eq!(first.bare, "n=a=3Db=2Cc,r=N+/x,e=extension");
        assert_eq!((&*first.name, first.nonce), ("a=b,c", "N+/x"));
    }

    #[test]
    fn messages_that_are_not_valid_are_refused() {
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            ",,n=u,r=a",
            "x,,n=u,r=a",
            "p=tls-exporter,,n=u,r=a",
            "p=,,n=u,r=a",
            "n,b=u,n=u,r=a",
            "n,a=,n=u,r=a",
            "n,,m=x,n=u,r=a",
            "n,,r=a,n=u",
            "n,,n=u",
            "n,,n=,r=a",
            "n,,n=u=,r=a",
            "n,,n=u=2c,r=a",
            "n,,n=u\0,r=a",
            "n,,n=u,r=",
            "n,,n=u,r=a b",
            "n,,n=u,r=ä",
            "n,,n=u,r=a,",
            "n,,n=u,r=a,xy",
            "n,,n=u,r=a,1=y",
            "c=biws,r=a,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ] {
            assert!(ClientFirst::parse(message.as_bytes()).is_err(), "{message}");
        }
        let extended = ClientFirst::parse(b"n,,m=x,n=u,r=a").err().unwrap();
        assert!(extended.contains("extension"), "{extended}");
        let long = format!("n,,n={},r=a", "u".repeat(MESSAGE_BYTES_MAX));
        assert!(ClientFirst::parse(long.as_bytes()).is_err());
        let long = format!("n,,n=u,r={}", "a".repeat(NONCE_BYTES_MAX + 1));
        assert!(ClientFirst::parse(long.as_bytes()).is_err());
        for message in [
            "",
            "c=biws,r=a",
            "c=biws,r=a,p=",
            "c=biws,r=a,p=AAAA",
            "c=biws,r=a,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "c=biws,r=a,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,x=y",
            "c=biws,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "r=a,c=biws,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "n,,n=u,r=a",
        ] {
            assert!(ClientFinal::parse(message.as_bytes()).is_err(), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[a-z=,\0]{0,40}") {
            let _ = ClientFirst::parse(&bytes);
            let _ = ClientFinal::parse(&bytes);
            let _ = ClientFirst::parse(format!("n,,{text}").as_bytes());
            let _ = ClientFinal::parse(format!("c=biws,{text}").as_bytes());
        }

        #[test]
        fn any_name_can_be_sent(name: String) {
            prop_assume!(!name.is_empty() && !name.contains('\0'));
            let encoded = name.replace('=', "=3D").replace(',', "=2C");
            let message = format!("n,,n={encoded},r=a");
            prop_assert_eq!(ClientFirst::parse(message.as_bytes()).unwrap().name, name);
        }
    }
}
