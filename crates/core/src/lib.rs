//! The deterministic heart of Midge: it makes a broker's decisions, without any I/O.
//!
//! One [`Core`] is the brain of one worker. The driver (crate `midge-broker`, or a test) hands in
//! Control Packets, batches from other workers and the time; the core answers with [`Effects`]:
//! bytes to write, connections to close, batches to send. The same inputs in the same order give
//! the same effects, bit for bit.
//!
//! The modules are rooms that stand on each other, and doors that know all of them. A PUBLISH goes
//! through `core` (the door) -> `receive` (its topic, its acknowledgement) -> `route` (who gets it?
//! it first asks `gate`: may it?) -> `clients` (now or later?) -> `connection` (its bytes).
//! ARCHITECTURE.md lists all rooms from the bottom up.
//!
//! This crate must never name a clock, a random source, a socket, a file or an asynchronous
//! runtime.

mod base;
mod boundary;
mod clients;
mod config;
mod connection;
mod conversation;
mod core;
mod gate;
mod ground;
mod holding;
mod listing;
mod moving;
mod peer_gone;
mod peers;
mod receive;
mod reconfiguring;
mod remains;
mod retained;
mod revoking;
mod route;
mod session;
mod shared;
mod storage;
mod strain;
mod subscribe;
mod topics;
mod tree;
mod usage;
mod waiting;

pub use crate::core::Core;
pub use base::budget::NodeBudget;
pub use base::counted::{Counted, counted};
pub use base::counters::Counters;
pub use base::drop_reason::DropReason;
pub use base::durability::{Durability, DurabilityRules};
pub use base::identifiers::Identifiers;
pub use base::identity::{
    ConnectionId, CredentialRule, Identity, PROGRAM_CLIENT_ID_PREFIX, PolicyNote, SessionId,
    Source, UserAttribute, UserAttributes, UserFacts, WorkerId,
};
pub use base::limits::{LimitRow, Limits};
pub use base::message::{Attributes, Message, MessageParts, StoredAt};
pub use base::strain::MemoryPressure;
pub use base::strategy::SharedStrategy;
pub use base::time::Timestamp;
pub use boundary::drop_notes::DropNote;
pub use boundary::effects::{
    AuthAnswer, AuthRequest, Close, DisconnectReason, Effects, EnhancedStep, Event, LocalDelivery,
    StreamError, User,
};
pub use boundary::packet_lines::{PacketLine, TracedPacket, Tracing};
pub use boundary::peer_encoding::PeerDecodeError;
pub use boundary::peer_messages::PeerMessage;
pub use boundary::store_records::{
    Commit, Enqueue, FREE_AHEAD, Fetch, Fetched, FetchedEntry, GroupRecord, Kept, Owner, Receipt,
    Recovered, RecoveredQueue, RecoveredSession, RecoveredSessions, Round, SessionRecord, StoreOp,
    StoredDelivery, SubscriptionRecord, WillRecord,
};
pub use boundary::turn::Turn;
pub use config::CoreConfig;
pub use connection::Opening;
pub use connection::capabilities::Capabilities;
pub use connection::output::Output;
pub use conversation::local::LocalPublish;
pub use gate::{AllowAll, Policy};
pub use listing::{ClientDetails, ClientInfo, ClientPage, SubscriptionInfo};
pub use moving::{MoveRefusal, MovedSession};
pub use reconfiguring::Settings;
pub use storage::storable;
pub use topics::rewrite::{AutoSubscription, Rewrite, TopicRules};
pub use usage::Usage;
