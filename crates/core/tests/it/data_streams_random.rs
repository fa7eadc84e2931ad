//! Random lives of a Client with data streams: the streams come, go and stall, and subscriptions
//! move from one to another. Whatever happens, each QoS 1 and 2 message arrives, in order on its
//! stream, and nothing stays behind.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use midge_core::Limits;

use crate::node::{Conn, Node, Random, Setup, TellOnPanic};
use crate::packets::{connect, options, persistent};

const TOPICS: usize = 4;
const STREAMS_MAX: usize = 5;

struct Life {
    node: Node,
    random: Random,
    control: Conn,
    publisher: Conn,
    streams: Vec<Conn>,
    published: usize,
    /// All messages that arrived, on any stream.
    arrived: BTreeSet<usize>,
    /// The last message of each topic that arrived on each stream for the first time.
    last: BTreeMap<(usize, String), usize>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let workers = [1, 3][random.below(2)];
        let has_store = random.below(2) == 0;
        let shuffle = (random.below(2) == 0).then_some(seed);
        // The publisher does not wait for acknowledgements.
        let limits = Limits { receive_maximum: u16::MAX, ..Limits::default() };
        let setup = Setup { workers, shuffle, has_store, limits, ..Setup::default() };
        let mut node = Node::new(&setup);
        let publisher = node.connect("publisher");
        let mut packet = if has_store { persistent("s") } else { connect("s") };
        packet.properties.receive_maximum = NonZeroU16::new(1 + random.below(12) as u16);
        let control = node.connect_with(&packet).0;
        let mut life = Self {
            node,
            random,
            control,
            publisher,
            streams: Vec::new(),
            published: 0,
            arrived: BTreeSet::new(),
            last: BTreeMap::new(),
        };
        (0..TOPICS).for_each(|topic| life.subscribe(topic, control));
        life
    }

    fn any_stream(&mut self) -> Conn {
        let all: Vec<_> = self.streams.iter().copied().chain([self.control]).collect();
        all[self.random.below(all.len())]
    }

    fn subscribe(&mut self, topic: usize, stream: Conn) {
        let level = 1 + self.random.below(2) as u8;
        let filter = ["t/0", "t/1", "t/+", "#"][topic];
        self.node.queue_subscribe(stream, &[(filter, options(level))], None);
        self.node.settle();
    }

    fn step(&mut self) {
        match self.random.below(21) {
            0..12 => {
                let topic = format!("t/{}", self.random.below(TOPICS));
                let level = 1 + self.random.below(2) as u8;
                self.node.publish(self.publisher, &topic, &self.published.to_string(), level);
                self.published += 1;
            }
            12..14 if self.streams.len() < STREAMS_MAX => {
                let stream = self.node.open_data_stream(self.control);
                self.streams.push(stream);
            }
            14 if !self.streams.is_empty() => {
                let place = self.random.below(self.streams.len());
                let stream = self.streams.remove(place);
                self.take(stream);
                self.node.lose(stream);
                assert!(!self.node.is_closed(self.control));
            }
            15 | 16 => {
                let stream = self.any_stream();
                let room = [0, 100, usize::MAX][self.random.below(3)];
                self.node.set_room(stream, room);
            }
            17 => {
                let holds = self.random.below(2) == 0;
                self.node.hold_receipts(holds);
            }
            18 => {
                let stream = self.any_stream();
                let acknowledges = self.random.below(2) == 0;
                // Messages that arrived meanwhile stay unacknowledged until it ends.
                self.node.acknowledge(stream, acknowledges || stream == self.control);
            }
            _ => {
                let (topic, stream) = (self.random.below(TOPICS), self.any_stream());
                self.subscribe(topic, stream);
            }
        }
        let all: Vec<_> = self.streams.iter().copied().chain([self.control]).collect();
        all.into_iter().for_each(|stream| self.take(stream));
    }

    fn take(&mut self, stream: Conn) {
        for message in self.node.messages(stream) {
            let number = message.text().parse().expect("texts are numbers");
            self.arrived.insert(number);
            if !message.dup {
                let last = self.last.insert((stream.0, message.topic), number);
                assert!(last.is_none_or(|last| last < number), "{number} comes after {last:?}");
            }
        }
    }

    fn end(mut self) {
        self.node.hold_receipts(false);
        self.node.set_room(self.control, usize::MAX);
        for stream in std::mem::take(&mut self.streams) {
            self.node.set_room(stream, usize::MAX);
            self.take(stream);
            self.node.lose(stream);
        }
        self.take(self.control);
        let missing: Vec<_> = (0..self.published).filter(|it| !self.arrived.contains(it)).collect();
        assert_eq!(missing, [0; 0], "of {}", self.published);
        assert_eq!(self.node.all_dropped(), []);
        let clients: Vec<_> = self.node.clients();
        let left = clients.iter().map(|client| (client.in_flight, client.queued_messages));
        assert!(left.clone().all(|left| left == (0, 0)), "{:?}", left.collect::<Vec<_>>());
    }
}

#[test]
fn nothing_is_lost_and_nothing_stays_behind() {
    for seed in 0..300 {
        let told = TellOnPanic(format!("seed {seed}"));
        let mut life = Life::new(seed);
        (0..150).for_each(|_| life.step());
        life.end();
        told.well();
    }
}
