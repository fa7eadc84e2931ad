//! What comes out of the core: everything that the driver has to do after it has handed something
//! in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use midge_codec::{ProtocolVersion, QoS, ReasonCode};

use crate::base::drop_reason::DropReason;
use crate::base::identity::{ConnectionId, Identity, UserFacts, WorkerId};
use crate::base::message::Message;
use crate::boundary::drop_notes::{DropIndex, DropNote};
use crate::boundary::packet_lines::TracedPacket;
use crate::boundary::peer_messages::PeerMessage;
use crate::boundary::store_records::{Commit, Fetch, StoreOp};

/// Effects gather over a turn; the driver carries them out at its end and clears them.
#[derive(Debug, Default)]
pub struct Effects {
    /// Connections with something to write; each at most once a turn.
    pub flush: Vec<ConnectionId>,
    /// Connections to close once the rest of their output was offered to the socket. The driver
    /// answers with `Core::handle_closed`.
    pub close: Vec<Close>,
    /// Data streams that are closed because of an error; they are in `close`, too.
    pub stream_errors: Vec<StreamError>,
    /// Connections that the driver has to stop (`false`) or resume (`true`) reading and decoding.
    pub reading: Vec<(ConnectionId, bool)>,
    /// CONNECT packets that wait for a decision.
    pub authenticate: Vec<AuthRequest>,
    /// Messages for the other workers of this node, by worker index, in order.
    pub to_workers: Vec<Vec<PeerMessage>>,
    /// Messages for subscribers inside the process.
    pub local: Vec<LocalDelivery>,
    /// Subscriptions of subscribers inside the process that are in effect now, with their Reason
    /// Codes.
    pub local_subscribed: Vec<(ConnectionId, Vec<ReasonCode>)>,
    /// What became of messages that the process itself published, by ticket.
    pub local_published: Vec<(u64, Result<usize, DropReason>)>,
    /// Commits for the store, in order. The store must have them before `to_workers` leaves.
    pub commits: Vec<Commit>,
    /// Lists of earlier commits that the store has emptied: the next ones need no new memory. The
    /// driver may leave this empty.
    pub emptied_ops: Vec<Vec<StoreOp>>,
    /// Questions to the store, behind the commits. The driver answers with `Core::handle_fetched`.
    pub fetches: Vec<Fetch>,
    /// What happened, for logs and hooks.
    pub events: Vec<Event>,
    /// What was dropped, for the log. Nothing has to be done about it, and it stays until the
    /// driver takes it.
    pub drops: Vec<DropNote>,
    pub(crate) drop_index: DropIndex,
    /// Packets that leave, if they are traced. They stay until the driver takes them, too.
    pub traced: Vec<TracedPacket>,
    /// Clients of which this worker holds nothing any more, neither itself nor in the store. Any
    /// worker may have their next Session, unless [`Core::owns`](crate::Core::owns) says otherwise
    /// by then.
    pub disowned: Vec<Arc<Identity>>,
}

/// A connection that is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The connection.
    pub connection: ConnectionId,
    /// Its Client has sent a DISCONNECT, behind which nothing may come [MQTT-3.14.4-2]: nothing
    /// that is under way from it can disturb what it has not read yet.
    pub has_left: bool,
}

/// A CONNECT (or AUTH) whose Client has to be authenticated.
#[derive(Clone)]
pub struct AuthRequest {
    /// The connection that the answer is for.
    pub connection: ConnectionId,
    /// The number of the listener that the Client came by. Listeners that are there at the start
    /// are numbered from 0; one that comes later gets a number that no connected Client came by.
    /// Absent if the connection was opened by no listener.
    pub listener: Option<u16>,
    /// The protocol it speaks.
    pub version: ProtocolVersion,
    /// The Client Identifier, assigned already if it was empty.
    pub client_id: Box<str>,
    /// Whether the Client Identifier was assigned just now: a driver with several workers has to
    /// check that nobody has it on another one.
    pub is_assigned: bool,
    /// The User Name.
    pub user_name: Option<Box<str>>,
    /// The Password.
    pub password: Option<Box<[u8]>>,
    /// Enhanced authentication: its method and the data of this step.
    pub enhanced: Option<EnhancedStep>,
}

