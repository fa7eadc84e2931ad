//! How much memory the process takes, how much of that is in use, and how much it may take.
//!
//! The limit is about the memory that the operating system says the process takes. But an allocator
//! keeps memory that was freed after a peak, and that must not count as if somebody held it. A
//! program that says how much its allocator has given out ([`Allocator`]) is judged by that. For
//! others the workers add up what they hold when memory seems short; memory that is neither held
//! nor the program's own is spare. The workers that have work read the gauge often, because a peak
//! takes only milliseconds.

mod memory_log;
pub(crate) mod share;
pub(crate) mod unfinished;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use midge_core::{MemoryPressure, WorkerId};

use crate::memory::memory_log::MemoryLog;

/// The allocator of the program, for the limit `memory_bytes_max`.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// Returns how many bytes the program has asked for and not given back. It is called up to 200
    /// times a second while the broker has work.
    pub allocated_bytes: fn() -> u64,
    /// Gives back to the operating system what the calling thread can spare. It is called a few
    /// times a second while memory is short.
    pub give_back: fn(),
}

/// What workers are told of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) pressure: MemoryPressure,
    /// Bytes that all workers together have to give up.
    pub(crate) shed_bytes: u64,
    /// The number of this request for figures, for [`MemoryGauge::note_held`].
    pub(crate) round: u64,
}

/// The resident memory of the process against the limit `memory_bytes_max`.
#[derive(Debug)]
pub(crate) struct MemoryGauge {
    limit: u64,
    allocator: Option<Allocator>,
    /// What the program took before there was a broker.
    program: u64,
    /// `program`, plus what a broker takes without clients.
    own: u64,
    started: Instant,
    looked_at_ms: AtomicU64,
    held: Box<[Held]>,
    state: Mutex<State>,
}

/// How much a worker has said that it holds, and in which round.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicU64,
    round: AtomicU64,
}

#[derive(Debug)]
struct State {
    resident: Resident,
    pressure: MemoryPressure,
    log: MemoryLog,
    told_at_ms: u64,
    /// When something was shed last.
    shed_at_ms: Option<u64>,
    round: u64,
    /// The last round whose figures were used, from all workers. After a newer round begins they
    /// are old.
    counted_round: u64,
    /// Since when QoS 0 messages are dropped and publishers wait.
    severe_since_ms: Option<u64>,
    /// Bytes that the process takes and nobody holds; `resident_then` is what it took when that was
    /// found.
    spare: u64,
    resident_then: u64,
    /// There while the process takes nearly all that it may.
    heat: Option<Heat>,
    /// The process has grown since, so new figures are wanted.
    is_doubtful: bool,
}

/// A time in which the process takes nearly all that it may, whoever holds it.
#[derive(Clone, Copy, Debug)]
struct Heat {
    since_ms: u64,
    /// The most that it has taken by the time at which the allocator must have given back what it
    /// can.
    resident: u64,
}

impl MemoryGauge {
    /// The shortest time between two looks, however busy the workers are.
    const LOOK_MS: u64 = 5;
    /// The time between two letters to the workers while memory is short, and while it is very
    /// short.
    const TELL_MS: u64 = 1_000;
    const TELL_CRITICAL_MS: u64 = 250;
    /// The shortest time between two times at which something is shed.
    const SHED_MS: u64 = 250;
    /// How long publishers wait for memory to become free by itself before some is shed.
    const PATIENCE_MS: u64 = 2_000;
    /// How long nothing may be added although nobody holds what the process takes.
    const COOLING_MS: u64 = 1_500;
    /// What a broker takes without clients, and what each of its workers adds.
    const BROKER_BYTES: u64 = 6 << 20;
    const WORKER_BYTES: u64 = 1 << 20;
    /// Shares of the limit in percent. Above `DOUBT`, figures are doubted once the process grows;
    /// above `BEYOND`, nobody waits for new figures.
    const DOUBT: u64 = 85;
    const BEYOND: u64 = 95;
    /// The part of the limit by which a process has to have grown to count as growing.
    const GROWTH_PARTS: u64 = 64;
    /// Memory is shed down to this share of the limit in percent.
    const SHED_TO: u64 = 60;

    /// Makes a gauge. `limit` is in bytes, 0 as [`resolve`] says; `program` is what the program
    /// takes by itself.
    pub(crate) fn new(
        limit: u64,
        program: u64,
        workers: usize,
        allocator: Option<Allocator>,
    ) -> Self {
        let state = State {
            resident: Resident::new(),
            pressure: MemoryPressure::None,
            log: MemoryLog::new(),
            told_at_ms: 0,
            shed_at_ms: None,
            round: 0,
            counted_round: 0,
            severe_since_ms: None,
            spare: 0,
            resident_then: 0,
            heat: None,
            is_doubtful: false,
        };
        Self {
            limit: resolve(limit),
            allocator,
            program,
            own: program + Self::BROKER_BYTES + workers as u64 * Self::WORKER_BYTES,
            started: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
            held: (0..workers).map(|_| Held::default()).collect(),
            state: Mutex::new(state),
        }
    }

