//! Random operations of several Clients against a naive model: a list of filters and a list of
//! messages.
//!
//! Whatever happens, a Session gets the messages that its subscriptions matched, in the order of
//! each publisher: QoS 2 exactly once, QoS 1 at least once. Every copy that it does not get is
//! reported as dropped, with the Session as the receiver. The same seed gives the same effects, bit
//! for bit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use midge_codec::{Packet, TopicFilter, TopicName};
use midge_core::{DropReason, Event, Limits};

use crate::node::{Conn, Node, Random, Setup, TellOnPanic};
use crate::packets::{options, persistent, puback, pubcomp, publish, pubrec, pubrel};
use crate::received::{Got, Received};

const CLIENTS: usize = 5;
const FILTERS: [&str; 6] = ["t/#", "t/0/+", "t/1/#", "+/+/+", "t/2/+", "#"];

/// A Client with its Session, over all its connections.
#[derive(Default)]
struct Client {
    conn: Option<Conn>,
    /// The Session's number: a new one for every Clean Start.
    session: usize,
    subscriptions: BTreeMap<&'static str, u8>,
    /// Whether the Client acknowledges at once; otherwise when the dice say so.
    is_eager: bool,
    unacknowledged: VecDeque<Packet<'static>>,
    /// QoS 2 Packet Identifiers that the Client has accepted and the broker has not released.
    held: BTreeSet<u16>,
    next_packet_id: u16,
}

/// What one Session was meant to get, and what it got.
#[derive(Default)]
struct History {
    expected: BTreeMap<String, u8>,
    received: Vec<(String, u8)>,
    dropped: BTreeMap<String, DropReason>,
}

struct Model {
    node: Node,
    random: Random,
    clients: Vec<Client>,
    histories: BTreeMap<(usize, usize), History>,
    published: usize,
    events_seen: usize,
}

fn name(client: usize) -> &'static str {
    ["c0", "c1", "c2", "c3", "c4"][client]
}

