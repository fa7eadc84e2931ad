//! Two processes that send each other what they like, restart, and give each other up, over a
//! transport that loses, doubles, reorders and delays; beside a naive model, which writes down who
//! has given what to whom.
//!
//! For each two incarnations the model has one list. What one of them has taken is the beginning of
//! what the other one has sent; nothing is acknowledged that was not kept; and whatever was sent is
//! acknowledged, or reported as not delivered, or on its way, or lost with its sender. When the
//! faults end, everything is delivered.

use std::collections::BTreeMap;

use midge_link::{Epoch, Event, Link, Refused, Settings};

use crate::transport::{Faults, Random, Transport};

/// What one incarnation has sent to another one.
#[derive(Debug, Default)]
struct Given {
    sent: Vec<Vec<u8>>,
    taken: usize,
    kept: usize,
    acknowledged: usize,
    /// Whether the sender has been told that it is over, and from which payload on nothing is
    /// known.
    ended: bool,
}

/// A process.
struct Process {
    link: Link,
    epoch: Epoch,
    /// What was received and not kept: from whom, and up to which number.
    to_keep: Option<(Epoch, u64)>,
    /// With whom the link is.
    peer: Option<Epoch>,
    /// The last incarnation of the other one that it has given up, or been given up by.
    ended: Option<Epoch>,
}

