//! The end of a turn: what the core decided is done.

use std::io::{self, IoSlice};
use std::sync::Arc;

use midge_core::{ConnectionId, DisconnectReason, Event};
use midge_net::Peer;

use crate::message::ReceivedMessage;
use crate::storage::Order;
use crate::worker::Worker;

impl Worker {
    /// Segments in one vectored write.
    const SLICES: usize = 32;
    /// Rounds in which effects may cause effects within one turn.
    const ROUNDS_MAX: usize = 16;

    /// Carries out all effects, also those that carrying out others had.
    pub(crate) fn carry_out(&mut self) {
        for _ in 0..Self::ROUNDS_MAX {
            self.authenticate();
            self.note_reading();
            self.resume_connections();
            self.tell_events();
            self.deliver_locally();
            // Before other workers hear of it: the store takes commits in order.
            self.send_to_store();
            // Before anything is written: who reads an acknowledgement and asks another worker
            // finds that worker told already.
            self.send_batches();
            self.flush_connections();
            self.close_connections();
            if self.fx.is_empty() {
                return;
            }
        }
    }

    fn resume_connections(&mut self) {
        for id in std::mem::take(&mut self.resumed) {
            self.resume_reading(id);
        }
    }

    /// One vectored write per connection that has something to write.
    fn flush_connections(&mut self) {
        let mut flush = std::mem::take(&mut self.fx.flush);
        self.core.begin_flush(&flush);
        for id in flush.drain(..) {
            self.flush(id);
            self.note_flushed(id);
        }
        if self.fx.flush.is_empty() {
            self.fx.flush = flush;
        }
    }

