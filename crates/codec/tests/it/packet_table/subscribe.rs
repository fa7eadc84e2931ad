//! Rows of SUBSCRIBE and SUBACK.

use std::num::NonZeroU32;

use midge_codec::{
    Packet, QoS, ReasonCode, RetainHandling, Rule, SubAck, Subscribe, Subscription,
    SubscriptionOptions, UserProperties,
};

use super::{
    ALL, Row, SINCE_3_1_1, V3, V3_1, V3_1_1, V5, broken, lenient, packet_id, user_properties, valid,
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = valid_subscribe();
    rows.extend(broken_subscribe());
    rows.extend(broken_filters());
    rows.extend(broken_options());
    rows.extend(valid_suback());
    rows.extend(broken_suback());
    rows
}

const PLAIN: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::SendAtSubscribe,
};

fn subscribe(entries: &'static [Subscription<'static>]) -> Subscribe<'static> {
    Subscribe {
        packet_id: packet_id(0x0102),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        subscriptions: entries.into(),
    }
}

fn valid_subscribe() -> Vec<Row> {
    let one = subscribe(&[Subscription { filter: "a/+", options: PLAIN }]);
    let three = subscribe(&[
        Subscription {
            filter: "#",
            options: SubscriptionOptions { qos: QoS::AtLeastOnce, ..PLAIN },
        },
        Subscription {
            filter: "/",
            options: SubscriptionOptions { qos: QoS::ExactlyOnce, ..PLAIN },
        },
        Subscription { filter: "$a", options: PLAIN },
    ]);
    let options = subscribe(&[
        Subscription {
            filter: "a",
            options: SubscriptionOptions {
                qos: QoS::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            },
        },
        Subscription {
            filter: "$share/g/a",
            options: SubscriptionOptions { retain_handling: RetainHandling::SendIfNew, ..PLAIN },
        },
    ]);
    let full = Subscribe {
        subscription_identifier: NonZeroU32::new(268_435_455),
        user_properties: user_properties(&[("k", "v"), ("k", "v")]),
        ..one.clone()
    };
    let dup = "3.1 lets DUP and RETAIN be set on SUBSCRIBE";
    vec![
        valid("one filter", V3, b"\x82\x08\x01\x02\0\x03a/+\0", Packet::Subscribe(one.clone())),
        valid("one filter", V5, b"\x82\x09\x01\x02\0\0\x03a/+\0", Packet::Subscribe(one.clone())),
        lenient(dup, V3_1, b"\x8B\x08\x01\x02\0\x03a/+\0", Packet::Subscribe(one)),
        valid(
            "three filters",
            V3,
            b"\x82\x0F\x01\x02\0\x01#\x01\0\x01/\x02\0\x02$a\0",
            Packet::Subscribe(three),
        ),
        valid(
            "all options",
            V5,
            b"\x82\x14\x01\x02\0\0\x01a\x2E\0\x0A$share/g/a\x10",
            Packet::Subscribe(options),
        ),
        valid(
            "all properties of SUBSCRIBE",
            V5,
            b"\x82\x1C\x01\x02\x13\x0B\xFF\xFF\xFF\x7F\x26\0\x01k\0\x01v\x26\0\x01k\0\x01v\
              \0\x03a/+\0",
            Packet::Subscribe(full),
        ),
    ]
}

fn broken_subscribe() -> Vec<Row> {
    let (flags, truncated) = (Rule::ReservedFlags, Rule::Truncated);
    vec![
        broken("no flags", ALL, b"\x80\x08\x01\x02\0\x03a/+\0", flags),
        broken("DUP of SUBSCRIBE", V3_1_1, b"\x8A\x08\x01\x02\0\x03a/+\0", flags),
        broken("empty SUBSCRIBE", ALL, b"\x82\0", truncated),
        broken("Packet Identifier 0", ALL, b"\x82\x08\0\0\0\x03a/+\0", Rule::PacketIdentifierZero),
        broken("no filter", V3, b"\x82\x02\x01\x02", Rule::EmptySubscribe),
        broken("no filter", V5, b"\x82\x03\x01\x02\0", Rule::EmptySubscribe),
        broken("end in the filter", V3, b"\x82\x06\x01\x02\0\x03a/", truncated),
        broken("no options", V3, b"\x82\x07\x01\x02\0\x03a/+", truncated),
        broken("no options of the second", V3, b"\x82\x0B\x01\x02\0\x03a/+\0\0\x01b", truncated),
        broken("U+0000", V3, b"\x82\x06\x01\x02\0\x01\0\0", Rule::NullCharacter),
        broken("no UTF-8", V5, b"\x82\x07\x01\x02\0\0\x01\x80\0", Rule::IllFormedUtf8),
    ]
}

