//! Who takes part: a table of publishers and a table of subscribers.

use midge_codec::ProtocolVersion::{V3_1_1, V5};
use midge_codec::QoS;

use crate::campaign::SELDOM;
use crate::common::random::Random;
use crate::message::Kind;
use crate::publisher::{Plan, Publisher, PublisherQoS};
use crate::resubscriber::Resubscriber;
use crate::subscriber::{Missing, Part, Presence, Subscriber, Wants};

const AT_LEAST: PublisherQoS = PublisherQoS::Always(QoS::AtLeastOnce);
const EXACTLY: PublisherQoS = PublisherQoS::Always(QoS::ExactlyOnce);

const PLAN: Plan = Plan {
    kind: Kind::Traffic,
    index: 0,
    version: V5,
    qos: EXACTLY,
    window: 8,
    pause_micros_max: 10_000,
    subscribes: true,
};

/// The last publisher sets retained messages.
const PUBLISHERS: &[Plan] = &[
    // For the subscriber that takes one message at a time.
    Plan { index: 0, window: 2, pause_micros_max: 60_000, ..PLAN },
    // For the slow subscriber.
    Plan { index: 1, window: 4, pause_micros_max: 30_000, version: V3_1_1, ..PLAN },
    Plan { index: 2, window: 16, version: V3_1_1, ..PLAN },
    Plan { index: 3, qos: AT_LEAST, ..PLAN },
    Plan { index: 4, qos: AT_LEAST, window: 16, version: V3_1_1, ..PLAN },
    Plan { index: 5, qos: PublisherQoS::Both, window: 32, ..PLAN },
    // Only what it publishes makes its Session durable.
    Plan { index: 6, window: 4, subscribes: false, ..PLAN },
    Plan { kind: Kind::Retained, index: 7, qos: PublisherQoS::Both, ..PLAN },
];

/// The publisher that sets retained messages.
pub(crate) const RETAINER: usize = 7;

const PART: Part = Part {
    name: "",
    version: V5,
    qos: QoS::ExactlyOnce,
    wants: Wants::All("t/+"),
    presence: Presence::Always,
    receive_maximum: 0,
    is_slow: false,
    share: None,
};

const PARTS: &[Part] = &[
    Part { name: "live", ..PART },
    Part { name: "live-3", version: V3_1_1, wants: Wants::All("t/#"), ..PART },
    Part { name: "live-at-qos-1", qos: QoS::AtLeastOnce, ..PART },
    Part { name: "one-at-a-time", wants: Wants::Publisher(0), receive_maximum: 1, ..PART },
    Part { name: "slow", version: V3_1_1, wants: Wants::Publisher(1), is_slow: true, ..PART },
    Part { name: "seldom", presence: Presence::EveryNth(SELDOM), ..PART },
    Part {
        name: "seldom-3",
        version: V3_1_1,
        wants: Wants::All("t/#"),
        presence: Presence::EveryNth(SELDOM),
        ..PART
    },
    Part { name: "sometimes", presence: Presence::Sometimes, receive_maximum: 7, ..PART },
    Part { name: "group-member-1", share: Some("group"), ..PART },
    Part { name: "group-member-2", share: Some("group"), presence: Presence::Sometimes, ..PART },
    Part {
        name: "group-member-3",
        share: Some("group"),
        version: V3_1_1,
        presence: Presence::Sometimes,
        ..PART
    },
    // A shared subscription whose members may all be away at once.
    Part { name: "pair-member-1", share: Some("pair"), presence: Presence::Sometimes, ..PART },
    Part {
        name: "pair-member-2",
        share: Some("pair"),
        version: V3_1_1,
        presence: Presence::Sometimes,
        ..PART
    },
    Part { name: "heir", wants: Wants::Wills, ..PART },
];

/// The number of subscribers.
pub(crate) const SUBSCRIBERS: usize = PARTS.len();

pub(crate) fn publishers(random: &Random) -> Vec<Publisher> {
    PUBLISHERS.iter().map(|plan| Publisher::new(*plan, random)).collect()
}

/// Returns the subscribers. The members of a shared subscription track missing messages together.
pub(crate) fn subscribers(publishers: usize, random: &Random) -> Vec<Subscriber> {
    let mut subscribers: Vec<Subscriber> = Vec::new();
    for part in PARTS {
        let others =
            subscribers.iter().find(|it| part.share.is_some() && it.part.share == part.share);
        let missing = others.map_or_else(Missing::default, |it| Missing::clone(&it.missing));
        subscribers.push(Subscriber::new(*part, publishers, missing, random));
    }
    subscribers
}

pub(crate) fn resubscribers(random: &Random) -> Vec<Resubscriber> {
    let versions = [V5, V3_1_1];
    (0..).zip(versions).map(|(index, version)| Resubscriber::new(index, version, random)).collect()
}
