//! A broker for the tests: the only place that knows which one it is, and how it is started.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A broker that ends with the test.
pub(crate) struct Broker {
    process: Child,
    port: u16,
}

/// Starts a broker on a free port and waits until it accepts connections.
pub(crate) fn start_broker() -> Broker {
    start_broker_on(free_port())
}

/// Starts a broker on this port of 127.0.0.1.
pub(crate) fn start_broker_on(port: u16) -> Broker {
    start_broker_with(port, &["--in-memory"])
}

/// Starts a broker on this port that keeps its data in a directory.
pub(crate) fn start_durable_broker_on(port: u16, directory: &Path) -> Broker {
    start_broker_with(port, &["--data", directory.to_str().unwrap()])
}

/// Starts a broker on a free port that may have so many descriptors.
pub(crate) fn start_broker_with_descriptors(count: usize) -> Broker {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")]);
    command.args([env!("CARGO_BIN_EXE_midge"), "--in-memory", "--workers", "2"]);
    start(command, free_port())
}

fn start_broker_with(port: u16, arguments: &[&str]) -> Broker {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.args(arguments);
    start(command, port)
}

fn start(mut command: Command, port: u16) -> Broker {
    let process = command
        .args(["--log-level", "off", "--listen", &format!("127.0.0.1:{port}")])
        // No packet that a Client may send is too large here.
        .env("MIDGE_LIMITS_PACKET_BYTES_MAX", "268435456")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("midge starts");
    let broker = Broker { process, port };
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "the broker does not listen on port {port}");
        thread::sleep(Duration::from_millis(10));
    }
    broker
}

/// Returns a port on which nobody listens now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Broker {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the broker as a crash would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Sends a signal by its name, and waits for the broker to end.
    pub(crate) fn signal(mut self, name: &str) {
        self.send_signal(name);
        self.process.wait().unwrap();
    }

    /// Suspends the broker without ending it: it accepts and reads nothing.
    pub(crate) fn freeze(&self) {
        self.send_signal("STOP");
    }

    fn send_signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
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
