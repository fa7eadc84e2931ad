//! Gets a decision about each CONNECT, and carries it out.
//!
//! A CONNECT that is allowed may throw out the connection that its Client has. It does not if the
//! Client has given the CONNECT up meanwhile: then the Client is using the other connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use midge_codec::{PacketType, ReasonCode};
use midge_core::{AuthAnswer, AuthRequest, ConnectionId};
use midge_net::Received;

use crate::access::login_of;
use crate::directory::Ownership;
use crate::hook::{AuthReply, allow_anonymous};
use crate::spares::give_back;
use crate::worker::Worker;

impl Worker {
    /// Has the authentication requests of this turn answered: at once without a hook, otherwise
    /// when the hook answers. `rest`: the bytes that were read after the packet that asks.
    pub(crate) fn authenticate(&mut self, rest: &[u8]) {
        let mut requests = std::mem::take(&mut self.turn.fx.authenticate);
        for request in requests.drain(..) {
            let connection = request.connection;
            if self.residents.has(connection) {
                self.admit_resident(connection);
                continue;
            }
            if request.is_assigned && !self.claim_assigned(connection, &request.client_id) {
                let answer = AuthAnswer::Refuse(ReasonCode::ServerBusy);
                self.core.handle_auth_answer(connection, answer, None, &mut self.turn);
                continue;
            }
            match (&self.node.access, &self.node.hook) {
                (Some(_), _) => self.ask_access(request, rest),
                (None, Some(_)) => self.ask_hook(request),
                (None, None) => self.handle_answer(connection, allow_anonymous(&request), rest),
            }
        }
        give_back(&mut self.turn.fx.authenticate, requests);
    }

    /// Has a request answered by the authentication chain: at once if that costs nothing.
    fn ask_access(&mut self, request: AuthRequest, rest: &[u8]) {
        let connection = request.connection;
        let (Some(access), Some(socket)) = (&self.node.access, self.sockets.peek(connection))
        else {
            return;
        };
        let client = self.core.client_of(connection);
        let present_user = client.and_then(|client| client.user_name.clone());
        let listener = &socket.terms.place.name;
        let login = login_of(request, &socket.stream.peer(), listener, present_user);
        let begun = socket.authentication.is_some();
        let patience = Duration::from_millis(socket.terms.connect_deadline_ms.into());
        let answer = if begun { None } else { access.decide_now(&login) };
        if let Some(answer) = answer {
            return self.handle_answer(connection, answer, rest);
        }
        let reply = self.reply(connection);
        if let (Some(access), Some(reply)) = (&self.node.access, reply) {
            access.decide_later(login, patience, reply);
        }
    }

    fn ask_hook(&mut self, request: AuthRequest) {
        let connection = request.connection;
        let (Some(reply), Some(socket)) = (self.reply(connection), self.sockets.of(connection))
        else {
            return;
        };
        let peer = socket.stream.peer();
        let asked = self.node.hook.as_ref().map(|hook| hook.authenticate(request, &peer, reply));
        if asked == Some(false) {
            // If somebody still holds the reply, an answer from now on is too late.
            let refusal = AuthAnswer::Refuse(ReasonCode::NotAuthorized);
            self.core.handle_auth_answer(connection, refusal, None, &mut self.turn);
        }
    }

    /// Returns the way to answer a request later.
    fn reply(&mut self, connection: ConnectionId) -> Option<AuthReply> {
        let inbox = Arc::clone(&self.node.inboxes[self.id.index()]);
        let kept = self.sockets.of(connection)?.authentication.take().map(|kept| *kept);
        Some(AuthReply::new(connection, inbox, kept))
    }

    /// Makes this worker the owner of a Client Identifier that its core has just assigned. Returns
    /// false if another worker owns it.
    fn claim_assigned(&mut self, id: ConnectionId, client_id: &str) -> bool {
        let (Some(directory), Some(socket)) = (&self.node.directory, self.sockets.of(id)) else {
            return true;
        };
        let is_owner = directory.owner_or_claim(client_id, self.id) == Ownership::Own;
        socket.claim = is_owner.then(|| Box::new(client_id.into()));
        is_owner
    }