struct World {
    random: Random,
    now_ms: u64,
    settings: Settings,
    faults: Faults,
    transport: Transport,
    processes: [Process; 2],
    /// By the incarnations of sender and receiver.
    given: BTreeMap<(Epoch, Epoch), Given>,
    next_epoch: u64,
    next_payload: u64,
    /// Counts, to see that the test does what it says.
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    undelivered: usize,
    restarts: usize,
    ends: usize,
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).expect("they begin at 1")
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        window_payloads: 1 + random.below(12) as usize,
        window_bytes: 1 + random.below(60) as usize,
        payload_bytes_max: 24,
        resend_ms_min: 1 + random.below(40),
        resend_ms_max: 40 + random.below(200),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let settings = settings(&mut random);
        let faults = Faults::any(&mut random);
        let process = |number| Process {
            link: Link::new(epoch(number), settings, 0),
            epoch: epoch(number),
            to_keep: None,
            peer: None,
            ended: None,
        };
        Self {
            random,
            now_ms: 0,
            settings,
            faults,
            transport: Transport::default(),
            processes: [process(1), process(2)],
            given: BTreeMap::new(),
            next_epoch: 3,
            next_payload: 0,
            tally: Tally::default(),
        }
    }

    fn act(&mut self) {
        let index = self.random.below(2) as usize;
        match self.random.below(100) {
            0..60 => self.send(index),
            60..97 => self.keep(index),
            97 => self.give_up(index),
            _ => self.restart(index),
        }
    }

    fn send(&mut self, index: usize) {
        self.next_payload += 1;
        let length = self.random.below(26) as usize;
        let mut payload = self.next_payload.to_le_bytes().to_vec();
        payload.resize(length.max(8), 7);
        let process = &mut self.processes[index];
        match process.link.send(payload.clone()) {
            Ok(number) => {
                let peer = process.peer.expect("it has begun");
                let given = self.given.entry((process.epoch, peer)).or_default();
                given.sent.push(payload);
                assert_eq!(number, given.sent.len() as u64);
            }
            Err(Refused::TooLarge(back)) => {
                assert!(back == payload && payload.len() > self.settings.payload_bytes_max);
            }
            Err(Refused::NobodyThere(back)) => assert!(back == payload && process.peer.is_none()),
            Err(Refused::NoRoom(back)) => {
                let (count, bytes) = process.link.unacknowledged();
                let fits = count < self.settings.window_payloads
                    && bytes + payload.len() <= self.settings.window_bytes;
                assert!(back == payload && count > 0 && !fits);
            }
        }
    }

    fn keep(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let Some((from, number)) = process.to_keep else {
            return;
        };
        // Perhaps not everything yet.
        let given = self.given.get_mut(&(from, process.epoch)).expect("it was received");
        let left = number - given.kept as u64;
        let number = number - self.random.below(left + 1);
        given.kept = given.kept.max(number as usize);
        process.link.acknowledge(from, number);
    }

    fn give_up(&mut self, index: usize) {
        let process = &mut self.processes[index];
        self.tally.ends += usize::from(process.peer.is_some());
        process.link.end(self.now_ms);
        self.take_events(index);
        assert_eq!(self.processes[index].link.peer(), None);
    }

    /// The process loses whatever it had.
    fn restart(&mut self, index: usize) {
        self.tally.restarts += 1;
        let epoch = epoch(self.next_epoch);
        self.next_epoch += 1;
        let link = Link::new(epoch, self.settings, self.now_ms);
        let (to_keep, peer, ended) = (None, None, None);
        self.processes[index] = Process { link, epoch, to_keep, peer, ended };
    }

    /// Lets everything happen that happens by `end_ms`.
    fn run(&mut self, end_ms: u64) {
        loop {
            self.transmit();
            while let Some((to, frame)) = self.transport.arrive(self.now_ms, &mut self.random) {
                let link = &mut self.processes[to].link;
                link.handle_frame(&frame, self.now_ms).expect("frames come as they were sent");
                self.take_events(to);
                self.check_bounds(to);
                self.transmit();
            }
            let deadlines = self.processes.iter().filter_map(|it| it.link.next_deadline_ms());
            let next_ms = deadlines.chain(self.transport.next_ms()).min();
            let Some(next_ms) = next_ms.filter(|&next_ms| next_ms <= end_ms) else {
                self.now_ms = end_ms;
                return;
            };
            assert!(next_ms > self.now_ms, "what is due now is done now");
            self.now_ms = next_ms;
        }
    }

    fn transmit(&mut self) {
        for index in 0..2 {
            let mut count = 0;
            while let Some(frame) = self.processes[index].link.poll_transmit(self.now_ms) {
                count += 1;
                assert!(count < 100, "it never stops");
                let (to, random) = (1 - index, &mut self.random);
                self.transport.send(to, &frame, self.now_ms, self.faults, random);
            }
        }
    }

    fn check_bounds(&self, index: usize) {
        let link = &self.processes[index].link;
        for (count, bytes) in [link.unacknowledged(), link.held()] {
            assert!(count <= self.settings.window_payloads, "{count} payloads");
            assert!(bytes <= self.settings.window_bytes || count == 1, "{bytes} bytes");
        }
    }

    fn take_events(&mut self, index: usize) {
        while let Some(event) = self.processes[index].link.poll_event() {
            self.take_event(index, event);
        }
        let process = &self.processes[index];
        assert_eq!(process.link.peer(), process.peer);
    }

    fn take_event(&mut self, index: usize, event: Event) {
        let process = &mut self.processes[index];
        let own = process.epoch;
        match event {
            Event::Began(epoch) => {
                assert!(process.peer.is_none() && process.ended < Some(epoch));
                (process.peer, process.to_keep) = (Some(epoch), None);
            }
            Event::Received { epoch, number, payload } => {
                assert_eq!(process.peer, Some(epoch));
                let given = self.given.get_mut(&(epoch, own)).expect("somebody has sent it");
                assert_eq!(number, given.taken as u64 + 1, "once and in order");
                assert_eq!(payload, given.sent[given.taken]);
                given.taken += 1;
                process.to_keep = Some((epoch, number));
            }
            Event::Acknowledged(number) => {
                let peer = process.peer.expect("somebody has acknowledged it");
                let given = self.given.get_mut(&(own, peer)).expect("it was sent");
                assert!(given.acknowledged < number as usize && number as usize <= given.kept);
                given.acknowledged = number as usize;
            }
            Event::Ended { epoch, undelivered } => {
                assert_eq!(process.peer, Some(epoch));
                (process.peer, process.ended, process.to_keep) = (None, Some(epoch), None);
                let given = self.given.entry((own, epoch)).or_default();
                let numbers = undelivered.iter().map(|(number, _)| *number);
                assert!(numbers.eq(given.acknowledged as u64 + 1..=given.sent.len() as u64));
                let rest = given.sent[given.acknowledged..].iter();
                assert!(undelivered.iter().map(|(_, payload)| payload).eq(rest));
                assert!(!given.ended, "an end comes once");
                given.ended = true;
                self.tally.undelivered += undelivered.len();
            }
        }
    }

    /// Whether the two know each other and owe each other nothing.
    fn is_quiet(&self) -> bool {
        let [one, two] = &self.processes;
        let is_idle = |process: &Process| process.link.next_deadline_ms().is_none();
        let knows = |process: &Process, other: &Process| process.peer == Some(other.epoch);
        knows(one, two) && knows(two, one) && is_idle(one) && is_idle(two)
    }

    /// Ends all faults: whatever is sent now comes, and is kept.
    fn finish(&mut self) {
        self.faults = Faults::NONE;
        // Those that have given each other up meet again only in another life.
        if self.processes.iter().any(|it| it.ended.is_some() && it.peer.is_none()) {
            (0..2).for_each(|index| self.restart(index));
        }
        // Frames that were slow come to those for whom they are not, until none is left.
        for _ in 0..200 {
            self.run(self.now_ms + 300);
            if self.transport.next_ms().is_none() && self.is_quiet() {
                break;
            }
            for index in 0..2 {
                let process = &mut self.processes[index];
                if let Some((from, number)) = process.to_keep {
                    process.link.acknowledge(from, number);
                    let given = self.given.get_mut(&(from, process.epoch)).expect("received");
                    given.kept = given.taken;
                }
            }
        }
        let [one, two] = &self.processes;
        assert_eq!((one.peer, two.peer), (Some(two.epoch), Some(one.epoch)));
        for (sender, receiver) in [(one, two), (two, one)] {
            let empty = Given::default();
            let given = self.given.get(&(sender.epoch, receiver.epoch)).unwrap_or(&empty);
            let sent = given.sent.len();
            assert_eq!((given.taken, given.kept, given.acknowledged), (sent, sent, sent));
            assert_eq!(sender.link.unacknowledged(), (0, 0));
            assert_eq!(sender.link.held(), (0, 0));
            assert_eq!(sender.link.next_deadline_ms(), None, "nothing is left to do");
        }
        self.tally.acknowledged +=
            self.given.values().map(|given| given.acknowledged).sum::<usize>();
    }
}

