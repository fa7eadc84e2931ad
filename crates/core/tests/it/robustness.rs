//! What hostile or unlucky Clients do: deep topics, packets out of place, floods; and large
//! fan-outs that are done in slices.

use midge_codec::{
    Acknowledgement, Auth, ConnAck, ConnAckProperties, Disconnect, Packet, PacketType, ReasonCode,
    SubAck, UnsubAck, Unsubscribe, UserProperties,
};
use midge_core::{AuthAnswer, DropReason, Limits, LocalPublish, MemoryPressure};

use crate::client::subscribe_packet;
use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, id, options, persistent, publish, retained, will, with_alias};
use crate::received::Received;

#[test]
fn s07_deep_topic_does_not_recurse() {
    let limits = Limits { topic_levels_max: u16::MAX, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let deep = "/".repeat(65_000);
        let conn = node.connect("a");
        assert_eq!(node.subscribe(conn, &deep, 0), ReasonCode::Success);
        assert_eq!(node.subscribe(conn, "#", 0), ReasonCode::Success);
        node.send_publish(conn, retained(&deep, "x"));
        assert_eq!(node.texts(conn), ["x"]);
        assert_eq!(node.unsubscribe(conn, &deep), ReasonCode::Success);
        let other = node.connect("b");
        node.subscribe(other, "+/+/#", 0);
        assert_eq!(node.texts(other), ["x"]);
        node.lose(conn);
    });
}

#[test]
fn s07_too_many_levels_or_properties_are_refused() {
    scenario(|node| {
        let deep = "/".repeat(64);
        let conn = node.connect("a");
        assert_eq!(node.subscribe(conn, &deep, 0), ReasonCode::TopicFilterInvalid);
        assert_eq!(node.subscribe(conn, &deep[1..], 0), ReasonCode::Success);
        node.publish(conn, &deep[1..], "x", 0);
        assert_eq!(node.texts(conn), ["x"]);
        let code = node.publish_acknowledged(conn, publish(&deep, "x", 1, 9));
        assert_eq!(code, ReasonCode::TopicNameInvalid);
        node.publish(conn, &deep, "x", 0);
        assert_eq!(node.texts(conn), [""; 0]);
        assert_eq!(node.dropped(DropReason::TopicNameInvalid), 2);
        let mut packet = connect("a");
        packet.will = Some(will(&deep, "x", 0));
        assert_eq!(node.refused(&packet), 0x90);
        let pairs: midge_codec::UserPropertiesBuf = vec![("k", "v"); 257].into_iter().collect();
        let conn = node.connect("a");
        let mut packet = publish("t", "x", 0, 0);
        packet.properties.user_properties = pairs.view();
        node.send_publish(conn, packet);
        assert_eq!(node.end_code(conn), Some(ReasonCode::QuotaExceeded));
    });
}

