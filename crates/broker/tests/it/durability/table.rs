//! From counts to words, and from words to the table in the documentation.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Mutex;
use std::{env, fs, thread};

use midge_broker::Durability;

use super::gate::Pace;
use super::outcome::{Count, Outcome, Tally};
use super::run::{Accident, Setup, run};
use super::scene::Kind;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/durability.md");
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";
const WRITE: &str = "MIDGE_TEST_WRITE_DURABILITY";

/// How many cells are measured at the same time; a run mostly waits.
const PARALLEL: usize = 3;
/// Where a loss is possible, runs are repeated until it is seen, but at most this often.
const RUNS_MAX: u64 = 40;

/// One column of one setup: what happens, and what it may lose up to the last interval.
struct Cell {
    setup: Setup,
    accidents: Vec<Accident>,
    /// How often each accident happens at least.
    runs: u64,
    /// What has to be seen lost, to prove that a loss would be seen.
    losable: Vec<Count>,
    /// What the table says something about. Where the machine is busy, an accident can come before
    /// any of it was promised.
    shown: Vec<Count>,
}

const COLUMNS: [&[Accident]; 4] = [
    &[Accident::Kill],
    &[Accident::PowerCut],
    &[Accident::DiskFull, Accident::KillWhenFull],
    &[Accident::FailedSync],
];

const ROWS: [(Count, &str); 6] = [
    (Count::Promised(Kind::Message, 0), "messages of QoS 1 and QoS 2"),
    (Count::Promised(Kind::Retained, 0), "retained messages"),
    (Count::Promised(Kind::Subscription, 0), "subscriptions, with their Sessions"),
    (Count::Promised(Kind::Will, 0), "Will Messages of connected Clients"),
    (Count::Promised(Kind::Gone, 0), "that a Session is gone (CONNACK, Session Present 0)"),
    (Count::Repeated(0), "(QoS 2 messages delivered twice)"),
];

