//! Counts of what was at stake in a run, and of what was lost.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use midge_broker::QoS;

use super::publisher::qos_of;
use super::run::{INTERVAL, Setup};
use super::scene::{Kind, Promise};
use super::subscriber::Subscriber;

/// What a run has observed besides messages.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// When the accident happened.
    pub(crate) at: Option<Instant>,
    /// When the oldest write was made that was not on the device.
    pub(crate) unsynced_since: Option<Instant>,
    /// How many promises were given before the accident.
    pub(crate) promised: usize,
    /// How late a thread of this process was at most.
    pub(crate) lateness: Duration,
    pub(crate) has_ended: bool,
    pub(crate) retained: HashMap<String, u32>,
    pub(crate) subscriptions: Vec<String>,
    /// Clients whose Sessions exist although they were said to be gone.
    pub(crate) back: Vec<String>,
}

/// How much of something acknowledged there was, and how much was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) at_stake: u64,
    pub(crate) lost: u64,
    /// Those lost although everything written before their acknowledgement was on the device.
    pub(crate) lost_older: u64,
}

/// A line of the table: promises of a kind to a group of publishers, or repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Count {
    Promised(Kind, usize),
    /// QoS 2 messages that were handed over more than once.
    Repeated(usize),
}

/// All counts of a run, or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome(pub(crate) BTreeMap<Count, Tally>);

impl Outcome {
    pub(crate) fn of(
        setup: &Setup,
        promises: &[Promise],
        subscribers: &[Subscriber],
        evidence: &Evidence,
    ) -> Self {
        evidence.check_interval();
        let mut outcome = Self::default();
        for (index, promise) in promises.iter().enumerate() {
            let is_before = index < evidence.promised;
            for lost in judge(promise, is_before, subscribers, evidence) {
                assert!(is_before || !lost, "lost without an accident: {promise:?} {setup:?}");
                let count = Count::Promised(promise.kind, promise.group);
                outcome.add(count, lost, is_before, evidence.is_recent(promise.at));
            }
        }
        let groups: HashMap<_, _> = promises
            .iter()
            .filter(|promise| promise.kind == Kind::Message)
            .map(|promise| (&promise.name, promise.group))
            .collect();
        for delivered in subscribers.iter().flat_map(|subscriber| &subscriber.delivered) {
            let (payload, delivered) = delivered;
            let Some(group) = groups.get(payload).filter(|_| qos_of(payload) == QoS::ExactlyOnce)
            else {
                continue;
            };
            let is_repeated = delivered.before + delivered.after > 1;
            let at = delivered.completed_at;
            let is_recent = at.is_some_and(|at| evidence.is_recent(at));
            outcome.add(Count::Repeated(*group), is_repeated, true, is_recent);
        }
        outcome
    }

    fn add(&mut self, count: Count, lost: bool, counts: bool, is_recent: bool) {
        let tally = self.0.entry(count).or_default();
        tally.at_stake += u64::from(counts);
        tally.lost += u64::from(lost);
        tally.lost_older += u64::from(lost && !is_recent);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, tally) in &other.0 {
            let own = self.0.entry(*count).or_default();
            own.at_stake += tally.at_stake;
            own.lost += tally.lost;
            own.lost_older += tally.lost_older;
        }
    }

    pub(crate) fn tally(&self, count: Count) -> Tally {
        self.0.get(&count).copied().unwrap_or_default()
    }

    /// Returns whether there was something of each of these to lose.
    pub(crate) fn had_at_stake(&self, counts: &[Count]) -> bool {
        counts.iter().all(|count| self.tally(*count).at_stake > 0)
    }

    /// Returns whether something of each of these was lost.
    pub(crate) fn has_lost(&self, counts: &[Count]) -> bool {
        counts.iter().all(|count| self.tally(*count).lost > 0)
    }
}

impl Evidence {
    /// Returns whether what was acknowledged then may have been written after the last sync.
    fn is_recent(&self, at: Instant) -> bool {
        self.unsynced_since.is_some_and(|since| at >= since)
    }

    /// Checks that what was written is on the device within the interval. A sync is certain to be
    /// due by then, but how soon the broker's thread gets a processor is not: that is measured.
    fn check_interval(&self) {
        let (Some(at), Some(since)) = (self.at, self.unsynced_since) else {
            return;
        };
        let tolerance = Duration::from_millis(500) + 4 * self.lateness;
        let age = at.saturating_duration_since(since);
        assert!(age <= INTERVAL + tolerance, "not synced for {age:?}, late by {:?}", self.lateness);
    }
}

/// Returns, for each one concerned, whether the promised thing is lost.
fn judge(
    promise: &Promise,
    is_before: bool,
    subscribers: &[Subscriber],
    evidence: &Evidence,
) -> Vec<bool> {
    let name = &promise.name;
    let found = match promise.kind {
        Kind::Message => {
            let of = |it: &Subscriber| it.delivered.get(name).copied().unwrap_or_default();
            let deliveries = subscribers.iter().map(of);
            // A message delivered before the accident was no longer at stake.
            let at_stake = deliveries.filter(|delivered| !is_before || delivered.before == 0);
            return at_stake.map(|it| it.before + it.after == 0).collect();
        }
        Kind::Retained => {
            evidence.retained.get(name).is_some_and(|version| *version >= promise.version)
        }
        Kind::Subscription => evidence.subscriptions.contains(name),
        Kind::Gone => !evidence.back.contains(name),
        Kind::Will => subscribers.iter().any(|it| it.delivered.contains_key(name)),
    };
    vec![!found]
}
