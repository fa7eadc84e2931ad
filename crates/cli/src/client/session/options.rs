//! What a command tells its session: how to connect, and what to publish.

use std::rc::Rc;

use midge_codec::{ProtocolVersion, QoS};

use crate::client::property::PropertySet;
use crate::endpoint::Secret;

/// How to connect: the content of the CONNECT, and limits of the Client's own.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOptions {
    pub(crate) version: ProtocolVersion,
    /// Empty: the Server is asked to assign one.
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) will: Option<WillOptions>,
    pub(crate) properties: PropertySet,
    /// The most QoS 1 and 2 messages in flight at once. The Server's Receive Maximum may be lower.
    pub(crate) in_flight_max: u16,
    /// Whether every packet becomes an `Event::Trace`.
    pub(crate) trace: bool,
}

/// The Will Message.
#[derive(Clone, Debug)]
pub(crate) struct WillOptions {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PropertySet,
}

/// A message to be published; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Rc<str>,
    pub(crate) payload: Rc<[u8]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Rc<PropertySet>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            version: ProtocolVersion::V5,
            client_id: String::new(),
            clean_start: true,
            keep_alive_seconds: 60,
            user_name: None,
            password: None,
            will: None,
            properties: PropertySet::default(),
            in_flight_max: u16::MAX,
            trace: false,
        }
    }
}
