//! How bytes arrive and leave: listeners, non-blocking streams, readiness.
//!
//! This crate knows no MQTT and none of the other crates: a transport is something that is
//! registered with a [`Poller`], read and written. Further transports become further kinds of
//! [`Stream`].

mod acceptor;
mod admission;
mod buckets;
mod listen;
mod listener;
mod peer;
#[cfg(feature = "tls")]
#[cfg_attr(not(test), expect(dead_code, reason = "no stream has a layer yet"))]
mod plain;
mod poller;
#[cfg(feature = "quic")]
mod quic;
mod socket;
mod stream;
#[cfg(feature = "tls")]
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "no stream has it yet"))]
mod tls;
mod unix;

pub use acceptor::{Accepted, Acceptor};
pub use admission::{Admission, ListenerFigures, Refusal};
pub use listen::{
    CertificateFiles, ClientCertificates, Listen, ListenAddress, ListenerLimits, Protocol,
    ProxyMode, ProxyOptions, QuicOptions, TcpOptions, TlsOptions, TlsVersion, UnixOptions,
    WebSocketOptions,
};
pub use listener::{BindError, Listener, ListenerAddress};
pub use peer::{
    AlternativeName, Peer, PeerAddress, PeerCertificate, ProxiedTls, ProxyInfo, TlsInfo, Transport,
};
pub use poller::{Notifier, Poller, Readiness};
#[cfg(feature = "quic")]
pub use quic::{
    QuicAccepted, QuicClient, QuicDataStream, QuicListeners, QuicRuntime, QuicSocket, QuicStream,
    Received,
};
pub use stream::Stream;
#[cfg(feature = "tls")]
pub use tls::{CertificateInfo, TlsClient, TlsClientOptions, TlsFileError, TlsServer};
