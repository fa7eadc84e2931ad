//! The lines that are not written yet, and the thread that writes them.
//!
//! Only that thread ever waits for standard error. It writes to a descriptor of its own: a writer
//! that went through the standard library would hold its lock, and others would wait for that.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;

/// A bounded queue of lines.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Notified when there is something to write.
    come: Condvar,
    /// Notified when something was written.
    gone: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The lines that the writer has not taken yet, one behind the other.
    waiting: String,
    /// Bytes of all lines that are not written yet, whether the writer has taken them or not.
    bytes: usize,
    /// Lines for which there was no room.
    left_out: u64,
    /// Whether the writer has taken lines that it has not written yet.
    is_writing: bool,
    /// Whether the writer has written a moment ago, and rests.
    is_resting: bool,
    /// Bytes written so far: a sign of life.
    written: u64,
}

/// Formats the line that says how many lines were left out.
type TellLeftOut = Box<dyn Fn(u64) -> String + Send>;

impl State {
    /// Says if a line of this level may wait until the writer has rested. A warning is written
    /// without delay, since nothing may follow it, and so are lines that would soon find no room.
    fn may_wait(&self, level: Level) -> bool {
        self.is_resting && level > Level::Warn && self.bytes < Queue::CHUNK
    }
}

impl Queue {
    /// How many bytes of lines may wait to be written.
    const BYTES_MAX: usize = 1 << 20;
    /// Additional bytes for errors, which are rare and often come last.
    const BYTES_OF_ERRORS: usize = 64 * 1024;
    /// So many bytes are worth being written at once. A buffer that had to grow further is not
    /// kept.
    const CHUNK: usize = 32 * 1024;
    /// How long the writer rests after it has written. Meanwhile nobody has to wake it, and what
    /// comes is written at once: with a line for each Client that comes and goes, waking it for
    /// each would cost as much as the Client.
    const REST: Duration = Duration::from_millis(10);
    /// How long to wait for a descriptor that does not block and takes nothing.
    const PAUSE: Duration = Duration::from_millis(10);

    /// A queue whose lines a thread writes to standard error.
    pub(super) fn to_standard_error(
        tell_left_out: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::to_file(file, Box::new(tell_left_out))
    }

    fn to_file(file: File, tell_left_out: TellLeftOut) -> io::Result<Arc<Self>> {
        let queue = Self::without_writer();
        let writer = Arc::clone(&queue);
        let write = move || writer.write_to(&file, &tell_left_out);
        // The thread ends with the process.
        thread::Builder::new().name("midge-log".into()).spawn(write)?;
        Ok(queue)
    }

    /// A queue that nobody empties.
    pub(super) fn without_writer() -> Arc<Self> {
        let (come, gone) = (Condvar::new(), Condvar::new());
        Arc::new(Self { state: Mutex::default(), come, gone })
    }

    /// Puts a line (or several) at the end, or counts it as left out if there is no room for it.
    pub(super) fn push(&self, line: &str, level: Level) {
        let mut state = self.lock();
        let more = if level == Level::Error { Self::BYTES_OF_ERRORS } else { 0 };
        if state.bytes + line.len() > Self::BYTES_MAX + more {
            state.left_out += 1;
            return;
        }
        state.bytes += line.len();
        state.waiting.push_str(line);
        let wakes = !state.is_writing && !state.may_wait(level);
        drop(state);
        if wakes {
            self.come.notify_one();
        }
    }

    /// Waits until everything is written, for at most `deadline`, and for at most `patience` while
    /// nothing is taken.
    pub(super) fn wait_until_written(&self, patience: Duration, deadline: Duration) {
        let begun = Instant::now();
        let (mut last, mut state) = ((begun, 0), self.lock());
        loop {
            let is_written = state.bytes == 0 && state.left_out == 0 && !state.is_writing;
            if state.written != last.1 {
                last = (Instant::now(), state.written);
            }
            let left = deadline.checked_sub(begun.elapsed()).unwrap_or_default();
            let left = left.min(patience.checked_sub(last.0.elapsed()).unwrap_or_default());
            if is_written || left.is_zero() {
                return;
            }
            state = self.gone.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_to(&self, file: &File, tell_left_out: &TellLeftOut) {
        let mut taken = String::new();
        loop {
            self.take(&mut taken, tell_left_out);
            self.write_all(file, taken.as_bytes());
            taken.clear();
            taken.shrink_to(Self::CHUNK);
            let mut state = self.lock();
            state.is_writing = false;
            state.is_resting = state.bytes < Self::CHUNK;
            self.gone.notify_all();
            if state.is_resting {
                let rest = self.come.wait_timeout(state, Self::REST);
                rest.unwrap_or_else(PoisonError::into_inner).0.is_resting = false;
            }
        }
    }

    /// Waits for lines and takes all of them, in exchange for an empty buffer. The number of lines
    /// left out follows, behind the lines that came before them.
    fn take(&self, taken: &mut String, tell_left_out: &TellLeftOut) {
        let is_idle = |state: &mut State| state.waiting.is_empty() && state.left_out == 0;
        let state = self.come.wait_while(self.lock(), is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.waiting, taken);
        if state.left_out > 0 {
            let told = tell_left_out(std::mem::take(&mut state.left_out));
            state.bytes += told.len();
            taken.push_str(&told);
        }
    }

    /// Writes all bytes. Errors are ignored: there is nobody to tell that standard error cannot be
    /// written.
    fn write_all(&self, mut file: &File, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let gone = match file.write(bytes) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Self::PAUSE);
                    continue;
                }
                Ok(_) | Err(_) => bytes.len(),
            };
            bytes = &bytes[gone..];
            let mut state = self.lock();
            (state.bytes, state.written) = (state.bytes - gone, state.written + gone as u64);
            drop(state);
            self.gone.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;
    use std::thread;
    use std::time::{Duration, Instant};

