//! What the process has used so far: time, CPU, bytes written, memory.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Readings at one moment.
pub struct Reading {
    at: Instant,
    cpu_us: f64,
    written: u64,
    device: u64,
    /// Resident memory that is not a file's, in KiB.
    pub anonymous_kib: u64,
}

impl Reading {
    /// Reads everything; `dir` says which device is meant.
    pub fn take(dir: &Path) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            at: Instant::now(),
            cpu_us: cpu.tv_sec as f64 * 1e6 + cpu.tv_nsec as f64 / 1e3,
            written: field("/proc/self/io", "write_bytes:"),
            device: device_bytes(dir),
            anonymous_kib: field("/proc/self/status", "RssAnon:"),
        }
    }

    /// Rates since this reading, as the inside of a JSON object.
    pub fn since(&self, dir: &Path, messages: u64) -> String {
        let now = Self::take(dir);
        let seconds = (now.at - self.at).as_secs_f64();
        let each = 1.0 / messages.max(1) as f64;
        let mut line = String::new();
        let _ = write!(
            line,
            "\"messages\":{messages},\"seconds\":{seconds:.3},\"per_second\":{:.0},\
             \"cpu_us\":{:.2},\"process_bytes\":{:.0},\"device_bytes\":{:.0},\
             \"anonymous_mib\":{:.1},\"growth_mib\":{:.1},\"disk_mib\":{:.1}",
            messages as f64 / seconds,
            (now.cpu_us - self.cpu_us) * each,
            (now.written - self.written) as f64 * each,
            (now.device - self.device) as f64 * each,
            now.anonymous_kib as f64 / 1024.0,
            (now.anonymous_kib as f64 - self.anonymous_kib as f64) / 1024.0,
            disk_bytes(dir) as f64 / f64::from(1 << 20),
        );
        line
    }
}

/// Allocated bytes of everything below a directory.
pub fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

/// Median, 99th percentile and maximum in microseconds, as the inside of a JSON object.
pub fn quantiles(mut nanos: Vec<u64>) -> String {
    nanos.sort_unstable();
    let at = |share: f64| {
        let nth = ((nanos.len() as f64 * share) as usize).min(nanos.len().saturating_sub(1));
        nanos.get(nth).map_or(0, |nanos| nanos / 1000)
    };
    format!("\"p50_us\":{},\"p99_us\":{},\"max_us\":{}", at(0.5), at(0.99), at(1.0))
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Bytes written to the whole device, by anybody; 0 where the system does not say.
fn device_bytes(dir: &Path) -> u64 {
    let Ok(data) = std::fs::metadata(dir) else { return 0 };
    let (major, minor) = (rustix::fs::major(data.dev()), rustix::fs::minor(data.dev()));
    let text = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let of_device = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fits = words.first()?.parse::<u32>().ok()? == major
            && words.get(1)?.parse::<u32>().ok()? == minor;
        fits.then(|| words.get(9)?.parse::<u64>().ok())?
    };
    text.lines().find_map(of_device).unwrap_or(0) * 512
}
