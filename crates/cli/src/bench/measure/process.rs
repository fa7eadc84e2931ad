//! What `/proc` says about a process: its CPU time and its resident memory.
//!
//! CPU time is that of the whole process, with all its threads, including those that have ended, in
//! the kernel's ticks of 10 ms. For several processes (a broker with helpers) it is the sum.

use std::fs;

use super::super::error::BenchError;

/// `USER_HZ`: the unit of `/proc/PID/stat`, which is 100 on every architecture that Linux has
/// gained since 1995. Asking the system for it (`sysconf`) would need unsafe code.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time and memory at one moment, summed over the processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// Returns the usage of `processes` now; each is a PID or `self`.
    pub(crate) fn of<P: std::fmt::Display>(processes: &[P]) -> Result<Self, BenchError> {
        let mut usage = Self::default();
        for process in processes {
            usage.cpu_seconds += parse_cpu_seconds(&read(process, "stat")?)
                .ok_or_else(|| BenchError::run(format!("/proc/{process}/stat is not readable")))?;
            usage.rss_bytes += parse_rss_bytes(&read(process, "status")?)
                .ok_or_else(|| BenchError::run(format!("process {process} has no memory")))?;
        }
        Ok(usage)
    }
}

fn read<P: std::fmt::Display>(process: &P, file: &str) -> Result<String, BenchError> {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).map_err(|error| BenchError::run(format!("{path}: {error}")))
}

/// Reads user and system time from `/proc/PID/stat`. The command name is in parentheses and may
/// have blanks and parentheses itself, so fields are counted from the last closing parenthesis.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// Reads `VmRSS` from `/proc/PID/status`. A process that has ended but was not waited for has none.
fn parse_rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_the_sum_of_user_and_system() {
        let stat = "4242 (mosquitto) S 1 4242 4242 0 -1 4194560 1021 0 0 0 250 175 9 9 20 0 1 0 \
                    5 12345 678 18446744073709551615";
        assert_eq!(parse_cpu_seconds(stat), Some(4.25));
    }

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let stat = "7 (a) b (c)) R 1 7 7 0 -1 0 1 2 3 4 10 20 0 0 20 0 1 0 5";
        assert_eq!(parse_cpu_seconds(stat), Some(0.3));
    }

    #[test]
    fn rss_is_read_in_bytes() {
        let status = "Name:\tmidge\nVmPeak:\t  9000 kB\nVmRSS:\t    5128 kB\nThreads:\t3\n";
        assert_eq!(parse_rss_bytes(status), Some(5128 * 1024));
        assert_eq!(parse_rss_bytes("Name:\tzombie\n"), None);
    }

    #[test]
    fn truncated_files_are_not_guessed() {
        assert_eq!(parse_cpu_seconds("7 (a) R 1 7 7"), None);
        assert_eq!(parse_cpu_seconds(""), None);
        assert_eq!(parse_rss_bytes("VmRSS:\t many kB"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(&["self"]).unwrap();
        assert!(usage.rss_bytes > 100_000);
        assert!(Usage::of(&[u32::MAX]).is_err());
    }
}