fn broken_filters() -> Vec<Row> {
    let share = Rule::ShareName;
    vec![
        broken("empty filter", V3, b"\x82\x05\x01\x02\0\0\0", Rule::EmptyFilter),
        broken("empty filter", V5, b"\x82\x06\x01\x02\0\0\0\0", Rule::EmptyFilter),
        broken("empty second filter", V5, b"\x82\x0A\x01\x02\0\0\x01a\0\0\0\0", Rule::EmptyFilter),
        broken(
            "'#' that is not last",
            V3,
            b"\x82\x09\x01\x02\0\x04a#/b\0",
            Rule::MultiLevelWildcard,
        ),
        broken(
            "'+' beside something",
            V3,
            b"\x82\x07\x01\x02\0\x02a+\0",
            Rule::SingleLevelWildcard,
        ),
        broken("no filter behind $share", V5, b"\x82\x0E\x01\x02\0\0\x08$share/a\0", share),
        broken("empty ShareName", V5, b"\x82\x0F\x01\x02\0\0\x09$share//x\0", share),
        broken("'#' as ShareName", V5, b"\x82\x10\x01\x02\0\0\x0A$share/#/x\0", share),
        broken("'+' in the ShareName", V5, b"\x82\x12\x01\x02\0\0\x0C$share/a+b/x\0", share),
        broken("'+' in the ShareName", V3, b"\x82\x11\x01\x02\0\x0C$share/a+b/x\0", share),
    ]
}

fn broken_options() -> Vec<Row> {
    let options = Rule::SubscriptionOptions;
    let (value, duplicate) = (Rule::PropertyValue, Rule::DuplicateProperty);
    vec![
        broken("QoS 3", V3, b"\x82\x06\x01\x02\0\x01a\x03", Rule::QoS3),
        broken("QoS 3", V5, b"\x82\x07\x01\x02\0\0\x01a\x03", Rule::QoS3),
        broken("options of 5.0", V3_1_1, b"\x82\x06\x01\x02\0\x01a\x04", options),
        broken("reserved options", V5, b"\x82\x07\x01\x02\0\0\x01a\x40", options),
        broken("Retain Handling 3", V5, b"\x82\x07\x01\x02\0\0\x01a\x30", options),
        broken("second is bad", V5, b"\x82\x0B\x01\x02\0\0\x01a\0\0\x01b\x80", options),
        broken(
            "No Local of a shared subscription",
            V5,
            b"\x82\x10\x01\x02\0\0\x0A$share/g/a\x04",
            Rule::NoLocalShared,
        ),
        broken("identifier 0", V5, b"\x82\x09\x01\x02\x02\x0B\0\0\x01a\0", value),
        broken("two identifiers", V5, b"\x82\x0B\x01\x02\x04\x0B\x01\x0B\x02\0\x01a\0", duplicate),
        broken(
            "identifier of too many bytes",
            V5,
            b"\x82\x0A\x01\x02\x03\x0B\x81\0\0\x01a\0",
            Rule::NonMinimalLength,
        ),
        broken(
            "property of another packet",
            V5,
            b"\x82\x0A\x01\x02\x03\x1F\0\0\0\x01a\0",
            Rule::PropertyNotAllowed,
        ),
    ]
}

fn suback(reason_codes: &'static [ReasonCode]) -> SubAck<'static> {
    SubAck {
        packet_id: packet_id(0x0102),
        reason_string: None,
        user_properties: UserProperties::default(),
        reason_codes: reason_codes.into(),
    }
}

fn valid_suback() -> Vec<Row> {
    use ReasonCode as Code;
    let granted = suback(&[Code::Success, Code::GrantedQoS1, Code::GrantedQoS2]);
    let refused = suback(&[Code::UnspecifiedError]);
    let full = SubAck {
        reason_string: Some("r"),
        user_properties: user_properties(&[("k", "v")]),
        ..suback(&[Code::SharedSubscriptionsNotSupported, Code::TopicFilterInvalid])
    };
    vec![
        valid("granted", V3, b"\x90\x05\x01\x02\0\x01\x02", Packet::SubAck(granted.clone())),
        valid("granted", V5, b"\x90\x06\x01\x02\0\0\x01\x02", Packet::SubAck(granted)),
        valid("refused", V3, b"\x90\x03\x01\x02\x80", Packet::SubAck(refused.clone())),
        valid("refused", V5, b"\x90\x04\x01\x02\0\x80", Packet::SubAck(refused)),
        valid(
            "all properties of SUBACK",
            V5,
            b"\x90\x10\x01\x02\x0B\x1F\0\x01r\x26\0\x01k\0\x01v\x9E\x8F",
            Packet::SubAck(full),
        ),
    ]
}

fn broken_suback() -> Vec<Row> {
    let (code, flags) = (Rule::ReasonCodeNotAllowed, Rule::ReservedFlags);
    vec![
        broken("flags of SUBACK", SINCE_3_1_1, b"\x92\x03\x01\x02\0", flags),
        broken("Packet Identifier 0", ALL, b"\x90\x03\0\0\0", Rule::PacketIdentifierZero),
        broken("return code 3", V3, b"\x90\x03\x01\x02\x03", code),
        broken("Reason Code of 5.0 in 3.x", V3, b"\x90\x03\x01\x02\x87", code),
        broken("Reason Code of UNSUBACK", V5, b"\x90\x04\x01\x02\0\x11", code),
        broken("no Property Length", V5, b"\x90\x02\x01\x02", Rule::Truncated),
    ]
}
