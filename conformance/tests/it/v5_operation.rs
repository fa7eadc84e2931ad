//! MQTT 5.0 sections 3.12 and 3.14, chapter 4: endings, Sessions, order and topics, where they are
//! as in 3.1.1.

use midge_conformance::Version::V5;

use crate::scenario::{ending, qos, session, topics};

/// [MQTT-3.12.4-1]
#[test]
fn mqtt5_3_12_4_1_pingreq_is_answered() {
    ending::pingreq_is_answered(V5);
}

/// [MQTT-3.14.1-1] [MQTT-2.1.3-1]
#[test]
fn mqtt5_3_14_1_1_disconnect_with_reserved_flags_is_malformed() {
    ending::disconnect_with_reserved_flags_is_an_error(V5);
}

/// [MQTT-4.2-1]
#[test]
fn mqtt5_4_2_1_plain_conversation_over_tcp() {
    ending::plain_conversation_needs_no_extension(V5);
}

/// [MQTT-4.3.2-2] [MQTT-4.3.2-1]
#[test]
fn mqtt5_4_3_2_2_qos_1_is_sent_first_without_dup() {
    qos::qos_1_is_sent_first_without_dup(V5);
}

/// [MQTT-4.3.2-3] [MQTT-4.3.3-3]
#[test]
fn mqtt5_4_3_2_3_acknowledged_publish_is_not_sent_again() {
    qos::acknowledged_publish_is_not_sent_again(V5);
}

/// [MQTT-4.3.2-5]
#[test]
fn mqtt5_4_3_2_5_identifier_is_free_after_puback() {
    qos::qos_1_identifier_is_free_after_puback(V5);
}

/// [MQTT-4.3.3-2] [MQTT-4.3.3-1]
#[test]
fn mqtt5_4_3_3_2_qos_2_is_sent_first_without_dup() {
    qos::qos_2_is_sent_first_without_dup(V5);
}

/// [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1]
#[test]
fn mqtt5_4_3_3_5_unacknowledged_pubrel_is_sent_again() {
    qos::unacknowledged_pubrel_is_sent_again(V5);
}

/// [MQTT-4.3.3-10]
#[test]
fn mqtt5_4_3_3_10_qos_2_is_delivered_once() {
    qos::qos_2_is_delivered_once(V5);
}

/// [MQTT-4.3.3-10] [MQTT-4.1.0-1]
#[test]
fn mqtt5_4_3_3_10_qos_2_is_delivered_once_across_connections() {
    qos::qos_2_is_delivered_once_across_connections(V5);
}

/// [MQTT-4.3.3-12]
#[test]
fn mqtt5_4_3_3_12_identifier_is_free_after_pubcomp() {
    qos::qos_2_identifier_is_free_after_pubcomp(V5);
}

/// [MQTT-4.4.0-1]
#[test]
fn mqtt5_4_4_0_1_nothing_is_sent_again_on_an_open_connection() {
    qos::nothing_is_sent_again_on_an_open_connection(V5);
}

/// [MQTT-4.5.0-1]
#[test]
fn mqtt5_4_5_0_1_message_is_added_to_every_matching_session() {
    session::message_is_added_to_every_matching_session(V5);
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-3]
#[test]
fn mqtt5_4_6_0_2_acknowledgements_come_in_order() {
    qos::acknowledgements_come_in_order(V5);
}

/// [MQTT-4.6.0-4]
#[test]
fn mqtt5_4_6_0_4_pubrel_comes_in_the_order_of_pubrec() {
    qos::pubrel_comes_in_the_order_of_pubrec(V5);
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn mqtt5_4_6_0_5_messages_arrive_in_order() {
    qos::messages_arrive_in_order(V5);
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn mqtt5_4_6_0_5_stored_messages_arrive_in_order() {
    qos::stored_messages_arrive_in_order(V5);
}

/// [MQTT-4.7.1-1]
#[test]
fn mqtt5_4_7_1_1_misplaced_multi_level_wildcard_is_refused() {
    topics::misplaced_multi_level_wildcard_is_refused(V5);
}

/// [MQTT-4.7.1-2]
#[test]
fn mqtt5_4_7_1_2_misplaced_single_level_wildcard_is_refused() {
    topics::misplaced_single_level_wildcard_is_refused(V5);
}

/// [MQTT-4.7.1-2] [MQTT-3.3.2-3]
#[test]
fn mqtt5_4_7_1_2_topic_name_does_not_match_other_filters() {
    topics::topic_name_does_not_match_other_filters(V5);
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2]
#[test]
fn mqtt5_4_7_1_1_wildcards_are_accepted_where_they_belong() {
    topics::wildcards_are_accepted_where_they_belong(V5);
}

/// [MQTT-4.7.2-1]
#[test]
fn mqtt5_4_7_2_1_leading_wildcard_does_not_match_dollar_topics() {
    topics::leading_wildcard_does_not_match_dollar_topics(V5);
}

/// [MQTT-4.7.3-1]
#[test]
fn mqtt5_4_7_3_1_empty_topic_filter_is_refused() {
    topics::empty_topic_filter_is_refused(V5);
}

/// [MQTT-4.7.3-1]
#[test]
fn mqtt5_4_7_3_1_empty_topic_name_without_alias_is_an_error() {
    topics::empty_topic_name_ends_the_connection(V5);
}

/// [MQTT-4.7.3-2]
#[test]
fn mqtt5_4_7_3_2_null_character_in_a_topic_is_malformed() {
    topics::null_character_in_a_topic_ends_the_connection(V5);
}

/// [MQTT-4.7.3-3]
#[test]
fn mqtt5_4_7_3_3_topic_name_of_65_535_bytes_is_delivered() {
    topics::topic_name_of_65_535_bytes_is_delivered(V5);
}

/// [MQTT-4.7.3-4]
#[test]
fn mqtt5_4_7_3_4_topics_are_not_normalized() {
    topics::topics_are_not_normalized(V5);
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt5_4_13_1_1_packet_of_a_server_ends_the_connection() {
    ending::packet_of_a_server_ends_the_connection(V5);
}

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2]
#[test]
fn mqtt5_3_14_4_1_nothing_behind_disconnect_is_processed() {
    ending::nothing_behind_disconnect_is_processed(V5);
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt5_4_13_1_1_acknowledgement_of_the_wrong_kind_ends_the_connection() {
    qos::acknowledgement_of_the_wrong_kind_ends_the_connection(V5);
}
