//! How bytes arrive and leave: listeners, non-blocking streams, readiness.
//!
//! This crate knows neither MQTT nor the other crates: a transport is something that is registered
//! with a [`Poller`], read and written. Further transports become further kinds of [`Stream`].

mod accepting;
mod acceptor;
mod admission;
mod buckets;
#[cfg(feature = "client")]
mod connector;
mod entrance;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg_attr(
    not(feature = "client"),
    allow(dead_code, reason = "only the other side uses all of it")
)]
mod layered;
mod listen;
mod listener;
mod listener_control;
mod listeners;
mod neighbours;
mod peer;
#[cfg_attr(
    not(feature = "client"),
    allow(dead_code, reason = "only the other side uses all of it")
)]
mod plain;
mod poller;
mod proxy;
#[cfg(feature = "quic")]
mod quic;
mod running_listeners;
mod scratch;
mod socket;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(feature = "tls")]
#[cfg_attr(
    not(all(feature = "client", feature = "quic")),
    allow(
        dead_code,
        unused_imports,
        reason = "what only QUIC and Clients use is part of TLS, too"
    )
)]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_absent.rs"]
#[cfg_attr(
    not(feature = "client"),
    allow(dead_code, reason = "only the other side uses all of it")
)]
mod tls;
mod unix;
#[cfg(feature = "websocket")]
#[cfg_attr(
    not(feature = "client"),
    allow(dead_code, reason = "only the other side uses all of it")
)]
mod websocket;
#[cfg(not(feature = "websocket"))]
#[path = "websocket_absent.rs"]
mod websocket;

pub use acceptor::Accepted;
pub use admission::{ListenerFigures, Refusal};
#[cfg(feature = "client")]
pub use connector::{Connector, Target};
pub use entrance::Entrance;
pub use listen::{
    CertificateFiles, ClientCertificates, Listen, ListenAddress, ListenerLimits, Protocol,
    ProxyMode, ProxyOptions, QuicOptions, TcpOptions, TlsOptions, TlsVersion, UnixOptions,
    WebSocketOptions,
};
pub use listener::{BindError, ListenerAddress};
pub use listener_control::{ListenerControl, Renewal};
pub use listeners::{ListenError, Listeners};
pub use neighbours::addresses_collide;
pub use peer::{
    AlternativeName, Peer, PeerAddress, PeerCertificate, ProxiedTls, ProxyInfo, TlsInfo, Transport,
};
pub use poller::{Notifier, Poller, Readiness, Watcher};
pub use running_listeners::{ListenerChanges, ReadyChanges, RunningListeners};
pub use scratch::Scratch;
pub use stream::{Received, Stream};
#[cfg(feature = "tls")]
pub use tls::{CertificateInfo, TlsClient, TlsClientOptions};
pub use tls::{TlsFileError, TlsServer};
pub use unix::accounts::SocketAccount;
