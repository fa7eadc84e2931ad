//! Limits on how many there may be, and how long a name.

use midge_broker::{Limits, ReasonCode};

use crate::client::{Client, Received, connect_packet};
use crate::support::{address, builder, counters, limited, until, usage};

fn answer(broker: &midge_broker::Broker, client_id: &str) -> (Client, Received) {
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

/// Connects with the identifier of a Client that is connected, and is told to come later.
fn turned_away(broker: &midge_broker::Broker) {
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
    // Clean Start without expiry: the Session ends with its connection, and there is room.
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
