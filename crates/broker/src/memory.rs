//! How much memory the process takes, and how much it may.

use std::fs;

use midge_core::MemoryPressure;

/// Watches the process's resident memory against the limit `memory_bytes_max`.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    limit: u64,
    last: MemoryPressure,
}

impl MemoryWatch {
    /// `limit` in bytes; 0 takes three quarters of what the machine or its control group has.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = if limit > 0 { limit } else { available_bytes() / 4 * 3 };
        Self { limit, last: MemoryPressure::None }
    }

    /// The pressure, if it changed since the last call or is critical still.
    pub(crate) fn change(&mut self) -> Option<MemoryPressure> {
        let pressure = pressure_of(resident_bytes()?, self.limit);
        let is_news = pressure != self.last || pressure == MemoryPressure::Critical;
        self.last = pressure;
        is_news.then_some(pressure)
    }
}

fn pressure_of(resident: u64, limit: u64) -> MemoryPressure {
    match resident.saturating_mul(100) / limit.max(1) {
        0..60 => MemoryPressure::None,
        60..75 => MemoryPressure::High,
        75..85 => MemoryPressure::Severe,
        _ => MemoryPressure::Critical,
    }
}

/// Resident memory of this process; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes_of(&status, "VmRSS:")
}

/// What the machine has, or less if a control group allows less.
fn available_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kibibytes_of(&text, "MemTotal:"));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    let all = [machine, group].into_iter().flatten().min();
    all.unwrap_or(u64::MAX / 200)
}

fn kibibytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.split_whitespace().next()?;
    Some(number.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use midge_core::MemoryPressure;

    use super::{kibibytes_of, pressure_of};

    #[test]
    fn watermarks_are_those_of_the_documentation() {
        for (percent, expected) in [
            (59, MemoryPressure::None),
            (60, MemoryPressure::High),
            (75, MemoryPressure::Severe),
            (85, MemoryPressure::Critical),
            (200, MemoryPressure::Critical),
        ] {
            assert_eq!(pressure_of(percent, 100), expected);
        }
    }

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Name:\tmidge\nVmRSS:\t    1204 kB\n";
        assert_eq!(kibibytes_of(text, "VmRSS:"), Some(1204 * 1024));
        assert_eq!(kibibytes_of(text, "VmSwap:"), None);
    }
}
