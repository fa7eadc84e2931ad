//! Strategies for the fields of packets.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{
    PacketIdentifier, PublishProperties, QoS, ReasonCode, SubscriptionIdentifiers,
    SubscriptionIdentifiersBuf, TopicName, UserProperties, UserPropertiesBuf,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;

pub(super) fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Text without U+0000; one in twenty is longer than a length of one byte can say.
pub(super) fn text() -> impl Strategy<Value = &'static str> {
    let short = "[^\\x00]{0,8}";
    let long = "[a-z]{300}";
    prop_oneof![19 => short, 1 => long].prop_map(|text| leak(text).as_str())
}

pub(super) fn binary() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![19 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 300)]
        .prop_map(|bytes| leak(bytes).as_slice())
}

/// A Topic Name: any text without wildcards, or levels of one letter as in the wild.
pub(super) fn topic() -> impl Strategy<Value = TopicName<'static>> {
    prop_oneof!["[^\\x00+#]{1,12}", "[ab/$]{1,12}"]
        .prop_map(|name| TopicName::new(leak(name)).expect("the pattern has no wildcards"))
}

/// A Topic Filter, shared or not.
pub(super) fn filter() -> impl Strategy<Value = &'static str> {
    let level = prop_oneof![4 => "[^\\x00+#/$]{1,8}", 1 => "[ab$]{0,2}", 1 => "\\+"];
    let share = prop_oneof![4 => "", 1 => "\\$share/[^\\x00+#/]{1,4}/"];
    let end = prop_oneof![4 => "", 1 => "/#", 1 => "/"];
    (share, level.clone(), vec(level, 0..3), end).prop_map(|(share, first, more, end)| {
        let first = if first.is_empty() { "/" } else { &first };
        let levels: String = more.iter().map(|level| format!("/{level}")).collect();
        leak(format!("{share}{first}{levels}{end}")).as_str()
    })
}

pub(super) fn packet_id() -> impl Strategy<Value = PacketIdentifier> {
    (1..=u16::MAX).prop_map(|value| PacketIdentifier::new(value).expect("it is not 0"))
}

pub(super) fn qos() -> impl Strategy<Value = QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

/// One of these Reason Codes.
pub(super) fn reason(numbers: &'static [u8]) -> impl Strategy<Value = ReasonCode> + Clone {
    select(numbers).prop_map(|number| ReasonCode::from_u8(number).expect("it is in the table"))
}

pub(super) fn non_zero_u16() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

pub(super) fn non_zero_u32() -> impl Strategy<Value = NonZeroU32> {
    any::<NonZeroU32>()
}

pub(super) fn subscription_identifier() -> impl Strategy<Value = NonZeroU32> {
    prop_oneof![1..=300_u32, 1..=268_435_455_u32]
        .prop_map(|number| NonZeroU32::new(number).expect("it is not 0"))
}

pub(super) fn user_properties() -> impl Strategy<Value = UserProperties<'static>> {
    let list = vec((text(), text()), 0..4);
    list.prop_map(|pairs| leak(pairs.into_iter().collect::<UserPropertiesBuf>()).view())
}

fn subscription_identifiers() -> impl Strategy<Value = SubscriptionIdentifiers<'static>> {
    let list = vec(subscription_identifier(), 0..4);
    list.prop_map(|list| leak(list.into_iter().collect::<SubscriptionIdentifiersBuf>()).view())
}

/// Properties of a PUBLISH; those of a Will are a part of them.
pub(super) fn publish_properties() -> impl Strategy<Value = PublishProperties<'static>> {
    let of_the_message = (
        option::of(any::<bool>()),
        option::of(any::<u32>()),
        option::of(topic()),
        option::of(binary()),
        option::of(text()),
        user_properties(),
    );
    let of_the_connection = (option::of(non_zero_u16()), subscription_identifiers());
    (of_the_message, of_the_connection).prop_map(
        |((format, expiry, response, correlation, content, user), (alias, identifiers))| {
            PublishProperties {
                payload_format_indicator: format,
                message_expiry_interval_seconds: expiry,
                topic_alias: alias,
                response_topic: response,
                correlation_data: correlation,
                content_type: content,
                subscription_identifiers: identifiers,
                user_properties: user,
            }
        },
    )
}
