//! A worker stops in the middle of its work, and the others are told that it is gone: nothing waits
//! for it any longer, and nobody was told that something is kept that only it was given.

use midge_codec::ReasonCode::{
    GrantedQoS1, ImplementationSpecificError, NoMatchingSubscribers, Success,
};
use midge_codec::{Packet, ReasonCode, Unsubscribe};
use midge_core::{DropReason, Fetch, Fetched, FetchedEntry, Owner, SharedStrategy, StoreOp};

use crate::node::{Conn, Node, Setup, TellOnPanic};
use crate::packets::{connect, connect_v3, id, options, persistent, publish, retained};
use crate::received::Received;

/// The worker that is gone in the end; the Clients `a`, `b` and `c` are on workers 0, 1 and 2.
pub(crate) const GONE: usize = 2;

pub(crate) fn setup(shuffle: Option<u64>) -> Setup {
    Setup { workers: 3, shuffle, has_store: true, ..Setup::default() }
}

/// Runs a scenario in several orders.
fn orders(run: impl Fn(&mut Node)) {
    orders_with(&setup(None), run);
}

fn orders_with(setup: &Setup, run: impl Fn(&mut Node)) {
    for shuffle in [None, Some(1), Some(2), Some(3)] {
        let told = TellOnPanic(format!("order seed {shuffle:?}"));
        run(&mut Node::new(&Setup { shuffle, ..setup.clone() }));
        told.well();
    }
}

/// Connects `a`, `b` and `c`, whose Sessions are stored, each on a worker of its own.
fn three(node: &mut Node) -> [Conn; 3] {
    ["a", "b", "c"].map(|client_id| node.connect_with(&persistent(client_id)).0)
}

fn end(node: &mut Node) {
    node.end_worker(GONE);
    for worker in 0..GONE {
        assert!(!node.cores[worker].has_unfinished(), "worker {worker} still waits");
    }
}

/// Takes the answer to a SUBSCRIBE; `None` if it has not come.
fn suback(node: &mut Node, conn: Conn) -> Option<Vec<ReasonCode>> {
    node.take(conn).into_iter().find_map(|packet| match packet {
        Received::SubAck(_, codes) | Received::UnsubAck(_, codes) => Some(codes),
        _ => None,
    })
}

fn queue_unsubscribe(node: &mut Node, conn: Conn, filters: &[&str]) {
    let packet = Unsubscribe {
        packet_id: id(9),
        user_properties: Default::default(),
        filters: filters.into(),
    };
    node.send(conn, &Packet::Unsubscribe(packet));
}

fn is_acknowledged(node: &mut Node, conn: Conn) -> bool {
    let is_one = |packet: &Received| matches!(packet, Received::PubAck(..) | Received::PubRec(..));
    node.take(conn).iter().any(is_one)
}

/// Names of which some have the worker that goes for their home, and some another one.
fn names(prefix: &str) -> Vec<String> {
    (0..24).map(|number| format!("{prefix}{number}/t")).collect()
}

/// Answers what the store was asked for, from what it was told.
pub(crate) fn answer_fetches(node: &mut Node) {
    for _ in 0..10 {
        for fetch in std::mem::take(&mut node.fetches) {
            // Only the worker where the Session is takes it.
            for worker in 0..GONE {
                let fetched = fetched(node, &fetch);
                node.call(worker, |core, turn| core.handle_fetched(fetched, turn));
            }
        }
    }
}

