//! What a start costs: opening a store, and giving the cores of two workers what it has kept.
//!
//! `cargo bench -p midge-store --bench startup` makes a store of 100,000 Sessions with a
//! subscription each, 100,000 retained messages and 1,000,000 queued ones below the directory for
//! temporary files, and starts from it as a broker left it that was killed, which has to read the
//! journal since the last checkpoint, and then three times as one left it that was stopped. Each
//! start is a process of its own, so that its memory is what a broker has that starts.
//! `-- SESSIONS RETAINED QUEUED` are other numbers; what a start is to reach is 2 seconds with
//! 1000000 1000000 10000000.

#![allow(clippy::print_stdout)] // the figures are what it is for

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use midge_codec::{QoS, SubscriptionOptions};
use midge_core::{
    AllowAll, Attributes, Commit, Core, CoreConfig, Durability, DurabilityRules, Enqueue,
    Identifiers, Identity, Kept, Limits, Message, MessageParts, NodeBudget, Owner, SessionRecord,
    SharedStrategy, StoreOp, StoredDelivery, SubscriptionRecord, Timestamp, TopicRules, Turn,
    WorkerId,
};
use midge_store::{Engine, Opened, Options, RealDisk};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const WORKERS: usize = 2;
const SEED: u64 = 7;

/// How many there are of everything.
#[derive(Clone, Copy)]
struct Counts {
    sessions: u64,
    retained: u64,
    queued: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse().ok());
    let mut next = |default: u64| numbers.next().unwrap_or(default);
    let counts =
        Counts { sessions: next(100_000), retained: next(100_000), queued: next(1_000_000) };
    if let [how, directory, ..] = &arguments[..]
        && ["killed", "stopped"].contains(&how.as_str())
    {
        return start(Path::new(directory), how, counts);
    }
    let directory = std::env::temp_dir().join(format!("midge-startup-{}", std::process::id()));
    fill(&directory, counts);
    for how in ["killed", "stopped", "stopped", "stopped"] {
        let own = std::env::current_exe().expect("the system knows it");
        let counts = [counts.sessions, counts.retained, counts.queued].map(|it| it.to_string());
        let status = Command::new(own).arg(how).arg(&directory).args(counts).status();
        assert!(status.expect("it can be started").success());
    }
    std::fs::remove_dir_all(&directory).expect("it can be removed");
}

fn open(directory: &Path) -> Opened {
    let disk = Arc::new(RealDisk::open(directory).expect("the directory can be used"));
    let readers = NonZeroUsize::new(WORKERS).expect("there are some");
    let options = Options { readers, ..Options::default() };
    Engine::open(disk, options, NOW).expect("the store can be opened")
}

fn message(topic: &str, number: u64, retain: bool) -> Message {
    let attributes = Attributes {
        qos: QoS::AtLeastOnce,
        retain,
        expires_at: None,
        publisher_session: None,
        durability: Durability::Interval,
    };
    let publisher = Arc::new(Identity::new("publisher".into(), None));
    let payload = format!("{number:064}");
    let (properties, payload) = (&[][..], payload.as_bytes());
    Message::new(MessageParts { topic, properties, payload, attributes, publisher })
}

/// All that the store keeps, one operation after the other. A Session's messages do not come one
/// behind the other.
fn operations(counts: Counts) -> impl Iterator<Item = StoreOp> {
    let Counts { sessions, retained, queued } = counts;
    let of_sessions = (1..=sessions).flat_map(|number| {
        let record = SessionRecord {
            number,
            client_id: format!("client-{number}").into(),
            user_name: None,
            facts: None,
            expiry_seconds: u32::MAX,
            window: None,
            will: None,
        };
        let subscription = SubscriptionRecord {
            filter: format!("site/{}/client-{number}/commands", number % 1000).into(),
            options: SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() },
            identifier: None,
        };
        let gone = StoreOp::Detached { session: number, at: NOW, sent_before: 0 };
        let made = StoreOp::Session(Box::new(record));
        [made, StoreOp::Subscribed { session: number, subscription }, gone]
    });
    let of_retained = (1..=retained).map(move |number| {
        let topic = format!("site/{}/device-{number}/state", number % 1000);
        let message = message(&topic, number, true);
        StoreOp::Keep { number: sessions + number, what: Kept::Retained, message }
    });
    let of_queues = (0..queued).map(move |number| {
        let session = number % sessions + 1;
        let topic = format!("site/{}/client-{session}/commands", session % 1000);
        let delivery = StoredDelivery {
            message: message(&topic, number, false),
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: Identifiers::None,
            group: None,
        };
        let (owner, sequence) = (Owner::Session(session), number / sessions);
        StoreOp::Enqueue(Box::new(Enqueue { owner, sequence, delivery, round: None }))
    });
    of_sessions.chain(of_retained).chain(of_queues)
}

