//! Every message comes back from its bytes as it was, has the bytes that it has always had, and no
//! other bytes do harm.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use midge_codec::{PublishProperties, QoS, SubscriptionOptions, UserPropertiesBuf};
use proptest::prelude::*;
use proptest::sample::select;

use super::PeerDecodeError;
use super::golden::GOLDEN;
use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{
    CredentialRule, GroupId, Identity, SessionId, Source, UserAttribute, UserFacts, WorkerId,
};
use crate::base::message::{Attributes, Message, MessageParts};
use crate::base::time::Timestamp;
use crate::boundary::peer_messages::{
    Assurance, ComingSession, Member, MovePeer, Peer, PeerMessage, RetainedPeer, SharedPeer,
    WantedFilter,
};
use crate::boundary::store_records::Round;
use crate::tree::subscription_tree::PackedOptions;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn session(worker: usize, slot: u32, generation: u32) -> SessionId {
    SessionId { worker: WorkerId::new(worker), slot, generation }
}

fn group(home: usize, number: u64) -> GroupId {
    GroupId { home: WorkerId::new(home), number }
}

fn round(worker: usize, number: u64) -> Round {
    Round { worker: WorkerId::new(worker), number }
}

fn member() -> Member {
    Member {
        session: session(3, 200, 7),
        options: SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() }.into(),
        identifier: NonZeroU32::new(9),
        online: true,
        is_stored: false,
        in_flight: 300,
    }
}

fn rule() -> CredentialRule {
    CredentialRule {
        allows: true,
        publish: false,
        subscribe: true,
        topics: "w/+".into(),
        qos: 0b011,
        retain: Some(true),
    }
}

fn publisher() -> Arc<Identity> {
    let attributes = [
        ("level".into(), UserAttribute::Number(-2)),
        ("role".into(), UserAttribute::Text("nurse".into())),
        ("wards".into(), UserAttribute::List(["a".into(), "b".into()].into())),
    ];
    Arc::new(Identity {
        facts: Some(Arc::new(UserFacts {
            member: Some("jwt".into()),
            attributes: attributes.into(),
            groups: ["nurses".into()].into(),
            is_superuser: false,
            rules: [rule()].into(),
            expires_at: Some(300),
        })),
        source: Some(Source { listener: Some(2), address: Some([192, 0, 2, 7].into()) }),
        ..Identity::new("c".into(), Some("u".into()))
    })
}

fn message() -> Message {
    let mut user_properties = UserPropertiesBuf::default();
    user_properties.push("n", "v");
    let mut properties = Vec::new();
    let forwarded =
        PublishProperties { user_properties: user_properties.view(), ..Default::default() };
    forwarded.encode_forwarded(&mut properties);
    Message::new(MessageParts {
        topic: "a/b",
        properties: &properties,
        payload: b"payload",
        attributes: Attributes {
            qos: QoS::ExactlyOnce,
            retain: true,
            expires_at: Some(NOW + 5_000),
            publisher_session: Some(session(1, 2, 3)),
            durability: Durability::Fsync,
        },
        publisher: publisher(),
    })
}

fn delivery() -> Delivery {
    Delivery {
        message: message(),
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Identifiers::from(&[NonZeroU32::MIN, NonZeroU32::MAX][..]),
        group: Some(group(1, 400)),
    }
}

