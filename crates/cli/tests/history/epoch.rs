//! One epoch: a broker, its Clients, its nemesis, and the judgement.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use midge_codec::{ProtocolVersion, QoS, SubscriptionOptions};

use crate::actor::Actor;
use crate::check::{self, Found};
use crate::common::broker::{Home, Keeping};
use crate::common::disk_calls::DiskCalls;
use crate::common::random::Random;
use crate::device::Device;
use crate::habits::{self, Habits};
use crate::history::{self, History, OutageKind, SECOND, Tables};
use crate::nemesis::{Mood, Nemesis};
use crate::scene::{Phase, Scene};

/// How long everything may take to settle.
const SETTLING_MAX: Duration = Duration::from_secs(40);
/// How long to wait without any message while something is missing.
const QUIET_MAX: Duration = Duration::from_secs(12);
/// How many violations of each kind are told in full, and how many lines of each.
const TOLD: usize = 3;
const STORY_LINES: usize = 60;

/// Queues hold what arrives while a Client is away, but have no room for expired messages.
const SETTINGS: &[(&str, &str)] =
    &[("MIDGE_LIMITS_QUEUE_BYTES_MAX", "4000000"), ("MIDGE_LIMITS_RECEIVE_MAXIMUM", "60")];

pub(crate) struct Epoch {
    seed: u64,
    chaos: Duration,
    workers: usize,
    pace_ms: u32,
    mood: Mood,
    cast: Vec<Habits>,
    random: Random,
}

/// The results of one or several epochs.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    label: String,
    epochs: usize,
    outages: HashMap<&'static str, usize>,
    acknowledged: usize,
    deliveries: usize,
    connections: usize,
}

impl Epoch {
    pub(crate) fn new(seed: u64, chaos: Duration, is_long: bool) -> Self {
        let mut random = Random::new(seed).fork("epoch");
        // Successive epochs differ in these, so that a few of them cover all values.
        let workers = [1, 2, 4][(seed / 2 % 3) as usize];
        let pace_ms = [8, 0, 50][(seed % 3) as usize];
        let mood = Mood::ALL[(seed % 4) as usize];
        let is_heavy = is_long && random.once_in(3);
        let cast = habits::cast(&mut random, is_heavy);
        Self { seed, chaos, workers, pace_ms, mood, cast, random }
    }

    /// Plays the epoch; panics with everything that is known if anything is wrong.
    pub(crate) fn play(mut self) -> Summary {
        let mut home = Home::new(Keeping::Data, self.workers, &[], &mut self.random);
        home.settings = SETTINGS.to_vec();
        let calls = Arc::new(DiskCalls::new());
        home.calls = Some(Arc::clone(&calls));
        let history = History::new(calls);
        let scene = Arc::new(Scene::new(history, home.port(), self.cast.len()));
        scene.history.lock().clients = self
            .cast
            .iter()
            .map(|it| history::Actor {
                id: it.id.clone(),
                is_prompt: it.is_prompt(),
                is_v5: it.is_v5(),
            })
            .collect();
        let random = self.random.fork("nemesis");
        let mut nemesis = Nemesis::new(home, &scene, random, self.pace_ms, self.mood);
        thread::scope(|scope| {
            let _end = EndOfScene(&scene);
            for (client, habits) in self.cast.iter().enumerate() {
                let device = Device::new(client, habits.clone(), &scene, &self.random);
                scope.spawn(move || Actor::new(device).live());
            }
            wait_until(Duration::from_secs(30), || scene.busy() == 0);
            scene.enter(Phase::Chaos);
            nemesis.rage(self.chaos);
            nemesis.relent();
            scene.enter(Phase::Settling);
            self.settle(&scene);
            let (found, asked) = look_at_retained(&scene);
            scene.history.look_at_disk();
            let now = scene.history.now();
            {
                let mut tables = scene.history.lock();
                check::judge(&mut tables, now);
                check::judge_retained(&mut tables, &found, asked, now);
            }
        });
        nemesis.report();
        let tables = scene.history.lock();
        self.conclude(&tables, nemesis.directory());
        self.summary(&tables)
    }

    /// Waits until nobody waits for an answer and nothing is missing, or until it takes too long.
    fn settle(&self, scene: &Scene) {
        let began = Instant::now();
        let mut last = (0, Instant::now());
        while began.elapsed() < SETTLING_MAX {
            thread::sleep(Duration::from_millis(300));
            let now = scene.history.now();
            let (count, missing) = {
                let tables = scene.history.lock();
                (tables.events.len(), check::missing(&tables, now))
            };
            if count != last.0 {
                last = (count, Instant::now());
            }
            let is_quiet = last.1.elapsed() > Duration::from_millis(700);
            if missing == 0 && scene.busy() == 0 && is_quiet {
                return;
            }
            if last.1.elapsed() > QUIET_MAX {
                break;
            }
        }
        let at = scene.history.now();
        let mut tables = scene.history.lock();
        for (client, is_busy) in scene.is_busy.iter().enumerate() {
            if is_busy.load(std::sync::atomic::Ordering::SeqCst) {
                let id = tables.clients[client].id.clone();
                let text = format!("{id} still waits for an answer");
                tables.find("an answer does not come", at, text, &[client], &[]);
            }
        }
    }

