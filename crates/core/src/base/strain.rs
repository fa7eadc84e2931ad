//! What a worker has too much of.

use crate::base::identity::ConnectionId;
use crate::base::time::Timestamp;

/// How short of memory the process is; see the limit `memory_bytes_max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryPressure {
    /// There is enough.
    #[default]
    None,
    /// New Sessions are refused except for a few, and nothing more is retained or delayed.
    High,
    /// QoS 0 is dropped as well, publishers have to wait, and no subscriptions are added.
    Severe,
    /// The Clients for which most is kept are disconnected as well, and the shared subscriptions
    /// that keep most lose messages.
    Critical,
}

/// What this worker has too much of.
#[derive(Debug, Default)]
pub(crate) struct Strain {
    pub(crate) pressure: MemoryPressure,
    /// Whether the driver says that what publishers bring cannot be passed on.
    pub(crate) is_congested: bool,
    /// Since when publishers wait for memory.
    pub(crate) severe_since: Option<Timestamp>,
    /// Whether publishers' messages are refused, because it has not helped that they waited.
    pub(crate) refuses_messages: bool,
    /// Connections that were let in although memory is short.
    pub(crate) reserve: Vec<ConnectionId>,
}

impl Strain {
    /// Whether nothing more shall be kept for good.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.pressure >= MemoryPressure::High
    }

    /// Whether nothing more shall be kept that is not worth waiting for.
    pub(crate) fn is_very_short_of_memory(&self) -> bool {
        self.pressure >= MemoryPressure::Severe
    }
}
