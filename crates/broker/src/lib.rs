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
//! who may do what with a [`Hook`]. Whatever the broker has to be asked for is a [`Reply`]: threads
//! call [`Reply::wait`], tasks of any runtime `.await` it. There are no globals: any number of
//! brokers can live in one process.
//!
//! Inside, this crate is the driver: workers that carry bytes between sockets and the
//! deterministic core. It decides nothing about MQTT itself.

mod access;
mod broker;
mod busy;
mod certificate_watch;
mod clock;
mod directory;
mod drop_log;
mod figures;
mod greeting;
mod handle;
mod hook;
mod inbox;
mod listener_terms;
mod listeners;
mod memory;
mod own_topics;
mod passing_on;
mod pending_bytes;
mod placement;
mod program;
mod pulse;
mod random;
mod spares;
mod storage;
mod subscription_log;
mod watch;
mod worker;

pub use access::Access;
pub use broker::{Broker, BrokerBuilder, StartError};
pub use clock::Clocks;
pub use figures::{Figure, Snapshot};
pub use handle::{BrokerHandle, ClientCursor};
pub use hook::{AuthReply, Hook};
pub use listener_terms::ListenerSettings;
pub use listeners::{Listener, ListenerChange};
pub use memory::Allocator;
pub use midge_auth;
pub use midge_codec::{ProtocolVersion, PublishProperties, QoS, ReasonCode, Rule, UserProperties};
pub use midge_core::{
    AuthAnswer, AuthRequest, AutoSubscription, Capabilities, ClientDetails, ClientInfo,
    ConnectionId, Counters, DisconnectReason, DropReason, Durability, EnhancedStep, Event,
    Identity, LimitRow, Limits, Rewrite, Settings, SharedStrategy, Source, SubscriptionInfo,
    TopicRules, Usage, User, UserAttribute, UserAttributes, UserFacts,
};
pub use midge_net::{
    AlternativeName, BindError, CertificateFiles, ClientCertificates, Listen, ListenAddress,
    ListenError, ListenerAddress, ListenerFigures, ListenerLimits, Peer, PeerAddress,
    PeerCertificate, Protocol, ProxiedTls, ProxyInfo, ProxyMode, ProxyOptions, QuicOptions,
    Refusal, Renewal, TcpOptions, TlsFileError, TlsInfo, TlsOptions, TlsVersion, Transport,
    UnixOptions, WebSocketOptions,
};
pub use midge_store::{Disk, DiskFile, OpenError, StoreUsage};
pub use placement::Placement;
pub use program::event_hub::EventStream;
pub use program::message::{OwnedMessage, ReceivedMessage};
pub use program::receiver::Receiver;
pub use program::reply::{NoRoom, Reply, RequestError, Stopped};
pub use program::session::{Acknowledge, ProgramSession, SessionMessage, SessionOptions};
pub use program::subscription::Subscription;
pub use storage::{Place, Storage};