fn fetched(node: &Node, fetch: &Fetch) -> Fetched {
    let ops: Vec<_> = node.stored.iter().flatten().collect();
    let is_confirmed =
        |round| ops.iter().any(|op| matches!(op, StoreOp::Confirm(it) if *it == round));
    let is_finished = |sequence| {
        let (owner, it) = (fetch.owner, sequence);
        ops.iter().any(|op| match op {
            StoreOp::Finished { owner: of, sequence } => (*of, *sequence) == (owner, it),
            _ => false,
        })
    };
    let of_owner = ops.iter().filter_map(|op| match op {
        StoreOp::Enqueue(enqueue) if enqueue.owner == fetch.owner => Some(enqueue),
        _ => None,
    });
    let left = of_owner.filter(|it| it.sequence >= fetch.from && !is_finished(it.sequence));
    let entries: Vec<_> = left
        .map(|it| FetchedEntry {
            sequence: it.sequence,
            delivery: Some(it.delivery.clone()),
            round: it.round.filter(|&round| !is_confirmed(round)),
        })
        .collect();
    let next = entries.last().map_or(fetch.from, |entry| entry.sequence + 1);
    let &Fetch { owner, session, ticket, .. } = fetch;
    Fetched { owner, session, ticket, entries, next }
}

#[test]
fn answers_do_not_wait_for_its_fences() {
    orders(|node| {
        let [a, b, _] = three(node);
        node.subscribe(b, "old", 1);
        node.freeze(GONE);
        node.queue_subscribe(a, &[("t", options(1))], None);
        queue_unsubscribe(node, b, &["old", "unknown"]);
        assert_eq!((suback(node, a), suback(node, b)), (None, None));
        end(node);
        assert_eq!(suback(node, a), Some(vec![GrantedQoS1]));
        let gone = Some(vec![Success, ReasonCode::NoSubscriptionExisted]);
        assert_eq!(suback(node, b), gone);
        // From then on, nobody waits at all.
        assert_eq!(node.subscribe(b, "t", 1), GrantedQoS1);
        node.publish(b, "t", "x", 1);
        assert_eq!((node.texts(a), node.texts(b)), (vec!["x".to_string()], vec!["x".to_string()]));
    });
}

#[test]
fn a_node_may_lose_all_workers_but_one() {
    orders(|node| {
        let [a, ..] = three(node);
        node.freeze(1);
        node.freeze(2);
        node.queue_subscribe(a, &[("t", options(1))], None);
        node.end_worker(1);
        assert_eq!(suback(node, a), None);
        node.end_worker(2);
        assert_eq!(suback(node, a), Some(vec![GrantedQoS1]));
        assert_eq!(node.subscribe(a, "u", 1), GrantedQoS1);
        assert_eq!(node.unsubscribe(a, "u"), Success);
        node.publish(a, "t", "x", 2);
        assert_eq!(node.texts(a), ["x"]);
    });
}

/// Subscribes to each of the filters with one SUBSCRIBE each, before or after the end.
fn subscribe_around_the_end(filters: &[String], is_told: bool) {
    orders(|node| {
        let [a, b, _] = three(node);
        node.freeze(GONE);
        if is_told {
            end(node);
        }
        for filter in filters {
            node.queue_subscribe(a, &[(filter, options(1))], None);
        }
        if !is_told {
            node.settle();
            end(node);
        }
        node.settle();
        let codes: Vec<_> = node
            .take(a)
            .into_iter()
            .filter_map(|packet| match packet {
                Received::SubAck(_, codes) => Some(codes[0]),
                _ => None,
            })
            .collect();
        assert_eq!(codes.len(), filters.len(), "each is answered");
        let refused = codes.iter().filter(|&&code| code == ImplementationSpecificError).count();
        assert!(refused > 0 && refused < codes.len(), "{codes:?}");
        // What was granted works, what was refused has left nothing.
        let granted = codes.iter().filter(|&&code| code == GrantedQoS1).count();
        assert_eq!(granted, codes.len() - refused);
        for filter in filters {
            node.publish(b, plain(filter), "x", 1);
        }
        assert_eq!(node.texts(a).len(), granted);
        let subscriptions = node.clients_of(0)[0].subscriptions;
        assert_eq!(subscriptions, granted);
    });
}

/// The Topic Name that a shared or exclusive subscription without wildcards matches.
fn plain(filter: &str) -> &str {
    let rest = filter.strip_prefix("$exclusive/").or_else(|| filter.strip_prefix("$share/g/"));
    rest.unwrap_or(filter)
}

