//! Standard input line by line, read by a thread of its own so that the poll loop never waits for
//! it.
//!
//! The channel between them is short: nobody reads ahead of what the broker takes.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use crate::endpoint::Waker;

const LINES_AHEAD_MAX: usize = 256;
/// The longest line: what a packet can hold.
const LINE_BYTES_MAX: u64 = 268_435_455;

/// The lines of standard input, without their line ends.
pub(crate) struct Lines {
    receiver: Receiver<io::Result<Vec<u8>>>,
    /// Whether the receiver found nothing and waits to be woken.
    waits: Arc<AtomicBool>,
}

/// What [`Lines::next`] found.
#[derive(Debug)]
pub(crate) enum Line {
    Whole(Vec<u8>),
    /// Nothing yet; the waker says when there is.
    Pending,
    End,
}

impl Lines {
    /// Begins to read. `waker` is used after each [`Line::Pending`], and at the end.
    pub(crate) fn of_stdin(waker: Waker) -> Self {
        Self::read(|| Box::new(io::stdin().lock()), move || waker.wake())
    }

    fn read(open: fn() -> Box<dyn BufRead>, wake: impl Fn() + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(LINES_AHEAD_MAX);
        let waits = Arc::new(AtomicBool::new(false));
        let is_awaited = Arc::clone(&waits);
        // The thread ends with its input, with its receiver, or with the process.
        thread::spawn(move || {
            let mut input = open();
            while let Some(line) = next_line(&mut input).transpose() {
                let failed = line.is_err();
                if sender.send(line).is_err() {
                    return;
                }
                if is_awaited.swap(false, Ordering::SeqCst) {
                    wake();
                }
                if failed {
                    return;
                }
            }
            drop(sender);
            wake();
        });
        Self { receiver, waits }
    }

    /// The next line, without waiting.
    pub(crate) fn next(&mut self) -> io::Result<Line> {
        let mut received = self.receiver.try_recv();
        if let Err(TryRecvError::Empty) = received {
            self.waits.store(true, Ordering::SeqCst);
            // A line that came before this thread said that it waits wakes nobody.
            received = self.receiver.try_recv();
        }
        match received {
            Ok(line) => line.map(Line::Whole),
            Err(TryRecvError::Empty) => Ok(Line::Pending),
            Err(TryRecvError::Disconnected) => Ok(Line::End),
        }
    }
}

/// A line up to its `\n`, or the rest of the input; `None` at the end.
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
    use super::*;

    #[test]
    fn splits_at_line_feeds_and_keeps_everything_else() {
        let mut lines = Lines::read(|| Box::new(&b"a\n\nb\r\n\xff\0\nlast"[..]), || ());
        let mut found = Vec::new();
        loop {
            match lines.next().unwrap() {
                Line::Whole(line) => found.push(line),
                Line::Pending => thread::yield_now(),
                Line::End => break,
            }
        }
        assert_eq!(found, [&b"a"[..], b"", b"b\r", b"\xff\0", b"last"]);
    }
}
