//! Formats against what Debian's mosquitto_sub 2.0.11 prints for the same message.

use midge_codec::{PacketIdentifier, QoS};

use super::*;

fn message() -> Message {
    Message {
        topic: "a/b".to_owned(),
        payload: "he\"l\nlo é".as_bytes().to_vec(),
        qos: QoS::AtLeastOnce,
        packet_id: PacketIdentifier::new(1),
        content_type: Some("text/plain".to_owned()),
        user_properties: vec![("k1".into(), "v1".into()), ("k2".into(), "v2".into())],
        correlation_data: Some(b"c\"d".to_vec()),
        response_topic: Some("r/t".to_owned()),
        expiry_interval_seconds: Some(100),
        payload_is_utf8: Some(true),
        ..Message::default()
    }
}

fn time() -> Zoned {
    "2026-11-21T09:40:26.076650372+01:00[Europe/Berlin]".parse().unwrap()
}

fn render(format: &str, message: &Message) -> String {
    let mut out = Vec::new();
    Template::parse(format, false).unwrap().render(message, time, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn renders_every_part_of_a_message() {
    for (format, expected) in [
        ("[%A][%C][%D][%E][%F]", "[][text/plain][c\"d][100][1]"),
        ("[%l][%m][%P][%q][%R]", "[10][1][k1:v1 k2:v2][1][r/t]"),
        ("[%r][%S][%t]", "[0][][a/b]"),
        ("%p", "he\"l\nlo é"),
        ("[%x][%X]", "[6865226c0a6c6f20c3a9][6865226C0A6C6F20C3A9]"),
        ("[%%][@@][\\\\]é", "[%][@][\\]é"),
        ("\\0\\a\\e\\n\\r\\t\\v", "\0\x07\x1b\n\r\t\x0b"),
    ] {
        assert_eq!(render(format, &message()), expected, "{format}");
    }
}

#[test]
fn lays_fields_out() {
    for (format, expected) in [
        ("[%10A][%020C]", "[          ][          text/plain]"),
        ("[%-20C][%010E][%-10E]", "[text/plain          ][0000000100][100       ]"),
        ("[%05F][%6l][%06l][%-6l]", "[00001][    10][000010][10    ]"),
        ("[%-06m][%10P][%12R]", "[1     ][k1:v1 k2:v2][         r/t]"),
        ("[%10.2R][%010S][%10t]", "[        r/][0000000000][       a/b]"),
        ("[%-10t][%4.2t][%.2t]", "[a/b       ][  a/][a/]"),
        ("[%6x][%5p][%5q]", "[686522][he\"l\n][1]"),
        ("[%-14p]", "[he\"l\nlo é    ]"),
        ("[%014p]", "[0000he\"l\nlo é]"),
        ("[%24x]", "[    6865226c0a6c6f20c3a9]"),
        ("[%30I]", "[      2026-11-21T09:40:26+0100]"),
        ("[%.4I]", "[2026]"),
    ] {
        assert_eq!(render(format, &message()), expected, "{format}");
    }
}

#[test]
fn renders_the_time() {
    assert_eq!(render("%I", &message()), "2026-11-21T09:40:26+0100");
    assert_eq!(render("%U", &message()), "1795250426.076650372");
    assert_eq!(render("@Y-@m-@dT@H:@M:@S@z @s.@N", &message()).len(), 45);
    assert_eq!(
        render("@s.@N @F @T @j", &message()),
        "1795250426.076650372 2026-11-21 09:40:26 325"
    );
}

#[test]
fn renders_absent_parts_as_nothing() {
    let message = Message { topic: "t".to_owned(), ..Message::default() };
    assert_eq!(render("[%A%C%D%E%F%P%R%S]%l%m%q%r", &message), "[]0000");
}

#[test]
fn renders_the_two_formats_without_a_template() {
    let rendered = |template: &Template, message: &Message| {
        let mut out = Vec::new();
        template.render(message, time, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let empty = Message { topic: "a/b".to_owned(), ..Message::default() };
    assert_eq!(rendered(&Template::verbose(), &message()), "a/b he\"l\nlo é");
    assert_eq!(rendered(&Template::verbose(), &empty), "a/b (null)");
    assert_eq!(rendered(&Template::payload(), &message()), "he\"l\nlo é");
}

#[test]
fn cuts_text_between_characters() {
    let message = Message { topic: "äöü".to_owned(), ..Message::default() };
    assert_eq!(render("%.2t|%5t|", &message), "äö|  äöü|");
}

#[test]
fn refuses_what_it_cannot_render() {
    for (format, part) in [
        ("%s", "'%s'"),
        ("%5", "%%"),
        ("%", "%%"),
        ("%99999999999999999999t", "10000"),
        ("@", "@@"),
        ("@!", "'@!'"),
        ("\\q", "'\\q'"),
        ("a\\", "\\\\"),
    ] {
        let error = Template::parse(format, false).unwrap_err();
        assert!(error.contains(part), "{format}: {error}");
    }
}
