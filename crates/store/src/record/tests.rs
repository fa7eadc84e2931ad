//! The bytes of every kind of record, and what happens to bytes that are no record.

use std::borrow::Cow;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use midge_codec::{PacketIdentifier, QoS, RetainHandling, SubscriptionOptions};
use midge_core::{
    Attributes, CredentialRule, Durability, GroupRecord, Identifiers, Identity, Kept, Message,
    MessageParts, Owner, Round, SessionRecord, SubscriptionRecord, Timestamp, UserAttribute,
    UserFacts, WillRecord, WorkerId,
};
use proptest::prelude::*;

use super::*;
use crate::clock::{Reading, Uptime};
use crate::location::Location;

fn example_message() -> Message {
    Message::new(MessageParts {
        topic: "a/b",
        properties: &[1, 0],
        payload: b"hi",
        attributes: Attributes {
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: Some(Timestamp::from_millis(300)),
            publisher_session: None,
            durability: Durability::Fsync,
        },
        publisher: Arc::new(Identity::new("pub".into(), Some("u".into()))),
    })
}

/// The message of [`example_message`] as it stands in every record that has it.
const MESSAGE: &[u8] = &[
    0b0110_1101, // QoS 1, RETAIN, expiry, Fsync, user name
    0xac,
    0x02, // 300
    3,
    b'p',
    b'u',
    b'b',
    1,
    b'u',
    3,
    b'a',
    b'/',
    b'b',
    2,
    1,
    0,
    2,
    b'h',
    b'i',
];

fn example_mark() -> Mark {
    let uptime = Some(Uptime { boot: 1 << 120 | 2, millis: 9 });
    Mark { at: Timestamp::from_millis(300), reading: Reading { wall_ms: 5, uptime } }
}

const BOOT: &[u8] = &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn example_round() -> BootRound {
    BootRound { boot: 7, round: Round { worker: WorkerId::new(3), number: 130 } }
}

fn example_head() -> EnqueueHead<'static> {
    let many = [NonZeroU32::new(5).unwrap(), NonZeroU32::new(200).unwrap()];
    EnqueueHead {
        owner: Owner::Group(9),
        sequence: 300,
        qos: QoS::ExactlyOnce,
        retain: true,
        identifiers: Cow::Owned(Identifiers::Many(many.into())),
        group: Some(4),
        round: Some(example_round()),
    }
}

/// The head of [`example_head`] in bytes.
const HEAD: &[u8] = &[0b0111_1101, 9, 0xac, 0x02, 4, 7, 3, 0x82, 0x01, 2, 5, 0xc8, 0x01];

fn example_subscription() -> SubscriptionRecord {
    SubscriptionRecord {
        filter: "a/+".into(),
        options: SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        },
        identifier: NonZeroU32::new(77),
    }
}

const SUBSCRIPTION: &[u8] = &[0b0110_1101, 77, 3, b'a', b'/', b'+'];

fn place() -> Location {
    Location::from_u64(0x0000_0002_0000_0040).unwrap()
}

const PLACE: &[u8] = &[0x40, 0, 0, 0, 2, 0, 0, 0, 7];

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn packet_id() -> PacketIdentifier {
    PacketIdentifier::new(0x1234).unwrap()
}

/// A record: its tag, its body as the code writes it, and the body as it has to be.
type Example = (u8, Vec<u8>, Vec<u8>);

/// One record of each kind.
fn examples() -> Vec<Example> {
    let mut examples = examples_of_sessions();
    examples.extend(examples_of_messages());
    examples
}

