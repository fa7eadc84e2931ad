//! `idle`: connections that do nothing, to see what each of them costs.

use std::time::{Duration, Instant};

use super::super::args::BenchArgs;
use super::super::error::BenchError;
use super::super::generator::link::Link;
use super::super::generator::shard::Shard;
use super::super::output;
use super::{Gate, Snapshot};

/// Opens this thread's clients and holds them for the time of the run.
pub(crate) fn run(
    args: &BenchArgs,
    thread: usize,
    mut shard: Shard,
    gate: &Gate,
) -> Result<(Snapshot, Snapshot), BenchError> {
    let places: Vec<usize> = (0..shard.clients.len()).collect();
    shard.open(&places)?;
    for client in &mut shard.clients {
        client.link.iter_mut().for_each(Link::shrink);
    }
    gate.pass(&shard.flow.progress)?;
    let before = Snapshot::take(args, thread, 0, 0)?;
    let start = Instant::now();
    let mut tick_due = Duration::from_secs(1);
    while start.elapsed().as_secs_f64() < args.seconds {
        shard.turn(Some(Duration::from_millis(20)))?;
        if thread == 0 && start.elapsed() >= tick_due {
            tick_due += Duration::from_secs(1);
            output::progress(args, start.elapsed(), "connected", args.clients() as u64);
        }
    }
    let after = Snapshot::take(args, thread, 0, 0)?;
    shard.close(&places)?;
    Ok((before, after))
}
