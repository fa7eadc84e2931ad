//! The nemesis attacks the broker: kills it, asks it to end, stops it, makes its disk slow. The
//! seed makes each choice; the moments depend on the machine.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::broker::{Broker, Home};
use crate::common::random::Random;
use crate::common::slow_sync::Pace;
use crate::history::OutageKind;
use crate::scene::Scene;

/// How long a broker may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Nemesis {
    home: Home,
    scene: Arc<Scene>,
    random: Random,
    broker: Option<Broker>,
    /// How long a sync takes normally.
    pace_ms: u32,
    mood: Mood,
}

/// What the nemesis may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    /// Kills the broker several times in a row, after hardly a second of life.
    CrashLoop,
    Term,
    Stop,
    Stall,
    Pace,
}

/// What kind of trouble an epoch has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mood {
    pub(crate) name: &'static str,
    pub(crate) faults: &'static [Fault],
    /// How long the pause between two faults is.
    pub(crate) pause_ms: (u64, u64),
    /// Whether it kills when a Client has just been told something.
    pub(crate) is_opportune: bool,
}

impl Mood {
    /// Everything.
    const WILD: Self = Self {
        name: "wild",
        faults: &[
            Fault::Kill,
            Fault::CrashLoop,
            Fault::Term,
            Fault::Stop,
            Fault::Stall,
            Fault::Pace,
        ],
        pause_ms: (200, 2000),
        is_opportune: true,
    };
    /// The broker lives on, and has time for long operations.
    const CALM: Self = Self {
        name: "calm",
        faults: &[Fault::Stop, Fault::Stall, Fault::Stall],
        pause_ms: (5000, 9000),
        is_opportune: false,
    };
    const DEADLY: Self = Self {
        name: "deadly",
        faults: &[Fault::Kill, Fault::CrashLoop, Fault::Term],
        pause_ms: (100, 1500),
        is_opportune: true,
    };

    pub(crate) const ALL: [Self; 4] = [Self::WILD, Self::DEADLY, Self::WILD, Self::CALM];
}

impl Nemesis {
    pub(crate) fn new(
        home: Home,
        scene: &Arc<Scene>,
        random: Random,
        pace_ms: u32,
        mood: Mood,
    ) -> Self {
        let scene = Arc::clone(scene);
        let broker = home.start();
        home.disk.set(Pace::each(pace_ms));
        scene.note_pace(pace_ms);
        Self { home, scene, random, broker: Some(broker), pace_ms, mood }
    }

    /// Attacks the broker for this long.
    pub(crate) fn rage(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let (min, max) = self.mood.pause_ms;
        let mut last = None;
        while Instant::now() < end {
            let pause = self.random.micros(min * 1000, max * 1000);
            if self.mood.is_opportune && self.random.once_in(3) {
                self.scene.wait_for_occasion(pause);
                thread::sleep(self.random.micros(0, 4_000));
                self.kill();
                continue;
            }
            thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
            let faults = self.mood.faults;
            let choice = match last {
                // One crash loop is enough.
                Some(Fault::CrashLoop) => faults[0],
                _ => faults[self.random.below(faults.len() as u64) as usize],
            };
            last = Some(choice);
            self.strike(choice);
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => self.kill(),
            Fault::CrashLoop => {
                for _ in 0..3 {
                    self.kill();
                    thread::sleep(self.random.micros(100_000, 1_300_000));
                }
            }
            Fault::Term => self.terminate(),
            Fault::Stop => self.stop(),
            Fault::Stall => self.stall(),
            Fault::Pace => {
                let pace_ms = [self.pace_ms, 0, 8, 50][self.random.below(4) as usize];
                self.home.disk.set(Pace::each(pace_ms));
                self.scene.note_pace(pace_ms);
            }
        }
    }

    fn kill(&mut self) {
        self.scene.history.begin_outage(OutageKind::Kill);
        self.broker.take().into_iter().for_each(Broker::kill);
        self.come_back();
        self.scene.history.end_outage(OutageKind::Kill);
    }

    fn come_back(&mut self) {
        if self.random.once_in(6) {
            self.home.start_and_kill(self.random.micros(0, 60_000));
        }
        if self.random.once_in(3) {
            thread::sleep(self.random.micros(0, 1_500_000));
        }
        self.broker = Some(self.home.start());
    }

    fn terminate(&mut self) {
        self.scene.history.begin_outage(OutageKind::Term);
        let ended = self.broker.take().is_none_or(|broker| broker.terminate(END_PATIENCE));
        if !ended {
            self.find("the broker does not end", "SIGTERM does not end it in order".to_owned());
        }
        self.come_back();
        self.scene.history.end_outage(OutageKind::Term);
    }

    fn stop(&mut self) {
        let Some(broker) = &self.broker else {
            return;
        };
        self.scene.history.begin_outage(OutageKind::Stop);
        broker.signal(Signal::SIGSTOP);
        thread::sleep(self.random.micros(100_000, 4_000_000));
        broker.signal(Signal::SIGCONT);
        self.scene.history.end_outage(OutageKind::Stop);
    }

    /// Lets no sync complete for a while; sometimes the broker does not live to see the end.
    fn stall(&mut self) {
        self.scene.history.begin_outage(OutageKind::Stall);
        self.home.disk.set(Pace::each(60_000));
        thread::sleep(self.random.micros(500_000, 4_000_000));
        if self.random.once_in(3) {
            self.scene.history.begin_outage(OutageKind::Kill);
            self.broker.take().into_iter().for_each(Broker::kill);
        }
        self.home.disk.set(Pace::each(self.pace_ms));
        if self.broker.is_none() {
            self.come_back();
            self.scene.history.end_outage(OutageKind::Kill);
        }
        self.scene.history.end_outage(OutageKind::Stall);
    }

    /// Lets all be well from now on.
    pub(crate) fn relent(&mut self) {
        self.home.disk.set(Pace::each(self.pace_ms.min(8)));
        self.scene.note_pace(self.pace_ms.min(8));
    }

    /// Reports what the broker itself says about its troubles.
    pub(crate) fn report(&mut self) {
        let ended = self.broker.as_mut().and_then(Broker::status);
        if let Some(status) = ended {
            self.find("the broker has ended", format!("{status}: {}", self.home.log()));
        }
        for complaint in self.home.complaints().into_iter().take(3) {
            self.find("the broker complains", complaint);
        }
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.home.directory()
    }

    fn find(&self, rule: &'static str, text: String) {
        let at = self.scene.history.now();
        self.scene.history.lock().find(rule, at, text, &[], &[]);
    }
}