/// One of each message, by name.
fn samples() -> Vec<(&'static str, Peer)> {
    let plain = vec![
        ("publish", Peer::Publish(message())),
        ("filter", Peer::Filter { filter: "a/+".into(), wanted: true }),
        ("group", Peer::Group { filter: "a/#".into(), group: group(2, 300), exists: false }),
        ("group-member", Peer::GroupMember { group: group(2, 300), member: member() }),
        (
            "group-member-gone",
            Peer::GroupMemberGone { group: group(2, 300), session: session(3, 200, 7) },
        ),
        ("fence", Peer::Fence(77)),
        ("fence-passed", Peer::FencePassed { ticket: 77, retained_sent: [0, 500, 2].into() }),
        ("round", Peer::Round(round(1, 200))),
        ("ask", Peer::Ask { round: round(1, 200), ticket: 5 }),
        (
            "answer",
            Peer::Answer { round: round(1, 200), ticket: 5, assurance: Assurance::InSharedJournal },
        ),
        (
            "answer-durable",
            Peer::Answer { round: round(1, 200), ticket: 5, assurance: Assurance::Durable },
        ),
        (
            "answer-incomplete",
            Peer::Answer { round: round(1, 200), ticket: 5, assurance: Assurance::Incomplete },
        ),
        ("confirmed", Peer::Confirmed(round(1, 200))),
        ("void", Peer::Void(round(1, 200))),
        ("storing", Peer::Storing),
        (
            "exclusive-claim",
            Peer::ExclusiveClaim { ticket: 5, filter: "e/f".into(), session: session(3, 200, 7) },
        ),
        ("exclusive-answer", Peer::ExclusiveAnswer { ticket: 5, granted: true }),
        (
            "exclusive-release",
            Peer::ExclusiveRelease { filter: "e/f".into(), session: session(3, 200, 7) },
        ),
    ];
    let shared = shared_samples().into_iter().map(|(name, it)| (name, Peer::Shared(it)));
    let retained = retained_samples().into_iter().map(|(name, it)| (name, Peer::Retained(it)));
    let moves = move_samples().into_iter().map(|(name, it)| (name, Peer::Move(it)));
    plain.into_iter().chain(shared).chain(retained).chain(moves).collect()
}

fn shared_samples() -> Vec<(&'static str, SharedPeer)> {
    let (group, session) = (group(2, 300), session(3, 200, 7));
    let (name, filter): (Arc<str>, Arc<str>) = ("g".into(), "a/#".into());
    vec![
        ("shared-publish", SharedPeer::Publish { group, message: message() }),
        (
            "shared-deliver",
            SharedPeer::Deliver { session, delivery: delivery(), barred: vec![session] },
        ),
        (
            "shared-return",
            SharedPeer::Return {
                delivery: delivery(),
                barred: vec![session],
                refusal: Some(DropReason::QueueFull),
                online: true,
            },
        ),
        (
            "shared-join",
            SharedPeer::Join {
                ticket: 5,
                name: Arc::clone(&name),
                filter: Arc::clone(&filter),
                member: member(),
            },
        ),
        ("shared-joined", SharedPeer::Joined { ticket: 5, group }),
        ("shared-leave", SharedPeer::Leave { group, session }),
        ("shared-unsubscribe", SharedPeer::Unsubscribe { ticket: 5, name, filter, session }),
        ("shared-left", SharedPeer::Left { ticket: 5 }),
        ("shared-online", SharedPeer::Online { group, session, online: true }),
        ("shared-stored", SharedPeer::Stored { group }),
        ("shared-settled", SharedPeer::Settled { group, session }),
    ]
}

fn retained_samples() -> Vec<(&'static str, RetainedPeer)> {
    let (filter, after): (Arc<str>, Box<[u64]>) = ("a/#".into(), [1, 0].into());
    vec![
        ("retained-set", RetainedPeer::Set { message: message(), ticket: NonZeroU64::new(8) }),
        ("retained-refused", RetainedPeer::Refused { ticket: NonZeroU64::MAX }),
        ("retained-pull", RetainedPeer::Pull { ticket: 5, filter, walk: Some(0), after }),
        (
            "retained-chunk",
            RetainedPeer::Chunk { ticket: 5, messages: vec![message(); 2], walk: None },
        ),
        ("retained-stop", RetainedPeer::Stop { walk: 300 }),
    ]
}

