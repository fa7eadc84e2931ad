//! What the tests share: starting a broker, waiting for a state, and a runtime of ten lines.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use midge_broker::{Broker, BrokerBuilder, Counters, DropReason, Limits, Placement, Usage};

/// How long anything that has to happen may take. Long, because two slow processors run it all.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Returns a builder that listens on a port that the system chooses.
pub(crate) fn builder(workers: usize) -> BrokerBuilder {
    // Clients are at all workers, whatever the load is.
    let builder = Broker::builder().placement(Placement::Even);
    builder.listen("127.0.0.1:0").workers(workers).seed(7)
}

/// Starts a broker with this many workers.
pub(crate) fn broker(workers: usize) -> Broker {
    builder(workers).start().unwrap()
}

/// Starts a broker with one worker and changed limits.
pub(crate) fn limited(change: impl FnOnce(&mut Limits)) -> Broker {
    let mut limits = Limits::default();
    change(&mut limits);
    builder(1).limits(limits).start().unwrap()
}

pub(crate) fn address(broker: &Broker) -> SocketAddr {
    broker.local_addresses()[0].network().unwrap()
}

pub(crate) fn counters(broker: &Broker) -> Counters {
    broker.handle().figures().wait().unwrap().0
}

pub(crate) fn usage(broker: &Broker) -> Usage {
    broker.handle().figures().wait().unwrap().1
}

pub(crate) fn dropped(broker: &Broker, reason: DropReason) -> u64 {
    counters(broker).dropped_for(reason)
}

/// Polls until the condition holds; fails the test if it does not within [`DEADLINE`].
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(becomes(DEADLINE, condition), "{what}: not within {DEADLINE:?}");
}

/// Returns whether the condition becomes true in time.
pub(crate) fn becomes(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; fails the test if it takes too long.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the future is not ready after {DEADLINE:?}");
        thread::park_timeout(left);
    }
}

/// Runs a closure on another thread; fails the test if it does not end in time.
pub(crate) fn in_time<T: Send + 'static>(
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::spawn(run);
    until(what, || thread.is_finished());
    thread.join().unwrap()
}
