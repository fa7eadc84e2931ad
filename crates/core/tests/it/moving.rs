//! Sessions that go from one worker to another with everything that they have. That messages on the
//! way to them are neither lost nor doubled is tried by all scenarios and by the simulation of the
//! store; here is what takes a certain moment.

use std::num::NonZeroU16;

use midge_codec::{Packet, ReasonCode};
use midge_core::{Core, Limits, MemoryPressure, MoveRefusal, Usage};

use crate::node::{Conn, Node, Setup};
use crate::packets::{connect, options, persistent, publish, pubrel, will, with_alias};
use crate::received::Received;

/// A node with a store, three workers, and these Clients at its first worker.
fn node(clients: &[&str]) -> Node {
    node_with(Limits::default(), clients)
}

fn node_with(limits: Limits, clients: &[&str]) -> Node {
    let setup = Setup { workers: 3, has_store: true, limits, ..Setup::default() };
    let mut node = Node::new(&setup);
    for client in clients {
        node.homes.insert((*client).into(), 0);
    }
    node
}

/// Connects a Client whose Session is stored, and subscribes to `t`.
fn subscriber(node: &mut Node) -> Conn {
    let (conn, _) = node.connect_with(&persistent("s"));
    node.subscribe(conn, "t", 2);
    conn
}

#[test]
fn a_message_that_waits_for_a_confirmation_is_sent_by_the_new_worker() {
    for publisher_at in 0..3 {
        let mut node = node(&["s"]);
        node.homes.insert("p".into(), publisher_at);
        let s = subscriber(&mut node);
        let p = node.connect("p");
        node.hold_receipts(true);
        node.publish(p, "t", "1", 2);
        assert!(node.messages(s).is_empty(), "nobody would remember its Packet Identifier");
        node.move_to("s", 1);
        assert!(node.messages(s).is_empty());
        node.hold_receipts(false);
        assert_eq!(node.message(s).text(), "1", "published at worker {publisher_at}");
    }
}

#[test]
fn the_new_worker_tells_the_store_how_far_ahead_it_sends() {
    let limits = Limits { receive_maximum: 1_000, ..Limits::default() };
    let mut node = node_with(limits, &["s", "p"]);
    let s = subscriber(&mut node);
    let p = node.connect("p");
    node.hold_receipts(true);
    let texts: Vec<_> = (0..400).map(|number| number.to_string()).collect();
    for text in &texts {
        node.publish(p, "t", text, 1);
    }
    let mut came = node.texts(s);
    assert!(came.len() < 400, "the store does not know that so much is sent");
    node.move_to("s", 2);
    node.hold_receipts(false);
    came.append(&mut node.texts(s));
    assert_eq!(came, texts);
}

#[test]
fn a_session_waits_for_what_its_worker_owes_its_client() {
    let mut node = node(&["s"]);
    let s = subscriber(&mut node);
    node.hold_receipts(true);
    node.publish(s, "t", "1", 1);
    assert!(node.begin_move(0, "s", 1));
    node.settle();
    assert!(node.cores[0].is_moving("s") && !node.sockets[s.0].is_read);
    node.publish(s, "t", "2", 0); // it stays in the socket
    node.hold_receipts(false);
    assert!(node.cores[1].has_session("s"));
    assert!(node.take(s).iter().any(|it| matches!(it, Received::PubAck(..))));
    assert!(node.sockets[s.0].to_broker.is_empty(), "the new worker reads it");
}

#[test]
fn a_session_that_does_not_come_to_rest_stays() {
    let mut node = node(&["s"]);
    let s = subscriber(&mut node);
    node.hold_receipts(true);
    node.publish(s, "t", "1", 1);
    assert!(node.begin_move(0, "s", 1));
    node.settle();
    node.advance(4_999);
    assert!(node.cores[0].is_moving("s") && !node.sockets[s.0].is_read);
    node.advance(1); // nothing else happens
    assert!(!node.cores[0].is_moving("s") && node.sockets[s.0].is_read);
    node.hold_receipts(false);
    node.move_to("s", 1);
    assert_eq!(node.sessions(), 1);
}

