//! The one clock of a broker, which gives its cores the time. Setting the machine's clock does not
//! move it, and it goes on while the machine is suspended. Where there is a store, the clock goes
//! on from the time of the store, and the store also learns what the machine's clocks show.

use std::sync::Arc;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use std::time::Instant;
use std::time::{SystemTime, UNIX_EPOCH};

use midge_core::Timestamp;
use midge_store::{Reading, Uptime};

/// The clocks of a machine. A program can give its broker other clocks, to test what happens when a
/// clock is set or time passes.
pub trait Clocks: Send + Sync {
    /// Returns the time of day in milliseconds since the Unix epoch. Whoever looks after the
    /// machine may set it at any time.
    fn wall_ms(&self) -> u64;

    /// Returns how many milliseconds have passed since some moment in the past, including the time
    /// while the machine was suspended. The moment is the same for all programs until the machine
    /// starts again. Never goes back.
    fn uptime_ms(&self) -> u64;

    /// Identifies the run of the machine that [`Clocks::uptime_ms`] counts in; `None` if nobody
    /// knows.
    fn boot(&self) -> Option<u128>;
}

/// The clocks of this machine.
#[derive(Debug)]
pub(crate) struct MachineClocks {
    boot: Option<u128>,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    started: Instant,
}

impl MachineClocks {
    pub(crate) fn new() -> Self {
        Self {
            boot: boot_id(),
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            started: Instant::now(),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_id() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_id() -> Option<u128> {
    None
}

impl Clocks for MachineClocks {
    fn wall_ms(&self) -> u64 {
        // A clock that shows a time before 1970 is not set yet.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn uptime_ms(&self) -> u64 {
        use nix::time::{ClockId, clock_gettime};
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or_default();
        seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn boot(&self) -> Option<u128> {
        self.boot
    }
}

/// Gives the cores their time.
#[derive(Clone)]
pub(crate) struct Clock {
    clocks: Arc<dyn Clocks>,
    start: Timestamp,
    /// The uptime at `start`.
    start_uptime_ms: u64,
}

impl Clock {
    /// Returns a clock that shows the time of day now, but does not follow it later.
    pub(crate) fn start(clocks: Arc<dyn Clocks>) -> Self {
        let (start, start_uptime_ms) =
            (Timestamp::from_millis(clocks.wall_ms()), clocks.uptime_ms());
        Self { clocks, start, start_uptime_ms }
    }

    /// Returns a clock that goes on from another time: it shows `start` for the moment at which
    /// this clock was started.
    pub(crate) fn going_on_from(&self, start: Timestamp) -> Self {
        Self { start, ..self.clone() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.start + self.clocks.uptime_ms().saturating_sub(self.start_uptime_ms)
    }

    /// Returns what the machine's clocks showed when this clock was started.
    pub(crate) fn first_reading(&self) -> Reading {
        let millis = self.start_uptime_ms;
        let uptime = self.clocks.boot().map(|boot| Uptime { boot, millis });
        Reading { wall_ms: self.start.as_millis(), uptime }
    }

    /// Returns the time, and what the machine's clocks show at that moment.
    pub(crate) fn read(&self) -> (Timestamp, Reading) {
        let (wall_ms, millis) = (self.clocks.wall_ms(), self.clocks.uptime_ms());
        let now = self.start + millis.saturating_sub(self.start_uptime_ms);
        let uptime = self.clocks.boot().map(|boot| Uptime { boot, millis });
        (now, Reading { wall_ms, uptime })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Clocks, MachineClocks};

    #[test]
    fn the_clocks_of_this_machine_go() {
        let clocks = MachineClocks::new();
        let (wall, uptime) = (clocks.wall_ms(), clocks.uptime_ms());
        assert!(wall > 1_700_000_000_000, "{wall}");
        std::thread::sleep(Duration::from_millis(3));
        let passed = clocks.uptime_ms() - uptime;
        assert!((2..60_000).contains(&passed), "{passed}");
        assert_eq!(clocks.boot(), MachineClocks::new().boot());
    }
}
