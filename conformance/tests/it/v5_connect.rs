//! MQTT 5.0 sections 3.1 and 3.2: CONNECT and CONNACK, where they are as in 3.1.1.

use midge_conformance::Version::V5;

use crate::scenario::{connect_packet, ending, session};

/// [MQTT-3.1.0-1] [MQTT-3.14.0-1] [MQTT-3.2.0-1]
#[test]
fn mqtt5_3_1_0_1_first_packet_has_to_be_connect() {
    connect_packet::first_packet_has_to_be_connect(V5);
}

/// [MQTT-3.1.0-2] [MQTT-3.2.0-2] [MQTT-4.13.1-1]
#[test]
fn mqtt5_3_1_0_2_second_connect_is_a_protocol_error() {
    connect_packet::second_connect_ends_the_connection(V5);
}

/// [MQTT-3.1.2-1]
#[test]
fn mqtt5_3_1_2_1_wrong_protocol_name_is_refused() {
    connect_packet::wrong_protocol_name_is_refused(V5);
}

/// [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.2.2-7]
#[test]
fn mqtt5_3_1_2_3_reserved_connect_flag_is_refused() {
    connect_packet::reserved_connect_flag_is_refused(V5);
}

/// [MQTT-3.1.2-4] [MQTT-3.1.4-4]
#[test]
fn mqtt5_3_1_2_4_clean_start_discards_the_session() {
    session::clean_start_discards_the_session(V5);
}

/// [MQTT-3.1.2-5] [MQTT-3.1.4-4] [MQTT-4.1.0-1]
#[test]
fn mqtt5_3_1_2_5_session_keeps_subscriptions() {
    session::session_keeps_subscriptions(V5);
}

/// [MQTT-3.1.2-16] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_16_user_name_without_its_flag_is_refused() {
    connect_packet::user_name_without_its_flag_is_refused(V5);
}

/// [MQTT-3.1.2-17] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_17_user_name_flag_without_user_name_is_refused() {
    connect_packet::user_name_flag_without_user_name_is_refused(V5);
}

/// [MQTT-3.1.2-18] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_18_password_without_its_flag_is_refused() {
    connect_packet::password_without_its_flag_is_refused(V5);
}

/// [MQTT-3.1.2-19] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_19_password_flag_without_password_is_refused() {
    connect_packet::password_flag_without_password_is_refused(V5);
}

/// [MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT-4.13.2-1]
#[test]
fn mqtt5_3_1_2_22_silent_client_is_disconnected() {
    ending::silent_client_is_disconnected(V5);
}

/// [MQTT-3.1.2-22]
#[test]
fn mqtt5_3_1_2_22_talking_client_stays_connected() {
    ending::talking_client_stays_connected(V5);
}

/// [MQTT-3.1.2-23]
#[test]
fn mqtt5_3_1_2_23_session_stores_messages_while_offline() {
    session::session_stores_messages_while_offline(V5);
}

/// [MQTT-3.1.3-1] [MQTT-3.1.2-17] [MQTT-3.1.2-19]
#[test]
fn mqtt5_3_1_3_1_payload_fields_are_read_in_their_order() {
    connect_packet::payload_fields_are_read_in_their_order(V5);
}

/// [MQTT-3.1.3-2]
#[test]
fn mqtt5_3_1_3_2_client_identifier_identifies_the_session() {
    connect_packet::client_identifier_identifies_the_session(V5);
}

/// [MQTT-3.1.3-3] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_3_3_missing_client_identifier_is_refused() {
    connect_packet::missing_client_identifier_is_refused(V5);
}

/// [MQTT-3.1.3-4] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
#[test]
fn mqtt5_3_1_3_4_ill_formed_client_identifier_is_refused() {
    connect_packet::ill_formed_client_identifier_is_refused(V5);
}

/// [MQTT-3.1.3-5]
#[test]
fn mqtt5_3_1_3_5_short_alphanumeric_client_identifiers_are_allowed() {
    connect_packet::short_alphanumeric_client_identifiers_are_allowed(V5);
}

/// [MQTT-3.1.3-11]
#[test]
fn mqtt5_3_1_3_11_ill_formed_will_topic_is_refused() {
    connect_packet::ill_formed_will_topic_is_refused(V5);
}

/// [MQTT-3.1.3-12]
#[test]
fn mqtt5_3_1_3_12_ill_formed_user_name_is_refused() {
    connect_packet::ill_formed_user_name_is_refused(V5);
}

/// [MQTT-3.1.4-1] [MQTT-3.14.0-1] [MQTT-3.2.2-8]
#[test]
fn mqtt5_3_1_4_1_broken_format_is_refused() {
    connect_packet::broken_format_is_refused(V5);
}

/// [MQTT-3.1.4-3]
#[test]
fn mqtt5_3_1_4_3_existing_client_is_disconnected() {
    connect_packet::existing_client_is_disconnected(V5);
}

/// [MQTT-3.1.4-5]
#[test]
fn mqtt5_3_1_4_5_valid_connect_is_acknowledged() {
    connect_packet::packets_behind_connect_are_processed(V5);
}

/// [MQTT-3.1.4-6]
#[test]
fn mqtt5_3_1_4_6_nothing_behind_a_refused_connect_is_processed() {
    connect_packet::nothing_behind_a_refused_connect_is_processed(V5);
}

/// [MQTT-3.2.0-1]
#[test]
fn mqtt5_3_2_0_1_connack_comes_first() {
    connect_packet::connack_comes_first(V5);
}

/// [MQTT-3.2.2-2] [MQTT-3.2.2-1]
#[test]
fn mqtt5_3_2_2_2_clean_start_reports_no_session() {
    connect_packet::clean_start_reports_no_session(V5);
}

/// [MQTT-3.2.2-3] [MQTT-3.1.2-6]
#[test]
fn mqtt5_3_2_2_3_session_present_tells_whether_there_is_a_session() {
    connect_packet::session_present_tells_whether_there_is_a_session(V5);
}

/// [MQTT-4.1.0-2]
#[test]
fn mqtt5_4_1_0_2_session_without_expiry_ends_with_its_connection() {
    session::clean_session_ends_with_its_connection(V5);
}

/// [MQTT-4.1.0-1]
#[test]
fn mqtt5_4_1_0_1_session_lasts_as_long_as_its_connection() {
    session::session_lasts_as_long_as_its_connection(V5);
}