fn fill(directory: &Path, counts: Counts) {
    let Opened { mut engine, .. } = open(directory);
    let mut operations = operations(counts).peekable();
    while operations.peek().is_some() {
        let ops = operations.by_ref().take(1000).collect();
        engine.apply(WorkerId::new(0), Commit { number: 1, durability: Durability::Interval, ops });
        engine.write().expect("there is room");
        while engine.maintain().expect("there is room") {}
    }
}

fn core(index: usize, budget: &Arc<NodeBudget>) -> Core {
    Core::new(CoreConfig {
        worker: WorkerId::new(index),
        workers: WORKERS,
        seed: SEED,
        secret: [7, 7],
        limits: Arc::new(Limits {
            retained_messages_max: u32::MAX,
            retained_bytes_max: u64::MAX,
            ..Limits::default()
        }),
        budget: Arc::clone(budget),
        policy: Arc::new(AllowAll),
        topics: Arc::new(TopicRules::default()),
        shared_strategy: SharedStrategy::default(),
        shared_backlog: true,
        response_prefix: None,
        tell_drops: false,
        durability: DurabilityRules::default(),
    })
}

fn start(directory: &Path, how: &str, counts: Counts) {
    let before = Instant::now();
    let Opened { mut engine, recovered, .. } = open(directory);
    let opened = Instant::now();
    assert_eq!(recovered.sessions.len() as u64, counts.sessions);
    assert_eq!(recovered.kept.len() as u64, counts.retained);
    let waiting: u64 = recovered.sessions.iter().map(|session| session.queue.messages).sum();
    assert_eq!(waiting, counts.queued);
    let budget = Arc::new(NodeBudget::default());
    let mut cores: Vec<_> = (0..WORKERS).map(|index| core(index, &budget)).collect();
    let mut turns: Vec<_> = cores.iter().map(|_| Turn::new(NOW, WORKERS)).collect();
    let parts = recovered.divide(WORKERS, SEED);
    let tasks = cores.iter_mut().zip(&mut turns).zip(parts);
    side_by_side(tasks, |((core, turn), part)| core.restore(part, turn));
    while carry_out(&mut cores, &mut engine, &mut turns) {}
    for (core, turn) in cores.iter_mut().zip(&mut turns) {
        core.end_restore(turn);
    }
    while carry_out(&mut cores, &mut engine, &mut turns) {}
    let ended = Instant::now();
    println!(
        "{how}: opened in {} ms, taken over in {} ms, {} MiB, at most {} MiB",
        (opened - before).as_millis(),
        (ended - opened).as_millis(),
        resident_mib("VmRSS:"),
        resident_mib("VmHWM:"),
    );
    engine.close().expect("there is room");
}

/// Carries out what the cores have to tell each other and the store. Returns true if there may be
/// more.
fn carry_out(cores: &mut [Core], engine: &mut Engine, turns: &mut [Turn]) -> bool {
    let mut mail: Vec<Vec<_>> = cores.iter().map(|_| Vec::new()).collect();
    for (index, (core, turn)) in cores.iter_mut().zip(&mut *turns).enumerate() {
        let worker = WorkerId::new(index);
        core.end_turn(turn);
        for commit in std::mem::take(&mut turn.fx.commits) {
            engine.apply(worker, commit);
        }
        for (mail, messages) in mail.iter_mut().zip(&mut turn.fx.to_workers) {
            if !messages.is_empty() {
                mail.push((worker, std::mem::take(messages)));
            }
        }
    }
    let is_busy = mail.iter().any(|mail| !mail.is_empty());
    let tasks = cores.iter_mut().zip(turns).zip(mail);
    side_by_side(tasks, |((core, turn), mail)| {
        mail.into_iter().for_each(|(from, messages)| core.handle_batch(from, messages, turn));
    });
    is_busy || cores.iter().any(Core::has_work)
}

/// Does something for each core at the same time, as the broker does.
fn side_by_side<T: Send>(tasks: impl Iterator<Item = T>, run: impl Fn(T) + Sync) {
    let run = &run;
    std::thread::scope(|scope| {
        for task in tasks {
            scope.spawn(move || run(task));
        }
    });
}

/// Returns what the system says in this line about the memory of this process.
fn resident_mib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) >> 10
}
