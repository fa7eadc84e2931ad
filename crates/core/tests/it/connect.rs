//! From CONNECT to CONNACK, and what may go wrong on the way.

use midge_codec::{Auth, Connect, Packet, ReasonCode, UserProperties};
use midge_core::{
    AuthAnswer, Core, DisconnectReason, Event, Limits, MemoryPressure, Opening, User,
};

use crate::node::{Node, Setup, scenario, scenario_with};
use crate::packets::{connect, connect_v3, persistent, publish, will};
use crate::received::Received;

fn auth<'a>(code: ReasonCode, method: Option<&'a str>, data: Option<&'a [u8]>) -> Packet<'a> {
    Packet::Auth(Auth {
        reason_code: code,
        authentication_method: method,
        authentication_data: data,
        reason_string: None,
        user_properties: UserProperties::default(),
    })
}

fn as_user<'a>(client_id: &'a str, user: &'a str) -> Connect<'a> {
    Connect { user_name: Some(user), ..persistent(client_id) }
}

#[test]
fn no_connect_within_the_deadline_closes() {
    scenario(|node| {
        let silent = node.open(0);
        node.advance(4_999);
        assert!(!node.is_closed(silent));
        node.advance(1);
        assert!(node.is_closed(silent));
        assert_eq!((node.take(silent), node.counters().connect_timeouts), (vec![], 1));
    });
}

#[test]
fn an_unanswered_authentication_ends_with_the_deadline() {
    scenario(|node| {
        node.authenticate = Box::new(|_| None);
        let waiting = node.begin_connect(&connect("a"));
        node.advance(5_000);
        assert!(node.is_closed(waiting));
        let request = node.unanswered.remove(0);
        node.answer(&request, AuthAnswer::allow(None));
        assert_eq!(node.sessions(), 0, "a late answer is ignored");
    });
}

#[test]
fn the_first_packet_has_to_be_connect() {
    scenario(|node| {
        let conn = node.open(0);
        node.send(conn, &Packet::PingReq);
        assert_eq!(node.end_code(conn), None);
    });
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    scenario(|node| {
        let conn = node.connect("a");
        node.send(conn, &Packet::Connect(Box::new(connect("a"))));
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
    });
}

#[test]
fn an_empty_client_identifier_is_assigned_or_refused() {
    scenario(|node| {
        let (_, first) = node.connect_with(&connect(""));
        let (_, second) = node.connect_with(&connect(""));
        assert!(first.assigned.is_some() && first.assigned != second.assigned);
        let (_, old) = node.connect_with(&connect_v3("", true));
        assert_eq!(old.assigned, None, "3.x has no way to tell");
        assert_eq!(node.refused(&connect_v3("", false)), 0x85);
        assert_eq!(node.sessions(), 3);
    });
}

/// Returns the number that a SplitMix64 generator yields after `number`.
fn splitmix64_after(number: u64) -> u64 {
    let unshift = |mut z: u64, by: u32| {
        let shifted = z;
        for _ in 0..64 / by {
            z = shifted ^ (z >> by);
        }
        z
    };
    let inverse = |odd: u64| {
        let steps =
            (0..6).fold(1_u64, |x, _| x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x))));
        assert_eq!(odd.wrapping_mul(steps), 1);
        steps
    };
    let z = unshift(number, 31).wrapping_mul(inverse(0x94D0_49BB_1331_11EB));
    let z = unshift(z, 27).wrapping_mul(inverse(0xBF58_476D_1CE4_E5B9));
    crate::node::Random(unshift(z, 30)).next()
}

#[test]
fn an_assigned_client_identifier_tells_nothing_about_the_next_one() {
    let mut random = crate::node::Random(4711);
    let first = random.next();
    assert_eq!(splitmix64_after(first), random.next(), "the attack works on such a generator");
    let mut node = Node::new(&Setup::default());
    let mut assigned = || {
        let (_, ack) = node.connect_with(&connect(""));
        let name = ack.assigned.expect("one is assigned");
        u64::from_str_radix(name.strip_prefix("midge-").expect("its form"), 16).expect("hex")
    };
    for _ in 0..3 {
        let (first, second) = (assigned(), assigned());
        assert_ne!(splitmix64_after(first), second);
    }
}

#[test]
fn identifiers_of_the_broker_itself_are_refused() {
    scenario(|node| {
        for client_id in ["$broker", "$", "$share/a"] {
            assert_eq!(node.refused(&persistent(client_id)), 0x85);
            assert_eq!(node.refused(&connect_v3(client_id, true)), 0x85);
        }
        let (_, present) = node.resume(&persistent("a$broker"));
        assert!(!present, "a '$' elsewhere is like any other character");
    });
}

