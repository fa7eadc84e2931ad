//! Commands as processes: started with arguments, watched, and never left behind.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a command left when it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A command under way.
pub(crate) struct Running {
    process: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr_lines: Receiver<String>,
    stderr: String,
}

/// Starts `midge` with these arguments, separated by blanks.
pub(crate) fn midge(arguments: &str) -> Running {
    midge_with(&arguments.split_whitespace().collect::<Vec<_>>())
}

/// Starts `midge` with arguments that may contain blanks.
pub(crate) fn midge_with(arguments: &[&str]) -> Running {
    Running::start(env!("CARGO_BIN_EXE_midge"), arguments)
}

/// Starts `midge` in a directory with environment variables.
pub(crate) fn midge_in(directory: &Path, variables: &[(&str, &str)], arguments: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.current_dir(directory).envs(variables.iter().copied());
    Running::spawn(command.args(arguments.split_whitespace()))
}

impl Running {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(program).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        const IN_MEMORY: &str = "MIDGE_STORAGE_IN_MEMORY";
        if command.get_envs().all(|(name, _)| name != IN_MEMORY) {
            // Otherwise all tests would share one data directory, which might be a user's.
            command.env(IN_MEMORY, "true");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut stdout = process.stdout.take().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (sender, stderr_lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, stdout: Some(stdout), stderr_lines, stderr: String::new() }
    }

    /// Waits until a line with `part` in it is on standard error.
    pub(crate) fn wait_for(mut self, part: &str) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stderr_lines.recv_timeout(left).unwrap_or_else(|_| {
                panic!("'{part}' does not come on standard error, but: {}", self.stderr)
            });
            self.stderr.push_str(&line);
            self.stderr.push('\n');
            if line.contains(part) {
                return self;
            }
        }
    }

    /// Writes to standard input and closes it.
    pub(crate) fn feed(mut self, bytes: &[u8]) -> Self {
        let mut stdin = self.process.stdin.take().unwrap();
        // A command that has seen enough closes its end.
        let _ = stdin.write_all(bytes);
        self
    }

    /// Writes to standard input and leaves it open.
    pub(crate) fn type_in(mut self, bytes: &[u8]) -> Self {
        self.process.stdin.as_mut().unwrap().write_all(bytes).unwrap();
        self
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(self, name: &str) -> Self {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success());
        self
    }

    /// Returns its process identifier.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asserts that it has not ended yet.
    pub(crate) fn assert_runs(mut self) -> Self {
        assert!(self.process.try_wait().unwrap().is_none(), "it has ended: {}", self.stderr);
        self
    }

    /// Returns what arrived on standard error up to the line last waited for.
    pub(crate) fn stderr(&self) -> &str {
        &self.stderr
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.process.stdin.take());
        let status = self.wait();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        let rest: Vec<_> = self.stderr_lines.iter().collect();
        let mut stderr = std::mem::take(&mut self.stderr);
        stderr.push_str(&rest.join("\n"));
        Ended { code: status.code(), stdout, stderr }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the command does not end: {}", self.stderr);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Debug for Ended {
    /// Shows the end of the output, where the reason for a failure is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end =
            |text: &str| text.chars().skip(text.chars().count().saturating_sub(1000)).collect();
        let stdout: String = end(&String::from_utf8_lossy(&self.stdout));
        let stderr: String = end(&self.stderr);
        write!(f, "exit code {:?}, stdout: {stdout}, stderr: {stderr}", self.code)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Ended {
    /// Returns the standard output of a command that ended well.
    pub(crate) fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        String::from_utf8(self.stdout).unwrap()
    }

    /// Returns the standard error of a command that ended with `code`.
    pub(crate) fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}
