//! Subscriptions: overlaps, options, identifiers, `$`-topics, refusals, exclusive and automatic
//! subscriptions, and rewriting.

use midge_codec::{Packet, ReasonCode, SubscriptionOptions};
use midge_core::{AutoSubscription, DropReason, Event, Limits, Rewrite, StoreOp, TopicRules};

use crate::node::{Setup, scenario, scenario_with};
use crate::packets::{connect, connect_v3, identifier, options, persistent, publish, with_alias};
use crate::received::Received;
use crate::rules::Right;

#[test]
fn overlapping_subscriptions_make_one_delivery() {
    scenario(|node| {
        let conn = node.connect("a");
        node.subscribe_with(conn, &[("s/+", options(0))], identifier(1));
        node.subscribe_with(conn, &[("s/#", options(2))], identifier(2));
        node.subscribe_with(conn, &[("other", options(2))], identifier(3));
        node.subscribe(conn, "#", 1);
        let publisher = node.connect("p");
        node.publish(publisher, "s/1", "x", 2);
        let mut got = node.message(conn);
        got.identifiers.sort_unstable();
        assert_eq!((got.qos, got.identifiers), (2, vec![1, 2]));
    });
}

#[test]
fn a_subscription_can_be_repeated_while_the_store_is_full() {
    scenario_with(Setup { has_store: true, ..Setup::default() }, |node| {
        let conn = node.connect_with(&persistent("a")).0;
        for filter in ["t", "$share/g/t"] {
            assert_eq!(node.subscribe(conn, filter, 1), ReasonCode::GrantedQoS1);
        }
        for worker in 0..node.cores.len() {
            node.call(worker, |core, turn| core.set_store_full(true, turn));
        }
        node.stored.clear();
        for filter in ["t", "$share/g/t"] {
            assert_eq!(node.subscribe(conn, filter, 1), ReasonCode::GrantedQoS1);
        }
        let stores = |op: &StoreOp| matches!(op, StoreOp::Subscribed { .. });
        assert!(!node.stored.iter().flatten().any(stores), "the store has them already");
        assert_eq!(node.subscribe(conn, "u", 1), ReasonCode::QuotaExceeded);
        // Another QoS is another subscription, and takes up no more room.
        assert_eq!(node.subscribe(conn, "t", 2), ReasonCode::GrantedQoS2);
        assert_eq!(node.stored.iter().flatten().filter(|&op| stores(op)).count(), 1);
    });
}

#[test]
fn subscribing_again_replaces() {
    scenario(|node| {
        let conn = node.connect("a");
        node.subscribe_with(conn, &[("t", options(2))], identifier(1));
        node.subscribe_with(conn, &[("t", options(0))], identifier(268_435_455));
        let publisher = node.connect("p");
        node.publish(publisher, "t", "x", 2);
        let got = node.message(conn);
        assert_eq!((got.qos, got.identifiers), (0, vec![268_435_455]));
        let subscriptions: usize = node.cores.iter().map(|core| core.usage().subscriptions).sum();
        assert_eq!(subscriptions, 1);
    });
}

#[test]
fn no_local_keeps_own_messages_away() {
    scenario(|node| {
        let conn = node.connect("a");
        let no_local = SubscriptionOptions { no_local: true, ..options(1) };
        node.subscribe_with(conn, &[("t", no_local)], None);
        let other = node.connect("b");
        node.publish(conn, "t", "own", 1);
        node.publish(other, "t", "other", 1);
        assert_eq!(node.texts(conn), ["other"]);
        let code = node.publish_acknowledged(conn, publish("t", "own", 1, 77));
        assert_eq!(code, ReasonCode::NoMatchingSubscribers);
        node.subscribe(conn, "#", 0);
        node.publish(conn, "t", "own", 1);
        assert_eq!(node.message(conn).qos, 0, "by the subscription that takes it");
    });
}