#[test]
fn connack_tells_what_the_broker_grants() {
    let limits =
        Limits { keep_alive_seconds_max: 60, session_expiry_seconds_max: 100, ..Limits::default() };
    let setup = Setup { limits, response_prefix: Some("answers"), ..Setup::default() };
    scenario_with(setup, |node| {
        let mut packet = persistent("a");
        packet.properties.request_response_information = Some(true);
        let (_, ack) = node.connect_with(&packet);
        assert_eq!((ack.server_keep_alive, ack.session_expiry), (Some(60), Some(100)));
        assert_eq!((ack.receive_maximum, ack.topic_alias_maximum), (Some(64), Some(16)));
        assert_eq!(ack.response_information.as_deref(), Some("answers/a"));
        let (_, plain) = node.connect_with(&connect("b"));
        assert_eq!((plain.response_information, plain.session_expiry), (None, None));
    });
}

#[test]
fn a_taken_over_connection_is_told_and_closed() {
    scenario(|node| {
        let old = node.connect_with(&persistent("a")).0;
        node.subscribe(old, "t", 1);
        let (new, present) = node.resume(&persistent("a"));
        assert!(present);
        assert_eq!(node.end_code(old), Some(ReasonCode::SessionTakenOver));
        node.publish(new, "t", "still subscribed", 1);
        assert_eq!(node.texts(new), ["still subscribed"]);
        assert_eq!((node.sessions(), node.counters().sessions_taken_over), (1, 1));
        let taken_over = |event: &Event| {
            matches!(event, Event::Disconnected { reason: DisconnectReason::TakenOver, .. })
        };
        assert_eq!(node.events.iter().filter(|event| taken_over(event)).count(), 1);
    });
}

#[test]
fn clean_start_ends_what_was_there() {
    scenario(|node| {
        let old = node.connect_with(&persistent("a")).0;
        node.subscribe(old, "t", 1);
        node.lose(old);
        let (new, present) = node.resume(&connect("a"));
        assert!(!present);
        node.publish(new, "t", "for nobody", 0);
        assert_eq!((node.texts(new), node.sessions()), (vec![], 1));
        let (_, present) = node.resume(&persistent("a"));
        assert!(!present, "the Clean Start session had no expiry interval");
    });
}

#[test]
fn a_3_1_1_session_is_kept_as_long_as_the_limit_says() {
    scenario(|node| {
        let conn = node.connect_with(&connect_v3("a", false)).0;
        node.lose(conn);
        node.advance(604_799_000);
        let (conn, present) = node.resume(&connect_v3("a", false));
        assert!(present);
        node.lose(conn);
        node.advance(604_800_000);
        assert!(!node.resume(&connect_v3("a", false)).1);
    });
}

#[test]
fn s17_another_identity_never_gets_the_session() {
    scenario(|node| {
        let owner = node.connect_with(&as_user("a", "alice")).0;
        node.subscribe(owner, "t", 1);
        assert_eq!(node.refused(&as_user("a", "mallory")), 0x85);
        assert_eq!(node.refused(&persistent("a")), 0x85);
        assert!(!node.is_closed(owner));
        node.lose(owner);
        let other = node.connect("b");
        node.publish(other, "t", "for alice", 1);
        assert_eq!(node.refused(&as_user("a", "mallory")), 0x85);
        let clean = Connect { clean_start: true, ..as_user("a", "mallory") };
        assert_eq!(node.refused(&clean), 0x85, "nor may it be thrown away");
        let (owner, present) = node.resume(&as_user("a", "alice"));
        assert!(present);
        assert_eq!(node.texts(owner), ["for alice"]);
    });
}

#[test]
fn a_will_counts_as_memory_held_before_its_client_is_known() {
    scenario(|node| {
        let text = "x".repeat(10_000);
        node.authenticate = Box::new(|_| None);
        let held = |node: &Node| node.cores.iter().map(Core::held_bytes).sum::<usize>();
        let conn = node.begin_connect(&Connect { will: Some(will("t", &text, 0)), ..connect("a") });
        node.settle();
        assert!(held(node) > text.len());
        node.lose(conn);
        assert!(held(node) < text.len());
    });
}

#[test]
fn z10_nobody_is_kicked_out_before_authentication() {
    scenario(|node| {
        let owner = node.connect_with(&as_user("a", "alice")).0;
        node.authenticate = Box::new(|_| None);
        let intruder = node.begin_connect(&as_user("a", "alice"));
        node.settle();
        assert!(!node.is_closed(owner));
        let request = node.unanswered.remove(0);
        node.answer(&request, AuthAnswer::Refuse(ReasonCode::BadUserNameOrPassword));
        assert_eq!(node.take_connack(intruder).code, 0x86);
        assert!(node.is_closed(intruder) && !node.is_closed(owner));
        assert_eq!((node.sessions(), node.counters().connects_refused), (1, 1));
    });
}

