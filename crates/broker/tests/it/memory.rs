//! What idle connections cost.

use midge_broker::{Broker, Limits, ProtocolVersion, QoS, ReasonCode};

use crate::alone::{alone, connections_possible, figure, resident_bytes};
use crate::client::{Client, Received, connect_packet};
use crate::support::{address, broker, builder, until, usage};

/// Bytes of resident memory that an idle connection with one subscription may cost. The measured
/// figure is printed; it includes the test's own half, as both ends are in this process.
const BYTES_MAX: u64 = if cfg!(debug_assertions) { 4096 } else { 2048 };

#[test]
fn an_idle_connection_with_a_subscription_costs_little() {
    if !alone("memory::an_idle_connection_with_a_subscription_costs_little") {
        return;
    }
    let broker = broker(2);
    let count = connections_possible(5_000);
    let mut clients = Vec::with_capacity(count);
    for number in 0..100 {
        clients.push(idle(&broker, number));
    }
    let before = resident_bytes();
    for number in 100..count {
        clients.push(idle(&broker, number));
    }
    let each = resident_bytes().saturating_sub(before) / (count - 100) as u64;
    figure(&format!("{each} bytes for each of {count} idle connections with one subscription"));
    assert_eq!(usage(&broker).subscriptions, count);
    assert!(each <= BYTES_MAX, "{each} bytes for each of {count}");
    clients.iter_mut().step_by(100).for_each(Client::ping);
}

fn idle(broker: &Broker, number: usize) -> Client {
    let mut client = Client::connect(address(broker), &format!("client-{number}"));
    client.subscribe(&format!("devices/{number}/commands"), QoS::AtLeastOnce);
    client.forget_buffer();
    client
}

/// Connections that come and go leave nothing behind.
#[test]
fn connections_that_are_gone_cost_nothing() {
    if !alone("memory::connections_that_are_gone_cost_nothing") {
        return;
    }
    let broker = broker(2);
    let round = || {
        for number in 0..300 {
            let mut client = idle(&broker, number);
            client.publish_acknowledged("t", &[0; 1000]);
            client.disconnect();
        }
    };
    round();
    let before = resident_bytes();
    for _ in 0..5 {
        round();
    }
    let grown = resident_bytes().saturating_sub(before);
    figure(&format!("{} KB more after 1,500 connections that are gone", grown / 1024));
    assert_eq!((usage(&broker).sessions, usage(&broker).subscriptions), (0, 0));
    assert!(grown < 2 << 20, "{grown} bytes");
}

/// When memory is short, a broker does not read from publishers; but it answers a Client that only
/// pings, and a Client that only receives can acknowledge.
#[test]
fn a_broker_short_of_memory_still_hears_who_does_not_publish() {
    if !alone("memory::a_broker_short_of_memory_still_hears_who_does_not_publish") {
        return;
    }
    // So large that nothing else in this process changes the ratio noticeably.
    let ballast = vec![1_u8; 200 << 20];
    // From 75 %, QoS 0 is dropped and publishers are held back; from 85 %, Clients have to go.
    let limits = Limits { memory_bytes_max: resident_bytes() / 80 * 100, ..Limits::default() };
    let broker = builder(1).limits(limits).start().unwrap();
    let mut quiet = Client::connect(address(&broker), "quiet");
    // Some Clients are still let in, but not many.
    let mut others = Vec::new();
    until("nobody more is let in", || {
        let mut other = Client::open(address(&broker));
        let client_id = format!("another-{}", others.len());
        match other.request(&connect_packet(ProtocolVersion::V5, &client_id)) {
            Received::ConnAck { code: ReasonCode::ServerBusy, .. } => true,
            Received::ConnAck { code: ReasonCode::Success, .. } => {
                others.push(other);
                false
            }
            answer => panic!("{answer:?}"),
        }
    });
    quiet.ping();
    others.iter_mut().for_each(Client::ping);
    assert_eq!(ballast.len(), 200 << 20);
}
