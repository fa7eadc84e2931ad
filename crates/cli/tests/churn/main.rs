//! R4: Clients that come and go leave nothing behind. Clients of all versions connect, subscribe,
//! publish at every QoS and leave in every way, again and again. Whenever all of them are gone, the
//! broker's tables are empty, and its memory, threads and sockets are what they were.
//!
//! ```sh
//! MIDGE_TEST_MINUTES=20 cargo test --release -p midge --test churn -- --nocapture
//! MIDGE_TEST_SEED=42 cargo test -p midge --test churn -- --nocapture
//! ```

#[path = "../common/mod.rs"]
mod common;
mod leftovers;
mod life;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::broker::{Home, Keeping};
use common::random::Random;
use common::slow_sync::Pace;
use leftovers::{Held, Inspector};

/// How many Clients live at the same time.
const CROWD: u64 = 8;
/// How long they come and go before the broker is checked, in an ordinary run and in a long one.
const BUSY: Duration = Duration::from_secs(4);
const LONG_BUSY: Duration = Duration::from_secs(60);
/// The phases of an ordinary run. The others are compared with the first one.
const PHASES: u64 = 4;
/// The memory that an allocator may keep in scattered pages. A leak of 4 bytes per Client would
/// show after a million lives.
const SCATTERED_BYTES: u64 = 4 << 20;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Prints a line for whoever watches, which the test harness does not swallow.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Lets a crowd of Clients live one life after the other for the time `busy`.
fn let_live(port: u16, phase: u64, random: &Random, lives: &AtomicU64, busy: Duration) {
    let until = Instant::now() + busy;
    thread::scope(|scope| {
        for member in 0..CROWD {
            scope.spawn(move || {
                let mut random = random.fork(&format!("{phase}/{member}"));
                while Instant::now() < until {
                    let number = lives.fetch_add(1, Ordering::Relaxed);
                    life::live(port, number, &mut random);
                }
            });
        }
    });
}

#[test]
fn r4_clients_that_come_and_go_leave_nothing_behind() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable("MIDGE_TEST_SEED").unwrap_or(now.as_micros() as u64 % 1_000_000_000);
    let minutes = variable("MIDGE_TEST_MINUTES");
    let (busy, phases) = minutes.map_or((BUSY, PHASES), |minutes| (LONG_BUSY, minutes.max(2)));
    say(&format!("seed {seed}"));
    let mut random = Random::new(seed);
    let mut home = Home::new(Keeping::Data, 2, &[Pace::NORMAL], &mut random);
    home.settings.push(("MIDGE_SYS_TOPICS_INTERVAL_SECONDS", "1"));
    let broker = home.start();
    let inspector = Inspector::new(home.port(), broker.id());
    let lives = AtomicU64::new(0);
    let mut first: Option<Held> = None;
    for phase in 1..=phases {
        let_live(home.port(), phase, &random, &lives, busy);
        inspector.clear_away();
        inspector.wait_until_nobody_is_left();
        let held = inspector.wait_for(first.as_ref(), SCATTERED_BYTES);
        say(&format!("{phase} of {phases}, {} lives: {held}", lives.load(Ordering::Relaxed)));
        let first = first.get_or_insert(held);
        held.expect_no_more_than(first, SCATTERED_BYTES, &format!("seed {seed}, phase {phase}"));
    }
    let complaints = home.complaints();
    assert!(complaints.is_empty(), "seed {seed}: {complaints:?}");
    assert!(broker.terminate(Duration::from_secs(30)), "seed {seed}: {}", home.log());
}