/// Calls `call` with every type of packet, including those that only Servers send.
fn every_packet(call: &mut dyn FnMut(&Packet<'_>)) {
    let ack = |code| Acknowledgement { reason_code: code, ..Acknowledgement::success(id(1)) };
    let none = UserProperties::default();
    let properties = ConnAckProperties::default();
    let connack = ConnAck { session_present: true, reason_code: ReasonCode::Success, properties };
    let codes = [ReasonCode::Success];
    let (reason_codes, reason_string) = (codes[..].into(), None);
    let packet_id = id(1);
    let filters = ["t"];
    let auth = |reason_code, method| Auth {
        reason_code,
        authentication_method: method,
        authentication_data: None,
        reason_string: None,
        user_properties: none,
    };
    call(&Packet::Connect(Box::new(persistent("a"))));
    call(&Packet::ConnAck(Box::new(connack)));
    for level in 0..3 {
        call(&Packet::Publish(publish("t", "x", level, 1)));
    }
    call(&Packet::Publish(publish("", "no alias", 0, 0)));
    for code in [ReasonCode::Success, ReasonCode::UnspecifiedError] {
        call(&Packet::PubAck(ack(code)));
        call(&Packet::PubRec(ack(code)));
        call(&Packet::PubRel(ack(code)));
        call(&Packet::PubComp(ack(code)));
    }
    subscribe_packet(1, &[("t", options(2))], None, call);
    let codes = std::borrow::Cow::clone(&reason_codes);
    let user_properties = none;
    let suback = SubAck { packet_id, reason_string, user_properties, reason_codes: codes };
    call(&Packet::SubAck(suback));
    let unsubscribe = Unsubscribe { packet_id, user_properties, filters: filters[..].into() };
    call(&Packet::Unsubscribe(unsubscribe));
    call(&Packet::UnsubAck(UnsubAck { packet_id, reason_string, user_properties, reason_codes }));
    call(&Packet::PingReq);
    call(&Packet::PingResp);
    call(&Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
    call(&Packet::Auth(auth(ReasonCode::ContinueAuthentication, Some("SCRAM"))));
    call(&Packet::Auth(auth(ReasonCode::ReAuthenticate, Some("SCRAM"))));
    call(&Packet::Auth(auth(ReasonCode::Success, None)));
}

const STATES: usize = 6;

/// Opens a connection and brings it into one of the possible states.
fn in_state(node: &mut Node, state: usize) -> Conn {
    let mut packet = persistent("a");
    packet.properties.authentication_method = (state >= 4).then_some("SCRAM");
    match state {
        0 => return node.open(0),
        1 | 4 => {
            node.authenticate = Box::new(|_| None);
            let conn = node.begin_connect(&packet);
            node.settle();
            return conn;
        }
        5 => {
            node.authenticate = Box::new(|request| {
                let step = request.enhanced.as_ref();
                Some(match step.is_some_and(|step| step.reauthentication) {
                    true => AuthAnswer::Continue(None),
                    false => AuthAnswer::allow(None),
                })
            });
        }
        _ => (),
    }
    let conn = node.connect_with(&packet).0;
    if state == 3 {
        let worker = node.sockets[conn.0].worker;
        let code = ReasonCode::AdministrativeAction;
        let core = &mut node.cores[worker];
        let mut turn = midge_core::Turn::new(node.now, 3);
        core.disconnect_client("a", code, &mut turn); // closing: the driver has not closed yet
    }
    conn
}

#[test]
fn s09_every_packet_type_in_every_state() {
    for state in 0..STATES {
        let mut types = Vec::new();
        every_packet(&mut |packet| {
            types.push(packet.packet_type());
            let mut node = Node::new(&Setup { workers: 3, ..Setup::default() });
            let conn = in_state(&mut node, state);
            let (worker, conn_id) = (node.sockets[conn.0].worker, node.sockets[conn.0].id);
            let mut hand_in = |packet: &Packet<'_>| {
                node.call(worker, |core, turn| core.handle_packet(conn_id, packet, turn));
            };
            hand_in(packet);
            every_packet(&mut hand_in); // whatever the first packet did, nothing after it panics
            node.advance(10_000_000_000);
            let is_of_client = !matches!(
                packet.packet_type(),
                PacketType::ConnAck
                    | PacketType::SubAck
                    | PacketType::UnsubAck
                    | PacketType::PingResp
            );
            assert!(state == 3 || is_of_client || node.is_closed(conn), "{state} {packet:?}");
            node.authenticate = Box::new(|_| Some(AuthAnswer::allow(None)));
            let other = node.connect("z");
            node.subscribe(other, "t", 1);
            node.publish(other, "t", "alive", 1);
            assert_eq!(node.texts(other), ["alive"]);
        });
        types.sort();
        types.dedup();
        assert_eq!(types, PacketType::ALL);
    }
}

#[test]
fn s12_bytes_that_are_no_packet_end_the_connection() {
    scenario(|node| {
        let conn = node.connect("a");
        node.queue_bytes(conn, &[0x00, 0x00]);
        node.settle();
        assert_eq!(node.end_code(conn), Some(ReasonCode::MalformedPacket));
        let conn = node.connect("a");
        node.queue_bytes(conn, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        node.settle();
        assert_eq!(node.end_code(conn), Some(ReasonCode::MalformedPacket));
        let conn = node.connect("a");
        node.queue_bytes(conn, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
        node.settle();
        assert_eq!(node.end_code(conn), Some(ReasonCode::PacketTooLarge));
        assert_eq!(node.counters().protocol_violations, 3);
    });
}

#[test]
fn s13_a_storm_of_takeovers_leaves_one_session() {
    for seed in 0..20 {
        let setup = Setup { workers: 3, shuffle: Some(seed), ..Setup::default() };
        let mut node = Node::new(&setup);
        let watcher = node.connect("w");
        node.subscribe(watcher, "t", 1);
        let mut last = None;
        for round in 0..60 {
            let packet = if round % 3 == 0 { connect("a") } else { persistent("a") };
            let conn = node.begin_connect(&packet);
            let filters =
                [("t", options(2)), ("$share/g/t", options(1)), ("$exclusive/t", options(1))];
            node.queue_subscribe(conn, &filters, None);
            node.queue(conn, &Packet::Publish(publish("t", "x", 2, 1)));
            for worker in 0..seed as usize % 4 {
                node.turn(worker % 3);
            }
            last = Some(conn);
        }
        node.settle();
        let last = last.expect("sixty");
        assert!(!node.is_closed(last));
        assert_eq!(node.sessions(), 2);
        node.take(last);
        node.publish(watcher, "t", "still there", 1);
        assert!(node.texts(last).contains(&"still there".to_string()));
    }
}

fn fan_out(node: &mut Node, names: usize) -> Vec<Conn> {
    let mut conns = Vec::new();
    for number in 0..names {
        let conn = node.connect(&format!("receiver {number}"));
        node.subscribe(conn, "t/#", 1);
        if number % 2 == 0 {
            node.subscribe(conn, "t/+", 2);
        }
        conns.push(conn);
    }
    conns
}

#[test]
fn large_fan_outs_go_in_slices_and_keep_the_order() {
    let limits = Limits { turn_deliveries_max: 7, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let conns = fan_out(node, 30);
        let publisher = node.connect("p");
        for number in 1..=40 {
            let (text, level) = (number.to_string(), (number % 3) as u8);
            let packet = Packet::Publish(publish("t/1", &text, level, number));
            node.queue(publisher, &packet);
        }
        node.settle();
        let expected: Vec<_> = (1..=40).map(|number: u16| number.to_string()).collect();
        for conn in conns {
            assert_eq!(node.texts(conn), expected);
        }
        assert_eq!(node.all_dropped(), []);
    });
}

#[test]
fn a_publisher_that_fills_the_backlog_is_held_back_and_released() {
    let limits = Limits { turn_deliveries_max: 10, backlog_bytes_max: 2_000, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, ..Setup::default() });
    let conns = fan_out(&mut node, 50);
    let publisher = node.connect("p");
    for number in 1..=100 {
        let text = format!("{number:0100}");
        node.queue(publisher, &Packet::Publish(publish("t/1", &text, 1, number)));
    }
    node.turn(0);
    assert!(!node.sockets[publisher.0].is_read, "held back");
    assert!(node.cores[0].is_congested());
    assert!(node.sockets[publisher.0].to_broker.len() > 5_000, "most is not even read");
    node.settle();
    assert!(node.sockets[publisher.0].is_read && !node.cores[0].is_congested());
    for conn in conns {
        let texts = node.texts(conn);
        assert_eq!(texts.len(), 100);
        assert!(texts.is_sorted());
    }
}

#[test]
fn whoever_goes_during_a_fan_out_is_counted() {
    let limits = Limits { turn_deliveries_max: 1, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, ..Setup::default() });
    let conns = fan_out(&mut node, 10);
    let publisher = node.connect("p");
    node.queue(publisher, &Packet::Publish(publish("t/1", "x", 1, 1)));
    node.turn(0);
    node.lose(conns[9]);
    node.lose(conns[8]);
    let newcomer = node.connect("somebody else in the same slot");
    node.settle();
    assert_eq!(node.messages(newcomer), []);
    let delivered: usize = conns.iter().map(|&conn| node.messages(conn).len()).sum();
    assert_eq!(delivered as u64 + node.dropped(DropReason::SessionEnded), 10);
}