    /// Looks at the memory, if it is time. Returns what the workers have to be told, if anything.
    pub(crate) fn look(&self) -> Option<Shortage> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_at_ms = self.looked_at_ms.load(Ordering::Relaxed);
        if now_ms < looked_at_ms + Self::LOOK_MS {
            return None;
        }
        self.looked_at_ms.store(now_ms, Ordering::Relaxed);
        // Another thread may be looking already.
        let mut state = self.state.try_lock().ok()?;
        let resident = state.resident.bytes()?;
        self.judge(&mut state, resident, now_ms)
    }

    /// Notes how much a worker holds, in answer to the request of this round.
    pub(crate) fn note_held(&self, worker: WorkerId, bytes: u64, round: u64) {
        let held = &self.held[worker.index()];
        held.bytes.store(bytes, Ordering::Relaxed);
        held.round.store(round, Ordering::Release);
    }

    /// Returns which part of `shed_bytes` a worker has to shed that holds `own_bytes`.
    pub(crate) fn share_of(&self, shed_bytes: u64, own_bytes: u64) -> u64 {
        let all = self.held_bytes().max(own_bytes).max(1);
        let share = u128::from(shed_bytes) * u128::from(own_bytes) / u128::from(all);
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn held_bytes(&self) -> u64 {
        self.held.iter().map(|held| held.bytes.load(Ordering::Relaxed)).sum()
    }

    fn judge(&self, state: &mut State, resident: u64, now_ms: u64) -> Option<Shortage> {
        let is_high = pressure_of(resident, self.limit) > MemoryPressure::None;
        match self.in_use() {
            Some(in_use) => self.note_in_use(state, resident, in_use),
            None => self.find_spare(state, resident, is_high),
        }
        let taken = resident.saturating_sub(state.spare);
        let mut pressure = pressure_of(taken, self.limit);
        // Spare pages are used again, but not every page for every purpose: beyond the limit nobody
        // relies on them.
        if pressure > MemoryPressure::None && resident > self.limit {
            pressure = MemoryPressure::Critical;
        }
        pressure = pressure.max(self.heat(state, resident, pressure, now_ms));
        let since = state.severe_since_ms.take().unwrap_or(now_ms);
        if pressure >= MemoryPressure::Severe {
            state.severe_since_ms = Some(since);
        }
        let pause = if pressure == MemoryPressure::Critical {
            Self::TELL_CRITICAL_MS
        } else {
            Self::TELL_MS
        };
        let is_time = now_ms >= state.told_at_ms + pause;
        let is_patient = now_ms < since + Self::PATIENCE_MS;
        let is_counted = state.round > 0 && state.counted_round == state.round;
        // Only present figures may decide who has to go; above the last line there is no time for
        // that.
        let may_shed = is_counted && !state.is_doubtful || self.is_beyond(state, resident);
        // Memory that was shed is not free at once.
        let sheds = may_shed
            && state.shed_at_ms.is_none_or(|shed_at_ms| now_ms >= shed_at_ms + Self::SHED_MS)
            && match pressure {
                MemoryPressure::Critical => true,
                MemoryPressure::Severe => !is_patient,
                _ => false,
            };
        state.log.note(pressure, now_ms, taken, self.limit);
        if pressure == state.pressure && !(is_high && is_time) && !(sheds && is_counted) {
            return None;
        }
        (state.pressure, state.told_at_ms) = (pressure, now_ms);
        state.round += 1;
        let excess = taken.saturating_sub(self.limit / 100 * Self::SHED_TO);
        let shed_bytes = if sheds { excess } else { 0 };
        if sheds {
            state.shed_at_ms = Some(now_ms);
            state.heat = None;
        }
        Some(Shortage { pressure, shed_bytes, round: state.round })
    }

    /// Returns the pressure from what the process takes, whoever holds it. First nothing may be
    /// added until the allocator has had the time to give back what nobody holds. What it keeps
    /// then may stay, but it is of no use to those who make the process take still more.
    fn heat(
        &self,
        state: &mut State,
        resident: u64,
        pressure: MemoryPressure,
        now_ms: u64,
    ) -> MemoryPressure {
        if pressure_of(resident, self.limit) < MemoryPressure::Critical {
            state.heat = None;
            return MemoryPressure::None;
        }
        let heat = state.heat.get_or_insert(Heat { since_ms: now_ms, resident });
        if now_ms < heat.since_ms + Self::COOLING_MS {
            heat.resident = heat.resident.max(resident);
            return MemoryPressure::Severe;
        }
        let grows = resident > heat.resident + self.limit / Self::GROWTH_PARTS;
        if grows && pressure > MemoryPressure::None {
            MemoryPressure::Critical
        } else {
            MemoryPressure::None
        }
    }

    /// Returns the bytes in use, if the program says what its allocator has given out.
    fn in_use(&self) -> Option<u64> {
        let allocated = (self.allocator?.allocated_bytes)();
        // An allocator rounds up.
        Some(self.program + allocated + allocated / 8)
    }

    fn note_in_use(&self, state: &mut State, resident: u64, in_use: u64) {
        state.spare = resident.saturating_sub(in_use);
        if self.has_answers(state) {
            state.counted_round = state.round;
        }
    }

    /// Returns whether all workers have answered the last request.
    fn has_answers(&self, state: &State) -> bool {
        let answered = |held: &Held| held.round.load(Ordering::Acquire) == state.round;
        state.round > state.counted_round && self.held.iter().all(answered)
    }

    /// Has the allocator give back what it keeps for the calling thread.
    pub(crate) fn give_back(&self) {
        match self.allocator {
            Some(allocator) => (allocator.give_back)(),
            None => nudge_allocator(),
        }
    }

    /// Finds how much memory nobody holds, once all workers have answered. This is found anew while
    /// memory seems to be short.
    fn find_spare(&self, state: &mut State, resident: u64, is_high: bool) {
        if !is_high {
            state.spare = 0;
            return;
        }
        if self.has_answers(state) {
            state.counted_round = state.round;
            // An allocator needs a quarter more than it was asked for.
            let held = self.held_bytes() / 4 * 5;
            state.spare = resident.saturating_sub(held + self.own);
            state.resident_then = resident;
            state.is_doubtful = false;
        }
        // A process that grows although memory is spare may hold something that was not counted.
        if self.has_grown(state, resident) && resident > self.limit / 100 * Self::DOUBT {
            state.spare = 0;
            state.is_doubtful = true;
        }
    }

    fn has_grown(&self, state: &State, resident: u64) -> bool {
        resident > state.resident_then + self.limit / Self::GROWTH_PARTS
    }

    /// Returns whether the process takes so much, and more and more, that it does not matter who
    /// holds it.
    fn is_beyond(&self, state: &State, resident: u64) -> bool {
        state.is_doubtful && resident > self.limit / 100 * Self::BEYOND
    }
}

