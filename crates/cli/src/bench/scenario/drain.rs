//! `drain`: persistent sessions get messages while they are offline, and come back for them.
//!
//! Filling and draining may be two runs, with anything happening to the broker between them: the
//! first run leaves the sessions, the second one takes them up and removes them.

use std::time::{Duration, Instant};

use super::super::args::{BenchArgs, DrainPhase};
use super::super::error::BenchError;
use super::super::generator::client::Part;
use super::super::generator::shard::Shard;
use super::super::generator::subscriber::Source;
use super::super::measure::histogram::Histogram;
use super::super::output;
use super::traffic::Outcome;
use super::{Gate, Snapshot, sessions};

/// Messages that are queued for each session, unless `--messages` says otherwise.
const MESSAGES_PER_SESSION: u64 = 500;
/// Time for the broker to notice that the subscribers have gone.
const SETTLE: Duration = Duration::from_millis(300);

/// Runs the scenario in this thread. Measures the return of the subscribers or, in a run that only
/// fills, the filling.
pub(crate) fn run(
    args: &BenchArgs,
    thread: usize,
    mut shard: Shard,
    gate: &Gate,
) -> Result<Outcome, BenchError> {
    let (subscribers, publishers) = sessions::subscribers_and_publishers(&shard);
    let mut measured = (Snapshot::default(), Snapshot::default());
    if args.phase != Some(DrainPhase::Drain) {
        leave(&mut shard, &subscribers)?;
        gate.pass(&shard.flow.progress)?;
        measured = fill(args, thread, &mut shard, &publishers)?;
    }
    if args.phase != Some(DrainPhase::Fill) {
        gate.pass(&shard.flow.progress)?;
        measured = collect(args, thread, &mut shard, &subscribers)?;
        gate.pass(&shard.flow.progress)?;
        sessions::forget(&mut shard, &subscribers)?;
    }
    let (before, after) = measured;
    Ok(Outcome {
        sent: after.sent,
        delivered: shard.flow.delivered,
        duplicates: shard.flow.duplicates,
        unacknowledged: shard.publishers().map(|publisher| publisher.unacknowledged()).sum(),
        before,
        after,
        latency: shard.flow.latency,
        acknowledgement: shard.flow.acknowledgement,
        lag: Histogram::new(),
    })
}

/// Makes new sessions, subscribes, and goes offline.
fn leave(shard: &mut Shard, subscribers: &[usize]) -> Result<(), BenchError> {
    sessions::forget(shard, subscribers)?;
    sessions::keep(shard, subscribers);
    shard.open(subscribers)?;
    shard.close(subscribers)?;
    std::thread::sleep(SETTLE);
    Ok(())
}

/// Publishes the messages to be queued, and waits until all of them are acknowledged.
fn fill(
    args: &BenchArgs,
    thread: usize,
    shard: &mut Shard,
    publishers: &[usize],
) -> Result<(Snapshot, Snapshot), BenchError> {
    let before = Snapshot::take(args, thread, 0, 0)?;
    shard.open(publishers)?;
    let all = shard.flow.progress.publishers();
    for publisher in shard.publishers() {
        publisher.send_only(share(args, all, publisher.index));
    }
    shard.push()?;
    let mut waits = Waits::new(args);
    loop {
        let sent: u64 = shard.publishers().map(|publisher| publisher.sent()).sum();
        let open: u64 = shard.publishers().map(|publisher| publisher.unacknowledged()).sum();
        let finished = shard.publishers().all(|publisher| publisher.is_finished());
        if finished && open == 0 {
            let after = Snapshot::take(args, thread, sent, sent)?;
            shard.close(publishers)?;
            return Ok((before, after));
        }
        if waits.are_over((sent << 16) + open) {
            return Err(BenchError::run("the broker does not acknowledge messages for the queue"));
        }
        shard.turn(Some(Duration::from_millis(20)))?;
        output::progress_sometimes(args, &mut waits.shown, "queued", sent - open);
    }
}

