//! What Clients of a listener may ask for at all, as the CONNACK tells them: protocol versions,
//! QoS, RETAIN, kinds of subscriptions. It is the same for every Client of that listener; the
//! [`Policy`](crate::Policy) says who may do what.

use midge_codec::{ConnAckProperties, ProtocolVersion, QoS, ReasonCode};

/// What a listener offers. By default, everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether MQTT 3.1 is spoken.
    pub mqtt_3_1: bool,
    /// Whether MQTT 3.1.1 is spoken.
    pub mqtt_3_1_1: bool,
    /// Whether MQTT 5.0 is spoken.
    pub mqtt_5_0: bool,
    /// The highest QoS of messages that Clients publish, and that subscriptions are granted.
    pub qos_max: QoS,
    /// Whether Clients may publish retained messages.
    pub retain: bool,
    /// Whether Topic Filters may have wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether there are shared subscriptions.
    pub shared_subscriptions: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_identifiers: bool,
    /// Whether a Client without a Client Identifier is given one.
    pub assigned_client_identifiers: bool,
    /// Largest Control Packet in bytes; absent: as the limit `packet_bytes_max` says.
    pub packet_bytes_max: Option<u32>,
}

/// Why something is refused.
pub(crate) type Refusal = (ReasonCode, &'static str);

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            mqtt_3_1: true,
            mqtt_3_1_1: true,
            mqtt_5_0: true,
            qos_max: QoS::ExactlyOnce,
            retain: true,
            wildcard_subscriptions: true,
            shared_subscriptions: true,
            subscription_identifiers: true,
            assigned_client_identifiers: true,
            packet_bytes_max: None,
        }
    }
}

impl Capabilities {
    pub(crate) fn speaks(&self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::V3_1 => self.mqtt_3_1,
            ProtocolVersion::V3_1_1 => self.mqtt_3_1_1,
            ProtocolVersion::V5 => self.mqtt_5_0,
        }
    }

    /// Checks the QoS and RETAIN of a PUBLISH [MQTT-3.2.2-11] [MQTT-3.2.2-14], or of a Will
    /// [MQTT-3.2.2-12] [MQTT-3.2.2-13].
    #[inline]
    pub(crate) fn check_message(&self, qos: QoS, retain: bool) -> Result<(), Refusal> {
        if qos > self.qos_max {
            return Err((ReasonCode::QoSNotSupported, "the QoS is above the Maximum QoS"));
        }
        if retain && !self.retain {
            let detail = "messages are not retained for Clients of this listener";
            return Err((ReasonCode::RetainNotSupported, detail));
        }
        Ok(())
    }

    /// Checks a Topic Filter as the Client wrote it.
    pub(crate) fn check_filter(&self, filter: &str) -> Result<(), Refusal> {
        let is_shared = filter.starts_with("$share/") || filter.starts_with("$queue/");
        if is_shared && !self.shared_subscriptions {
            let detail = "there are no shared subscriptions for Clients of this listener";
            return Err((ReasonCode::SharedSubscriptionsNotSupported, detail));
        }
        if !self.wildcard_subscriptions && filter.contains(['+', '#']) {
            let detail = "there are no subscriptions with wildcards for Clients of this listener";
            return Err((ReasonCode::WildcardSubscriptionsNotSupported, detail));
        }
        Ok(())
    }

    pub(crate) fn check_identifier(&self, is_given: bool) -> Result<(), Refusal> {
        if is_given && !self.subscription_identifiers {
            let detail = "there are no Subscription Identifiers for Clients of this listener";
            return Err((ReasonCode::SubscriptionIdentifiersNotSupported, detail));
        }
        Ok(())
    }

    /// Says in a CONNACK what is not offered.
    pub(crate) fn tell(&self, properties: &mut ConnAckProperties<'_>) {
        let unless = |is_available: bool| (!is_available).then_some(false);
        properties.maximum_qos = (self.qos_max < QoS::ExactlyOnce).then_some(self.qos_max);
        properties.retain_available = unless(self.retain);
        properties.wildcard_subscription_available = unless(self.wildcard_subscriptions);
        properties.shared_subscription_available = unless(self.shared_subscriptions);
        properties.subscription_identifiers_available = unless(self.subscription_identifiers);
    }
}