    use log::Level;

    use super::{Queue, State};

    const LINE: &str = "a line of a log that is as long as lines are\n";

    #[test]
    fn nobody_waits_for_a_pipe_that_nobody_reads() {
        let (reader, writer) = std::io::pipe().unwrap();
        let tell = Box::new(|count| format!("left out: {count}\n"));
        let queue = Queue::to_file(File::from(OwnedFd::from(writer)), tell).unwrap();
        let begun = Instant::now();
        let count = 100_000;
        for _ in 0..count {
            queue.push(LINE, Level::Info);
        }
        queue.push("the last error\n", Level::Error);
        assert!(queue.lock().bytes <= Queue::BYTES_MAX + Queue::BYTES_OF_ERRORS);
        queue.wait_until_written(Duration::from_millis(50), Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30), "the pipe is full: it must give up");

        // Somebody reads again: all that was kept, and how much was not.
        let (mut read, mut has_error) = (0, false);
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            if let Some(left_out) = line.strip_prefix("left out: ") {
                let left_out: usize = left_out.parse().unwrap();
                assert!(left_out > 0 && has_error);
                assert_eq!(read + left_out, count);
                return;
            }
            has_error |= line == "the last error";
            read += usize::from(line == LINE.trim());
        }
        panic!("what was left out is not told");
    }

    /// Lines that come soon after others wait a moment for those that follow, but not a warning.
    #[test]
    fn lines_are_written_together() {
        let (reader, writer) = std::io::pipe().unwrap();
        let tell = Box::new(|_| String::new());
        let queue = Queue::to_file(File::from(OwnedFd::from(writer)), tell).unwrap();
        let written = |text: &str, level| {
            queue.push(text, level);
            queue.wait_until_written(Duration::from_secs(30), Duration::from_secs(60));
            Instant::now()
        };
        let takes = |level| {
            let first = written(LINE, Level::Info);
            written(LINE, level) - first
        };
        let longest = (0..50).map(|_| takes(Level::Info)).max();
        assert!(longest >= Some(Queue::REST / 2), "{longest:?}");
        let shortest = (0..50).map(|_| takes(Level::Warn)).min();
        assert!(shortest < Some(Queue::REST / 2), "{shortest:?}");
        drop(reader);
    }

    #[test]
    fn the_writer_rests_only_while_little_comes() {
        let state = |bytes| State { is_resting: true, bytes, ..State::default() };
        assert!(state(Queue::CHUNK - 1).may_wait(Level::Info));
        assert!(!state(Queue::CHUNK).may_wait(Level::Info), "or the queue would be full soon");
        assert!(!state(1).may_wait(Level::Warn));
        assert!(!State::default().may_wait(Level::Info), "nobody looks at the queue otherwise");
    }

    /// After a storm of lines, the memory for them goes.
    #[test]
    fn a_buffer_that_has_grown_is_not_kept() {
        let (reader, writer) = std::io::pipe().unwrap();
        let reads = thread::spawn(move || BufReader::new(reader).lines().count());
        let tell = Box::new(|_| String::new());
        let queue = Queue::to_file(File::from(OwnedFd::from(writer)), tell).unwrap();
        let storm = LINE.repeat(10 * Queue::CHUNK / LINE.len());
        for lines in [&storm, LINE, LINE] {
            queue.push(lines, Level::Warn);
            queue.wait_until_written(Duration::from_secs(30), Duration::from_secs(60));
        }
        assert!(queue.lock().waiting.capacity() <= Queue::CHUNK);
        drop((queue, reads));
    }

    #[test]
    fn everything_is_written_before_the_end() {
        let (reader, writer) = std::io::pipe().unwrap();
        let tell = Box::new(|_| String::new());
        let queue = Queue::to_file(File::from(OwnedFd::from(writer)), tell).unwrap();
        queue.push(LINE, Level::Info);
        queue.wait_until_written(Duration::from_secs(30), Duration::from_secs(60));
        assert_eq!(queue.lock().written as usize, LINE.len());
        drop(reader);
        queue.push(LINE, Level::Info);
        queue.wait_until_written(Duration::from_secs(30), Duration::from_secs(60));
        assert_eq!(queue.lock().bytes, 0, "a closed pipe loses lines and holds nobody");
    }
}
