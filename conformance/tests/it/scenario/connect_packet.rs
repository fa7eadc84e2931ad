//! CONNECT and CONNACK: what is accepted, and what is refused in which way.

use midge_conformance::connect::{connect, expect_refused, persistent};
use midge_conformance::reason::{
    BAD_USER_NAME_OR_PASSWORD, MALFORMED_PACKET, NOT_AUTHORIZED, PROTOCOL_ERROR, SESSION_TAKEN_OVER,
};
use midge_conformance::{
    Client, Connect, Disconnect, Encode, Packet, PingReq, Publish, Raw, Subscribe, Version, Will,
    client_id, topic,
};

use super::{replaced, subscriber};

fn expect_malformed(version: Version, bytes: &[u8]) {
    expect_refused(version, bytes, &[MALFORMED_PACKET]);
}

/// Expects a refusal for which the specification names no Reason Code.
fn expect_malformed_or_protocol_error(version: Version, bytes: &[u8]) {
    expect_refused(version, bytes, &[MALFORMED_PACKET, PROTOCOL_ERROR]);
}

fn connect_with_will(version: Version) -> Connect {
    connect(version).will(Will::new(&topic(), "will"))
}

/// A connection that does not begin with CONNECT is only closed; not even a DISCONNECT answers it.
pub(crate) fn first_packet_has_to_be_connect(version: Version) {
    let firsts = [
        PingReq.encode(version),
        Publish::new(&topic(), "payload").encode(version),
        Publish::new(&topic(), "payload").qos_1(1).encode(version),
        Subscribe::new(1).filter(&topic(), 0).encode(version),
        Disconnect::new().encode(version),
    ];
    for first in firsts {
        let mut client = Client::dial(version);
        client.send_bytes(&first);
        client.expect_closed();
    }
}

pub(crate) fn second_connect_ends_the_connection(version: Version) {
    let connect = connect(version);
    let mut client = connect.open();
    client.send(&connect);
    client.expect_error(PROTOCOL_ERROR);
}

/// It is refused with any CONNACK but success, or by closing alone.
pub(crate) fn wrong_protocol_name_is_refused(version: Version) {
    for name in ["MQTX", "mqtt", "HTTP", "MQTTT", ""] {
        let mut client = Client::dial(version);
        client.send_bytes(&connect(version).encode_with_protocol(name, version.level()));
        let answers = client.read_until_closed();
        let is_refusal = answers.iter().all(|answer| match answer {
            Packet::ConnAck(connack) => connack.reason != 0,
            _ => false,
        });
        assert!(is_refusal && answers.len() <= 1, "{name:?} was answered by {answers:?}");
    }
}

pub(crate) fn reserved_connect_flag_is_refused(version: Version) {
    expect_malformed(version, &connect(version).encode_with_flags(|flags| flags | 0x01));
}

pub(crate) fn will_qos_without_will_flag_is_refused(version: Version) {
    expect_malformed_or_protocol_error(
        version,
        &connect(version).encode_with_flags(|flags| flags | 0x08),
    );
    expect_malformed_or_protocol_error(
        version,
        &connect(version).encode_with_flags(|flags| flags | 0x10),
    );
}

pub(crate) fn will_retain_without_will_flag_is_refused(version: Version) {
    expect_malformed_or_protocol_error(
        version,
        &connect(version).encode_with_flags(|flags| flags | 0x20),
    );
}

pub(crate) fn will_qos_3_is_refused(version: Version) {
    expect_malformed(version, &connect_with_will(version).encode_with_flags(|flags| flags | 0x18));
}

pub(crate) fn will_fields_without_will_flag_are_refused(version: Version) {
    expect_malformed(version, &connect_with_will(version).encode_with_flags(|flags| flags & !0x04));
}

pub(crate) fn will_flag_without_will_fields_is_refused(version: Version) {
    expect_malformed(version, &connect(version).encode_with_flags(|flags| flags | 0x04));
}

pub(crate) fn user_name_without_its_flag_is_refused(version: Version) {
    let connect = connect(version).user_name("name");
    expect_malformed(version, &connect.encode_with_flags(|flags| flags & !0x80));
}

pub(crate) fn user_name_flag_without_user_name_is_refused(version: Version) {
    expect_malformed(version, &connect(version).encode_with_flags(|flags| flags | 0x80));
}

pub(crate) fn password_without_its_flag_is_refused(version: Version) {
    let connect = connect(version).user_name("name").password("secret");
    expect_malformed(version, &connect.encode_with_flags(|flags| flags & !0x40));
}

pub(crate) fn password_flag_without_password_is_refused(version: Version) {
    let connect = connect(version).user_name("name");
    expect_malformed(version, &connect.encode_with_flags(|flags| flags | 0x40));
}

/// All fields together are understood: a broker may refuse the credentials, but never the format.
pub(crate) fn payload_fields_are_read_in_their_order(version: Version) {
    let will_topic = topic();
    let mut observer = subscriber(version, &will_topic, 0);
    let connect = connect(version)
        .will(Will::new(&will_topic, "will of the payload"))
        .user_name("name")
        .password("secret");
    let mut client = connect.start();
    let reason = client.receive_connack().reason;
    match (version, reason) {
        (_, 0) => {
            client.abandon();
            assert_eq!(observer.receive_publish().text(), "will of the payload");
        }
        (Version::V3, 4 | 5) | (Version::V5, BAD_USER_NAME_OR_PASSWORD | NOT_AUTHORIZED) => {}
        _ => panic!("a correct CONNECT was refused with {reason:#04x}"),
    }
}

