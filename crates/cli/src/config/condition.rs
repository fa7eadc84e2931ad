//! What a listener has to be for some of its keys to mean something. The `listener_rules` decide
//! whether it is that.

/// What a listener has to be for a key to mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// One with TLS.
    Tls,
    /// One that speaks WebSocket.
    WebSocket,
    /// One that speaks QUIC.
    Quic,
    /// One that has a Unix socket.
    Unix,
    /// One that has a TCP socket.
    Tcp,
    /// One that can have the PROXY protocol: any but QUIC.
    NoQuic,
    /// One that has switched the PROXY protocol on.
    Proxy,
    /// One whose version of TLS can be chosen.
    TlsVersions,
    /// One whose connections begin with a handshake.
    Handshakes,
    /// One whose Clients have addresses.
    Addresses,
}
