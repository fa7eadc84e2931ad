//! Where a request goes. What follows the host is never shown: keys are often written there.

use std::fmt;

use ureq::http::Uri;

use super::error::HttpSetupError;

/// A URL with `http` or `https`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

impl HttpUrl {
    /// Reads a URL such as `https://auth.example.org/mqtt`.
    ///
    /// # Errors
    ///
    /// It is none that a request can be made to.
    pub fn parse(text: &str) -> Result<Self, HttpSetupError> {
        let error = |detail| HttpSetupError::new("the URL".into(), detail);
        let Ok(uri) = text.parse::<Uri>() else {
            return Err(error("write it as https://HOST/PATH, with other characters as %XX"));
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(error("it begins with https:// or http://"));
        }
        let Some(authority) = uri.authority().filter(|it| !it.host().is_empty()) else {
            return Err(error("it has a host: https://HOST/PATH"));
        };
        if authority.as_str().contains('@') {
            return Err(error(
                "it holds no user and password: write them into a file of their own",
            ));
        }
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(error("its port is a number from 1 to 65535"));
        }
        Ok(Self(uri))
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// The scheme, the host and the port.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |it| it.as_str());
        write!(f, "{scheme}://{authority}")
    }
}

/// As it is displayed.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}
