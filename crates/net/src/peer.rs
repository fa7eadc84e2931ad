//! Who is at the other end of a stream: addresses, what a proxy said, what TLS has proven.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is known of a peer once its handshakes are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the peer is: as the operating system says, or as a trusted proxy says.
    pub address: PeerAddress,
    /// How the peer's bytes come.
    pub transport: Transport,
    /// What the header of the PROXY protocol said.
    pub proxy: Option<Arc<ProxyInfo>>,
    /// What the TLS handshake has found, also below WebSocket and in QUIC.
    pub tls: Option<Arc<TlsInfo>>,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// An IPv4 or IPv6 address with its port.
    Network(SocketAddr),
    /// A process of this machine, on a Unix socket.
    Process {
        /// The number of its user.
        user: u32,
        /// The number of its group.
        group: u32,
        /// The number of the process, where the operating system tells.
        process: Option<i32>,
    },
}

/// How a peer's bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP.
    WebSocket,
    /// WebSocket over TLS.
    SecureWebSocket,
    /// QUIC.
    Quic,
    /// A Unix socket.
    Unix,
}

/// What a header of the PROXY protocol said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyInfo {
    /// The proxy that sent the header.
    pub proxy: PeerAddress,
    /// The address that the Client connected to.
    pub destination: Option<SocketAddr>,
    /// The host name that the Client asked for (SNI).
    pub authority: Option<String>,
    /// The protocol that the proxy and the Client agreed on (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// What the proxy says of the Client's TLS, if that ended at the proxy.
    pub tls: Option<ProxiedTls>,
}

/// What a proxy says of TLS that ended at the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedTls {
    /// The version, such as `TLSv1.3`.
    pub version: Option<String>,
    /// The Common Name of the Client's certificate. It means nothing unless `is_verified` is true.
    pub common_name: Option<String>,
    /// Whether the Client showed a certificate and the proxy found it good.
    pub is_verified: bool,
}

/// What a TLS handshake has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name; empty for QUIC, where it is not known.
    pub cipher_suite: String,
    /// The protocol agreed on (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// The host name that the Client asked for (SNI).
    pub server_name: Option<String>,
    /// The Client's certificate, verified.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// A peer's certificate, verified against the listener's authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject as RFC 4514 writes it: `CN=sensor-7,O=Example`.
    pub subject: String,
    /// The subject's (most specific) Common Name.
    pub common_name: Option<String>,
    /// The issuer as RFC 4514 writes it.
    pub issuer: String,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// Other names of the subject.
    pub alternative_names: Vec<AlternativeName>,
    /// When the certificate expires, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of the certificate.
    pub thumbprint: [u8; 32],
    /// The certificate and those between it and the authority, DER, as the peer sent them.
    pub chain: Vec<Vec<u8>>,
}

/// A Subject Alternative Name. Kinds that nobody uses for Clients are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host name.
    Dns(String),
    /// An e-mail address.
    Email(String),
    /// A URI, such as a SPIFFE identity.
    Uri(String),
    /// An IP address.
    Address(IpAddr),
}

impl PeerAddress {
    /// Returns the IP address, if there is one. An IPv4 address in IPv6 form is given as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Network(address) => Some(address.ip().to_canonical()),
            Self::Process { .. } => None,
        }
    }
}

impl PeerCertificate {
    /// Returns the thumbprint in lower-case hexadecimal digits.
    pub fn thumbprint_hex(&self) -> String {
        self.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Transport {
    /// Returns the name: `tcp`, `tls`, `ws`, `wss`, `quic` or `unix`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
            Self::SecureWebSocket => "wss",
            Self::Quic => "quic",
            Self::Unix => "unix",
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Process { user, process: Some(process), .. } => {
                write!(f, "process {process} of user {user}")
            }
            Self::Process { user, .. } => write!(f, "a process of user {user}"),
        }
    }
}
