//! The loop: starts the broker, lets all clients connect and work, ends the broker at a random
//! moment, and repeats. From time to time, and at the end, everything has to be where it was
//! promised to be.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use midge_codec::QoS;

use crate::cast;
use crate::common::broker::{Broker, Home, Keeping};
use crate::common::random::Random;
use crate::common::slow_sync::Pace;
use crate::inspector;
use crate::message::{Key, Kind};
use crate::publisher::Publisher;
use crate::resubscriber::Resubscriber;
use crate::round::{Fault, Findings, Round};
use crate::subscriber::{Missing, Rules, Subscriber, Wants};
use crate::will::{self, Mortal};

/// How many rounds there are between two checks that everything is there.
const ROUNDS_BETWEEN_DRAINS: u32 = 50;

/// In every round of this number, retained messages are checked, and clients that come seldom come.
pub(crate) const SELDOM: u32 = 5;

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The broker is killed; its data directory has what it acknowledged.
    Kill,
    /// All Network Connections break, and the broker lives on with what it has in memory. For a
    /// Client this is the same, so it shows that the clients here behave correctly.
    Cut,
}

/// When a round ends: how long after which event.
#[derive(Clone, Copy, Debug)]
enum EndsAfter {
    /// While clients connect, or are about to.
    Start(Duration),
    /// When some clients are there and get what waited for them.
    FirstAnswer(Duration),
    /// In the middle of traffic.
    Readiness(Duration),
}

/// A test from its first round to its last.
pub(crate) struct Campaign {
    label: String,
    random: Random,
    home: Home,
    end: End,
    broker: Option<Broker>,
    findings: Arc<Findings>,
    rules: Rules,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    resubscribers: Vec<Resubscriber>,
    /// Rounds whose Will Message is due.
    wills: BTreeSet<u32>,
    round: u32,
    /// The times from the broker's start to its first accepted connection and its first CONNACK.
    start_times: Vec<Duration>,
    answer_times: Vec<Duration>,
}

impl Campaign {
    pub(crate) fn new(end: End, workers: usize, paces: &'static [Pace], seed: u64) -> Self {
        let mut random = Random::new(seed).fork(&format!("{end:?} {workers}"));
        let keeping = if end == End::Kill { Keeping::Data } else { Keeping::Memory };
        let home = Home::new(keeping, workers, paces, &mut random);
        let publishers = cast::publishers(&random);
        let rules = Rules { publishers: publishers.iter().map(|it| it.plan.qos).collect() };
        let slow = if paces == [Pace::NORMAL] { "" } else { ", slow disks" };
        Self {
            label: format!("seed {seed}, {end:?}, {workers} workers{slow}"),
            home,
            end,
            broker: None,
            findings: Arc::default(),
            rules,
            subscribers: cast::subscribers(publishers.len(), &random),
            resubscribers: cast::resubscribers(&random),
            publishers,
            wills: BTreeSet::new(),
            round: 0,
            start_times: Vec::new(),
            answer_times: Vec::new(),
            random,
        }
    }

    /// Plays `rounds` rounds; if anything is wrong, panics with everything that is known.
    pub(crate) fn run(mut self, rounds: u32) {
        say(&format!("{}: {rounds} rounds", self.label));
        let began = Instant::now();
        self.set_up();
        for round in 1..=rounds {
            self.play();
            if round % ROUNDS_BETWEEN_DRAINS == 0 {
                self.drain();
            }
        }
        // The second drain follows the end of a broker that had nothing left to do.
        self.drain();
        self.drain();
        let summary = self.summary(rounds, began.elapsed());
        say(&format!("{}: {summary}", self.label));
    }

    fn summary(&mut self, rounds: u32, time: Duration) -> String {
        let acknowledged: usize = self.publishers.iter().map(Publisher::acknowledged).sum();
        let deliveries: u64 = self.subscribers.iter().map(|it| it.deliveries).sum();
        let promised: usize = self.resubscribers.iter().map(|it| it.promised().count()).sum();
        let (accepting, answering) =
            (spread(&mut self.start_times), spread(&mut self.answer_times));
        format!(
            "{rounds} rounds in {:.1} s, {acknowledged} messages acknowledged, {deliveries} \
             delivered, {} lost, {} duplicated at QoS 2; {} wills, {promised} subscriptions; \
             accepting connections after {accepting}, first CONNACK after {answering}",
            time.as_secs_f64(),
            self.findings.count(Fault::Lost),
            self.findings.count(Fault::Duplicated),
            self.wills.len(),
        )
    }