/// One step of an enhanced authentication (MQTT 5.0 section 4.12).
#[derive(Clone)]
pub struct EnhancedStep {
    /// The Authentication Method.
    pub method: Box<str>,
    /// The Authentication Data of this packet.
    pub data: Option<Box<[u8]>>,
    /// Whether the Client is connected already and authenticates anew.
    pub reauthentication: bool,
}

/// The decision about an [`AuthRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// The Client is admitted.
    Allow {
        /// As whom.
        user: User,
        /// Authentication Data for the CONNACK or AUTH of an enhanced authentication.
        data: Option<Box<[u8]>>,
    },
    /// The Client is refused with this Reason Code.
    Refuse(ReasonCode),
    /// The enhanced authentication goes on with this data.
    Continue(Option<Box<[u8]>>),
}

/// As whom a Client is admitted. The default is nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user name for authorization; usually the one that was asked for. A Client that
    /// authenticates anew stays the same user: without a name here, or with the same one. With
    /// another one, it is disconnected (0x87).
    pub name: Option<Box<str>>,
    /// Further facts for authorization.
    pub facts: UserFacts,
    /// How long the user's credential is valid, from now on; absent: for ever. When it ends, so
    /// does the Network Connection, unless the user has authenticated anew: MQTT 5 Clients are told
    /// 0xA0 Maximum connect time.
    pub valid_for: Option<Duration>,
}

impl User {
    /// The user of this name, of which nothing else is known.
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

impl AuthAnswer {
    /// Admits a Client as the user of this name, or as nobody in particular.
    pub fn allow(user_name: Option<Box<str>>) -> Self {
        Self::Allow { user: User { name: user_name, ..User::default() }, data: None }
    }
}

/// A message for a subscriber inside the process.
#[derive(Clone, Debug)]
pub struct LocalDelivery {
    /// The subscriber, as `Core::open_local` named it.
    pub connection: ConnectionId,
    /// The message.
    pub message: Message,
    /// The QoS it was delivered with.
    pub qos: QoS,
    /// Whether it was retained before the subscription was made.
    pub retain: bool,
}

/// An error of the peer that ends one data stream only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The stream.
    pub stream: ConnectionId,
    /// What the peer is told.
    pub reason_code: ReasonCode,
    /// The rule, in words.
    pub detail: String,
}

/// Why a Network Connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The Client sent a DISCONNECT with this Reason Code.
    ByClient(ReasonCode),
    /// The peer closed the Network Connection, or it broke.
    ConnectionLost,
    /// The peer broke a rule of the protocol; `detail` names it.
    ProtocolViolation {
        /// As sent to MQTT 5 Clients.
        reason_code: ReasonCode,
        /// The rule, in words, with its statement where it has one.
        detail: String,
    },
    /// The Keep Alive ran out.
    KeepAliveTimeout,
    /// No CONNECT came in time.
    ConnectTimeout,
    /// Another Network Connection took the Session over.
    TakenOver,
    /// The broker ended it, with this Reason Code.
    ByServer(ReasonCode),
}

