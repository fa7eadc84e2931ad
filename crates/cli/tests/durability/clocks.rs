//! Somebody sets the machine's clock while a broker runs, which is then killed or terminated: what
//! should live is there at the next start, and what should be over is over. The broker is a
//! process, and the test sets the time of day that it sees.

use std::thread;
use std::time::{Duration, Instant};

use midge_codec::QoS;
use nix::sys::signal::Signal;

use crate::common::broker::{Broker, Home, Keeping};
use crate::common::random::Random;
use crate::common::set_clock::SetClock;
use crate::guest::Guest;

const DAY_MS: i64 = 86_400_000;
/// A time so long that nothing could live after it, if it counted.
const LONG_MS: i64 = 900 * DAY_MS;
/// A lifetime in seconds that outlasts each test.
const LONG: u32 = 7200;
/// A lifetime in seconds that ends within [`OFF_MS`].
const SHORT: u32 = 1800;
/// How long a machine is off.
const OFF_MS: i64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn home(seed: u64) -> Home {
    let seed = u64::from(std::process::id()) * 100 + 50 + seed;
    let mut home = Home::new(Keeping::Data, 2, &[], &mut Random::new(seed));
    home.clock = Some(SetClock::new(home.directory()));
    home
}

fn clock(home: &mut Home) -> &mut SetClock {
    home.clock.as_mut().expect("a home has a clock here")
}

/// Leaves a Session and a retained message with this name and lifetime. The store knows both.
fn leave(home: &Home, name: &str, seconds: u32) {
    let (mut guest, session_present) = Guest::connect(home, name, false, seconds);
    assert!(!session_present, "{name} was never here");
    guest.subscribe("none");
    guest.retain(name, seconds);
    guest.disconnect(None);
}

/// Moves the clock by `millis` and waits until the broker has seen that.
fn set(home: &mut Home, millis: i64) {
    clock(home).put_forward(millis);
    let deadline = Instant::now() + PATIENCE;
    while !home.log().contains("the machine's clock was set") {
        assert!(Instant::now() < deadline, "nobody sees that the clock was set: {}", home.log());
        thread::sleep(Duration::from_millis(5));
    }
}

fn end(broker: Broker, by: Signal) {
    if by == Signal::SIGKILL {
        broker.kill();
    } else {
        assert!(broker.terminate(PATIENCE));
    }
}

/// Checks whether the Session and the retained message of this name are there.
fn expect(home: &Home, name: &str, lives: bool) {
    let (_, session_present) = Guest::connect(home, name, false, LONG);
    let (mut reader, _) = Guest::connect(home, "reader", true, 0);
    let retained = reader.retained().iter().any(|topic| topic == name);
    let log = home.log();
    assert_eq!((session_present, retained), (lives, lives), "Session, retained: {name}: {log}");
}

/// Runs the test at once for all pairs of a clock step and a way to end the broker, each with its
/// own home.
fn each(first_seed: u64, test: impl Fn(Home, i64, Signal) + Copy + Send + Sync) {
    thread::scope(|scope| {
        let steps = [LONG_MS, -LONG_MS].into_iter();
        let pairs = steps.flat_map(|step| [Signal::SIGKILL, Signal::SIGTERM].map(|by| (step, by)));
        for (seed, (step, by)) in (first_seed..).zip(pairs) {
            let name = format!("clock set by {} days, {by}", step / DAY_MS);
            let run = move || test(home(seed), step, by);
            thread::Builder::new().name(name).spawn_scoped(scope, run).unwrap();
        }
    });
}

#[test]
fn r1_a_clock_that_is_set_ends_nothing_early_and_keeps_nothing_alive() {
    each(0, |mut home, step, by| {
        let broker = home.start();
        leave(&home, "long", LONG);
        leave(&home, "brief", 1);
        let left = Instant::now();
        set(&mut home, step);
        leave(&home, "later", LONG);
        end(broker, by);
        thread::sleep(Duration::from_millis(1100).saturating_sub(left.elapsed()));
        let _broker = home.start();
        expect(&home, "long", true);
        expect(&home, "later", true);
        expect(&home, "brief", false);
    });
}

#[test]
fn r1_a_clock_that_is_set_does_not_count_as_time_without_power() {
    each(10, |mut home, step, by| {
        let broker = home.start();
        leave(&home, "long", LONG);
        leave(&home, "short", SHORT);
        set(&mut home, step);
        leave(&home, "later", LONG);
        end(broker, by);
        clock(&mut home).put_forward(OFF_MS);
        clock(&mut home).boot();
        let _broker = home.start();
        expect(&home, "long", true);
        expect(&home, "later", true);
        expect(&home, "short", false);
    });
}

/// A board without a battery: each boot begins in 1970, and the clock is set some time later.
#[test]
fn r1_a_board_that_learns_the_time_after_the_start_loses_nothing() {
    let mut home = home(20);
    clock(&mut home).forget();
    clock(&mut home).boot();
    for (boot, by) in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL].into_iter().enumerate() {
        let broker = home.start();
        leave(&home, &format!("of-{boot}"), SHORT);
        set(&mut home, 20_000 * DAY_MS);
        let (mut guest, _) = Guest::connect(&home, "a", false, SHORT);
        guest.publish("other", "x", QoS::AtLeastOnce, true);
        end(broker, by);
        clock(&mut home).forget();
        clock(&mut home).boot();
    }
    let _broker = home.start();
    for boot in 0..3 {
        expect(&home, &format!("of-{boot}"), true);
    }
}
