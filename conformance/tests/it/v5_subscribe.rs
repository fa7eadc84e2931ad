//! MQTT 5.0 sections 3.8 to 3.11: SUBSCRIBE and UNSUBSCRIBE, where they are as in 3.1.1.

use midge_conformance::Version::V5;

use crate::scenario::{format, subscribe};

/// [MQTT-3.8.1-1] [MQTT-2.1.3-1]
#[test]
fn mqtt5_3_8_1_1_flags_of_subscribe_are_fixed() {
    format::flags_of_subscribe_are_fixed(V5);
}

/// [MQTT-3.8.3-1] [MQTT-1.5.4-1]
#[test]
fn mqtt5_3_8_3_1_ill_formed_topic_filter_is_malformed() {
    format::ill_formed_topic_filter_ends_the_connection(V5);
}

/// [MQTT-3.8.3-2] [MQTT-4.13.1-1]
#[test]
fn mqtt5_3_8_3_2_subscribe_without_filters_is_a_protocol_error() {
    subscribe::subscribe_without_filters_ends_the_connection(V5);
}

/// [MQTT-3.8.3-5]
#[test]
fn mqtt5_3_8_3_5_reserved_option_bits_are_malformed() {
    subscribe::reserved_option_bits_end_the_connection(V5, &[0x40, 0x80, 0xC0]);
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-4]
#[test]
fn mqtt5_3_8_4_3_identical_filter_replaces_the_subscription() {
    subscribe::identical_filter_replaces_the_subscription(V5);
}

/// [MQTT-3.8.4-4]
#[test]
fn mqtt5_3_8_4_4_no_message_is_lost_by_a_replacement() {
    subscribe::no_message_is_lost_by_a_replacement(V5);
}

/// [MQTT-3.8.4-5]
#[test]
fn mqtt5_3_8_4_5_several_filters_are_several_subscriptions() {
    subscribe::several_filters_are_several_subscriptions(V5);
}

/// [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2]
#[test]
fn mqtt5_3_8_4_6_suback_has_a_reason_code_for_each_filter() {
    subscribe::suback_has_a_reason_for_each_filter(V5);
}

/// [MQTT-3.8.4-8]
#[test]
fn mqtt5_3_8_4_8_message_arrives_at_the_lower_qos() {
    subscribe::message_arrives_at_the_lower_qos(V5);
}

/// [MQTT-3.10.1-1] [MQTT-2.1.3-1]
#[test]
fn mqtt5_3_10_1_1_flags_of_unsubscribe_are_fixed() {
    format::flags_of_unsubscribe_are_fixed(V5);
}

/// [MQTT-3.10.3-1] [MQTT-1.5.4-1]
#[test]
fn mqtt5_3_10_3_1_ill_formed_filter_of_unsubscribe_is_malformed() {
    format::ill_formed_filter_of_unsubscribe_ends_the_connection(V5);
}

/// [MQTT-3.10.3-2] [MQTT-4.13.1-1]
#[test]
fn mqtt5_3_10_3_2_unsubscribe_without_filters_is_a_protocol_error() {
    subscribe::unsubscribe_without_filters_ends_the_connection(V5);
}

/// [MQTT-3.10.4-1]
#[test]
fn mqtt5_3_10_4_1_unsubscribe_compares_character_by_character() {
    subscribe::unsubscribe_compares_character_by_character(V5);
}

/// [MQTT-3.10.4-2]
#[test]
fn mqtt5_3_10_4_2_unsubscribe_stops_new_messages() {
    subscribe::unsubscribe_stops_new_messages(V5);
}

/// [MQTT-3.10.4-3]
#[test]
fn mqtt5_3_10_4_3_started_delivery_is_completed_after_unsubscribe() {
    subscribe::started_delivery_is_completed_after_unsubscribe(V5);
}

/// [MQTT-3.10.4-5]
#[test]
fn mqtt5_3_10_4_5_unsubscribe_of_nothing_is_acknowledged() {
    subscribe::unsubscribe_of_nothing_is_acknowledged(V5);
}

/// [MQTT-3.10.4-6]
#[test]
fn mqtt5_3_10_4_6_unsubscribe_of_several_filters_is_one_request() {
    subscribe::unsubscribe_of_several_filters_is_one_request(V5);
}
