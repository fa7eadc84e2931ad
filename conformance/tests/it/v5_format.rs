//! MQTT 5.0 chapters 1 and 2: strings, fixed header, Packet Identifiers.

use midge_conformance::Version::V5;

use crate::scenario::{ending, format, qos, subscribe};

/// [MQTT-1.5.4-1]
#[test]
fn mqtt5_1_5_4_1_ill_formed_topic_name_is_malformed() {
    format::ill_formed_topic_name_ends_the_connection(V5);
}

/// [MQTT-1.5.4-1]
#[test]
fn mqtt5_1_5_4_1_ill_formed_topic_filter_is_malformed() {
    format::ill_formed_topic_filter_ends_the_connection(V5);
}

/// [MQTT-1.5.4-2] [MQTT-4.7.3-2]
#[test]
fn mqtt5_1_5_4_2_null_character_is_malformed() {
    format::null_character_ends_the_connection(V5);
}

/// [MQTT-1.5.4-3]
#[test]
fn mqtt5_1_5_4_3_byte_order_mark_is_a_character() {
    format::byte_order_mark_is_a_character(V5);
}

/// [MQTT-1.5.5-1]
#[test]
fn mqtt5_1_5_5_1_remaining_length_of_five_bytes_is_malformed() {
    ending::remaining_length_of_five_bytes_ends_the_connection(V5);
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt5_2_1_3_1_reserved_flags_are_malformed() {
    format::reserved_flags_end_the_connection(V5);
}

/// [MQTT-2.1.3-1] [MQTT-3.1.4-1]
#[test]
fn mqtt5_2_1_3_1_reserved_flags_of_connect_are_refused() {
    format::reserved_flags_of_connect_are_refused(V5);
}

/// [MQTT-2.2.1-2]
#[test]
fn mqtt5_2_2_1_2_qos_0_publish_has_no_packet_identifier() {
    format::qos_0_publish_has_no_packet_identifier(V5);
}

/// [MQTT-2.2.1-3]
#[test]
fn mqtt5_2_2_1_3_packet_identifier_zero_is_malformed() {
    format::packet_identifier_zero_ends_the_connection(V5);
}

/// [MQTT-2.2.1-4] [MQTT-4.3.2-1]
#[test]
fn mqtt5_2_2_1_4_qos_1_identifiers_in_flight_differ() {
    qos::packet_identifiers_in_flight_differ(V5, 1);
}

/// [MQTT-2.2.1-4] [MQTT-4.3.3-1]
#[test]
fn mqtt5_2_2_1_4_qos_2_identifiers_in_flight_differ() {
    qos::packet_identifiers_in_flight_differ(V5, 2);
}

/// [MQTT-2.2.1-5] [MQTT-4.3.3-4]
#[test]
fn mqtt5_2_2_1_5_pubrel_repeats_the_packet_identifier() {
    qos::qos_2_is_completed_by_pubrel(V5);
}

/// [MQTT-2.2.1-5] [MQTT-4.3.2-4] [MQTT-3.3.4-1]
#[test]
fn mqtt5_2_2_1_5_puback_repeats_the_packet_identifier() {
    qos::qos_1_is_acknowledged_by_puback(V5);
}

/// [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.2.2-1]
#[test]
fn mqtt5_2_2_1_6_suback_repeats_the_packet_identifier() {
    subscribe::subscribe_is_acknowledged(V5);
}

/// [MQTT-2.2.1-6] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-2.2.2-1]
#[test]
fn mqtt5_2_2_1_6_unsuback_repeats_the_packet_identifier() {
    subscribe::unsubscribe_is_acknowledged(V5);
}