#[test]
fn a_session_survives_a_failed_authentication() {
    scenario(|node| {
        let owner = node.connect_with(&persistent("a")).0;
        node.subscribe(owner, "t", 1);
        node.lose(owner);
        node.authenticate = Box::new(|_| Some(AuthAnswer::Refuse(ReasonCode::NotAuthorized)));
        assert_eq!(node.refused(&connect("a")), 0x87);
        node.authenticate = Box::new(|_| Some(AuthAnswer::allow(None)));
        assert!(node.resume(&persistent("a")).1);
    });
}

#[test]
fn packets_behind_connect_wait_for_the_answer() {
    scenario(|node| {
        node.authenticate = Box::new(|_| None);
        let conn = node.begin_connect(&connect("a"));
        node.queue_subscribe(conn, &[("t", crate::packets::options(0))], None);
        node.queue(conn, &Packet::Publish(publish("t", "early", 0, 0)));
        node.settle();
        assert_eq!(node.take(conn), []);
        let request = node.unanswered.remove(0);
        node.answer(&request, AuthAnswer::allow(None));
        let received = node.take(conn);
        assert!(matches!(received[0], Received::ConnAck(_)));
        assert!(received.iter().any(|packet| matches!(packet, Received::SubAck(..))));
        assert!(received.iter().any(|packet| matches!(packet, Received::Publish(_))));
    });
}

fn scram(client_id: &str) -> Connect<'_> {
    let mut packet = connect(client_id);
    packet.properties.authentication_method = Some("SCRAM");
    packet.properties.authentication_data = Some(b"1");
    packet
}

fn scram_server(node: &mut Node) {
    node.authenticate = Box::new(|request| {
        let step = request.enhanced.as_ref().expect("a method");
        Some(match step.data.as_deref() {
            Some(b"1") => AuthAnswer::Continue(Some((*b"2").into())),
            Some(b"3") => {
                AuthAnswer::Allow { user: User::named("alice"), data: Some((*b"4").into()) }
            }
            _ => AuthAnswer::Refuse(ReasonCode::NotAuthorized),
        })
    });
}

#[test]
fn enhanced_authentication_goes_through_its_steps() {
    scenario(|node| {
        scram_server(node);
        let conn = node.begin_connect(&scram("a"));
        node.settle();
        let asked = Received::Auth(ReasonCode::ContinueAuthentication, Some(b"2".to_vec()));
        assert_eq!(node.take(conn), std::slice::from_ref(&asked));
        node.send(conn, &auth(ReasonCode::ContinueAuthentication, Some("SCRAM"), Some(b"3")));
        let ack = node.take_connack(conn);
        assert_eq!((ack.code, ack.method.as_deref()), (0, Some("SCRAM")));
        assert_eq!(ack.data.as_deref(), Some(&b"4"[..]));

        node.send(conn, &auth(ReasonCode::ReAuthenticate, Some("SCRAM"), Some(b"1")));
        assert_eq!(node.take(conn), [asked]);
        node.send(conn, &auth(ReasonCode::ContinueAuthentication, Some("SCRAM"), Some(b"3")));
        assert_eq!(node.take(conn), [Received::Auth(ReasonCode::Success, Some(b"4".to_vec()))]);

        node.send(conn, &auth(ReasonCode::ReAuthenticate, Some("SCRAM"), Some(b"bad")));
        assert_eq!(node.end_code(conn), Some(ReasonCode::NotAuthorized));
    });
}

#[test]
fn auth_that_continues_nothing_ends_the_connection() {
    scenario(|node| {
        let conn = node.connect("a");
        node.send(conn, &auth(ReasonCode::ReAuthenticate, Some("SCRAM"), None));
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
        scram_server(node);
        let conn = node.begin_connect(&scram("b"));
        node.settle();
        node.send(conn, &auth(ReasonCode::ContinueAuthentication, Some("PLAIN"), Some(b"3")));
        assert!(node.is_closed(conn));
        assert_eq!(node.sessions(), 0);
    });
}

#[test]
fn s14_auth_without_method_asks_nobody_again() {
    scenario(|node| {
        node.authenticate = Box::new(|_| None);
        let conn = node.begin_connect(&connect("a"));
        node.settle();
        // Although reading has stopped, a driver that had decoded ahead hands the packet in.
        let (worker, id) = (node.sockets[conn.0].worker, node.sockets[conn.0].id);
        let packet = auth(ReasonCode::ContinueAuthentication, None, None);
        node.call(worker, |core, turn| core.handle_packet(id, &packet, turn));
        assert_eq!(node.unanswered.len(), 1);
        assert!(node.is_closed(conn));
    });
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    scenario(|node| {
        let conn = node.connect("a");
        let (worker, id) = (node.sockets[conn.0].worker, node.sockets[conn.0].id);
        let answer = AuthAnswer::allow(None);
        node.call(worker, |core, turn| core.handle_auth_answer(id, answer, None, turn));
        let answer = AuthAnswer::Refuse(ReasonCode::NotAuthorized);
        node.call(worker, |core, turn| core.handle_auth_answer(id, answer, None, turn));
        assert_eq!((node.take(conn), node.is_closed(conn)), (vec![], false));
    });
}

