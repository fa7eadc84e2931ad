//! What a seed stands for: how many workers, which Clients with which habits, and what goes wrong.

use std::num::NonZeroUsize;

use midge_codec::ProtocolVersion;
use midge_core::{Durability, Limits, SharedStrategy};
use midge_store::Options;
use midge_store::testing::Random;

/// Everything that is decided before a run begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    pub(crate) steps: u64,
    pub(crate) clients: Vec<ClientPlan>,
    pub(crate) limits: Limits,
    pub(crate) strategy: SharedStrategy,
    pub(crate) options: Options,
    pub(crate) durability: Durability,
    pub(crate) is_kill_only: bool,
    /// One in this many steps is a cut.
    pub(crate) cut_one_in: usize,
    pub(crate) cuts_while_opening: bool,
    pub(crate) disk_fills: bool,
    pub(crate) syncs_fail: bool,
    /// Whether the broker may learn late that a Network Connection is gone.
    pub(crate) has_half_open: bool,
    /// The share of steps that are the store's, in percent.
    pub(crate) store_share: usize,
    pub(crate) pace: Pace,
    /// In one of this many steps a Session begins to move to another worker; 0: in none.
    pub(crate) moves_one_in: usize,
    /// How much time may pass during a turn before something else is taken in; 0: none.
    pub(crate) turn_ms_max: usize,
}

/// How long syncs take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How long each sync takes, in milliseconds.
    pub(crate) sync_ms: u64,
    /// One in this many syncs takes some seconds; 0: none.
    pub(crate) stall_one_in: usize,
}

impl Pace {
    fn random(random: &mut Random) -> Self {
        let sync_ms = [0, 0, 1, 8, 50][random.below(5)];
        let stall_one_in = if random.one_in(4) { 20 } else { 0 };
        Self { sync_ms, stall_one_in }
    }

    /// Returns how long the next sync takes.
    pub(crate) fn next(self, random: &mut Random) -> u64 {
        match self.stall_one_in {
            0 => self.sync_ms,
            one_in if random.one_in(one_in) => 1_000 + random.below(4_000) as u64,
            _ => self.sync_ms,
        }
    }
}

/// A Client and its habits.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) id: String,
    pub(crate) version: ProtocolVersion,
    /// The Session Expiry Interval; 0: the Session ends with the Network Connection.
    pub(crate) expiry_seconds: u32,
    pub(crate) receive_maximum: Option<u16>,
    /// How likely it is to connect when it is offline and has a turn, in percent.
    pub(crate) presence: usize,
    /// Its connection breaks in one of this many turns.
    pub(crate) break_one_in: usize,
    pub(crate) filters: Vec<String>,
    pub(crate) qos: u8,
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) will: Option<WillPlan>,
    pub(crate) churns: bool,
    /// One in this many reconnects is with Clean Start; 0: none.
    pub(crate) clean_one_in: usize,
    /// In one of this many turns it takes its Session over from a connection that it still has; 0:
    /// never.
    pub(crate) takes_over_one_in: usize,
    /// It acknowledges nothing on one in this many connections; 0: on none.
    pub(crate) withholds_one_in: usize,
    /// The most messages that it has under way.
    pub(crate) window: usize,
    pub(crate) payload_max: usize,
}

/// A topic to which a Client publishes.
#[derive(Clone, Debug)]
pub(crate) struct TopicPlan {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) kind: TopicKind,
    /// The Message Expiry Interval of the messages published.
    pub(crate) expiry_seconds: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicKind {
    Plain,
    Retained,
    Delayed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WillPlan {
    pub(crate) qos: u8,
    pub(crate) delay_seconds: u32,
}

impl ClientPlan {
    pub(crate) fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.expiry_seconds > 0
    }

    /// Returns a Client that looks at the retained messages after everything else.
    pub(crate) fn probe(number: usize) -> Self {
        Self {
            id: format!("probe-{number}"),
            version: ProtocolVersion::V5,
            expiry_seconds: 0,
            receive_maximum: None,
            presence: 100,
            break_one_in: usize::MAX,
            filters: vec!["r/#".into()],
            qos: 1,
            topics: Vec::new(),
            will: None,
            churns: false,
            clean_one_in: 0,
            takes_over_one_in: 0,
            withholds_one_in: 0,
            window: 1,
            payload_max: 1,
        }
    }
}

impl Plan {
    /// Returns limits with queues that take whatever comes.
    pub(crate) fn roomy_limits() -> Limits {
        Limits {
            queue_messages_max: 1_000_000,
            queue_bytes_max: 1 << 30,
            shared_backlog_messages_max: 1_000_000,
            shared_backlog_bytes_max: 1 << 30,
            awaiting_release_max: 1000,
            ..Limits::default()
        }
    }

