//! A broker that starts gives its workers what the store has kept, before any Client is let in.

use midge_core::{Core, Effects, Recovered, Timestamp, WorkerId};
use midge_store::Engine;

use crate::directory::Directory;

/// Gives each core its part, and carries out what they have to tell each other about it.
pub(crate) fn restore(
    cores: &mut [Core],
    engine: &mut Engine,
    recovered: Recovered,
    (seed, directory): (u64, Option<&Directory>),
    now: Timestamp,
) {
    let count = cores.len();
    let mut effects: Vec<_> = cores.iter().map(|_| Effects::new(count)).collect();
    for (index, part) in recovered.divide(count, seed).into_iter().enumerate() {
        if let Some(directory) = directory {
            for session in &part.sessions {
                directory.own(&session.record.client_id, WorkerId::new(index));
            }
        }
        cores[index].restore(part, now, &mut effects[index]);
    }
    while carry_out(cores, engine, &mut effects, now) {}
    for (core, fx) in cores.iter_mut().zip(&mut effects) {
        core.end_restore(now, fx);
    }
    while carry_out(cores, engine, &mut effects, now) {}
}

/// True if there may be more to do.
fn carry_out(
    cores: &mut [Core],
    engine: &mut Engine,
    effects: &mut [Effects],
    now: Timestamp,
) -> bool {
    let mut is_busy = false;
    for index in 0..cores.len() {
        let worker = WorkerId::new(index);
        cores[index].run_backlog(now, &mut effects[index]);
        for commit in std::mem::take(&mut effects[index].commits) {
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