#[test]
fn an_ended_subscription_delivers_nothing_more() {
    scenario(|node| {
        let conn = node.connect("a");
        let publisher = node.connect("p");
        for filter in ["t/1", "t/+", "#", "$share/g/t/1", "$queue/t/1", "$exclusive/t/1"] {
            assert_eq!(node.subscribe(conn, filter, 1), ReasonCode::GrantedQoS1, "{filter}");
            node.publish(publisher, "t/1", "x", 1);
            assert_eq!(node.texts(conn), ["x"], "{filter}");
            assert_eq!(node.unsubscribe(conn, filter), ReasonCode::Success, "{filter}");
            assert_eq!(node.unsubscribe(conn, filter), ReasonCode::NoSubscriptionExisted);
            node.publish(publisher, "t/1", "x", 1);
            assert_eq!(node.texts(conn), [""; 0], "{filter}");
        }
        let subscriptions: usize = node.cores.iter().map(|core| core.usage().subscriptions).sum();
        assert_eq!(subscriptions, 0);
    });
}

#[test]
fn s11_shared_and_plain_are_not_mixed_up() {
    scenario(|node| {
        let conn = node.connect("a");
        let publisher = node.connect("p");
        node.subscribe(conn, "$share/g/t", 1);
        assert_eq!(node.unsubscribe(conn, "t"), ReasonCode::NoSubscriptionExisted);
        node.subscribe(conn, "t", 1);
        assert_eq!(node.unsubscribe(conn, "$share/h/t"), ReasonCode::NoSubscriptionExisted);
        node.publish(publisher, "t", "x", 1);
        assert_eq!(node.texts(conn), ["x", "x"], "two subscriptions, two deliveries");
        assert_eq!(node.unsubscribe(conn, "$share/g/t"), ReasonCode::Success);
        node.publish(publisher, "t", "y", 1);
        assert_eq!(node.texts(conn), ["y"]);
    });
}

#[test]
fn s11_exclusive_and_plain_are_not_mixed_up() {
    scenario(|node| {
        let conn = node.connect("a");
        let publisher = node.connect("p");
        let filters = ["t", "$exclusive/t"];
        for (kept, given_up) in [(0, 1), (1, 0)] {
            node.subscribe_with(conn, &filters.map(|filter| (filter, options(1))), None);
            node.publish(publisher, "t", "x", 1);
            assert_eq!(node.texts(conn), ["x"]);
            node.unsubscribe(conn, filters[given_up]);
            node.publish(publisher, "t", "y", 1);
            assert_eq!(node.texts(conn), ["y"], "{} is left", filters[kept]);
            node.unsubscribe(conn, filters[kept]);
            node.publish(publisher, "t", "z", 1);
            assert_eq!(node.texts(conn), [""; 0]);
        }
        // Another Client has the exclusive one: the claim fails, and the existing one stays.
        let owner = node.connect("b");
        node.subscribe(owner, "$exclusive/t", 1);
        let codes = node.subscribe_with(conn, &filters.map(|filter| (filter, options(1))), None);
        assert_eq!(codes[1], ReasonCode::QuotaExceeded);
        node.publish(publisher, "t", "x", 1);
        assert_eq!(node.texts(conn), ["x"]);
    });
}

#[test]
fn s08_wildcards_do_not_reach_server_topics() {
    scenario(|node| {
        let all = node.connect_with(&connect_v3("a", true)).0;
        let named = node.connect("b");
        node.subscribe(all, "#", 0);
        node.subscribe(all, "+/x", 0);
        node.subscribe(named, "$own/#", 0);
        let publisher = node.connect("p");
        node.publish(publisher, "$own/x", "server topic", 0);
        node.publish(publisher, "/", "two empty levels", 0);
        assert_eq!(node.texts(all), ["two empty levels"]);
        assert_eq!(node.texts(named), ["server topic"]);
    });
}

#[test]
fn nobody_publishes_to_the_brokers_own_topics() {
    scenario(|node| {
        let conn = node.connect("a");
        node.subscribe(conn, "$SYS/#", 1);
        for topic in ["$SYS/x", "$SYS", "$events/x", "$delayed/0/$SYS/x"] {
            let code = node.publish_acknowledged(conn, publish(topic, "x", 1, 9));
            assert_eq!(code, ReasonCode::NotAuthorized, "{topic}");
        }
        assert_eq!(node.texts(conn), [""; 0]);
    });
}

