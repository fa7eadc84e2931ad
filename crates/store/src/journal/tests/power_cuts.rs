//! Power cuts at any moment, also in the middle of recovering from one. Everything synced is there;
//! everything found was appended, in order and whole; nothing of it is called damage.

use super::*;

/// What a journal has been given, and how much of it must survive.
struct Story {
    seed: u64,
    random: Random,
    disk: Arc<FaultyDisk>,
    journal: Journal,
    segment_bytes: u64,
    commits: Vec<Vec<Record>>,
    written: usize,
    synced: usize,
    /// Where replay begins, and how many commits are before that place.
    from: Option<(Location, usize)>,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let segment_bytes = random.within(256..1500) as u64;
        let disk = Arc::new(FaultyDisk::new(random.next()));
        let journal = open(&disk, segment_bytes).journal;
        Self {
            seed,
            random,
            disk,
            journal,
            segment_bytes,
            commits: Vec::new(),
            written: 0,
            synced: 0,
            from: None,
        }
    }

    /// Does something at random. An error ends the life of the journal.
    fn step(&mut self) -> Result<(), StoreError> {
        match self.random.below(16) {
            0..5 => self.append(),
            5..8 => self.write()?,
            8 | 9 => self.sync()?,
            10 => self.journal.keep_spare()?,
            11 => {
                if self.random.one_in(2) {
                    self.journal.drop_spare();
                }
            }
            12 => self.checkpoint()?,
            13 => self.run_full()?,
            14 => {
                if self.random.one_in(6) {
                    self.disk.fail_next_sync();
                }
            }
            _ => self.read_something(),
        }
        Ok(())
    }

    fn append(&mut self) {
        self.journal.begin_commit();
        let mut records = Vec::new();
        let most = if self.random.one_in(8) { 30 } else { 5 };
        for _ in 0..self.random.within(1..most) {
            let size = if self.random.one_in(20) { 3000 } else { 120 };
            let tag = self.random.within(16..40) as u8;
            let body = any_body(&mut self.random, size);
            records.push((append(&mut self.journal, tag, &body), tag, body));
        }
        self.journal.end_commit();
        self.commits.push(records);
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.journal.write()?;
        self.written = self.commits.len();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.journal.sync()?;
        self.synced = self.written;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.write()?;
        self.sync()?;
        if self.random.one_in(2) {
            self.from = Some((self.journal.end(), self.commits.len()));
        }
        let first = self.from.map_or(0, |(from, _)| from.segment());
        for segment in self.journal.segments() {
            if segment < first && self.random.one_in(2) {
                self.journal.remove_segment(segment)?;
            }
        }
        Ok(())
    }

    /// Leaves the disk without room for a while.
    fn run_full(&mut self) -> Result<(), StoreError> {
        self.disk.set_capacity(self.disk.used() + self.random.below(3000) as u64);
        self.append();
        let result = self.write();
        self.disk.set_capacity(u64::MAX);
        match result {
            Err(StoreError::Full) => Ok(()),
            other => other,
        }
    }

    fn read_something(&mut self) {
        let first = self.from.map_or(0, |(_, count)| count);
        if first < self.commits.len() {
            let commit = self.random.within(first..self.commits.len());
            let mut body = Vec::new();
            for (at, tag, expected) in &self.commits[commit] {
                match self.journal.read(*at, &mut body) {
                    Ok(found) => assert_eq!((found, &body), (*tag, expected), "{self}"),
                    // Either the power is cut, or a failed sync has lost the record.
                    Err(damage) => {
                        let excused = self.journal.fatal.is_some() || self.disk.list().is_err();
                        assert!(excused, "{self}: {damage}");
                    }
                }
            }
        }
    }

    /// Opens what is found, with more power cuts meanwhile.
    fn recover(&mut self, mut cuts: usize) {
        let from = self.from.map(|(from, _)| from);
        let opened = loop {
            if cuts > 0 {
                self.disk.cut_after(self.random.below(16) as u64);
            }
            match try_open(&self.disk, self.segment_bytes, from) {
                Ok(opened) => break opened,
                // A failed sync makes opening fail, and the broker is started once more.
                Err(error) if error.to_string().contains("os error 5") => continue,
                Err(error) => assert!(cuts > 0, "{self}: {error}"),
            }
            cuts -= 1;
            self.disk = Arc::new(self.disk.power_cut());
        };
        let Opened { mut journal, report, visited } = opened;
        assert!(report.is_sound() && report.quarantined.is_empty(), "{self}: {report:?}");
        let first = self.from.map_or(0, |(_, count)| count);
        let expected: Vec<_> = self.commits[first..].iter().flatten().collect();
        let same = expected.iter().zip(&visited).all(|(expected, visited)| *expected == visited);
        assert!(same && visited.len() <= expected.len(), "{self}: not what was appended");
        let mut whole = first;
        let mut records = 0;
        while records < visited.len() {
            records += self.commits[whole].len();
            whole += 1;
        }
        assert_eq!(records, visited.len(), "{self}: a part of a commit");
        assert!(whole >= self.synced, "{self}: {whole} of {} synced commits", self.synced);
        self.commits.truncate(whole);
        (self.written, self.synced) = (whole, whole);
        if journal.fatal.is_none() && cuts == 0 {
            assert_readable(&mut journal, &visited);
        }
        self.journal = journal;
    }

    fn cut_power(&mut self) {
        self.disk = Arc::new(self.disk.power_cut());
        let cuts = self.random.below(3);
        self.recover(cuts);
    }
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}", self.seed)
    }
}

fn live(seed: u64) -> (usize, u32) {
    let mut story = Story::begin(seed);
    for _ in 0..story.random.within(2..6) {
        if story.random.one_in(2) {
            story.disk.cut_after(story.random.below(60) as u64);
        }
        for _ in 0..story.random.below(40) {
            if story.step().is_err() {
                break;
            }
        }
        // The process may be killed and start again before the power is cut.
        if story.random.one_in(3) && story.disk.list().is_ok() {
            story.disk.cut_after(u64::MAX / 2);
            story.recover(0);
        }
        story.cut_power();
    }
    (story.commits.len(), story.journal.current_segment())
}

#[test]
fn no_power_cut_loses_what_was_synced_or_is_called_damage() {
    let seeds = match std::env::var("MIDGE_STORE_SEEDS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => 3000,
    };
    let (mut commits, mut segments) = (0, 0);
    for seed in 0..seeds {
        let (some, last) = live(seed);
        commits += some;
        segments += u64::from(last);
    }
    // The stories must not have become idle.
    assert!(commits as u64 > 10 * seeds && segments > 10 * seeds, "{commits}, {segments}");
}

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in 0..20 {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
}