#[test]
fn the_document_says_what_each_level_loses() {
    let (levels, overrides) = (levels(), overrides());
    let cells: VecDeque<_> = levels.iter().chain(&overrides).collect();
    let count = cells.len();
    let (todo, done) = (Mutex::new(cells.into_iter().enumerate()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let Some((index, cell)) = todo.lock().unwrap().next() else {
                        return;
                    };
                    let outcome = cell.measure(index as u64);
                    done.lock().unwrap().push((index, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    assert_eq!(done.len(), count);
    done.sort_by_key(|(index, _)| *index);
    let outcomes: Vec<_> = done.into_iter().map(|(_, outcome)| outcome).collect();
    let (of_levels, of_overrides) = outcomes.split_at(levels.len());
    let text = format!("{}\n{}", levels_table(of_levels), overrides_table(of_overrides));
    compare(&text);
}

/// The table is about what is lost, and a slow disk must lose no more.
#[test]
fn r9_a_slow_disk_loses_nothing_of_what_was_promised_with_fsync() {
    const STALLS: Pace = Pace::each(1).with_stalls(40, 2_000);
    thread::scope(|scope| {
        for (pace, accident) in [
            (Pace::each(1), Accident::PowerCut),
            (Pace::each(8), Accident::Kill),
            (Pace::each(8), Accident::PowerCut),
            (Pace::each(8), Accident::DiskFull),
            (Pace::each(50), Accident::Kill),
            (Pace::each(50), Accident::FailedSync),
            (STALLS, Accident::Kill),
            (STALLS, Accident::PowerCut),
        ] {
            scope.spawn(move || loses_nothing(pace, accident));
        }
    });
}

fn loses_nothing(pace: Pace, accident: Accident) {
    let setup = Setup {
        durability: Durability::Fsync,
        listeners: vec![None],
        topics: Vec::new(),
        groups: vec![(0, "plain", Durability::Fsync)],
        publishers: 2,
        pace,
    };
    let cell = Cell {
        setup,
        accidents: vec![accident],
        runs: 1,
        losable: vec![],
        shown: ROWS.map(|row| row.0).to_vec(),
    };
    let outcome = cell.measure(pace.sync_ms);
    for (count, what) in ROWS {
        let words = in_words(count, outcome.tally(count));
        assert!(["nothing", "none"].contains(&words), "{pace:?}, {what}: {words} lost");
    }
}

fn levels() -> Vec<Cell> {
    let mut cells = Vec::new();
    for durability in [Durability::Fsync, Durability::Interval, Durability::Memory] {
        let setup = Setup {
            durability,
            listeners: vec![None],
            topics: Vec::new(),
            groups: vec![(0, "plain", durability)],
            publishers: 2,
            pace: Pace::default(),
        };
        for accidents in COLUMNS {
            let loses = matches!(accidents[0], Accident::PowerCut | Accident::FailedSync);
            let is_interval = durability == Durability::Interval;
            let losable =
                if is_interval && loses { ROWS.map(|row| row.0).to_vec() } else { vec![] };
            // Without a store, a full device has no further consequences.
            let accidents = match durability {
                Durability::Memory => accidents[..1].to_vec(),
                _ => accidents.to_vec(),
            };
            let runs = if durability == Durability::Fsync { 3 } else { 2 };
            let (setup, shown) = (setup.clone(), ROWS.map(|row| row.0).to_vec());
            cells.push(Cell { setup, accidents, runs, losable, shown });
        }
    }
    cells
}

const OVERRIDES: [(usize, usize, &str); 6] = [
    (0, 0, "`fsync`, and nothing else said | any"),
    (0, 1, "`fsync`, but `memory` for the topics `noise/#` | to `noise/hum`"),
    (0, 2, "`fsync`, but `interval` for a listener | by that listener"),
    (0, 3, "`fsync`, but `memory` for a listener | by that listener"),
    (1, 0, "`memory`, but `fsync` for the topics `vital/#` | to `vital/signs`"),
    (1, 1, "`memory`, but `fsync` for the topics `vital/#` | to any other topic"),
];

fn overrides() -> Vec<Cell> {
    let (fsync, interval) = (Durability::Fsync, Durability::Interval);
    let memory = Durability::Memory;
    let strong = Setup {
        durability: fsync,
        listeners: vec![None, Some(interval), Some(memory)],
        topics: vec![("noise/#", memory)],
        groups: vec![
            (0, "plain", fsync),
            (0, "noise/hum", memory),
            (1, "slow", interval),
            (2, "light", memory),
        ],
        publishers: 1,
        pace: Pace::default(),
    };
    let weak = Setup {
        durability: memory,
        listeners: vec![None],
        topics: vec![("vital/#", fsync)],
        groups: vec![(0, "vital/signs", fsync), (0, "plain", memory)],
        publishers: 1,
        pace: Pace::default(),
    };
    let by_interval = vec![Count::Promised(Kind::Message, 2)];
    let messages_of = |setup: &Setup| {
        (0..setup.groups.len()).map(|group| Count::Promised(Kind::Message, group)).collect()
    };
    let cell = |setup: &Setup, accident, losable| Cell {
        setup: setup.clone(),
        accidents: vec![accident],
        runs: 2,
        losable,
        shown: messages_of(setup),
    };
    vec![
        cell(&strong, Accident::Kill, vec![]),
        cell(&strong, Accident::PowerCut, by_interval),
        cell(&weak, Accident::Kill, vec![]),
        cell(&weak, Accident::PowerCut, vec![]),
    ]
}

impl Cell {
    fn measure(&self, seed: u64) -> Outcome {
        let mut outcome = Outcome::default();
        for number in 0..RUNS_MAX {
            let is_proven = outcome.has_lost(&self.losable) && outcome.had_at_stake(&self.shown);
            if number >= self.runs && is_proven {
                break;
            }
            for accident in &self.accidents {
                outcome.merge(&run(&self.setup, *accident, 1000 * seed + number));
            }
        }
        outcome
    }
}

fn levels_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| level | what was acknowledged | `kill -9` | power cut | full disk | \
         failed fsync |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let levels = ["`fsync`", "`interval`", "`memory`"];
    for (level, outcomes) in levels.into_iter().zip(outcomes.chunks(COLUMNS.len())) {
        for (count, what) in ROWS {
            let words = outcomes.iter().map(|outcome| in_words(count, outcome.tally(count)));
            let words: Vec<_> = words.collect();
            writeln!(text, "| {level} | {what} | {} |", words.join(" | ")).unwrap();
        }
    }
    text
}

fn overrides_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| broker | message of QoS 1 or QoS 2 | lost by `kill -9` | lost by a power cut |\n\
         | --- | --- | --- | --- |\n",
    );
    for (setup, group, what) in OVERRIDES {
        let count = Count::Promised(Kind::Message, group);
        let of = |column: usize| in_words(count, outcomes[2 * setup + column].tally(count));
        writeln!(text, "| {what} | {} | {} |", of(0), of(1)).unwrap();
    }
    text
}

/// Returns the counts in words.
fn in_words(count: Count, tally: Tally) -> &'static str {
    let Tally { at_stake, lost, lost_older } = tally;
    assert!(at_stake > 0, "{count:?}: nothing was at stake");
    let is_message = matches!(count, Count::Promised(Kind::Message, _));
    match (lost, lost_older) {
        (0, _) if matches!(count, Count::Repeated(_)) => "none",
        (0, _) => "nothing",
        _ if lost == at_stake && is_message => "everything not yet delivered",
        _ if lost == at_stake => "everything",
        (_, 0) => "up to the last interval",
        _ => panic!("{count:?}: lost {lost} of {at_stake}, of them {lost_older} that were older"),
    }
}

fn compare(measured: &str) {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        rest.split_once(END).map(|(written, after)| (before, written, after))
    });
    let (before, written, after) = parts.expect("docs/durability.md marks where the tables are");
    if env::var_os(WRITE).is_some() {
        fs::write(DOCUMENT, format!("{before}{BEGIN}{measured}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == measured,
        "docs/durability.md says something else than what was measured; if the measured is right, \
         write it there: {WRITE}=1 cargo test -p midge-broker --test it durability::table\n\
         \n--- written\n{written}\n--- measured\n{measured}"
    );
}
