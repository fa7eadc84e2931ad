//! Acknowledgements that do not fit the message they name.

use midge_codec::{Acknowledgement, Packet, ReasonCode};

use crate::node::{Conn, Node, scenario};
use crate::packets::{connect_v3, id, persistent, puback, pubcomp, publish, pubrec};
use crate::received::Received;

type Make = fn(u16) -> Packet<'static>;

/// Connects a Client that has one unanswered message under way at this QoS.
fn with_message(node: &mut Node, level: u8, is_v5: bool) -> (Conn, u16) {
    let packet = if is_v5 { persistent("a") } else { connect_v3("a", false) };
    let conn = node.connect_with(&packet).0;
    node.acknowledge(conn, false);
    node.subscribe(conn, "t", 2);
    let publisher = node.connect("p");
    node.publish(publisher, "t", "x", level);
    (conn, node.message(conn).packet_id)
}

/// Reconnects a Client that acknowledges nothing, from the first message on.
fn reconnect(node: &mut Node, packet: &midge_codec::Connect<'_>) -> Conn {
    let conn = node.begin_connect(packet);
    node.acknowledge(conn, false);
    node.settle();
    assert!(node.take_connack(conn).session_present);
    conn
}

fn pubrec_error(packet_id: u16) -> Packet<'static> {
    let reason_code = ReasonCode::UnspecifiedError;
    Packet::PubRec(Acknowledgement { reason_code, ..Acknowledgement::success(id(packet_id)) })
}

#[test]
fn one_of_the_wrong_kind_is_a_protocol_error() {
    scenario(|node| {
        let kinds: [(u8, Make); 5] =
            [(1, pubcomp), (1, pubrec), (1, pubrec_error), (2, puback), (2, pubcomp)];
        for (level, wrong) in kinds {
            for is_v5 in [true, false] {
                let is_error =
                    matches!(wrong(1), Packet::PubRec(ack) if ack.reason_code.is_error());
                if is_error && !is_v5 {
                    continue;
                }
                let (conn, packet_id) = with_message(node, level, is_v5);
                node.send(conn, &wrong(packet_id));
                let code = is_v5.then_some(ReasonCode::ProtocolError);
                assert_eq!(node.end_code(conn), code, "{:?} at QoS {level}", wrong(1));
                // The error does not lose the message.
                let packet = if is_v5 { persistent("a") } else { connect_v3("a", false) };
                let conn = node.connect_with(&packet).0;
                let again = node.message(conn);
                assert!(again.dup && again.text() == "x");
                node.disconnect(conn, ReasonCode::Success);
                node.resume(&midge_codec::Connect { clean_start: true, ..persistent("a") });
            }
        }
    });
}

#[test]
fn a_puback_behind_a_pubrec_is_a_protocol_error_and_a_second_pubrec_is_none() {
    scenario(|node| {
        let (conn, packet_id) = with_message(node, 2, true);
        for _ in 0..2 {
            node.send(conn, &pubrec(packet_id));
            assert_eq!(node.take(conn), [Received::PubRel(packet_id, ReasonCode::Success)]);
        }
        node.send(conn, &puback(packet_id));
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
    });
}

#[test]
fn one_of_nothing_or_of_an_earlier_connection_harms_nobody() {
    scenario(|node| {
        let (conn, packet_id) = with_message(node, 1, true);
        node.lose(conn);
        let mut packet = persistent("a");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(1);
        let conn = reconnect(node, &packet);
        let sent = node.message(conn).packet_id;
        assert_eq!(sent, packet_id);
        node.send(conn, &puback(packet_id));
        for late in [puback(packet_id), pubcomp(packet_id), puback(4711), pubcomp(4711)] {
            node.send(conn, &late);
        }
        node.send(conn, &pubrec(4711));
        let unknown = ReasonCode::PacketIdentifierNotFound;
        assert_eq!(node.take(conn), [Received::PubRel(4711, unknown)]);
        node.send(conn, &crate::packets::pubrel(4711));
        assert_eq!(node.take(conn), [Received::PubComp(4711, unknown)]);
        assert!(!node.is_closed(conn));
    });
}

#[test]
fn one_of_the_wrong_kind_for_what_is_not_sent_again_yet_is_ignored() {
    scenario(|node| {
        let conn = node.connect_with(&persistent("a")).0;
        node.acknowledge(conn, false);
        node.subscribe(conn, "t", 2);
        let publisher = node.connect("p");
        for level in [1, 2] {
            node.send_publish(publisher, publish("t", "x", level, u16::from(level)));
        }
        let ids: Vec<_> = node.messages(conn).iter().map(|message| message.packet_id).collect();
        node.lose(conn);
        let mut packet = persistent("a");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(1);
        let conn = reconnect(node, &packet);
        assert_eq!(node.message(conn).packet_id, ids[0]);
        node.send(conn, &puback(ids[1]));
        assert!(!node.is_closed(conn));
        node.send(conn, &puback(ids[0]));
        assert_eq!(node.message(conn).packet_id, ids[1], "it comes all the same");
    });
}
