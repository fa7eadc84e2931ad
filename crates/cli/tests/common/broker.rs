//! The broker as a process: started again and again on the same port and data, stopped, and ended
//! by SIGKILL or SIGTERM. It knows nothing of clients.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::disk_calls::DiskCalls;
use crate::common::random::Random;
use crate::common::set_clock::SetClock;
use crate::common::slow_sync::{Pace, SlowDisk};

/// How long a broker may take before it accepts connections.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Queues that take everything: a drop at a limit is no loss, but would look like one.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("MIDGE_LIMITS_QUEUE_MESSAGES_MAX", "100000000"),
    ("MIDGE_LIMITS_QUEUE_BYTES_MAX", "4000000000"),
    ("MIDGE_LIMITS_SHARED_BACKLOG_MESSAGES_MAX", "100000000"),
    ("MIDGE_LIMITS_SHARED_BACKLOG_BYTES_MAX", "4000000000"),
    ("MIDGE_LIMITS_BACKLOG_BYTES_MAX", "1000000000"),
];

/// Where a broker lives: its port, its files, and how it is started. The files are removed at the
/// end unless the test failed: then they are evidence.
pub(crate) struct Home {
    directory: PathBuf,
    port: u16,
    workers: usize,
    keeps: Keeping,
    /// The disk that its brokers see.
    pub(crate) disk: SlowDisk,
    /// How long syncs take, for one broker after the other. If this is empty, the test sets the
    /// pace of `disk` itself.
    paces: &'static [Pace],
    /// Where its brokers write down in which calls this machine's disk took long; `None`: nowhere.
    pub(crate) calls: Option<Arc<DiskCalls>>,
    /// The clock that its brokers see; `None`: the machine's.
    pub(crate) clock: Option<SetClock>,
    /// Environment variables in addition to [`ENVIRONMENT`], and with precedence over it.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    starts: AtomicU32,
}

/// Where the broker keeps what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// In a data directory.
    Data,
    /// In memory only.
    Memory,
}

/// A running broker.
pub(crate) struct Broker {
    process: Child,
    /// The time from its start until it accepted a connection.
    pub(crate) start_time: Duration,
}

impl Home {
    pub(crate) fn new(
        keeps: Keeping,
        workers: usize,
        paces: &'static [Pace],
        random: &mut Random,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-{}-{}-{number}", env!("CARGO_CRATE_NAME"), std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        let port = free_port(random);
        let disk = SlowDisk::new(&directory, Pace::NORMAL);
        Self {
            directory,
            port,
            workers,
            keeps,
            disk,
            paces,
            calls: None,
            clock: None,
            settings: Vec::new(),
            starts: AtomicU32::new(0),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts a broker and waits until it accepts connections.
    pub(crate) fn start(&self) -> Broker {
        let started = Instant::now();
        let mut process = self.spawn();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("the broker has ended with {status}: {}", self.log());
            }
            if started.elapsed() > START_PATIENCE {
                let _ = process.kill();
                panic!("the broker does not listen on port {}: {}", self.port, self.log());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Broker { process, start_time: started.elapsed() }
    }

    /// Starts a broker only to kill it, probably before it is ready.
    pub(crate) fn start_and_kill(&self, after: Duration) {
        let mut process = self.spawn();
        thread::sleep(after);
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts a process. Every third broker syncs only from time to time, which must make no
    /// difference here: what is in the file outlives the process. Every second one has such small
    /// files that it constantly begins new ones and moves live data. In half of them, Clients stay
    /// at the workers that they come to; in the others they move to one worker when it is calm.
    fn spawn(&self) -> Child {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let segment_bytes = if start % 2 == 1 { "65536" } else { "8388608" };
        let durability = if start % 3 == 2 { "interval" } else { "fsync" };
        let placement = if start / 2 % 2 == 1 { "even" } else { "auto" };
        let pace = self.paces.get(start as usize % self.paces.len().max(1));
        let mut log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let settings =
            format!("durability {durability}, segments {segment_bytes}, {placement}, {pace:?}");
        writeln!(log, "start {start}, {settings}").unwrap();
        // Another build than the one just made, for comparison.
        let other = std::env::var_os("MIDGE_TEST_BROKER");
        let mut command = Command::new(other.unwrap_or(env!("CARGO_BIN_EXE_midge").into()));
        command
            .current_dir(&self.directory)
            .envs(ENVIRONMENT)
            .envs(self.settings.iter().copied())
            .env("MIDGE_STORAGE_DURABILITY", durability)
            .env("MIDGE_STORAGE_SEGMENT_BYTES", segment_bytes)
            .env("MIDGE_BROKER_PLACEMENT", placement)
            .args(["--log-level", "info", "--workers", &self.workers.to_string()])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(pace) = pace {
            self.disk.set(*pace);
        }
        if let Some(calls) = &self.calls {
            calls.watch(&mut command);
        }
        if pace != Some(&Pace::NORMAL) {
            self.disk.slow_down(&mut command);
        }
        if let Some(clock) = &self.clock {
            clock.apply(&mut command);
        }
        match self.keeps {
            Keeping::Data => command.arg("--data").arg(self.directory.join("data")),
            Keeping::Memory => command.arg("--in-memory"),
        };
        command.spawn().expect("midge starts")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Returns where the evidence is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the log lines that a broker without other trouble than its own end would not write.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let is_one = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        text.lines().filter(is_one).map(str::to_owned).collect()
    }

    /// Returns the end of the brokers' log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Broker {
    /// Returns its process identifier.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it as the kernel would when memory is short, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Sends a signal such as SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.process.id().cast_signed());
        kill(id, signal).expect("the broker can be signalled");
    }

    /// Returns how it has ended, if it has.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Asks it to end, and waits until it has. Returns false if it does not end in time, or reports
    /// a failure.
    pub(crate) fn terminate(mut self, patience: Duration) -> bool {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns a free port below those that the kernel gives to outgoing connections. So nobody takes
/// it while the broker is away, and a client that tries to connect meanwhile does not reach itself.
fn free_port(random: &mut Random) -> u16 {
    let ports = (0..1000).map(|_| 10_000 + random.below(20_000) as u16);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.into_iter().find(is_free).expect("a port is free")
}