/// Something that logs and hooks want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A Client is connected.
    Connected {
        /// Its connection.
        connection: ConnectionId,
        /// Who it is.
        client: Arc<Identity>,
        /// The protocol it speaks.
        version: ProtocolVersion,
        /// Whether it resumed a Session.
        session_present: bool,
        /// The User Name that it named in its CONNECT, whatever user it was taken for.
        asked_user_name: Option<Box<str>>,
        /// The Keep Alive in seconds that applies; 0: none.
        keep_alive_seconds: u16,
        /// Whether it asked for a Clean Start (3.x: Clean Session).
        clean_start: bool,
    },
    /// A CONNECT was refused.
    Refused {
        /// Its connection.
        connection: ConnectionId,
        /// The Client Identifier that was asked for.
        client_id: Box<str>,
        /// The User Name that it named in its CONNECT.
        user_name: Option<Box<str>>,
        /// Why.
        reason_code: ReasonCode,
        /// Why, in words.
        detail: String,
    },
    /// A Network Connection ended.
    Disconnected {
        /// Which one.
        connection: ConnectionId,
        /// Who it was; absent unless its Client was told that it is connected.
        client: Option<Arc<Identity>>,
        /// Why.
        reason: DisconnectReason,
    },
    /// A Session ended: its Client Identifier belongs to nobody now.
    SessionEnded {
        /// Whose it was.
        client: Arc<Identity>,
    },
    /// A subscription was made, or refused.
    Subscribed {
        /// By whom.
        client: Arc<Identity>,
        /// The filter as it was asked for.
        filter: Box<str>,
        /// As the SUBACK tells it.
        reason_code: ReasonCode,
    },
    /// A subscription that the configuration makes for every Client was not made for this one.
    NotSubscribed {
        /// For whom.
        client: Arc<Identity>,
        /// The filter as the configuration has it.
        filter: Box<str>,
        /// Why, in words.
        detail: &'static str,
    },
    /// A subscription was given up.
    Unsubscribed {
        /// By whom.
        client: Arc<Identity>,
        /// The filter.
        filter: Box<str>,
    },
    /// A message was dropped; reported only if the driver asked for it.
    Dropped {
        /// Who would have received it; absent if it was nobody in particular.
        receiver: Option<Arc<Identity>>,
        /// Who published it, if it was refused and reaches nobody.
        publisher: Option<Arc<Identity>>,
        /// The topic; empty if it is not known any more.
        topic: Box<str>,
        /// Why.
        reason: DropReason,
        /// How many messages; more than one only if their topics are not known any more.
        count: u64,
    },
}

impl Event {
    /// Whether it reports a subscription that somebody asked for and did not get.
    pub(crate) fn is_refused_subscription(&self) -> bool {
        matches!(self, Self::Subscribed { reason_code, .. } if reason_code.is_error())
    }
}

impl Effects {
    /// Makes empty effects, for a node of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { to_workers: (0..workers).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.flush.is_empty()
            && self.close.is_empty()
            && self.stream_errors.is_empty()
            && self.reading.is_empty()
            && self.authenticate.is_empty()
            && self.local.is_empty()
            && self.local_subscribed.is_empty()
            && self.local_published.is_empty()
            && self.commits.is_empty()
            && self.fetches.is_empty()
            && self.events.is_empty()
            && self.disowned.is_empty()
            && self.to_workers.iter().all(Vec::is_empty)
    }

    pub(crate) fn send(&mut self, worker: WorkerId, message: PeerMessage) {
        self.to_workers[worker.index()].push(message);
    }
}

impl fmt::Debug for AuthRequest {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("connection", &self.connection)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

impl DisconnectReason {
    /// Returns the Reason String of a DISCONNECT; `None` if it would say no more than the Reason
    /// Code beside it.
    pub(crate) fn reason_string(&self) -> Option<String> {
        match self {
            Self::ByClient(_) | Self::ByServer(_) => None,
            Self::ProtocolViolation { detail, .. } => Some(detail.clone()),
            reason => Some(reason.to_string()),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByClient(ReasonCode::Success) => f.write_str("the client disconnected"),
            Self::ByClient(code) => write!(f, "the client disconnected: {}", code.name()),
            Self::ConnectionLost => f.write_str("the connection was closed without DISCONNECT"),
            Self::ProtocolViolation { reason_code, detail } => {
                write!(f, "{detail}: {} (0x{:02X})", reason_code.name(), *reason_code as u8)
            }
            Self::KeepAliveTimeout => f.write_str("nothing came within 1.5 times the Keep Alive"),
            Self::ConnectTimeout => f.write_str("no CONNECT came in time"),
            Self::TakenOver => f.write_str("another connection took the session over"),
            Self::ByServer(code) => write!(f, "ended by the broker: {}", code.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::ReasonCode;

    use super::DisconnectReason;

    #[test]
    fn a_reason_string_does_not_repeat_the_reason_code() {
        let reason_code = ReasonCode::ProtocolError;
        let detail = "a second CONNECT".to_string();
        let violation = DisconnectReason::ProtocolViolation { reason_code, detail };
        assert_eq!(violation.reason_string().as_deref(), Some("a second CONNECT"));
        let by_server = DisconnectReason::ByServer(ReasonCode::ServerShuttingDown);
        assert_eq!(by_server.reason_string(), None);
        let silent = DisconnectReason::KeepAliveTimeout.reason_string();
        assert_eq!(silent.as_deref(), Some("nothing came within 1.5 times the Keep Alive"));
    }
}
