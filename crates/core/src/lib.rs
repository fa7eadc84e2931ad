//! The deterministic heart of Midge: it makes a broker's decisions, without any I/O.
//!
//! One [`Core`] is the brain of one worker. The driver (crate `midge-broker`, or a test) hands in
//! Control Packets, batches from other workers and the time; the core answers with [`Effects`]:
//! bytes to write, connections to close, batches to send. The same inputs in the same order give
//! the same effects, bit for bit.
//!
//! A packet's path through the modules: `core` (the entry points) -> `publishing` (a PUBLISH and
//! its acknowledgement) -> `gate` (may it?) -> `routing` (who gets it?) -> `clients` (now or
//! later?) -> `layouts` and `output` (its bytes).
//!
//! This crate must never name a clock, a random source, a socket, a file or an asynchronous
//! runtime.

mod acknowledging;
mod admitting;
mod answering;
mod authenticating;
mod automatic;
mod backlog;
mod beginnings;
mod budget;
mod capabilities;
mod child_table;
mod clients;
mod connect;
mod connection;
mod core;
mod counted;
mod counters;
mod data_streams;
mod delayed;
mod destination;
mod drops;
mod durability;
mod effects;
mod ending;
mod exclusive;
mod expiring;
mod filter_request;
mod gate;
mod group_backlog;
mod hashing;
mod holding;
mod identity;
mod layouts;
mod level_tree;
mod limits;
mod listing;
mod local;
mod members;
mod message;
mod numbers;
mod outgoing;
mod output;
mod own_topics;
mod peer;
mod peers;
mod pending;
mod publishing;
mod random;
mod reconfiguring;
mod releasing;
mod remains;
mod restoring;
mod retained;
mod retained_traffic;
mod retained_tree;
mod rewrite;
mod rounds;
mod routing;
mod sent;
mod session;
mod shared;
mod silence;
mod slices;
pub mod storable;
mod stored;
mod storing;
mod strain;
mod strategy;
mod subscribing;
mod subscription_tree;
mod time;
mod timers;
mod trace;
mod turn;
mod turn_bytes;
mod unsubscribing;
mod usage;
mod wishes;
mod work;

pub use crate::core::{Core, CoreConfig};
pub use budget::NodeBudget;
pub use capabilities::Capabilities;
pub use connection::Opening;
pub use counted::{Counted, counted};
pub use counters::Counters;
pub use data_streams::StreamError;
pub use drops::{DropNote, DropReason};
pub use durability::DurabilityRules;
pub use effects::{
    AuthAnswer, AuthRequest, DisconnectReason, Effects, EnhancedStep, Event, LocalDelivery,
};
pub use gate::{AllowAll, Policy};
pub use identity::{ConnectionId, Identity, SessionId, WorkerId};
pub use limits::{LimitRow, Limits};
pub use listing::ClientInfo;
pub use local::LocalPublish;
pub use message::{Attributes, Message, MessageParts, StoredAt};
pub use outgoing::Identifiers;
pub use output::Output;
pub use peer::PeerMessage;
pub use reconfiguring::Settings;
pub use rewrite::{AutoSubscription, Rewrite, TopicRules};
pub use stored::{
    Commit, Durability, Enqueue, FREE_AHEAD, Fetch, Fetched, FetchedEntry, GroupRecord, Kept,
    Owner, Receipt, Recovered, RecoveredQueue, RecoveredSession, Round, SessionRecord, StoreOp,
    StoredDelivery, SubscriptionRecord, WillRecord,
};
pub use strain::MemoryPressure;
pub use strategy::SharedStrategy;
pub use time::Timestamp;
pub use trace::{PacketLine, TracedPacket, Tracing};
pub use turn::Turn;
pub use usage::Usage;