#[test]
fn a_shared_subscription_is_not_granted_without_its_home() {
    let filters: Vec<_> = names("s").iter().map(|name| format!("$share/g/{name}")).collect();
    subscribe_around_the_end(&filters, false);
    subscribe_around_the_end(&filters, true);
}

#[test]
fn an_exclusive_subscription_is_not_granted_without_its_home() {
    let filters: Vec<_> = names("e").iter().map(|name| format!("$exclusive/{name}")).collect();
    subscribe_around_the_end(&filters, false);
    subscribe_around_the_end(&filters, true);
}

#[test]
fn a_shared_subscription_ends_without_its_home() {
    orders(|node| {
        let [a, ..] = three(node);
        let filters: Vec<_> = names("s").iter().map(|name| format!("$share/g/{name}")).collect();
        for filter in &filters {
            node.subscribe(a, filter, 1);
        }
        node.freeze(GONE);
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        let (before, after) = filters.split_at(12);
        queue_unsubscribe(node, a, before);
        assert_eq!(suback(node, a), None);
        end(node);
        assert_eq!(suback(node, a), Some(vec![Success; before.len()]));
        queue_unsubscribe(node, a, after);
        assert_eq!(suback(node, a), Some(vec![Success; after.len()]));
        assert_eq!(node.clients_of(0)[0].subscriptions, 0);
    });
}

#[test]
fn retained_messages_of_the_others_come() {
    orders(|node| {
        let [a, b, _] = three(node);
        for name in names("r") {
            node.send_publish(b, retained(&name, "kept"));
        }
        node.freeze(GONE);
        node.queue_subscribe(a, &[("#", options(1))], None);
        assert_eq!(suback(node, a), None);
        end(node);
        let received = node.take(a);
        assert!(matches!(&received[0], Received::SubAck(_, codes) if codes == &[GrantedQoS1]));
        let all = names("r").len();
        assert!(received.len() > 1 && received.len() <= all, "{}", received.len() - 1);
        // The next one asks nobody who is gone.
        node.subscribe(b, "#", 1);
        assert_eq!(node.texts(b).len(), received.len() - 1);
    });
}

#[test]
fn a_retained_message_is_not_taken_without_its_home() {
    orders(|node| {
        let [a, b, _] = three(node);
        node.freeze(GONE);
        end(node);
        let mut refused = 0;
        for (name, packet_id) in names("r").iter().zip(1..) {
            let packet = midge_codec::Publish { retain: true, ..publish(name, "x", 1, packet_id) };
            let code = node.publish_acknowledged(b, packet);
            refused += usize::from(code == ImplementationSpecificError);
        }
        assert!(refused > 0 && refused < names("r").len());
        node.subscribe(a, "#", 1);
        assert_eq!(node.texts(a).len(), names("r").len() - refused);
    });
}

#[test]
fn a_walk_of_the_one_that_is_gone_ends() {
    let many: Vec<_> = (0..600).map(|number| format!("w/{number}")).collect();
    orders(|node| {
        let [a, _, c] = three(node);
        for name in &many {
            node.send_publish(a, retained(name, "kept"));
        }
        node.acknowledge(c, false);
        node.subscribe(c, "w/#", 1);
        node.freeze(GONE);
        end(node);
        // The messages go, and so do the nodes that the walks have pinned.
        for name in &many {
            node.send_publish(a, retained(name, ""));
        }
        let left = |node: &Node| {
            (0..GONE).map(|worker| node.cores[worker].usage().retained_messages).sum::<u64>()
        };
        assert_eq!(left(node), 0);
    });
}

