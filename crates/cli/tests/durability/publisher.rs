//! Publishers: several messages under way at a time, each with its own number, and a book of what
//! was sent and acknowledged when. One kind sets and clears retained messages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use midge_codec::{ProtocolVersion, QoS};

use crate::client::{Client, Happened, Outgoing};
use crate::common::random::Random;
use crate::common::wire::Gone;
use crate::message::{Key, Kind};
use crate::round::{PATIENCE, Round};
use crate::trace::Moment;

/// The number of topics with retained messages.
pub(crate) const RETAINED_TOPICS: u32 = 50;

/// What a publisher does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// Its number among publishers; also its topic, if it has only one.
    pub(crate) index: u32,
    pub(crate) version: ProtocolVersion,
    pub(crate) qos: PublisherQoS,
    /// The number of messages under way at a time.
    pub(crate) window: usize,
    /// The longest time between two bursts.
    pub(crate) pause_micros_max: u64,
    /// Whether it has a subscription, which makes its Session durable from the beginning.
    pub(crate) subscribes: bool,
}

/// Which QoS a publisher uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublisherQoS {
    Always(QoS),
    /// QoS 1 for odd numbers, QoS 2 for even ones.
    Both,
}

/// A publisher with its book.
pub(crate) struct Publisher {
    pub(crate) plan: Plan,
    pub(crate) client: Client,
    /// The messages by number, from 1.
    entries: Vec<Entry>,
    /// The number up to which everything was found where it had to be.
    pub(crate) verified: u32,
    random: Random,
    /// The retained topics, in order.
    pub(crate) retained: Vec<RetainedTopic>,
}

/// A message in the book.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) qos: QoS,
    pub(crate) sent: Moment,
    pub(crate) acknowledged: Option<Moment>,
}

/// What a retained topic may hold: the last acknowledged state, and what was sent since. Each entry
/// has the number, and whether it clears the topic.
#[derive(Clone, Debug)]
pub(crate) struct RetainedTopic(pub(crate) VecDeque<(u32, bool)>);

impl PublisherQoS {
    pub(crate) fn of(self, number: u32) -> QoS {
        match self {
            Self::Always(qos) => qos,
            Self::Both if number.is_multiple_of(2) => QoS::ExactlyOnce,
            Self::Both => QoS::AtLeastOnce,
        }
    }
}

impl Publisher {
    pub(crate) fn new(plan: Plan, random: &Random) -> Self {
        let id = format!("{:?}-publisher-{}", plan.kind, plan.index).to_lowercase();
        let empty = RetainedTopic(VecDeque::from([(0, true)]));
        Self {
            client: Client::new(&id, plan.version),
            random: random.fork(&id),
            plan,
            entries: Vec::new(),
            verified: 0,
            retained: vec![empty; RETAINED_TOPICS as usize],
        }
    }

    /// Returns what was sent and is not verified yet.
    pub(crate) fn unverified(&self) -> &[Entry] {
        &self.entries[self.verified as usize..]
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn note_verified(&mut self) {
        self.verified = self.entries.len() as u32;
        self.client.trace.forget();
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.entries.iter().filter(|entry| entry.acknowledged.is_some()).count()
    }

    pub(crate) fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(number.checked_sub(1)? as usize)
    }

    /// Connects, subscribes if the plan says so, and waits for the end.
    pub(crate) fn set_up(&mut self, round: &Round) -> Result<(), Gone> {
        self.client.connect(round)?;
        if self.plan.subscribes {
            let filter = format!("nothing/{}", self.client.id);
            self.client.subscribe_and_wait(&filter, QoS::AtLeastOnce, round)?;
        }
        round.note_ready();
        // Nothing arrives but the end of the connection.
        self.client.next(Instant::now() + PATIENCE, round).map(|_| ())
    }

