//! The time of QUIC's thread. Time does not pass while the thread does not run, because its process
//! is stopped or its machine has no time for it: so datagrams that came meanwhile are read before
//! anybody is found to have been silent. The time never goes back.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

/// How often the thread shows that it runs.
const BEAT: Duration = Duration::from_millis(500);
/// How long the thread may show nothing before it counts as standing still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// tokio's runtime with this time.
#[derive(Clone, Debug)]
pub(super) struct PatientRuntime {
    time: Arc<Mutex<Time>>,
}

#[derive(Debug)]
struct Time {
    /// When the thread last showed that it runs, by the machine's clock.
    beat: Instant,
    /// How long the thread has stood still so far.
    lost: Duration,
}

impl Time {
    /// Returns the time when the machine's clock shows `real`.
    fn at(&mut self, real: Instant) -> Instant {
        let since = real.saturating_duration_since(self.beat);
        if since >= STANDSTILL {
            self.lost += since - STANDSTILL;
            // The thread has shown no further sign that it runs.
            self.beat = real.checked_sub(STANDSTILL).unwrap_or(real);
        }
        real.checked_sub(self.lost).unwrap_or(real)
    }

    fn beat(&mut self, real: Instant) {
        self.at(real);
        self.beat = real;
    }
}

impl PatientRuntime {
    pub(super) fn new() -> Self {
        let time = Time { beat: Instant::now(), lost: Duration::ZERO };
        Self { time: Arc::new(Mutex::new(time)) }
    }

    /// Shows again and again that the thread runs. Never returns.
    pub(super) async fn beat(self) {
        loop {
            tokio::time::sleep(BEAT).await;
            self.time().beat(Instant::now());
        }
    }

    /// Returns what the machine's clock will show at `moment`, if nothing stands still until then.
    fn real(&self, moment: Instant) -> Instant {
        moment + self.time().lost
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for PatientRuntime {
    fn new_timer(&self, moment: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let timer = TokioRuntime.new_timer(self.real(moment));
        Box::pin(Timer { runtime: self.clone(), timer })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        self.time().at(Instant::now())
    }
}

/// One of tokio's timers. A timer that was set before a standstill goes off early, and is then set
/// again.
#[derive(Debug)]
struct Timer {
    runtime: PatientRuntime,
    timer: Pin<Box<dyn AsyncTimer>>,
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, moment: Instant) {
        let moment = self.runtime.real(moment);
        self.timer.as_mut().reset(moment);
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{STANDSTILL, Time};

    #[test]
    fn time_passes_while_the_thread_runs() {
        let begin = Instant::now();
        let mut time = Time { beat: begin, lost: Duration::ZERO };
        for millis in (0..10_000).step_by(250) {
            let real = begin + Duration::from_millis(millis);
            assert_eq!(time.at(real), real);
            if millis % 500 == 0 {
                time.beat(real);
            }
        }
    }

    #[test]
    fn time_in_which_the_thread_stands_still_does_not_pass_and_never_goes_back() {
        let begin = Instant::now();
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let mut time = Time { beat: begin, lost: Duration::ZERO };
        assert_eq!(time.at(at(999)), at(999));
        assert_eq!(time.at(at(60_000)), begin + STANDSTILL);
        // This holds as long as the thread shows nothing.
        assert_eq!(time.at(at(60_400)), begin + STANDSTILL);
        time.beat(at(60_500));
        assert_eq!(time.at(at(60_900)), at(1_400));
        time.beat(at(61_000));
        assert_eq!(time.at(at(61_000)), at(1_500));
        time.beat(at(90_000));
        assert_eq!(time.at(at(90_000)), at(2_500));
    }
}