/// Publishes at QoS 0 from the process itself.
fn publish_inside(node: &mut Node, topic: &str, payload: &str) {
    let (payload, qos, retain) = (payload.as_bytes(), midge_codec::QoS::AtMostOnce, false);
    let publish = LocalPublish { topic, payload, qos, retain, properties: Default::default() };
    node.call(0, |core, turn| core.publish_local(&publish, 1, turn));
}

#[test]
fn under_memory_pressure_the_worst_offender_goes() {
    let mut node = Node::new(&Setup::default());
    let names = ["small", "large"];
    for name in names {
        let conn = node.connect_with(&persistent(name)).0;
        node.subscribe(conn, name, 1);
        node.lose(conn);
    }
    let publisher = node.connect("p");
    node.subscribe(publisher, "live", 1);
    node.publish(publisher, "small", "x", 1);
    node.publish(publisher, "large", &"x".repeat(2000), 1);
    node.call(0, |core, turn| {
        core.set_memory_pressure(MemoryPressure::Critical, turn);
        core.shed(500, &|_| 0, turn);
    });
    let clients: Vec<_> =
        node.clients_of(0).into_iter().map(|info| info.client_id.to_string()).collect();
    assert_eq!(clients, ["small", "p"]);
    publish_inside(&mut node, "live", "QoS 0");
    assert_eq!(node.dropped(DropReason::MemoryPressure), 1);
    node.publish(publisher, "live", "waits", 1);
    assert_eq!(node.texts(publisher), [""; 0], "a PUBLISH is not read");
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::None, turn));
    node.publish(publisher, "live", "after", 0);
    assert_eq!(node.texts(publisher), ["waits", "after"]);
}

