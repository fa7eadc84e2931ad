//! The end of a turn: carries out what the core has decided.

use std::io::{self, IoSlice};
use std::mem;

use midge_core::{ConnectionId, Event};

use crate::program::message::ReceivedMessage;
use crate::spares::give_back;
use crate::storage::Order;
use crate::worker::Worker;

impl Worker {
    /// The most segments in one vectored write.
    pub(crate) const SLICES: usize = 32;
    /// The most rounds in which effects may cause further effects within one turn.
    const ROUNDS_MAX: usize = 16;

    /// Carries out all effects, including those that result from carrying out others.
    pub(crate) fn carry_out(&mut self) {
        for _ in 0..Self::ROUNDS_MAX {
            self.authenticate(&[]);
            self.note_reading();
            self.resume_connections();
            self.tell_events();
            self.deliver_locally();
            // Before other workers hear of it: the store takes commits in the order in which they
            // come.
            self.send_to_store();
            // Before anything is written: a Client that reads an acknowledgement and then asks
            // another worker finds that this worker already knows.
            self.send_batches();
            self.send_evicted();
            self.flush_connections();
            self.close_connections();
            if self.turn.fx.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn resume_connections(&mut self) {
        let mut resumed = mem::take(&mut self.resumed);
        for id in resumed.drain(..) {
            self.resume_reading(id);
        }
        give_back(&mut self.resumed, resumed);
    }

    /// Writes, once for each connection that has something to write.
    fn flush_connections(&mut self) {
        let mut flush = mem::take(&mut self.turn.fx.flush);
        self.core.begin_flush(&flush);
        for id in flush.drain(..) {
            self.flush(id);
            self.note_flushed(id);
        }
        self.core.end_flush();
        self.take_what_residents_got();
        give_back(&mut self.turn.fx.flush, flush);
    }

    pub(crate) fn flush(&mut self, id: ConnectionId) {
        if self.residents.has(id) {
            return self.collect_for_resident(id);
        }
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
            let filled = self.core.next_slices(id, &mut slices);
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            match socket.stream.write_vectored(&slices[..filled], &mut self.stream_scratch) {
                Ok(written) => {
                    socket.is_active = true;
                    // Otherwise the poller reports when there is room again.
                    let goes_on = written == offered || socket.stream.takes_more();
                    if socket.is_choked {
                        self.core.note_sign_of_life(id, self.turn.now);
                    }
                    self.core.handle_written(id, written, &mut self.turn);
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

    /// Sends commits and then questions to the store.
    pub(crate) fn send_to_store(&mut self) {
        if self.turn.fx.commits.is_empty() && self.turn.fx.fetches.is_empty() {
            return;
        }
        let worker = self.id;
        let commits = self.turn.fx.commits.drain(..).map(|commit| Order::Commit { worker, commit });
        let fetches = self.turn.fx.fetches.drain(..).map(|fetch| Order::Fetch { worker, fetch });
        if let Some(orders) = &self.node.orders {
            let emptied = &mut self.turn.fx.emptied_ops;
            orders.send_and_take_emptied(commits.chain(fetches), emptied);
        }
    }

    fn send_batches(&mut self) {
        for (index, messages) in self.turn.fx.to_workers.iter_mut().enumerate() {
            if !messages.is_empty() {
                self.node.inboxes[index].send_batch(self.id, messages);
            }
        }
    }

    fn deliver_locally(&mut self) {
        let mut local = mem::take(&mut self.turn.fx.local);
        for delivery in local.drain(..) {
            let message = delivery.message.clone();
            let received = ReceivedMessage {
                message: delivery.message,
                qos: delivery.qos,
                retain: delivery.retain,
            };
            if !self.locals.send(delivery.connection, received) {
                self.core.note_local_drop(&message, &mut self.turn);
            }
        }
        give_back(&mut self.turn.fx.local, local);
        for (ticket, outcome) in self.turn.fx.local_published.drain(..) {
            self.locals.end_publish(ticket, outcome);
        }
        for (connection, reason_codes) in mem::take(&mut self.turn.fx.local_subscribed) {
            let inbox = &self.node.inboxes[self.id.index()];
            let refused = self.locals.answer(connection, &reason_codes, inbox);
            if refused {
                self.core.handle_closed(connection, &mut self.turn);
            }
        }
    }

    pub(crate) fn tell_events(&mut self) {
        let mut events = mem::take(&mut self.turn.fx.events);
        for event in events.drain(..) {
            if let Event::Connected { connection, .. } = &event
                && let Some(socket) = self.sockets.of(*connection)
            {
                socket.stream.widen();
            }
            self.note_owner(&event);
            if wants_figures(&event) {
                self.node.bell.ring();
            }
            self.log_event(&event);
            self.node.events.tell(&event);
            if let Some(hook) = &self.node.hook {
                hook.on_event(&event);
            }
        }
        give_back(&mut self.turn.fx.events, events);
        self.disown();
    }

    /// Ends a claim in the directory when the CONNECT that it was made for is decided.
    fn note_owner(&mut self, event: &Event) {
        if let (Some(directory), Event::Connected { connection, client, .. }) =
            (&self.node.directory, event)
            && let Some(socket) = self.sockets.of(*connection)
            && let Some(claim) = socket.claim.take()
        {
            directory.end_claim(&claim, self.id, self.core.owns(&client.client_id));
        }
    }

    /// Releases Clients whose next Sessions may belong to another worker.
    fn disown(&mut self) {
        for client in self.turn.fx.disowned.drain(..) {
            if let Some(directory) = &self.node.directory
                && !self.core.owns(&client.client_id)
            {
                directory.disown(&client.client_id, self.id);
            }
        }
    }
}

/// Returns whether somebody has subscribed to what the broker publishes about itself.
fn wants_figures(event: &Event) -> bool {
    matches!(
        event,
        Event::Subscribed { filter, reason_code, .. }
            if !reason_code.is_error() && filter.starts_with("$SYS/")
    )
}
