//! What a new Network Connection sends again because the last one left it unfinished.
//!
//! It must never send more at once than the Server's new limits allow, and never lose a message
//! without an event that says so.

use std::time::Instant;

use midge_codec::{Packet, PacketIdentifier, ReasonCode};

use super::in_flight::Stage;
use super::receive::answer;
use super::{CONTROL, Event, Publication, Session};

impl Session {
    /// Sends again what the last Network Connection left unacknowledged [MQTT-4.4.0-1]. If the
    /// Server has forgotten the session, the messages are new to it.
    pub(super) fn redeliver(&mut self, session_present: bool, now: Instant) {
        if !session_present {
            self.unreleased.clear();
            for publication in self.in_flight.remove_released() {
                self.report(&publication, ReasonCode::Success);
            }
        }
        self.in_flight.queue_again(session_present);
        let stages: Vec<_> = self.in_flight.stages().collect();
        for (place, (packet_id, stage)) in stages.into_iter().enumerate() {
            match stage {
                Stage::PubRel => {
                    self.acknowledge(Packet::PubRel, packet_id, ReasonCode::Success, now);
                }
                _ if place < self.window() => self.send_again(packet_id, now),
                _ => {}
            }
        }
        for publication in std::mem::take(&mut self.unsent_messages) {
            self.send_or_refuse(&publication, None, false, now);
        }
    }

    /// Sends messages that waited for a place in the window.
    pub(super) fn send_queued(&mut self, now: Instant) {
        loop {
            let window = self.in_flight.stages().take(self.window());
            let mut queued = window.filter(|(_, stage)| matches!(stage, Stage::Queued { .. }));
            let Some((packet_id, _)) = queued.next() else { return };
            drop(queued);
            self.send_again(packet_id, now);
        }
    }

    fn send_again(&mut self, packet_id: PacketIdentifier, now: Instant) {
        let Some(entry) = self.in_flight.get_mut(packet_id) else { return };
        let Stage::Queued { dup } = entry.stage else { return };
        entry.stage = Stage::Publish;
        let publication = entry.publication.clone();
        if !self.send_or_refuse(&publication, Some(packet_id), dup, now) {
            self.in_flight.remove(packet_id);
        }
    }

    /// Sends a message, or reports that the Server does not take it any more. Returns whether it
    /// was sent.
    fn send_or_refuse(
        &mut self,
        publication: &Publication,
        packet_id: Option<PacketIdentifier>,
        dup: bool,
        now: Instant,
    ) -> bool {
        let refusal = if publication.qos > self.limits.maximum_qos {
            Some(ReasonCode::QoSNotSupported)
        } else if publication.retain && !self.limits.retain_available {
            Some(ReasonCode::RetainNotSupported)
        } else {
            let sent = self.send_publish(CONTROL, publication, packet_id, dup, now);
            sent.err().map(|_| ReasonCode::PacketTooLarge)
        };
        if let Some(reason_code) = refusal {
            self.report(publication, reason_code);
        }
        refusal.is_none()
    }

    fn report(&mut self, publication: &Publication, reason_code: ReasonCode) {
        let topic = publication.topic.to_string();
        let answer = answer(reason_code, None, None);
        self.events.push_back(Event::Published { topic, answer });
    }
}
