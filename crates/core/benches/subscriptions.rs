//! How many bytes a subscription takes: in its Session, in the tree of its worker, and in the trees
//! of the other workers, which know of every filter.
//!
//! `cargo bench -p midge-core --bench subscriptions` prints it for 200,000 filters of several
//! shapes, with one worker and with two: the bytes that are asked of the allocator, which are the
//! same in every run. Sessions and their connections are there before. Tables and lists that have
//! just doubled are half empty, and they count as a whole.

#![allow(clippy::print_stdout)] // the figures are what it is for

use std::sync::Arc;

use cap::Cap;
use midge_codec::{
    Connect, ConnectProperties, Packet, PacketIdentifier, ProtocolVersion, QoS, Subscribe,
    Subscription, SubscriptionOptions, UserProperties,
};
use midge_core::{
    AllowAll, AuthAnswer, ConnectionId, Core, CoreConfig, DurabilityRules, Limits, NodeBudget,
    Opening, Output, SharedStrategy, Timestamp, TopicRules, Turn, WorkerId,
};

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const SUBSCRIPTIONS: usize = 200_000;

/// The cores of a node. All Clients are connected to the first one.
struct Node {
    cores: Vec<Core>,
    turns: Vec<Turn>,
}

impl Node {
    fn new(workers: usize) -> Self {
        let budget = Arc::new(NodeBudget::default());
        let core = |index| {
            Core::new(CoreConfig {
                worker: WorkerId::new(index),
                workers,
                seed: 7,
                secret: [7, 7],
                limits: Arc::new(Limits {
                    subscriptions_per_session_max: u32::MAX,
                    ..Limits::default()
                }),
                budget: Arc::clone(&budget),
                policy: Arc::new(AllowAll),
                topics: Arc::new(TopicRules::default()),
                shared_strategy: SharedStrategy::default(),
                shared_backlog: true,
                response_prefix: None,
                tell_drops: false,
                durability: DurabilityRules::default(),
            })
        };
        Self {
            cores: (0..workers).map(core).collect(),
            turns: (0..workers).map(|_| Turn::new(NOW, workers)).collect(),
        }
    }

    fn connect(&mut self, client_id: &str) -> ConnectionId {
        let id = self.cores[0].open_connection(Opening::default(), NOW);
        let packet = Connect {
            version: ProtocolVersion::V3_1_1,
            bridge: false,
            clean_start: true,
            keep_alive_seconds: 60,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        self.cores[0].handle_packet(id, &Packet::Connect(Box::new(packet)), &mut self.turns[0]);
        self.cores[0].handle_auth_answer(id, AuthAnswer::allow(None), None, &mut self.turns[0]);
        self.run();
        id
    }

    fn subscribe(&mut self, id: ConnectionId, filter: &str) {
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        let entries = [Subscription { filter, options }];
        let packet = Subscribe {
            packet_id: PacketIdentifier::new(1).expect("not 0"),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions: entries[..].into(),
        };
        self.cores[0].handle_packet(id, &Packet::Subscribe(packet), &mut self.turns[0]);
        self.run();
    }

    /// Runs turns until nobody has anything more to say to another worker.
    fn run(&mut self) {
        loop {
            let mut is_quiet = true;
            for from in 0..self.cores.len() {
                self.end_turn(from);
                for to in 0..self.cores.len() {
                    let batch = std::mem::take(&mut self.turns[from].fx.to_workers[to]);
                    if !batch.is_empty() {
                        is_quiet = false;
                        let from = WorkerId::new(from);
                        self.cores[to].handle_batch(from, batch, &mut self.turns[to]);
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn end_turn(&mut self, worker: usize) {
        let (core, turn) = (&mut self.cores[worker], &mut self.turns[worker]);
        core.end_turn(turn);
        let flush = std::mem::take(&mut turn.fx.flush);
        core.begin_flush(&flush);
        for &id in &flush {
            let count = core.output(id).map_or(0, Output::pending);
            core.handle_written(id, count, turn);
        }
        core.end_flush();
        assert!(turn.fx.close.is_empty(), "the core ends a connection: {:?}", turn.fx.events);
        turn.fx.events.clear();
        turn.fx.reading.clear();
        turn.fx.authenticate.clear();
    }
}

/// The filter with this number.
type Shape = fn(usize) -> String;

/// Filters that share their first level with a thousand others, of four kinds.
fn mixed(number: usize) -> String {
    let site = number % 200;
    match number % 4 {
        0 => format!("site-{site}/device-{number}/sensors/temperature"),
        1 => format!("site-{site}/device-{number}/+/state"),
        2 => format!("site-{site}/device-{number}/commands/#"),
        _ => format!("site-{site}/+/alarms/device-{number}"),
    }
}

fn fleet(number: usize) -> String {
    format!("fleet/{}/vehicle-{number}/+/state", number % 50)
}

fn flat(number: usize) -> String {
    format!("device-{number}")
}

/// Returns the bytes of each subscription, `per_session` of them in each Session.
fn bytes_each(workers: usize, per_session: usize, filter: Shape) -> usize {
    let mut node = Node::new(workers);
    let sessions: Vec<_> = (0..SUBSCRIPTIONS / per_session)
        .map(|number| node.connect(&format!("client-{number}")))
        .collect();
    let before = ALLOCATOR.allocated();
    for number in 0..SUBSCRIPTIONS {
        node.subscribe(sessions[number / per_session], &filter(number));
    }
    (ALLOCATOR.allocated() - before) / SUBSCRIPTIONS
}

fn main() {
    let shapes = [("mixed", mixed as Shape), ("fleet", fleet), ("one level", flat)];
    println!("bytes per subscription, {SUBSCRIPTIONS} of them");
    for workers in [1, 2] {
        for per_session in [1, 100] {
            for (name, filter) in shapes {
                let bytes = bytes_each(workers, per_session, filter);
                println!("{workers} workers, {per_session:3} in a Session, {name:9}: {bytes:4}");
            }
        }
    }
}