fn examples_of_sessions() -> Vec<Example> {
    let detached = Detached { session: 300, at: Timestamp::from_millis(5), sent_before: u64::MAX };
    let group = GroupRecord { number: 6, name: "g".into(), filter: "x/#".into() };
    let session = SessionRecord {
        number: 300,
        client_id: "c".into(),
        user_name: Some("me".into()),
        facts: None,
        expiry_seconds: u32::MAX,
        window: None,
        will: Some(WillRecord {
            message: example_message(),
            delay_seconds: 10,
            expiry_seconds: Some(20),
        }),
    };
    let max = [0xff; 9];
    let facts = UserFacts {
        member: Some("f".into()),
        attributes: [("n".into(), UserAttribute::Number(-3))].into(),
        groups: ["g".into()].into(),
        rules: [CredentialRule {
            allows: true,
            publish: false,
            subscribe: true,
            topics: "#".into(),
            qos: 0b011,
            retain: Some(true),
        }]
        .into(),
        expires_at: Some(300),
        ..UserFacts::default()
    };
    let known = SessionRecord { facts: Some(Arc::new(facts)), will: None, ..session.clone() };
    let windowed = SessionRecord { window: NonZeroU16::new(300), will: None, ..session.clone() };
    vec![
        (16, encoded(|out| session::encode(&session, out)), {
            let head = [0xac, 2, 0b111, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, b'c', 2, b'm', b'e'];
            [&head[..], &[10, 20], MESSAGE].concat()
        }),
        (16, encoded(|out| session::encode(&known, out)), {
            let head = [0xac, 2, 0b1_0001, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, b'c', 2, b'm', b'e'];
            let facts = [0b101, 1, b'f', 0xac, 2, 1, 1, b'n', 2, 5, 1, 1, b'g'];
            [&head[..], &facts, &[1, 0b1_1101, 0b011, 1, b'#']].concat()
        }),
        (
            16,
            encoded(|out| session::encode(&windowed, out)),
            vec![0xac, 2, 0b1001, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xac, 2, 1, b'c', 2, b'm', b'e'],
        ),
        (17, encoded(|out| detached.encode(out)), [&[0xac, 2, 5][..], &max, &[1]].concat()),
        (18, encoded(|out| will_gone::encode(300, out)), vec![0xac, 2]),
        (
            19,
            encoded(|out| subscribed::encode(3, &example_subscription(), out)),
            [&[3], SUBSCRIPTION].concat(),
        ),
        (20, encoded(|out| unsubscribed::encode(3, "a/+", out)), vec![3, 3, b'a', b'/', b'+']),
        (21, encoded(|out| group::encode(&group, out)), vec![6, 1, b'g', 3, b'x', b'/', b'#']),
    ]
}

fn examples_of_messages() -> Vec<Example> {
    let owner = Owner::Session(300);
    let run = Run { owner, first: 9, count: 300 };
    let at = Timestamp::from_millis(300);
    vec![
        (
            22,
            encoded(|out| {
                enqueue::encode_head(&example_head(), out);
                message::encode(&example_message(), out);
            }),
            [HEAD, MESSAGE].concat(),
        ),
        (
            23,
            encoded(|out| {
                enqueue::encode_head(&example_head(), out);
                enqueue::encode_place(place(), 7, out);
            }),
            [HEAD, PLACE].concat(),
        ),
        (24, encoded(|out| taken::encode(Owner::Group(2), 9, out)), vec![1, 2, 9]),
        (25, encoded(|out| finished::encode(owner, 9, out)), vec![0, 0xac, 2, 9]),
        (38, encoded(|out| run.encode(out)), vec![0, 0xac, 2, 9, 0xac, 2]),
        (39, encoded(|out| run.encode(out)), vec![0, 0xac, 2, 9, 0xac, 2]),
        (26, encoded(|out| await_release::encode(1, packet_id(), out)), vec![1, 0x34, 0x12]),
        (27, encoded(|out| released::encode(1, packet_id(), out)), vec![1, 0x34, 0x12]),
        (28, encoded(|out| confirm::encode(&example_round(), out)), vec![7, 3, 0x82, 1]),
        (
            29,
            encoded(|out| {
                keep::encode_head(5, Kept::Retained, out);
                message::encode(&example_message(), out);
            }),
            [&[5, 0], MESSAGE].concat(),
        ),
        (30, encoded(|out| unkeep::encode(5, out)), vec![5]),
        (31, encoded(|out| ended::encode(owner, out)), vec![0, 0xac, 2]),
        (32, encoded(|out| boot::encode(8, out)), vec![8]),
        (
            33,
            encoded(|out| subscription_image::encode(3, &[example_subscription()], out)),
            [&[3, 1], SUBSCRIPTION].concat(),
        ),
        (
            37,
            encoded(|out| mark::encode(&example_mark(), out)),
            [&[0xac, 2, 5, 1], BOOT, &[9]].concat(),
        ),
        (
            36,
            encoded(|out| {
                keep::encode_head(5, Kept::Delayed(at), out);
                enqueue::encode_place(place(), 7, out);
            }),
            [&[5, 1, 0xac, 2], PLACE].concat(),
        ),
    ]
}

