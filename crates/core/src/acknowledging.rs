//! PUBACK, PUBREC, PUBREL and PUBCOMP from a Client: how messages under way come to their end.

use midge_codec::{Acknowledgement, PacketType, ReasonCode};

use crate::core::Core;
use crate::counters::DropReason;
use crate::effects::Effects;
use crate::identity::ConnectionId;
use crate::outgoing::{Delivery, Stage};
use crate::subscription_tree::SessionSlot;
use crate::time::Timestamp;

impl Core {
    /// The Client has a QoS 1 message [MQTT-4.3.2-5].
    pub(crate) fn handle_puback(
        &mut self,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        self.finish(slot, ack, Stage::PubAck, now, fx);
    }

    /// The Client has a QoS 2 message, or refuses it [MQTT-4.3.3-4].
    pub(crate) fn handle_pubrec(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        if ack.reason_code.is_error() {
            return self.finish(slot, ack, Stage::PubRec, now, fx);
        }
        let outgoing = self.clients.session(slot).outgoing.as_mut();
        let entry = outgoing.and_then(|outgoing| outgoing.find(ack.packet_id));
        let (reason_code, taken_over) = match entry {
            Some(entry) if entry.stage == Stage::PubRec => {
                entry.stage = Stage::PubComp;
                (ReasonCode::Success, entry.delivery.take())
            }
            // A repetition: the PUBREL is repeated.
            Some(entry) if entry.stage == Stage::PubComp => (ReasonCode::Success, None),
            _ => (ReasonCode::PacketIdentifierNotFound, None),
        };
        self.clients.acknowledge(id, PacketType::PubRel, ack.packet_id, reason_code, None, fx);
        self.settle(slot, taken_over.as_ref(), fx);
    }

    /// The Client lets go of a QoS 2 Packet Identifier of its own [MQTT-4.3.3-11].
    pub(crate) fn handle_pubrel(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        fx: &mut Effects,
    ) {
        let known = self.clients.session(slot).release(ack.packet_id);
        let reason_code =
            if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        self.clients.acknowledge(id, PacketType::PubComp, ack.packet_id, reason_code, None, fx);
    }

    /// A QoS 2 message has come to its end.
    pub(crate) fn handle_pubcomp(
        &mut self,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        self.finish(slot, ack, Stage::PubComp, now, fx);
    }

    /// Ends a message under way and sends what there is room for now. An acknowledgement of
    /// nothing is ignored: the message may have ended on an earlier connection.
    fn finish(
        &mut self,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        stage: Stage,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let outgoing = self.clients.session(slot).outgoing.as_mut();
        let Some(entry) = outgoing.and_then(|outgoing| outgoing.finish(ack.packet_id, stage))
        else {
            return;
        };
        if let (true, Some(delivery)) = (ack.reason_code.is_error(), &entry.delivery) {
            let reason = DropReason::RefusedByReceiver;
            self.clients.note_drop(Some(slot), delivery.message.topic(), reason, fx);
        }
        self.settle(slot, entry.delivery.as_ref(), fx);
        self.clients.pump(slot, now, fx);
        self.retained.wake();
    }

    fn settle(&mut self, slot: SessionSlot, delivery: Option<&Delivery>, fx: &mut Effects) {
        if let Some(group) = delivery.and_then(|delivery| delivery.group) {
            self.settle_shared(self.clients.session_id(slot), group, fx);
        }
    }
}