    pub(crate) fn flush(&mut self, id: ConnectionId) {
        loop {
            let (Some(output), Some(socket)) = (self.core.output(id), self.sockets.of(id)) else {
                return;
            };
            if socket.stream.wants_write() && !socket.is_broken && socket.stream.flush().is_err() {
                return self.note_broken(id);
            }
            if output.is_empty() || socket.is_broken {
                return;
            }
            let mut slices = [IoSlice::new(&[]); Self::SLICES];
            let filled = output.next_slices(&mut slices);
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            match socket.stream.write_vectored(&slices[..filled], &mut self.stream_scratch) {
                Ok(written) => {
                    // Else the poller tells when there is room again.
                    let goes_on = written == offered || socket.stream.takes_more();
                    self.core.handle_written(id, written, self.now, &mut self.fx);
                    if !goes_on {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return self.note_broken(id),
            }
        }
    }

    /// Commits and questions, in this order.
    pub(crate) fn send_to_store(&mut self) {
        if self.fx.commits.is_empty() && self.fx.fetches.is_empty() {
            return;
        }
        let worker = self.id;
        let commits = self.fx.commits.drain(..).map(|commit| Order::Commit { worker, commit });
        let fetches = self.fx.fetches.drain(..).map(|fetch| Order::Fetch { worker, fetch });
        if let Some(orders) = &self.orders {
            orders.send(commits.chain(fetches));
        }
    }

    fn send_batches(&mut self) {
        for (index, messages) in self.fx.to_workers.iter_mut().enumerate() {
            if !messages.is_empty() {
                self.inboxes[index].send_batch(self.id, std::mem::take(messages));
            }
        }
    }

    fn deliver_locally(&mut self) {
        for delivery in std::mem::take(&mut self.fx.local) {
            let topic = Arc::clone(&delivery.message);
            let received = ReceivedMessage {
                message: delivery.message,
                qos: delivery.qos,
                retain: delivery.retain,
            };
            if !self.locals.send(delivery.connection, received) {
                self.core.note_local_drop(topic.topic(), &mut self.fx);
            }
        }
        for (ticket, outcome) in std::mem::take(&mut self.fx.local_published) {
            self.locals.end_publish(ticket, outcome);
        }
        for (connection, reason_codes) in std::mem::take(&mut self.fx.local_subscribed) {
            let inbox = &self.inboxes[self.id.index()];
            let refused = self.locals.answer(connection, &reason_codes, inbox);
            if refused {
                self.core.handle_closed(connection, self.now, &mut self.fx);
            }
        }
    }

    pub(crate) fn tell_events(&mut self) {
        for event in std::mem::take(&mut self.fx.events) {
            if let Event::Connected { connection, .. } = &event
                && let Some(socket) = self.sockets.of(*connection)
            {
                socket.stream.widen();
            }
            self.note_owner(&event);
            self.log_event(&event);
            if let Some(hook) = &self.hook {
                hook.on_event(&event);
            }
        }
    }

    /// Keeps the directory true.
    fn note_owner(&mut self, event: &Event) {
        let Some(directory) = &self.directory else {
            return;
        };
        match event {
            Event::Connected { connection, client, .. } => {
                let has_session = self.core.has_session(&client.client_id);
                let socket = self.sockets.of(*connection);
                if let Some(claim) = socket.and_then(|socket| socket.claim.take()) {
                    directory.end_claim(&claim, self.id, has_session);
                }
            }
            Event::SessionEnded { client } if !self.core.has_session(&client.client_id) => {
                directory.release(&client.client_id, self.id);
            }
            _ => (),
        }
    }

    /// One line for everything that somebody who looks after the broker wants to see.
    fn log_event(&mut self, event: &Event) {
        let mut peer = |id: &ConnectionId| match self.sockets.of(*id) {
            Some(socket) => socket.stream.address().to_string(),
            None => "inside the process".to_string(),
        };
        match event {
            Event::Connected { connection, client, version, session_present } => {
                let session = if *session_present { "resumed" } else { "new" };
                let peer = peer(connection);
                let way = self
                    .sockets
                    .of(*connection)
                    .map_or("local".to_string(), |socket| way_in_words(&socket.stream.peer()));
                log::info!(
                    "{client} connected from {peer} ({way}), MQTT {version}, session {session}"
                );
            }
            // It came, perhaps to see whether somebody is there, and went. What else went wrong
            // before has a line of its own.
            Event::Disconnected {
                connection,
                client: None,
                reason: DisconnectReason::ConnectionLost,
            } => {
                let peer = peer(connection);
                log::debug!("{peer}: gone before its CONNECT");
            }
            Event::Refused { .. }
            | Event::NotSubscribed { .. }
            | Event::Disconnected { client: None, .. }
                if !self.log_limit.allows(self.now) => {}
            Event::Refused { connection, client_id, reason_code, detail } => {
                let (peer, code) = (peer(connection), *reason_code as u8);
                log::warn!(
                    "{peer}: CONNECT of {client_id:?} refused: {detail} ({}, 0x{code:02X})",
                    reason_code.name()
                );
            }
            Event::Subscribed { client, filter, reason_code } if reason_code.is_error() => {
                if self.log_limit.allows(self.now) {
                    let (code, name) = (*reason_code as u8, reason_code.name());
                    log::info!(
                        "{client}: subscription to {filter:?} refused: {name}, 0x{code:02X}"
                    );
                }
            }
            Event::NotSubscribed { client, filter, detail } => {
                log::warn!("{client} gets no automatic subscription to {filter:?}: {detail}");
            }
            Event::Disconnected { connection, client, reason } => {
                let name =
                    client.as_ref().map_or("a client without session".into(), ToString::to_string);
                let peer = peer(connection);
                match reason {
                    DisconnectReason::ProtocolViolation { .. }
                    | DisconnectReason::ConnectTimeout => {
                        log::warn!("{peer}: {name} disconnected: {reason}");
                    }
                    _ => log::info!("{peer}: {name} disconnected: {reason}"),
                }
            }
            Event::Dropped { receiver, topic, reason } => {
                let receiver = receiver.as_ref().map(ToString::to_string).unwrap_or_default();
                log::debug!("message to {topic:?} dropped: {} {receiver}", reason.name());
            }
            _ => log::debug!("{event:?}"),
        }
    }
}

/// How a Client comes, and as whom its certificate names it.
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