#[test]
fn z12_a_filter_that_is_not_allowed_fails_alone() {
    scenario(|node| {
        node.rules.deny(Right::Subscribe, "a", "secret/#");
        let conn = node.connect("a");
        let nested = "$share/g/$exclusive/t";
        let filters = ["ok/1", "secret/#", nested, "$share/g/secret/#", "$queue", "ok/2"];
        let filters = filters.map(|filter| (filter, options(1)));
        let codes = node.subscribe_with(conn, &filters, None);
        let (ok, no) = (ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized);
        let invalid = ReasonCode::TopicFilterInvalid;
        assert_eq!(codes, [ok, no, invalid, no, invalid, ok], "the inner filter counts");
        let publisher = node.connect("p");
        for topic in ["ok/1", "ok/2", "secret/x"] {
            node.publish(publisher, topic, topic, 1);
        }
        assert_eq!(node.texts(conn), ["ok/1", "ok/2"]);
    });
}

#[test]
fn subscriptions_of_a_session_are_limited() {
    let limits = Limits { subscriptions_per_session_max: 2, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let conn = node.connect("a");
        let filters = ["1", "2", "3", "2"].map(|filter| (filter, options(0)));
        let codes = node.subscribe_with(conn, &filters, None);
        let (ok, full) = (ReasonCode::Success, ReasonCode::QuotaExceeded);
        assert_eq!(codes, [ok, ok, full, ok]);
        assert_eq!(node.counters().limits_exceeded, 1);
    });
}

#[test]
fn an_exclusive_subscription_has_one_owner() {
    scenario(|node| {
        let first = node.connect("a");
        let second = node.connect_with(&persistent("b")).0;
        for filter in ["$exclusive/one", "$exclusive/two", "$exclusive/three"] {
            let topic = filter.strip_prefix("$exclusive/").unwrap();
            assert_eq!(node.subscribe(first, filter, 0), ReasonCode::Success);
            assert_eq!(node.subscribe(first, filter, 0), ReasonCode::Success, "its own again");
            assert_eq!(node.subscribe(second, filter, 0), ReasonCode::QuotaExceeded);
            assert_eq!(node.unsubscribe(second, filter), ReasonCode::NoSubscriptionExisted);
            node.publish(second, topic, "x", 0);
            assert_eq!((node.texts(first).len(), node.texts(second).len()), (1, 0));
        }
        node.unsubscribe(first, "$exclusive/one");
        assert_eq!(node.subscribe(second, "$exclusive/one", 0), ReasonCode::Success);
        node.disconnect(first, ReasonCode::Success);
        assert_eq!(node.subscribe(second, "$exclusive/two", 0), ReasonCode::Success);
        node.lose(second);
        let third = node.connect("c");
        assert_eq!(
            node.subscribe(third, "$exclusive/two", 0),
            ReasonCode::QuotaExceeded,
            "the owner's session lives"
        );
    });
}

#[test]
fn a_refused_exclusive_claim_leaves_nothing_behind() {
    // The claim is given up and made again before the first answer arrives, while another Client
    // gets it in between.
    for seed in 0..200 {
        let told = crate::node::TellOnPanic(format!("order seed {seed}"));
        let setup = Setup { workers: 3, shuffle: Some(seed), ..Setup::default() };
        let mut node = crate::node::Node::new(&setup);
        let conns = ["a", "b", "c"].map(|name| node.connect(name));
        let filter = ["$exclusive/one"];
        for conn in conns {
            for packet_id in [100, 101, 102] {
                node.queue_subscribe(conn, &[(filter[0], options(0))], None);
                if packet_id < 102 {
                    let packet = midge_codec::Unsubscribe {
                        packet_id: crate::packets::id(packet_id),
                        user_properties: midge_codec::UserProperties::default(),
                        filters: filter[..].into(),
                    };
                    node.queue(conn, &Packet::Unsubscribe(packet));
                }
            }
        }
        node.settle();
        conns.iter().for_each(|&conn| drop(node.take(conn)));
        let publisher = node.connect("p");
        node.publish(publisher, "one", "x", 0);
        let receivers = conns.iter().filter(|&&conn| !node.texts(conn).is_empty()).count();
        assert_eq!(receivers, 1);
        told.well();
    }
}

