//! PUBACK, PUBREC, PUBREL and PUBCOMP from a Client: they complete the messages in flight.

use midge_codec::{Acknowledgement, PacketType, ReasonCode};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, SessionSlot};
use crate::boundary::store_records::StoreOp;
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::session::outgoing::Stage;
use crate::waiting::rounds::HeldAcknowledgement;

impl Core {
    /// Handles a PUBACK: the Client has received a QoS 1 message [MQTT-4.3.2-5].
    pub(crate) fn handle_puback(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        turn: &mut Turn,
    ) {
        self.finish(id, slot, ack, Stage::PubAck, turn);
    }

    /// Handles a PUBREC: the Client has received a QoS 2 message, or refuses it [MQTT-4.3.3-4].
    pub(crate) fn handle_pubrec(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        turn: &mut Turn,
    ) {
        if ack.reason_code.is_error() {
            return self.finish(id, slot, ack, Stage::PubRec, turn);
        }
        let outgoing = self.ground.clients.session_mut(slot).outgoing_mut();
        let entry = outgoing.and_then(|outgoing| outgoing.find(ack.packet_id));
        let (reason_code, taken_over, sequence) = match entry {
            Some(entry) if entry.stage == Stage::PubRec => {
                (entry.stage, entry.stream) = (Stage::PubComp, Some(id.generation));
                (ReasonCode::Success, entry.delivery.take(), entry.sequence)
            }
            // A repeated PUBREC: the PUBREL is sent again.
            Some(entry) if entry.stage == Stage::PubComp => {
                entry.stream = Some(id.generation);
                (ReasonCode::Success, None, entry.sequence)
            }
            _ => (ReasonCode::PacketIdentifierNotFound, None, None),
        };
        if sequence.is_none() && self.expects(slot, ack) == Some(Stage::PubAck) {
            return self.refuse_acknowledgement(id, slot, ack, Stage::PubRec, turn);
        }
        // The PUBREL waits until the store knows of the PUBREC. Otherwise the message might be sent
        // again, to a Client that forgets the Packet Identifier with the PUBREL.
        let depends = sequence.map(|sequence| {
            if let Some(owner) = self.ground.clients.session(slot).owner()
                && taken_over.is_some()
            {
                self.ground.clients.rounds.keep(StoreOp::Taken { owner, sequence: sequence.get() });
            }
            taken_over.as_ref().map_or(Durability::Fsync, |it| it.message.attributes().durability)
        });
        let held = HeldAcknowledgement {
            to: id,
            kind: PacketType::PubRel,
            packet_id: ack.packet_id,
            reason_code,
            explanation: None,
        };
        self.ground.clients.acknowledge(held, depends, turn);
        self.settle(slot, taken_over.as_ref(), turn);
    }

    /// Handles a PUBREL: the Client releases a Packet Identifier of a QoS 2 message that it
    /// published [MQTT-4.3.3-11].
    pub(crate) fn handle_pubrel(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        turn: &mut Turn,
    ) {
        let session = self.ground.clients.session_mut(slot);
        let (number, durability) = (session.number(), session.durability());
        let packet_id = ack.packet_id;
        let promised = session.note_pubrel(packet_id);
        let reason_code = match promised {
            Some(_) => ReasonCode::Success,
            None => ReasonCode::PacketIdentifierNotFound,
        };
        let promised = promised.filter(|&it| number.is_some() && it > Durability::Memory);
        if let (Some(number), Some(_)) = (number, promised) {
            // This goes behind the record that it takes back, which may still wait for other
            // workers.
            let op = StoreOp::Released { session: number.get(), packet_id };
            self.ground.clients.rounds.keep_behind_round(op);
        }
        // An unknown Packet Identifier may have been released on a Network Connection that is gone,
        // and the store may not know that yet.
        let depends = promised.or(number.map(|_| durability));
        let kind = PacketType::PubComp;
        let held = HeldAcknowledgement { to: id, kind, packet_id, reason_code, explanation: None };
        self.ground.clients.acknowledge(held, depends, turn);
    }

    /// Handles a PUBCOMP: a QoS 2 message is complete.
    pub(crate) fn handle_pubcomp(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        turn: &mut Turn,
    ) {
        self.finish(id, slot, ack, Stage::PubComp, turn);
    }

    /// Returns which packet has to come next for the message that this acknowledgement names.
    /// `None` if no such message was sent on this Network Connection.
    fn expects(&mut self, slot: SessionSlot, ack: &Acknowledgement<'_>) -> Option<Stage> {
        self.ground.clients.session(slot).outgoing()?.expected(ack.packet_id)
    }

    /// Ends a message in flight and sends what there is room for now. An acknowledgement that
    /// matches no message is ignored: the message may have ended on an earlier connection. One that
    /// does not fit the QoS or the progress of its message is a protocol error.
    fn finish(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        stage: Stage,
        turn: &mut Turn,
    ) {
        let outgoing = self.ground.clients.session_mut(slot).outgoing_mut();
        let Some(entry) = outgoing.and_then(|outgoing| outgoing.finish(ack.packet_id, stage))
        else {
            return self.refuse_acknowledgement(id, slot, ack, stage, turn);
        };
        if let (true, Some(delivery)) = (ack.reason_code.is_error(), &entry.delivery) {
            let reason = DropReason::RefusedByReceiver;
            self.ground.clients.note_drop(
                Party::Receiver(slot),
                delivery.message.topic(),
                reason,
                turn,
            );
        }
        self.ground.clients.forget_stored(slot, entry.sequence);
        self.settle(slot, entry.delivery.as_ref(), turn);
        self.router.go_on(&mut self.ground, slot, turn);
    }

    fn refuse_acknowledgement(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        ack: &Acknowledgement<'_>,
        came: Stage,
        turn: &mut Turn,
    ) {
        match (came, self.expects(slot, ack)) {
            // A PUBREC may come twice.
            (_, None) | (Stage::PubRec, Some(Stage::PubComp)) => (),
            (came, Some(expected)) => {
                let (came, expected) = (came.packet().name(), expected.packet().name());
                let detail = format!("{came} where {expected} has to come");
                self.violation(id, &detail, turn);
            }
        }
    }

    fn settle(&mut self, slot: SessionSlot, delivery: Option<&Delivery>, turn: &mut Turn) {
        if let Some(group) = delivery.and_then(|delivery| delivery.group) {
            let session = self.ground.clients.session_id(slot);
            self.router.shared.settle(&mut self.ground, session, group, turn);
        }
    }
}
