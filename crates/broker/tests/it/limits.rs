//! Limits on connections, Sessions and the like, and on the length of a name.

use std::sync::Arc;

use midge_broker::{Broker, Limits, ListenerSettings, ReasonCode, Storage};
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received, connect_packet};
use crate::support::{DEADLINE, address, builder, counters, limited, until, usage};

fn answer(broker: &Broker, client_id: &str) -> (Client, Received) {
    let mut client = Client::open(address(broker));
    let connect = connect_packet(midge_broker::ProtocolVersion::V5, client_id);
    let answer = client.request(&connect);
    (client, answer)
}

fn code_of(received: &Received) -> ReasonCode {
    match received {
        Received::ConnAck { code, .. } => *code,
        other => panic!("no CONNACK but {other:?}"),
    }
}

#[test]
fn s23_connections_beyond_the_limit_are_turned_away_until_others_go() {
    let limits = Limits { connections_max: 5, ..Limits::default() };
    let broker = builder(2).limits(limits).start().unwrap();
    let mut clients: Vec<_> =
        (0..5).map(|n| Client::connect(address(&broker), &format!("c{n}"))).collect();
    for _ in 0..20 {
        turned_away(&broker);
    }
    clients.iter_mut().for_each(Client::ping);
    clients.remove(0).disconnect();
    until("there is room", || usage(&broker).connections == 4);
    let mut again = Client::connect(address(&broker), "again");
    again.ping();
    turned_away(&broker);
}

/// The place is free as soon as the conversation is over, not when the last byte has left.
#[test]
fn a_listener_that_is_full_has_room_when_a_client_has_left() {
    for workers in [1, 2] {
        let mut listener = ListenerSettings::new("127.0.0.1:0");
        listener.listen.limits.connections_max = 1;
        let broker = Broker::builder()
            .workers(workers)
            .placement(midge_broker::Placement::Even)
            .listener(listener)
            .start()
            .unwrap();
        for _ in 0..20 {
            let mut client = Client::connect(address(&broker), "c");
            client.ping();
            client.disconnect();
        }
    }
}

/// Connects with the identifier of a connected Client, and is told to come back later.
fn turned_away(broker: &Broker) {
    let (mut client, answer) = answer(broker, "c1");
    assert_eq!(code_of(&answer), ReasonCode::ServerBusy);
    assert_eq!(client.receive(), Received::Closed);
}

/// Connections that are handed from worker to worker are counted once.
#[test]
fn handed_over_connections_keep_the_count_true() {
    let limits = Limits { connections_max: 6, ..Limits::default() };
    let broker = builder(2).limits(limits).start().unwrap();
    let _others: Vec<_> =
        (0..3).map(|n| Client::connect(address(&broker), &format!("o{n}"))).collect();
    let mut same = Client::connect_for_long(address(&broker), "same");
    for _ in 0..40 {
        let next = Client::connect_for_long(address(&broker), "same");
        assert_eq!(same.receive(), Received::Disconnect(ReasonCode::SessionTakenOver));
        assert_eq!(same.receive(), Received::Closed);
        same = next;
    }
    let _more: Vec<_> =
        (0..2).map(|n| Client::connect(address(&broker), &format!("m{n}"))).collect();
    turned_away(&broker);
}

#[test]
fn sessions_beyond_the_limit_are_refused_and_resuming_is_not() {
    let broker = limited(|limits| limits.sessions_max = 3);
    for client_id in ["a", "b", "c"] {
        Client::connect_for_long(address(&broker), client_id).disconnect();
    }
    let (mut client, refused) = answer(&broker, "d");
    assert_eq!(code_of(&refused), ReasonCode::QuotaExceeded);
    assert_eq!(client.receive(), Received::Closed);
    Client::connect_for_long(address(&broker), "b").ping();
    // Clean Start without expiry: the Session ends with its connection, so there is room again.
    Client::connect(address(&broker), "a").disconnect();
    until("one has ended", || usage(&broker).sessions == 2);
    assert_eq!(code_of(&answer(&broker, "d").1), ReasonCode::Success);
    assert_eq!(counters(&broker).connects_refused, 1);
}