#[test]
fn packet_identifiers_in_both_directions_go_along() {
    let mut node = node(&["s", "p"]);
    let s = subscriber(&mut node);
    let p = node.connect("p");
    node.acknowledge(s, false);
    node.publish(p, "t", "to it", 2);
    let got = node.message(s);
    node.send_publish(s, publish("from", "it", 2, 7));
    node.subscribe(p, "from", 0);
    for worker in [1, 2, 0] {
        node.move_to("s", worker);
        // A repetition is not passed on, and its PUBREC comes once more.
        let again = midge_codec::Publish { dup: true, ..publish("from", "it", 2, 7) };
        let _ = node.take(s);
        node.send_publish(s, again);
        assert!(matches!(node.take(s)[..], [Received::PubRec(7, _)]), "worker {worker}");
    }
    assert!(node.messages(p).is_empty());
    node.send(s, &pubrel(7));
    node.send(s, &crate::packets::pubrec(got.packet_id));
    let answers = node.take(s);
    let expected = [Received::PubComp(7, ReasonCode::Success)];
    assert!(expected.iter().all(|it| answers.contains(it)), "{answers:?}");
    assert!(answers.contains(&Received::PubRel(got.packet_id, ReasonCode::Success)));
}

#[test]
fn topic_aliases_go_along_in_both_directions() {
    let mut node = node(&["s", "p"]);
    let mut packet = connect("s");
    packet.properties.topic_alias_maximum = Some(5);
    let (s, _) = node.connect_with(&packet);
    let p = node.connect("p");
    node.subscribe(s, "to/it", 0);
    node.subscribe(p, "from/it", 0);
    node.publish(p, "to/it", "1", 0);
    node.send_publish(s, with_alias(publish("from/it", "1", 0, 0), 3));
    assert_eq!(node.message(s).topic, "to/it");
    assert_eq!(node.message(p).topic, "from/it");
    node.move_to("s", 2);
    node.publish(p, "to/it", "2", 0);
    node.send_publish(s, with_alias(publish("", "2", 0, 0), 3));
    let got = node.message(s);
    assert!(got.topic_omitted && got.topic == "to/it", "{got:?}");
    assert_eq!(node.message(p).topic, "from/it");
}

#[test]
fn no_local_knows_the_publisher_wherever_it_is() {
    let mut node = node(&["s"]);
    let s = node.connect("s");
    let own = midge_codec::SubscriptionOptions { no_local: true, ..options(1) };
    node.subscribe_with(s, &[("t", own)], None);
    for worker in [1, 2, 0, 2] {
        node.publish(s, "t", "own", 1);
        assert!(node.messages(s).is_empty());
        node.move_to("s", worker);
    }
}

#[test]
fn will_and_expiry_of_an_absent_client_go_along() {
    let mut node = node(&["s"]);
    node.homes.insert("w".into(), 1);
    let w = node.connect("w");
    node.subscribe(w, "will", 1);
    let mut packet = persistent("s");
    packet.will = Some(will("will", "gone", 1));
    packet.will.as_mut().expect("it is there").delay_interval_seconds = Some(10);
    packet.properties.session_expiry_interval = Some(20);
    let (s, _) = node.connect_with(&packet);
    node.lose(s);
    node.advance(5_000);
    node.move_to("s", 2);
    node.advance(4_900);
    assert!(node.messages(w).is_empty());
    node.advance(200);
    assert_eq!(node.message(w).text(), "gone");
    node.advance(9_800);
    assert_eq!(node.sessions(), 2);
    node.advance(200);
    assert_eq!(node.sessions(), 1, "it has expired");
}

#[test]
fn a_silent_client_is_found_silent_by_its_new_worker() {
    let mut node = node(&["s"]);
    let mut packet = connect("s");
    packet.keep_alive_seconds = 10;
    let (s, _) = node.connect_with(&packet);
    node.advance(10_000);
    node.move_to("s", 1);
    node.advance(4_000);
    assert!(!node.is_closed(s));
    node.advance(2_000);
    assert_eq!(node.end_code(s), Some(ReasonCode::KeepAliveTimeout));
}