    pub(crate) fn new(random: &mut Random) -> Self {
        let is_kill_only = random.one_in(5);
        let mut limits = Self::roomy_limits();
        if random.one_in(3) {
            limits.turn_deliveries_max = 1 + random.below(3) as u32;
        }
        if random.one_in(3) {
            limits.inflight_messages_max = 2 + random.below(6) as u16;
        }
        let segment_bytes = [4096, 8192, 16384][random.below(3)];
        let strategies = [
            SharedStrategy::RoundRobin,
            SharedStrategy::RoundRobin,
            SharedStrategy::Random,
            SharedStrategy::Sticky,
            SharedStrategy::LeastInFlight,
            SharedStrategy::HashByTopic,
        ];
        let workers = 1 + random.below(3);
        Self {
            workers,
            steps: [300, 600, 1200, 2400, 5000][random.below(5)],
            clients: clients(random),
            limits,
            strategy: strategies[random.below(strategies.len())],
            options: Options {
                segment_bytes,
                checkpoint_bytes: segment_bytes * (1 + random.below(4) as u64),
                bytes_max: u64::MAX,
                readers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
            },
            durability: match is_kill_only && random.one_in(2) {
                true => Durability::Interval,
                false => Durability::Fsync,
            },
            is_kill_only,
            cut_one_in: [60, 120, 250, 600][random.below(4)],
            cuts_while_opening: random.one_in(3),
            disk_fills: random.one_in(4),
            syncs_fail: random.one_in(6),
            has_half_open: random.one_in(3),
            store_share: [6, 12, 25][random.below(3)],
            pace: Pace::random(random),
            moves_one_in: [0, 3, 8, 30][random.below(4)],
            turn_ms_max: [0, 0, 20, 1500][random.below(4)],
        }
    }
}

fn clients(random: &mut Random) -> Vec<ClientPlan> {
    let publishers = 1 + random.below(3);
    let subscribers = 2 + random.below(4);
    let mut clients = Vec::new();
    for number in 0..publishers {
        clients.push(publisher(number, random));
    }
    for number in 0..subscribers {
        clients.push(subscriber(number, random));
    }
    for (group, qos) in [("g1", 1), ("g2", 2)] {
        if random.one_in(2) {
            continue;
        }
        for number in 0..1 + random.below(3) {
            let mut member = subscriber(number, random);
            member.id = format!("{group}-{number}");
            member.expiry_seconds = member.expiry_seconds.max(3600);
            member.qos = qos;
            member.filters = vec![format!("$share/{group}/s/{qos}/#")];
            clients.push(member);
        }
    }
    clients
}

fn habits(id: String, random: &mut Random) -> ClientPlan {
    let is_v5 = random.one_in(2);
    let expiries = [u32::MAX, 3600, 3600, 4 + random.below(10) as u32];
    ClientPlan {
        id,
        version: if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 },
        expiry_seconds: if is_v5 { expiries[random.below(4)] } else { u32::MAX },
        receive_maximum: None,
        presence: [100, 50, 20, 5][random.below(4)],
        break_one_in: [8, 20, 60, 1000][random.below(4)],
        filters: Vec::new(),
        qos: 1 + random.below(2) as u8,
        topics: Vec::new(),
        will: None,
        churns: random.one_in(3),
        clean_one_in: if random.one_in(4) { 4 } else { 0 },
        takes_over_one_in: if random.one_in(3) { 25 } else { 0 },
        withholds_one_in: if random.one_in(4) { 3 } else { 0 },
        window: [1, 4, 10, 40][random.below(4)],
        payload_max: [10, 100, 100, 2000][random.below(4)],
    }
}

fn publisher(number: usize, random: &mut Random) -> ClientPlan {
    let mut plan = habits(format!("publisher-{number}"), random);
    plan.presence = plan.presence.max(50);
    for kind in ["t", "s"] {
        for qos in [1, 2] {
            for topic in 0..random.below(3) {
                let topic = format!("{kind}/{qos}/{topic}");
                let expires = plan.is_v5() && random.one_in(3);
                let expiry_seconds = expires.then(|| [1, 3, 60, 3600][random.below(4)]);
                plan.topics.push(TopicPlan { topic, qos, kind: TopicKind::Plain, expiry_seconds });
            }
        }
    }
    if random.one_in(2) || plan.topics.is_empty() {
        let qos = 1 + random.below(2) as u8;
        let topic = format!("r/{number}");
        let kind = TopicKind::Retained;
        plan.topics.push(TopicPlan { topic, qos, kind, expiry_seconds: None });
    }
    if random.one_in(2) {
        let topic = format!("d/{number}");
        let kind = TopicKind::Delayed;
        plan.topics.push(TopicPlan { topic, qos: 1, kind, expiry_seconds: None });
    }
    plan
}

fn subscriber(number: usize, random: &mut Random) -> ClientPlan {
    let mut plan = habits(format!("subscriber-{number}"), random);
    let filters = ["t/#", "t/1/0", "t/2/0", "t/2/+", "t/+/1", "t/1/#", "r/#", "r/0", "d/#", "w/#"];
    for filter in filters {
        if random.one_in(3) {
            plan.filters.push(filter.into());
        }
    }
    if plan.filters.is_empty() {
        plan.filters.push("t/#".into());
    }
    if random.one_in(5) {
        plan.expiry_seconds = 0;
    }
    if plan.is_v5() && random.one_in(3) {
        plan.receive_maximum = Some(1 + random.below(3) as u16);
    }
    if random.one_in(3) {
        let delay_seconds = if plan.is_v5() { random.below(4) as u32 } else { 0 };
        plan.will = Some(WillPlan { qos: 1 + random.below(2) as u8, delay_seconds });
    }
    plan
}