fn rewrite(from: &str, to: &str) -> Rewrite {
    Rewrite { from: from.into(), to: to.into(), publish: true, subscribe: true }
}

#[test]
fn z13_what_counts_is_the_rewritten_topic() {
    let rewrites = vec![rewrite("old/+/#", "new/$2/$1"), rewrite("up", "$SYS/up")];
    let topics = TopicRules { rewrites, subscriptions: vec![] };
    scenario_with(Setup { topics, ..Setup::default() }, |node| {
        node.rules.deny(Right::Publish, "a", "new/secret/#");
        node.rules.deny(Right::Subscribe, "a", "new/secret/x");
        let conn = node.connect("a");
        node.subscribe(conn, "new/#", 0);
        assert_eq!(node.subscribe(conn, "old/x/secret", 0), ReasonCode::NotAuthorized);
        let code = node.publish_acknowledged(conn, publish("old/x/secret", "x", 1, 5));
        assert_eq!(code, ReasonCode::NotAuthorized);
        let code = node.publish_acknowledged(conn, publish("up", "x", 1, 5));
        assert_eq!(code, ReasonCode::NotAuthorized);
        node.send_publish(conn, with_alias(publish("old/1/a/b", "x", 0, 0), 1));
        node.send_publish(conn, with_alias(publish("", "y", 0, 0), 1));
        let topics: Vec<_> = node.messages(conn).into_iter().map(|got| got.topic).collect();
        assert_eq!(topics, ["new/a/b/1", "new/a/b/1"]);
        assert_eq!(node.subscribe(conn, "old/2/t", 0), ReasonCode::Success);
        assert_eq!(node.unsubscribe(conn, "old/2/t"), ReasonCode::Success);
    });
}

#[test]
fn automatic_subscriptions_are_made_for_every_client() {
    let subscription =
        |filter: &str| AutoSubscription { filter: filter.into(), options: options(1) };
    let rules = ["inbox/${client_id}", "user/${user_name}", "$share/g/work", "news"];
    let topics = TopicRules { rewrites: vec![], subscriptions: rules.map(subscription).to_vec() };
    scenario_with(Setup { topics, ..Setup::default() }, |node| {
        node.rules.deny(Right::Subscribe, "a", "news");
        let packet = midge_codec::Connect { user_name: Some("u"), ..connect("a") };
        let conn = node.connect_with(&packet).0;
        let evil = node.connect_with(&connect("+")).0;
        assert_eq!(node.take(conn), [], "no SUBACK for what was not asked for");
        for topic in ["inbox/a", "inbox/b", "user/u", "news"] {
            node.publish(evil, topic, topic, 1);
        }
        assert_eq!(node.texts(conn), ["inbox/a", "user/u"]);
        assert_eq!(node.texts(evil), ["news"], "a wildcard in a name widens nothing");
        let subscribed = |event: &&Event| matches!(event, Event::Subscribed { .. });
        assert!(node.events.iter().filter(subscribed).count() >= 3);
        let told = node.events.iter().filter_map(|event| match event {
            Event::NotSubscribed { client, filter, .. } => Some((&*client.client_id, &**filter)),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [("+", rules[0]), ("+", rules[1])]);
    });
}

#[test]
fn incoming_topic_aliases_are_checked_and_forgotten() {
    scenario(|node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "#", 0);
        let conn = node.connect_with(&persistent("a")).0;
        node.send_publish(conn, with_alias(publish("t/1", "1", 0, 0), 16));
        node.send_publish(conn, with_alias(publish("", "2", 0, 0), 16));
        node.send_publish(conn, with_alias(publish("t/2", "3", 0, 0), 16));
        node.send_publish(conn, with_alias(publish("", "4", 0, 0), 16));
        let topics: Vec<_> = node.messages(receiver).into_iter().map(|got| got.topic).collect();
        assert_eq!(topics, ["t/1", "t/1", "t/2", "t/2"]);
        node.lose(conn);
        let conn = node.connect_with(&persistent("a")).0;
        node.send_publish(conn, with_alias(publish("", "5", 0, 0), 16));
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
        let conn = node.connect_with(&persistent("a")).0;
        node.send_publish(conn, with_alias(publish("t", "6", 0, 0), 17));
        assert_eq!(node.end_code(conn), Some(ReasonCode::TopicAliasInvalid));
        assert_eq!(node.texts(receiver), [""; 0]);
    });
}