fn move_samples() -> Vec<(&'static str, MovePeer)> {
    let Member { session, options, identifier, .. } = member();
    let wanted =
        |filter: &str, identifier| WantedFilter { filter: filter.into(), options, identifier };
    let filters = vec![wanted("a/#", identifier), wanted("b", None)];
    let coming =
        ComingSession { session, client: publisher(), number: NonZeroU64::new(300), filters };
    vec![
        ("move-prepare", MovePeer::Prepare { ticket: 5, session: Box::new(coming) }),
        ("move-prepared", MovePeer::Prepared { ticket: 5 }),
        ("move-call-off", MovePeer::CallOff { session }),
        ("move-switch", MovePeer::Switch { session, to: WorkerId::new(2), online: true }),
        ("move-switched", MovePeer::Switched { session }),
        ("move-over", MovePeer::Over { session }),
    ]
}

fn encoded(message: &Peer) -> Vec<u8> {
    let mut bytes = Vec::new();
    PeerMessage(message.clone()).encode(NOW, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Result<(Peer, usize), PeerDecodeError> {
    PeerMessage::decode(bytes, NOW).map(|(PeerMessage(message), length)| (message, length))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nodes of different versions have to understand each other, so these bytes never change: what is
/// new gets a new tag and a new line here.
#[test]
fn every_message_has_the_bytes_that_it_has_always_had() {
    let found: Vec<_> = samples().iter().map(|(name, it)| (*name, hex(&encoded(it)))).collect();
    let expected: Vec<_> = GOLDEN.iter().map(|(name, hex)| (*name, (*hex).to_string())).collect();
    let list = found.iter().map(|(name, hex)| format!("    (\"{name}\", \"{hex}\"),\n"));
    assert!(found == expected, "found:\n{}", list.collect::<String>());
}

/// A variant that no sample has would have no fixed bytes.
#[test]
fn there_is_a_sample_of_every_message() {
    let tags: BTreeSet<_> = samples()
        .iter()
        .map(|(_, message)| {
            let bytes = encoded(message);
            let head = bytes.len() - body_of(&bytes).len();
            let is_nested = matches!(message, Peer::Shared(_) | Peer::Retained(_) | Peer::Move(_));
            (bytes[head], is_nested.then(|| bytes[head + 1]))
        })
        .collect();
    let plain = (1..=18).filter(|tag| !matches!(tag, 14 | 15)).map(|tag| (tag, None));
    let shared = (1..=11).map(|tag| (14, Some(tag)));
    let retained = (1..=5).map(|tag| (15, Some(tag)));
    let moves = (1..=6).map(|tag| (19, Some(tag)));
    let expected = plain.chain(shared).chain(retained).chain(moves);
    assert!(tags.into_iter().eq(expected.collect::<BTreeSet<_>>()));
    for (first, last) in [(19, 20), (14, 12), (15, 6), (19, 7)] {
        let body = if last == 20 { vec![last] } else { vec![first, last] };
        let bytes = [&[1, body.len() as u8], &body[..]].concat();
        let unknown = decoded(&bytes);
        assert!(matches!(unknown, Err(PeerDecodeError::UnknownTag(..))), "{unknown:?}");
    }
}

fn body_of(bytes: &[u8]) -> &[u8] {
    let length_bytes = bytes[1..].iter().position(|byte| *byte < 0x80).map_or(0, |at| at + 1);
    &bytes[1 + length_bytes..]
}

#[test]
fn every_message_comes_back_and_no_part_of_it_is_one() {
    for (name, message) in samples() {
        let bytes = encoded(&message);
        assert_eq!(decoded(&bytes), Ok((message.clone(), bytes.len())), "{name}");
        for length in 0..bytes.len() {
            assert_eq!(decoded(&bytes[..length]), Err(PeerDecodeError::Truncated), "{name}");
        }
        let followed = [&bytes[..], &[0xFF; 3]].concat();
        assert_eq!(decoded(&followed), Ok((message, bytes.len())), "{name}");
    }
}

#[test]
fn what_is_not_known_is_an_error_with_a_name() {
    let bytes = encoded(&Peer::Fence(7));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        decoded(&bytes).unwrap_err()
    };
    assert_eq!(changed(&|bytes| bytes[0] = 2), PeerDecodeError::UnknownVersion(2));
    let tag = PeerDecodeError::UnknownTag("the peer message", 99);
    assert_eq!(changed(&|bytes| bytes[2] = 99), tag);
    let longer = |bytes: &mut Vec<u8>| {
        bytes[1] += 2;
        bytes.extend([0, 0]);
    };
    assert_eq!(changed(&longer), PeerDecodeError::LeftOver(2));
    let length = PeerMessage::BYTES_MAX as u64 + 1;
    let mut too_long = vec![1];
    super::Writer::new(NOW, &mut too_long).number(length);
    assert_eq!(decoded(&too_long), Err(PeerDecodeError::TooLong(length)));
    for error in [tag, PeerDecodeError::Truncated, PeerDecodeError::Invalid("a text is not UTF-8")]
    {
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn names_that_no_node_would_send_are_refused() {
    for filter in ["", "a/#/b", "a+"] {
        let bytes = encoded(&Peer::Filter { filter: filter.into(), wanted: true });
        let error = PeerDecodeError::Invalid("a Topic Filter is invalid");
        assert_eq!(decoded(&bytes), Err(error), "{filter:?}");
    }
    let with = |topic: &str, properties: &[u8]| {
        let (attributes, publisher) = (message().attributes(), publisher());
        let parts = MessageParts { topic, properties, payload: b"", attributes, publisher };
        decoded(&encoded(&Peer::Publish(Message::new(parts))))
    };
    let topic = PeerDecodeError::Invalid("a Topic Name is invalid");
    assert_eq!(with("a/+", b""), Err(topic));
    let properties = PeerDecodeError::Invalid("the properties of a message are invalid");
    assert_eq!(with("a", b"\xFF"), Err(properties));
}

/// Nodes have times of their own, which only run at the same speed.
#[test]
fn a_moment_is_as_far_away_for_the_receiver() {
    let mut bytes = Vec::new();
    PeerMessage(Peer::Publish(message())).encode(NOW + 2_000, &mut bytes);
    let there = Timestamp::from_millis(77);
    let (PeerMessage(message), _) = PeerMessage::decode(&bytes, there).unwrap();
    let expires_at = message.message().unwrap().attributes().expires_at;
    assert_eq!(expires_at, Some(there + 3_000));
    bytes.clear();
    PeerMessage(message).encode(there + 9_000, &mut bytes);
    let (PeerMessage(message), _) = PeerMessage::decode(&bytes, there).unwrap();
    assert_eq!(message.message().unwrap().attributes().expires_at, Some(there), "it is over");
}

fn any_worker() -> impl Strategy<Value = WorkerId> {
    (0..WorkerId::MAX_WORKERS).prop_map(WorkerId::new)
}

fn any_session() -> impl Strategy<Value = SessionId> {
    (any_worker(), any::<u32>(), any::<u32>()).prop_map(|(worker, slot, generation)| SessionId {
        worker,
        slot,
        generation,
    })
}

fn any_group() -> impl Strategy<Value = GroupId> {
    (any_worker(), any::<u64>()).prop_map(|(home, number)| GroupId { home, number })
}

fn any_round() -> impl Strategy<Value = Round> {
    (any_worker(), any::<u64>()).prop_map(|(worker, number)| Round { worker, number })
}

fn any_qos() -> impl Strategy<Value = QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..])
}

fn any_options() -> impl Strategy<Value = PackedOptions> {
    let valid = |byte: u8| SubscriptionOptions::from_byte(byte & 0b11_1111).map(Into::into);
    any::<u8>().prop_filter_map("3 is no QoS and no Retain Handling", valid)
}

fn any_filter() -> impl Strategy<Value = Arc<str>> {
    "[a-z\u{e9}/]{1,20}(/\\+/x|/#)?".prop_map(Into::into)
}

fn any_identifier() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_filter_map("not 0", NonZeroU32::new)
}