    /// Publishes until the Network Connection ends.
    pub(crate) fn run(&mut self, round: &Round) -> Result<(), Gone> {
        self.client.connect(round)?;
        round.note_ready();
        let mut next_burst = Instant::now();
        loop {
            let room = self.plan.window.saturating_sub(self.client.unfinished());
            if room > 0 && Instant::now() >= next_burst {
                for _ in 0..=self.random.below(room as u64) {
                    self.publish(round);
                }
                next_burst = Instant::now() + self.random.micros(0, self.plan.pause_micros_max);
            }
            // Always wait for a moment, even if the next burst is due: otherwise nobody would read.
            let at_least = Instant::now() + Duration::from_micros(100);
            let is_waiting = self.client.unfinished() >= self.plan.window;
            let deadline = if is_waiting { Instant::now() + PATIENCE } else { next_burst };
            let happened = self.client.next(deadline.max(at_least), round)?;
            self.note(&happened, is_waiting, round)?;
        }
    }

    /// Sends what is on its way until all of it is acknowledged, publishes a last message of each
    /// QoS, and disconnects.
    pub(crate) fn finish(&mut self, round: &Round) -> Result<(), Gone> {
        self.client.connect(round)?;
        self.publish(round);
        self.publish(round);
        while self.client.unfinished() > 0 {
            let happened = self.client.next(Instant::now() + PATIENCE, round)?;
            self.note(&happened, true, round)?;
        }
        self.client.disconnect();
        Ok(())
    }

    fn note(&mut self, happened: &Happened, is_waiting: bool, round: &Round) -> Result<(), Gone> {
        match happened {
            Happened::Acknowledged(key) => {
                let entry = &mut self.entries[key.number as usize - 1];
                entry.acknowledged = Some(round.now());
                self.client.is_promised = true;
                if key.kind == Kind::Retained {
                    self.retained[key.index as usize].settle(key.number);
                }
                Ok(())
            }
            Happened::Nothing if is_waiting => {
                Err(Gone::Broken("acknowledges nothing for a long time".into()))
            }
            _ => Ok(()),
        }
    }

    fn publish(&mut self, round: &Round) {
        let number = self.entries.len() as u32 + 1;
        let is_retained = self.plan.kind == Kind::Retained;
        let index = match self.plan.kind {
            Kind::Retained => self.random.below(u64::from(RETAINED_TOPICS)) as u32,
            _ => self.plan.index,
        };
        let key = Key::new(self.plan.kind, index, number);
        // Each topic keeps to one QoS, so that its messages keep their order.
        let qos = self.plan.qos.of(if is_retained { index } else { number });
        let clears = is_retained && self.random.once_in(4);
        if is_retained {
            self.retained[index as usize].0.push_back((number, clears));
        }
        self.entries.push(Entry { key, qos, sent: round.now(), acknowledged: None });
        let payload = if clears { Vec::new() } else { key.payload() };
        self.client.publish(Outgoing { key, qos, retain: is_retained, payload }, round);
    }

    /// Returns what the book says about a message, and what its client has seen of it.
    pub(crate) fn describe(&self, key: Key) -> String {
        let Some(entry) = self.entry(key.number) else {
            return format!("  {} has never sent {key}\n", self.client.id);
        };
        let Entry { qos, sent, acknowledged, .. } = entry;
        format!(
            "  {} sent it at {qos:?} in {sent:?}, acknowledged {acknowledged:?}:\n{}",
            self.client.id,
            self.client.trace.describe(key)
        )
    }
}

impl RetainedTopic {
    /// Notes that the broker has accepted this message: earlier ones no longer count.
    fn settle(&mut self, number: u32) {
        while self.0.front().is_some_and(|(first, _)| *first < number) {
            self.0.pop_front();
        }
    }

    /// Returns whether a new subscriber may get this message, or none.
    pub(crate) fn may_be(&self, found: Option<u32>) -> bool {
        match found {
            Some(found) => self.0.iter().any(|(number, clears)| *number == found && !clears),
            None => self.0.iter().any(|(_, clears)| *clears),
        }
    }
}
