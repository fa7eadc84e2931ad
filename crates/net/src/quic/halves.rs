//! The two directions of one bidirectional stream, polled by the stream's owner.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use quinn::{RecvStream, SendStream, VarInt};

use super::failure;
use crate::stream::Received;

/// The most bytes that are gathered from small slices at a time.
const GATHERED_MAX: usize = 64 * 1024;

/// A stream's bytes in both directions.
pub(super) struct Halves {
    send: SendStream,
    receive: RecvStream,
    /// Called when a read or write that met `WouldBlock` can go on.
    waker: Waker,
    /// How reading has ended. quinn reports it only once.
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Normal,
    Failed(io::ErrorKind, String),
}

impl Halves {
    pub(super) fn new(send: SendStream, receive: RecvStream, waker: Waker) -> Self {
        Self { send, receive, waker, end: None }
    }

    /// Returns the stream's number within its connection.
    pub(super) fn number(&self) -> u64 {
        self.send.id().into()
    }

    pub(super) fn set_waker(&mut self, waker: Waker) {
        self.waker = waker;
    }

    /// Reads until nothing is left or `into` is full. `WouldBlock` means that nothing at all was
    /// there; then, and also if the result is not `more`, the waker is called once there is
    /// something.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Received> {
        let mut count = 0;
        while self.end.is_none() && count < into.len() {
            let mut context = Context::from_waker(&self.waker);
            match self.receive.poll_read(&mut context, &mut into[count..]) {
                Poll::Ready(Ok(0)) => self.end = Some(End::Normal),
                Poll::Ready(Ok(read)) => count += read,
                Poll::Ready(Err(error)) => {
                    self.end = Some(match failure::read_failed(&error) {
                        Some(error) => End::Failed(error.kind(), error.to_string()),
                        None => End::Normal,
                    });
                }
                Poll::Pending if count == 0 => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Pending => return Ok(Received::Bytes { count, more: false }),
            }
        }
        match &self.end {
            // Bytes that came before the end are reported first.
            _ if count > 0 => Ok(Received::Bytes { count, more: true }),
            Some(End::Failed(kind, words)) => Err(io::Error::new(*kind, words.clone())),
            Some(End::Normal) => Ok(Received::End),
            None => Ok(Received::Bytes { count, more: true }),
        }
    }

    /// Writes until there is no room or nothing left. `WouldBlock` means that there was no room at
    /// all; then, and also if less than everything was written, the waker is called once there is
    /// room.
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        let mut rest = slices;
        while let Some((first, others)) = rest.split_first() {
            let small = rest
                .iter()
                .scan(0, |length, slice| {
                    *length += slice.len();
                    (*length <= GATHERED_MAX).then_some(())
                })
                .count();
            let (length, result) = if small > 1 {
                let (together, others) = rest.split_at(small);
                rest = others;
                self.write_together(together)
            } else {
                rest = others;
                (first.len(), self.write(first))
            };
            match result {
                Poll::Ready(Ok(count)) => {
                    written += count;
                    if count < length {
                        break;
                    }
                }
                // The next write reports the error.
                Poll::Ready(Err(_)) if written > 0 => break,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending if written == 0 => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Pending => break,
            }
        }
        Ok(written)
    }

    /// Writes one slice as far as there is room. If not all of it was written, the waker will be
    /// called.
    fn write(&mut self, slice: &[u8]) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while written < slice.len() {
            let mut context = Context::from_waker(&self.waker);
            match Pin::new(&mut self.send).poll_write(&mut context, &slice[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) if written == 0 => {
                    return Poll::Ready(Err(failure::write_failed(&error)));
                }
                Poll::Pending if written == 0 => return Poll::Pending,
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Writes several slices with one allocation for all of them. Returns their length, too.
    fn write_together(&mut self, slices: &[IoSlice<'_>]) -> (usize, Poll<io::Result<usize>>) {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let mut gathered = Vec::with_capacity(length);
        for slice in slices {
            gathered.extend_from_slice(slice);
        }
        let mut chunks = [gathered.into()];
        let mut written = 0;
        while written < length {
            let mut context = Context::from_waker(&self.waker);
            let write = pin!(self.send.write_chunks(&mut chunks));
            match write.poll(&mut context) {
                Poll::Ready(Ok(count)) => written += count.bytes,
                Poll::Ready(Err(error)) if written == 0 => {
                    return (length, Poll::Ready(Err(failure::write_failed(&error))));
                }
                Poll::Pending if written == 0 => return (length, Poll::Pending),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        (length, Poll::Ready(Ok(written)))
    }

    /// Ends the writing direction. What was written before still arrives.
    pub(super) fn finish(&mut self) {
        // This fails only if the stream was finished or reset before.
        let _ = self.send.finish();
    }

    /// Ends both directions at once with `code`; what was written may get lost.
    pub(super) fn abort(&mut self, code: VarInt) {
        // These fail only for a direction that is over.
        let _ = self.send.reset(code);
        let _ = self.receive.stop(code);
    }

    /// Waits until the peer has everything that was written and knows that no more comes, or until
    /// it takes no more.
    pub(super) async fn delivered(&self) {
        let _ = self.send.stopped().await;
    }
}

impl fmt::Debug for Halves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Halves").field("number", &self.number()).finish_non_exhaustive()
    }
}