/// Tells the seed unless the run goes well.
struct TellOnPanic(Option<u64>);

impl Drop for TellOnPanic {
    #[allow(clippy::print_stderr)] // the message belongs to the test's output
    fn drop(&mut self) {
        if let Some(seed) = self.0 {
            eprintln!("failed with seed {seed}");
        }
    }
}

fn run(seed: u64) -> Tally {
    let mut told = TellOnPanic(Some(seed));
    let mut world = World::new(seed);
    for _ in 0..60 {
        world.act();
        let pause_ms = world.random.below(40);
        world.run(world.now_ms + pause_ms);
    }
    world.finish();
    told.0 = None;
    world.tally
}

#[test]
fn whatever_happens_is_as_a_naive_model_says() {
    let mut sum = Tally::default();
    for seed in 0..4_000 {
        let Tally { acknowledged, undelivered, restarts, ends } = run(seed);
        sum.acknowledged += acknowledged;
        sum.undelivered += undelivered;
        sum.restarts += restarts;
        sum.ends += ends;
    }
    // Otherwise nothing is shown.
    assert!(sum.acknowledged > 20_000 && sum.undelivered > 4_000, "{sum:?}");
    assert!(sum.restarts > 2_000 && sum.ends > 500, "{sum:?}");
}

#[test]
fn a_seed_says_everything() {
    for seed in [1, 77, 4_711] {
        assert_eq!(format!("{:?}", run(seed)), format!("{:?}", run(seed)));
    }
}
