//! Debian's mosquitto on a free port, and its clients as people who try what they may do.
//!
//! A test writes the files, starts a [`Mosquitto`] on them, and asks what it lets a [`Person`] do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long mosquitto may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// The user that may publish everything.
pub(crate) const KEEPER: &str = "keeper";

/// The user that may give commands to the plugin, and does nothing else.
pub(crate) const ADMIN: &str = "admin";

/// The password of all users.
pub(crate) const PASSWORD: &str = "long enough for all";

/// A topic whose retained message says that nothing more comes. All may read it.
pub(crate) const END: &str = "$end/x";

/// A client identifier, and a user name; absent for an anonymous Client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) id: &'static str,
    pub(crate) user: Option<&'static str>,
}

/// A directory with files for one mosquitto; removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-auth-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running mosquitto.
pub(crate) struct Mosquitto {
    process: Child,
    port: u16,
}

impl Mosquitto {
    /// Starts a mosquitto with these lines besides its listener.
    pub(crate) fn start(directory: &Directory, lines: &str) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let text = format!("user root\nlistener {port} 127.0.0.1\n{lines}");
        let configuration = directory.write("mosquitto.conf", &text);
        let log = fs::File::create(directory.path("log")).unwrap();
        let mut command = Command::new("/usr/sbin/mosquitto");
        let command = command.arg("-c").arg(configuration).stdin(Stdio::null());
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut mosquitto = Self { process, port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = mosquitto.process.try_wait().unwrap();
            let log = fs::read_to_string(directory.path("log")).unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "mosquitto: {ended:?}\n{log}");
            thread::yield_now();
        }
        mosquitto
    }

    /// Returns a client of this mosquitto.
    fn client(&self, program: &str, person: Person) -> Command {
        let mut command = Command::new(program);
        command.args(["-p", &self.port.to_string(), "-V", "5", "-i", person.id]);
        if let Some(user) = person.user {
            command.args(["-u", user, "-P", PASSWORD]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Makes `topics` and [`END`] retained.
    pub(crate) fn retain(&self, topics: &[&str]) {
        for topic in topics.iter().chain([&END]) {
            let keeper = Person { id: KEEPER, user: Some(KEEPER) };
            let arguments = ["-q", "1", "-r", "-m", "x", "-t", topic];
            let output = self.client("mosquitto_pub", keeper).args(arguments).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{topic}: {output:?}");
        }
    }

    /// Returns whether a person may publish to a topic.
    pub(crate) fn lets_publish(&self, person: Person, topic: &str) -> bool {
        let arguments = ["-q", "1", "-m", "x", "-t", topic];
        let output = self.client("mosquitto_pub", person).args(arguments).output().unwrap();
        assert!(output.status.success(), "{person:?} {topic}: {output:?}");
        !String::from_utf8_lossy(&output.stderr).contains("Not authorized")
    }

    /// Returns whether a person may subscribe to a filter.
    pub(crate) fn lets_subscribe(&self, person: Person, filter: &str) -> bool {
        let arguments = ["-E", "-t", filter];
        let output = self.client("mosquitto_sub", person).args(arguments).output().unwrap();
        assert!(output.status.success(), "{person:?} {filter}: {output:?}");
        !String::from_utf8_lossy(&output.stderr).contains("requests were denied")
    }

    /// Gives a command to the plugin for dynamic security.
    pub(crate) fn control(&self, words: &[&str]) {
        let mut command = Command::new("mosquitto_ctrl");
        command.args(["-p", &self.port.to_string(), "-u", ADMIN, "-P", PASSWORD, "dynsec"]);
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        let is_done = !String::from_utf8_lossy(&output.stderr).contains("Error");
        assert!(output.status.success() && is_done, "{words:?}: {output:?}");
    }

    /// Returns the retained topics that a person gets who subscribes to `filters`.
    pub(crate) fn received(&self, person: Person, filters: &[&str]) -> Vec<String> {
        let mut command = self.client("mosquitto_sub", person);
        for filter in filters.iter().chain([&END]) {
            command.args(["-t", filter]);
        }
        let mut process = command.args(["-F", "%t"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let topics = lines.map(Result::unwrap).take_while(|topic| topic != END).collect();
        // It has printed the end, or has ended.
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "{person:?}: {ended:?}");
        process.kill().unwrap();
        process.wait().unwrap();
        topics
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Adds a user to a file of passwords.
pub(crate) fn add_password(file: &Path, user: &str) {
    let mut command = Command::new("mosquitto_passwd");
    if !file.exists() {
        command.arg("-c");
    }
    let output = command.arg("-b").arg(file).args([user, PASSWORD]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
