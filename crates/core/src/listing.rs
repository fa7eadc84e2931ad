//! What a worker reports about its Clients, for people and programs that look after the broker:
//! page by page, or one in depth. However many there are, one question takes a bounded time.

use std::num::NonZeroU32;
use std::sync::Arc;

use midge_codec::{ProtocolVersion, SubscriptionOptions};

use crate::base::identity::Identity;
use crate::base::time::Timestamp;
use crate::connection::Connection;
use crate::core::Core;
use crate::session::Session;
use crate::session::outgoing::Outgoing;

/// A Session, as it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The user name that authentication established.
    pub user_name: Option<Box<str>>,
    /// The protocol of its Network Connection; absent while it has none.
    pub version: Option<ProtocolVersion>,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// QoS 1 and 2 messages in flight to it.
    pub in_flight: usize,
    /// Messages that wait for it.
    pub queued_messages: usize,
    /// Bytes that wait for it in its queue.
    pub queued_bytes: usize,
}

/// A Session in depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDetails {
    /// What lists show of it.
    pub info: ClientInfo,
    /// Who it is, with what authentication said of the user and where the Client is.
    pub identity: Arc<Identity>,
    /// The first [`ClientDetails::SUBSCRIPTIONS_MAX`] of its subscriptions, in no particular order.
    pub subscriptions: Vec<SubscriptionInfo>,
    /// How many of its subscriptions are shared ones.
    pub shared_subscriptions: usize,
    /// QoS 2 messages that came from it and that it has not released.
    pub awaiting_release: usize,
    /// The topic of its Will Message.
    pub will_topic: Option<Box<str>>,
    /// The Session Expiry Interval in seconds; `u32::MAX`: it does not expire.
    pub expiry_seconds: u32,
    /// Milliseconds until it ends, unless its Client comes back; absent while it is connected, and
    /// for a Session that does not expire.
    pub ends_in_ms: Option<u64>,
    /// Whether the store keeps it.
    pub is_stored: bool,
}

/// A subscription of a Session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// The filter, after rewriting, with its `$share/NAME/` or the like.
    pub filter: Box<str>,
    /// Its options, as granted.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier.
    pub identifier: Option<NonZeroU32>,
}

/// Some of a worker's Sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPage {
    /// Sessions of Clients, without those of subscribers inside the process.
    pub clients: Vec<ClientInfo>,
    /// Where the next page begins; absent after the last one.
    pub next: Option<u32>,
}

impl ClientDetails {
    /// How many subscriptions are shown.
    pub const SUBSCRIPTIONS_MAX: usize = 1_000;
}

impl Core {
    /// Returns at most `most` Sessions, starting at a slot: 0, or the one that the last page named.
    /// At most `slots_max` slots are looked at, so a page may be empty although there are more. A
    /// Session that is there all the time is on exactly one page, whatever comes and goes between
    /// them.
    pub fn clients(&self, from: u32, most: usize, slots_max: u32) -> ClientPage {
        let clients = &self.ground.clients;
        let end = from.saturating_add(slots_max.max(1)).min(clients.slots_end());
        let mut page = ClientPage::default();
        let mut slot = from;
        while slot < end && page.clients.len() < most.max(1) {
            if let Some(session) = clients.session_at(slot).filter(|it| it.is_of_client()) {
                page.clients.push(self.client_info(session));
            }
            slot += 1;
        }
        page.next = (slot < clients.slots_end()).then_some(slot);
        page
    }

    /// Returns one Session in depth; `None` if this worker has none of this Client.
    pub fn client(&self, client_id: &str, now: Timestamp) -> Option<ClientDetails> {
        let slot = self.ground.clients.session_by_client_id(client_id)?;
        let session = Some(self.ground.clients.session(slot)).filter(|it| it.is_of_client())?;
        let subscriptions = session.subscriptions().iter().take(ClientDetails::SUBSCRIPTIONS_MAX);
        let subscriptions = subscriptions.map(|(filter, subscribed)| SubscriptionInfo {
            filter: filter.into(),
            options: subscribed.options,
            identifier: subscribed.identifier,
        });
        Some(ClientDetails {
            info: self.client_info(session),
            identity: Arc::clone(session.identity()),
            subscriptions: subscriptions.collect(),
            shared_subscriptions: session.shared_subscriptions() as usize,
            awaiting_release: session.awaiting_release_len(),
            will_topic: session.will().map(|will| will.message.topic().into()),
            expiry_seconds: session.expiry_seconds(),
            ends_in_ms: session.expires_at().map(|at| at - now),
            is_stored: session.is_stored(),
        })
    }

    fn client_info(&self, session: &Session) -> ClientInfo {
        let connection = self.ground.clients.connection_of(session);
        let outgoing = session.outgoing();
        let (queued_messages, queued_bytes) = outgoing.map_or((0, 0), Outgoing::queued);
        ClientInfo {
            client_id: session.identity().client_id.clone(),
            user_name: session.identity().user_name.clone(),
            version: connection.map(Connection::version),
            subscriptions: session.subscriptions().len(),
            in_flight: outgoing.map_or(0, Outgoing::in_flight_len),
            queued_messages,
            queued_bytes,
        }
    }
}
