//! An accepted CONNECT that waits for its CONNACK.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::base::identity::{Identity, SessionSlot};
use crate::base::time::Timestamp;
use crate::boundary::effects::Event;
use crate::session::Will;

/// An accepted CONNECT, until its CONNACK leaves.
#[derive(Debug)]
pub(crate) struct AcceptedConnect {
    pub(crate) session: SessionSlot,
    /// The number of the CONNECT among all that have come to the worker.
    pub(crate) connect_number: NonZeroU64,
    pub(crate) session_present: bool,
    pub(crate) keep_alive: u16,
    /// The encoded CONNACK.
    pub(crate) connack: Vec<u8>,
    /// The event that is reported when the CONNACK leaves.
    pub(crate) connected: Event,
    /// What was known of the Client when its Session was resumed.
    pub(crate) former: Option<Arc<Identity>>,
    /// The Will Message that the CONNECT has cancelled [MQTT-3.1.3-9].
    pub(crate) earlier: Option<EarlierWill>,
}

/// The Will Message of an earlier Network Connection, and when it is due.
#[derive(Debug)]
pub(crate) struct EarlierWill {
    pub(crate) will: Box<Will>,
    pub(crate) due_at: Timestamp,
}