/// Topics are `t/KIND/PUBLISHER-NUMBER`, each unique, so that drops can be told apart.
fn publisher_of(topic: &str) -> (&str, usize) {
    let last = topic.rsplit('/').next().expect("three levels");
    let (publisher, number) = last.split_once('-').expect("a publisher and a number");
    (publisher, number.parse().expect("a number"))
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let workers = if random.below(2) == 0 { 1 } else { 3 };
        let limits = Limits {
            queue_messages_max: 6,
            inflight_messages_max: 1 + random.below(4) as u16,
            turn_deliveries_max: 1 + random.below(8) as u32,
            receive_maximum: 1000,
            ..Limits::default()
        };
        let shuffle = Some(random.next());
        let setup = Setup { workers, shuffle, limits, ..Setup::default() };
        Self {
            node: Node::new(&setup),
            random,
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            histories: BTreeMap::new(),
            published: 0,
            events_seen: 0,
        }
    }

    fn history(&mut self, client: usize) -> &mut History {
        let session = self.clients[client].session;
        self.histories.entry((client, session)).or_default()
    }

    fn step(&mut self) {
        let client = self.random.below(CLIENTS);
        match self.random.below(12) {
            0 | 1 => self.connect(client, false),
            2 => {
                let clean = self.random.below(3) == 0;
                self.connect(client, clean);
            }
            3 => self.lose(client),
            4 | 5 => self.subscribe(client),
            6 => self.unsubscribe(client),
            7 => self.acknowledge_some(client),
            8 => self.clients[client].is_eager = self.random.below(2) == 0,
            _ => self.publish_several(),
        }
    }

    /// Lets the node settle and the Clients handle what has arrived, until no Client answers.
    fn settle(&mut self) {
        loop {
            self.node.settle();
            let mut answered = false;
            for client in 0..CLIENTS {
                answered |= self.look(client);
            }
            self.note_drops();
            if !answered {
                return;
            }
        }
    }

    /// Lets a Client handle what has arrived; returns true if it sends something.
    fn look(&mut self, client: usize) -> bool {
        let Some(conn) = self.clients[client].conn else {
            return false;
        };
        let mut answers = Vec::new();
        for packet in self.node.take(conn) {
            match packet {
                Received::Publish(got) => self.receive(client, &got),
                Received::PubRec(packet_id, _) => answers.push(pubrel(packet_id)),
                Received::PubRel(packet_id, _) => {
                    self.clients[client].held.remove(&packet_id);
                    self.clients[client].unacknowledged.push_back(pubcomp(packet_id));
                }
                _ => (),
            }
        }
        if self.clients[client].is_eager {
            answers.extend(self.clients[client].unacknowledged.drain(..));
        }
        answers.iter().for_each(|packet| self.node.queue(conn, packet));
        !answers.is_empty()
    }

    fn receive(&mut self, client: usize, got: &Got) {
        let state = &mut self.clients[client];
        let mut is_new = true;
        match got.qos {
            1 => state.unacknowledged.push_back(puback(got.packet_id)),
            2 => {
                is_new = state.held.insert(got.packet_id);
                state.unacknowledged.push_back(pubrec(got.packet_id));
            }
            _ => (),
        }
        let history = self.history(client);
        let known = history.received.iter().any(|(topic, _)| *topic == got.topic);
        assert!(!known || got.qos > 0 && got.dup, "a repetition is marked: {got:?}");
        assert!(!(known && is_new && got.qos == 2), "QoS 2 twice: {got:?}");
        assert_eq!(history.expected.get(&got.topic), Some(&got.qos), "not asked for: {got:?}");
        if is_new && !known {
            history.received.push((got.topic.clone(), got.qos));
        }
    }

    fn note_drops(&mut self) {
        let events = self.node.events.split_off(self.events_seen.min(self.node.events.len()));
        self.node.events.clear();
        self.events_seen = 0;
        for event in events {
            let Event::Dropped { receiver: Some(receiver), topic, reason, .. } = event else {
                continue;
            };
            let client = (0..CLIENTS).find(|&client| *name(client) == *receiver.client_id);
            let client = client.expect("a Client of the model");
            // The drop may belong to a Session from before a Clean Start.
            let holder = (0..=self.clients[client].session).rev().find(|&session| {
                let history = self.histories.get(&(client, session));
                history.is_some_and(|history| history.expected.contains_key(&*topic))
            });
            let holder = holder.expect("only what was to come is dropped");
            let history = self.histories.get_mut(&(client, holder)).expect("found above");
            let before = history.dropped.insert(topic.into(), reason);
            assert_eq!(before, None, "counted twice");
        }
    }

    fn connect(&mut self, client: usize, clean: bool) {
        self.settle();
        let mut packet = persistent(name(client));
        packet.clean_start = clean;
        let had_session = self.clients[client].next_packet_id > 0;
        let conn = self.node.begin_connect(&packet);
        self.node.acknowledge(conn, false);
        let state = &mut self.clients[client];
        state.unacknowledged.clear();
        state.next_packet_id = state.next_packet_id.max(1);
        if clean {
            state.session += 1;
            state.subscriptions.clear();
            state.held.clear();
        }
        state.conn = Some(conn);
        self.node.settle();
        assert_eq!(self.node.take_connack(conn).session_present, had_session && !clean);
        self.settle();
    }

    fn lose(&mut self, client: usize) {
        self.settle();
        if let Some(conn) = self.clients[client].conn.take() {
            self.node.lose(conn);
            self.clients[client].unacknowledged.clear();
        }
    }

    fn subscribe(&mut self, client: usize) {
        self.settle();
        let Some(conn) = self.clients[client].conn else {
            return;
        };
        let filter = FILTERS[self.random.below(FILTERS.len())];
        let level = self.random.below(3) as u8;
        self.node.queue_subscribe(conn, &[(filter, options(level))], None);
        self.clients[client].subscriptions.insert(filter, level);
        self.settle();
    }

    fn unsubscribe(&mut self, client: usize) {
        self.settle();
        let Some(conn) = self.clients[client].conn else {
            return;
        };
        let filters = [FILTERS[self.random.below(FILTERS.len())]];
        let packet = midge_codec::Unsubscribe {
            packet_id: crate::packets::id(9),
            user_properties: midge_codec::UserProperties::default(),
            filters: filters[..].into(),
        };
        self.node.queue(conn, &Packet::Unsubscribe(packet));
        self.clients[client].subscriptions.remove(filters[0]);
        self.settle();
    }

    fn acknowledge_some(&mut self, client: usize) {
        self.settle();
        if let Some(conn) = self.clients[client].conn {
            let count = self.random.below(4);
            for _ in 0..count {
                if let Some(packet) = self.clients[client].unacknowledged.pop_front() {
                    self.node.queue(conn, &packet);
                }
            }
        }
        self.settle();
    }

    /// Lets several Clients publish at once: only the order of each publisher is kept.
    fn publish_several(&mut self) {
        self.settle();
        for _ in 0..=self.random.below(12) {
            let publisher = self.random.below(CLIENTS);
            let Some(conn) = self.clients[publisher].conn else {
                continue;
            };
            let (kind, level) = (self.random.below(4), self.random.below(3) as u8);
            let topic = format!("t/{kind}/{}-{}", name(publisher), self.published);
            self.published += 1;
            let packet_id = &mut self.clients[publisher].next_packet_id;
            *packet_id = *packet_id % 60_000 + 1;
            let packet = publish(&topic, "x", level, *packet_id);
            self.node.queue(conn, &Packet::Publish(packet));
            self.expect(&topic, level);
            if self.random.below(3) == 0 {
                let worker = self.random.below(self.node.cores.len());
                self.node.turn(worker);
            }
        }
        self.settle();
    }

    fn expect(&mut self, topic: &str, level: u8) {
        for client in 0..CLIENTS {
            let subscriptions = self.clients[client].subscriptions.iter();
            let matching = subscriptions.filter(|(filter, _)| {
                let filter = TopicFilter::parse(filter).expect("a valid filter");
                filter.matches(TopicName::new(topic).expect("a valid topic"))
            });
            if let Some(granted) = matching.map(|(_, granted)| *granted).max() {
                self.history(client).expected.insert(topic.to_string(), granted.min(level));
            }
        }
    }

    /// Brings every Client back to take what is left; then the books have to balance.
    fn finish(mut self) -> u64 {
        for client in 0..CLIENTS {
            self.clients[client].is_eager = true;
            self.connect(client, false);
        }
        for ((client, session), history) in &self.histories {
            check(history, &format!("{} session {session}", name(*client)));
        }
        self.node.trace
    }
}

fn check(history: &History, whose: &str) {
    let received: BTreeSet<_> = history.received.iter().map(|(topic, _)| topic).collect();
    for (topic, level) in &history.expected {
        match (received.contains(topic), history.dropped.get(topic)) {
            (false, None) => panic!("{whose}: {topic} (QoS {level}) is lost"),
            (true, Some(reason)) if *reason != DropReason::SessionEnded => {
                panic!("{whose}: {topic} arrived and was dropped ({reason:?})");
            }
            _ => (),
        }
    }
    let mut last: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for (topic, level) in &history.received {
        let (publisher, number) = publisher_of(topic);
        let before = last.insert((publisher, *level > 0), number);
        assert!(before.is_none_or(|before| before < number), "{whose}: {topic} is out of order");
    }
}

fn run(seed: u64) -> u64 {
    let told = TellOnPanic(format!("seed {seed}"));
    let mut model = Model::new(seed);
    for _ in 0..120 {
        model.step();
    }
    let trace = model.finish();
    told.well();
    trace
}

#[test]
fn random_clients_get_what_the_model_says() {
    for seed in 0..150 {
        run(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    for seed in 1000..1010 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