fn pressure_of(taken: u64, limit: u64) -> MemoryPressure {
    match taken.saturating_mul(100) / limit.max(1) {
        0..60 => MemoryPressure::None,
        60..75 => MemoryPressure::High,
        75..85 => MemoryPressure::Severe,
        _ => MemoryPressure::Critical,
    }
}

/// Returns the limit in bytes; for 0, three quarters of what the machine or its control group has.
pub(crate) fn resolve(limit: u64) -> u64 {
    if limit > 0 { limit } else { available_bytes() / 4 * 3 }
}

/// Returns the resident memory of this process now; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    Resident::new().bytes().unwrap_or(0)
}

/// Where the operating system tells the resident memory, in the shortest form that it has.
#[derive(Debug)]
struct Resident {
    file: Option<File>,
    page_bytes: u64,
}

impl Resident {
    fn new() -> Self {
        let mut resident = Self { file: File::open("/proc/self/statm").ok(), page_bytes: 4096 };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let (Some(bytes), Some(pages)) = (kibibytes_of(&status, "VmRSS:"), resident.pages()) {
            let is_nearest = |page: &u64| bytes.abs_diff(pages * page);
            let page_bytes = [4096, 16_384, 65_536].into_iter().min_by_key(is_nearest);
            resident.page_bytes = page_bytes.unwrap_or(4096);
        }
        resident
    }

    fn bytes(&mut self) -> Option<u64> {
        Some(self.pages()? * self.page_bytes)
    }

    fn pages(&mut self) -> Option<u64> {
        let file = self.file.as_mut()?;
        let mut text = [0; 128];
        file.seek(SeekFrom::Start(0)).ok()?;
        let count = file.read(&mut text).ok()?;
        let text = std::str::from_utf8(&text[..count]).ok()?;
        text.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Returns the memory of the machine, or less if a control group allows less.
fn available_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kibibytes_of(&text, "MemTotal:"));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    let all = [machine, group].into_iter().flatten().min();
    all.unwrap_or(u64::MAX / 200)
}