    /// Handles the answer to a request. `rest`: the bytes that were read after the packet that
    /// asked, and are being decoded.
    pub(crate) fn handle_answer(&mut self, id: ConnectionId, answer: AuthAnswer, rest: &[u8]) {
        let is_allowed = matches!(answer, AuthAnswer::Allow { .. });
        let has_more = !rest.is_empty();
        if is_allowed
            && let Some(present) = self.connection_to_take_over(id)
            && (!has_more && self.has_gone(id) || self.is_over_before(id, present, rest))
        {
            return self.lost(id);
        }
        let address = self.sockets.of(id).and_then(|socket| socket.stream.address().ip());
        self.core.handle_auth_answer(id, answer, address, &mut self.turn);
        if is_allowed && !has_more && self.core.awaits_connack(id) {
            self.maybe_gone.push(id);
        }
    }

    /// Ends the connections whose Clients have gone while their CONNACKs wait for the store: they
    /// have never been there [MQTT-3.1.2-7].
    pub(crate) fn end_those_that_have_gone(&mut self) {
        for id in std::mem::take(&mut self.maybe_gone) {
            if self.core.awaits_connack(id) && self.has_gone(id) {
                self.lost(id);
            }
        }
    }

    /// Returns the connection that a CONNECT would throw out if it is allowed now.
    fn connection_to_take_over(&self, id: ConnectionId) -> Option<ConnectionId> {
        let client_id = self.core.authenticating_client_id(id)?;
        self.core.connection_of(client_id)
    }

    /// Returns whether a connection came before the one that its Client has at present, and its
    /// Client has left it with nothing but a DISCONNECT behind the CONNECT. Another worker may have
    /// let the later connection in while the earlier one still waited to be read.
    fn is_over_before(&self, id: ConnectionId, present: ConnectionId, rest: &[u8]) -> bool {
        let (Some(socket), Some(present)) = (self.sockets.peek(id), self.sockets.peek(present))
        else {
            return false;
        };
        let rest = if rest.is_empty() { &socket.partial[..] } else { rest };
        socket.ends && socket.opened < present.opened && is_goodbye(rest)
    }

    /// Returns whether the Client has closed its Network Connection and sent nothing that is not
    /// decoded yet. Reads from the connection to learn that.
    fn has_gone(&mut self, id: ConnectionId) -> bool {
        let Some(socket) = self.sockets.of(id) else {
            return false;
        };
        if !socket.is_readable || !socket.partial.is_empty() {
            return false;
        }
        // The scratch buffer is not free: it holds the bytes that are being decoded.
        let room = &mut self.maybe_gone_room;
        room.resize(Self::LAYERED_READ_BYTES, 0);
        let received = socket.stream.read(room, &mut self.stream_scratch);
        self.turn.now = self.node.clock.now();
        match received {
            Ok(Received::End) => true,
            Ok(Received::Bytes { count, more }) => {
                socket.is_readable = more || socket.ends;
                socket.partial = room[..count].to_vec();
                self.turn_bytes += count.max(self.stream_scratch.take_count());
                self.core.count_bytes_received(count as u64);
                self.postpone(id);
                false
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    socket.is_readable = false;
                    false
                }
                io::ErrorKind::Interrupted => false,
                _ => true,
            },
        }
    }
}

/// Returns whether these bytes are a DISCONNECT that discards the Will Message, and nothing else.
fn is_goodbye(bytes: &[u8]) -> bool {
    const DISCONNECT: u8 = (PacketType::Disconnect as u8) << 4;
    match *bytes {
        [DISCONNECT, 0] => true,
        [DISCONNECT, length, 0, ..] => usize::from(length) == bytes.len() - 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_goodbye;

    #[test]
    fn a_goodbye_is_a_whole_disconnect_without_a_will() {
        for goodbye in [&[0xE0, 0][..], &[0xE0, 1, 0], &[0xE0, 2, 0, 0]] {
            assert!(is_goodbye(goodbye), "{goodbye:?}");
        }
        let with_will = [0xE0, 1, 4];
        let with_more = [0xE0, 0, 0xC0, 0];
        for other in [&with_will[..], &with_more, &[0xE0], &[0xE0, 2, 0], &[0xC0, 0], &[]] {
            assert!(!is_goodbye(other), "{other:?}");
        }
    }
}
