//! The Midge MQTT broker as a library: a whole broker inside a program.
//!
//! ```
//! use midge_broker::Broker;
//!
//! let broker = Broker::builder().listen("127.0.0.1:0").start()?;
//! println!("listening on {}", broker.local_addresses()[0]);
//! # broker.stop(std::time::Duration::from_secs(1));
//! # Ok::<(), midge_broker::StartError>(())
//! ```
//!
//! The program publishes, subscribes and manages Clients through a [`BrokerHandle`], and decides
//! who may do what with a [`Hook`]. There are no globals: any number of brokers can live in one
//! process.
//!
//! Inside, this crate is the driver: workers that carry bytes between sockets and the
//! deterministic core. It decides nothing about MQTT itself.

mod authenticating;
mod bounded_queue;
mod broker;
mod carrying_out;
mod certificate_watch;
mod clock;
mod closing;
mod connect_lines;
mod departures;
mod directory;
mod drop_log;
mod event_log;
mod event_stream;
mod figures;
mod greeting;
mod guard;
mod handle;
mod hook;
mod inbox;
mod listener_terms;
mod listeners;
mod locals;
mod log_limit;
mod memory;
mod memory_log;
mod message;
mod own_topics;
mod packet_log;
mod pending_bytes;
mod pulse;
mod random;
mod reading;
mod recovery;
mod reply;
mod sockets;
mod storage;
mod subscription;
mod unfinished;
mod watch;
mod worker;

pub use broker::{Broker, BrokerBuilder, StartError};
pub use clock::Clocks;
pub use event_stream::EventStream;
pub use figures::{Figure, Snapshot};
pub use handle::{BrokerHandle, ClientCursor, RequestError};
pub use hook::{AuthReply, Hook};
pub use listener_terms::ListenerSettings;
pub use listeners::{Listener, ListenerChange};
pub use memory::Allocator;
pub use message::{OwnedMessage, ReceivedMessage};
pub use midge_codec::{ProtocolVersion, PublishProperties, QoS, ReasonCode, Rule, UserProperties};
pub use midge_core::{
    AuthAnswer, AuthRequest, AutoSubscription, Capabilities, ClientDetails, ClientInfo,
    ConnectionId, Counters, DisconnectReason, DropReason, Durability, EnhancedStep, Event,
    Identity, LimitRow, Limits, Rewrite, Settings, SharedStrategy, Source, SubscriptionInfo,
    TopicRules, Usage, User, UserAttribute, UserAttributes,
};
pub use midge_net::{
    AlternativeName, BindError, CertificateFiles, ClientCertificates, Listen, ListenAddress,
    ListenError, ListenerAddress, ListenerFigures, ListenerLimits, Peer, PeerAddress,
    PeerCertificate, Protocol, ProxiedTls, ProxyInfo, ProxyMode, ProxyOptions, QuicOptions,
    Refusal, Renewal, TcpOptions, TlsFileError, TlsInfo, TlsOptions, TlsVersion, Transport,
    UnixOptions, WebSocketOptions,
};
pub use midge_store::{Disk, DiskFile, OpenError, StoreUsage};
pub use reply::{Reply, Stopped};
pub use storage::{Place, Storage};
pub use subscription::Subscription;
