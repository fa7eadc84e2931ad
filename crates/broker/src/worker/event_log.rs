//! Log lines about Clients: one when a Client comes, goes, or is refused something.
//!
//! Each line is a sentence for people, with the same content as fields for programs. It must never
//! name a password or a payload. The number of lines about strangers is limited.

use std::io;

use midge_codec::ReasonCode;
use midge_core::{ConnectionId, DisconnectReason, Event, Identity};
use midge_net::Peer;

use crate::greeting::Greeting;
use crate::subscription_log::log_subscribed;
use crate::worker::Worker;

/// Where a connection comes from, and by which listener.
#[derive(Debug, Default)]
struct Place {
    address: Option<String>,
    listener: Option<Box<str>>,
    transport: Option<&'static str>,
    way: String,
}

impl Worker {
    /// Writes one line for each event that somebody who looks after the broker wants to see.
    pub(crate) fn log_event(&mut self, event: &Event) {
        match event {
            Event::Connected { .. } => self.log_connected(event),
            // The peer came, perhaps to see whether somebody is there, and went. Anything else that
            // went wrong has had a line of its own before.
            Event::Disconnected {
                connection,
                client: None,
                reason: DisconnectReason::ConnectionLost,
            } => {
                let Place { address, listener, .. } = self.place(*connection);
                let words = address.as_deref().unwrap_or_default();
                log::debug!(
                    address = address.as_deref(), listener = listener.as_deref();
                    "{words}: gone before its CONNECT"
                );
            }
            Event::Refused { .. }
            | Event::NotSubscribed { .. }
            | Event::Disconnected { client: None, .. }
                if !self.log_limit.allows(self.turn.now) => {}
            Event::Refused { connection, client_id, user_name, reason_code, detail } => {
                let user_name = user_name.as_deref();
                self.log_refused(*connection, client_id, user_name, *reason_code, detail);
            }
            Event::Disconnected { connection, client, reason } => {
                self.log_disconnected(*connection, client.as_deref(), reason);
            }
            Event::Subscribed { client, filter, reason_code } => {
                if !reason_code.is_error() || self.log_limit.allows(self.turn.now) {
                    log_subscribed(client, filter, *reason_code, "");
                }
            }
            Event::NotSubscribed { client, filter, detail } => log::warn!(
                client_id = &*client.client_id, user_name = client.user_name.as_deref(),
                filter = &**filter, reason = *detail;
                "{client} gets no automatic subscription to {filter:?}: {detail}"
            ),
            Event::Unsubscribed { client, filter } => log::debug!(
                client_id = &*client.client_id, filter = &**filter;
                "{client} unsubscribed from {filter:?}"
            ),
            Event::SessionEnded { client } => log::debug!(
                client_id = &*client.client_id, user_name = client.user_name.as_deref();
                "the session of {client} ended"
            ),
            // The drop log writes the lines about these.
            Event::Dropped { .. } => {}
        }
    }

    fn log_connected(&mut self, event: &Event) {
        if log::max_level() < log::Level::Info {
            return; // its words would be a part of what a CONNECT costs
        }
        let Event::Connected {
            connection,
            client,
            version,
            session_present,
            asked_user_name,
            keep_alive_seconds,
            clean_start,
        } = event
        else {
            return;
        };
        let Place { address, listener, transport, way } = self.place(*connection);
        let from = address.as_deref().unwrap_or("inside the process");
        let by = listener.as_deref().unwrap_or("no listener");
        let session = if *session_present { "resumed" } else { "new" };
        let start = if *clean_start { ", clean start" } else { "" };
        let user_name = client.user_name.as_deref();
        let unchecked = asked_user_name.as_deref().filter(|_| user_name.is_none());
        let calls_itself = unchecked.map(|name| format!(", calls itself user {name:?}"));
        let calls_itself = calls_itself.unwrap_or_default();
        log::info!(
            client_id = &*client.client_id, user_name = user_name.or(unchecked),
            address = address.as_deref(), listener = listener.as_deref(), transport = transport,
            protocol:% = version, keep_alive_seconds = *keep_alive_seconds,
            clean_start = *clean_start, session_present = *session_present;
            "{client} connected from {from} to {by} ({way}), MQTT {version}, keep alive \
             {keep_alive_seconds} s{start}, session {session}{calls_itself}"
        );
    }

