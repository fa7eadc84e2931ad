//! A bounded pool of threads, on which members of the authentication chain run.
//!
//! A job waits for its turn in a [`Waiting`] that is fair to networks, runs only when its memory
//! fits, and is answered exactly once: with what it returned, or with why there is no answer
//! ([`Unanswered`]). No job is lost, whatever panics. The pool must never make the thread that
//! submits a job wait.

mod ticket;
mod waiting;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::host_network::HostNetwork;
use ticket::{Refuse, Ticket};
use waiting::{Waiting, WaitingJob};

/// How a pool is made.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The name of its threads, in which a number follows.
    pub name: Box<str>,
    /// The number of threads.
    pub threads: NonZeroUsize,
    /// The most jobs that wait.
    pub waiting_max: usize,
    /// The most memory that running jobs may need together, in bytes.
    pub memory_bytes_max: u64,
}

/// What the pool has to know of a job.
#[derive(Clone, Copy, Debug)]
pub struct JobTerms {
    /// Where it comes from. Networks take turns; jobs from none are as from one.
    pub network: Option<HostNetwork>,
    /// When its answer no longer counts.
    pub deadline: Instant,
    /// How much memory it needs while it runs, in bytes.
    pub memory_bytes: u64,
}

/// Why a job has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Too many jobs wait already, most of them from other networks, or this network has the most.
    Full,
    /// It needs more memory than the pool has.
    TooLarge,
    /// Its deadline has passed. If it runs already, it goes on, for nothing.
    Late,
    /// It has panicked.
    Panicked,
    /// The pool has ended.
    Ended,
}

/// A pool of threads. When it is dropped, jobs that wait are refused, and those that run are waited
/// for.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What a pool has counted, and what it is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Jobs that have been submitted.
    pub submitted: u64,
    /// Jobs that have returned in time.
    pub answered: u64,
    /// Jobs that were refused because too many waited, or because they were too large.
    pub refused: u64,
    /// Jobs that were not answered by their deadline.
    pub late: u64,
    /// Jobs that have panicked.
    pub panicked: u64,
    /// Jobs that wait now.
    pub waiting: usize,
    /// Jobs that run now.
    pub running: usize,
    /// The memory of the jobs that run now, in bytes.
    pub memory_bytes: u64,
}

type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

struct Shared {
    state: Mutex<State>,
    /// A job has come or ended, so a thread may find something to do.
    work: Condvar,
    /// There is an earlier deadline than before, or the pool ends.
    deadlines: Condvar,
    waiting_max: usize,
    memory_bytes_max: u64,
    clock: Clock,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    /// All jobs without an answer, by their deadline.
    unanswered: BTreeMap<(Instant, u64), Arc<dyn Refuse>>,
    next_number: u64,
    figures: PoolFigures,
    is_ending: bool,
}

