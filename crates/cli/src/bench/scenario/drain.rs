//! `drain`: persistent sessions get messages while they are offline, and come back for them.

use std::time::{Duration, Instant};

use super::super::args::BenchArgs;
use super::super::error::BenchError;
use super::super::histogram::Histogram;
use super::super::output;
use super::super::shard::Shard;
use super::traffic::Outcome;
use super::{Gate, Snapshot};

/// Messages that are queued for each session unless `--messages` says otherwise.
const MESSAGES_PER_SESSION: u64 = 500;
/// Time for the broker to see that the subscribers have gone.
const SETTLE: Duration = Duration::from_millis(300);

/// Runs the scenario in this thread: only the return of the subscribers is measured.
pub(crate) fn run(
    args: &BenchArgs,
    thread: usize,
    mut shard: Shard,
    gate: &Gate,
) -> Result<Outcome, BenchError> {
    let (subscribers, publishers): (Vec<usize>, Vec<usize>) =
        (0..shard.clients.len()).partition(|&place| shard.clients[place].filter.is_some());
    leave(&mut shard, &subscribers)?;
    std::thread::sleep(SETTLE);
    shard.open(&publishers)?;
    fill(args, &mut shard)?;
    shard.close(&publishers)?;
    gate.pass(&shard.flow.progress)?;

    let before = snapshot(args, thread, &mut shard)?;
    let end = collect(args, &mut shard, &subscribers)?;
    let mut after = snapshot(args, thread, &mut shard)?;
    after.at = Some(end);
    shard.close(&subscribers)?;
    gate.pass(&shard.flow.progress)?;
    forget(&mut shard, &subscribers)?;
    Ok(Outcome {
        sent: after.sent,
        delivered: shard.flow.delivered,
        duplicates: shard.flow.duplicates,
        unacknowledged: shard.publishers().map(|publisher| publisher.unacknowledged()).sum(),
        before,
        after,
        latency: shard.flow.latency,
        lag: Histogram::new(),
    })
}

/// Makes the sessions anew, subscribes, and goes offline.
fn leave(shard: &mut Shard, subscribers: &[usize]) -> Result<(), BenchError> {
    forget(shard, subscribers)?;
    for &place in subscribers {
        shard.clients[place].clean_start = false;
        shard.clients[place].persistent = true;
    }
    shard.open(subscribers)?;
    shard.close(subscribers)
}

/// Ends the sessions, whether there are any or not.
fn forget(shard: &mut Shard, subscribers: &[usize]) -> Result<(), BenchError> {
    for &place in subscribers {
        shard.clients[place].clean_start = true;
        shard.clients[place].persistent = false;
    }
    shard.open(subscribers)?;
    shard.close(subscribers)
}

/// Publishes what is to be queued and waits until all of it is acknowledged.
fn fill(args: &BenchArgs, shard: &mut Shard) -> Result<(), BenchError> {
    let sessions = args.clients() as u64;
    let messages = args.messages.unwrap_or(sessions * MESSAGES_PER_SESSION);
    for publisher in shard.publishers() {
        let odd_one = (publisher.index as u64) < messages % sessions;
        publisher.send_only(messages / sessions + u64::from(odd_one));
    }
    shard.push()?;
    let mut waits = Waits::new(args);
    loop {
        let sent: u64 = shard.publishers().map(|publisher| publisher.sent()).sum();
        let open: u64 = shard.publishers().map(|publisher| publisher.unacknowledged()).sum();
        let finished = shard.publishers().all(|publisher| publisher.is_finished());
        if finished && open == 0 {
            return Ok(());
        }
        if waits.are_over((sent << 16) + open) {
            return Err(BenchError::run("the broker does not acknowledge messages for the queue"));
        }
        shard.turn(Some(Duration::from_millis(20)))?;
        output::progress_sometimes(args, &mut waits.shown, "queued", sent - open);
    }
}

/// Comes back and takes everything; returns when the last exchange was over.
fn collect(
    args: &BenchArgs,
    shard: &mut Shard,
    subscribers: &[usize],
) -> Result<Instant, BenchError> {
    for &place in subscribers {
        shard.clients[place].clean_start = false;
        shard.clients[place].persistent = true;
    }
    let expected: u64 = shard.publishers().map(|publisher| publisher.sent()).sum();
    shard.open(subscribers)?;
    let mut waits = Waits::new(args);
    while shard.flow.delivered < expected && !waits.are_over(shard.flow.delivered) {
        shard.turn(Some(Duration::from_millis(20)))?;
        output::progress_sometimes(args, &mut waits.shown, "drained", shard.flow.delivered);
    }
    // The queue is not empty for the broker before the last exchange is over.
    while !shard.is_settled() && !waits.are_over(shard.flow.delivered) {
        shard.turn(Some(Duration::from_millis(20)))?;
    }
    let is_complete = shard.flow.delivered >= expected && shard.is_settled();
    let last_change = waits.last_change(shard.flow.delivered);
    let end = if is_complete { Instant::now() } else { last_change };
    std::thread::sleep(Duration::from_millis(20));
    Ok(end)
}

/// Waits while a number changes.
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

fn snapshot(args: &BenchArgs, thread: usize, shard: &mut Shard) -> Result<Snapshot, BenchError> {
    let sent = shard.publishers().map(|publisher| publisher.sent()).sum();
    Snapshot::take(args, thread, sent, shard.flow.delivered)
}
