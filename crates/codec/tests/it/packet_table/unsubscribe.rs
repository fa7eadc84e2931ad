//! Rows of UNSUBSCRIBE and UNSUBACK.

use midge_codec::{Packet, ReasonCode, Rule, UnsubAck, Unsubscribe, UserProperties};

use super::{
    ALL, Row, SINCE_3_1_1, V3, V3_1, V3_1_1, V5, broken, lenient, packet_id, user_properties, valid,
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = valid_unsubscribe();
    rows.extend(broken_unsubscribe());
    rows.extend(valid_unsuback());
    rows.extend(broken_unsuback());
    rows
}

fn valid_unsubscribe() -> Vec<Row> {
    let one = Unsubscribe {
        packet_id: packet_id(0x0102),
        user_properties: UserProperties::default(),
        filters: (&["a/+"] as &[&str]).into(),
    };
    let two = Unsubscribe { filters: (&["#", "a/"] as &[&str]).into(), ..one.clone() };
    let full = Unsubscribe { user_properties: user_properties(&[("k", "v")]), ..one.clone() };
    let dup = "3.1 lets DUP and RETAIN be set on UNSUBSCRIBE";
    vec![
        valid("one filter", V3, b"\xA2\x07\x01\x02\0\x03a/+", Packet::Unsubscribe(one.clone())),
        valid("one filter", V5, b"\xA2\x08\x01\x02\0\0\x03a/+", Packet::Unsubscribe(one.clone())),
        lenient(dup, V3_1, b"\xAB\x07\x01\x02\0\x03a/+", Packet::Unsubscribe(one)),
        valid("two filters", V3, b"\xA2\x09\x01\x02\0\x01#\0\x02a/", Packet::Unsubscribe(two)),
        valid(
            "all properties of UNSUBSCRIBE",
            V5,
            b"\xA2\x0F\x01\x02\x07\x26\0\x01k\0\x01v\0\x03a/+",
            Packet::Unsubscribe(full),
        ),
    ]
}

fn broken_unsubscribe() -> Vec<Row> {
    let (flags, truncated, empty) = (Rule::ReservedFlags, Rule::Truncated, Rule::EmptyUnsubscribe);
    vec![
        broken("no flags", ALL, b"\xA0\x07\x01\x02\0\x03a/+", flags),
        broken("DUP of UNSUBSCRIBE", V3_1_1, b"\xAA\x07\x01\x02\0\x03a/+", flags),
        broken("Packet Identifier 0", ALL, b"\xA2\x05\0\0\0\x01a", Rule::PacketIdentifierZero),
        broken("no filter", V3, b"\xA2\x02\x01\x02", empty),
        broken("no filter", V5, b"\xA2\x03\x01\x02\0", empty),
        broken("end in the filter", V3, b"\xA2\x06\x01\x02\0\x03a/", truncated),
        broken("end in the length of the second", V3, b"\xA2\x06\x01\x02\0\x01a\0", truncated),
        broken("empty filter", V3, b"\xA2\x04\x01\x02\0\0", Rule::EmptyFilter),
        broken("empty filter", V5, b"\xA2\x05\x01\x02\0\0\0", Rule::EmptyFilter),
        broken("bad '#'", V5, b"\xA2\x07\x01\x02\0\0\x02a#", Rule::MultiLevelWildcard),
        broken("bad $share", V5, b"\xA2\x0D\x01\x02\0\0\x08$share/a", Rule::ShareName),
        broken("U+0000", V3, b"\xA2\x05\x01\x02\0\x01\0", Rule::NullCharacter),
        broken("no UTF-8", V5, b"\xA2\x06\x01\x02\0\0\x01\xFE", Rule::IllFormedUtf8),
        broken(
            "property of another packet",
            V5,
            b"\xA2\x08\x01\x02\x02\x0B\x01\0\x01a",
            Rule::PropertyNotAllowed,
        ),
    ]
}

fn unsuback(reason_codes: &'static [ReasonCode]) -> UnsubAck<'static> {
    UnsubAck {
        packet_id: packet_id(0x0102),
        reason_string: None,
        user_properties: UserProperties::default(),
        reason_codes: reason_codes.into(),
    }
}

fn valid_unsuback() -> Vec<Row> {
    let two = unsuback(&[ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
    let full = UnsubAck {
        reason_string: Some("r"),
        user_properties: user_properties(&[("k", "v")]),
        ..unsuback(&[ReasonCode::NotAuthorized])
    };
    vec![
        valid("UNSUBACK", V3, b"\xB0\x02\x01\x02", Packet::UnsubAck(unsuback(&[]))),
        valid("UNSUBACK", V5, b"\xB0\x05\x01\x02\0\0\x11", Packet::UnsubAck(two)),
        valid(
            "all properties of UNSUBACK",
            V5,
            b"\xB0\x0F\x01\x02\x0B\x1F\0\x01r\x26\0\x01k\0\x01v\x87",
            Packet::UnsubAck(full),
        ),
    ]
}

fn broken_unsuback() -> Vec<Row> {
    let code = Rule::ReasonCodeNotAllowed;
    vec![
        broken("flags of UNSUBACK", SINCE_3_1_1, b"\xB2\x02\x01\x02", Rule::ReservedFlags),
        broken("Packet Identifier 0", ALL, b"\xB0\x02\0\0", Rule::PacketIdentifierZero),
        broken("3.x has no Reason Codes", V3, b"\xB0\x03\x01\x02\0", Rule::TrailingBytes),
        broken("Reason Code of SUBACK", V5, b"\xB0\x04\x01\x02\0\x01", code),
        broken("no Property Length", V5, b"\xB0\x02\x01\x02", Rule::Truncated),
    ]
}
