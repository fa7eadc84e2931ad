//! Stops asking a server that does not answer, so that Clients are told at once and the server can
//! recover. The time is an argument; this module must never ask a clock.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A longer time is a mistake, and no clock can be added to the longest ones.
const OPEN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a server is asked.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: NonZeroU32,
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Everybody asks. So many requests in a row had no answer.
    Closed { failures: u32 },
    /// Nobody asks before this time.
    Open { until: Instant },
    /// One request finds out whether the server is back; another one may if it takes too long.
    HalfOpen { probe: u64, until: Instant },
}

/// A request that may be made. Tell [`Breaker::report`] how it ended.
#[derive(Debug)]
pub(super) struct Admission {
    /// The number of the request, if it finds out whether the server is back.
    probe: Option<u64>,
}

impl Breaker {
    /// Opens after `failures_max` requests in a row without an answer, for `open_for`, but at most
    /// a day.
    pub(super) fn new(failures_max: NonZeroU32, open_for: Duration) -> Self {
        let open_for = open_for.min(OPEN_MAX);
        Self { failures_max, open_for, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Asks whether a request may be made now.
    pub(super) fn admit(&self, now: Instant) -> Option<Admission> {
        let mut state = self.lock();
        let probe = match *state {
            State::Closed { .. } => return Some(Admission { probe: None }),
            State::Open { until } if until <= now => 0,
            State::HalfOpen { probe, until } if until <= now => probe + 1,
            State::Open { .. } | State::HalfOpen { .. } => return None,
        };
        *state = State::HalfOpen { probe, until: now + self.open_for };
        Some(Admission { probe: Some(probe) })
    }

    /// Notes how a request has ended.
    #[allow(clippy::needless_pass_by_value)] // a request ends once
    pub(super) fn report(&self, admission: Admission, has_answered: bool, now: Instant) {
        let mut state = self.lock();
        match &mut *state {
            State::Closed { failures } if has_answered => *failures = 0,
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= self.failures_max.get() {
                    *state = State::Open { until: now + self.open_for };
                }
            }
            State::HalfOpen { probe, .. } if admission.probe == Some(*probe) => {
                *state = match has_answered {
                    true => State::Closed { failures: 0 },
                    false => State::Open { until: now + self.open_for },
                };
            }
            // The request began before the breaker opened.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(NonZeroU32::new(3).unwrap(), OPEN_FOR)
    }

    fn request(breaker: &Breaker, has_answered: bool, now: Instant) -> bool {
        let admission = breaker.admit(now);
        admission.map(|it| breaker.report(it, has_answered, now)).is_some()
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        let (breaker, now) = (breaker(), Instant::now());
        for has_answered in [false, false, true, false, false, false] {
            assert!(request(&breaker, has_answered, now));
        }
        assert!(!request(&breaker, true, now));
        assert!(!request(&breaker, true, now + OPEN_FOR - Duration::from_millis(1)));
    }

    #[test]
    fn one_request_finds_out_whether_the_server_is_back() {
        let (breaker, now) = (breaker(), Instant::now());
        let early = breaker.admit(now).unwrap();
        for _ in 0..3 {
            request(&breaker, false, now);
        }
        breaker.report(early, true, now);
        assert!(breaker.admit(now).is_none(), "what began before does not count");
        let now = now + OPEN_FOR;
        let probe = breaker.admit(now).unwrap();
        assert!(breaker.admit(now).is_none());
        breaker.report(probe, false, now);
        assert!(breaker.admit(now).is_none(), "it is open again");
        let now = now + OPEN_FOR;
        let probe = breaker.admit(now).unwrap();
        breaker.report(probe, true, now);
        assert!(request(&breaker, true, now) && request(&breaker, true, now));
    }

    #[test]
    fn the_longest_time_is_a_day() {
        let breaker = Breaker::new(NonZeroU32::MIN, Duration::MAX);
        let now = Instant::now();
        assert!(request(&breaker, false, now));
        assert!(!request(&breaker, true, now + OPEN_MAX - Duration::from_secs(1)));
        assert!(request(&breaker, true, now + OPEN_MAX));
    }

    #[test]
    fn a_probe_that_is_lost_is_replaced() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            request(&breaker, false, now);
        }
        let lost = breaker.admit(now + OPEN_FOR).unwrap();
        let second = breaker.admit(now + 2 * OPEN_FOR).unwrap();
        breaker.report(lost, false, now + 2 * OPEN_FOR);
        breaker.report(second, true, now + 2 * OPEN_FOR);
        assert!(request(&breaker, true, now + 2 * OPEN_FOR));
    }
}
