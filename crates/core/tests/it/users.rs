//! As whom a Client is admitted: what is known of its user, when its credential ends, and what
//! becomes of both when it authenticates anew, comes back, or when the policy changes.

use std::sync::Arc;
use std::time::Duration;

use midge_codec::{Auth, Packet, ReasonCode, UserProperties};
use midge_core::{
    AuthAnswer, Event, Recovered, RecoveredQueue, RecoveredSession, StoreOp, SubscriptionRecord,
    User, UserAttribute, UserFacts,
};

use crate::node::{ADDRESS, Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, options, persistent, publish, will};
use crate::received::Received;
use crate::rules::Right;

fn text(value: &str) -> UserAttribute {
    UserAttribute::Text(value.into())
}

/// The user `ada` on this floor.
fn ada(floor: &str) -> User {
    let attributes = [("floor".into(), text(floor))].into();
    let facts = UserFacts { attributes, ..UserFacts::default() };
    User { facts, ..User::named("ada") }
}

fn allow(user: User) -> AuthAnswer {
    AuthAnswer::Allow { user, data: None }
}

/// Admits everybody as this user from now on.
fn admit_as(node: &mut Node, user: User) {
    node.authenticate = Box::new(move |_| Some(allow(user.clone())));
}

fn with_method(client_id: &str) -> midge_codec::Connect<'_> {
    let mut packet = persistent(client_id);
    packet.properties.authentication_method = Some("M");
    packet
}

fn authenticate_anew(node: &mut Node, conn: Conn) {
    let packet = Packet::Auth(Auth {
        reason_code: ReasonCode::ReAuthenticate,
        authentication_method: Some("M"),
        authentication_data: None,
        reason_string: None,
        user_properties: UserProperties::default(),
    });
    node.send(conn, &packet);
}

/// What is known of who publishes `conn`'s next message.
fn publisher(node: &mut Node, conn: Conn) -> Arc<midge_core::Identity> {
    let worker = node.sockets[conn.0].worker;
    let id = node.sockets[conn.0].id;
    Arc::clone(node.cores[worker].client_of(id).expect("it is connected"))
}

fn floor(node: &mut Node, conn: Conn) -> Option<UserAttribute> {
    publisher(node, conn).facts.as_ref()?.attributes.get("floor").cloned()
}

#[test]
fn authorization_knows_the_user_and_where_the_client_is() {
    scenario(|node| {
        admit_as(node, ada("1"));
        let conn = node.connect("c");
        let client = publisher(node, conn);
        assert_eq!((&*client.client_id, client.user_name.as_deref()), ("c", Some("ada")));
        assert_eq!(client.source.and_then(|source| source.address), ADDRESS);
        assert_eq!(floor(node, conn), Some(text("1")));
    });
}

#[test]
fn what_is_known_of_a_user_is_that_of_the_last_authentication() {
    scenario(|node| {
        admit_as(node, ada("1"));
        let conn = node.connect_with(&with_method("c")).0;
        admit_as(node, ada("2"));
        authenticate_anew(node, conn);
        assert_eq!(node.take(conn), [Received::Auth(ReasonCode::Success, None)]);
        assert_eq!(floor(node, conn), Some(text("2")));
        node.lose(conn);
        // A Client that resumes its Session is asked anew, too.
        admit_as(node, ada("3"));
        let (conn, ack) = node.connect_with(&with_method("c"));
        assert!(ack.session_present);
        assert_eq!(floor(node, conn), Some(text("3")));
    });
}

#[test]
fn nobody_becomes_another_user_by_authenticating_anew() {
    scenario(|node| {
        admit_as(node, ada("1"));
        let conn = node.connect_with(&with_method("c")).0;
        admit_as(node, User::named("eve"));
        authenticate_anew(node, conn);
        assert_eq!(node.end_code(conn), Some(ReasonCode::NotAuthorized));
        assert_eq!(node.sessions(), 1, "the Session is still ada's");
        let again = node.refused(&with_method("c"));
        assert_eq!(again, ReasonCode::ClientIdentifierNotValid as u8);
    });
}

