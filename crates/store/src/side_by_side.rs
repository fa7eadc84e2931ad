//! Does the parts of some work at the same time. What comes of it must never depend on how many
//! parts there are, or on which of them is done first.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Divides things into at most this many parts of about the same length.
pub(crate) fn parts<T>(things: &[T], count: NonZeroUsize) -> Vec<&[T]> {
    things.chunks(things.len().div_ceil(count.get()).max(1)).collect()
}

/// Calls `run` with each part, each on a thread of its own, and returns the results in the order of
/// the parts. One of them is done by the thread that asks, and so are those for which the system
/// has no thread.
pub(crate) fn side_by_side<T: Copy + Send, R: Send>(
    parts: &[T],
    run: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    run_on_threads(parts, run, new_thread)
}

fn run_on_threads<T: Copy + Send, R: Send>(
    parts: &[T],
    run: impl Fn(T) -> R + Sync,
    new_thread: impl Fn() -> thread::Builder,
) -> Vec<R> {
    let run = &run;
    thread::scope(|scope| {
        let Some((&own, others)) = parts.split_first() else {
            return Vec::new();
        };
        let begin = |&part: &T| (part, new_thread().spawn_scoped(scope, move || run(part)));
        let begun: Vec<_> = others.iter().map(begin).collect();
        let mut results = vec![run(own)];
        for (part, thread) in begun {
            results.push(match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => run(part),
            });
        }
        results
    })
}

fn new_thread() -> thread::Builder {
    thread::Builder::new().name("midge-open".into())
}

/// How many results may wait until it is their turn.
const AHEAD_MAX: usize = 4;

/// Calls `run` with each thing, on `threads` threads less the one that asks, which meanwhile gives
/// `take` the results in the order of the things. Ends with the first error of `take`.
pub(crate) fn in_order<T: Sync, R: Send, E>(
    things: &[T],
    threads: NonZeroUsize,
    run: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let helpers = (threads.get() - 1).min(things.len());
    let run = &run;
    thread::scope(|scope| {
        let begin = |helper| {
            let (sender, receiver) = sync_channel(AHEAD_MAX);
            let begun = new_thread().spawn_scoped(scope, move || {
                let mut own = things.iter().skip(helper).step_by(helpers);
                // After an error, nobody wants the others.
                let _ = own.try_for_each(|thing| sender.send(run(thing)));
            });
            begun.is_ok().then_some(receiver)
        };
        let results: Vec<_> = (0..helpers).map(begin).collect();
        for (index, thing) in things.iter().enumerate() {
            let helper = index.checked_rem(helpers).and_then(|helper| results[helper].as_ref());
            let result = helper.and_then(|results| results.recv().ok());
            take(result.unwrap_or_else(|| run(thing)))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::{in_order, new_thread, parts, run_on_threads, side_by_side};

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        let things: Vec<u32> = (0..100).collect();
        for threads in 1..6 {
            let threads = NonZeroUsize::new(threads).unwrap();
            let doubled = side_by_side(&parts(&things, threads), |part| {
                part.iter().map(|thing| 2 * thing).collect::<Vec<_>>()
            });
            let mut taken = Vec::new();
            let run = |thing: &u32| 2 * thing;
            let ended = in_order(&things, threads, run, |result| {
                taken.push(result);
                if result == 120 { Err("enough") } else { Ok(()) }
            });
            assert_eq!(doubled.concat(), things.iter().map(run).collect::<Vec<_>>());
            assert_eq!((ended, taken.len()), (Err("enough"), 61));
        }
        assert!(parts::<u32>(&[], NonZeroUsize::MIN).is_empty());
    }

    #[test]
    fn parts_for_which_there_is_no_thread_are_done_by_the_one_that_asks() {
        let without_thread = || new_thread().stack_size(1 << 60);
        assert!(without_thread().spawn(|| ()).is_err());
        let things: Vec<u32> = (0..100).collect();
        let parts = parts(&things, NonZeroUsize::new(4).unwrap());
        assert_eq!(run_on_threads(&parts, <[u32]>::to_vec, without_thread).concat(), things);
    }
}
