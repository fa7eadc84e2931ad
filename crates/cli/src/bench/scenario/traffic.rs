//! Runs with traffic from beginning to end: p2p, fan-out, fan-in, shared and latency.
//!
//! All threads go through the same stages. They connect and subscribe, wait for each other, send
//! through the warm-up and the measurement, stop sending, and wait for stragglers with a deadline.

use std::time::{Duration, Instant};

use super::super::args::{BenchArgs, Scenario};
use super::super::error::BenchError;
use super::super::generator::publisher::Publisher;
use super::super::generator::shard::Shard;
use super::super::measure::histogram::Histogram;
use super::super::output;
use super::schedule::Schedule;
use super::{Gate, Snapshot, sessions};

/// How often the run looks for stalls and shows progress.
const TICK: Duration = Duration::from_millis(500);

/// What one thread found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
    /// Over the whole run, including warm-up and stragglers.
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) latency: Histogram,
    /// From writing a message above QoS 0 to its PUBACK or PUBREC.
    pub(crate) acknowledgement: Histogram,
    /// How much later than intended the messages were sent.
    pub(crate) lag: Histogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    WarmUp,
    Measure,
    Stragglers,
    Over,
}

struct Run<'a> {
    args: &'a BenchArgs,
    thread: usize,
    shard: Shard,
    stage: Stage,
    start: Instant,
    tick_due: Instant,
    /// When something arrived last, and how much had arrived by then.
    last_arrival: (Instant, u64),
    before: Snapshot,
    after: Option<Snapshot>,
    schedule: Option<Schedule>,
}

/// Runs the scenario in this thread.
pub(crate) fn run(
    args: &BenchArgs,
    thread: usize,
    mut shard: Shard,
    gate: &Gate,
) -> Result<Outcome, BenchError> {
    let (subscribers, _) = sessions::subscribers_and_publishers(&shard);
    if args.persistent {
        sessions::forget(&mut shard, &subscribers)?;
        sessions::keep(&mut shard, &subscribers);
    }
    let places: Vec<usize> = (0..shard.clients.len()).collect();
    shard.open(&places)?;
    gate.pass(&shard.flow.progress)?;
    let start = Instant::now();
    let schedule = (args.scenario == Scenario::Latency)
        .then(|| Schedule::new(args, thread, shard.flow.elapsed_nanos()));
    let mut run = Run {
        args,
        thread,
        stage: Stage::WarmUp,
        start,
        tick_due: start + TICK,
        last_arrival: (start, 0),
        before: Snapshot::default(),
        after: None,
        schedule,
        shard,
    };
    if args.warmup() > 0.0 {
        run.shard.publishers().for_each(Publisher::start);
        run.shard.push()?;
    } else {
        run.begin_measuring(start)?;
    }
    while run.stage != Stage::Over {
        run.turn()?;
    }
    run.finish(&places, &subscribers, gate)
}

