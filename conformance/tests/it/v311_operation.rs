//! MQTT 3.1.1 sections 3.12 and 3.14, chapters 4 and 7: endings, sessions, order, topics.

use midge_conformance::Version::V3;

use crate::scenario::{ending, qos, session, topics};

/// [MQTT-3.12.4-1]
#[test]
fn mqtt311_3_12_4_1_pingreq_is_answered() {
    ending::pingreq_is_answered(V3);
}

/// [MQTT-3.14.1-1]
#[test]
fn mqtt311_3_14_1_1_disconnect_with_reserved_flags_is_an_error() {
    ending::disconnect_with_reserved_flags_is_an_error(V3);
}

/// [MQTT-4.1.0-2] [MQTT-4.1.0-1]
#[test]
fn mqtt311_4_1_0_2_session_lasts_as_long_as_its_connection() {
    session::session_lasts_as_long_as_its_connection(V3);
}

/// [MQTT-4.3.2-1] [MQTT-3.3.1-1]
#[test]
fn mqtt311_4_3_2_1_qos_1_is_sent_first_without_dup() {
    qos::qos_1_is_sent_first_without_dup(V3);
}

/// [MQTT-4.3.2-1] [MQTT-4.3.3-1]
#[test]
fn mqtt311_4_3_2_1_acknowledged_publish_is_not_sent_again() {
    qos::acknowledged_publish_is_not_sent_again(V3);
}

/// [MQTT-4.3.2-2]
#[test]
fn mqtt311_4_3_2_2_identifier_is_free_after_puback() {
    qos::qos_1_identifier_is_free_after_puback(V3);
}

/// [MQTT-4.3.3-1] [MQTT-3.3.1-1]
#[test]
fn mqtt311_4_3_3_1_qos_2_is_sent_first_without_dup() {
    qos::qos_2_is_sent_first_without_dup(V3);
}

/// [MQTT-4.3.3-1] [MQTT-4.4.0-1]
#[test]
fn mqtt311_4_3_3_1_unacknowledged_pubrel_is_sent_again() {
    qos::unacknowledged_pubrel_is_sent_again(V3);
}

/// [MQTT-4.3.3-2]
#[test]
fn mqtt311_4_3_3_2_qos_2_is_delivered_once() {
    qos::qos_2_is_delivered_once(V3);
}

/// [MQTT-4.3.3-2] [MQTT-4.1.0-1]
#[test]
fn mqtt311_4_3_3_2_qos_2_is_delivered_once_across_connections() {
    qos::qos_2_is_delivered_once_across_connections(V3);
}

/// [MQTT-4.3.3-2]
#[test]
fn mqtt311_4_3_3_2_identifier_is_free_after_pubcomp() {
    qos::qos_2_identifier_is_free_after_pubcomp(V3);
}

/// [MQTT-4.5.0-1] [MQTT-3.1.2-5]
#[test]
fn mqtt311_4_5_0_1_message_is_added_to_every_matching_session() {
    session::message_is_added_to_every_matching_session(V3);
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-3]
#[test]
fn mqtt311_4_6_0_2_acknowledgements_come_in_order() {
    qos::acknowledgements_come_in_order(V3);
}

/// [MQTT-4.6.0-4]
#[test]
fn mqtt311_4_6_0_4_pubrel_comes_in_the_order_of_pubrec() {
    qos::pubrel_comes_in_the_order_of_pubrec(V3);
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn mqtt311_4_6_0_5_messages_arrive_in_order() {
    qos::messages_arrive_in_order(V3);
}

/// [MQTT-4.6.0-6]
#[test]
fn mqtt311_4_6_0_6_stored_messages_arrive_in_order() {
    qos::stored_messages_arrive_in_order(V3);
}

/// [MQTT-4.7.1-2]
#[test]
fn mqtt311_4_7_1_2_misplaced_multi_level_wildcard_is_refused() {
    topics::misplaced_multi_level_wildcard_is_refused(V3);
}

/// [MQTT-4.7.1-3]
#[test]
fn mqtt311_4_7_1_3_misplaced_single_level_wildcard_is_refused() {
    topics::misplaced_single_level_wildcard_is_refused(V3);
}

/// [MQTT-4.7.1-3] [MQTT-3.3.2-3]
#[test]
fn mqtt311_4_7_1_3_topic_name_does_not_match_other_filters() {
    topics::topic_name_does_not_match_other_filters(V3);
}

/// [MQTT-4.7.2-1]
#[test]
fn mqtt311_4_7_2_1_leading_wildcard_does_not_match_dollar_topics() {
    topics::leading_wildcard_does_not_match_dollar_topics(V3);
}

/// [MQTT-4.7.3-1]
#[test]
fn mqtt311_4_7_3_1_empty_topic_filter_is_refused() {
    topics::empty_topic_filter_is_refused(V3);
}

/// [MQTT-4.7.3-1]
#[test]
fn mqtt311_4_7_3_1_empty_topic_name_ends_the_connection() {
    topics::empty_topic_name_ends_the_connection(V3);
}

/// [MQTT-4.7.3-2]
#[test]
fn mqtt311_4_7_3_2_null_character_in_a_topic_ends_the_connection() {
    topics::null_character_in_a_topic_ends_the_connection(V3);
}

/// [MQTT-4.7.3-3]
#[test]
fn mqtt311_4_7_3_3_topic_name_of_65_535_bytes_is_delivered() {
    topics::topic_name_of_65_535_bytes_is_delivered(V3);
}

/// [MQTT-4.7.3-4]
#[test]
fn mqtt311_4_7_3_4_topics_are_not_normalized() {
    topics::topics_are_not_normalized(V3);
}

/// [MQTT-4.8.0-1]
#[test]
fn mqtt311_4_8_0_1_packet_of_a_server_ends_the_connection() {
    ending::packet_of_a_server_ends_the_connection(V3);
}

/// [MQTT-4.8.0-1]
#[test]
fn mqtt311_4_8_0_1_remaining_length_of_five_bytes_ends_the_connection() {
    ending::remaining_length_of_five_bytes_ends_the_connection(V3);
}

/// [MQTT-4.8.0-1]
#[test]
fn mqtt311_4_8_0_1_nothing_behind_disconnect_is_processed() {
    ending::nothing_behind_disconnect_is_processed(V3);
}

/// [MQTT-7.0.0-2] [MQTT-7.1.1-1] [MQTT-7.1.1-2]
#[test]
fn mqtt311_7_0_0_2_plain_conversation_over_tcp_needs_no_extension() {
    ending::plain_conversation_needs_no_extension(V3);
}

/// [MQTT-4.8.0-1]
#[test]
fn mqtt311_4_8_0_1_acknowledgement_of_the_wrong_kind_ends_the_connection() {
    qos::acknowledgement_of_the_wrong_kind_ends_the_connection(V3);
}
