//! Random histories: whatever happens in between, a start finds everything that was written or
//! synced, and of later commits only whole ones, in order.

use std::sync::Arc;

use midge_core::{Owner, Timestamp, WorkerId};

use super::generator::Generator;
use super::model::Model;
use crate::engine::{Engine, Options};
use crate::error::StoreError;
use crate::recovery::Opened;
use crate::report::{Damage, DamageKind};
use crate::testing::FaultyDisk;
use crate::testing::plain::{describe, fetch_all};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// How a life of the process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Kill,
    PowerCut,
    /// The process is killed, and then the newest checkpoint turns out to be damaged.
    KillAndDamage,
}

struct History {
    seed: u64,
    disk: Arc<FaultyDisk>,
    options: Options,
    engine: Engine,
    generator: Generator,
    /// The states after every commit of this life; the first one is the state that was found.
    states: Vec<Model>,
    written: usize,
    synced: usize,
    cut_is_set: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let disk = Arc::new(FaultyDisk::new(seed));
        let mut generator = Generator::new(seed);
        let checkpoint_bytes = [4_000, 20_000, 60_000][generator.random.below(3)];
        let options = Options { segment_bytes: 4096, checkpoint_bytes, ..Options::default() };
        let Opened { engine, report, .. } = Engine::open(disk.clone(), options, NOW).unwrap();
        assert_eq!(report.damage, []);
        let states = vec![Model::default()];
        Self {
            seed,
            disk,
            options,
            engine,
            generator,
            states,
            written: 0,
            synced: 0,
            cut_is_set: false,
        }
    }

    fn model(&self) -> &Model {
        self.states.last().unwrap()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.generator.random.below(bound)
    }

    fn commit(&mut self) {
        let mut model = self.model().clone();
        let commit = self.generator.commit(&mut model, 8);
        self.engine.apply(WorkerId::new(0), commit);
        self.states.push(model);
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.engine.write()?;
        self.written = self.states.len() - 1;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.engine.sync()?;
        self.synced = self.written;
        Ok(())
    }

    fn step(&mut self) -> Result<(), StoreError> {
        match self.below(20) {
            0..=8 => self.commit(),
            9..=10 => self.write()?,
            11..=13 => {
                self.write()?;
                self.sync()?;
            }
            14..=16 => {
                self.engine.maintain()?;
            }
            17 => self.compact()?,
            18 => {
                while self.engine.maintain()? {}
                self.engine.write_checkpoint_at_once()?;
            }
            _ => self.compare_some_queue(),
        }
        Ok(())
    }

    /// Empties any segment, however much is alive in it.
    fn compact(&mut self) -> Result<(), StoreError> {
        let segments = self.engine.writer.journal.segments();
        let segment = segments[self.below(segments.len())];
        if self.engine.compaction.is_none()
            && segment < self.engine.writer.journal.current_segment()
        {
            self.engine.start_compaction(segment);
            while !self.generator.random.one_in(4) && self.engine.continue_compaction()? {}
        }
        Ok(())
    }

    fn compare_some_queue(&mut self) {
        if self.cut_is_set {
            return;
        }
        let owners = self.model().owners();
        if !owners.is_empty() {
            let owner = owners[self.below(owners.len())];
            self.compare_queue(owner);
        }
    }

    fn compare_queue(&mut self, owner: Owner) {
        let found = fetch_all(&mut self.engine, owner, &mut self.generator.random);
        assert_eq!(found, self.model().messages(owner), "seed {}", self.seed);
        let bytes_max = self.below(3000);
        let (entries, _) = self.engine.fetch_entries(owner, 0, 20, bytes_max);
        let sizes = entries.iter().flat_map(|entry| &entry.delivery);
        let bytes: usize = sizes.map(|delivery| delivery.message.size()).sum();
        assert!(bytes <= bytes_max || entries.len() == 1, "{bytes} bytes of {bytes_max}");
    }

    fn damaged_snapshot(&mut self) -> FaultyDisk {
        let disk = self.disk.snapshot();
        let names = disk.names();
        let is_whole = |name: &&String| name.len() == "checkpoint-".len() + 16;
        let checkpoints = names.iter().filter(|name| name.starts_with("checkpoint-"));
        if let Some(newest) = checkpoints.filter(is_whole).max() {
            let bits = disk.read(newest).unwrap().len() * 8;
            disk.flip_bit(newest, self.below(bits)).unwrap();
        }
        disk
    }

    /// Ends this life and begins the next one.
    fn reopen(&mut self, end: End) {
        let first = match end {
            _ if self.cut_is_set => self.synced,
            End::Close | End::Kill | End::KillAndDamage => self.written,
            End::PowerCut => self.synced,
        };
        let (disk, first) = match end {
            End::Close if !self.cut_is_set => {
                let fresh = Engine::open(Arc::new(FaultyDisk::new(0)), self.options, NOW).unwrap();
                std::mem::replace(&mut self.engine, fresh.engine).close().unwrap();
                (self.disk.snapshot(), self.states.len() - 1)
            }
            End::Kill if !self.cut_is_set => (self.disk.snapshot(), first),
            End::KillAndDamage if !self.cut_is_set => (self.damaged_snapshot(), first),
            _ => (self.disk.power_cut(), first),
        };
        self.cut_is_set = false;
        self.disk = Arc::new(disk);
        let opened = Engine::open(self.disk.clone(), self.options, NOW);
        let Opened { engine, recovered, report, .. } =
            opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        let is_expected = |damage: &Damage| {
            let is_checkpoint = damage.kind == DamageKind::BadCheckpoint;
            damage.kind.is_harmless() || matches!(end, End::KillAndDamage) && is_checkpoint
        };
        let is_sound = report.damage.iter().all(is_expected);
        assert!(is_sound, "seed {} {end:?}: {:#?}", self.seed, report.damage);
        self.engine = engine;
        let found = describe(&recovered, &mut self.engine, &mut self.generator.random);
        assert_eq!(self.engine.take_damage(), [], "seed {}", self.seed);
        let mut states = std::mem::take(&mut self.states);
        let mut expected = states.split_off(first);
        expected.iter_mut().for_each(Model::begin_boot);
        let Some(index) = expected.iter().rposition(|state| state.describe() == found) else {
            let seed = self.seed;
            let nearest = expected[0].describe();
            panic!(
                "seed {seed} {end:?}: no state of {} fits\n{found:#?}\n{nearest:#?}",
                expected.len()
            );
        };
        self.states = vec![expected.swap_remove(index)];
        (self.written, self.synced) = (0, 0);
        self.generator.forget();
    }
}