#[test]
fn outgoing_topic_aliases_stay_within_what_the_client_allows() {
    scenario(|node| {
        let mut packet = persistent("r");
        packet.properties.topic_alias_maximum = Some(2);
        let receiver = node.connect_with(&packet).0;
        node.subscribe(receiver, "#", 1);
        let publisher = node.connect("p");
        for _ in 0..2 {
            for topic in ["long/1", "long/2", "long/3"] {
                node.publish(publisher, topic, topic, 1);
            }
        }
        let messages = node.messages(receiver);
        assert!(messages.iter().all(|message| message.topic == message.text()));
        let omitted: Vec<_> = messages.iter().map(|message| message.topic_omitted).collect();
        assert_eq!(omitted, [false, false, false, true, true, false]);
        assert!(messages.iter().all(|message| message.alias.is_none_or(|alias| alias <= 2)));
        node.acknowledge(receiver, false);
        node.publish(publisher, "long/1", "again", 1);
        assert!(node.message(receiver).topic_omitted);
        node.lose(receiver);
        let receiver = node.connect_with(&packet).0;
        let again = node.message(receiver);
        assert_eq!((again.topic.as_str(), again.topic_omitted), ("long/1", false));
    });
}

#[test]
fn delayed_messages_come_when_their_time_has_come() {
    scenario(|node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "#", 1);
        let publisher = node.connect("p");
        node.publish(publisher, "$delayed/10/t", "later", 1);
        node.publish(publisher, "$delayed/5/t", "sooner", 1);
        node.publish(publisher, "$delayed/0/t", "now", 1);
        node.lose(publisher);
        node.advance(0);
        assert_eq!(node.texts(receiver), ["now"]);
        node.advance(9_999);
        assert_eq!(node.texts(receiver), ["sooner"]);
        node.advance(1);
        assert_eq!(node.message(receiver).topic, "t");
        let publisher = node.connect("p");
        for bad in ["$delayed/x/t", "$delayed/5/", "$delayed/5", "$delayed/5/$delayed/5/t"] {
            let code = node.publish_acknowledged(publisher, publish(bad, "x", 1, 9));
            assert_eq!(code, ReasonCode::TopicNameInvalid, "{bad}");
        }
    });
}

#[test]
fn delayed_messages_are_limited_and_checked() {
    let limits = Limits { delayed_messages_max: 1, delay_seconds_max: 60, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        node.rules.deny(Right::Publish, "p", "secret");
        let publisher = node.connect("p");
        let mut code = |topic| node.publish_acknowledged(publisher, publish(topic, "x", 1, 9));
        assert_eq!(code("$delayed/61/t"), ReasonCode::TopicNameInvalid);
        assert_eq!(code("$delayed/1/secret"), ReasonCode::NotAuthorized);
        assert_eq!(code("$delayed/60/t"), ReasonCode::Success);
        assert_eq!(code("$delayed/60/t"), ReasonCode::QuotaExceeded);
        assert_eq!(node.dropped(DropReason::DelayedLimit), 1);
        node.rules.deny(Right::Publish, "p", "t");
        node.advance(60_000);
        assert_eq!(node.dropped(DropReason::PublishNotAuthorized), 2, "also when it is due");
    });
}

#[test]
fn suback_comes_before_retained_messages_and_only_when_all_workers_know() {
    scenario(|node| {
        let publisher = node.connect("p");
        node.send_publish(publisher, crate::packets::retained("t", "kept"));
        let conn = node.connect("a");
        let packet_id = node.queue_subscribe(conn, &[("t", options(0))], None);
        node.settle();
        let received = node.take(conn);
        let is_suback = |packet: &Received| matches!(packet, Received::SubAck(..));
        assert!(is_suback(&received[0]), "{packet_id} {received:?}");
        assert!(matches!(&received[1], Received::Publish(got) if got.retain));
    });
}