/// Goes on until the old worker has said that all are to switch, and no further.
fn begin_to_switch(node: &mut Node) {
    assert!(node.begin_move(0, "s", 1));
    for worker in [0, 1, 2, 0, 1, 0] {
        if node.sockets.iter().any(|socket| socket.is_moving) {
            break;
        }
        node.turn(worker);
    }
}

#[test]
fn what_a_session_has_that_moves_is_counted_once() {
    let mut node = node(&["s"]);
    subscriber(&mut node);
    let counted = |node: &Node| {
        let mut usage = Usage::default();
        node.cores.iter().for_each(|core| usage.add(&core.usage()));
        (usage.connections, usage.subscriptions)
    };
    assert_eq!(counted(&node), (1, 1));
    begin_to_switch(&mut node);
    assert_eq!(counted(&node), (1, 1), "it is on its way");
    node.settle();
    assert!(node.cores[1].has_session("s"));
    assert_eq!(counted(&node), (1, 1));
    assert_eq!(node.cores.iter().map(|core| core.counters().connections_opened).sum::<u64>(), 1);
}

#[test]
fn what_ends_a_connection_while_its_session_moves_ends_it_at_the_new_worker() {
    let mut node = node(&["s"]);
    node.homes.insert("w".into(), 2);
    let w = node.connect("w");
    node.subscribe(w, "will", 1);
    let mut packet = persistent("s");
    packet.will = Some(will("will", "gone", 1));
    let (s, _) = node.connect_with(&packet);
    begin_to_switch(&mut node);
    let code = ReasonCode::AdministrativeAction;
    let was_there = (0..3).any(|worker| {
        let turn = &mut node.current[worker];
        node.cores[worker].disconnect_client("s", code, turn)
    });
    node.settle();
    if was_there {
        assert_eq!(node.end_code(s), Some(code));
        assert_eq!(node.message(w).text(), "gone");
    }
    assert!(node.cores[1].has_session("s"));
    // The next one is lost.
    node.homes.insert("s".into(), 1);
    let (s, present) = node.resume(&packet);
    assert!(present);
    assert!(node.begin_move(1, "s", 0));
    node.turn(1);
    node.break_connection(s);
    node.settle();
    assert_eq!(node.message(w).text(), "gone");
    assert_eq!(node.sessions(), 2);
}

#[test]
fn who_cannot_go_stays() {
    let mut node = node(&["s", "a", "b"]);
    let s = node.connect("s");
    let a = node.connect("a");
    let evict = |node: &mut Node, client: &str, to: usize| {
        let to = midge_core::WorkerId::new(to);
        node.call(0, |core: &mut Core, turn| core.evict_session(client, to, turn))
    };
    assert_eq!(evict(&mut node, "nobody", 1), Err(MoveRefusal::Unknown));
    assert_eq!(evict(&mut node, "s", 0), Err(MoveRefusal::Unready));
    assert_eq!(evict(&mut node, "s", 5), Err(MoveRefusal::Unready), "there is no such worker");
    let filters: Vec<_> = (0..1_100).map(|number| format!("f/{number}")).collect();
    for filters in filters.chunks(50) {
        let filters: Vec<_> = filters.iter().map(|it| (it.as_str(), options(0))).collect();
        node.subscribe_with(s, &filters, None);
    }
    assert_eq!(evict(&mut node, "s", 1), Err(MoveRefusal::TooLarge));
    let _ = node.open_data_stream(a);
    assert_eq!(evict(&mut node, "a", 1), Err(MoveRefusal::Unready));
    let _b = node.connect("b");
    let press = |node: &mut Node, pressure| {
        node.call(0, |core: &mut Core, turn| core.set_memory_pressure(pressure, turn));
    };
    press(&mut node, MemoryPressure::High);
    assert_eq!(evict(&mut node, "b", 1), Err(MoveRefusal::Unready));
    press(&mut node, MemoryPressure::None);
    assert_eq!(evict(&mut node, "b", 1), Ok(()));
}