/// Clients that do not read could be given all that is retained, over and over.
#[test]
fn short_of_memory_new_subscriptions_wait_for_what_is_retained() {
    const COUNT: usize = 60;
    let limits = Limits { output_bytes_max: 20_000, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let publisher = node.connect("publisher");
        for number in 0..COUNT {
            let (topic, payload) = (format!("r/{number}"), "x".repeat(1_000));
            node.send_publish(publisher, retained(&topic, &payload));
        }
        let subscriber = node.connect("subscriber");
        node.set_room(subscriber, 100);
        node.queue_subscribe(subscriber, &[("r/#", options(0))], None);
        node.settle();
        let set_pressure = |node: &mut Node, pressure| {
            for worker in 0..node.cores.len() {
                node.call(worker, |core, turn| core.set_memory_pressure(pressure, turn));
            }
        };
        set_pressure(node, MemoryPressure::Severe);
        node.set_room(subscriber, usize::MAX);
        let early = node.texts(subscriber).len();
        assert!((1..COUNT / 2).contains(&early), "{early} came");
        assert!(node.cores.iter().all(|core| !core.has_work()), "nobody spins meanwhile");
        set_pressure(node, MemoryPressure::None);
        assert_eq!(early + node.texts(subscriber).len(), COUNT);
    });
}

/// Everything that a Client can make grow counts: the Client with the most is given up first.
#[test]
fn all_that_is_kept_for_a_client_counts_when_it_is_given_up() {
    let payload = "x".repeat(5000);
    for what in ["under way", "a Will", "a topic alias", "a subscription"] {
        let mut node = Node::new(&Setup::default());
        let held = |node: &Node| node.cores[0].held_bytes();
        let mut offender = persistent("offender");
        if what == "a Will" {
            offender.will = Some(will("t", &payload, 0));
        }
        let before = held(&node);
        let conn = node.connect_with(&offender).0;
        match what {
            "under way" => {
                node.acknowledge(conn, false);
                node.subscribe(conn, "mine", 1);
                let publisher = node.connect("publisher");
                node.publish(publisher, "mine", &payload, 1);
                assert_eq!(node.texts(conn), [payload.as_str()]);
            }
            "a topic alias" => node.send_publish(conn, with_alias(publish(&payload, "x", 0, 0), 1)),
            "a subscription" => assert!(!node.subscribe(conn, &payload, 1).is_error()),
            _ => (),
        }
        if what != "a subscription" {
            assert!(held(&node) > before + 5000, "{what}");
        }
        let other = node.connect("other");
        node.call(0, |core, turn| {
            core.set_memory_pressure(MemoryPressure::Critical, turn);
            core.shed(1, &|_| 0, turn);
        });
        assert_eq!(node.end_code(conn), Some(ReasonCode::QuotaExceeded), "{what}");
        assert!(!node.is_closed(other), "{what}");
    }
}

