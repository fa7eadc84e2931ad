//! How long a peer may say nothing: the CONNECT deadline and the Keep Alive.
//!
//! Silence means that the peer said nothing, never that the broker did not listen: a connection
//! that is not read, by the broker's own choice or because the process stood still, is not silent.
//! An incomplete packet is a sign of life for as long as it arrives at a bearable rate.

use midge_codec::ReasonCode;

use crate::base::identity::ConnectionId;
use crate::base::time::Timestamp;
use crate::base::timers::{Kind, Timer};
use crate::boundary::effects::DisconnectReason;
use crate::boundary::turn::Turn;
use crate::connection::Phase;
use crate::core::Core;

/// A time in which the process did not run; it counts as nobody's silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absence {
    from: Timestamp,
    until: Timestamp,
}

/// How soon a connection is looked at again if something from it waits to be read.
const LOOK_AGAIN_MS: u64 = 50;

impl Core {
    /// Notes that bytes of an incomplete packet have come on a connection. They keep it alive as
    /// long as they come at the rate that the limit `packet_bytes_per_second_min` asks for.
    pub fn note_arriving(&mut self, id: ConnectionId, bytes: usize, now: Timestamp) {
        let rate = u64::from(self.ground.config.limits.packet_bytes_per_second_min);
        let control = self.ground.clients.control_of(id);
        if let Some(connection) = self.ground.clients.connection_mut(control) {
            let earned_ms = (bytes as u64 * 1000).checked_div(rate).unwrap_or(u64::MAX / 2);
            connection.credit(earned_ms, now);
        }
    }

    /// Notes that the peer has shown that it is there, though nothing from it is read at present.
    pub fn note_sign_of_life(&mut self, id: ConnectionId, now: Timestamp) {
        let control = self.ground.clients.control_of(id);
        if let Some(connection) = self.ground.clients.connection_mut(control) {
            connection.hear(now);
        }
    }

    /// Notes that the process did not run between two moments: it was stopped, or its machine was.
    /// Deadlines of peers that passed meanwhile are put off by as much.
    pub fn note_absence(&mut self, from: Timestamp, until: Timestamp) {
        self.absence = Some(Absence { from, until });
    }

    /// Whether the time of some peer is up, so that [`Core::handle_silence`] has to be called.
    pub fn may_be_silent(&self, now: Timestamp) -> bool {
        self.ground.timers.first_of(Kind::Silence).is_some_and(|at| at <= now)
    }

    /// Ends the connections whose peers were silent for too long. Call this when everything that
    /// has come was handled: a peer that could not be heard was not silent.
    pub fn handle_silence(&mut self, turn: &mut Turn) {
        self.handle_silence_heeding(&|_| false, turn);
    }

    /// Like [`Core::handle_silence`]. `waits` says of a connection whether something has come on it
    /// that was not handed in yet.
    pub fn handle_silence_heeding(
        &mut self,
        waits: &dyn Fn(ConnectionId) -> bool,
        turn: &mut Turn,
    ) {
        for _ in 0..Self::TIMERS_PER_TURN {
            let Some(timer) = self.ground.timers.pop_due_of(Kind::Silence, turn.now) else {
                return;
            };
            self.ground.work.add(1);
            if let Timer::Connection(id) = timer {
                self.check_silence(id, waits, turn);
            }
        }
        self.is_late = true;
    }

    /// Ends a connection if its CONNECT deadline or Keep Alive has passed.
    pub(crate) fn check_silence(
        &mut self,
        id: ConnectionId,
        waits: &dyn Fn(ConnectionId) -> bool,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        let due_at = connection.note_timer(None).unwrap_or(turn.now);
        match *connection.phase() {
            Phase::AwaitingConnect | Phase::Authenticating(_) => {
                let has_come = matches!(connection.phase(), Phase::AwaitingConnect) && waits(id);
                let later = self.respite(due_at, has_come, turn.now);
                if let Some(later) = later {
                    return self.set_connection_timer(id, later);
                }
                self.ground.clients.counters.connect_timeouts += 1;
                self.close(id, None, &DisconnectReason::ConnectTimeout, turn);
            }
            Phase::Connected { .. } => {
                let Some(silence_max_ms) = connection.silence_max_ms() else {
                    return;
                };
                let due_at = connection.last_packet_at() + silence_max_ms;
                if due_at > turn.now {
                    return self.set_connection_timer(id, due_at);
                }
                if self.ground.clients.is_any_paused(id) {
                    // Nobody has looked whether something has come.
                    return self.set_connection_timer(id, turn.now + silence_max_ms);
                }
                let has_come = self.ground.clients.is_any_stream(id, waits);
                if let Some(later) = self.respite(due_at, has_come, turn.now) {
                    return self.set_connection_timer(id, later);
                }
                // [MQTT-3.1.2-22]
                self.ground.clients.counters.keep_alive_timeouts += 1;
                let code = Some(ReasonCode::KeepAliveTimeout);
                self.close(id, code, &DisconnectReason::KeepAliveTimeout, turn);
            }
            // A peer that waits for the store cannot help it.
            Phase::Accepted(_) | Phase::Stream { .. } | Phase::Closing { .. } => (),
        }
    }

    /// Returns until when a peer whose time was up at `due_at` has respite, if it has any.
    fn respite(&self, due_at: Timestamp, has_come: bool, now: Timestamp) -> Option<Timestamp> {
        if has_come {
            return Some(now + LOOK_AGAIN_MS);
        }
        let absence = self.absence.filter(|it| it.from <= due_at && due_at < it.until)?;
        let later = due_at + (absence.until - absence.from);
        (later > now).then_some(later)
    }
}
