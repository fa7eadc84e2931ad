//! Who a Client is, and how workers name each other's Sessions.

use core::net::IpAddr;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

/// The authenticated identity behind a Session: what authorization decides about. A Session belongs
/// to its Client Identifier and user; the rest may be another one with each Network Connection, and
/// after each re-authentication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The user name that authentication established; absent for anonymous Clients.
    pub user_name: Option<Box<str>>,
    /// What authentication has found out about the user; absent if nothing, and for Sessions and
    /// messages that the store has kept from an earlier run of the broker.
    pub facts: Option<Arc<UserFacts>>,
    /// Where the Client has connected from. Absent where it has not since the broker started, and
    /// for the process itself.
    pub source: Option<Source>,
    /// What the policy has found out about the Client.
    pub note: PolicyNote,
}

/// What a policy has found out about a Client once, so that it need not look for it whenever it is
/// asked. It is no part of the identity: all notes are equal, and a copy has none.
#[derive(Default)]
pub struct PolicyNote(OnceLock<Box<Noted>>);

struct Noted {
    epoch: u64,
    found: Arc<dyn Any + Send + Sync>,
}

/// What authentication has found out about a user. The core only carries it to whoever decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserFacts {
    /// The part of authentication that has let the user in, such as `password_file`.
    pub member: Option<Box<str>>,
    /// Further facts, by name.
    pub attributes: UserAttributes,
    /// The groups that authentication says the user belongs to.
    pub groups: Box<[Box<str>]>,
    /// Whether the user may do everything that is not forbidden to everybody.
    pub is_superuser: bool,
    /// What the user's credential itself allows and denies, in its order.
    pub rules: Box<[CredentialRule]>,
    /// When the credential ends, in seconds since 1970; absent: never.
    pub expires_at: Option<u64>,
}

/// A permission, or a prohibition, inside a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialRule {
    /// Whether it allows.
    pub allows: bool,
    /// Whether it is about publishing.
    pub publish: bool,
    /// Whether it is about subscribing and receiving.
    pub subscribe: bool,
    /// The topics, as a template of Topic Filters.
    pub topics: Box<str>,
    /// The levels of QoS that it is about: bit 0 for QoS 0, to bit 2 for QoS 2.
    pub qos: u8,
    /// The RETAIN flag that it is about; absent: both.
    pub retain: Option<bool>,
}

/// What authentication says of a user, by name.
pub type UserAttributes = BTreeMap<Box<str>, UserAttribute>;

/// A value that authentication gives a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserAttribute {
    /// Any text.
    Text(Box<str>),
    /// A whole number.
    Number(i64),
    /// Several texts.
    List(Box<[Box<str>]>),
}

/// Where a Client has connected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The number of the listener that it came by; absent if it came by none.
    pub listener: Option<u16>,
    /// Its address; absent on a Unix socket.
    pub address: Option<IpAddr>,
}

/// A worker of this node: 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(u8);

/// A Session: its worker, its slot there and the slot's generation, so that a slot that was given
/// to another Session meanwhile is never mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The worker that owns the Session.
    pub worker: WorkerId,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Slot of a Session in its worker's table.
pub(crate) type SessionSlot = u32;

/// A shared subscription that some worker of this node is home to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId {
    pub(crate) home: WorkerId,
    /// Never used again: another worker, or the store, may still know something of a group that
    /// has ended.
    pub(crate) number: u64,
}

/// A Network Connection of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub(crate) slot: u32,
    /// Never 0, so that an absent connection takes no more room than one that is there.
    pub(crate) generation: NonZeroU32,
}

/// The Client Identifier that publishes the broker's own messages.
pub(crate) const BROKER_CLIENT_ID: &str = "$broker";

/// The Client Identifiers of Sessions that belong to the program itself begin with this, and its
/// own name for the Session follows.
pub const PROGRAM_CLIENT_ID_PREFIX: &str = "$program/";

/// Whether a Client Identifier is reserved for the broker itself: [`BROKER_CLIENT_ID`], and all
/// others that begin with `$`. Subscribers inside the process have identifiers with U+0000, which
/// no Client can send.
pub(crate) fn is_reserved_client_id(client_id: &str) -> bool {
    client_id.starts_with('$')
}

impl WorkerId {
    /// How many workers a node has at most: they are members of a 64-bit set.
    pub const MAX_WORKERS: usize = 64;

    /// Returns the worker with this index.
    ///
    /// # Panics
    ///
    /// If `index` is 64 or more.
    pub fn new(index: usize) -> Self {
        assert!(index < Self::MAX_WORKERS, "at most {} workers", Self::MAX_WORKERS);
        Self(index as u8)
    }

    /// Returns the worker's index, 0 to 63.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl ConnectionId {
    /// Returns the slot: a small number that no other open connection of the worker has, fit to
    /// index the driver's own table.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl Identity {
    /// Returns the identity of a Client of which nothing else is known.
    pub fn new(client_id: Box<str>, user_name: Option<Box<str>>) -> Self {
        Self { client_id, user_name, facts: None, source: None, note: PolicyNote::default() }
    }

    /// Returns whether this is the broker itself or the program around it, and no Client.
    pub fn is_of_program(&self) -> bool {
        is_reserved_client_id(&self.client_id) || self.client_id.contains('\0')
    }
}

impl PolicyNote {
    /// Returns what was found in this epoch of the policy, if that was noted.
    #[inline]
    pub fn get<T: Any + Send + Sync>(&self, epoch: u64) -> Option<&T> {
        let noted = self.0.get().filter(|noted| noted.epoch == epoch)?;
        noted.found.downcast_ref()
    }

    /// Notes what was found in an epoch, unless there is a note already, of whatever epoch: the
    /// core gives Sessions notes without anything when the policy has changed.
    pub fn set(&self, epoch: u64, found: Arc<dyn Any + Send + Sync>) {
        let _ = self.0.set(Box::new(Noted { epoch, found }));
    }

    /// Returns whether there is a note.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }
}

impl Clone for PolicyNote {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for PolicyNote {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for PolicyNote {}

impl Hash for PolicyNote {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for PolicyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "PolicyNote(set)" } else { "PolicyNote(unset)" })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.client_id)?;
        match &self.user_name {
            Some(name) => write!(f, " (user {name:?})"),
            None => Ok(()),
        }
    }
}
