//! Pools whose jobs wait for what the test sends, and whose clock the test sets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A pool with a clock that stands still until it is set.
struct Setup {
    pool: Option<Pool>,
    start: Instant,
    elapsed_ms: Arc<AtomicU64>,
    answers: Receiver<Answer>,
    sender: Sender<Answer>,
}

type Answer = (&'static str, Result<u32, Unanswered>);

impl Setup {
    fn new(threads: usize, waiting_max: usize, memory_bytes_max: u64) -> Self {
        let options = PoolOptions {
            name: "test".into(),
            threads: NonZeroUsize::new(threads).unwrap(),
            waiting_max,
            memory_bytes_max,
        };
        let (start, elapsed_ms) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let elapsed = Arc::clone(&elapsed_ms);
        let clock = move || start + Duration::from_millis(elapsed.load(Ordering::SeqCst));
        let pool = Pool::start_without_watch(&options, Box::new(clock)).unwrap();
        let (sender, answers) = channel();
        Self { pool: Some(pool), start, elapsed_ms, answers, sender }
    }

    fn pool(&self) -> &Pool {
        self.pool.as_ref().unwrap()
    }

    fn submit(
        &self,
        name: &'static str,
        network: u32,
        memory_bytes: u64,
        work: impl FnOnce() -> u32 + Send + 'static,
    ) {
        let terms = JobTerms {
            network: Some(HostNetwork::V4(network)),
            deadline: self.start + Duration::from_secs(5),
            memory_bytes,
        };
        let sender = self.sender.clone();
        self.pool().submit(terms, work, move |answer| sender.send((name, answer)).unwrap());
    }

    /// Occupies a thread until the returned sender is dropped.
    fn occupy(&self, memory_bytes: u64) -> Sender<()> {
        let (begun_sender, begun) = channel();
        let (go_on, wait) = channel::<()>();
        self.submit("occupier", 0, memory_bytes, move || {
            begun_sender.send(()).unwrap();
            let _ = wait.recv();
            0
        });
        begun.recv().unwrap();
        go_on
    }

    fn expire(&self, after: Duration) {
        self.elapsed_ms.store(after.as_millis() as u64, Ordering::SeqCst);
        self.pool().shared.expire(self.start + after);
    }

    fn answer(&self) -> Answer {
        self.answers.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

#[test]
fn a_job_is_answered() {
    let setup = Setup::new(2, 10, 100);
    setup.submit("a", 1, 1, || 7);
    assert_eq!(setup.answer(), ("a", Ok(7)));
}

#[test]
fn networks_take_turns() {
    let setup = Setup::new(1, 10, 100);
    let go_on = setup.occupy(1);
    for (name, network) in [("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("c1", 3), ("b2", 2)] {
        setup.submit(name, network, 1, || 0);
    }
    drop(go_on);
    let order: Vec<_> = (0..7).map(|_| setup.answer().0).collect();
    assert_eq!(order, ["occupier", "a1", "b1", "c1", "a2", "b2", "a3"]);
}

#[test]
fn whoever_fills_the_queue_is_refused_and_others_find_room() {
    let setup = Setup::new(1, 4, 100);
    let go_on = setup.occupy(1);
    for name in ["a1", "a2", "a3", "a4"] {
        setup.submit(name, 1, 1, || 0);
    }
    setup.submit("a5", 1, 1, || 0);
    assert_eq!(setup.answer(), ("a5", Err(Unanswered::Full)));
    setup.submit("b1", 2, 1, || 0);
    assert_eq!(setup.answer(), ("a4", Err(Unanswered::Full)));
    setup.submit("b2", 2, 1, || 0);
    assert_eq!(setup.answer(), ("a3", Err(Unanswered::Full)));
    setup.submit("b3", 2, 1, || 0);
    assert_eq!(setup.answer(), ("b3", Err(Unanswered::Full)), "it would have the most");
    let figures = setup.pool().figures();
    assert_eq!((figures.submitted, figures.refused, figures.waiting), (9, 4, 4));
    drop(go_on);
    let rest: Vec<_> = (0..5).map(|_| setup.answer()).collect();
    assert!(rest.iter().all(|(_, answer)| *answer == Ok(0)), "{rest:?}");
}

/// Otherwise two networks would push out each other's jobs for ever.
#[test]
fn no_job_is_refused_for_a_network_that_would_have_as_many() {
    let setup = Setup::new(1, 3, 100);
    let go_on = setup.occupy(1);
    for (name, network) in [("a1", 1), ("a2", 1), ("b1", 2)] {
        setup.submit(name, network, 1, || 0);
    }
    setup.submit("b2", 2, 1, || 0);
    assert_eq!(setup.answer(), ("b2", Err(Unanswered::Full)));
    drop(go_on);
}

#[test]
fn no_more_run_at_once_than_memory_fits() {
    let setup = Setup::new(3, 10, 100);
    let first = setup.occupy(46);
    let second = setup.occupy(46);
    // A thread is free, but 46 bytes are not; and nobody overtakes.
    setup.submit("large", 1, 46, || 1);
    setup.submit("small", 2, 1, || 2);
    let figures = setup.pool().figures();
    assert_eq!((figures.running, figures.waiting, figures.memory_bytes), (2, 2, 92));
    drop(first);
    assert_eq!(setup.answer().0, "occupier");
    let mut rest = [setup.answer().0, setup.answer().0];
    rest.sort_unstable();
    assert_eq!(rest, ["large", "small"]);
    setup.submit("too large", 1, 101, || 0);
    assert_eq!(setup.answer(), ("too large", Err(Unanswered::TooLarge)));
    drop(second);
}

#[test]
fn an_answer_after_the_deadline_does_not_count() {
    let setup = Setup::new(1, 10, 100);
    let go_on = setup.occupy(1);
    setup.submit("waits", 1, 1, || 1);
    setup.expire(Duration::from_millis(4_999));
    assert!(setup.answers.try_recv().is_err());
    setup.expire(Duration::from_secs(5));
    assert_eq!(setup.answer(), ("occupier", Err(Unanswered::Late)));
    assert_eq!(setup.answer(), ("waits", Err(Unanswered::Late)));
    let figures = setup.pool().figures();
    assert_eq!((figures.running, figures.waiting, figures.late), (1, 0, 2), "it goes on");
    drop(go_on);
    let Setup { pool, answers, sender, .. } = setup;
    drop((pool, sender));
    assert!(answers.recv().is_err(), "nothing is answered twice");
}

#[test]
fn a_late_job_does_not_begin() {
    let setup = Setup::new(1, 10, 100);
    let go_on = setup.occupy(1);
    setup.submit("waits", 1, 1, || panic!("it must not begin"));
    setup.elapsed_ms.store(5_000, Ordering::SeqCst);
    drop(go_on);
    assert_eq!(setup.answer(), ("occupier", Ok(0)), "nobody has watched the deadline");
    assert_eq!(setup.answer(), ("waits", Err(Unanswered::Late)));
}

#[test]
fn deadlines_are_watched() {
    let options = PoolOptions {
        name: "test".into(),
        threads: NonZeroUsize::new(1).unwrap(),
        waiting_max: 10,
        memory_bytes_max: 100,
    };
    let pool = Pool::start(&options).unwrap();
    let (go_on, wait) = channel::<()>();
    let (sender, answers) = channel();
    let terms = JobTerms { network: None, deadline: Instant::now(), memory_bytes: 1 };
    let deadline = Instant::now() + Duration::from_millis(20);
    let late = sender.clone();
    pool.submit(
        JobTerms { deadline, ..terms },
        move || wait.recv().is_err(),
        move |answer| late.send(answer).unwrap(),
    );
    let limit = Duration::from_secs(20);
    assert_eq!(answers.recv_timeout(limit), Ok(Err(Unanswered::Late)));
    drop(go_on);
}

#[test]
fn a_panic_is_answered_and_the_thread_goes_on() {
    let setup = Setup::new(1, 10, 100);
    setup.submit("panics", 1, 1, || panic!("on purpose"));
    assert_eq!(setup.answer(), ("panics", Err(Unanswered::Panicked)));
    let terms =
        JobTerms { network: None, deadline: setup.start + Duration::from_secs(5), memory_bytes: 1 };
    setup.pool().submit(terms, || 0, |_| panic!("on purpose, when it is answered"));
    setup.submit("next", 1, 1, || 3);
    assert_eq!(setup.answer(), ("next", Ok(3)));
    assert_eq!(setup.pool().figures().panicked, 1);
}

#[test]
fn the_end_refuses_what_waits_and_waits_for_what_runs() {
    let mut setup = Setup::new(1, 10, 100);
    let go_on = setup.occupy(1);
    setup.submit("waits", 1, 1, || 0);
    let pool = setup.pool.take().unwrap();
    let ending = thread::spawn(move || drop(pool));
    assert_eq!(setup.answer(), ("waits", Err(Unanswered::Ended)));
    drop(go_on);
    assert_eq!(setup.answer(), ("occupier", Ok(0)));
    ending.join().unwrap();
}

/// The deadline is an hour away, and the end must not wait for it.
#[test]
fn the_end_does_not_wait_for_deadlines() {
    let options = PoolOptions {
        name: "test".into(),
        threads: NonZeroUsize::new(1).unwrap(),
        waiting_max: 10,
        memory_bytes_max: 100,
    };
    let pool = Pool::start(&options).unwrap();
    let (begun_sender, begun) = channel();
    let (go_on, wait) = channel::<()>();
    let deadline = Instant::now() + Duration::from_secs(3600);
    let terms = JobTerms { network: None, deadline, memory_bytes: 1 };
    let work = move || {
        begun_sender.send(()).unwrap();
        wait.recv().is_err()
    };
    let (sender, answers) = channel();
    let second = sender.clone();
    pool.submit(terms, work, move |answer| sender.send(answer).unwrap());
    begun.recv().unwrap();
    pool.submit(terms, || true, move |answer| second.send(answer).unwrap());
    let ending = thread::spawn(move || drop(pool));
    assert_eq!(answers.recv(), Ok(Err(Unanswered::Ended)), "it is ending now");
    drop(go_on);
    ending.join().unwrap();
    assert_eq!(answers.recv(), Ok(Ok(true)));
}

#[test]
fn an_answer_may_drop_the_pool() {
    let mut setup = Setup::new(1, 10, 100);
    let (sender, received) = channel::<Pool>();
    let (done_sender, done) = channel();
    let terms =
        JobTerms { network: None, deadline: setup.start + Duration::from_secs(5), memory_bytes: 1 };
    setup.pool().submit(
        terms,
        move || received.recv().unwrap(),
        move |pool| {
            drop(pool);
            done_sender.send(()).unwrap();
        },
    );
    sender.send(setup.pool.take().unwrap()).unwrap();
    done.recv_timeout(Duration::from_secs(20)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is submitted, expires and ends, every job is answered once.
    #[test]
    fn every_job_is_answered_once(
        jobs in prop::collection::vec((0..4_u32, 0..120_u64, 0..4_u8), 0..60),
        threads in 1..4_usize,
        waiting_max in 0..10_usize,
    ) {
        let mut setup = Setup::new(threads, waiting_max, 100);
        for (network, memory_bytes, kind) in &jobs {
            match kind {
                0 => setup.submit("panics", *network, *memory_bytes, || {
                    std::panic::resume_unwind(Box::new(()))
                }),
                _ => setup.submit("works", *network, *memory_bytes, || 1),
            }
        }
        if jobs.len() % 2 == 0 {
            setup.expire(Duration::from_secs(6));
        }
        drop(setup.pool.take());
        let Setup { answers, sender, .. } = setup;
        drop(sender);
        prop_assert_eq!(answers.iter().count(), jobs.len());
    }
}