#[test]
fn pings_and_acknowledgements_are_answered_in_order() {
    scenario(|node| {
        let conn = node.connect("a");
        node.queue(conn, &Packet::Publish(publish("t", "x", 1, 1)));
        node.queue(conn, &Packet::PingReq);
        node.queue(conn, &Packet::Publish(publish("t", "x", 2, 2)));
        node.settle();
        let nobody = ReasonCode::NoMatchingSubscribers;
        let done = Received::PubComp(2, ReasonCode::Success);
        let received = node.take(conn);
        let expected =
            [Received::PubAck(1, nobody), Received::PingResp, Received::PubRec(2, nobody), done];
        assert_eq!(received, expected);
    });
}

#[test]
fn a_late_word_about_a_closed_connection_does_not_hit_its_successor() {
    let mut node = Node::new(&Setup::default());
    let old = node.connect("a");
    let id = node.sockets[old.0].id;
    node.lose(old);
    let new = node.connect("b");
    node.set_room(new, 0);
    node.send(new, &Packet::PingReq);
    assert_eq!(node.output_bytes(new), 2);
    node.call(0, |core, turn| {
        core.handle_written(id, 2, turn);
        core.handle_closed(id, turn);
        assert!(core.output(id).is_none());
    });
    assert_eq!(node.output_bytes(new), 2);
    node.set_room(new, usize::MAX);
    assert_eq!(node.take(new), [Received::PingResp]);
}

/// When memory is short, messages to be kept are refused, but those that free memory never are.
#[test]
fn short_of_memory_nothing_more_is_retained_or_delayed_and_all_can_be_removed() {
    let mut node = Node::new(&Setup::default());
    let conn = node.connect("a");
    node.send_publish(conn, retained("kept", "12345"));
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::High, turn));
    node.send_publish(conn, retained("new", "x"));
    node.send_publish(conn, retained("kept", "larger than it was"));
    assert_eq!(node.dropped(DropReason::RetainedLimit), 2);
    node.publish(conn, "$delayed/10/t", "x", 0);
    assert_eq!(node.dropped(DropReason::DelayedLimit), 1);
    node.send_publish(conn, retained("kept", "1"));
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::Severe, turn));
    assert_eq!(node.subscribe(conn, "kept", 0), ReasonCode::QuotaExceeded);
    node.send_publish(conn, retained("kept", ""));
    assert_eq!(node.cores[0].usage().retained_messages, 0);
}

/// Nobody can be disconnected to get back what a stored Session takes.
#[test]
fn short_of_memory_a_stored_session_gets_no_more_subscriptions() {
    let mut node = Node::new(&Setup { has_store: true, ..Setup::default() });
    let stored = node.connect_with(&persistent("stored")).0;
    let other = node.connect("other");
    assert!(!node.subscribe(stored, "known", 1).is_error());
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::High, turn));
    assert_eq!(node.subscribe(stored, "new", 1), ReasonCode::QuotaExceeded);
    assert!(!node.subscribe(stored, "known", 2).is_error(), "it takes up no more room");
    assert!(!node.subscribe(other, "new", 1).is_error(), "it can be ended");
    node.unsubscribe(stored, "known");
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::None, turn));
    assert!(!node.subscribe(stored, "new", 1).is_error());
}

/// Publishers wait for memory, but not forever.
#[test]
fn a_shortage_that_does_not_end_refuses_messages() {
    let mut node = Node::new(&Setup::default());
    let conn = node.connect("a");
    let severe = |node: &mut Node| {
        node.call(0, |core, turn| {
            core.set_memory_pressure(MemoryPressure::Severe, turn);
        });
    };
    severe(&mut node);
    node.queue(conn, &Packet::Publish(publish("t", "x", 1, 1)));
    node.settle();
    assert_eq!(node.take(conn), [], "it waits");
    node.advance(10_000);
    severe(&mut node);
    assert_eq!(node.take(conn), [Received::PubAck(1, ReasonCode::QuotaExceeded)]);
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::None, turn));
    node.publish(conn, "t", "x", 1);
    assert!(!node.is_closed(conn));
}
