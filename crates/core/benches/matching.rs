//! What a message costs in the core, measured through its public doors with real Sessions.
//!
//! - matching: the same topics with 10,000 and with 1,000,000 wildcard subscriptions; the ratio is
//!   to stay below 1.5. Made in an order that spreads neighbours over the whole tree, what is left
//!   of the difference is address translation: with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` it
//!   goes;
//! - fan-out from one to a thousand, and a hundred pairs, at QoS 0 to 2, per message.
//!
//! `cargo bench -p midge-core` runs everything, `cargo bench -p midge-core -- fan` what has `fan`
//! in its name.

#![allow(clippy::print_stdout)] // the figures are what it is for

use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_codec::{
    Acknowledgement, Connect, ConnectProperties, Packet, PacketIdentifier, ProtocolVersion,
    Publish, PublishProperties, QoS, Subscribe, Subscription, SubscriptionOptions, TopicName,
    UserProperties,
};
use midge_core::{
    AllowAll, AuthAnswer, ConnectionId, Core, CoreConfig, DurabilityRules, Limits, Opening,
    SharedStrategy, Timestamp, TopicRules, Turn, WorkerId,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

struct Bench {
    core: Core,
    turn: Turn,
}

impl Bench {
    fn new() -> Self {
        let config = CoreConfig {
            worker: WorkerId::new(0),
            workers: 1,
            seed: 7,
            secret: [7, 7],
            limits: Arc::new(Limits { turn_deliveries_max: u32::MAX, ..Limits::default() }),
            budget: Arc::default(),
            policy: Arc::new(AllowAll),
            topics: Arc::new(TopicRules::default()),
            shared_strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: None,
            tell_drops: false,
            durability: DurabilityRules::default(),
        };
        Self { core: Core::new(config), turn: Turn::new(NOW, 1) }
    }

    fn connect(&mut self, client_id: &str) -> ConnectionId {
        let id = self.core.open_connection(Opening::default(), NOW);
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
        self.handle(id, &Packet::Connect(Box::new(packet)));
        let answer = AuthAnswer::allow(None);
        self.core.handle_auth_answer(id, answer, None, &mut self.turn);
        self.flush();
        id
    }

    fn subscribe(&mut self, id: ConnectionId, filters: &[String], qos: QoS) {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let entries: Vec<_> =
            filters.iter().map(|filter| Subscription { filter, options }).collect();
        let packet = Subscribe {
            packet_id: packet_id(1),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions: entries[..].into(),
        };
        self.handle(id, &Packet::Subscribe(packet));
        self.flush();
    }

    #[inline]
    fn handle(&mut self, id: ConnectionId, packet: &Packet<'_>) {
        self.core.handle_packet(id, packet, &mut self.turn);
    }

    /// The end of a turn: every socket takes everything.
    fn flush(&mut self) {
        self.core.end_turn(&mut self.turn);
        let flush = std::mem::take(&mut self.turn.fx.flush);
        self.core.begin_flush(&flush);
        for &id in &flush {
            let count = self.core.output(id).map_or(0, midge_core::Output::pending);
            self.core.handle_written(id, count, &mut self.turn);
        }
        self.core.end_flush();
        assert!(
            self.turn.fx.close.is_empty(),
            "the core ends a connection: {:?}",
            self.turn.fx.events
        );
        self.turn.fx.flush = flush;
        self.turn.fx.flush.clear();
        self.turn.fx.events.clear();
        self.turn.fx.reading.clear();
        self.turn.fx.authenticate.clear();
    }
}

fn packet_id(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).expect("not 0")
}

fn publish(topic: &str, qos: QoS, number: u16) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::new(topic).expect("a valid topic"),
        packet_id: (qos > QoS::AtMostOnce).then(|| packet_id(number)),
        properties: PublishProperties::default(),
        payload: b"sixteen bytes ..",
    })
}

