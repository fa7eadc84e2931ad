//! How bytes arrive and leave: listeners, non-blocking streams, readiness.
//!
//! This crate knows no MQTT and none of the other crates: a transport is something that is
//! registered with a [`Poller`], read and written. Further transports become further kinds of
//! [`Stream`].

mod acceptor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod listen;
mod listener;
mod peer;
#[cfg(feature = "tls")]
mod plain;
mod poller;
#[allow(dead_code)] // until streams have layers
mod proxy;
mod stream;
#[cfg(feature = "websocket")]
#[allow(dead_code)] // until streams have layers
mod websocket;

pub use acceptor::{Accepted, Acceptor};
pub use listen::{
    CertificateFiles, ClientCertificates, Listen, ListenAddress, ListenerLimits, Protocol,
    ProxyMode, ProxyOptions, QuicOptions, TcpOptions, TlsOptions, TlsVersion, UnixOptions,
    WebSocketOptions,
};
pub use listener::{BindError, Listener};
pub use peer::{
    AlternativeName, Peer, PeerAddress, PeerCertificate, ProxiedTls, ProxyInfo, TlsInfo, Transport,
};
pub use poller::{Notifier, Poller, Readiness};
pub use stream::Stream;
