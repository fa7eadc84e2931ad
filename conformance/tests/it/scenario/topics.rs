//! Topic Names and Topic Filters: which are valid, and which match.

use midge_conformance::connect::connect;
use midge_conformance::reason::{
    MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID,
};
use midge_conformance::{
    Client, Encode, Fence, Packet, Publish, Subscribe, Unsubscribe, Version, target, topic,
};

use super::{publish_of, subscribe_of, subscriber};

/// Expects that a SUBSCRIBE and an UNSUBSCRIBE for `filter`, which is not well-formed, end the
/// connection: a Reason Code in their answers is only for well-formed filters.
pub(crate) fn expect_filter_refused(version: Version, filter: &str) {
    let mut client = connect(version).open();
    client.send(&Subscribe::new(1).filter(filter, 0));
    expect_ended_for_filter(version, filter, &mut client);
    let mut client = connect(version).open();
    client.send(&Unsubscribe::new(1).filter(filter));
    expect_ended_for_filter(version, filter, &mut client);
}

fn expect_ended_for_filter(version: Version, filter: &str, client: &mut Client) {
    let answer = client.receive_or_closed();
    let reasons = [MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_FILTER_INVALID];
    let is_refused = match &answer {
        None => version == Version::V3 || !target::is_strict(),
        Some(Packet::SubAck(answer) | Packet::UnsubAck(answer)) => {
            !target::is_strict() && {
                let refuses = |&reason: &u8| reason >= 0x80 || reason == 0x11;
                answer.reasons.iter().all(refuses)
            }
        }
        Some(Packet::Disconnect(disconnect)) => reasons.contains(&disconnect.reason),
        Some(_) => false,
    };
    assert!(is_refused, "{filter:?} was answered by {answer:?}");
}

pub(crate) fn misplaced_multi_level_wildcard_is_refused(version: Version) {
    for filter in ["a/#/b", "a#", "#/", "#a", "a/#b", "##", "a/b#"] {
        expect_filter_refused(version, filter);
    }
}

pub(crate) fn misplaced_single_level_wildcard_is_refused(version: Version) {
    for filter in ["a+", "+a", "a/+b", "a/b+/c", "++", "a/++"] {
        expect_filter_refused(version, filter);
    }
}

pub(crate) fn empty_topic_filter_is_refused(version: Version) {
    expect_filter_refused(version, "");
}

pub(crate) fn empty_topic_name_ends_the_connection(version: Version) {
    let mut client = connect(version).open();
    client.send(&Publish::new("", "payload"));
    client.expect_error_of(&[PROTOCOL_ERROR, TOPIC_NAME_INVALID, MALFORMED_PACKET]);
}

pub(crate) fn wildcards_in_a_topic_name_end_the_connection(version: Version) {
    for name in ["a/+", "#", "a/#", "+", "a+b", "a#b"] {
        let mut client = connect(version).open();
        client.send(&Publish::new(name, "payload"));
        client.expect_error_of(&[TOPIC_NAME_INVALID, MALFORMED_PACKET, PROTOCOL_ERROR]);
    }
}

/// A Topic Name that ends before its stated length.
pub(crate) fn cut_topic_name_ends_the_connection(version: Version) {
    let mut client = connect(version).open();
    client.send_bytes(&[0x30, 0x03, 0x00, 0x05, b'a']);
    client.expect_error(MALFORMED_PACKET);
}

pub(crate) fn topic_name_of_65_535_bytes_is_delivered(version: Version) {
    let prefix = topic();
    let name = format!("{prefix}{}", "x".repeat(65_535 - prefix.len()));
    let mut client = subscriber(version, &name, 0);
    connect(version).open().publish(&name, "payload", 0);
    assert_eq!(client.receive_publish().topic, name);
}

