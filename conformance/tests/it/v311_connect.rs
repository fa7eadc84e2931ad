//! MQTT 3.1.1 sections 3.1 and 3.2: CONNECT without its will, and CONNACK.

use midge_conformance::Version::V3;

use crate::scenario::{connect_packet, ending, session};

/// [MQTT-3.1.0-1]
#[test]
fn mqtt311_3_1_0_1_first_packet_has_to_be_connect() {
    connect_packet::first_packet_has_to_be_connect(V3);
}

/// [MQTT-3.1.0-2] [MQTT-4.8.0-1]
#[test]
fn mqtt311_3_1_0_2_second_connect_ends_the_connection() {
    connect_packet::second_connect_ends_the_connection(V3);
}

/// [MQTT-3.1.2-1] [MQTT-3.2.2-6]
#[test]
fn mqtt311_3_1_2_1_wrong_protocol_name_is_refused() {
    connect_packet::wrong_protocol_name_is_refused(V3);
}

/// [MQTT-3.1.2-3] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_2_3_reserved_connect_flag_is_refused() {
    connect_packet::reserved_connect_flag_is_refused(V3);
}

/// [MQTT-3.1.2-4] [MQTT-3.1.4-3] [MQTT-4.1.0-1]
#[test]
fn mqtt311_3_1_2_4_session_keeps_subscriptions() {
    session::session_keeps_subscriptions(V3);
}

/// [MQTT-3.1.2-5]
#[test]
fn mqtt311_3_1_2_5_session_stores_messages_while_offline() {
    session::session_stores_messages_while_offline(V3);
}

/// [MQTT-3.1.2-6] [MQTT-3.1.4-3]
#[test]
fn mqtt311_3_1_2_6_clean_session_discards_the_old_one() {
    session::clean_start_discards_the_session(V3);
}

/// [MQTT-3.1.2-6] [MQTT-3.2.2-3]
#[test]
fn mqtt311_3_1_2_6_clean_session_ends_with_its_connection() {
    session::clean_session_ends_with_its_connection(V3);
}

/// [MQTT-3.1.2-7]
#[test]
fn mqtt311_3_1_2_7_retained_messages_outlive_the_session() {
    session::retained_messages_outlive_the_session(V3);
}

/// [MQTT-3.1.2-18] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_2_18_user_name_without_its_flag_is_refused() {
    connect_packet::user_name_without_its_flag_is_refused(V3);
}

/// [MQTT-3.1.2-19] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_2_19_user_name_flag_without_user_name_is_refused() {
    connect_packet::user_name_flag_without_user_name_is_refused(V3);
}

/// [MQTT-3.1.2-20] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_2_20_password_without_its_flag_is_refused() {
    connect_packet::password_without_its_flag_is_refused(V3);
}

/// [MQTT-3.1.2-21] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_2_21_password_flag_without_password_is_refused() {
    connect_packet::password_flag_without_password_is_refused(V3);
}

/// [MQTT-3.1.2-24]
#[test]
fn mqtt311_3_1_2_24_silent_client_is_disconnected() {
    ending::silent_client_is_disconnected(V3);
}

/// [MQTT-3.1.2-24]
#[test]
fn mqtt311_3_1_2_24_talking_client_stays_connected() {
    ending::talking_client_stays_connected(V3);
}

/// [MQTT-3.1.3-1] [MQTT-3.1.2-19] [MQTT-3.1.2-21]
#[test]
fn mqtt311_3_1_3_1_payload_fields_are_read_in_their_order() {
    connect_packet::payload_fields_are_read_in_their_order(V3);
}

/// [MQTT-3.1.3-2]
#[test]
fn mqtt311_3_1_3_2_client_identifier_identifies_the_session() {
    connect_packet::client_identifier_identifies_the_session(V3);
}

/// [MQTT-3.1.3-3] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_3_3_missing_client_identifier_is_refused() {
    connect_packet::missing_client_identifier_is_refused(V3);
}

/// [MQTT-3.1.3-4] [MQTT-1.5.3-1] [MQTT-1.5.3-2]
#[test]
fn mqtt311_3_1_3_4_ill_formed_client_identifier_is_refused() {
    connect_packet::ill_formed_client_identifier_is_refused(V3);
}

/// [MQTT-3.1.3-5]
#[test]
fn mqtt311_3_1_3_5_short_alphanumeric_client_identifiers_are_allowed() {
    connect_packet::short_alphanumeric_client_identifiers_are_allowed(V3);
}

/// [MQTT-3.1.3-10]
#[test]
fn mqtt311_3_1_3_10_ill_formed_will_topic_is_refused() {
    connect_packet::ill_formed_will_topic_is_refused(V3);
}

/// [MQTT-3.1.3-11]
#[test]
fn mqtt311_3_1_3_11_ill_formed_user_name_is_refused() {
    connect_packet::ill_formed_user_name_is_refused(V3);
}

/// [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_4_1_broken_format_is_refused() {
    connect_packet::broken_format_is_refused(V3);
}

/// [MQTT-3.1.4-2]
#[test]
fn mqtt311_3_1_4_2_existing_client_is_disconnected() {
    connect_packet::existing_client_is_disconnected(V3);
}

/// [MQTT-3.1.4-4] [MQTT-3.2.2-1]
#[test]
fn mqtt311_3_1_4_4_valid_connect_is_acknowledged() {
    connect_packet::packets_behind_connect_are_processed(V3);
}

/// [MQTT-3.1.4-5]
#[test]
fn mqtt311_3_1_4_5_nothing_behind_a_refused_connect_is_processed() {
    connect_packet::nothing_behind_a_refused_connect_is_processed(V3);
}

/// [MQTT-3.2.0-1]
#[test]
fn mqtt311_3_2_0_1_connack_comes_first() {
    connect_packet::connack_comes_first(V3);
}

/// [MQTT-3.2.2-1]
#[test]
fn mqtt311_3_2_2_1_clean_session_reports_no_session() {
    connect_packet::clean_start_reports_no_session(V3);
}

/// [MQTT-3.2.2-2] [MQTT-3.2.2-3]
#[test]
fn mqtt311_3_2_2_2_session_present_tells_whether_there_is_a_session() {
    connect_packet::session_present_tells_whether_there_is_a_session(V3);
}
