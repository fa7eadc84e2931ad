//! A `midge` process with a test's own configuration and files.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Longer than anything that works takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A directory that is removed when the test ends.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-crowds-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a file in place atomically, so that nobody reads half of it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) asked_for: u64,
}

/// A broker that ends with the test.
pub(crate) struct Broker {
    process: Child,
    log: PathBuf,
}

impl Broker {
    /// Starts a broker in `directory` and waits until it accepts connections at all `addresses`.
    pub(crate) fn start(
        directory: &Directory,
        configuration: &str,
        addresses: &[SocketAddr],
    ) -> Self {
        directory.write("midge.toml", configuration);
        let log = directory.path("log");
        let process = Command::new(env!("CARGO_BIN_EXE_midge"))
            .args(["--in-memory", "--config", "midge.toml"])
            .current_dir(&directory.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("midge starts");
        let broker = Self { process, log };
        wait_until(&format!("the broker listens: {}", broker.log()), || {
            addresses.iter().all(|address| TcpStream::connect(address).is_ok())
        });
        broker
    }

    /// Returns its process identifier, by which its memory can be read.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Returns its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns how much memory it has now, and how much it has asked for.
    pub(crate) fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(Path::new(&path)).expect("the broker runs");
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            let kilobytes = line.split_whitespace().next().expect(name);
            kilobytes.parse::<u64>().expect(name) * 1024
        };
        Memory { resident: bytes("VmRSS:"), asked_for: bytes("VmSize:") }
    }

    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Suspends it, as a debugger or a suspended machine does.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    /// Resumes it.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns an address of this machine on which nobody listens now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Polls until the condition holds; returns how long that took.
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(BETWEEN_LOOKS);
    }
    start.elapsed()
}

/// Returns how many of `wanted` sockets this process and the broker may have. Each has its own
/// limit; a broker started after this call inherits it.
pub(crate) fn affordable(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let most = usize::try_from(hard).unwrap_or(usize::MAX);
    let count = wanted.min(most.saturating_sub(256));
    if count < wanted {
        eprintln!("only {count} of {wanted} sockets: the limit of open files allows no more");
    }
    count
}