/// Returns how many messages the publisher `index` of `all` queues.
fn share(args: &BenchArgs, all: usize, index: usize) -> u64 {
    let (all, index) = (all as u64, index as u64);
    let messages = args.messages.unwrap_or(all * MESSAGES_PER_SESSION);
    messages / all + u64::from(index < messages % all)
}

/// Comes back and takes everything. Measures from before the first CONNECT until the last exchange
/// is over.
fn collect(
    args: &BenchArgs,
    thread: usize,
    shard: &mut Shard,
    subscribers: &[usize],
) -> Result<(Snapshot, Snapshot), BenchError> {
    let (sent, expected) = queued(args, shard);
    let before = Snapshot::take(args, thread, sent, shard.flow.delivered)?;
    sessions::keep(shard, subscribers);
    shard.open(subscribers)?;
    let mut waits = Waits::new(args);
    while shard.flow.delivered < expected && !waits.are_over(shard.flow.delivered) {
        shard.turn(Some(Duration::from_millis(20)))?;
        output::progress_sometimes(args, &mut waits.shown, "drained", shard.flow.delivered);
    }
    // The broker's queue is not empty before the last exchange is over.
    while !shard.is_settled() && !waits.are_over(shard.flow.delivered) {
        shard.turn(Some(Duration::from_millis(20)))?;
    }
    let is_complete = shard.flow.delivered >= expected && shard.is_settled();
    let last_change = waits.last_change(shard.flow.delivered);
    let end = if is_complete { Instant::now() } else { last_change };
    std::thread::sleep(Duration::from_millis(20));
    let mut after = Snapshot::take(args, thread, sent, shard.flow.delivered)?;
    after.at = Some(end);
    shard.close(subscribers)?;
    Ok((before, after))
}

/// Returns how many messages the publishers of this thread have queued, and how many its
/// subscribers have to get from all threads.
fn queued(args: &BenchArgs, shard: &Shard) -> (u64, u64) {
    let all = shard.flow.progress.publishers();
    let (mut sent, mut expected) = (0, 0);
    for client in &shard.clients {
        match &client.part {
            Part::Publisher(publisher) => sent += share(args, all, publisher.index),
            Part::Subscriber(subscriber) => {
                let from =
                    if let Source::Only(publisher) = subscriber.source { publisher } else { 0 };
                expected += share(args, all, from);
            }
        }
    }
    (sent, expected)
}

/// Waits as long as a number changes.
struct Waits {
    patience: Duration,
    last: (u64, Instant),
    shown: Instant,
}

impl Waits {
    fn new(args: &BenchArgs) -> Self {
        let now = Instant::now();
        let patience = Duration::from_secs_f64(args.patience);
        Self { patience, last: (u64::MAX, now), shown: now }
    }

    /// Whether `value` has been the same for too long.
    fn are_over(&mut self, value: u64) -> bool {
        self.last_change(value).elapsed() > self.patience
    }

    fn last_change(&mut self, value: u64) -> Instant {
        if self.last.0 != value {
            self.last = (value, Instant::now());
        }
        self.last.1
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::args::tests::parse;
    use super::super::super::plan::Plan;
    use super::*;

    #[test]
    fn publishers_share_the_messages_to_the_last() {
        let args = parse("drain --clients 3 --messages 11").unwrap();
        assert_eq!([0, 1, 2].map(|index| share(&args, 3, index)), [4, 4, 3]);
        assert_eq!(share(&parse("drain").unwrap(), 3, 2), MESSAGES_PER_SESSION);
    }

    #[test]
    fn a_run_that_only_drains_knows_what_an_earlier_one_has_queued() {
        let queued = |line: &str| {
            let args = parse(line).unwrap();
            let shards = Plan::new(&args).unwrap().shards().unwrap();
            shards.iter().map(|shard| queued(&args, shard)).collect::<Vec<_>>()
        };
        let own = "drain --clients 3 --messages 11 --threads 2";
        assert_eq!(queued(own), [(7, 7), (4, 4)]);
        assert_eq!(queued(&format!("{own} --to-all")), [(11, 22), (0, 11)]);
    }
}