/// What the other workers remember of a Session that has moved goes with it.
#[test]
fn a_shared_subscription_finds_its_members_and_forgets_those_that_have_ended() {
    let mut node = node(&["m1", "m2"]);
    node.homes.insert("p".into(), 2);
    let mut packet = connect("m1");
    packet.properties.receive_maximum = NonZeroU16::new(100);
    let (m1, _) = node.connect_with(&packet);
    let m2 = node.connect("m2");
    let p = node.connect("p");
    for member in [m1, m2] {
        node.subscribe(member, "$share/g/t", 1);
    }
    for (round, to) in [(0, 1), (1, 2), (2, 1), (3, 0)] {
        node.move_to("m1", to);
        node.publish(p, "t", &format!("{round}a"), 1);
        node.publish(p, "t", &format!("{round}b"), 1);
        assert_eq!((node.messages(m1).len(), node.messages(m2).len()), (1, 1), "worker {to}");
    }
    node.move_to("m1", 1);
    node.disconnect(m1, ReasonCode::Success);
    node.publish(p, "t", "2", 1);
    node.publish(p, "t", "3", 1);
    assert_eq!(node.messages(m2).len(), 2);
    assert_eq!(node.sessions(), 2);
    node.send(p, &Packet::PingReq);
}

/// A worker that has switched may be heard before the old one says that all are to switch.
#[test]
fn a_member_stays_present_if_its_new_worker_hears_of_a_message_first() {
    for group in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let mut node = node(&["s"]);
        node.homes.insert("p".into(), 2);
        let s = node.connect("s");
        let p = node.connect("p");
        node.subscribe(s, &format!("$share/{group}/t"), 1);
        assert!(node.begin_move(0, "s", 1));
        let is_switching = |node: &Node| {
            let mails = node.links[0][2].iter();
            mails.into_iter().any(|mail| format!("{mail:?}").contains("Switch"))
        };
        for worker in [1, 2, 0].into_iter().cycle().take(60) {
            if is_switching(&node) {
                break;
            }
            node.turn(worker);
        }
        assert!(is_switching(&node));
        let late = std::mem::take(&mut node.links[0][1]);
        node.queue(p, &Packet::Publish(publish("t", "1", 1, 1)));
        node.turn(2);
        node.turn(1);
        node.links[0][1] = late;
        node.settle();
        assert!(node.cores[1].has_session("s"));
        node.publish(p, "t", "2", 1);
        assert_eq!(node.texts(s), ["1", "2"], "group {group}");
    }
}

/// Goes on until a Session is between its workers; the new one has not taken it.
fn go_between(node: &mut Node, client_id: &str, from: usize, to: usize) {
    assert!(node.begin_move(from, client_id, to));
    let is_on_its_way = |node: &Node| {
        node.links[from][to].iter().any(|mail| matches!(mail, crate::wandering::Mail::Session(..)))
    };
    for worker in [0, 1, 2].into_iter().cycle().take(60) {
        if is_on_its_way(node) {
            return;
        }
        node.turn(worker);
    }
    panic!("{client_id} does not leave");
}