/// The best of several runs, in nanoseconds per operation.
fn best(runs: usize, operations: usize, mut run: impl FnMut() -> Duration) -> f64 {
    let best = (0..runs).map(|_| run()).min().expect("at least one run");
    best.as_nanos() as f64 / operations as f64
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Sessions with a hundred filters `fleet/REGION/VEHICLE/+/state` each.
struct Fleet {
    bench: Bench,
    publisher: ConnectionId,
    bytes_each: f64,
    /// The shortest time for one message with one match, and with none.
    best: [Duration; 2],
}

const TOPICS: usize = 10_000;

fn vehicle(number: usize) -> String {
    format!("fleet/{}/vehicle-{number}", number % 50)
}

impl Fleet {
    /// The subscriptions are made Session after Session, or by all of them in turn, which spreads
    /// neighbours over the whole tree.
    fn new(subscriptions: usize, in_turn: bool) -> Self {
        const PER_SESSION: usize = 100;
        let mut bench = Bench::new();
        let sessions: Vec<_> = (0..subscriptions / PER_SESSION)
            .map(|number| bench.connect(&format!("receiver-{number}")))
            .collect();
        let before = resident_bytes();
        for step in 0..subscriptions {
            let index = match in_turn {
                true => step % sessions.len() * PER_SESSION + step / sessions.len(),
                false => step,
            };
            let filter = vehicle(index) + "/+/state";
            bench.subscribe(sessions[index / PER_SESSION], &[filter], QoS::AtMostOnce);
        }
        let bytes_each = (resident_bytes() - before) as f64 / subscriptions as f64;
        let publisher = bench.connect("publisher");
        Self { bench, publisher, bytes_each, best: [Duration::MAX; 2] }
    }

    fn measure(&mut self, which: usize, topics: &[String]) {
        let mut spent = Duration::ZERO;
        for turn in topics.chunks(100) {
            let begin = Instant::now();
            for topic in turn {
                self.bench.handle(self.publisher, &publish(topic, QoS::AtMostOnce, 0));
            }
            spent += begin.elapsed();
            self.bench.flush();
        }
        self.best[which] = self.best[which].min(spent);
    }

    fn best_ns(&self, which: usize) -> f64 {
        self.best[which].as_nanos() as f64 / TOPICS as f64
    }
}

/// The topics that are published belong to the first ten thousand filters however many there are,
/// in an order without pattern. Both sizes are measured in turn: what else the machine does hits
/// both.
fn bench_matching() {
    let topics = |end: &str| {
        (0..TOPICS).map(|index| vehicle(index * 7919 % TOPICS) + end).collect::<Vec<_>>()
    };
    let topics = [topics("/engine/state"), topics("/engine/other")];
    for (order, in_turn) in [("session after session", false), ("all in turn", true)] {
        let mut fleets = [Fleet::new(10_000, in_turn), Fleet::new(1_000_000, in_turn)];
        for _ in 0..100 {
            for fleet in &mut fleets {
                for (which, topics) in topics.iter().enumerate() {
                    fleet.measure(which, topics);
                }
            }
        }
        println!("match a topic; subscribed {order}");
        for (which, what) in ["one match:", "none:"].into_iter().enumerate() {
            let [small, large] = fleets.each_ref().map(|fleet| fleet.best_ns(which));
            let ratio = large / small;
            println!(
                "  {what:10} {small:4.0} ns of 10,000, {large:4.0} ns of 1,000,000: {ratio:.2}"
            );
        }
        if !in_turn {
            println!("  bytes per subscription: {:.0}", fleets[1].bytes_each);
        }
    }
}

fn bench_fan_out() {
    const RECEIVERS: usize = 1_000;
    const ROUNDS: usize = 100;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut bench = Bench::new();
        let filter = ["news/today".to_string()];
        for number in 0..RECEIVERS {
            let id = bench.connect(&format!("receiver-{number}"));
            bench.subscribe(id, &filter, qos);
        }
        let publisher = bench.connect("publisher");
        let receivers: Vec<_> = (0..RECEIVERS as u16).collect();
        let mut acknowledging = Duration::MAX;
        let mut number = 0_u16;
        let delivery = best(10, RECEIVERS * ROUNDS, || {
            let (mut publishing, mut acking) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..ROUNDS {
                let begin = Instant::now();
                number = number % u16::MAX + 1;
                bench.handle(publisher, &publish(&filter[0], qos, number));
                let targets = bench.turn.fx.flush.clone();
                bench.flush();
                publishing += begin.elapsed();
                let begin = Instant::now();
                if qos == QoS::AtLeastOnce {
                    for &id in targets.iter().take(receivers.len()) {
                        let ack = Acknowledgement::success(packet_id(number));
                        bench.handle(id, &Packet::PubAck(ack));
                    }
                }
                acking += begin.elapsed();
            }
            acknowledging = acknowledging.min(acking);
            publishing
        });
        let acknowledging = acknowledging.as_nanos() as f64 / (RECEIVERS * ROUNDS) as f64;
        println!("fan-out 1 -> 1000, QoS {}:  {delivery:6.1} ns per delivery", qos as u8);
        if qos == QoS::AtLeastOnce {
            println!("            its PUBACK:    {acknowledging:6.1} ns");
        }
    }
}