fn any_member() -> impl Strategy<Value = Member> {
    let options = (any_options(), prop::option::of(any_identifier()));
    (any_session(), options, any::<bool>(), any::<bool>(), any::<u32>()).prop_map(
        |(session, (options, identifier), online, is_stored, in_flight)| Member {
            session,
            options,
            identifier,
            online,
            is_stored,
            in_flight,
        },
    )
}

fn any_attribute() -> impl Strategy<Value = UserAttribute> {
    let text = || ".{0,8}".prop_map(Box::from);
    prop_oneof![
        text().prop_map(UserAttribute::Text),
        any::<i64>().prop_map(UserAttribute::Number),
        prop::collection::vec(text(), 0..3).prop_map(|list| UserAttribute::List(list.into())),
    ]
}

fn any_identity() -> impl Strategy<Value = Arc<Identity>> {
    let attributes =
        prop::collection::btree_map(".{0,8}".prop_map(Box::from), any_attribute(), 0..4);
    let groups = prop::collection::vec(".{0,8}".prop_map(Box::from), 0..3);
    let facts = (attributes, groups, any::<bool>(), any::<Option<u64>>()).prop_map(
        |(attributes, groups, is_superuser, expires_at)| UserFacts {
            member: (!groups.is_empty()).then(|| "m".into()),
            attributes,
            rules: groups.iter().map(|_| rule()).collect(),
            groups: groups.into(),
            is_superuser,
            expires_at,
        },
    );
    let address = prop_oneof![
        any::<Option<[u8; 4]>>().prop_map(|it| it.map(Into::into)),
        any::<[u8; 16]>().prop_map(|it| Some(it.into())),
    ];
    let source = (prop::option::of(0..u16::MAX), address)
        .prop_map(|(listener, address)| Source { listener, address });
    let names = (".{0,12}", prop::option::of(".{0,12}"));
    (names, prop::option::of(facts), prop::option::of(source)).prop_map(
        |((client_id, user_name), facts, source)| {
            let (client_id, user_name) = (client_id.into(), user_name.map(Into::into));
            let facts = facts.map(Arc::new);
            Arc::new(Identity { facts, source, ..Identity::new(client_id, user_name) })
        },
    )
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let durability = select(&[Durability::Memory, Durability::Interval, Durability::Fsync][..]);
    let expires_at = prop::option::of((0..=u64::MAX - 2_000_000).prop_map(|left| NOW + left));
    let publisher_session = prop::option::of(any_session());
    (any_qos(), any::<bool>(), expires_at, publisher_session, durability).prop_map(
        |(qos, retain, expires_at, publisher_session, durability)| Attributes {
            qos,
            retain,
            expires_at,
            publisher_session,
            durability,
        },
    )
}