    /// Lets everybody subscribe; nothing is published before all have.
    fn set_up(&mut self) {
        let round = self.begin();
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                let id = publisher.client.id.clone();
                scope.spawn(|| round.conclude(&{ id }, publisher.set_up(&round)));
            }
            for subscriber in &mut self.subscribers {
                let id = subscriber.client.id.clone();
                scope.spawn(|| round.conclude(&{ id }, subscriber.set_up(&round)));
            }
            round.wait_until_ready(self.rules.publishers.len() + cast::SUBSCRIBERS);
            end_round(self.end, &round, &mut self.broker);
        });
        self.conclude(&round);
    }

    /// Plays one round of traffic.
    fn play(&mut self) {
        let round = self.begin();
        if self.round.is_multiple_of(SELDOM) {
            self.look_at_retained(&round);
        }
        let mut mortal = Mortal::new(self.round);
        let moment = EndsAfter::random(self.end, &mut self.random);
        let (random, rules) = (&mut self.random, &self.rules);
        let mut clients = 1;
        thread::scope(|scope| {
            let round = &round;
            for publisher in &mut self.publishers {
                clients += 1;
                let id = publisher.client.id.clone();
                scope.spawn(move || round.conclude(&id, publisher.run(round)));
            }
            for subscriber in &mut self.subscribers {
                if subscriber.part.is_present(round.number, random) {
                    clients += 1;
                    let id = subscriber.client.id.clone();
                    scope.spawn(move || round.conclude(&id, subscriber.run(round, rules)));
                }
            }
            for resubscriber in &mut self.resubscribers {
                clients += 1;
                let id = resubscriber.client.id.clone();
                scope.spawn(move || round.conclude(&id, resubscriber.run(round)));
            }
            let id = mortal.client.id.clone();
            let mortal = &mut mortal;
            scope.spawn(move || round.conclude(&id, mortal.run(round)));
            moment.wait(round, clients);
            end_round(self.end, round, &mut self.broker);
        });
        if mortal.client.is_promised {
            self.wills.insert(round.number);
        }
        self.conclude(&round);
    }

    /// Starts the broker unless it runs.
    fn begin(&mut self) -> Round {
        self.round += 1;
        if self.broker.is_none() {
            // A broker may also be killed while it is about to recover its data.
            if self.round > 1 && self.random.once_in(5) {
                self.home.start_and_kill(self.random.micros(0, 60_000));
            }
            let broker = self.home.start();
            self.start_times.push(broker.start_time);
            self.broker = Some(broker);
        }
        Round::new(self.round, self.home.port(), Arc::clone(&self.findings))
    }

    /// Lets publishers finish, then lets subscribers take everything, then compares.
    fn drain(&mut self) {
        let round = self.begin();
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                let id = publisher.client.id.clone();
                scope.spawn(|| round.conclude(&{ id }, publisher.finish(&round)));
            }
        });
        self.probe(&round);
        self.expect();
        thread::scope(|scope| {
            for subscriber in &mut self.subscribers {
                let id = subscriber.client.id.clone();
                scope.spawn(|| round.conclude(&{ id }, subscriber.drain(&round, &self.rules)));
            }
            for resubscriber in &mut self.resubscribers {
                let id = resubscriber.client.id.clone();
                scope.spawn(|| round.conclude(&{ id }, resubscriber.drain(&round)));
            }
        });
        self.compare(&round);
        self.compare_shared(&round);
        self.look_at_retained(&round);
        self.look_at_retained_wills(&round);
        for complaint in self.home.complaints() {
            round.find(Fault::Complaint, &complaint);
        }
        end_round(self.end, &round, &mut self.broker);
        self.conclude(&round);
        self.publishers.iter_mut().for_each(Publisher::note_verified);
        self.subscribers.iter_mut().for_each(|it| it.client.trace.forget());
        self.resubscribers.iter_mut().for_each(|it| it.client.trace.forget());
    }

    /// Publishes a message to each filter that must be there.
    fn probe(&mut self, round: &Round) {
        let mut keys = Vec::new();
        for resubscriber in &self.resubscribers {
            let promised = resubscriber.promised();
            let own: HashSet<_> =
                promised.map(|filter| Key::new(Kind::Probe, filter, round.number)).collect();
            keys.extend(own.iter().copied());
            *resubscriber.missing.lock().unwrap() = own;
        }
        round.conclude("the inspector", inspector::publish(&keys, round));
    }

    /// Notes for each subscriber what has yet to come.
    fn expect(&mut self) {
        for subscriber in &self.subscribers {
            subscriber.missing.lock().unwrap().clear();
        }
        let mut shared: BTreeMap<&str, HashSet<Key>> = BTreeMap::new();
        for subscriber in &self.subscribers {
            let acknowledged = self.publishers.iter().flat_map(Publisher::unverified);
            let acknowledged = acknowledged.filter(|entry| entry.acknowledged.is_some());
            let wills = self.wills.iter().map(|round| will::key_of(*round));
            let all = acknowledged.map(|entry| entry.key).chain(wills);
            let has_come = |key: &Key| subscriber.times(*key) > 0;
            let missing = all.filter(|key| subscriber.part.wants(*key) && !has_come(key));
            let Some(share) = subscriber.part.share else {
                subscriber.missing.lock().unwrap().extend(missing);
                continue;
            };
            // These are the messages that no member has got.
            let missing: HashSet<Key> = missing.collect();
            match shared.get_mut(share) {
                Some(others) => others.retain(|key| missing.contains(key)),
                None => drop(shared.insert(share, missing)),
            }
        }
        for subscriber in &self.subscribers {
            if let Some(missing) = subscriber.part.share.and_then(|share| shared.remove(share)) {
                *subscriber.missing.lock().unwrap() = missing;
            }
        }
    }

    /// Reports what is missing now as lost.
    fn compare(&self, round: &Round) {
        for subscriber in &self.subscribers {
            for key in take_sorted(&subscriber.missing) {
                let id = &subscriber.client.id;
                if subscriber.part.wants == Wants::Wills {
                    let text = format!("{id} does not get {key}, the will of round {}", key.index);
                    round.find(Fault::WillMissing, &text);
                    continue;
                }
                let mut text = format!("{id} does not get {key}, which was acknowledged.\n");
                let is_concerned = |it: &&Subscriber| {
                    it.client.id == *id
                        || (it.part.share.is_some() && it.part.share == subscriber.part.share)
                };
                for subscriber in self.subscribers.iter().filter(is_concerned) {
                    text += &subscriber.describe(key);
                }
                round.find_about(Some(key), Fault::Lost, &text);
            }
        }
        for resubscriber in &self.resubscribers {
            for key in take_sorted(&resubscriber.missing) {
                let text = format!("{key} does not come, but {}", resubscriber.describe(key));
                round.find(Fault::SubscriptionLost, &text);
            }
        }
    }

    /// Checks that at QoS 2 only one member of a shared subscription got a message.
    fn compare_shared(&self, round: &Round) {
        let shares: BTreeSet<_> = self.subscribers.iter().filter_map(|it| it.part.share).collect();
        for share in shares {
            let members = || self.subscribers.iter().filter(|it| it.part.share == Some(share));
            for publisher in &self.publishers {
                let entries = publisher.entries().iter();
                let exactly_once = entries.filter(|entry| {
                    entry.qos == QoS::ExactlyOnce && entry.key.kind == Kind::Traffic
                });
                for &key in exactly_once.map(|entry| &entry.key) {
                    let takers: Vec<_> = members().filter(|it| it.times(key) > 0).collect();
                    if takers.len() > 1 {
                        let mut text = format!("two members of {share} get {key}.\n");
                        takers.iter().for_each(|it| text += &it.describe(key));
                        round.find_about(Some(key), Fault::Duplicated, &text);
                    }
                }
            }
        }
    }

    /// Checks that a new subscriber gets what was acknowledged last, or sent since.
    fn look_at_retained(&self, round: &Round) {
        let retainer = &self.publishers[cast::RETAINER];
        let topics = || (0..).zip(&retainer.retained);
        let musts: Vec<u32> = topics().filter(|it| !it.1.may_be(None)).map(|it| it.0).collect();
        let found = match inspector::look("r/#", &musts, round) {
            Ok(found) => found,
            Err(gone) => return round.conclude("the inspector", Err(gone)),
        };
        for (index, topic) in topics() {
            let number = found.get(&index).copied();
            if !topic.may_be(number) {
                let mut text = format!("r/{index} has {number:?}, but may only have {topic:?}.\n");
                let known = topic.0.iter().map(|(number, _)| *number);
                for number in known.chain(number).filter(|number| *number > 0) {
                    text += &retainer.describe(Key::new(Kind::Retained, index, number));
                }
                round.find(Fault::RetainedLost, &text);
            }
        }
    }

    fn look_at_retained_wills(&self, round: &Round) {
        let due = self.wills.iter().copied();
        let musts: Vec<_> = due.filter(|round| will::is_retained(*round)).collect();
        match inspector::look("w/#", &musts, round) {
            Ok(found) => {
                for lost in musts.iter().filter(|round| !found.contains_key(round)) {
                    let text = format!("the retained will of round {lost} is not there");
                    round.find(Fault::RetainedLost, &text);
                }
            }
            Err(gone) => round.conclude("the inspector", Err(gone)),
        }
    }

    /// Notes the figures of a round, and panics if anything is wrong.
    fn conclude(&mut self, round: &Round) {
        if let (End::Kill, Some(started)) = (self.end, self.start_times.last()) {
            self.answer_times.extend(round.first_answer().map(|time| *started + time));
        }
        if !self.findings.is_empty() {
            let publisher = |key: Key| match key.kind {
                Kind::Traffic => self.publishers[key.index as usize].describe(key),
                _ => String::new(),
            };
            panic!(
                "{}, round {} of the campaign. MIDGE_TEST_SEED repeats it as far as threads and \
                 disks let it. What the broker has left is in {}.\n{}\nthe end of its log:\n{}",
                self.label,
                self.round,
                self.home.directory().display(),
                self.findings.describe(publisher),
                self.home.log()
            );
        }
    }
}