/// A hundred publishers, each to a receiver of its own; ten messages of each come in a turn.
fn bench_pairs() {
    const PAIRS: usize = 100;
    const WINDOW: u16 = 10;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut bench = Bench::new();
        let topics: Vec<_> = (0..PAIRS).map(|number| format!("pair/{number}/topic")).collect();
        let receivers: Vec<_> =
            (0..PAIRS).map(|number| bench.connect(&format!("receiver-{number}"))).collect();
        for (&id, topic) in receivers.iter().zip(&topics) {
            bench.subscribe(id, std::slice::from_ref(topic), qos);
        }
        let publishers: Vec<_> =
            (0..PAIRS).map(|number| bench.connect(&format!("publisher-{number}"))).collect();
        let mut last = 0_u16;
        let rounds = 100;
        let cost = best(10, rounds * PAIRS * usize::from(WINDOW), || {
            let begin = Instant::now();
            for _ in 0..rounds {
                let first = if last > u16::MAX - WINDOW { 1 } else { last + 1 };
                let numbers = first..first + WINDOW;
                last = first + WINDOW - 1;
                for (&id, topic) in publishers.iter().zip(&topics) {
                    for number in numbers.clone() {
                        bench.handle(id, &publish(topic, qos, number));
                    }
                }
                bench.flush();
                acknowledge(&mut bench, (&publishers, &receivers), qos, numbers);
            }
            begin.elapsed()
        });
        println!("100 pairs, QoS {}:  {cost:6.1} ns per message, acknowledgements included", {
            qos as u8
        });
    }
}

/// All acknowledgements of one turn's messages. The receivers' Packet Identifiers are those of
/// the publishers: both count alike.
fn acknowledge(
    bench: &mut Bench,
    (publishers, receivers): (&[ConnectionId], &[ConnectionId]),
    qos: QoS,
    numbers: std::ops::Range<u16>,
) {
    let ack = |number| Acknowledgement::success(packet_id(number));
    let mut all = |ids: &[ConnectionId],
                   packet: fn(Acknowledgement<'static>) -> Packet<'static>| {
        for &id in ids {
            for number in numbers.clone() {
                bench.handle(id, &packet(ack(number)));
            }
        }
        bench.flush();
    };
    match qos {
        QoS::AtMostOnce => (),
        QoS::AtLeastOnce => all(receivers, Packet::PubAck),
        QoS::ExactlyOnce => {
            all(publishers, Packet::PubRel);
            all(receivers, Packet::PubRec);
            all(receivers, Packet::PubComp);
        }
    }
}

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let benches: [(&str, fn()); 3] =
        [("fan-out", bench_fan_out), ("pairs", bench_pairs), ("matching", bench_matching)];
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            bench();
        }
    }
}
