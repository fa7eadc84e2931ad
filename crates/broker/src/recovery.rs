//! Gives the workers of a starting broker what the store has kept, before any Client is let in.

use midge_core::{Core, Effects, Event, Recovered, Timestamp, WorkerId};
use midge_store::{Engine, OpenError};

use crate::clock::Clock;
use crate::directory::Directory;
use crate::drop_log::DropLog;
use crate::event_log::log_subscribed;

/// A store whose contents the cores have taken over.
pub(crate) struct Restored {
    pub(crate) engine: Engine,
    /// The last commit of each core that the store was given meanwhile; its receipt is awaited.
    pub(crate) applied: Vec<u64>,
}

/// Gives each core its part, and carries out what the cores have to tell each other about it.
/// Afterwards, the outcome of the last run is durable; otherwise another start could come to a
/// different outcome.
pub(crate) fn restore(
    cores: &mut [Core],
    engine: Engine,
    recovered: Recovered,
    (seed, directory): (u64, Option<&Directory>),
    clock: &Clock,
) -> Result<Restored, OpenError> {
    let now = clock.now();
    let count = cores.len();
    let mut restored = Restored { engine, applied: vec![0; count] };
    let mut effects: Vec<_> = cores.iter().map(|_| Effects::new(count)).collect();
    for (index, part) in recovered.divide(count, seed).into_iter().enumerate() {
        if let Some(directory) = directory {
            for session in &part.sessions {
                directory.own(&session.record.client_id, WorkerId::new(index));
            }
        }
        cores[index].restore(part, now, &mut effects[index]);
    }
    while carry_out(cores, &mut restored, &mut effects, now) {}
    for (core, fx) in cores.iter_mut().zip(&mut effects) {
        core.end_restore(now, fx);
    }
    while carry_out(cores, &mut restored, &mut effects, now) {}
    log_effects(&mut effects, now);
    let (now, reading) = clock.read();
    restored.engine.take_over(now, reading)?;
    Ok(restored)
}

/// Logs what could not be taken over because the limits are lower than before, or the rules
/// different.
fn log_effects(effects: &mut [Effects], now: Timestamp) {
    let mut drops = DropLog::default();
    for fx in effects {
        drops.take(&mut fx.drops, now);
        for event in fx.events.drain(..) {
            if let Event::Subscribed { client, filter, reason_code } = event {
                log_subscribed(&client, &filter, reason_code, "stored ");
            }
        }
    }
    drops.tell();
}

/// Carries out the effects of the cores. Returns true if there may be more to do.
fn carry_out(
    cores: &mut [Core],
    restored: &mut Restored,
    effects: &mut [Effects],
    now: Timestamp,
) -> bool {
    let Restored { engine, applied } = restored;
    let mut is_busy = false;
    for index in 0..cores.len() {
        let worker = WorkerId::new(index);
        cores[index].run_backlog(now, &mut effects[index]);
        for commit in std::mem::take(&mut effects[index].commits) {
            applied[index] = commit.number;
            engine.apply(worker, commit);
        }
        for fetch in std::mem::take(&mut effects[index].fetches) {
            is_busy = true;
            let fetched = engine.fetch(&fetch);
            cores[index].handle_fetched(fetched, now, &mut effects[index]);
        }
        for other in 0..cores.len() {
            let messages = std::mem::take(&mut effects[index].to_workers[other]);
            if !messages.is_empty() {
                is_busy = true;
                cores[other].handle_batch(worker, messages, now, &mut effects[other]);
            }
        }
    }
    is_busy || cores.iter().any(Core::has_backlog)
}