pub(crate) fn missing_client_identifier_is_refused(version: Version) {
    let whole = connect(version).client_id("").encode(version);
    let mut cut = whole[..whole.len() - 2].to_vec();
    cut[1] -= 2;
    expect_malformed(version, &cut);
}

pub(crate) fn ill_formed_client_identifier_is_refused(version: Version) {
    let packet = connect(version).client_id("client-id-XYZ").encode(version);
    expect_malformed(version, &replaced(packet.clone(), "XYZ", &[0xED, 0xA0, 0x80]));
    expect_malformed(version, &replaced(packet, "XYZ", b"X\0Z"));
}

pub(crate) fn ill_formed_will_topic_is_refused(version: Version) {
    let packet = connect(version).will(Will::new("will/XYZ", "will")).encode(version);
    expect_malformed(version, &replaced(packet, "XYZ", &[0xED, 0xA0, 0x80]));
}

pub(crate) fn ill_formed_user_name_is_refused(version: Version) {
    let packet = connect(version).user_name("name-XYZ").encode(version);
    expect_malformed(version, &replaced(packet, "XYZ", &[0xED, 0xA0, 0x80]));
}

pub(crate) fn broken_format_is_refused(version: Version) {
    let whole = connect(version).encode(version);
    let mut with_rest = whole.clone();
    with_rest[1] += 1;
    with_rest.push(0);
    expect_malformed(version, &with_rest);
    let mut cut = whole[..whole.len() - 1].to_vec();
    cut[1] -= 1;
    expect_malformed(version, &cut);
}

pub(crate) fn short_alphanumeric_client_identifiers_are_allowed(version: Version) {
    let unique = client_id();
    let unique = &unique[unique.len() - 11..];
    let single = if version == Version::V3 { "3" } else { "5" };
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for chunk in alphabet.as_bytes().chunks(12) {
        let chunk = std::str::from_utf8(chunk).expect("ASCII");
        connect(version).client_id(&format!("{chunk}{unique}")).open().disconnect();
    }
    connect(version).client_id(single).open().disconnect();
}

pub(crate) fn client_identifier_identifies_the_session(version: Version) {
    let (id, other_id) = (client_id(), client_id());
    persistent(version, &id).open().disconnect();
    let (_, connack) = persistent(version, &other_id).open_with_connack();
    assert!(!connack.session_present, "a Session for a Client Identifier never seen");
    let (_, connack) = persistent(version, &id).open_with_connack();
    assert!(connack.session_present, "no Session for its Client Identifier");
}

pub(crate) fn existing_client_is_disconnected(version: Version) {
    let id = client_id();
    let mut first = connect(version).client_id(&id).open();
    let mut second = connect(version).client_id(&id).open();
    first.expect_error(SESSION_TAKEN_OVER);
    second.expect_silence();
}

/// Packets after a refused CONNECT in the same write leave no trace.
pub(crate) fn nothing_behind_a_refused_connect_is_processed(version: Version) {
    let topic = topic();
    let mut bytes = connect(version).encode_with_flags(|flags| flags | 0x01);
    bytes.extend(Publish::new(&topic, "smuggled").retained().encode(version));
    expect_malformed(version, &bytes);
    subscriber(version, &topic, 0).expect_silence();
}

pub(crate) fn connack_comes_first(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut subscriber = persistent(version, &id).open();
    subscriber.subscribe(&topic, 1);
    subscriber.disconnect();
    connect(version).open().publish(&topic, "waiting", 1);
    // Waiting messages and the answer to PINGREQ come after the CONNACK.
    let mut resumed = persistent(version, &id).start();
    resumed.send(&PingReq);
    assert_eq!(resumed.receive_connack().reason, 0);
    let behind = [resumed.receive(), resumed.receive()];
    assert!(behind.contains(&Packet::PingResp), "no PINGRESP in {behind:?}");
}

/// Packets that arrive together with the CONNECT are processed after it.
pub(crate) fn packets_behind_connect_are_processed(version: Version) {
    let mut client = Client::dial(version);
    let mut bytes = connect(version).encode(version);
    bytes.extend(PingReq.encode(version));
    client.send(&Raw(bytes));
    assert_eq!(client.receive_connack().reason, 0);
    assert_eq!(client.receive(), Packet::PingResp);
}

pub(crate) fn clean_start_reports_no_session(version: Version) {
    let id = client_id();
    persistent(version, &id).open().disconnect();
    let (_, connack) = persistent(version, &id).clean(true).open_with_connack();
    assert_eq!((connack.session_present, connack.reason), (false, 0));
}

pub(crate) fn session_present_tells_whether_there_is_a_session(version: Version) {
    let id = client_id();
    let (client, connack) = persistent(version, &id).open_with_connack();
    assert_eq!((connack.session_present, connack.reason), (false, 0));
    client.disconnect();
    let (_, connack) = persistent(version, &id).open_with_connack();
    assert_eq!((connack.session_present, connack.reason), (true, 0));
}
