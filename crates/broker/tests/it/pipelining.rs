//! Packets that arrive together with a CONNECT that is decided later.

use std::sync::Arc;
use std::time::Duration;

use midge_broker::{Broker, Hook};

use crate::raw::{CONNACK, Raw, connect};
use crate::support::address;

struct AllowsAll;

impl Hook for AllowsAll {}

#[test]
fn a_subscribe_behind_its_connect_is_answered_by_a_worker_with_nothing_else_to_do() {
    let broker = Broker::builder()
        .listen("127.0.0.1:0")
        .workers(2)
        .placement(midge_broker::Placement::Even)
        .hook(Arc::new(AllowsAll))
        .start()
        .expect("a free port");
    for number in 0..4 {
        let mut client = Raw::open(address(&broker));
        client.write(&[&connect(&format!("client-{number}")), b"\x82\x06\0\x07\0\x01a\0"]);
        client.expect(CONNACK);
        client.expect(&[0x90, 3, 0, 7, 0]);
    }
    broker.stop(Duration::from_secs(1));
}