#[test]
fn a_start_finds_everything_that_was_written() {
    for seed in 0..150 {
        let mut history = History::new(seed);
        for _ in 0..4 {
            for _ in 0..history.below(120) {
                history.step().unwrap();
            }
            for owner in history.model().owners() {
                history.compare_queue(owner);
            }
            let end = [End::Close, End::Kill, End::KillAndDamage][history.below(3)];
            history.reopen(end);
        }
    }
}

#[test]
fn a_sync_that_fails_ends_this_life_and_takes_nothing_that_was_synced() {
    for seed in 20_000..20_200 {
        let mut history = History::new(seed);
        for _ in 0..3 {
            let steps = history.below(60);
            for step in 0..100 {
                if step == steps {
                    history.disk.fail_next_sync();
                }
                if history.step().is_err() {
                    break;
                }
            }
            // What was written without being synced may be gone although nobody cut the power.
            history.written = history.synced;
            let end = if history.below(2) == 0 { End::Kill } else { End::PowerCut };
            history.reopen(end);
        }
    }
}

#[test]
fn a_power_cut_takes_nothing_that_was_synced_and_leaves_whole_commits() {
    for seed in 10_000..11_200 {
        let mut history = History::new(seed);
        for _ in 0..3 {
            let operations = history.below(60) as u64;
            history.disk.cut_after(operations);
            history.cut_is_set = true;
            for _ in 0..history.below(60) {
                if history.step().is_err() {
                    break;
                }
            }
            if history.below(4) == 0 {
                // Cut the power once more while the store is being opened.
                let disk = history.disk.power_cut();
                disk.cut_after(history.below(12) as u64);
                let disk = Arc::new(disk);
                drop(Engine::open(disk.clone(), history.options, NOW));
                history.disk = disk;
            }
            history.reopen(End::PowerCut);
        }
    }
}