#[test]
fn a_client_is_disconnected_when_its_credential_ends() {
    scenario(|node| {
        let watcher = node.connect("watcher");
        node.subscribe(watcher, "will/#", 1);
        admit_as(node, User { valid_for: Some(Duration::from_secs(60)), ..ada("1") });
        let mut packet = connect("c");
        packet.will = Some(will("will/c", "gone", 1));
        let conn = node.connect_with(&packet).0;
        node.advance(59_999);
        assert!(!node.is_closed(conn));
        node.advance(1);
        assert_eq!(node.end_code(conn), Some(ReasonCode::MaximumConnectTime));
        assert_eq!(node.texts(watcher), ["gone"]);
    });
}

#[test]
fn nothing_is_taken_on_any_stream_after_the_credential_has_ended() {
    scenario(|node| {
        let heard = node.connect("heard");
        node.subscribe(heard, "t", 0);
        for is_data_stream in [false, true] {
            admit_as(node, User { valid_for: Some(Duration::from_secs(60)), ..ada("1") });
            let control = node.connect("c");
            let stream = if is_data_stream { node.open_data_stream(control) } else { control };
            node.publish(stream, "t", "in time", 0);
            node.has_late_timers = true;
            node.set_now(node.now + 60_000);
            node.send_publish(stream, publish("t", "too late", 0, 0));
            node.has_late_timers = false;
            assert_eq!(node.end_code(control), Some(ReasonCode::MaximumConnectTime));
            assert!(node.is_closed(stream));
            assert_eq!(node.texts(heard), ["in time"]);
        }
    });
}

#[test]
fn who_authenticates_anew_in_time_keeps_its_connection() {
    scenario(|node| {
        let minute = Some(Duration::from_secs(60));
        admit_as(node, User { valid_for: minute, ..ada("1") });
        let conn = node.connect_with(&with_method("c")).0;
        node.advance(50_000);
        authenticate_anew(node, conn);
        node.take(conn);
        node.advance(59_999);
        assert!(!node.is_closed(conn));
        admit_as(node, ada("1"));
        authenticate_anew(node, conn);
        node.advance(3_600_000);
        assert!(!node.is_closed(conn), "for ever");
        // A connection that ended before leaves no timer behind.
        admit_as(node, User { valid_for: minute, ..ada("1") });
        let short = node.connect_with(&with_method("d")).0;
        node.lose(short);
        let conn = node.connect_with(&with_method("d")).0;
        node.advance(59_000);
        assert!(!node.is_closed(conn));
    });
}

fn change_policy(node: &mut Node) {
    for worker in 0..node.cores.len() {
        node.call(worker, |core, _| core.handle_policy_changed());
    }
    node.settle();
}

#[test]
fn subscriptions_that_are_not_allowed_any_more_end() {
    scenario(|node| {
        let filters = ["a/#", "b", "$share/g/s/#", "$exclusive/x"];
        let client = node.connect_with(&persistent("c")).0;
        let absent = node.connect_with(&persistent("absent")).0;
        for filter in filters {
            node.subscribe(client, filter, 1);
        }
        node.subscribe(absent, "a/#", 1);
        node.lose(absent);
        for filter in ["a/#", "s/#", "x"] {
            node.rules.deny(Right::Subscribe, "c", filter);
        }
        node.rules.deny(Right::Subscribe, "absent", "a/#");
        node.events.clear();
        node.stored.clear();
        change_policy(node);
        let ended = |event: &Event| match event {
            Event::Unsubscribed { client, filter } => {
                Some(format!("{} {filter}", client.client_id))
            }
            _ => None,
        };
        let mut found: Vec<_> = node.events.iter().filter_map(ended).collect();
        found.sort();
        assert_eq!(found, ["absent a/#", "c $exclusive/x", "c $share/g/s/#", "c a/#"]);
        let publisher = node.connect("p");
        for topic in ["a/1", "b", "s/1", "x"] {
            node.publish(publisher, topic, topic, 1);
        }
        assert_eq!(node.texts(client), ["b"]);
        // Others may have what is free now.
        let other = node.connect("other");
        assert_eq!(node.subscribe(other, "$exclusive/x", 1), ReasonCode::GrantedQoS1);
        if node.has_store() {
            let is_end = |op: &&StoreOp| matches!(op, StoreOp::Unsubscribed { .. });
            assert_eq!(node.stored.iter().flatten().filter(is_end).count(), 4);
        }
    });
}

