//! R1: no acknowledged message is lost, and no QoS 2 message arrives twice, however often the
//! broker is killed.
//!
//! A broker is started on one data directory again and again and killed with SIGKILL at random
//! moments, while clients publish, subscribe, set retained messages and leave Will Messages. The
//! clients keep the Session State that the specification asks for; so if anything is missing or
//! duplicated at the end, it is the broker's fault.
//!
//! `MIDGE_TEST_ROUNDS` sets how many rounds each test plays (25). `MIDGE_TEST_SEED` repeats a run,
//! as far as threads and disks allow:
//!
//! ```sh
//! MIDGE_TEST_ROUNDS=1000 cargo test -p midge --test durability
//! ```

mod campaign;
mod cast;
mod client;
mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod gone;
mod guest;
mod inspector;
mod message;
mod publisher;
mod resubscriber;
mod round;
mod subscriber;
mod trace;
mod will;

use std::time::{SystemTime, UNIX_EPOCH};

use campaign::{Campaign, End};
use common::slow_sync::Pace;

const ROUNDS: u32 = 25;

const AS_IT_IS: &[Pace] = &[Pace::NORMAL];

/// The paces of the disk, for one broker after the other.
const SLOW: &[Pace] =
    &[Pace::each(8), Pace::each(50), Pace::each(1), Pace::each(8).with_stalls(40, 2_000)];

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn play(end: End, workers: usize, paces: &'static [Pace]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable("MIDGE_TEST_SEED").unwrap_or(now.as_micros() as u64 % 1_000_000_000);
    let rounds = variable("MIDGE_TEST_ROUNDS").map_or(ROUNDS, |rounds| rounds as u32);
    Campaign::new(end, workers, paces, seed).run(rounds);
}

#[test]
fn r1_a_killed_broker_with_one_worker_keeps_what_it_has_acknowledged() {
    play(End::Kill, 1, AS_IT_IS);
}

#[test]
fn r1_a_killed_broker_with_two_workers_keeps_what_it_has_acknowledged() {
    play(End::Kill, 2, AS_IT_IS);
}

#[test]
fn r9_a_killed_broker_with_one_worker_and_a_slow_disk_keeps_what_it_has_acknowledged() {
    play(End::Kill, 1, SLOW);
}

#[test]
fn r9_a_killed_broker_with_two_workers_and_a_slow_disk_keeps_what_it_has_acknowledged() {
    play(End::Kill, 2, SLOW);
}

#[test]
fn r1_a_broker_keeps_what_it_has_acknowledged_when_connections_break() {
    play(End::Cut, 2, AS_IT_IS);
}