fn any_properties() -> impl Strategy<Value = Vec<u8>> {
    let pairs = prop::collection::vec(("[a-z]{0,5}", "[a-z]{0,5}"), 0..3);
    (any::<Option<bool>>(), prop::option::of("[a-z]{1,9}"), pairs).prop_map(
        |(payload_format_indicator, content_type, pairs)| {
            let mut user_properties = UserPropertiesBuf::default();
            pairs.iter().for_each(|(name, value)| user_properties.push(name, value));
            let mut properties = Vec::new();
            let content_type = content_type.as_deref();
            let user_properties = user_properties.view();
            PublishProperties {
                payload_format_indicator,
                content_type,
                user_properties,
                ..Default::default()
            }
            .encode_forwarded(&mut properties);
            properties
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    ("[a-z\u{e9}/]{1,20}", any_properties(), payload, any_attributes(), any_identity()).prop_map(
        |(topic, properties, payload, attributes, publisher)| {
            let (topic, properties, payload) = (&*topic, &*properties, &*payload);
            let parts = MessageParts { topic, properties, payload, attributes, publisher };
            Message::new(parts)
        },
    )
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    let identifiers = prop::collection::vec(any_identifier(), 0..4);
    (any_message(), any_qos(), any::<bool>(), identifiers, prop::option::of(any_group())).prop_map(
        |(message, qos, retain, identifiers, group)| {
            let identifiers = Identifiers::from(&identifiers[..]);
            Delivery { message, qos, retain, identifiers, group }
        },
    )
}

fn any_assurance() -> impl Strategy<Value = Assurance> {
    select(&[Assurance::InSharedJournal, Assurance::Durable, Assurance::Incomplete][..])
}

fn any_plain() -> impl Strategy<Value = Peer> {
    let ticket = any::<u64>;
    let sent = prop::collection::vec(any::<u64>(), 0..9).prop_map(Vec::into_boxed_slice);
    let asked = (any_round(), ticket());
    prop_oneof![
        any_message().prop_map(Peer::Publish),
        (any_filter(), any::<bool>()).prop_map(|(filter, wanted)| Peer::Filter { filter, wanted }),
        (any_filter(), any_group(), any::<bool>())
            .prop_map(|(filter, group, exists)| Peer::Group { filter, group, exists }),
        (any_group(), any_member()).prop_map(|(group, member)| Peer::GroupMember { group, member }),
        (any_group(), any_session())
            .prop_map(|(group, session)| Peer::GroupMemberGone { group, session }),
        ticket().prop_map(Peer::Fence),
        (ticket(), sent)
            .prop_map(|(ticket, retained_sent)| Peer::FencePassed { ticket, retained_sent }),
        any_round().prop_map(Peer::Round),
        asked.prop_map(|(round, ticket)| Peer::Ask { round, ticket }),
        (any_round(), ticket(), any_assurance())
            .prop_map(|(round, ticket, assurance)| Peer::Answer { round, ticket, assurance }),
        any_round().prop_map(Peer::Confirmed),
        any_round().prop_map(Peer::Void),
        Just(Peer::Storing),
        (ticket(), any_filter(), any_session()).prop_map(|(ticket, filter, session)| {
            Peer::ExclusiveClaim { ticket, filter, session }
        }),
        (ticket(), any::<bool>())
            .prop_map(|(ticket, granted)| Peer::ExclusiveAnswer { ticket, granted }),
        (any_filter(), any_session())
            .prop_map(|(filter, session)| Peer::ExclusiveRelease { filter, session }),
    ]
}

fn any_shared() -> impl Strategy<Value = SharedPeer> {
    let ticket = any::<u64>;
    let barred = || prop::collection::vec(any_session(), 0..4);
    let name = || ".{0,9}".prop_map(Arc::from);
    let refusal = prop::option::of(select(&DropReason::ALL[..]));
    prop_oneof![
        (any_group(), any_message())
            .prop_map(|(group, message)| SharedPeer::Publish { group, message }),
        (any_session(), any_delivery(), barred()).prop_map(|(session, delivery, barred)| {
            SharedPeer::Deliver { session, delivery, barred }
        }),
        (any_delivery(), barred(), refusal, any::<bool>()).prop_map(
            |(delivery, barred, refusal, online)| {
                SharedPeer::Return { delivery, barred, refusal, online }
            }
        ),
        (ticket(), name(), any_filter(), any_member()).prop_map(
            |(ticket, name, filter, member)| SharedPeer::Join { ticket, name, filter, member }
        ),
        (ticket(), any_group()).prop_map(|(ticket, group)| SharedPeer::Joined { ticket, group }),
        (any_group(), any_session())
            .prop_map(|(group, session)| SharedPeer::Leave { group, session }),
        (ticket(), name(), any_filter(), any_session()).prop_map(
            |(ticket, name, filter, session)| {
                SharedPeer::Unsubscribe { ticket, name, filter, session }
            }
        ),
        ticket().prop_map(|ticket| SharedPeer::Left { ticket }),
        (any_group(), any_session(), any::<bool>())
            .prop_map(|(group, session, online)| SharedPeer::Online { group, session, online }),
        any_group().prop_map(|group| SharedPeer::Stored { group }),
        (any_group(), any_session())
            .prop_map(|(group, session)| SharedPeer::Settled { group, session }),
    ]
}

fn any_retained() -> impl Strategy<Value = RetainedPeer> {
    let question = || (1..=u64::MAX).prop_filter_map("not 0", NonZeroU64::new);
    let after = prop::collection::vec(any::<u64>(), 0..9).prop_map(Vec::into_boxed_slice);
    let messages = prop::collection::vec(any_message(), 0..3);
    prop_oneof![
        (any_message(), prop::option::of(question()))
            .prop_map(|(message, ticket)| RetainedPeer::Set { message, ticket }),
        question().prop_map(|ticket| RetainedPeer::Refused { ticket }),
        (any::<u64>(), any_filter(), any::<Option<u64>>(), after).prop_map(
            |(ticket, filter, walk, after)| { RetainedPeer::Pull { ticket, filter, walk, after } }
        ),
        (any::<u64>(), messages, any::<Option<u64>>())
            .prop_map(|(ticket, messages, walk)| RetainedPeer::Chunk { ticket, messages, walk }),
        any::<u64>().prop_map(|walk| RetainedPeer::Stop { walk }),
    ]
}

fn any_coming() -> impl Strategy<Value = ComingSession> {
    let filter = (any_filter(), any_options(), prop::option::of(any_identifier()));
    let filter = filter.prop_map(|(filter, options, identifier)| WantedFilter {
        filter: (&*filter).into(),
        options,
        identifier,
    });
    let filters = prop::collection::vec(filter, 0..4);
    let number = any::<u64>().prop_map(NonZeroU64::new);
    (any_session(), any_identity(), number, filters).prop_map(
        |(session, client, number, filters)| ComingSession { session, client, number, filters },
    )
}

fn any_move() -> impl Strategy<Value = MovePeer> {
    prop_oneof![
        (any::<u64>(), any_coming()).prop_map(|(ticket, session)| {
            MovePeer::Prepare { ticket, session: Box::new(session) }
        }),
        any::<u64>().prop_map(|ticket| MovePeer::Prepared { ticket }),
        any_session().prop_map(|session| MovePeer::CallOff { session }),
        (any_session(), any_worker(), any::<bool>())
            .prop_map(|(session, to, online)| MovePeer::Switch { session, to, online }),
        any_session().prop_map(|session| MovePeer::Switched { session }),
        any_session().prop_map(|session| MovePeer::Over { session }),
    ]
}

fn any_peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        3 => any_plain(),
        2 => any_shared().prop_map(Peer::Shared),
        1 => any_retained().prop_map(Peer::Retained),
        1 => any_move().prop_map(Peer::Move),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn messages_come_back(messages in prop::collection::vec(any_peer(), 1..4)) {
        let mut bytes = Vec::new();
        for message in &messages {
            PeerMessage(message.clone()).encode(NOW, &mut bytes);
        }
        let mut rest = &bytes[..];
        for message in messages {
            let (found, length) = decoded(rest).unwrap();
            prop_assert_eq!(found, message);
            rest = &rest[length..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(mut bytes: Vec<u8>, is_known: bool) {
        if let (true, Some(first)) = (is_known, bytes.first_mut()) {
            *first = PeerMessage::ENCODING_VERSION;
        }
        if let Ok((message, length)) = decoded(&bytes) {
            prop_assert_eq!(encoded(&message), &bytes[..length]);
        }
    }
}