impl Run<'_> {
    fn turn(&mut self) -> Result<(), BenchError> {
        let timeout = self.send_scheduled()?;
        self.shard.turn(Some(timeout))?;
        let now = Instant::now();
        let delivered = self.shard.flow.delivered;
        if delivered != self.last_arrival.1 {
            self.last_arrival = (now, delivered);
        }
        self.advance(now)?;
        if now >= self.tick_due {
            self.tick(now)?;
        }
        Ok(())
    }

    /// Sends what is due by the schedule, if there is one, and returns how long to wait for events.
    fn send_scheduled(&mut self) -> Result<Duration, BenchError> {
        let Some(schedule) = &mut self.schedule else { return Ok(Duration::from_millis(20)) };
        if matches!(self.stage, Stage::Stragglers | Stage::Over) {
            return Ok(Duration::from_millis(20));
        }
        let now = self.shard.flow.elapsed_nanos();
        while let Some((publisher, due)) = schedule.next(now) {
            self.shard.publish_scheduled(publisher, due, now);
        }
        self.shard.flush()?;
        Ok(schedule.wait(self.shard.flow.elapsed_nanos()))
    }

    fn advance(&mut self, now: Instant) -> Result<(), BenchError> {
        let elapsed = (now - self.start).as_secs_f64();
        let warmup = self.args.warmup();
        match self.stage {
            Stage::WarmUp if elapsed >= warmup => self.begin_measuring(now),
            Stage::Measure if self.measures_time() => {
                if elapsed >= warmup + self.args.seconds {
                    self.after = Some(self.snapshot(now)?);
                    self.stop_sending()?;
                }
                Ok(())
            }
            Stage::Measure | Stage::Stragglers => {
                let complete = self.shard.flow.progress.is_complete() && self.is_acknowledged();
                let patience = Duration::from_secs_f64(self.args.patience);
                let given_up = self.stage == Stage::Stragglers || !self.measures_time();
                if complete || given_up && now - self.last_arrival.0 > patience {
                    self.stage = Stage::Over;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn measures_time(&self) -> bool {
        self.args.messages.is_none()
    }

    fn begin_measuring(&mut self, now: Instant) -> Result<(), BenchError> {
        self.stage = Stage::Measure;
        self.shard.flow.reset_times();
        if let Some(schedule) = &mut self.schedule {
            schedule.lag = Histogram::new();
        }
        self.before = self.snapshot(now)?;
        let publishers = self.shard.flow.progress.publishers() as u64;
        let messages = self.args.messages;
        for publisher in self.shard.publishers() {
            match messages {
                None => publisher.start(),
                Some(messages) => {
                    let odd_one = (publisher.index as u64) < messages % publishers;
                    publisher.send_only(messages / publishers + u64::from(odd_one));
                }
            }
        }
        self.shard.push()
    }

    fn stop_sending(&mut self) -> Result<(), BenchError> {
        self.stage = Stage::Stragglers;
        self.last_arrival.0 = Instant::now();
        self.shard.publishers().for_each(|publisher| publisher.send_only(0));
        self.shard.push()
    }

    fn is_acknowledged(&mut self) -> bool {
        self.shard.publishers().all(|publisher| publisher.unacknowledged() == 0)
    }

    fn tick(&mut self, now: Instant) -> Result<(), BenchError> {
        self.tick_due = now + TICK;
        let progress = self.shard.flow.progress.clone();
        if progress.has_failed() {
            return Err(BenchError::run("another thread has failed"));
        }
        progress.report_delivered(self.thread, self.shard.flow.delivered);
        let mut stalled = false;
        for publisher in self.shard.publishers() {
            let done = progress.done(publisher.index);
            stalled |= publisher.write_off_if_stalled(done);
        }
        if stalled {
            self.shard.push()?;
        }
        if self.thread == 0 {
            output::progress(self.args, now - self.start, "received", progress.delivered());
        }
        Ok(())
    }

    fn snapshot(&mut self, now: Instant) -> Result<Snapshot, BenchError> {
        let sent = self.shard.publishers().map(|publisher| publisher.sent()).sum();
        let mut snapshot = Snapshot::take(self.args, self.thread, sent, self.shard.flow.delivered)?;
        snapshot.at = Some(now);
        Ok(snapshot)
    }

    /// Ends the connections, and also the sessions if these outlive them.
    fn finish(
        mut self,
        places: &[usize],
        subscribers: &[usize],
        gate: &Gate,
    ) -> Result<Outcome, BenchError> {
        let after = match self.after.take() {
            Some(after) => after,
            None => self.snapshot(self.last_arrival.0)?,
        };
        let sent = self.shard.publishers().map(|publisher| publisher.sent()).sum();
        let unacknowledged = self.shard.publishers().map(|one| one.unacknowledged()).sum();
        self.shard.close(places)?;
        let (delivered, duplicates) = (self.shard.flow.delivered, self.shard.flow.duplicates);
        if self.args.persistent {
            // While another thread still publishes, its messages would be queued for the sessions
            // here.
            gate.pass(&self.shard.flow.progress)?;
            sessions::forget(&mut self.shard, subscribers)?;
        }
        Ok(Outcome {
            before: self.before,
            after,
            sent,
            delivered,
            duplicates,
            unacknowledged,
            latency: self.shard.flow.latency,
            acknowledgement: self.shard.flow.acknowledgement,
            lag: self.schedule.map_or_else(Histogram::new, |schedule| schedule.lag),
        })
    }
}
