//! MQTT 3.1.1 sections 3.8 to 3.11: SUBSCRIBE, UNSUBSCRIBE and their acknowledgements.

use midge_conformance::Version::V3;

use crate::scenario::{format, subscribe, topics};

/// [MQTT-3.8.1-1] [MQTT-2.2.2-1] [MQTT-2.2.2-2]
#[test]
fn mqtt311_3_8_1_1_flags_of_subscribe_are_fixed() {
    format::flags_of_subscribe_are_fixed(V3);
}

/// [MQTT-3.8.3-1] [MQTT-1.5.3-1]
#[test]
fn mqtt311_3_8_3_1_ill_formed_topic_filter_is_malformed() {
    format::ill_formed_topic_filter_ends_the_connection(V3);
}

/// [MQTT-3.8.3-2] [MQTT-4.7.1-2] [MQTT-4.7.1-3]
#[test]
fn mqtt311_3_8_3_2_wildcards_are_accepted_where_they_belong() {
    topics::wildcards_are_accepted_where_they_belong(V3);
}

/// [MQTT-3.8.3-3] [MQTT-4.8.0-1]
#[test]
fn mqtt311_3_8_3_3_subscribe_without_filters_ends_the_connection() {
    subscribe::subscribe_without_filters_ends_the_connection(V3);
}

/// [MQTT-3.8.3-4]
#[test]
fn mqtt311_3_8_3_4_reserved_bits_and_qos_3_end_the_connection() {
    subscribe::reserved_option_bits_end_the_connection(
        V3,
        &[0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80],
    );
}

/// [MQTT-3.8.4-3]
#[test]
fn mqtt311_3_8_4_3_identical_filter_replaces_the_subscription() {
    subscribe::identical_filter_replaces_the_subscription(V3);
}

/// [MQTT-3.8.4-3]
#[test]
fn mqtt311_3_8_4_3_no_message_is_lost_by_a_replacement() {
    subscribe::no_message_is_lost_by_a_replacement(V3);
}

/// [MQTT-3.8.4-4]
#[test]
fn mqtt311_3_8_4_4_several_filters_are_several_subscriptions() {
    subscribe::several_filters_are_several_subscriptions(V3);
}

/// [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2]
#[test]
fn mqtt311_3_8_4_5_suback_has_a_return_code_for_each_filter() {
    subscribe::suback_has_a_reason_for_each_filter(V3);
}

/// [MQTT-3.8.4-6]
#[test]
fn mqtt311_3_8_4_6_message_arrives_at_the_lower_qos() {
    subscribe::message_arrives_at_the_lower_qos(V3);
}

/// [MQTT-3.10.1-1] [MQTT-2.2.2-1] [MQTT-2.2.2-2]
#[test]
fn mqtt311_3_10_1_1_flags_of_unsubscribe_are_fixed() {
    format::flags_of_unsubscribe_are_fixed(V3);
}

/// [MQTT-3.10.3-1] [MQTT-1.5.3-1]
#[test]
fn mqtt311_3_10_3_1_ill_formed_filter_of_unsubscribe_is_malformed() {
    format::ill_formed_filter_of_unsubscribe_ends_the_connection(V3);
}

/// [MQTT-3.10.3-2] [MQTT-4.8.0-1]
#[test]
fn mqtt311_3_10_3_2_unsubscribe_without_filters_ends_the_connection() {
    subscribe::unsubscribe_without_filters_ends_the_connection(V3);
}

/// [MQTT-3.10.4-1]
#[test]
fn mqtt311_3_10_4_1_unsubscribe_compares_character_by_character() {
    subscribe::unsubscribe_compares_character_by_character(V3);
}

/// [MQTT-3.10.4-2]
#[test]
fn mqtt311_3_10_4_2_unsubscribe_stops_new_messages() {
    subscribe::unsubscribe_stops_new_messages(V3);
}

/// [MQTT-3.10.4-3]
#[test]
fn mqtt311_3_10_4_3_started_delivery_is_completed_after_unsubscribe() {
    subscribe::started_delivery_is_completed_after_unsubscribe(V3);
}

/// [MQTT-3.10.4-5] [MQTT-2.3.1-7]
#[test]
fn mqtt311_3_10_4_5_unsubscribe_of_nothing_is_acknowledged() {
    subscribe::unsubscribe_of_nothing_is_acknowledged(V3);
}

/// [MQTT-3.10.4-6]
#[test]
fn mqtt311_3_10_4_6_unsubscribe_of_several_filters_is_one_request() {
    subscribe::unsubscribe_of_several_filters_is_one_request(V3);
}