    fn log_refused(
        &mut self,
        id: ConnectionId,
        client_id: &str,
        user_name: Option<&str>,
        code: ReasonCode,
        detail: &str,
    ) {
        let Place { address, listener, transport, .. } = self.place(id);
        let from = address.as_deref().unwrap_or_default();
        let (name, number) = (code.name(), code as u8);
        let user = user_name.map(|name| format!(" (user {name:?})")).unwrap_or_default();
        log::warn!(
            client_id = client_id, user_name = user_name, address = address.as_deref(),
            listener = listener.as_deref(), transport = transport, reason_code = number,
            reason = detail;
            "{from}: CONNECT of {client_id:?}{user} refused: {detail} ({name}, 0x{number:02X})"
        );
    }

    fn log_disconnected(
        &mut self,
        id: ConnectionId,
        client: Option<&Identity>,
        reason: &DisconnectReason,
    ) {
        let level = match reason {
            DisconnectReason::ProtocolViolation { .. } | DisconnectReason::ConnectTimeout => {
                log::Level::Warn
            }
            _ => log::Level::Info,
        };
        if log::max_level() < level {
            return;
        }
        let Place { address, listener, transport, .. } = self.place(id);
        let from = address.as_deref().unwrap_or("inside the process");
        let name = client.map_or("a client without session".into(), ToString::to_string);
        log::log!(
            level,
            client_id = client.map(|client| &*client.client_id),
            user_name = client.and_then(|client| client.user_name.as_deref()),
            address = address.as_deref(), listener = listener.as_deref(), transport = transport,
            reason_code = reason_code_of(reason).map(|code| code as u8), reason:% = reason;
            "{from}: {name} disconnected: {reason}"
        );
    }

    /// Logs that the peer has broken a rule of a layer below MQTT, or speaks something else.
    pub(crate) fn log_broken(&mut self, id: ConnectionId, error: &io::Error, is_stranger: bool) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        let expected = socket.terms.expected;
        let greeting = Greeting::of(socket.stream.first_bytes()).filter(|_| is_stranger);
        let complaint = greeting.and_then(|greeting| expected.complaint(greeting));
        let why = complaint.map_or_else(|| error.to_string(), ToString::to_string);
        let Place { address, listener, transport, .. } = self.place(id);
        let (from, layer) = (address.as_deref().unwrap_or_default(), transport.unwrap_or("QUIC"));
        log::warn!(
            address = address.as_deref(), listener = listener.as_deref(), transport = transport,
            reason = &*why;
            "{from}: disconnected, {layer} broken: {why}"
        );
    }

    /// Returns where a connection comes from; without an address if it is inside the process, or
    /// gone.
    fn place(&mut self, id: ConnectionId) -> Place {
        let Some(socket) = self.sockets.of(id) else {
            return Place { way: "local".to_string(), ..Place::default() };
        };
        let peer = socket.stream.peer();
        Place {
            address: Some(socket.stream.address().to_string()),
            listener: Some(socket.terms.place.name.clone()),
            transport: Some(peer.transport.name()),
            way: way_in_words(&peer),
        }
    }
}

fn reason_code_of(reason: &DisconnectReason) -> Option<ReasonCode> {
    match reason {
        DisconnectReason::ByClient(code) | DisconnectReason::ByServer(code) => Some(*code),
        DisconnectReason::ProtocolViolation { reason_code, .. } => Some(*reason_code),
        DisconnectReason::KeepAliveTimeout => Some(ReasonCode::KeepAliveTimeout),
        DisconnectReason::TakenOver => Some(ReasonCode::SessionTakenOver),
        DisconnectReason::ConnectionLost | DisconnectReason::ConnectTimeout => None,
    }
}

/// Returns how a Client is connected, and the name in its certificate.
fn way_in_words(peer: &Peer) -> String {
    let way = peer.transport.name();
    let own = peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    let proxied = peer.proxy.as_ref().and_then(|proxy| proxy.tls.as_ref());
    match (own, proxied.filter(|tls| tls.is_verified).and_then(|tls| tls.common_name.as_ref())) {
        (Some(certificate), _) => format!("{way}, certificate {:?}", certificate.subject),
        (None, Some(name)) => format!("{way}, certificate of {name:?} at its proxy"),
        (None, None) => way.to_string(),
    }
}
