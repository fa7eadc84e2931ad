//! What a listener is asked to be: where it listens, by which transport, and for whom.
//!
//! These are plain values without sockets; [`crate::Listeners::bind`] makes listeners of them. All
//! of them exist in every build: a build that lacks a transport says so when it is asked to listen.

use std::fmt;
use std::net::IpAddr;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

/// A listener that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens.
    pub address: ListenAddress,
    /// What carries MQTT's bytes.
    pub protocol: Protocol,
    /// TLS below the protocol, if any. QUIC always needs it.
    pub tls: Option<TlsOptions>,
    /// Whether proxies tell where connections come from.
    pub proxy: ProxyOptions,
    /// Options of TCP sockets.
    pub tcp: TcpOptions,
    /// Owner and mode of a Unix socket.
    pub unix: UnixOptions,
    /// How much the listener takes.
    pub limits: ListenerLimits,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `IP:PORT` or `NAME:PORT`. `[::]:PORT` takes IPv4 too; port 0 is any free port.
    Network(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// What carries MQTT's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing: MQTT's bytes are the stream itself.
    Mqtt,
    /// Binary messages of WebSocket.
    WebSocket(WebSocketOptions),
    /// Streams of QUIC.
    Quic(QuicOptions),
}

/// Which requests are taken as the start of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// The path of the URL; others are answered with 404.
    pub path: String,
    /// Web origins (such as `https://example.org`) whose pages may connect; empty: any. Requests
    /// without an origin do not come from a browser and are always taken.
    pub origins: Vec<String>,
}

/// Options of QUIC listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicOptions {
    /// After this much silence the connection is lost; zero: never.
    pub idle_timeout: Duration,
    /// How often a silent peer is asked whether it is still there; zero: never.
    pub keep_alive: Duration,
    /// Whether data of a resumed connection is taken before its handshake is complete (0-RTT).
    /// Anybody who has seen such data can replay it.
    pub early_data: bool,
    /// Data streams that one connection may have in addition to its control stream.
    pub data_streams_max: u16,
}

/// The files of a TLS listener.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// Certificates with their keys. A Client gets the certificate with the name that it asks for
    /// (SNI), otherwise the first one.
    pub certificates: Vec<CertificateFiles>,
    /// Whether Clients show a certificate.
    pub client_certificates: ClientCertificates,
    /// Certificates of the authorities that Clients' certificates have to come from.
    pub client_ca: Vec<PathBuf>,
    /// Lists of Clients' certificates that were revoked.
    pub client_crl: Vec<PathBuf>,
    /// The oldest TLS version that is accepted.
    pub version_min: TlsVersion,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The file with the server's certificate first, then those between it and the authority.
    pub certificate: PathBuf,
    /// The file with the key, in PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Whether Clients of a TLS listener show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Clients are not asked for a certificate.
    #[default]
    Off,
    /// Clients may show one; a wrong one is refused.
    Optional,
    /// Clients must show one.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Whether connections begin with a header of the PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Whether connections may or must begin with a header.
    pub mode: ProxyMode,
    /// Networks that proxies are in; a header from elsewhere is refused. Empty: any.
    pub from: Vec<IpNet>,
}

/// Whether connections begin with a header of the PROXY protocol, version 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// No header is expected: everything belongs to the protocol.
    #[default]
    Off,
    /// Connections may begin with a header.
    Optional,
    /// Connections must begin with a header.
    Required,
}

/// Options of TCP sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Whether small writes leave at once.
    pub no_delay: bool,
    /// After how much silence the operating system asks the peer whether it is still there; zero:
    /// never.
    pub keep_alive: Duration,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
}

/// Who may use a Unix socket. An absent owner or group is that of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixOptions {
    /// A user's name or number.
    pub owner: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
    /// Permissions; absent: `0o660`, for the owner and the group.
    pub mode: Option<u32>,
}

/// How much a listener takes. 0 means no limit, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections at the same time.
    pub connections_max: u32,
    /// New connections in a second. As many may come at once.
    pub connection_rate_max: u32,
    /// New connections in a second from one address.
    pub connection_rate_per_address_max: u32,
    /// Connections that are in the middle of the handshake of TLS, WebSocket or QUIC.
    pub handshakes_max: u32,
    /// How long a Client has from its connection to a complete CONNECT, handshakes included;
    /// absent: as the broker's limits say.
    pub connect_deadline: Option<Duration>,
    /// Bytes of the first packet; absent: as the broker's limits say.
    pub packet_before_connect_bytes_max: Option<u32>,
}