#[test]
fn nobody_is_told_that_it_keeps_a_message() {
    for level in [1, 2] {
        orders(|node| {
            let [_, b, c] = three(node);
            let old = node.connect_with(&connect_v3("old", false)).0;
            node.subscribe(c, "t", 1);
            node.freeze(GONE);
            node.publish(b, "t", "lost?", level);
            node.publish(old, "t", "lost?", level);
            assert!(!is_acknowledged(node, b) && !is_acknowledged(node, old));
            end(node);
            assert!(!is_acknowledged(node, old) && node.is_closed(old));
            assert_eq!(node.end_code(b), Some(ImplementationSpecificError));
            // It comes again, and is refused at once, before anybody gets it.
            let again = node.resume(&persistent("b")).0;
            let packet = publish("t", "again", level, 77);
            let code = node.publish_acknowledged(again, packet);
            assert_eq!(code, ImplementationSpecificError);
            let old = node.connect_with(&connect_v3("old", false)).0;
            node.publish(old, "t", "again", level);
            assert!(!is_acknowledged(node, old) && node.is_closed(old));
            let code = node.publish_acknowledged(again, publish("elsewhere", "x", level, 78));
            assert_eq!(code, NoMatchingSubscribers);
        });
    }
}

#[test]
fn what_was_passed_on_to_it_is_not_told_as_kept() {
    let strategy = SharedStrategy::LeastInFlight; // so that the home chooses
    orders_with(&Setup { strategy, ..setup(None) }, |node| {
        let [_, _, c] = three(node);
        let topics = names("p");
        let mut publishers = Vec::new();
        for topic in &topics {
            assert_eq!(node.subscribe(c, &format!("$share/g/{topic}"), 1), GrantedQoS1);
            publishers.push(node.connect(topic)); // on the first worker
            for other in [".", ".."] {
                node.connect(&format!("{topic}{other}"));
            }
        }
        let expect_none = |node: &mut Node| {
            for (&publisher, topic) in publishers.iter().zip(&topics) {
                assert!(!is_acknowledged(node, publisher), "{topic}");
            }
        };
        node.freeze(GONE);
        for (&publisher, topic) in publishers.iter().zip(&topics) {
            node.publish(publisher, topic, "x", 1);
        }
        expect_none(node);
        end(node);
        expect_none(node);
        assert!(publishers.iter().all(|&publisher| node.is_closed(publisher)));
    });
}

#[test]
fn what_it_said_it_had_sent_is_not_waited_for() {
    orders(|node| {
        let [a, _, c] = three(node);
        for (name, packet_id) in names("r").iter().zip(1..) {
            let packet = publish(name, "kept", 1, packet_id);
            node.queue(c, &Packet::Publish(midge_codec::Publish { retain: true, ..packet }));
        }
        node.turn(GONE);
        node.queue_subscribe(a, &[("#", options(1))], None);
        // The first worker learns how much is on its way to the second one, which never gets it.
        for _ in 0..5 {
            node.turn(0);
            node.turn(GONE);
        }
        node.freeze(GONE);
        node.lose_unsent(GONE, 1);
        end(node);
        assert_eq!(suback(node, a), Some(vec![GrantedQoS1]));
    });
}

#[test]
fn its_clients_are_chosen_no_more() {
    orders(|node| {
        let [a, b, c] = three(node);
        let topics = names("m");
        for topic in &topics {
            let filter = format!("$share/g/{topic}");
            let codes = [b, c].map(|member| node.subscribe(member, &filter, 1));
            assert_eq!(codes, [GrantedQoS1; 2]);
        }
        node.freeze(GONE);
        end(node);
        for (topic, packet_id) in topics.iter().zip(1..) {
            for packet_id in [packet_id, 100 + packet_id] {
                let code = node.publish_acknowledged(a, publish(topic, "x", 1, packet_id));
                assert_eq!(code, Success, "{topic}");
            }
        }
        assert_eq!(node.texts(b).len(), 2 * topics.len());
    });
}

#[test]
fn a_shared_subscription_keeps_nothing_that_does_not_count() {
    orders(|node| {
        let [a, b, c] = three(node);
        let topics = names("k");
        for topic in &topics {
            node.subscribe(b, &format!("$share/g/{topic}"), 2);
        }
        node.subscribe(c, "+/t", 2);
        node.lose(b);
        node.freeze(GONE);
        for (topic, packet_id) in topics.iter().zip(1..) {
            node.queue(a, &Packet::Publish(publish(topic, "void", 2, packet_id)));
        }
        node.settle();
        end(node);
        let kept = node.dropped(DropReason::PeerGone);
        assert!(kept > 0 && kept < topics.len() as u64, "{kept}: some homes are gone");
        let b = node.resume(&persistent("b")).0;
        answer_fetches(node);
        assert_eq!(node.texts(b), Vec::<String>::new());
        let is_counted = |op: &&StoreOp| matches!(op, StoreOp::Confirm(_));
        assert!(!node.stored.iter().flatten().any(|op| is_counted(&op)));
    });
}

