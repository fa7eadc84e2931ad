//! The broker under test: it is started on a free port, waited for, and ended by its process id.

use crate::{
    failure::{Failure, Result},
    transports::Transports,
};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// How long a broker may take until it accepts connections, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(15);
/// The time between two looks at a process that is starting or ending.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A running broker, which is killed when dropped.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Broker {
    /// Starts the `midge` binary, which keeps its data below `directory`. Its output goes to a file
    /// there.
    ///
    /// # Errors
    /// Fails if it cannot be started or does not accept connections in time.
    pub fn midge(binary: &Path, directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command.arg("--listen").arg(address.to_string());
        let data = directory.join("data");
        // The suites expect a broker without the data of an earlier run.
        let _ = fs::remove_dir_all(&data);
        command.arg("--data").arg(data);
        Self::start(command, address, directory)
    }

    /// Starts Debian's mosquitto, open to everybody, for checking the suites themselves.
    ///
    /// # Errors
    /// As for [`Broker::midge`].
    pub fn mosquitto(program: &Path, directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let configuration = directory.join("mosquitto.conf");
        let lines = format!("listener {} {}\nallow_anonymous true\n", address.port(), address.ip());
        write_file(&configuration, &lines)?;
        let mut command = Command::new(program);
        command.arg("-v").arg("-c").arg(configuration);
        Self::start(command, address, directory)
    }

    /// Starts the `midge` binary with listeners of every kind, and tells the suites about them.
    ///
    /// # Errors
    /// As for [`Broker::midge`].
    pub fn midge_with_all_transports(binary: &Path, transports: &Transports) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("--config").arg(&transports.configuration);
        command.args(["--in-memory", "--log-level", "debug"]);
        Self::start_described(command, transports)
    }

    /// Starts Debian's mosquitto with those of the listeners that it can have.
    ///
    /// # Errors
    /// As for [`Broker::midge`].
    pub fn mosquitto_with_all_transports(program: &Path, transports: &Transports) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("-v").arg("-c").arg(&transports.configuration);
        Self::start_described(command, transports)
    }

    fn start_described(command: Command, transports: &Transports) -> Result<Self> {
        let directory = transports.configuration.parent().unwrap_or(Path::new("."));
        let program = PathBuf::from(command.get_program());
        let broker = Self::start(command, transports.plain, directory)?;
        transports.describe(broker.child.id(), &program, &broker.log)?;
        Ok(broker)
    }

    fn start(mut command: Command, address: SocketAddr, directory: &Path) -> Result<Self> {
        let log = directory.join("broker.log");
        let failed = |error| Failure::because(log.display(), error);
        let file = File::create(&log).map_err(failed)?;
        command.current_dir(directory).stdout(file.try_clone().map_err(failed)?).stderr(file);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| Failure::because(&name, error))?;
        let mut broker = Self { child, address, log };
        broker.wait_until_it_accepts()?;
        Ok(broker)
    }

    fn wait_until_it_accepts(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&self.address, BETWEEN_LOOKS * 10).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure(format!("the broker ended: {status}\n{}", self.log_tail())));
            }
            if Instant::now() > deadline {
                let text = format!("the broker does not accept connections\n{}", self.log_tail());
                return Err(Failure(text));
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }

    /// Returns the address at which the broker listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the last lines that the broker wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Asks the broker to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// Fails if it had ended before, does not end in time, or ends with another exit code than 0.
    pub fn stop(mut self) -> Result<()> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(Failure(format!(
                "the broker ended while it was used: {status}\n{}",
                self.log_tail()
            )));
        }
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        asked.map_err(|error| Failure::because("kill", error))?;
        let status = self.wait_for_end()?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure(format!("the broker ended badly: {status}\n{}", self.log_tail())))
        }
    }

    fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(status);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Err(Failure(format!("the broker does not end on SIGTERM\n{}", self.log_tail())))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // If the broker was stopped, it has ended already, and there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a loopback address whose port nobody listened on a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|error| Failure::because("a free port", error))
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Failure::because(path.display(), error))
}
