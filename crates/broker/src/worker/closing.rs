//! How the last bytes of connections that this side closes still reach the peer.
//!
//! Bytes that are already written leave first, if the peer reads them soon enough. Then the writing
//! side is shut down and the stream is kept for a moment: closing it at once could make the kernel
//! discard what the peer has not read yet, if the peer had sent something that was not read. Only
//! where nothing can come any more, behind a DISCONNECT or the end, or where nothing was said, in a
//! handshake, it is closed at once.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use midge_core::{Close, ConnectionId, StreamError};
use midge_net::{Received, Scratch, Stream};

use crate::spares::give_back;
use crate::worker::{Stage, Worker};

/// The connections of a worker that are on their way out, oldest first.
#[derive(Default)]
pub(crate) struct Closing {
    /// Connections that still have bytes to be written, each with the moment when it is closed in
    /// any case. Some may be gone already.
    unwritten: VecDeque<(Instant, ConnectionId)>,
    /// Streams that are shut down, each with the moment when it is closed.
    lingering: VecDeque<(Instant, Stream)>,
}

impl Closing {
    /// How long the peer may take to read the last bytes.
    const UNWRITTEN: Duration = Duration::from_secs(5);
    const UNWRITTEN_MAX: usize = 1024;
    const LINGER: Duration = Duration::from_secs(1);
    const LINGERING_MAX: usize = 1024;
    /// How often a worker that has nothing else to do looks whether its peers have closed, too.
    const LOOK: Duration = Duration::from_millis(5);
    /// Reads from one lingering stream at a look.
    const READS_MAX: usize = 16;

    /// Returns whether no stream lingers.
    pub(crate) fn is_done(&self) -> bool {
        self.lingering.is_empty()
    }

    fn linger(&mut self, stream: Stream) {
        if self.lingering.len() >= Self::LINGERING_MAX {
            self.lingering.pop_front();
        }
        self.lingering.push_back((Instant::now() + Self::LINGER, stream));
    }

    /// Returns how long to wait before the next look at connections that are being closed.
    pub(crate) fn next_look(&self, stage: Stage) -> Option<Duration> {
        let unwritten = self.unwritten.front().map(|(until, _)| *until);
        let lingering = self.lingering.front().map(|(until, _)| *until);
        let next = [unwritten, lingering].into_iter().flatten().min()?;
        let wait = next.saturating_duration_since(Instant::now());
        let looks = stage == Stage::Draining && lingering.is_some();
        Some(if looks { wait.min(Self::LOOK) } else { wait })
    }

    /// Closes the streams that have lingered long enough.
    fn end_lingering(&mut self) {
        while self.lingering.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.lingering.pop_front();
        }
    }

    /// Closes the streams whose peers have closed, too. Bytes that peers still send are discarded.
    fn end_closed_by_peer(&mut self, into: &mut [u8], scratch: &mut Scratch) {
        self.lingering.retain_mut(|(_, stream)| {
            for _ in 0..Self::READS_MAX {
                match stream.read(into, scratch) {
                    Ok(Received::End) => return false,
                    Ok(Received::Bytes { .. }) => (),
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                }
            }
            true
        });
    }
}

impl Worker {
    /// Closes connections that the core has given up.
    pub(crate) fn close_connections(&mut self) {
        for error in std::mem::take(&mut self.turn.fx.stream_errors) {
            self.note_stream_error(&error);
        }
        let mut close = std::mem::take(&mut self.turn.fx.close);
        for Close { connection: id, has_left } in close.drain(..) {
            if let Some(socket) = self.sockets.of(id) {
                socket.has_left = has_left;
            }
            self.flush(id);
            let may_wait = self.may_wait_for_writing(id);
            if !(may_wait && self.is_unwritten(id) && self.close_when_written(id)) {
                self.end_connection(id);
            }
        }
        give_back(&mut self.turn.fx.close, close);
    }