/// The messages of groups go to the other member, on the worker that is gone, when the Session
/// ends.
#[test]
fn a_session_that_ends_meanwhile_loses_nothing_of_its_groups() {
    orders(|node| {
        let [a, b, c] = three(node);
        let topics = names("g");
        for topic in &topics {
            node.subscribe(b, &format!("$share/g/{topic}"), 1);
        }
        node.acknowledge(b, false);
        for (topic, packet_id) in topics.iter().zip(1..) {
            let code = node.publish_acknowledged(a, publish(topic, topic, 1, packet_id));
            assert_eq!(code, Success);
        }
        for topic in &topics {
            node.subscribe(c, &format!("$share/g/{topic}"), 1);
        }
        node.freeze(GONE);
        node.connect("b");
        answer_fetches(node);
        end(node);
        answer_fetches(node);
        for topic in &topics {
            assert!(is_left(node, topic.as_bytes()), "{topic} was acknowledged");
        }
        assert!(is_over_after_restart(node, "b"));
    });
}

#[test]
fn a_session_that_is_said_to_be_gone_does_not_come_back() {
    orders(|node| {
        let [_, b, c] = three(node);
        node.subscribe(c, "t", 1);
        for other in [".", ".."] {
            node.home(other);
        }
        let beside = node.open(1);
        node.send(beside, &Packet::Connect(Box::new(persistent("beside"))));
        node.freeze(GONE);
        let again = node.begin_connect(&connect("b"));
        node.turn(1);
        // In the turn in which the CONNECT is accepted.
        node.queue(beside, &Packet::Publish(publish("t", "x", 1, 1)));
        node.settle();
        assert_eq!(node.take(again), [], "it waits for all of the round");
        end(node);
        assert!(node.is_closed(beside) && node.is_closed(b));
        assert!(!node.take_connack(again).session_present);
        assert!(is_over_after_restart(node, "b"));
    });
}

/// Whether no Session of this Client would go on after a restart.
fn is_over_after_restart(node: &Node, client_id: &str) -> bool {
    let mut record = None;
    for op in node.stored.iter().flatten() {
        match op {
            StoreOp::Session(it) if &*it.client_id == client_id => record = Some(it),
            StoreOp::Ended(Owner::Session(number))
                if record.is_some_and(|it| it.number == *number) =>
            {
                record = None;
            }
            _ => (),
        }
    }
    record.is_none_or(|record| record.expiry_seconds == 0)
}

/// Whether the store would still have a message after a restart, for whomever.
fn is_left(node: &Node, payload: &[u8]) -> bool {
    let ops = || node.stored.iter().flatten();
    let mut kept = ops().filter_map(|op| match op {
        StoreOp::Enqueue(it) if it.delivery.message.payload() == payload => {
            Some((it.owner, it.sequence))
        }
        _ => None,
    });
    kept.any(|(of, it)| {
        !ops().any(|op| match op {
            StoreOp::Finished { owner, sequence } => (*owner, *sequence) == (of, it),
            StoreOp::Ended(owner) => *owner == of,
            _ => false,
        })
    })
}

/// Lets `a` publish at QoS 2 to the stored Sessions of `b` and `c`, of which `c` is gone.
fn broken_round(node: &mut Node) -> [Conn; 3] {
    let [a, b, c] = three(node);
    node.subscribe(b, "#", 2);
    node.subscribe(c, "t", 2);
    node.freeze(GONE);
    node.publish(a, "t", "void", 2);
    assert_eq!(node.texts(b), Vec::<String>::new(), "it waits for the round");
    [a, b, c]
}

