//! The promise that a job is answered exactly once, whoever comes first: its thread, its deadline,
//! or the end of everything. It must never be broken by a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::Unanswered;

/// Who waits for an answer of type `T`.
pub(super) struct Ticket<T>(Mutex<Option<Answer<T>>>);

type Answer<T> = Box<dyn FnOnce(Result<T, Unanswered>) + Send>;

/// How a job has ended on its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was answered with what it returned.
    Answered,
    /// It was answered with [`Unanswered::Panicked`].
    Panicked,
    /// It had an answer already.
    WasAnswered,
}

/// A [`Ticket`] of any type.
pub(super) trait Refuse: Send + Sync {
    /// Answers that there is no answer, unless there is one already.
    fn refuse(&self, why: Unanswered) -> Ended;
}

impl<T> Ticket<T> {
    pub(super) fn new(answer: impl FnOnce(Result<T, Unanswered>) + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(answer))))
    }

    pub(super) fn answer(&self, value: Result<T, Unanswered>) -> Ended {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(answer) = answer else { return Ended::WasAnswered };
        let ended = if value.is_ok() { Ended::Answered } else { Ended::Panicked };
        // A panic of whoever waits is no reason to lose a thread.
        let _ = catch_unwind(AssertUnwindSafe(|| answer(value)));
        ended
    }
}

impl<T> Refuse for Ticket<T> {
    fn refuse(&self, why: Unanswered) -> Ended {
        self.answer(Err(why))
    }
}

/// A job that is dropped without having run is answered, too.
impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.refuse(Unanswered::Ended);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_ticket_that_is_lost_is_answered() {
        let (sender, answers) = channel();
        drop(Ticket::<()>::new(move |answer| sender.send(answer).unwrap()));
        assert_eq!(answers.recv(), Ok(Err(Unanswered::Ended)));
    }

    #[test]
    fn only_the_first_answer_counts() {
        let (sender, answers) = channel();
        let ticket = Ticket::new(move |answer| sender.send(answer).unwrap());
        assert_eq!(ticket.answer(Ok(1)), Ended::Answered);
        assert_eq!(ticket.refuse(Unanswered::Late), Ended::WasAnswered);
        drop(ticket);
        assert_eq!(answers.iter().collect::<Vec<_>>(), [Ok(1)]);
    }
}
