//! What a Client shows when it wants to be let in.

use std::fmt;
use std::net::IpAddr;

/// What a Client shows when it connects, or when it authenticates anew.
#[derive(Clone, Default)]
pub struct Login {
    /// The Client Identifier, assigned already if it was empty.
    pub client_id: Box<str>,
    /// The User Name.
    pub user_name: Option<Box<str>>,
    /// The Password.
    pub password: Option<Box<[u8]>>,
    /// The Authentication Method of an enhanced authentication.
    pub method: Option<Box<str>>,
    /// The Authentication Data of the packet that came.
    pub data: Option<Box<[u8]>>,
    /// The certificate that the Client has proven to possess, in DER, and those that came with it.
    /// Empty if there is none.
    pub certificates: Box<[Box<[u8]>]>,
    /// The Common Name that a trusted proxy has verified (PROXY protocol version 2).
    pub proxy_common_name: Option<Box<str>>,
    /// The address that the Client has connected from; absent on a Unix socket.
    pub address: Option<IpAddr>,
    /// The name of the listener that it came by; absent if it came by none.
    pub listener: Option<Box<str>>,
    /// The user of the Network Connection that authenticates anew; absent for a CONNECT.
    pub present_user: Option<Box<str>>,
}

impl Login {
    /// Returns the User Name as a log may show it; `None` if there is none, or if it looks like a
    /// token: some Clients put theirs there.
    pub fn shown_user_name(&self) -> Option<&str> {
        self.user_name.as_deref().filter(|name| !looks_like_token(name.as_bytes()))
    }
}

/// Returns whether bytes look like a JWT, without looking at all that is in it.
pub(crate) fn looks_like_token(bytes: &[u8]) -> bool {
    let is_of_token = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // The base64 of `{"`, with which the header begins.
    bytes.starts_with(b"ey")
        && bytes.iter().filter(|&&byte| byte == b'.').count() == 2
        && bytes.iter().all(is_of_token)
}

/// Shows no secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("client_id", &self.client_id)
            .field("user_name", &self.shown_user_name())
            .field("method", &self.method)
            .field("address", &self.address)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S19: no secret is shown, wherever a Client has put it.
    #[test]
    fn s19_a_login_shows_no_secret() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl";
        let login = Login {
            user_name: Some(token.into()),
            password: Some(b"canary".as_slice().into()),
            data: Some(b"canary".as_slice().into()),
            ..Login::default()
        };
        let shown = format!("{login:?}");
        for secret in [token, "canary", "99, 97, 110"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let login = Login { user_name: Some("eve.a.b-c".into()), ..Login::default() };
        assert_eq!(login.shown_user_name(), Some("eve.a.b-c"));
        assert!(format!("{login:?}").contains("eve.a.b-c"));
    }
}