#[test]
fn a_client_identifier_may_be_as_long_as_the_limit() {
    let broker = limited(|limits| limits.client_identifier_bytes_max = 10);
    assert_eq!(code_of(&answer(&broker, "0123456789").1), ReasonCode::Success);
    let (mut client, refused) = answer(&broker, "0123456789a");
    assert_eq!(code_of(&refused), ReasonCode::ClientIdentifierNotValid);
    assert_eq!(client.receive(), Received::Closed);
    assert_eq!(code_of(&answer(&broker, "").1), ReasonCode::Success);
}

#[test]
fn connections_are_as_many_as_the_limit_however_many_come_at_once() {
    for workers in [1, 2, 8] {
        let limits = Limits { connections_max: 30, ..Limits::default() };
        // Each listener accepts on a thread of its own, or at least may do so.
        let broker = builder(workers).listen("127.0.0.1:0").limits(limits).start().unwrap();
        let addresses: Vec<_> =
            broker.local_addresses().iter().map(|it| it.network().unwrap()).collect();
        let clients: Vec<_> = (0..60)
            .map(|number| {
                let name = format!("c{number}");
                let mut client = Client::open(addresses[number % 2]);
                client.send(&midge_codec::Packet::Connect(Box::new(connect_packet(
                    midge_broker::ProtocolVersion::V5,
                    &name,
                ))));
                client
            })
            .collect();
        let is_let_in = |mut client: Client| {
            let code = code_of(&client.receive());
            assert!([ReasonCode::Success, ReasonCode::ServerBusy].contains(&code), "{code:?}");
            (code == ReasonCode::Success).then_some(client)
        };
        let let_in: Vec<_> = clients.into_iter().filter_map(is_let_in).collect();
        assert_eq!(let_in.len(), 30, "{workers} workers");
    }
}

/// What a broker finds in its store counts, and is kept even if the limits are lower now.
#[test]
fn what_is_stored_counts_after_a_restart() {
    for workers in [1, 2, 8] {
        let disk = Arc::new(FaultyDisk::new(workers as u64));
        let start = |limits: &Limits| {
            let storage = Storage::on_disk(Arc::clone(&disk) as _);
            builder(workers).storage(storage).limits(limits.clone()).start().unwrap()
        };
        let limits = Limits {
            sessions_max: 20,
            retained_messages_max: 10,
            delayed_messages_max: 10,
            ..Limits::default()
        };
        let fill = |broker: &Broker, places: usize| {
            let codes = (0..30).filter(|number| {
                let client_id = format!("c{number}");
                let mut client = Client::open(address(broker));
                let mut packet = connect_packet(midge_broker::ProtocolVersion::V5, &client_id);
                packet.properties.session_expiry_interval = Some(3600);
                packet.clean_start = false;
                let code = code_of(&client.request(&packet));
                if code == ReasonCode::Success {
                    let delayed = format!("$delayed/3600/{number}");
                    client.publish_acknowledged(&delayed, b"x");
                    client.retain(&format!("{number}"), b"x");
                    client.disconnect();
                }
                code == ReasonCode::Success
            });
            assert_eq!(codes.count(), places);
            let usage = usage(broker);
            (usage.sessions, usage.retained_messages, usage.delayed_messages)
        };
        let broker = start(&limits);
        assert_eq!(fill(&broker, 20), (20, 10, 10), "{workers} workers");
        broker.stop(DEADLINE);
        let broker = start(&limits);
        assert_eq!(fill(&broker, 20), (20, 10, 10), "{workers} workers");
        broker.stop(DEADLINE);
        let lower =
            Limits { sessions_max: 5, retained_messages_max: 5, delayed_messages_max: 5, ..limits };
        let broker = start(&lower);
        assert_eq!(fill(&broker, 20), (20, 10, 10), "{workers} workers");
        broker.stop(DEADLINE);
    }
}