#[test]
fn who_may_not_stay_is_disconnected_when_the_policy_changes() {
    scenario(|node| {
        let (conn, other) = (node.connect_with(&persistent("c")).0, node.connect("other"));
        node.rules.deny(Right::Stay, "c", "#");
        change_policy(node);
        assert_eq!(node.end_code(conn), Some(ReasonCode::NotAuthorized));
        assert!(!node.is_closed(other));
        assert_eq!(node.sessions(), 2, "what waits for it is still there");
    });
}

#[test]
fn subscribers_inside_the_process_are_not_judged() {
    scenario(|node| {
        let local = node.call(0, |core, turn| {
            let id = core.open_local(turn);
            core.subscribe_local(id, "t", options(1), turn);
            id
        });
        node.settle();
        let name = node.cores[0].client_of(local).expect("it is there").client_id.to_string();
        for right in [Right::Stay, Right::Subscribe] {
            node.rules.deny(right, &name, "t");
        }
        change_policy(node);
        let publisher = node.connect("p");
        node.publish(publisher, "t", "x", 1);
        assert_eq!(node.local.len(), 1);
    });
}

#[test]
fn who_may_not_stay_is_not_let_in() {
    scenario(|node| {
        node.rules.deny(Right::Stay, "c", "#");
        assert_eq!(node.refused(&persistent("c")), ReasonCode::NotAuthorized as u8);
        assert_eq!(node.sessions(), 0);
    });
}

#[test]
fn subscriptions_are_judged_when_more_is_known_of_the_user() {
    // They are also judged when the Session comes to another worker.
    let setup = Setup { stays: true, ..Setup::default() };
    scenario_with(setup, |node| {
        admit_as(node, ada("1"));
        let conn = node.connect_with(&with_method("c")).0;
        node.subscribe(conn, "a", 1);
        node.subscribe(conn, "b", 1);
        node.rules.deny(Right::Subscribe, "c", "a");
        authenticate_anew(node, conn);
        assert_eq!(node.clients()[0].subscriptions, 2, "nothing is new");
        admit_as(node, ada("2"));
        authenticate_anew(node, conn);
        assert_eq!(node.clients()[0].subscriptions, 1);
        node.lose(conn);
        node.rules.deny(Right::Subscribe, "c", "b");
        admit_as(node, ada("3"));
        node.connect_with(&with_method("c"));
        assert_eq!(node.clients()[0].subscriptions, 0);
    });
}

#[test]
fn a_subscription_is_judged_as_it_is_when_its_turn_comes() {
    let setup = Setup { workers: 1, stays: true, ..Setup::default() };
    scenario_with(setup, |node| {
        let client = node.connect("c");
        for number in 0..1_300 {
            node.subscribe(client, &format!("f/{number}"), 2);
        }
        node.rules.set_qos_max(Some(0));
        node.cores[0].handle_policy_changed();
        node.turn(0); // has judged some of them
        assert!(node.cores[0].has_work());
        for number in 0..1_300 {
            node.subscribe(client, &format!("f/{number}"), 0);
        }
        node.settle();
        assert_eq!(node.clients()[0].subscriptions, 1_300);
    });
}

#[test]
fn many_subscriptions_are_not_judged_in_one_turn() {
    const MANY: usize = 1_500;
    let setup = Setup { workers: 1, stays: true, ..Setup::default() };
    scenario_with(setup, |node| {
        let client = node.connect("c");
        for number in 0..MANY {
            node.subscribe(client, &format!("f/{number}"), 0);
        }
        for number in 0..MANY {
            node.rules.deny(Right::Subscribe, "c", &format!("f/{number}"));
        }
        node.events.clear();
        node.cores[0].handle_policy_changed();
        let mut turns = 0;
        while node.cores[0].has_work() {
            let before = node.events.len();
            node.turn(0);
            assert!(node.events.len() - before <= 1_025, "in one turn");
            turns += 1;
        }
        assert_eq!(node.events.len(), MANY);
        assert!(turns > MANY / 1_024, "{turns}");
    });
}

