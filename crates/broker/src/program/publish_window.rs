//! Bounds what the program has published and the workers have not answered yet. This is the one
//! place where the program feels that it is faster than the broker.
//!
//! A message gets in before it is sent to a worker, and is in until its reply is sent, or nobody is
//! left to reply. Those who find no room stand in a line, so that nobody is overtaken. Whoever
//! makes room lets the first ones in and counts them at once: a task that is told may not look for
//! long, and others stand behind it, perhaps its own thread. No thread of the broker may stand
//! there: it could be the one that has to make room.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::program::guard::guarded;

pub(crate) struct PublishWindow {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// Bytes of the messages that are in.
    bytes: usize,
    /// Those who wait, in the order of their numbers. One who is no longer here was let in.
    line: VecDeque<Waiting>,
    last_number: u64,
}

struct Waiting {
    number: u64,
    bytes: usize,
    waker: Waker,
}

/// Says that a message is in. Dropping it makes room for others.
pub(crate) struct Permit {
    window: Arc<PublishWindow>,
    bytes: usize,
}

/// Waits until there is room. Dropping it leaves the line, or gives back the room.
pub(crate) struct Entering {
    window: Arc<PublishWindow>,
    bytes: usize,
    /// The number that it has or had in the line; `None` before the first poll and after the last.
    number: Option<u64>,
}

impl State {
    /// Puts a message at the end of the line, and returns its number there.
    fn stand(&mut self, bytes: usize, waker: Waker) -> u64 {
        self.last_number += 1;
        self.line.push_back(Waiting { number: self.last_number, bytes, waker });
        self.last_number
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        self.line.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}

impl PublishWindow {
    /// Makes a window for messages of this many bytes in all. A larger one gets in alone.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), bytes_max })
    }

    /// Returns a permit at once, if there is room and nobody waits for it.
    pub(crate) fn try_enter(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut state = self.lock();
        (state.line.is_empty() && self.admits(&mut state, bytes)).then(|| self.permit(bytes))
    }

    /// Returns a future that waits for room, if there is none.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize) -> Entering {
        Entering { window: Arc::clone(self), bytes, number: None }
    }

    /// Returns how many bytes of messages are in.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Counts a message, if there is room for it.
    fn admits(&self, state: &mut State, bytes: usize) -> bool {
        let all = state.bytes.saturating_add(bytes);
        let has_room = all <= self.bytes_max || state.bytes == 0;
        if has_room {
            state.bytes = all;
        }
        has_room
    }

    /// Lets in the first ones of the line, as far as there is room.
    fn let_in(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers = Vec::new();
        while let Some(bytes) = state.line.front().map(|first| first.bytes)
            && self.admits(&mut state, bytes)
        {
            wakers.extend(state.line.pop_front().map(|first| first.waker));
        }
        // A waker may drop what waits here, so the lock is given back first.
        drop(state);
        for waker in wakers {
            guarded("the waker of a publisher", || waker.wake());
        }
    }

    fn permit(self: &Arc<Self>, bytes: usize) -> Permit {
        Permit { window: Arc::clone(self), bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.window.lock();
        state.bytes -= self.bytes;
        // Not before half of the room is free: waking a thread for each message would cost more
        // than publishing it.
        if state.bytes <= self.window.bytes_max / 2 {
            self.window.let_in(state);
        }
    }
}

impl Future for Entering {
    type Output = Permit;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let this = self.get_mut();
        let waker = context.waker().clone();
        let mut state = this.window.lock();
        let before = match this.number.map(|number| state.place_of(number)) {
            Some(Some(place)) => Some(std::mem::replace(&mut state.line[place].waker, waker)),
            None if !state.line.is_empty() || !this.window.admits(&mut state, this.bytes) => {
                this.number = Some(state.stand(this.bytes, waker));
                None
            }
            Some(None) | None => {
                drop(state);
                return Poll::Ready(this.take_permit());
            }
        };
        // A waker that is dropped may drop what waits here, too.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Entering {
    /// Returns the permit of a message that is counted.
    fn take_permit(&mut self) -> Permit {
        self.number = None;
        self.window.permit(self.bytes)
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.window.lock();
        let Some(place) = state.place_of(number) else {
            drop(state);
            return drop(self.take_permit());
        };
        let left = state.line.remove(place);
        // There may be room for the next one, which needs less.
        self.window.let_in(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::thread;

    use super::*;
    use crate::program::reply::block_on;

    fn poll(entering: &mut Entering) -> Option<Permit> {
        match pin!(entering).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_in_is_bounded_and_a_message_larger_than_that_gets_in_alone() {
        let window = PublishWindow::new(10);
        let permits = [window.try_enter(6), window.try_enter(4)];
        assert!(permits.iter().all(Option::is_some) && window.try_enter(1).is_none());
        drop(permits);
        assert_eq!(window.bytes(), 0);
        let large = window.try_enter(11);
        assert!(large.is_some() && window.try_enter(1).is_none());
        drop(large);
        assert!(window.try_enter(1).is_some());
    }

    #[test]
    fn nobody_is_overtaken_in_the_line() {
        let window = PublishWindow::new(10);
        let in_it = window.try_enter(10);
        let (mut first, mut second) = (window.enter(10), window.enter(1));
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(in_it);
        assert!(window.try_enter(1).is_none() && poll(&mut second).is_none());
        let in_it = poll(&mut first);
        assert!(in_it.is_some() && poll(&mut second).is_none());
        drop(in_it);
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn nobody_waits_for_those_who_do_not_look_whether_there_is_room() {
        let window = PublishWindow::new(10);
        let in_it = window.try_enter(10);
        let (mut first, mut second) = (window.enter(5), window.enter(5));
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(in_it);
        let in_it = poll(&mut second);
        assert!(in_it.is_some() && window.try_enter(1).is_none(), "the first has its room");
        drop((in_it, first));
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn who_was_let_in_and_does_not_come_makes_room_for_others() {
        let window = PublishWindow::new(10);
        let in_it = window.try_enter(10);
        let (mut first, mut second) = (window.enter(10), window.enter(10));
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(in_it);
        assert!(poll(&mut second).is_none(), "the first has its room");
        drop(first);
        assert!(poll(&mut second).is_some());
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn who_leaves_the_line_holds_up_nobody() {
        let window = PublishWindow::new(1);
        let in_it = window.try_enter(1);
        let mut first = window.enter(1);
        assert!(poll(&mut first).is_none());
        let waiting = thread::spawn({
            let window = Arc::clone(&window);
            move || drop(block_on(window.enter(1)))
        });
        while window.lock().line.len() < 2 {
            thread::yield_now();
        }
        // It wakes the one that leaves.
        drop(in_it);
        drop(first);
        waiting.join().unwrap();
        assert!(window.lock().line.is_empty() && window.bytes() == 0);
    }

    #[test]
    fn threads_that_wait_all_get_in() {
        let window = PublishWindow::new(3);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for bytes in 0..1_000 {
                        let permit = block_on(window.enter(bytes % 5));
                        assert!(window.bytes() <= 4);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(window.bytes(), 0);
    }
}