#[test]
fn a_message_of_a_broken_round_does_not_count_and_holds_up_nothing() {
    orders(|node| {
        let [a, b, _] = broken_round(node);
        end(node);
        answer_fetches(node);
        assert!(node.is_closed(a));
        assert_eq!(node.texts(b), Vec::<String>::new());
        assert_eq!(node.dropped(DropReason::PeerGone), 1);
        let is_confirmed = node.stored.iter().flatten().any(|op| matches!(op, StoreOp::Confirm(_)));
        assert!(!is_confirmed, "neither now nor after a restart");
        // The same Packet Identifier is a new message, and later rounds go on.
        let a = node.resume(&persistent("a")).0;
        assert_eq!(node.publish_acknowledged(a, publish("u", "new", 2, 1)), Success);
        answer_fetches(node);
        assert_eq!(node.texts(b), ["new"]);
    });
}

#[test]
fn the_publisher_in_a_broken_round_is_not_remembered_either() {
    orders(|node| {
        let [a, _, _] = broken_round(node);
        node.lose(a); // before anybody knows
        end(node);
        let awaited =
            node.stored.iter().flatten().any(|op| matches!(op, StoreOp::AwaitRelease { .. }));
        assert!(!awaited);
        let a = node.resume(&persistent("a")).0;
        assert_eq!(node.publish_acknowledged(a, publish("u", "new", 2, 1)), Success);
    });
}

/// Lets `c`, which is gone then, publish to the stored Session of `a`, and `b` after it. The
/// receipts of the store come or do not come to the worker of `c`.
fn round_of_the_one_that_is_gone(node: &mut Node, closes: bool) -> Conn {
    let [a, b, c] = three(node);
    node.subscribe(a, "t", 2);
    node.hold_receipts(true);
    let before = node.stored.len();
    node.queue(c, &Packet::Publish(publish("t", "of c", 2, 1)));
    let mut turns = 0;
    while !node.stored[before..].iter().flatten().any(is_enqueue) {
        node.turn(GONE);
        node.turn(0);
        turns += 1;
        assert!(turns < 100, "it never comes to the store");
    }
    if closes {
        node.settle();
    }
    node.freeze(GONE);
    node.hold_receipts(false);
    node.publish(b, "t", "of b", 1);
    let is_confirmed = node.stored.iter().flatten().any(|op| matches!(op, StoreOp::Confirm(_)));
    assert_eq!(is_confirmed, closes);
    a
}

fn is_enqueue(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Enqueue(enqueue) if matches!(enqueue.owner, Owner::Session(_)))
}

#[test]
fn the_store_says_what_counts_of_the_rounds_of_the_one_that_is_gone() {
    for (closes, expected) in [(false, &["of b"][..]), (true, &["of c", "of b"][..])] {
        orders(|node| {
            let a = round_of_the_one_that_is_gone(node, closes);
            end(node);
            answer_fetches(node);
            assert_eq!(node.texts(a), expected, "closed: {closes}");
        });
    }
}

#[test]
fn an_answer_that_is_older_than_the_end_is_asked_for_again() {
    orders(|node| {
        let a = round_of_the_one_that_is_gone(node, true);
        // The queue is fetched again, and answered as the store saw it before the confirmation.
        node.lose(a);
        let a = node.connect_with(&persistent("a")).0;
        let early: Vec<_> = std::mem::take(&mut node.fetches);
        let of_a = early.iter().find(|fetch| fetch.session.worker.index() == 0);
        let of_a = of_a.expect("what waits is fetched");
        let mut old = fetched(node, of_a);
        let round = node.stored.iter().flatten().find_map(|op| match op {
            StoreOp::Enqueue(enqueue) => enqueue.round,
            _ => None,
        });
        old.entries[0].round = round;
        end(node);
        node.call(0, |core, turn| core.handle_fetched(old, turn));
        assert_eq!(node.texts(a), Vec::<String>::new());
        answer_fetches(node);
        assert_eq!(node.texts(a), ["of c", "of b"]);
    });
}
