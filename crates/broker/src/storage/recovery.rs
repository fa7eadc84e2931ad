//! Gives the workers of a starting broker what the store has kept, before any Client is let in.

use std::thread;

use midge_core::{Core, Event, Turn, WorkerId};
use midge_store::{Engine, OpenError, Opened};

use crate::clock::Clock;
use crate::directory::Directory;
use crate::drop_log::DropLog;
use crate::program::guard::note_thread;
use crate::storage::{Place, log_report};
use crate::subscription_log::log_subscribed;

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
    place: &Place,
    opened: Opened,
    cores: &mut [Core],
    seed: u64,
    directory: Option<&Directory>,
    clock: &Clock,
) -> Result<Restored, OpenError> {
    let Opened { engine, recovered, report, .. } = opened;
    log_report(place, &recovered, &report);
    let now = clock.now();
    let count = cores.len();
    let mut restored = Restored { engine, applied: vec![0; count] };
    let mut turns: Vec<_> = cores.iter().map(|_| Turn::new(now, count)).collect();
    let parts = recovered.divide(count, seed);
    let tasks = cores.iter_mut().zip(&mut turns).zip(parts).enumerate();
    side_by_side(tasks, |(index, ((core, turn), part))| {
        if let Some(directory) = directory {
            for session in &part.sessions {
                directory.own(&session.record.client_id, WorkerId::new(index));
            }
        }
        core.restore(part, turn);
    })?;
    while carry_out(cores, &mut restored, &mut turns)? {}
    for (core, turn) in cores.iter_mut().zip(&mut turns) {
        core.end_restore(turn);
    }
    while carry_out(cores, &mut restored, &mut turns)? {}
    log_effects(&mut turns);
    let (now, reading) = clock.read();
    restored.engine.finish_start(now, reading)?;
    Ok(restored)
}

/// Logs what could not be taken over because the limits are lower than before, or the rules
/// different.
fn log_effects(turns: &mut [Turn]) {
    let mut drops = DropLog::default();
    for Turn { now, fx } in turns {
        drops.take(&mut fx.drops, *now);
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
    turns: &mut [Turn],
) -> Result<bool, OpenError> {
    let Restored { engine, applied } = restored;
    let mut is_busy = false;
    let mut mail: Vec<Vec<_>> = cores.iter().map(|_| Vec::new()).collect();
    for index in 0..cores.len() {
        let worker = WorkerId::new(index);
        cores[index].end_turn(&mut turns[index]);
        for commit in std::mem::take(&mut turns[index].fx.commits) {
            applied[index] = commit.number;
            engine.apply(worker, commit);
        }
        for fetch in std::mem::take(&mut turns[index].fx.fetches) {
            is_busy = true;
            let fetched = engine.fetch(&fetch);
            cores[index].handle_fetched(fetched, &mut turns[index]);
        }
        for (mail, messages) in mail.iter_mut().zip(&mut turns[index].fx.to_workers) {
            if !messages.is_empty() {
                mail.push((worker, std::mem::take(messages)));
            }
        }
    }
    is_busy |= mail.iter().any(|mail| !mail.is_empty());
    let is_much = mail.iter().flatten().any(|(_, messages)| messages.len() >= MANY_MESSAGES);
    let tasks = cores.iter_mut().zip(&mut *turns).zip(mail);
    let take_in = |((core, turn), mail): ((&mut Core, &mut Turn), Vec<_>)| {
        for (from, messages) in mail {
            core.handle_batch(from, messages, turn);
        }
    };
    match is_much {
        true => side_by_side(tasks, take_in)?,
        false => tasks.for_each(take_in),
    }
    Ok(is_busy || cores.iter().any(Core::has_work))
}

/// From so many messages on, it is worth a thread to take them in.
const MANY_MESSAGES: usize = 1_000;

/// Does something for each core at the same time, each on a thread of its own, and waits for all.
fn side_by_side<T: Send>(
    tasks: impl Iterator<Item = T>,
    run: impl Fn(T) + Sync,
) -> Result<(), OpenError> {
    let run = &run;
    thread::scope(|scope| {
        for task in tasks {
            let thread = thread::Builder::new().name("midge-restore".into());
            let begun = thread.spawn_scoped(scope, move || {
                note_thread();
                run(task);
            });
            begun.map_err(|error| OpenError::io("a thread that restores", error))?;
        }
        Ok(())
    })
}