impl Listen {
    /// Returns a listener for MQTT over plain TCP on `IP:PORT` or `NAME:PORT`, or over a Unix
    /// socket on `unix:PATH`.
    pub fn new(address: impl AsRef<str>) -> Self {
        let address = address.as_ref();
        let address = match address.strip_prefix("unix:") {
            Some(path) => ListenAddress::Unix(path.into()),
            None => ListenAddress::Network(address.to_string()),
        };
        Self {
            address,
            protocol: Protocol::Mqtt,
            tls: None,
            proxy: ProxyOptions::default(),
            tcp: TcpOptions::default(),
            unix: UnixOptions::default(),
            limits: ListenerLimits::default(),
        }
    }

    /// Carries MQTT in WebSocket messages.
    #[must_use]
    pub fn websocket(mut self, options: WebSocketOptions) -> Self {
        self.protocol = Protocol::WebSocket(options);
        self
    }

    /// Carries MQTT in QUIC streams, over UDP; needs [`Listen::tls`].
    #[must_use]
    pub fn quic(mut self, options: QuicOptions) -> Self {
        self.protocol = Protocol::Quic(options);
        self
    }

    /// Adds TLS.
    #[must_use]
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = Some(options);
        self
    }
}

impl Listen {
    /// Returns whether both listen at the same place, where a later listener takes over the socket
    /// of the earlier one. A path may be written in several ways, below the working directory or
    /// from the root; symbolic links are not followed.
    pub fn is_at_place_of(&self, other: &Self) -> bool {
        let is_same_address = match (&self.address, &other.address) {
            (ListenAddress::Unix(one), ListenAddress::Unix(other)) => is_same_path(one, other),
            (one, other) => one == other,
        };
        is_same_address && self.is_quic() == other.is_quic()
    }

    pub(crate) fn is_quic(&self) -> bool {
        matches!(self.protocol, Protocol::Quic(_))
    }

    /// Returns whether a TLS handshake leads to the same protocol.
    pub(crate) fn offers_as(&self, other: &Self) -> bool {
        let is_websocket = |it: &Self| matches!(it.protocol, Protocol::WebSocket(_));
        is_websocket(self) == is_websocket(other)
    }
}

fn is_same_path(one: &Path, other: &Path) -> bool {
    let absolute = |path| path::absolute(path).ok();
    one == other || absolute(one).is_some_and(|one| Some(one) == absolute(other))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<T: AsRef<str>> From<T> for Listen {
    fn from(address: T) -> Self {
        Self::new(address)
    }
}

impl TlsOptions {
    /// Returns options with one certificate and its key, which ask for no certificates of Clients.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let files = CertificateFiles { certificate: certificate.into(), key: key.into() };
        Self { certificates: vec![files], ..Self::default() }
    }

    /// Requires Clients to show a certificate of this authority.
    #[must_use]
    pub fn client_ca(mut self, ca: impl Into<PathBuf>) -> Self {
        self.client_ca.push(ca.into());
        self.client_certificates = ClientCertificates::Required;
        self
    }
}

impl ProxyOptions {
    /// Returns whether a proxy may be at this address.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.from.is_empty() || self.from.iter().any(|network| network.contains(&address))
    }
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self { path: "/mqtt".to_string(), origins: Vec::new() }
    }
}

impl Default for QuicOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(20),
            early_data: false,
            data_streams_max: 16,
        }
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { no_delay: true, keep_alive: Duration::from_secs(300), backlog: 4096 }
    }
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 0,
            connection_rate_max: 0,
            connection_rate_per_address_max: 0,
            handshakes_max: 4096,
            connect_deadline: None,
            packet_before_connect_bytes_max: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_place_however_it_is_written() {
        let here = std::env::current_dir().unwrap();
        let absolute = format!("unix:{}/s", here.display());
        for (one, other, is_same) in [
            ("unix:/run/s", "unix:/run//./s", true),
            ("unix:s", "unix:./s", true),
            ("unix:s", absolute.as_str(), true),
            ("unix:s", "unix:/s", false),
            ("unix:s", "s", false),
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
        ] {
            let is_at_place = Listen::new(one).is_at_place_of(&Listen::new(other));
            assert_eq!(is_at_place, is_same, "{one} and {other}");
        }
    }
}