/// What was put by in a turn may go to another member in the same one.
#[test]
fn a_message_that_a_member_refuses_when_it_comes_is_acknowledged_when_another_one_has_it() {
    for number in 0..16 {
        let topic = format!("t/{number}");
        let setup = Setup {
            workers: 3,
            has_store: true,
            strategy: midge_core::SharedStrategy::HashByTopic,
            ..Setup::default()
        };
        let mut node = Node::new(&setup);
        for (client, worker) in [("s", 0), ("p", 1), ("m", 2)] {
            node.homes.insert(client.into(), worker);
        }
        let mut packet = connect("s");
        packet.properties.maximum_packet_size = std::num::NonZeroU32::new(64);
        let (s, _) = node.connect_with(&packet);
        let (m, _) = node.connect_with(&persistent("m"));
        let p = node.connect("p");
        node.subscribe(s, &format!("$share/g/{topic}"), 1);
        node.subscribe(m, &format!("$share/g/{topic}"), 1);
        go_between(&mut node, "s", 0, 1);
        let id = node.sockets[p.0].id;
        let text = "a long one ".repeat(20);
        let packet = Packet::Publish(publish(&topic, &text, 1, 1));
        node.cores[1].handle_packet(id, &packet, &mut node.current[1]);
        for _ in 0..3 {
            node.turn(1);
        }
        assert_eq!(node.take(p), [], "nobody has it");
        node.settle();
        assert!(matches!(node.take(p)[..], [Received::PubAck(1, _)]));
        assert_eq!(node.messages(m).len(), 1);
        assert!(node.messages(s).is_empty());
    }
}

/// The end of a Will Message may wait for other workers longer than the Session takes to leave.
#[test]
fn the_store_forgets_a_will_message_before_it_learns_of_the_next_one() {
    let limits = Limits { turn_deliveries_max: 1, ..Limits::default() };
    let mut node = node_with(limits, &["s", "p"]);
    for number in 0..20 {
        let client = format!("w{number}");
        node.homes.insert(client.clone(), 2);
        let (w, _) = node.connect_with(&persistent(&client));
        node.subscribe(w, "will", 1);
        if number == 0 {
            node.subscribe(w, "t", 1);
        }
    }
    let p = node.connect("p");
    let mut packet = persistent("s");
    packet.will = Some(will("will", "first", 1));
    packet.will.as_mut().expect("it is there").delay_interval_seconds = Some(10);
    let (s, _) = node.connect_with(&packet);
    node.lose(s);
    node.advance(8_000);
    assert!(node.begin_move(0, "s", 1));
    for worker in [0, 1, 0, 2, 1] {
        node.turn(worker);
    }
    // The Session has to wait for the answer about this message, and only for that.
    node.queue(p, &Packet::Publish(publish("t", "1", 1, 1)));
    for worker in [0, 2] {
        node.turn(worker);
    }
    node.set_now(node.now + 2_000);
    for worker in [0, 0, 2, 1, 0, 1] {
        node.turn(worker);
    }
    for worker in [0, 2, 1].into_iter().cycle().take(90) {
        if node.cores[1].has_session("s") {
            break;
        }
        node.turn(worker);
    }
    assert!(node.cores[1].has_session("s"));
    packet.will = Some(will("will", "second", 1));
    let (_, present) = node.resume(&packet);
    assert!(present);
    let mut kept = None;
    for op in node.stored.iter().flatten() {
        match op {
            midge_core::StoreOp::Session(record) if &*record.client_id == "s" => {
                let will = record.will.as_ref();
                kept = will.map(|will| will.message.payload().to_vec());
            }
            midge_core::StoreOp::WillGone { .. } => kept = None,
            _ => (),
        }
    }
    assert_eq!(kept.as_deref(), Some(&b"second"[..]));
}

/// A worker that does not know yet that a member has ended sends to where it was made.
#[test]
fn a_message_for_a_member_that_ends_on_its_way_back_goes_to_another_one() {
    for group in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let mut node = node(&["s"]);
        node.homes.insert("p".into(), 1);
        node.homes.insert("m".into(), 2);
        let s = node.connect("s");
        let p = node.connect("p");
        let m = node.connect("m");
        for member in [s, m] {
            node.subscribe(member, &format!("$share/{group}/t"), 1);
        }
        node.move_to("s", 1);
        assert!(node.begin_move(1, "s", 0));
        node.turn(1);
        node.turn(0);
        node.break_connection(s);
        for number in 1..=2 {
            node.queue(p, &Packet::Publish(publish("t", "1", 1, number)));
        }
        node.settle();
        assert_eq!(node.messages(m).len(), 2, "group {group}");
        assert_eq!(node.sessions(), 2);
    }
}