    fn label(&self) -> String {
        let Self { workers, pace_ms, mood, cast, .. } = self;
        let (mood, clients) = (mood.name, cast.len());
        format!("{clients} clients, {workers} workers, syncs of {pace_ms} ms, {mood}")
    }

    fn summary(&self, tables: &Tables) -> Summary {
        let mut outages = HashMap::new();
        for outage in &tables.outages {
            *outages.entry(name_of(outage.kind)).or_default() += 1;
        }
        Summary {
            label: format!("{}, ", self.label()),
            epochs: 1,
            outages,
            acknowledged: tables.messages.iter().filter(|it| it.acknowledged.is_some()).count(),
            deliveries: tables.deliveries.len(),
            connections: tables.connections.len(),
        }
    }

    /// Prints everything and panics, if anything is wrong.
    fn conclude(&self, tables: &Tables, directory: &std::path::Path) {
        let violations = &tables.violations;
        if violations.is_empty() {
            return;
        }
        let written = write_history(tables, directory);
        let mut text = format!(
            "seed {}, {}: MIDGE_TEST_SEED={} plays this plan again.\n\
             The broker's files are in {}, the whole history in {}.\n",
            self.seed,
            self.label(),
            self.seed,
            directory.display(),
            written.display()
        );
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for violation in violations {
            let count = counts.entry(violation.rule).or_default();
            *count += 1;
            if *count <= TOLD {
                let at = violation.at as f64 / 1e6;
                text += &format!("{} at {at:.6} s: {}\n", violation.rule, violation.text);
                text += &tables.story(violation, STORY_LINES);
            }
        }
        text += &format!("{} violations: {counts:?}", violations.len());
        panic!("{text}");
    }
}

/// Ends the scene for everybody, also if the play stops early.
struct EndOfScene<'a>(&'a Scene);

impl Drop for EndOfScene<'_> {
    fn drop(&mut self) {
        self.0.enter(Phase::Over);
    }
}

fn name_of(kind: OutageKind) -> &'static str {
    match kind {
        OutageKind::Kill => "kills",
        OutageKind::Term => "orderly ends",
        OutageKind::Stop => "stops",
        OutageKind::Stall => "stalls",
        OutageKind::Disk => "slow calls of the disk",
    }
}

fn write_history(tables: &Tables, directory: &std::path::Path) -> PathBuf {
    let path = directory.join("history");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    for event in &tables.events {
        file.write_all(tables.line(event).as_bytes()).unwrap();
    }
    file.flush().unwrap();
    path
}

fn wait_until(patience: Duration, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Connects a new subscriber that receives the retained messages; also returns when it asked.
fn look_at_retained(scene: &Arc<Scene>) -> (Found, u64) {
    let habits = habits::inspector();
    let client = {
        let mut tables = scene.history.lock();
        let (is_prompt, is_v5) = (true, habits.version == ProtocolVersion::V5);
        tables.clients.push(history::Actor { id: habits.id.clone(), is_prompt, is_v5 });
        tables.clients.len() - 1
    };
    let mut inspector = Device::new(client, habits, scene, &Random::new(1));
    let asked = scene.history.now();
    let mut done = inspector.connect();
    inspector.subscribe("r/#", SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() });
    let mut quiet_since = scene.history.now();
    while done.is_ok() && scene.history.now() < quiet_since + SECOND {
        let soon = Instant::now() + Duration::from_millis(50);
        match inspector.step(soon) {
            Ok(true) => quiet_since = scene.history.now(),
            Ok(false) => (),
            Err(gone) => done = Err(gone),
        }
    }
    let tables = scene.history.lock();
    let own = tables.deliveries.iter().filter(|it| it.client == client);
    let found = own.map(|it| (tables.messages[it.message].topic.clone(), it.message)).collect();
    (found, asked)
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        self.epochs += other.epochs;
        for (name, count) in &other.outages {
            *self.outages.entry(name).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.deliveries += other.deliveries;
        self.connections += other.connections;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} epochs, ", self.label, self.epochs)?;
        for name in ["kills", "orderly ends", "stops", "stalls", "slow calls of the disk"] {
            write!(f, "{} {name}, ", self.outages.get(name).unwrap_or(&0))?;
        }
        let Self { connections, acknowledged, deliveries, .. } = self;
        write!(f, "{connections} connections, {acknowledged} acknowledged, {deliveries} delivered")
    }
}