impl EndsAfter {
    /// If the broker lives on, it may handle a CONNECT on a cut Network Connection only after the
    /// Client has come back; that CONNECT would then take over the new connection. So every client
    /// must have been answered before [`End::Cut`].
    fn random(end: End, random: &mut Random) -> Self {
        match random.below(8) {
            _ if end == End::Cut => Self::Readiness(random.micros(0, 100_000)),
            0 => Self::Start(random.micros(0, 60_000)),
            1 | 2 => Self::FirstAnswer(random.micros(0, 20_000)),
            _ => Self::Readiness(random.micros(5_000, 150_000)),
        }
    }

    fn wait(self, round: &Round, clients: usize) {
        let time = match self {
            Self::Start(time) => time,
            Self::FirstAnswer(time) => {
                round.wait_until(|| round.first_answer().is_some());
                time
            }
            Self::Readiness(time) => {
                round.wait_until_ready(clients);
                time
            }
        };
        thread::sleep(time);
    }
}

fn end_round(end: End, round: &Round, broker: &mut Option<Broker>) {
    round.end();
    match end {
        End::Kill => broker.take().into_iter().for_each(Broker::kill),
        End::Cut => round.cut(),
    }
}

fn take_sorted(missing: &Missing) -> Vec<Key> {
    let mut keys: Vec<_> = missing.lock().unwrap().drain().collect();
    keys.sort();
    keys
}

/// Returns the median and the maximum.
fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let Some(max) = times.last() else {
        return "?".to_owned();
    };
    let median = times[times.len() / 2];
    format!("{} ms (median), {} ms (max)", median.as_millis(), max.as_millis())
}

/// Prints a line for whoever watches, which the test harness does not swallow.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