fn kibibytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.split_whitespace().next()?;
    Some(number.parse::<u64>().ok()? * 1024)
}

/// Has the allocator deal with freed memory: it gives pages back when it is used, and an idle
/// thread never uses it.
fn nudge_allocator() {
    const BYTES: usize = 2 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BYTES)));
}

#[cfg(test)]
mod tests {
    use midge_core::{MemoryPressure, WorkerId};

    use super::{Allocator, MemoryGauge, Shortage, kibibytes_of, pressure_of, resident_bytes};

    const MB: u64 = 1 << 20;

    #[test]
    fn watermarks_are_those_of_the_documentation() {
        for (percent, expected) in [
            (59, MemoryPressure::None),
            (60, MemoryPressure::High),
            (75, MemoryPressure::Severe),
            (85, MemoryPressure::Critical),
            (200, MemoryPressure::Critical),
        ] {
            assert_eq!(pressure_of(percent, 100), expected);
        }
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let text = "Name:\tmidge\nVmRSS:\t    1204 kB\n";
        assert_eq!(kibibytes_of(text, "VmRSS:"), Some(1204 * 1024));
        assert_eq!(kibibytes_of(text, "VmSwap:"), None);
        if cfg!(target_os = "linux") {
            assert!((MB..100_000 * MB).contains(&resident_bytes()), "{}", resident_bytes());
        }
    }

    /// Makes a gauge for one worker, with a limit of 100 MB.
    fn gauge() -> MemoryGauge {
        MemoryGauge::new(100 * MB, 0, 1, None)
    }

    fn judge(gauge: &MemoryGauge, megabytes: u64, now_ms: u64) -> Option<Shortage> {
        gauge.judge(&mut gauge.state.lock().unwrap(), megabytes * MB, now_ms)
    }

    #[test]
    fn what_the_allocator_keeps_after_a_peak_is_no_shortage() {
        let gauge = gauge();
        let shortage = judge(&gauge, 90, 0).unwrap();
        assert_eq!((shortage.pressure, shortage.shed_bytes), (MemoryPressure::Critical, 0));
        assert_eq!(judge(&gauge, 90, 100), None, "nobody has said yet who holds it");
        // All of it is held.
        gauge.note_held(WorkerId::new(0), 80 * MB, shortage.round);
        let shortage = judge(&gauge, 90, 110).unwrap();
        assert_eq!((shortage.pressure, shortage.shed_bytes), (MemoryPressure::Critical, 30 * MB));
        // Nothing is held any more.
        gauge.note_held(WorkerId::new(0), 0, shortage.round);
        assert_eq!(judge(&gauge, 90, 310).unwrap().pressure, MemoryPressure::Severe);
        assert_eq!(judge(&gauge, 90, 1_900).unwrap().pressure, MemoryPressure::None);
        assert_eq!(gauge.state.lock().unwrap().pressure, MemoryPressure::None);
        // The workers are asked again and again, since spare memory is used again.
        let shortage = judge(&gauge, 90, 3_000).unwrap();
        gauge.note_held(WorkerId::new(0), 60 * MB, shortage.round);
        assert_eq!(judge(&gauge, 90, 3_010).unwrap().pressure, MemoryPressure::Severe);
    }

    #[test]
    fn figures_of_the_past_say_nothing_of_what_is_taken_since() {
        let gauge = gauge();
        let shortage = judge(&gauge, 65, 0).unwrap();
        gauge.note_held(WorkerId::new(0), 0, shortage.round);
        assert_eq!(judge(&gauge, 65, 10).unwrap().pressure, MemoryPressure::None);
        let spare = gauge.state.lock().unwrap().spare;
        judge(&gauge, 84, 20);
        assert_eq!(gauge.state.lock().unwrap().spare, spare);
    }

    #[test]
    fn who_takes_more_near_the_limit_is_short_whatever_was_counted() {
        let gauge = gauge();
        let shortage = judge(&gauge, 84, 0).unwrap();
        gauge.note_held(WorkerId::new(0), 0, shortage.round);
        assert_eq!(judge(&gauge, 84, 10).unwrap().pressure, MemoryPressure::None);
        let shortage = judge(&gauge, 86, 20).unwrap();
        assert_eq!((shortage.pressure, shortage.shed_bytes), (MemoryPressure::Critical, 0));
        let shortage = judge(&gauge, 98, 300).unwrap();
        assert_eq!((shortage.pressure, shortage.shed_bytes), (MemoryPressure::Critical, 38 * MB));
    }

