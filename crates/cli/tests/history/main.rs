//! R3: a history checker. Random Clients of all kinds work with a real broker, to which everything
//! happens that can happen to a broker: it is killed, asked to end or stopped, and its disk is slow
//! or stalls. Everybody records what was said when; afterwards that history is judged (`check`).
//!
//! A run consists of *epochs*: a new broker, new Clients, a time of chaos, a time in which
//! everything settles, and a judgement. The seed decides which Clients with which habits take part,
//! how many workers there are, how slow the disk is, and what is done to the broker. It does not
//! decide how threads and packets interleave.
//!
//! ```sh
//! MIDGE_TEST_MINUTES=30 cargo test --release -p midge --test history -- --nocapture
//! MIDGE_TEST_SEED=42 cargo test -p midge --test history -- --nocapture      # this epoch, once
//! ```

mod actor;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod connecting;
mod device;
mod epoch;
mod habits;
mod history;
mod nemesis;
mod overtaking;
mod payload;
mod receiving;
mod scene;

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use epoch::{Epoch, Summary};

/// How long an ordinary run lasts.
const RUN: Duration = Duration::from_secs(80);
/// How long the chaos lasts in each epoch of an ordinary run, and of a long one.
const CHAOS: Duration = Duration::from_secs(8);
const LONG_CHAOS: Duration = Duration::from_secs(20);

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn r3_a_history_of_clients_and_faults_is_as_was_promised() {
    let minutes = variable("MIDGE_TEST_MINUTES");
    let (run, chaos) =
        minutes.map_or((RUN, CHAOS), |minutes| (Duration::from_secs(minutes * 60), LONG_CHAOS));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let given = variable("MIDGE_TEST_SEED");
    let first = given.unwrap_or(now.as_micros() as u64 % 1_000_000_000);
    let began = Instant::now();
    let mut sum = Summary::default();
    for seed in first.. {
        let summary = Epoch::new(seed, chaos, minutes.is_some()).play();
        sum.add(&summary);
        say(&format!("seed {seed}: {summary}"));
        say(&format!("{:.1} minutes: {sum}", began.elapsed().as_secs_f64() / 60.0));
        // The time left must be enough for another epoch.
        if given.is_some() || began.elapsed() + chaos * 5 / 2 > run {
            break;
        }
    }
}

/// Prints a line for whoever watches, which the test harness does not swallow.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
