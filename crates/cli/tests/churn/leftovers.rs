//! What a broker still has when everybody is gone: by its own figures, and by what the operating
//! system says about its process.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::fs::{self, DirEntry};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use midge_codec::{
    Packet, PacketIdentifier, ProtocolVersion, Publish, PublishProperties, QoS, Subscribe,
    Subscription, SubscriptionOptions, TopicName,
};

use crate::common::wire::{Connection, Incoming};
use crate::life::{self, RESIDENTS, RETAINED};

/// Sessions and messages of this test live for seconds; the allocator returns memory when idle.
const PATIENCE: Duration = Duration::from_secs(40);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Figures, and their values when nobody is left but the Client that asks.
const EMPTY: [(&str, u64); 6] = [
    ("clients/total", 1),
    ("subscriptions/count", 1),
    ("shared_subscriptions/count", 0),
    ("publish/delayed/count", 0),
    ("store/queued_messages", 0),
    ("retained messages/count", 0),
];

/// Looks at a broker from outside.
pub(crate) struct Inspector {
    port: u16,
    process: u32,
}

/// What the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    resident_bytes: u64,
    threads: usize,
    sockets: usize,
}

impl Inspector {
    pub(crate) fn new(port: u16, process: u32) -> Self {
        Self { port, process }
    }

    /// Ends the Sessions and removes the retained messages that would otherwise stay.
    pub(crate) fn clear_away(&self) {
        (0..RESIDENTS).for_each(|resident| life::end_session_of(self.port, resident));
        let mut connection = self.connect("broom");
        for number in 0..RETAINED {
            put_removal(&mut connection, &format!("kept/{number}"));
        }
        connection.put(&Packet::PingReq);
        let deadline = Instant::now() + PATIENCE;
        while !matches!(connection.receive(deadline).unwrap().unwrap(), Incoming::PingResp) {}
    }

    fn connect(&self, client_id: &str) -> Connection {
        let mut connection = Connection::open(self.port, ProtocolVersion::V5).unwrap();
        life::put_connect(&mut connection, ProtocolVersion::V5, client_id, true, None, None);
        life::expect_connack(&mut connection).unwrap();
        connection
    }

    /// Waits until the broker's own figures say that nothing is left.
    pub(crate) fn wait_until_nobody_is_left(&self) {
        let mut connection = self.connect("inspector");
        connection.put(&Packet::Subscribe(Subscribe {
            packet_id: PacketIdentifier::new(1).unwrap(),
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: (&[Subscription {
                filter: "$SYS/broker/#",
                options: SubscriptionOptions::default(),
            }][..])
                .into(),
        }));
        let deadline = Instant::now() + PATIENCE;
        let mut figures = HashMap::new();
        while !is_empty(&figures) {
            let Ok(Some(incoming)) = connection.receive(deadline) else {
                panic!("somebody is left: {:?}", EMPTY.map(|(name, _)| (name, figures.get(name))));
            };
            if let Incoming::Publish(figure) = incoming {
                let name = figure.topic.trim_start_matches("$SYS/broker/").to_owned();
                if let Ok(value) = String::from_utf8_lossy(&figure.payload).parse() {
                    figures.insert(name, value);
                }
            }
        }
    }

    /// Returns what the process holds, as soon as that is no more than at first, or after a while.
    pub(crate) fn wait_for(&self, first: Option<&Held>, more_bytes: u64) -> Held {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let held = self.look();
            let is_fine = first.is_none_or(|first| held.is_within(first, more_bytes));
            if is_fine || Instant::now() > deadline {
                return held;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    fn look(&self) -> Held {
        let process = format!("/proc/{}", self.process);
        let statm = fs::read_to_string(format!("{process}/statm")).expect("the broker runs");
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        let entries = |of: &str| fs::read_dir(format!("{process}/{of}")).into_iter().flatten();
        let is_socket = |entry: &io::Result<DirEntry>| {
            let target = entry.as_ref().map(|entry| fs::read_link(entry.path()));
            matches!(target, Ok(Ok(target)) if target.to_string_lossy().starts_with("socket:"))
        };
        Held {
            resident_bytes: pages.expect("the kernel tells the resident pages") * 4096,
            threads: entries("task").count(),
            sockets: entries("fd").filter(is_socket).count(),
        }
    }
}

fn is_empty(figures: &HashMap<String, u64>) -> bool {
    EMPTY.iter().all(|(name, value)| figures.get(*name) == Some(value))
}

fn put_removal(connection: &mut Connection, topic: &str) {
    connection.put(&Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: true,
        topic: TopicName::new(topic).unwrap(),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: b"",
    }));
}

impl Held {
    fn is_within(&self, first: &Self, more_bytes: u64) -> bool {
        self.resident_bytes <= first.resident_bytes + more_bytes
            && self.threads <= first.threads
            && self.sockets <= first.sockets
    }

    pub(crate) fn expect_no_more_than(&self, first: &Self, more_bytes: u64, when: &str) {
        assert!(self.is_within(first, more_bytes), "{when}: {self}, after the first: {first}");
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { resident_bytes, threads, sockets } = self;
        let kilobytes = resident_bytes >> 10;
        write!(f, "{kilobytes} kB resident, {threads} threads, {sockets} sockets")
    }
}
