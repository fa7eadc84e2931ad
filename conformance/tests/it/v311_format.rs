//! MQTT 3.1.1 chapters 1 and 2: strings, fixed header, Packet Identifiers.

use midge_conformance::Version::V3;

use crate::scenario::{format, qos, subscribe};

/// [MQTT-1.5.3-1]
#[test]
fn mqtt311_1_5_3_1_ill_formed_topic_name_ends_the_connection() {
    format::ill_formed_topic_name_ends_the_connection(V3);
}

/// [MQTT-1.5.3-1]
#[test]
fn mqtt311_1_5_3_1_ill_formed_topic_filter_ends_the_connection() {
    format::ill_formed_topic_filter_ends_the_connection(V3);
}

/// [MQTT-1.5.3-2] [MQTT-4.7.3-2]
#[test]
fn mqtt311_1_5_3_2_null_character_ends_the_connection() {
    format::null_character_ends_the_connection(V3);
}

/// [MQTT-1.5.3-3]
#[test]
fn mqtt311_1_5_3_3_byte_order_mark_is_a_character() {
    format::byte_order_mark_is_a_character(V3);
}

/// [MQTT-2.2.2-1] [MQTT-2.2.2-2]
#[test]
fn mqtt311_2_2_2_1_reserved_flags_end_the_connection() {
    format::reserved_flags_end_the_connection(V3);
}

/// [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.1.4-1]
#[test]
fn mqtt311_2_2_2_1_reserved_flags_of_connect_are_refused() {
    format::reserved_flags_of_connect_are_refused(V3);
}

/// [MQTT-2.3.1-1]
#[test]
fn mqtt311_2_3_1_1_packet_identifier_zero_ends_the_connection() {
    format::packet_identifier_zero_ends_the_connection(V3);
}

/// [MQTT-2.3.1-4] [MQTT-4.3.2-1]
#[test]
fn mqtt311_2_3_1_4_qos_1_identifiers_in_flight_differ() {
    qos::packet_identifiers_in_flight_differ(V3, 1);
}

/// [MQTT-2.3.1-4] [MQTT-4.3.3-1]
#[test]
fn mqtt311_2_3_1_4_qos_2_identifiers_in_flight_differ() {
    qos::packet_identifiers_in_flight_differ(V3, 2);
}

/// [MQTT-2.3.1-5]
#[test]
fn mqtt311_2_3_1_5_qos_0_publish_has_no_packet_identifier() {
    format::qos_0_publish_has_no_packet_identifier(V3);
}

/// [MQTT-2.3.1-6] [MQTT-4.3.3-1]
#[test]
fn mqtt311_2_3_1_6_pubrel_repeats_the_packet_identifier() {
    qos::qos_2_is_completed_by_pubrel(V3);
}

/// [MQTT-2.3.1-6] [MQTT-4.3.2-2] [MQTT-3.3.4-1]
#[test]
fn mqtt311_2_3_1_6_puback_repeats_the_packet_identifier() {
    qos::qos_1_is_acknowledged_by_puback(V3);
}

/// [MQTT-2.3.1-7] [MQTT-3.8.4-1] [MQTT-3.8.4-2]
#[test]
fn mqtt311_2_3_1_7_suback_repeats_the_packet_identifier() {
    subscribe::subscribe_is_acknowledged(V3);
}

/// [MQTT-2.3.1-7] [MQTT-3.10.4-4]
#[test]
fn mqtt311_2_3_1_7_unsuback_repeats_the_packet_identifier() {
    subscribe::unsubscribe_is_acknowledged(V3);
}