/// The Topic Name that arrives is the published one, and it matches the filter.
pub(crate) fn topic_name_matches_the_filter(version: Version) {
    let root = topic();
    let matching: [(&str, &[&str]); 6] = [
        ("", &["", "/#"]),
        ("/a", &["/a", "/+", "/#"]),
        ("/a/b", &["/a/b", "/+/b", "/a/+", "/#", "/a/#", "/+/+"]),
        ("/a/", &["/a/", "/a/+", "/+/", "/#", "/a/#"]),
        ("//b", &["//b", "/+/b", "//+", "//#", "/#"]),
        ("/a/b/c", &["/a/b/c", "/a/+/c", "/a/#", "/+/+/+", "/a/b/c/#"]),
    ];
    let mut publisher = connect(version).open();
    for (name, filters) in matching {
        let name = format!("{root}{name}");
        for filter in filters {
            let mut client = subscriber(version, &format!("{root}{filter}"), 0);
            publisher.publish(&name, "payload", 0);
            assert_eq!(client.receive_publish().topic, name, "by {filter:?}");
        }
    }
}

/// Pairs of a name and a filter that look similar and do not match.
pub(crate) fn topic_name_does_not_match_other_filters(version: Version) {
    let root = topic();
    let mut client = connect(version).open();
    for filter in ["/+", "/a/+/c", "/b/#", "/A", "/a/b/", "//a", "/a//b"] {
        client.subscribe(&format!("{root}{filter}"), 1);
    }
    let fence = Fence::for_subscriber(&mut client);
    let mut publisher = connect(version).open();
    for name in ["", "/a/b", "/a/b/d", "/a/", "/c/d"] {
        publisher.publish(&format!("{root}{name}"), "payload", 1);
    }
    fence.expect_nothing(&mut publisher, &mut client);
}

/// Neither case, Unicode normalization nor slashes make two topics one.
pub(crate) fn topics_are_not_normalized(version: Version) {
    let root = topic();
    let composed = format!("{root}/\u{e9}");
    let decomposed = format!("{root}/e\u{301}");
    let strange = format!("{root}/ %2F\\u00e9/\u{1F99F}");
    let mut client = connect(version).open();
    client.subscribe(&composed, 1);
    client.subscribe(&strange, 1);
    client.subscribe(&format!("{root}/a"), 1);
    let fence = Fence::for_subscriber(&mut client);
    let mut publisher = connect(version).open();
    let others = [&decomposed, &format!("{root}/A"), &format!("{root}/a/"), &format!("{root}//a")];
    for other in others {
        publisher.publish(other, "payload", 1);
    }
    fence.expect_nothing(&mut publisher, &mut client);
    for exact in [&composed, &strange] {
        publisher.publish(exact, "payload", 1);
        assert_eq!(&client.receive_message().topic, exact);
    }
}

/// A message to a name that starts with `$` reaches a filter that names the `$`, but none that
/// starts with a wildcard.
pub(crate) fn leading_wildcard_does_not_match_dollar_topics(version: Version) {
    let leaf = topic();
    let name = format!("$conformance/{leaf}");
    let mut exact = subscriber(version, &name, 1);
    let mut wild = connect(version).open();
    wild.subscribe("#", 0);
    wild.subscribe(&format!("+/{leaf}"), 0);
    wild.subscribe(&format!("+/{leaf}/#"), 0);
    let fence = Fence::for_subscriber(&mut wild);
    let mut publisher = connect(version).open();
    publisher.publish(&name, "payload", 1);
    assert_eq!(exact.receive_message().topic, name);
    let seen = fence.pass(&mut publisher, &mut wild);
    assert!(seen.iter().all(|publish| !publish.topic.starts_with('$')), "a $ topic leaked");
}

/// Wildcards are accepted where they belong: `+` at any one level, also the first and last, `#` at
/// the end.
pub(crate) fn wildcards_are_accepted_where_they_belong(version: Version) {
    let root = topic();
    let mut client = connect(version).open();
    for filter in ["/+", "/+/a", "/a/+/b", "/#", "/+/#", "/+/+"] {
        client.subscribe(&format!("{root}{filter}"), 0);
    }
    // Only acceptance is checked for these: they may match messages of other tests.
    for filter in ["+", "+/+", "/+", "+/"] {
        client.subscribe(&format!("{filter}/{root}"), 0);
    }
}

pub(crate) fn null_character_in_a_topic_ends_the_connection(version: Version) {
    for bytes in [publish_of(version, b"\0"), subscribe_of(version, b"a/\0")] {
        super::format::expect_malformed(version, &bytes);
    }
    let filter = Subscribe::new(1).filter("a/#\0", 0).encode(version);
    super::format::expect_malformed(version, &filter);
}
