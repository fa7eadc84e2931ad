//! MQTT 5.0 section 3.1.2: the Will Message, where it is as in 3.1.1.

use midge_conformance::Version::V5;

use crate::scenario::{connect_packet, will};

/// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-9]
#[test]
fn mqtt5_3_1_2_7_will_is_published_when_the_connection_breaks() {
    will::will_is_published_when_the_connection_breaks(V5);
}

/// [MQTT-3.1.2-8]
#[test]
fn mqtt5_3_1_2_8_will_is_published_when_the_broker_ends_the_connection() {
    will::will_is_published_when_the_broker_ends_the_connection(V5);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-22]
#[test]
fn mqtt5_3_1_2_8_will_is_published_when_the_client_falls_silent() {
    will::will_is_published_when_the_client_falls_silent(V5);
}

/// [MQTT-3.1.2-9] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_9_will_flag_without_will_fields_is_refused() {
    connect_packet::will_flag_without_will_fields_is_refused(V5);
}

/// [MQTT-3.1.2-9] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_9_will_fields_without_will_flag_are_refused() {
    connect_packet::will_fields_without_will_flag_are_refused(V5);
}

/// [MQTT-3.1.2-10]
#[test]
fn mqtt5_3_1_2_10_will_is_published_only_once() {
    will::will_is_published_only_once(V5);
}

/// [MQTT-3.1.2-10] [MQTT-3.1.2-8]
#[test]
fn mqtt5_3_1_2_10_nothing_is_published_without_a_will() {
    will::nothing_is_published_without_a_will(V5);
}

/// [MQTT-3.1.2-11] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_11_will_qos_without_will_flag_is_refused() {
    connect_packet::will_qos_without_will_flag_is_refused(V5);
}

/// [MQTT-3.1.2-12] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_12_will_qos_3_is_refused() {
    connect_packet::will_qos_3_is_refused(V5);
}

/// [MQTT-3.1.2-12] [MQTT-3.2.2-12]
#[test]
fn mqtt5_3_1_2_12_will_has_its_qos() {
    will::will_has_its_qos(V5);
}

/// [MQTT-3.1.2-13] [MQTT-3.1.4-1]
#[test]
fn mqtt5_3_1_2_13_will_retain_without_will_flag_is_refused() {
    connect_packet::will_retain_without_will_flag_is_refused(V5);
}

/// [MQTT-3.1.2-14]
#[test]
fn mqtt5_3_1_2_14_will_without_retain_is_not_retained() {
    will::will_without_retain_is_not_retained(V5);
}

/// [MQTT-3.1.2-15] [MQTT-3.2.2-13]
#[test]
fn mqtt5_3_1_2_15_will_with_retain_is_retained() {
    will::will_with_retain_is_retained(V5);
}

/// [MQTT-3.14.4-3] [MQTT-3.1.2-10]
#[test]
fn mqtt5_3_14_4_3_disconnect_drops_the_will() {
    will::will_is_dropped_by_disconnect(V5);
}

/// [MQTT-3.1.2-8]
#[test]
fn mqtt5_3_1_2_8_will_is_published_when_the_client_dies() {
    will::will_is_published_when_the_client_dies(V5);
}
