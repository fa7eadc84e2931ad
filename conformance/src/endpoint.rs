//! Where a broker listens, as a URL names it, and what carries MQTT's bytes there.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// What carries MQTT's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP.
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
    /// One bidirectional stream of QUIC.
    Quic,
}

/// How the broker's certificate is verified, if there is one.
#[derive(Clone, Debug)]
pub enum Trust {
    /// It is not verified.
    Anybody,
    /// It has to be issued by this authority and to name the host.
    Authority(CertificateDer<'static>),
}

/// A listener of the broker under test.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What carries MQTT's bytes there.
    pub carrier: Carrier,
    /// Its host as the URL names it: the name that TLS and WebSocket request.
    pub host: String,
    /// Its address.
    pub address: SocketAddr,
    /// The path of a WebSocket; empty elsewhere.
    pub path: String,
    /// How its certificate is verified.
    pub trust: Trust,
}

impl Carrier {
    /// All carriers, with the names that environment variables and URLs use.
    pub const ALL: [(&'static str, &'static str, Self); 5] = [
        ("tcp", "mqtt", Self::Tcp),
        ("tls", "mqtts", Self::Tls),
        ("ws", "ws", Self::WebSocket),
        ("wss", "wss", Self::WebSocketTls),
        ("quic", "quic", Self::Quic),
    ];

    /// Returns the carrier of this name, such as `tls`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _, _)| *known == name).map(|(_, _, carrier)| *carrier)
    }

    fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == scheme).map(|(_, _, carrier)| *carrier)
    }

    /// Returns whether it carries WebSocket messages.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

impl Endpoint {
    /// Returns the listener that `text` names: `host:port`, or a URL such as
    /// `wss://host:port/mqtt`.
    ///
    /// # Errors
    /// When `text` is not such a URL or its host has no address; the text says why.
    pub fn parse(text: &str, trust: Trust) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("mqtt", text));
        let carrier = Carrier::of_scheme(scheme).ok_or_else(|| {
            let known: Vec<_> = Carrier::ALL.iter().map(|(_, scheme, _)| *scheme).collect();
            format!("no scheme {scheme:?}, only {}", known.join(", "))
        })?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None if carrier.is_websocket() => (rest, "/mqtt".to_owned()),
            None => (rest, String::new()),
        };
        let (host, _) = authority.rsplit_once(':').ok_or("no port")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut found = authority.to_socket_addrs().map_err(|error| error.to_string())?;
        let address = found.next().ok_or("no address")?;
        Ok(Self { carrier, host, address, path, trust })
    }
}

impl Trust {
    /// Trusts the first certificate of a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn in_file(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| error.to_string())?;
        let certificate = CertificateDer::from_pem_slice(&text);
        certificate.map(Self::Authority).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, String> {
        Endpoint::parse(text, Trust::Anybody)
    }

    #[test]
    fn url_says_carrier_and_address() {
        let plain = parse("127.0.0.1:1883").expect("an address");
        assert_eq!((plain.carrier, plain.host.as_str()), (Carrier::Tcp, "127.0.0.1"));
        let secure = parse("mqtts://[::1]:8883").expect("an address");
        assert_eq!((secure.carrier, secure.host.as_str()), (Carrier::Tls, "::1"));
        assert_eq!(secure.address, "[::1]:8883".parse().expect("an address"));
        for (text, path) in [("ws://127.0.0.1:80", "/mqtt"), ("ws://127.0.0.1:80/a/b", "/a/b")] {
            assert_eq!(parse(text).expect("an address").path, path);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["127.0.0.1", "http://127.0.0.1:80", "mqtt://:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
