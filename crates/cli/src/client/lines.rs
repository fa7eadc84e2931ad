//! Standard input line by line, read by a thread of its own so that the poll loop never waits for
//! it.
//!
//! The queue between them is short: the thread does not read far ahead of what the broker takes,
//! and while there is no connection, the unread input waits in the pipe.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::endpoint::Waker;

const LINES_AHEAD_MAX: usize = 256;
/// With this many bytes in the queue, no further line is read. A single line may be longer.
const BYTES_AHEAD_MAX: usize = 1024 * 1024;
/// The longest line: as long as a packet can hold.
const LINE_BYTES_MAX: u64 = 268_435_455;

/// The lines of standard input, without their line ends.
pub(crate) struct Lines {
    queue: Arc<Queue>,
    /// Starts the thread; `None` once the first line was asked for.
    begin: Option<Box<dyn FnOnce(Arc<Queue>)>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Notified when a line is taken, or when nobody takes any more.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<io::Result<Vec<u8>>>,
    bytes: usize,
    /// Whether [`Lines::next`] found nothing, and its caller waits to be woken.
    is_awaited: bool,
    has_ended: bool,
    is_abandoned: bool,
}

/// What [`Lines::next`] found.
#[derive(Debug)]
pub(crate) enum Line {
    Whole(Vec<u8>),
    /// Nothing yet; the waker is used when there is something.
    Pending,
    End,
}

impl Lines {
    /// Reads standard input once [`Self::next`] asks for a line. `waker` is used after each
    /// [`Line::Pending`], as soon as there is something to take.
    pub(crate) fn of_stdin(waker: Waker) -> Self {
        Self::read(|| Box::new(io::stdin().lock()), move || waker.wake())
    }

    fn read(open: fn() -> Box<dyn BufRead>, wake: impl Fn() + Send + 'static) -> Self {
        // The thread ends with its input, with its queue, or with the process.
        let begin = move |queue: Arc<Queue>| {
            thread::spawn(move || read_all(&mut open(), &queue, wake));
        };
        Self { queue: Arc::default(), begin: Some(Box::new(begin)) }
    }

    /// Returns the next line, without waiting.
    pub(crate) fn next(&mut self) -> io::Result<Line> {
        if let Some(begin) = self.begin.take() {
            begin(Arc::clone(&self.queue));
        }
        let mut state = self.queue.lock();
        match state.lines.pop_front() {
            Some(line) => {
                state.bytes -= length(&line);
                self.queue.taken.notify_one();
                line.map(Line::Whole)
            }
            None if state.has_ended => Ok(Line::End),
            None => {
                state.is_awaited = true;
                Ok(Line::Pending)
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.queue.lock().is_abandoned = true;
        self.queue.taken.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for another line; returns false when nobody takes any more.
    fn wait_for_room(&self) -> bool {
        let is_full = |state: &mut State| {
            let full = state.lines.len() >= LINES_AHEAD_MAX || state.bytes >= BYTES_AHEAD_MAX;
            full && !state.is_abandoned
        };
        let state = self.taken.wait_while(self.lock(), is_full);
        !state.unwrap_or_else(PoisonError::into_inner).is_abandoned
    }
}

fn read_all(input: &mut dyn BufRead, queue: &Queue, wake: impl Fn()) {
    loop {
        if !queue.wait_for_room() {
            return;
        }
        let line = next_line(input).transpose();
        let mut state = queue.lock();
        state.has_ended = !matches!(line, Some(Ok(_)));
        if let Some(line) = line {
            state.bytes += length(&line);
            state.lines.push_back(line);
        }
        let (has_ended, is_awaited) = (state.has_ended, std::mem::take(&mut state.is_awaited));
        drop(state);
        if is_awaited {
            wake();
        }
        if has_ended {
            return;
        }
    }
}

fn length(line: &io::Result<Vec<u8>>) -> usize {
    line.as_ref().map_or(0, Vec::len)
}

/// Reads a line up to its `\n`, or the rest of the input; returns `None` at the end.
fn next_line(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    fn all(mut lines: Lines) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        loop {
            match lines.next().unwrap() {
                Line::Whole(line) => found.push(line),
                Line::Pending => thread::yield_now(),
                Line::End => return found,
            }
        }
    }

    #[test]
    fn splits_at_line_feeds_and_keeps_everything_else() {
        let lines = Lines::read(|| Box::new(&b"a\n\nb\r\n\xff\0\nlast"[..]), || ());
        assert_eq!(all(lines), [&b"a"[..], b"", b"b\r", b"\xff\0", b"last"]);
    }

    /// How many bytes were read from an input that has no end.
    static READ: AtomicUsize = AtomicUsize::new(0);
    const CHUNK: usize = 100_000;

    struct Endless;

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = into.len().min(CHUNK);
            into[..length].fill(b'x');
            into[length - 1] = b'\n';
            READ.fetch_add(length, Ordering::SeqCst);
            Ok(length)
        }
    }

    #[test]
    fn reads_no_further_ahead_than_its_queue_is_long() {
        let open: fn() -> Box<dyn BufRead> =
            || Box::new(io::BufReader::with_capacity(CHUNK, Endless));
        let (sender, woken) = channel();
        let mut lines = Lines::read(open, move || sender.send(()).unwrap_or_default());
        assert_eq!(READ.load(Ordering::SeqCst), 0, "nothing is read before it is asked for");
        assert!(matches!(lines.next(), Ok(Line::Pending | Line::Whole(_))));
        let _ = woken.recv_timeout(std::time::Duration::from_secs(10));
        // The reader fills its queue and stops there. The test watches the queue, not the clock.
        loop {
            let state = lines.queue.lock();
            if state.bytes >= BYTES_AHEAD_MAX {
                break;
            }
            drop(state);
            thread::yield_now();
        }
        for _ in 0..1000 {
            thread::yield_now();
        }
        assert!(READ.load(Ordering::SeqCst) <= BYTES_AHEAD_MAX + 3 * CHUNK);
    }
}