#[test]
fn too_many_sessions_are_refused() {
    let limits = Limits { sessions_max: 2, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut node = Node::new(&setup);
    node.connect("a");
    node.connect("b");
    assert_eq!(node.refused(&connect("c")), 0x97);
    node.connect("a");
}

#[test]
fn s23_who_has_no_room_is_told_to_come_later_and_disturbs_nobody() {
    let mut node = Node::new(&Setup::default());
    let old = node.connect("a");
    for (packet, code) in [(connect("a"), 0x89), (connect_v3("a", true), 0x88)] {
        let conn = node.open_with(0, Opening { is_turned_away: true, ..Opening::default() });
        node.send(conn, &Packet::Connect(Box::new(packet)));
        assert_eq!(node.take_connack(conn).code, code);
        assert!(node.is_closed(conn));
    }
    assert!(!node.is_closed(old), "the Session of the same name goes on");
}

#[test]
fn a_listener_can_have_a_deadline_of_its_own() {
    let mut node = Node::new(&Setup::default());
    let conn = node.open_with(0, Opening { connect_deadline_ms: Some(700), ..Opening::default() });
    node.advance(699);
    assert!(!node.is_closed(conn));
    node.advance(1);
    assert!(node.is_closed(conn));
}

#[test]
fn short_of_memory_or_shutting_down_nobody_is_let_in() {
    let mut node = Node::new(&Setup::default());
    let old = node.connect_with(&persistent("a")).0;
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::High, turn));
    // Some Clients are still let in, to remove what fills the memory, and a Client with a Session
    // may resume it.
    let reserve: Vec<_> = (0..8).map(|number| node.connect(&format!("r{number}"))).collect();
    assert_eq!(node.refused(&connect("b")), 0x89);
    let old = {
        node.lose(old);
        node.connect_with(&persistent("a")).0
    };
    node.lose(reserve[3]);
    assert_eq!(node.refused(&persistent("b")), 0x89, "it would leave a Session behind");
    node.connect("r8");
    assert_eq!(node.refused(&connect("b")), 0x89);
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::None, turn));
    node.call(0, Core::begin_drain);
    assert_eq!(node.end_code(old), Some(ReasonCode::ServerShuttingDown));
    assert_eq!(node.refused(&connect("b")), 0x88);
    assert_eq!(node.sessions(), 1, "sessions stay");
}

#[test]
fn very_short_of_memory_nobody_leaves_a_large_will() {
    let mut node = Node::new(&Setup::default());
    let payloads = ["x".repeat(1024), "x".repeat(1025)];
    let [small, large] = [0, 1].map(|index| {
        let mut packet = persistent("a");
        packet.will = Some(will("t", &payloads[index], 0));
        packet
    });
    let conn = node.connect_with(&large).0;
    node.lose(conn);
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::Severe, turn));
    assert_eq!(node.refused(&large), 0x89);
    let conn = node.connect_with(&small).0;
    assert!(!node.is_closed(conn), "it comes for what waits in its Session");
}

#[test]
fn z01_a_will_that_may_not_be_published_refuses_the_connect() {
    scenario(|node| {
        node.rules.deny(crate::rules::Right::Publish, "a", "secret/#");
        let mut packet = connect("a");
        packet.will = Some(will("secret/door", "open", 0));
        assert_eq!(node.refused(&packet), 0x87);
        packet.will = Some(will("$SYS/broker", "15", 0));
        assert_eq!(node.refused(&packet), 0x87);
        packet.will = Some(will("public", "open", 0));
        node.connect_with(&packet);
    });
}

#[test]
fn a_malformed_connect_is_answered_in_its_own_protocol() {
    scenario(|node| {
        let conn = node.open(0);
        node.queue_bytes(conn, &[0x10, 0x02, 0x00, 0x00]);
        node.settle();
        assert_eq!(node.end_code(conn), None, "no MQTT gets nothing");
        let conn = node.open(0);
        node.queue_bytes(conn, b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x00");
        node.settle();
        assert_eq!(node.take_connack(conn).code, 0x81, "a reserved flag in MQTT 5");
        let conn = node.open(0);
        node.queue_bytes(conn, b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x00\x00\x00\x00");
        node.settle();
        assert!(node.is_closed(conn));
    });
}