/// Runs everything that reads records over these bytes.
fn decode_in_every_way(tag: u8, body: &[u8]) -> bool {
    let _ = session::decode(body);
    let _ = subscribed::decode(body);
    let _ = subscription_image::decode(body);
    let _ = group::decode(body);
    let _ = decode_message(tag, body);
    decode(tag, body).is_ok()
}

#[test]
fn the_bytes_of_every_record_are_as_they_always_were() {
    for (tag, written, expected) in examples() {
        assert_eq!(written, expected, "record {tag}");
        assert!(decode_in_every_way(tag, &written), "record {tag}");
    }
}

#[test]
fn every_record_comes_back_as_it_was_written() {
    let head = example_head();
    let body = [HEAD, MESSAGE].concat();
    let (read, Body::Inline(message)) = enqueue::decode(22, &body).unwrap() else {
        panic!("the message is not inline");
    };
    assert_eq!(read, head);
    assert_eq!(message.size(), 7);
    let restored = Restorer::default().restore(&message, Location::new(7, 9));
    let example = example_message();
    assert_eq!(restored.topic(), example.topic());
    assert_eq!(restored.properties(), example.properties());
    assert_eq!(restored.payload(), example.payload());
    assert_eq!(restored.attributes(), example.attributes());
    assert_eq!(restored.publisher(), example.publisher());
    assert_eq!(restored.stored_at().get(), Location::new(7, 9).map(Location::to_non_zero));

    let body = [HEAD, PLACE].concat();
    let read = enqueue::decode(23, &body).unwrap();
    assert_eq!(read, (head, Body::At { message: place(), size: 7 }));

    let body = [&[3, 1], SUBSCRIPTION].concat();
    assert_eq!(subscription_image::decode(&body).unwrap(), (3, vec![example_subscription()]));
    let (_, session, _) = examples().swap_remove(0);
    let session = session::decode(&session).unwrap();
    let (_, known, _) = examples().swap_remove(1);
    let facts = session::decode(&known).unwrap().facts.unwrap();
    assert_eq!((facts.member.as_deref(), facts.expires_at), (Some("f"), Some(300)));
    assert_eq!(facts.attributes["n"], UserAttribute::Number(-3));
    let (_, windowed, _) = examples().swap_remove(2);
    assert_eq!(
        (session.window, session::decode(&windowed).unwrap().window),
        (None, NonZeroU16::new(300))
    );
    assert_eq!((session.number, &*session.client_id), (300, "c"));
    assert_eq!(session.user_name.as_deref(), Some("me"));
    assert_eq!(session.will.unwrap().message.payload(), b"hi");
}

#[test]
fn a_record_with_bytes_behind_its_end_is_refused() {
    for (tag, mut body, _) in examples() {
        body.push(0);
        let whole = match tag {
            16 => session::decode(&body).is_err(),
            19 => subscribed::decode(&body).is_err(),
            21 => group::decode(&body).is_err(),
            33 => subscription_image::decode(&body).is_err(),
            _ => decode(tag, &body).is_err(),
        };
        assert!(whole, "record {tag}");
    }
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    for (tag, body, _) in examples() {
        for len in 0..body.len() {
            decode_in_every_way(tag, &body[..len]);
        }
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            decode_in_every_way(tag, &flipped);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(tag: u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_in_every_way(tag, &body);
        for tag in 16..=37 {
            decode_in_every_way(tag, &body);
        }
    }
}