    /// Returns whether the last bytes may be waited for: not on a data stream that is reset, or
    /// whose control stream ends, too.
    fn may_wait_for_writing(&mut self, id: ConnectionId) -> bool {
        let socket = self.sockets.of(id);
        socket.is_none_or(|socket| {
            let control = socket.control;
            let is_alone = control.is_some_and(|control| self.core.protocol(control).is_none());
            socket.abort_code.is_none() && !is_alone
        })
    }

    /// Ends a connection that is to be closed after its last bytes, if they are written.
    pub(crate) fn end_if_written(&mut self, id: ConnectionId) {
        if !self.is_unwritten(id) {
            self.end_connection(id);
        }
    }

    /// Ends connections that have been closing for too long.
    pub(crate) fn end_overdue(&mut self) {
        while let Some(&(until, id)) = self.closing.unwritten.front() {
            if until > Instant::now() && self.sockets.of(id).is_some() {
                break;
            }
            self.closing.unwritten.pop_front();
            if self.sockets.of(id).is_some() {
                // There may be room by now, if this thread did not run for a while.
                self.flush(id);
                self.end_connection(id);
            }
        }
        self.closing.end_lingering();
        if self.stage == Stage::Draining {
            self.closing.end_closed_by_peer(&mut self.scratch, &mut self.stream_scratch);
        }
    }

    fn is_unwritten(&mut self, id: ConnectionId) -> bool {
        let Some(socket) = self.sockets.of(id).filter(|socket| !socket.is_broken) else {
            return false;
        };
        let waits = socket.stream.wants_write();
        waits || self.core.output(id).is_some_and(|output| !output.is_empty())
    }

    /// Has a connection closed after its last bytes. Returns false if too many wait for that
    /// already.
    fn close_when_written(&mut self, id: ConnectionId) -> bool {
        let waiting = self.closing.unwritten.len();
        if waiting >= Closing::UNWRITTEN_MAX && self.stage == Stage::Running {
            return false;
        }
        self.leave_connect_line(id);
        if let Some(socket) = self.sockets.of(id) {
            socket.is_closing = true;
            socket.is_reading = false;
            socket.stream.give_up_handshake();
            socket.partial = Vec::new();
            self.closing.unwritten.push_back((Instant::now() + Closing::UNWRITTEN, id));
        }
        self.give_back_reservation(id);
        true
    }

    pub(crate) fn end_connection(&mut self, id: ConnectionId) {
        self.core.handle_closed(id, &mut self.turn);
        // While the address of the peer is still known.
        self.tell_events();
        let socket = self.sockets.of(id);
        let abort_code = socket.as_ref().and_then(|socket| socket.abort_code);
        let at_once = socket.as_ref().is_some_and(|socket| socket.may_be_closed_at_once());
        let is_data_stream = socket.is_some_and(|socket| socket.control.is_some());
        let Some(mut stream) = self.drop_socket(id) else {
            self.remove_resident(id);
            return self.locals.remove(id);
        };
        // First: a peer that sees the end finds that its place is free.
        stream.leave_listener();
        if at_once {
            return self.poller.forget(stream);
        }
        let _ = self.poller.deregister(&mut stream);
        match abort_code {
            Some(code) => stream.abort(u32::from(code)),
            None => {
                stream.shutdown_write(&mut self.stream_scratch);
                // A layer that still waits for its handshake has said nothing, and keeps much.
                let has_last_words = !stream.is_handshaking();
                // A data stream delivers what was written without further help.
                if has_last_words && !is_data_stream {
                    self.closing.linger(stream);
                }
            }
        }
    }

    /// Notes an error that ends one data stream, while the connection goes on.
    fn note_stream_error(&mut self, error: &StreamError) {
        let StreamError { stream, reason_code, detail } = error;
        if let Some(socket) = self.sockets.of(*stream) {
            let (address, code) = (socket.stream.address(), *reason_code as u8);
            let name = reason_code.name();
            if self.log_limit.allows(self.turn.now) {
                log::warn!("{address}: a data stream was reset: {detail}: {name} (0x{code:02X})");
            }
            socket.abort_code = Some(code);
        }
    }
}
