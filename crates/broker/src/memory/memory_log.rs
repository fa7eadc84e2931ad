//! Log lines about memory. A shortage is logged at once. That it has eased or ended is logged only
//! after a while, because near a limit the pressure changes many times a second. Nothing but the
//! log depends on this.

use midge_core::MemoryPressure;

/// What was logged last.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    said: MemoryPressure,
    /// Since when the pressure is below `said`, and the highest that it was since.
    lower: Option<(u64, MemoryPressure)>,
}

impl MemoryLog {
    /// How long the pressure has to stay below `said` before that is logged.
    const CALM_MS: u64 = 5_000;

    pub(crate) fn new() -> Self {
        Self { said: MemoryPressure::None, lower: None }
    }

    /// Logs the pressure at this moment, if that is due; `taken` of `limit` bytes are in use.
    pub(crate) fn note(&mut self, pressure: MemoryPressure, now_ms: u64, taken: u64, limit: u64) {
        let before = self.said;
        if let Some(now) = self.change(pressure, now_ms) {
            tell(before, now, taken, limit);
        }
    }

    fn change(&mut self, pressure: MemoryPressure, now_ms: u64) -> Option<MemoryPressure> {
        if pressure >= self.said {
            self.lower = None;
        } else {
            let (since, highest) = self.lower.get_or_insert((now_ms, pressure));
            *highest = pressure.max(*highest);
            if now_ms < *since + Self::CALM_MS {
                return None;
            }
        }
        let now = self.lower.take().map_or(pressure, |(_, highest)| highest);
        (std::mem::replace(&mut self.said, now) != now).then_some(now)
    }
}

fn tell(before: MemoryPressure, now: MemoryPressure, taken: u64, limit: u64) {
    let (taken, limit) = (taken >> 20, limit >> 20);
    let what = match now {
        MemoryPressure::None => return log::info!("there is enough memory again"),
        MemoryPressure::High => "new sessions are refused, and nothing more is retained",
        MemoryPressure::Severe => "QoS 0 is dropped, and publishers have to wait",
        MemoryPressure::Critical => "clients for which most is kept are disconnected",
    };
    let line = format!("memory is short, {taken} of {limit} MB (limits.memory_bytes_max): {what}");
    if now > before { log::warn!("{line}") } else { log::info!("{line}") }
}

#[cfg(test)]
mod tests {
    use midge_core::MemoryPressure::{self, Critical, High, None, Severe};

    use super::MemoryLog;

    /// Returns what is logged, and when, for a course of pressures.
    fn said(course: impl IntoIterator<Item = (u64, MemoryPressure)>) -> Vec<(u64, MemoryPressure)> {
        let mut log = MemoryLog::new();
        let of = |(at, pressure)| log.change(pressure, at).map(|said| (at, said));
        course.into_iter().filter_map(of).collect()
    }

    #[test]
    fn a_pressure_that_comes_and_goes_is_said_once() {
        let changes = |at: u64| (5 * at, if at.is_multiple_of(2) { Severe } else { None });
        assert_eq!(said((0..10_000).map(changes)), [(0, Severe)]);
    }

    #[test]
    fn more_is_said_at_once_and_less_when_it_lasts() {
        let course = [(0, High), (5, Critical), (10, High), (4_000, Severe), (5_009, None)];
        let rest = [(5_010, None), (9_000, None), (10_010, None)];
        let expected = [(0, High), (5, Critical), (5_010, Severe), (14_000, None)];
        assert_eq!(said(course.into_iter().chain(rest).chain([(14_000, None)])), expected);
    }
}
