//! Strategies for packets. Before 5.0 they have neither properties nor Reason Codes of 5.0.

use midge_codec::{
    Acknowledgement, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect,
    Packet, PacketType, ProtocolVersion, Publish, PublishProperties, QoS, RetainHandling, SubAck,
    Subscribe, Subscription, SubscriptionIdentifiers, SubscriptionOptions, UnsubAck, Unsubscribe,
    UserProperties, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::sample::select;

use super::fields::{
    binary, filter, leak, non_zero_u16, non_zero_u32, packet_id, publish_properties, qos, reason,
    subscription_identifier, text, topic, user_properties,
};
use crate::specification;

/// What `strategy` gives, but the default value before 5.0.
fn in_v5<T: Clone + Default + std::fmt::Debug + 'static>(
    version: ProtocolVersion,
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    match version {
        ProtocolVersion::V5 => strategy.boxed(),
        _ => Just(T::default()).boxed(),
    }
}

pub(super) fn connect(version: ProtocolVersion) -> impl Strategy<Value = Box<Connect<'static>>> {
    let head = (any::<bool>(), any::<bool>(), any::<u16>(), text());
    let tail = (
        option::of(will(version)),
        option::of(text()),
        option::of(binary()),
        in_v5(version, connect_properties()),
    );
    (head, tail).prop_map(move |((bridge, clean_start, keep_alive_seconds, client_id), tail)| {
        let (will, user_name, password, properties) = tail;
        let is_v5 = version == ProtocolVersion::V5;
        let must_not_be_empty = version == ProtocolVersion::V3_1 && client_id.is_empty();
        Box::new(Connect {
            version,
            bridge: bridge && !is_v5,
            clean_start,
            keep_alive_seconds,
            client_id: if must_not_be_empty { "a" } else { client_id },
            will,
            user_name,
            password: password.filter(|_| is_v5 || user_name.is_some()),
            properties,
        })
    })
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(non_zero_u16()),
        option::of(non_zero_u32()),
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
    );
    (numbers, authentication(), user_properties()).prop_map(|(numbers, (method, data), user)| {
        ConnectProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: numbers.3,
            request_response_information: numbers.4,
            request_problem_information: numbers.5,
            authentication_method: method,
            authentication_data: data,
            user_properties: user,
        }
    })
}

type Authentication = (Option<&'static str>, Option<&'static [u8]>);

/// Method and data; no data without method.
fn authentication() -> impl Strategy<Value = Authentication> {
    (option::of(text()), option::of(binary()))
        .prop_map(|(method, data)| (method, data.filter(|_| method.is_some())))
}

fn will(version: ProtocolVersion) -> impl Strategy<Value = Will<'static>> {
    let delay = in_v5(version, option::of(any::<u32>()));
    let properties = in_v5(version, publish_properties());
    (qos(), any::<bool>(), topic(), binary(), delay, properties).prop_map(
        |(qos, retain, topic, payload, delay_interval_seconds, properties)| {
            let properties = PublishProperties {
                topic_alias: None,
                subscription_identifiers: SubscriptionIdentifiers::default(),
                ..properties
            };
            Will { qos, retain, topic, payload, delay_interval_seconds, properties }
        },
    )
}

pub(super) fn connack(version: ProtocolVersion) -> impl Strategy<Value = Box<ConnAck<'static>>> {
    let codes = match version {
        ProtocolVersion::V5 => specification::CONNACK,
        _ => &[0x00, 0x84, 0x85, 0x88, 0x86, 0x87], // return codes 0 to 5
    };
    let properties = in_v5(version, connack_properties());
    (any::<bool>(), reason(codes), properties).prop_map(
        move |(session_present, reason_code, properties)| {
            let session_present = session_present && version != ProtocolVersion::V3_1;
            Box::new(ConnAck { session_present, reason_code, properties })
        },
    )
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties<'static>> {
    let flag = || option::of(any::<bool>());
    let numbers = (
        option::of(any::<u32>()),
        option::of(non_zero_u16()),
        option::of(select(&[QoS::AtMostOnce, QoS::AtLeastOnce])),
        option::of(non_zero_u32()),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let texts = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    let rest = ((flag(), flag(), flag(), flag()), authentication(), user_properties());
    (numbers, texts, rest).prop_map(|(numbers, texts, (flags, (method, data), user))| {
        ConnAckProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_qos: numbers.2,
            retain_available: flags.0,
            maximum_packet_size: numbers.3,
            assigned_client_identifier: texts.0,
            topic_alias_maximum: numbers.4,
            reason_string: texts.1,
            user_properties: user,
            wildcard_subscription_available: flags.1,
            subscription_identifiers_available: flags.2,
            shared_subscription_available: flags.3,
            server_keep_alive: numbers.5,
            response_information: texts.2,
            server_reference: texts.3,
            authentication_method: method,
            authentication_data: data,
        }
    })
}

