//! MQTT 3.1.1 chapter 6: WebSocket as a carrier.

use midge_conformance::Version::V3;
use midge_conformance::transport::frames::Framing;

use crate::scenario::websocket;

/// [MQTT-6.0.0-1]
#[test]
fn mqtt311_6_0_0_1_text_frame_closes_the_connection() {
    websocket::text_frame_closes_the_connection(V3);
}

/// [MQTT-6.0.0-1]
#[test]
fn mqtt311_6_0_0_1_text_frame_before_connect_closes_the_connection() {
    websocket::text_frame_before_connect_closes_the_connection(V3);
}

/// [MQTT-6.0.0-1]
#[test]
fn mqtt311_6_0_0_1_text_frame_inside_a_packet_closes_the_connection() {
    websocket::text_frame_inside_a_packet_closes_the_connection(V3);
}

/// [MQTT-6.0.0-1]
#[test]
fn mqtt311_6_0_0_1_text_frame_among_fragments_closes_the_connection() {
    websocket::text_frame_among_fragments_closes_the_connection(V3);
}

/// [MQTT-6.0.0-1]
#[test]
fn mqtt311_6_0_0_1_broker_sends_binary_messages() {
    websocket::broker_sends_binary_messages(V3);
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt311_6_0_0_2_packets_may_be_split_into_single_bytes() {
    websocket::packets_may_be_split(V3, Framing::Bytes);
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt311_6_0_0_2_packets_may_be_split_unevenly() {
    websocket::packets_may_be_split(V3, Framing::Uneven);
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt311_6_0_0_2_packets_may_be_joined() {
    websocket::packets_may_be_joined(V3);
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt311_6_0_0_2_ping_inside_a_packet_is_answered() {
    websocket::ping_inside_a_packet_is_answered(V3);
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt311_6_0_0_2_close_is_answered() {
    websocket::close_is_answered(V3);
}

/// [MQTT-6.0.0-3]
#[test]
fn mqtt311_6_0_0_3_missing_subprotocol_is_refused() {
    websocket::missing_subprotocol_is_refused();
}

/// [MQTT-6.0.0-4]
#[test]
fn mqtt311_6_0_0_4_answer_names_the_subprotocol() {
    websocket::answer_names_the_subprotocol();
}