    /// Makes a gauge with the same limit, for a program whose allocator has given out 56 MB.
    fn exact_gauge() -> MemoryGauge {
        let allocator = Allocator { allocated_bytes: || 56 * MB, give_back: || () };
        MemoryGauge::new(100 * MB, 4 * MB, 1, Some(allocator))
    }

    #[test]
    fn a_program_that_counts_is_judged_by_what_is_in_use() {
        let gauge = exact_gauge();
        // 4 MB and 56 MB, plus an eighth of the 56 MB.
        let shortage = judge(&gauge, 80, 0).unwrap();
        assert_eq!(shortage.pressure, MemoryPressure::High);
        // It does not matter what the workers know of.
        gauge.note_held(WorkerId::new(0), 0, shortage.round);
        assert_eq!(judge(&gauge, 80, 1_100).unwrap().pressure, MemoryPressure::High);
        // An allocator that keeps nearly as much again has time to give it back.
        assert_eq!(judge(&gauge, 99, 1_200).unwrap().pressure, MemoryPressure::Severe);
        assert_eq!(judge(&gauge, 99, 2_800).unwrap().pressure, MemoryPressure::High);
    }

    #[test]
    fn who_grows_although_the_allocator_has_spare_pages_is_short() {
        let gauge = exact_gauge();
        assert_eq!(judge(&gauge, 86, 0).unwrap().pressure, MemoryPressure::Severe);
        assert_eq!(judge(&gauge, 88, 1_000).unwrap().pressure, MemoryPressure::Severe);
        // The allocator has had its time, and has kept what it had.
        assert_eq!(judge(&gauge, 88, 1_600).unwrap().pressure, MemoryPressure::High);
        assert_eq!(judge(&gauge, 89, 1_700), None);
        // It takes more from the system although it has so much.
        let shortage = judge(&gauge, 90, 1_800).unwrap();
        assert_eq!(shortage.pressure, MemoryPressure::Critical);
        gauge.note_held(WorkerId::new(0), MB, shortage.round);
        let shortage = judge(&gauge, 90, 1_900).unwrap();
        assert_eq!((shortage.pressure, shortage.shed_bytes), (MemoryPressure::Critical, 7 * MB));
        // Room was made, and the allocator gets time again.
        assert_eq!(judge(&gauge, 90, 1_910).unwrap().pressure, MemoryPressure::Severe);
    }

    #[test]
    fn beyond_the_limit_spare_pages_are_no_excuse() {
        let gauge = exact_gauge();
        let shortage = judge(&gauge, 101, 0).unwrap();
        assert_eq!(shortage.pressure, MemoryPressure::Critical);
        gauge.note_held(WorkerId::new(0), MB, shortage.round);
        let shortage = judge(&gauge, 101, 300).unwrap();
        assert_eq!((shortage.pressure, shortage.shed_bytes), (MemoryPressure::Critical, 7 * MB));
    }

    #[test]
    fn room_that_was_made_gets_time_to_be_free() {
        let gauge = gauge();
        let answer = |shortage: Shortage| {
            gauge.note_held(WorkerId::new(0), 80 * MB, shortage.round);
            shortage.shed_bytes
        };
        assert_eq!(judge(&gauge, 90, 0).map(answer), Some(0));
        assert_eq!(judge(&gauge, 90, 10).map(answer), Some(30 * MB));
        assert_eq!(judge(&gauge, 90, 20).map(answer), None);
        assert_eq!(judge(&gauge, 90, 259).map(answer), None);
        assert_eq!(judge(&gauge, 90, 260).map(answer), Some(30 * MB));
    }

    #[test]
    fn publishers_do_not_wait_for_ever() {
        let gauge = gauge();
        let held = |shortage: Shortage| {
            gauge.note_held(WorkerId::new(0), 80 * MB, shortage.round);
            shortage.shed_bytes
        };
        assert_eq!(judge(&gauge, 80, 0).map(held), Some(0));
        assert_eq!(judge(&gauge, 80, 10).map(held), None);
        assert_eq!(judge(&gauge, 80, 1_100).map(held), Some(0));
        assert_eq!(judge(&gauge, 80, 2_200).map(held), Some(20 * MB));
    }

    #[test]
    fn each_worker_sheds_its_part() {
        let gauge = MemoryGauge::new(100 * MB, 0, 2, None);
        gauge.note_held(WorkerId::new(0), 30 * MB, 0);
        gauge.note_held(WorkerId::new(1), 10 * MB, 0);
        assert_eq!(gauge.share_of(20 * MB, 30 * MB), 15 * MB);
        assert_eq!(gauge.share_of(20 * MB, 10 * MB), 5 * MB);
    }
}
