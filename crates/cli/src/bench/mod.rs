//! `midge bench`: a load generator for any MQTT broker, and what it measures.
//!
//! It stands outside of the broker and sees it as a client does; what it knows beyond that comes
//! from `/proc`. It has to be lighter than any broker it measures, so its path per message is
//! short: see `generator::wire`. It must never count a message that did not arrive.
//!
//! `plan` lays a scenario out over the threads of the `generator`, `scenario` says what happens
//! when, `measure` counts what it costs, and `report` has the result.

mod args;
mod error;
mod generator;
mod measure;
mod output;
mod plan;
mod report;
mod scenario;

pub(crate) use args::BenchArgs;

use std::process::ExitCode;
use std::time::Instant;

use args::Scenario;
use error::BenchError;
use generator::progress::Progress;
use generator::shard;
use measure::histogram::Histogram;
use measure::process::Usage;
use plan::Plan;
use report::{Measurement, Report, Totals};
use scenario::{Gate, Snapshot, connect, drain, idle, traffic};

/// Runs the command and prints what it found.
pub(crate) fn run(args: &BenchArgs) -> ExitCode {
    let measured = args.check().and_then(|()| measure(args));
    output::end_progress();
    match measured {
        Ok(report) => {
            output::result(&if args.json { report.to_json() } else { report.to_table() });
            let broken = report.totals.is_some_and(|totals| totals.break_promise(args.qos));
            ExitCode::from(u8::from(broken))
        }
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn measure(args: &BenchArgs) -> Result<Report, BenchError> {
    let broker_at_rest = Usage::of(&args.pids)?;
    let mut found = match args.scenario {
        Scenario::Connect => measure_connect(args)?,
        Scenario::Idle => measure_idle(args)?,
        _ => measure_traffic(args)?,
    };
    // If the run fills queues, their sessions were there before.
    found.broker_at_rest = if args.only_fills() { found.broker.0 } else { broker_at_rest };
    Ok(Report::new(args, &found))
}

fn measure_traffic(args: &BenchArgs) -> Result<Measurement, BenchError> {
    let plan = Plan::new(args)?;
    let gate = Gate::new(usize::from(args.threads));
    let outcomes = on_threads(&plan.progress, plan.shards()?, |thread, shard| {
        if args.scenario == Scenario::Drain {
            drain::run(args, thread, shard, &gate)
        } else {
            traffic::run(args, thread, shard, &gate)
        }
    })?;
    let snapshots = outcomes.iter().map(|outcome| (outcome.before, outcome.after));
    let sum = |of: fn(&traffic::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let sent = sum(|outcome| outcome.sent);
    let expected = sent * plan::receivers_per_message(args);
    let mut totals = Totals::new(sent, expected, sum(|outcome| outcome.delivered));
    totals.duplicates += sum(|outcome| outcome.duplicates);
    totals.unacknowledged = sum(|outcome| outcome.unacknowledged);
    let is_paced = args.scenario == Scenario::Latency;
    Ok(Measurement {
        totals: (!args.only_fills()).then_some(totals),
        latency: Some(merged(outcomes.iter().map(|outcome| &outcome.latency))),
        acknowledgement: Some(merged(outcomes.iter().map(|outcome| &outcome.acknowledgement))),
        lag: Some(merged(outcomes.iter().map(|outcome| &outcome.lag))),
        uses_window: !is_paced,
        is_paced,
        ..between(snapshots)
    })
}

fn measure_connect(args: &BenchArgs) -> Result<Measurement, BenchError> {
    let threads = usize::from(args.threads);
    let (gate, progress) = (Gate::new(threads), Progress::new(threads, 0, Vec::new()));
    let pollers = (0..threads).map(|_| shard::new_poller()).collect::<Result<Vec<_>, _>>()?;
    let outcomes = on_threads(&progress, pollers, |thread, (poller, _)| {
        connect::run(args, thread, poller, &progress, &gate)
    })?;
    let snapshots = outcomes.iter().map(|outcome| (outcome.before, outcome.after));
    let latency = merged(outcomes.iter().map(|outcome| &outcome.latency));
    Ok(Measurement { latency: Some(latency), ..between(snapshots) })
}

fn measure_idle(args: &BenchArgs) -> Result<Measurement, BenchError> {
    let plan = Plan::new(args)?;
    let gate = Gate::new(usize::from(args.threads));
    let snapshots = on_threads(&plan.progress, plan.shards()?, |thread, shard| {
        idle::run(args, thread, shard, &gate)
    })?;
    let connections = Some(args.clients() as u64);
    Ok(Measurement { connections, ..between(snapshots.into_iter()) })
}

/// Runs `work` once for each part, the first in this thread. Returns the first error that is not
/// the echo of another one.
fn on_threads<T: Send, R: Send>(
    progress: &Progress,
    parts: Vec<T>,
    work: impl Fn(usize, T) -> Result<R, BenchError> + Sync,
) -> Result<Vec<R>, BenchError> {
    let guarded = |thread, part| {
        let _guard = FailOnPanic(progress);
        let first_failure = |_: &BenchError| !progress.fail();
        work(thread, part).map_err(|error| (first_failure(&error), error))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let guarded = &guarded;
        let mut parts = parts.into_iter().enumerate();
        let first = parts.next();
        let others: Vec<_> =
            parts.map(|(thread, part)| scope.spawn(move || guarded(thread, part))).collect();
        let first = first.map(|(thread, part)| guarded(thread, part));
        let panicked = |_| Err((true, BenchError::run("a thread panicked")));
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(panicked));
        first.into_iter().chain(others).collect()
    });
    let (good, mut bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    bad.sort_by_key(|result| !matches!(result, Err((true, _))));
    match bad.into_iter().next() {
        Some(Err((_, error))) => Err(error),
        _ => Ok(good.into_iter().filter_map(Result::ok).collect()),
    }
}

/// Tells the other threads if this one panics, so that they do not wait for it.
struct FailOnPanic<'a>(&'a Progress);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// Returns the figures for the time between two snapshots, summed over the threads.
fn between(snapshots: impl Iterator<Item = (Snapshot, Snapshot)>) -> Measurement {
    let mut found = Measurement::default();
    let (mut start, mut end): (Option<Instant>, Option<Instant>) = (None, None);
    for (before, after) in snapshots {
        found.count += after.delivered - before.delivered;
        start = start.into_iter().chain(before.at).min();
        end = end.into_iter().chain(after.at).max();
        if let (Some(before), Some(after)) = (before.usage, after.usage) {
            found.broker = (before.0, after.0);
            found.generator = (before.1, after.1);
        }
    }
    if let (Some(start), Some(end)) = (start, end) {
        found.seconds = end.saturating_duration_since(start).as_secs_f64();
    }
    found
}

fn merged<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Histogram {
    let mut all = Histogram::new();
    histograms.for_each(|histogram| all.merge(histogram));
    all
}