/// The records of Sessions that the store has got, in order.
fn session_records(node: &Node) -> Vec<midge_core::SessionRecord> {
    let records = node.stored.iter().flatten().filter_map(|op| match op {
        StoreOp::Session(record) => Some((**record).clone()),
        _ => None,
    });
    records.collect()
}

#[test]
fn what_is_known_of_a_user_outlives_a_restart() {
    let setup = Setup { has_store: true, ..Setup::default() };
    let mut node = Node::new(&setup);
    let stored_floor = |node: &Node| {
        let facts = session_records(node).last()?.facts.clone()?;
        facts.attributes.get("floor").cloned()
    };
    admit_as(&mut node, ada("1"));
    let conn = node.connect_with(&with_method("c")).0;
    assert_eq!(stored_floor(&node), Some(text("1")));
    admit_as(&mut node, ada("2"));
    authenticate_anew(&mut node, conn);
    assert_eq!(stored_floor(&node), Some(text("2")));
    let records = session_records(&node).len();
    authenticate_anew(&mut node, conn);
    assert_eq!(session_records(&node).len(), records, "nothing is new");

    let record = session_records(&node).pop().expect("it is stored");
    let session = RecoveredSession {
        record,
        detached_at: Some(node.now),
        subscriptions: vec![SubscriptionRecord {
            filter: "t".into(),
            options: options(1),
            identifier: None,
        }],
        awaiting_release: Vec::new(),
        queue: RecoveredQueue::default(),
    };
    let recovered =
        Recovered { sessions: vec![Box::new(session)], next_number: 9, ..Recovered::default() };
    let mut node = Node::new(&setup);
    node.rules.set_qos_max(Some(0));
    let home = node.home("c");
    node.call(home, |core, turn| core.restore(recovered, turn));
    node.call(home, midge_core::Core::end_restore);
    let asked = node.events.iter().find_map(|event| match event {
        Event::Subscribed { client, reason_code: ReasonCode::NotAuthorized, .. } => {
            client.facts.as_ref()?.attributes.get("floor").cloned()
        }
        _ => None,
    });
    assert_eq!(asked, Some(text("2")), "the policy was asked about ada on her last floor");
}

#[test]
fn a_session_of_nobody_can_be_claimed_by_a_user_if_the_policy_lets_it() {
    scenario(|node| {
        let publisher = node.connect("p");
        let conn = node.connect_with(&persistent("c")).0;
        node.subscribe(conn, "a", 1);
        node.subscribe(conn, "b", 1);
        node.lose(conn);
        node.publish(publisher, "a", "waits", 1);
        admit_as(node, ada("1"));
        let again = node.refused(&persistent("c"));
        assert_eq!(again, ReasonCode::ClientIdentifierNotValid as u8, "it is another user");
        node.rules.let_claim();
        node.rules.deny(Right::Subscribe, "c", "b");
        let (conn, ack) = node.connect_with(&persistent("c"));
        assert!(ack.session_present);
        assert_eq!(node.texts(conn), ["waits"]);
        node.settle();
        node.publish(publisher, "b", "not any more", 1);
        assert_eq!(node.texts(conn), [""; 0], "the subscription was judged again");
        node.lose(conn);
        // It has an owner now.
        admit_as(node, User::named("eve"));
        let again = node.refused(&persistent("c"));
        assert_eq!(again, ReasonCode::ClientIdentifierNotValid as u8);
        admit_as(node, User::default());
        let again = node.refused(&persistent("c"));
        assert_eq!(again, ReasonCode::ClientIdentifierNotValid as u8, "nobody is not ada");
    });
}

#[test]
fn who_may_not_stay_leaves_no_will() {
    scenario(|node| {
        let watcher = node.connect("watcher");
        node.subscribe(watcher, "will/#", 1);
        for (client_id, denied) in [("c", true), ("d", false)] {
            let mut packet = connect(client_id);
            packet.will = Some(will("will/c", "gone", 1));
            let conn = node.connect_with(&packet).0;
            if denied {
                node.rules.deny(Right::Stay, client_id, "#");
                change_policy(node);
                assert_eq!(node.end_code(conn), Some(ReasonCode::NotAuthorized));
            } else {
                node.lose(conn);
            }
            let expected: &[&str] = if denied { &[] } else { &["gone"] };
            assert_eq!(node.texts(watcher), expected);
        }
    });
}