/// A PUBLISH; its topic may be empty where an alias stands in.
pub(crate) fn publish(version: ProtocolVersion) -> impl Strategy<Value = Publish<'static>> {
    let head = (any::<bool>(), qos(), any::<bool>(), packet_id());
    let properties = in_v5(version, publish_properties());
    (head, option::of(topic()), properties, binary()).prop_map(
        |((dup, qos, retain, packet_id), topic, properties, payload)| {
            let placeholder = match properties.topic_alias {
                Some(_) => midge_codec::TopicName::empty(),
                None => midge_codec::TopicName::new("/").expect("it is a name"),
            };
            let above_0 = qos != QoS::AtMostOnce;
            Publish {
                dup: dup && above_0,
                qos,
                retain,
                topic: topic.unwrap_or(placeholder),
                packet_id: Some(packet_id).filter(|_| above_0),
                properties,
                payload,
            }
        },
    )
}

type Reason = (Option<&'static str>, UserProperties<'static>);

/// Reason String and User Properties, which every answer may have.
fn words(version: ProtocolVersion) -> BoxedStrategy<Reason> {
    in_v5(version, (option::of(text()), user_properties()))
}

pub(super) fn acknowledgement(
    packet_type: PacketType,
    version: ProtocolVersion,
) -> impl Strategy<Value = Packet<'static>> {
    let codes: &[u8] = match packet_type {
        _ if version != ProtocolVersion::V5 => &[0],
        PacketType::PubAck | PacketType::PubRec => specification::PUBACK,
        _ => specification::PUBREL,
    };
    (packet_id(), reason(codes), words(version)).prop_map(move |(packet_id, reason_code, words)| {
        let (reason_string, user_properties) = words;
        let content = Acknowledgement { packet_id, reason_code, reason_string, user_properties };
        match packet_type {
            PacketType::PubAck => Packet::PubAck(content),
            PacketType::PubRec => Packet::PubRec(content),
            PacketType::PubRel => Packet::PubRel(content),
            _ => Packet::PubComp(content),
        }
    })
}

fn subscription(version: ProtocolVersion) -> impl Strategy<Value = Subscription<'static>> {
    let handling = select(&[
        RetainHandling::SendAtSubscribe,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let of_v5 = in_v5(version, (any::<bool>(), any::<bool>(), handling));
    (filter(), qos(), of_v5).prop_map(|(filter, qos, of_v5)| {
        let (no_local, retain_as_published, retain_handling) = of_v5;
        let no_local = no_local && !filter.starts_with("$share/");
        let options = SubscriptionOptions { qos, no_local, retain_as_published, retain_handling };
        Subscription { filter, options }
    })
}

pub(super) fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Subscribe<'static>> {
    let of_v5 = in_v5(version, (option::of(subscription_identifier()), user_properties()));
    (packet_id(), of_v5, vec(subscription(version), 1..5)).prop_map(|(packet_id, of_v5, list)| {
        let (subscription_identifier, user_properties) = of_v5;
        let subscriptions = leak(list).as_slice().into();
        Subscribe { packet_id, subscription_identifier, user_properties, subscriptions }
    })
}

pub(super) fn suback(version: ProtocolVersion) -> impl Strategy<Value = SubAck<'static>> {
    let codes = match version {
        ProtocolVersion::V5 => specification::SUBACK,
        _ => specification::SUBACK_3,
    };
    (packet_id(), words(version), vec(reason(codes), 0..5)).prop_map(|(packet_id, words, codes)| {
        let (reason_string, user_properties) = words;
        SubAck { packet_id, reason_string, user_properties, reason_codes: codes.into() }
    })
}

pub(super) fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Unsubscribe<'static>> {
    let user = in_v5(version, user_properties());
    (packet_id(), user, vec(filter(), 1..5)).prop_map(|(packet_id, user_properties, filters)| {
        Unsubscribe { packet_id, user_properties, filters: leak(filters).as_slice().into() }
    })
}

pub(super) fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = UnsubAck<'static>> {
    let codes = in_v5(version, vec(reason(specification::UNSUBACK), 0..5));
    (packet_id(), words(version), codes).prop_map(|(packet_id, words, codes)| {
        let (reason_string, user_properties) = words;
        UnsubAck { packet_id, reason_string, user_properties, reason_codes: codes.into() }
    })
}

pub(super) fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Disconnect<'static>> {
    let numbers = match version {
        ProtocolVersion::V5 => specification::DISCONNECT,
        _ => &[0],
    };
    let of_v5 = in_v5(version, (option::of(any::<u32>()), option::of(text())));
    (reason(numbers), of_v5, words(version)).prop_map(|(reason_code, of_v5, words)| {
        let (session_expiry_interval, server_reference) = of_v5;
        let (reason_string, user_properties) = words;
        Disconnect {
            reason_code,
            session_expiry_interval,
            reason_string,
            user_properties,
            server_reference,
        }
    })
}

pub(super) fn auth() -> impl Strategy<Value = Auth<'static>> {
    let code = reason(specification::AUTH);
    (code, authentication(), words(ProtocolVersion::V5)).prop_map(
        |(reason_code, (authentication_method, authentication_data), words)| Auth {
            reason_code,
            authentication_method,
            authentication_data,
            reason_string: words.0,
            user_properties: words.1,
        },
    )
}