impl Pool {
    /// Starts the threads of a pool.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub fn start(options: &PoolOptions) -> io::Result<Self> {
        let mut pool = Self::start_without_watch(options, Box::new(Instant::now))?;
        let shared = Arc::clone(&pool.shared);
        let name = format!("{}-deadlines", options.name);
        let watch = thread::Builder::new().name(name).spawn(move || shared.watch_deadlines())?;
        pool.threads.push(watch);
        Ok(pool)
    }

    /// As [`Pool::start`], but deadlines pass only when [`Shared::expire`] is called.
    fn start_without_watch(options: &PoolOptions, clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            deadlines: Condvar::new(),
            waiting_max: options.waiting_max,
            memory_bytes_max: options.memory_bytes_max,
            clock,
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..options.threads.get() {
            let shared = Arc::clone(&pool.shared);
            let name = format!("{}-{number}", options.name);
            pool.threads.push(thread::Builder::new().name(name).spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Has `work` done on one of the threads, and calls `answer` once with what it returned: on
    /// that thread, on the one that watches deadlines, or, if a job is refused, on the calling
    /// thread before this function returns. So `answer` only passes on what it gets.
    pub fn submit<T: 'static>(
        &self,
        terms: JobTerms,
        work: impl FnOnce() -> T + Send + 'static,
        answer: impl FnOnce(Result<T, Unanswered>) + Send + 'static,
    ) {
        let ticket = Arc::new(Ticket::new(answer));
        let refuse: Arc<dyn Refuse> = Arc::<Ticket<T>>::clone(&ticket);
        let run = Box::new(move || match catch_unwind(AssertUnwindSafe(work)) {
            Ok(value) => ticket.answer(Ok(value)),
            Err(_) => ticket.refuse(Unanswered::Panicked),
        });
        let shared = &self.shared;
        let refused = shared.lock().admit(shared, terms, run, refuse);
        shared.work.notify_one();
        if let Some(refused) = refused {
            refused.ticket.refuse(refused.why);
        }
    }

    /// Returns what the pool has counted, and what it is doing.
    pub fn figures(&self) -> PoolFigures {
        let state = self.shared.lock();
        PoolFigures { waiting: state.waiting.len(), ..state.figures }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.is_ending = true;
            state.take_all_waiting()
        };
        self.shared.work.notify_all();
        self.shared.deadlines.notify_all();
        for refused in waiting {
            refused.ticket.refuse(refused.why);
        }
        for thread in self.threads.drain(..) {
            // An answer may drop the pool; a thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // A thread that has panicked has ended, too.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs jobs until the pool ends.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let now = (self.clock)();
            match state.begin_next(now, self.memory_bytes_max) {
                Next::Run(job) => {
                    drop(state);
                    let (key, memory_bytes, run) = (job.key, job.memory_bytes, job.run);
                    let is_counted = run();
                    state = self.lock();
                    state.end(key, memory_bytes, is_counted);
                    // Its memory may be what several others wait for.
                    self.work.notify_all();
                    if state.is_ending {
                        self.deadlines.notify_all();
                    }
                }
                Next::Late(refused) => {
                    drop(state);
                    refused.ticket.refuse(refused.why);
                    drop(refused);
                    state = self.lock();
                }
                Next::Nothing if state.is_ending => return,
                Next::Nothing => {
                    state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Refuses jobs at their deadlines until the pool ends.
    fn watch_deadlines(&self) {
        loop {
            self.expire((self.clock)());
            let state = self.lock();
            if state.is_ending && state.unanswered.is_empty() {
                return;
            }
            let wait = state
                .unanswered
                .first_key_value()
                .map(|((deadline, _), _)| deadline.saturating_duration_since((self.clock)()));
            match wait {
                Some(wait) => drop(self.deadlines.wait_timeout(state, wait)),
                None => drop(self.deadlines.wait(state)),
            }
        }
    }

    /// Refuses the jobs whose deadlines have passed.
    fn expire(&self, now: Instant) {
        loop {
            let Some(refused) = self.lock().take_late(now) else { return };
            refused.ticket.refuse(refused.why);
        }
    }
}

/// What a thread does next.
enum Next {
    Run(WaitingJob),
    Late(Refused),
    Nothing,
}

/// A job that is refused as soon as nothing is locked.
struct Refused {
    ticket: Arc<dyn Refuse>,
    why: Unanswered,
    /// What it would have done: dropping that may end anything.
    _run: Option<WaitingJob>,
}

impl State {
    /// Puts a job among those that wait. Returns the job that is refused for that: this one, or the
    /// last one of the network that has the most.
    fn admit(
        &mut self,
        shared: &Shared,
        terms: JobTerms,
        run: waiting::Run,
        ticket: Arc<dyn Refuse>,
    ) -> Option<Refused> {
        self.figures.submitted += 1;
        let key = (terms.deadline, self.next_number);
        self.next_number += 1;
        let JobTerms { network, memory_bytes, .. } = terms;
        let job = WaitingJob { key, network, memory_bytes, run };
        if self.is_ending {
            return Some(Refused { ticket, why: Unanswered::Ended, _run: Some(job) });
        }
        if memory_bytes > shared.memory_bytes_max {
            self.figures.refused += 1;
            return Some(Refused { ticket, why: Unanswered::TooLarge, _run: Some(job) });
        }
        let mut refused = None;
        if self.waiting.len() >= shared.waiting_max {
            self.figures.refused += 1;
            let Some(other) = self.waiting.make_room_for(network) else {
                return Some(Refused { ticket, why: Unanswered::Full, _run: Some(job) });
            };
            refused = self.refuse(other, Unanswered::Full);
        }
        let is_first = self.unanswered.first_key_value().is_none_or(|(first, _)| key < *first);
        self.unanswered.insert(key, ticket);
        self.waiting.push(job);
        if is_first {
            shared.deadlines.notify_one();
        }
        refused
    }

    /// Takes the job whose turn it is, if its memory fits. While it does not, nobody else comes
    /// first, so that it need not wait for ever.
    fn begin_next(&mut self, now: Instant, memory_bytes_max: u64) -> Next {
        let Some(job) = self.waiting.first() else { return Next::Nothing };
        let memory_bytes = self.figures.memory_bytes.saturating_add(job.memory_bytes);
        if job.key.0 > now && memory_bytes > memory_bytes_max {
            return Next::Nothing;
        }
        let Some(job) = self.waiting.pop() else { return Next::Nothing };
        if job.key.0 <= now {
            self.figures.late += 1;
            return self.refuse(job, Unanswered::Late).map_or(Next::Nothing, Next::Late);
        }
        self.figures.memory_bytes = memory_bytes;
        self.figures.running += 1;
        Next::Run(job)
    }

    /// Notes that a job has ended, and how.
    fn end(&mut self, key: waiting::JobKey, memory_bytes: u64, ended: ticket::Ended) {
        self.figures.running -= 1;
        self.figures.memory_bytes -= memory_bytes;
        self.unanswered.remove(&key);
        match ended {
            ticket::Ended::Answered => self.figures.answered += 1,
            ticket::Ended::Panicked => self.figures.panicked += 1,
            ticket::Ended::WasAnswered => {}
        }
    }

    /// Takes a job whose deadline has passed.
    fn take_late(&mut self, now: Instant) -> Option<Refused> {
        let first = self.unanswered.first_entry().filter(|first| first.key().0 <= now)?;
        let (key, ticket) = first.remove_entry();
        self.figures.late += 1;
        Some(Refused { ticket, why: Unanswered::Late, _run: self.waiting.remove(key) })
    }

    fn take_all_waiting(&mut self) -> Vec<Refused> {
        let mut all = Vec::new();
        while let Some(job) = self.waiting.pop() {
            all.extend(self.refuse(job, Unanswered::Ended));
        }
        all
    }

    fn refuse(&mut self, job: WaitingJob, why: Unanswered) -> Option<Refused> {
        let ticket = self.unanswered.remove(&job.key)?;
        Some(Refused { ticket, why, _run: Some(job) })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("figures", &self.lock().figures).finish_non_exhaustive()
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many logins wait to be decided",
            Self::TooLarge => "deciding needs more memory than there is for logins",
            Self::Late => "the decision took too long",
            Self::Panicked => "deciding has failed: this is a bug",
            Self::Ended => "the broker is stopping",
        })
    }
}

#[cfg(test)]
mod tests;
