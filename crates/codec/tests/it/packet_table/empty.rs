//! Rows of the packets that may be empty: PINGREQ, PINGRESP, DISCONNECT and AUTH.

use midge_codec::{Auth, Disconnect, Packet, ReasonCode, Rule, UserProperties};

use super::{ALL, Row, SINCE_3_1_1, V3, V3_1, V5, broken, lenient, user_properties, valid};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = pings();
    rows.extend(valid_disconnect());
    rows.extend(broken_disconnect());
    rows.extend(valid_auth());
    rows.extend(broken_auth());
    rows
}

fn pings() -> Vec<Row> {
    vec![
        valid("PINGREQ", ALL, b"\xC0\0", Packet::PingReq),
        valid("PINGRESP", ALL, b"\xD0\0", Packet::PingResp),
        broken("flags of PINGREQ", SINCE_3_1_1, b"\xC1\0", Rule::ReservedFlags),
        lenient("3.1 does not use the flags of PINGREQ", V3_1, b"\xCF\0", Packet::PingReq),
        broken("flags of PINGRESP", SINCE_3_1_1, b"\xD8\0", Rule::ReservedFlags),
        broken("PINGREQ with a body", ALL, b"\xC0\x01\0", Rule::TrailingBytes),
        broken("PINGRESP with a body", ALL, b"\xD0\x01\0", Rule::TrailingBytes),
    ]
}

fn valid_disconnect() -> Vec<Row> {
    let normal = Disconnect::with_reason(ReasonCode::Success);
    let will = Disconnect::with_reason(ReasonCode::DisconnectWithWillMessage);
    let moved = Disconnect::with_reason(ReasonCode::ServerMoved);
    let expiry = Disconnect { session_expiry_interval: Some(0), ..normal.clone() };
    let full = Disconnect {
        session_expiry_interval: Some(10),
        reason_string: Some("r"),
        user_properties: user_properties(&[("k", "v")]),
        server_reference: Some("s"),
        ..moved
    };
    vec![
        valid("DISCONNECT", ALL, b"\xE0\0", Packet::Disconnect(normal.clone())),
        lenient(
            "3.1 does not use the flags of DISCONNECT",
            V3_1,
            b"\xEF\0",
            Packet::Disconnect(normal.clone()),
        ),
        lenient("normal in words", V5, b"\xE0\x01\0", Packet::Disconnect(normal.clone())),
        lenient("empty properties", V5, b"\xE0\x02\0\0", Packet::Disconnect(normal)),
        valid("with Will Message", V5, b"\xE0\x01\x04", Packet::Disconnect(will)),
        valid(
            "Session Expiry Interval 0 is one",
            V5,
            b"\xE0\x07\0\x05\x11\0\0\0\0",
            Packet::Disconnect(expiry),
        ),
        valid(
            "all properties of DISCONNECT",
            V5,
            b"\xE0\x16\x9D\x14\x11\0\0\0\x0A\x1F\0\x01r\x1C\0\x01s\x26\0\x01k\0\x01v",
            Packet::Disconnect(full),
        ),
    ]
}

fn broken_disconnect() -> Vec<Row> {
    let code = Rule::ReasonCodeNotAllowed;
    vec![
        broken("flags of DISCONNECT", SINCE_3_1_1, b"\xE2\0", Rule::ReservedFlags),
        broken("3.x has no Reason Code", V3, b"\xE0\x01\0", Rule::TrailingBytes),
        broken("Reason Code of CONNACK", V5, b"\xE0\x01\x8A", code),
        broken("Reason Code that is none", V5, b"\xE0\x01\x03", code),
        broken("end in the properties", V5, b"\xE0\x02\0\x05", Rule::Truncated),
        broken("bytes behind the properties", V5, b"\xE0\x03\0\0\0", Rule::TrailingBytes),
        broken(
            "property of another packet",
            V5,
            b"\xE0\x05\0\x03\x21\0\x01",
            Rule::PropertyNotAllowed,
        ),
    ]
}

fn auth(reason_code: ReasonCode) -> Auth<'static> {
    Auth {
        reason_code,
        authentication_method: None,
        authentication_data: None,
        reason_string: None,
        user_properties: UserProperties::default(),
    }
}

fn valid_auth() -> Vec<Row> {
    let success = auth(ReasonCode::Success);
    let again = Auth { authentication_method: Some("m"), ..auth(ReasonCode::ReAuthenticate) };
    let full = Auth {
        authentication_method: Some("m"),
        authentication_data: Some(b"\x00\xFF"),
        reason_string: Some("r"),
        user_properties: user_properties(&[("k", "v")]),
        ..auth(ReasonCode::ContinueAuthentication)
    };
    vec![
        valid("AUTH", V5, b"\xF0\0", Packet::Auth(success.clone())),
        lenient("empty properties", V5, b"\xF0\x02\0\0", Packet::Auth(success)),
        valid("Re-authenticate", V5, b"\xF0\x06\x19\x04\x15\0\x01m", Packet::Auth(again)),
        valid(
            "all properties of AUTH",
            V5,
            b"\xF0\x16\x18\x14\x15\0\x01m\x16\0\x02\x00\xFF\x1F\0\x01r\x26\0\x01k\0\x01v",
            Packet::Auth(full),
        ),
    ]
}

fn broken_auth() -> Vec<Row> {
    let code = Rule::ReasonCodeNotAllowed;
    vec![
        broken("3.x has no AUTH", V3, b"\xF0\0", Rule::ReservedPacketType),
        broken("flags of AUTH", V5, b"\xF1\0", Rule::ReservedFlags),
        broken("an error", V5, b"\xF0\x02\x87\0", code),
        broken("end in the properties", V5, b"\xF0\x03\x18\x04\x15", Rule::Truncated),
        broken("bytes behind the properties", V5, b"\xF0\x03\x18\0\0", Rule::TrailingBytes),
        broken(
            "Authentication Data alone",
            V5,
            b"\xF0\x06\x18\x04\x16\0\x01x",
            Rule::AuthenticationDataAlone,
        ),
    ]
}
