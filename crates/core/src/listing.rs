//! What a worker reports about its Clients, for people and programs that look after the broker.

use midge_codec::ProtocolVersion;

use crate::core::Core;
use crate::session::Session;

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

impl Core {
    /// Returns all Sessions of Clients, without those of subscribers inside the process.
    pub fn clients(&self) -> Vec<ClientInfo> {
        let sessions = self.ground.clients.all_sessions().map(|(_, session)| session);
        let clients =
            sessions.filter(|it| !it.is_over() && !it.identity().client_id.starts_with('\0'));
        clients.map(|session| self.client_info(session)).collect()
    }

    fn client_info(&self, session: &Session) -> ClientInfo {
        let connection = self.ground.clients.connection_of(session);
        let outgoing = session.outgoing();
        let (queued_messages, queued_bytes) =
            outgoing.map_or((0, 0), super::session::outgoing::Outgoing::queued);
        ClientInfo {
            client_id: session.identity().client_id.clone(),
            user_name: session.identity().user_name.clone(),
            version: connection.map(super::connection::Connection::version),
            subscriptions: session.subscriptions().len(),
            in_flight: outgoing.map_or(0, super::session::outgoing::Outgoing::in_flight_len),
            queued_messages,
            queued_bytes,
        }
    }
}
