//! MQTT 5.0 sections 3.3 to 3.7: PUBLISH and its acknowledgements, where they are as in 3.1.1.

use midge_conformance::Version::V5;

use crate::scenario::{format, qos, retain, subscribe, topics};

/// [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.3.2-3] [MQTT-4.1.0-1]
#[test]
fn mqtt5_3_3_1_1_unacknowledged_qos_1_publish_is_sent_again() {
    qos::unacknowledged_publish_is_sent_again(V5, 1);
}

/// [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.3.3-3]
#[test]
fn mqtt5_3_3_1_1_unacknowledged_qos_2_publish_is_sent_again() {
    qos::unacknowledged_publish_is_sent_again(V5, 2);
}

/// [MQTT-3.3.1-2] [MQTT-4.3.1-1]
#[test]
fn mqtt5_3_3_1_2_qos_0_is_delivered_without_dup() {
    qos::qos_0_is_delivered_as_qos_0_without_dup(V5);
}

/// [MQTT-3.3.1-2]
#[test]
fn mqtt5_3_3_1_2_dup_at_qos_0_ends_the_connection() {
    format::dup_at_qos_0_ends_the_connection(V5);
}

/// [MQTT-3.3.1-3]
#[test]
fn mqtt5_3_3_1_3_dup_is_not_forwarded() {
    qos::dup_is_not_forwarded(V5);
}

/// [MQTT-3.3.1-4] [MQTT-4.13.1-1]
#[test]
fn mqtt5_3_3_1_4_both_qos_bits_are_malformed() {
    format::both_qos_bits_end_the_connection(V5);
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-9]
#[test]
fn mqtt5_3_3_1_5_retained_message_is_stored_with_its_qos() {
    retain::retained_message_is_stored_with_its_qos(V5);
}

/// [MQTT-3.3.1-5]
#[test]
fn mqtt5_3_3_1_5_retained_message_is_replaced() {
    retain::retained_message_is_replaced(V5);
}

/// [MQTT-3.3.1-5]
#[test]
fn mqtt5_3_3_1_5_retained_qos_0_message_discards_the_old_one() {
    retain::retained_qos_0_message_discards_the_old_one(V5);
}

/// [MQTT-3.3.1-6]
#[test]
fn mqtt5_3_3_1_6_empty_retained_message_removes() {
    retain::empty_retained_message_removes(V5);
}

/// [MQTT-3.3.1-6]
#[test]
fn mqtt5_3_3_1_6_empty_retained_message_is_delivered() {
    retain::empty_retained_message_is_delivered(V5);
}

/// [MQTT-3.3.1-7]
#[test]
fn mqtt5_3_3_1_7_empty_retained_message_is_not_stored() {
    retain::empty_retained_message_is_not_stored(V5);
}

/// [MQTT-3.3.1-8]
#[test]
fn mqtt5_3_3_1_8_message_without_retain_changes_nothing() {
    retain::message_without_retain_changes_nothing(V5);
}

/// [MQTT-3.3.1-9]
#[test]
fn mqtt5_3_3_1_9_new_subscription_gets_retained_messages_of_all_topics() {
    retain::new_subscription_gets_retained_messages_of_all_topics(V5);
}

/// [MQTT-3.3.1-9]
#[test]
fn mqtt5_3_3_1_9_retain_is_set_for_a_new_subscription() {
    retain::retain_is_set_for_a_new_subscription(V5);
}

/// [MQTT-3.3.1-12]
#[test]
fn mqtt5_3_3_1_12_retain_is_clear_for_an_established_subscription() {
    retain::retain_is_clear_for_an_established_subscription(V5);
}

/// [MQTT-3.3.2-1] [MQTT-1.5.4-1]
#[test]
fn mqtt5_3_3_2_1_cut_topic_name_is_malformed() {
    topics::cut_topic_name_ends_the_connection(V5);
}

/// [MQTT-3.3.2-2] [MQTT-4.7.0-1]
#[test]
fn mqtt5_3_3_2_2_wildcards_in_a_topic_name_end_the_connection() {
    topics::wildcards_in_a_topic_name_end_the_connection(V5);
}

/// [MQTT-3.3.2-3]
#[test]
fn mqtt5_3_3_2_3_topic_name_matches_the_filter() {
    topics::topic_name_matches_the_filter(V5);
}

/// [MQTT-3.3.4-1]
#[test]
fn mqtt5_3_3_4_1_qos_0_is_not_acknowledged() {
    qos::qos_0_is_not_acknowledged(V5);
}

/// [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.3-8] [MQTT-4.3.3-11]
#[test]
fn mqtt5_3_3_4_1_qos_2_is_acknowledged_by_pubrec_and_pubcomp() {
    qos::qos_2_is_acknowledged_by_pubrec_and_pubcomp(V5);
}

/// [MQTT-3.3.4-2]
#[test]
fn mqtt5_3_3_4_2_overlapping_subscriptions_deliver_at_the_highest_qos() {
    subscribe::overlapping_subscriptions_deliver_at_the_highest_qos(V5);
}

/// [MQTT-3.6.1-1] [MQTT-2.1.3-1]
#[test]
fn mqtt5_3_6_1_1_flags_of_pubrel_are_fixed() {
    format::flags_of_pubrel_are_fixed(V5);
}
