//! The thread that gives all workers the contents of the topics below `$SYS`.
//!
//! It asks the workers for their figures at an interval, and also when somebody subscribes to these
//! topics, so that the subscriber does not get old ones. The workers themselves retain the result;
//! only topics that have changed are sent to subscribers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::{Figure, Snapshot};
use crate::handle::BrokerHandle;
use crate::inbox::{Letter, Topics};

/// What a worker rings when somebody has subscribed to topics below `$SYS`.
#[derive(Clone)]
pub(crate) struct Bell(SyncSender<()>);

/// The running thread. It ends after this is dropped, but nobody waits for it: a worker may be slow
/// to answer.
pub(crate) struct OwnTopics {
    bell: Bell,
    has_ended: Arc<AtomicBool>,
}

/// Decides when the thread updates the topics.
struct Schedule {
    interval: Duration,
    rings: Receiver<()>,
    has_ended: Arc<AtomicBool>,
    /// When a ring was heeded last.
    heeded: Option<Instant>,
}

/// What the thread remembers from one update to the next.
#[derive(Debug, Default)]
struct History {
    /// When the last snapshot was taken, with the values that the loads are computed from.
    last: Option<(Instant, Vec<u64>)>,
    /// The loads of 1, 5 and 15 minutes, in the order of [`Figure::LOADS`].
    loads: Vec<[f64; 3]>,
    connected_max: u64,
}

impl Bell {
    /// Makes a bell, and the receiver that hears it.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        // One ring that is not heard yet is as good as many.
        let (sender, receiver) = mpsc::sync_channel(1);
        (Self(sender), receiver)
    }

    /// Rings the bell and never waits. Without the thread nobody hears it.
    pub(crate) fn ring(&self) {
        let _ = self.0.try_send(());
    }
}

impl OwnTopics {
    /// Starts the thread, which updates the topics at once, then every `interval`, and sooner when
    /// the bell is rung.
    pub(crate) fn start(
        handle: BrokerHandle,
        interval: Duration,
        bell: Bell,
        rings: Receiver<()>,
    ) -> io::Result<Self> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let mut schedule =
            Schedule { interval, rings, has_ended: Arc::clone(&has_ended), heeded: None };
        let tell = move || {
            let mut history = History::default();
            loop {
                let Ok(snapshot) = handle.snapshot().wait() else {
                    return;
                };
                let topics: Topics = history.topics(&snapshot, Instant::now()).into();
                for inbox in handle.inboxes.iter() {
                    inbox.send(Letter::OwnTopics(Arc::clone(&topics)));
                }
                if !schedule.wait() {
                    return;
                }
            }
        };
        thread::Builder::new().name("midge-figures".into()).spawn(tell)?;
        Ok(Self { bell, has_ended })
    }
}

impl Drop for OwnTopics {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        self.bell.ring();
    }
}

impl Schedule {
    /// The shortest time between two rings that are heeded: each may send all figures to all
    /// subscribers.
    const PAUSE: Duration = Duration::from_secs(1);

    /// Waits until it is time for the next update. Returns false if the thread is to end.
    fn wait(&mut self) -> bool {
        let due = Instant::now() + self.interval;
        loop {
            let now = Instant::now();
            let rung = self.rings.recv_timeout(due.saturating_duration_since(now));
            if self.has_ended.load(Ordering::Acquire) {
                return false;
            }
            match rung {
                Ok(()) if self.heeds(Instant::now()) => return true,
                Ok(()) => (), // the last update was less than `PAUSE` ago
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn heeds(&mut self, now: Instant) -> bool {
        let is_early = self.heeded.is_some_and(|last| now.duration_since(last) < Self::PAUSE);
        if !is_early {
            self.heeded = Some(now);
        }
        !is_early
    }
}

impl History {
    const MINUTES: [(&'static str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

    fn topics(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<(String, String)> {
        self.note(snapshot, now);
        let figures = Figure::ALL.iter();
        let figures = figures.map(|it| (it.topic.to_string(), (it.value)(snapshot).to_string()));
        let drops = snapshot.drops().map(|(reason, count)| {
            (format!("publish/messages/dropped/{}", reason.name()), count.to_string())
        });
        let loads = Figure::LOADS.iter().zip(&self.loads).flat_map(|((name, _), loads)| {
            let loads = Self::MINUTES.iter().zip(loads);
            loads
                .map(move |((span, _), load)| (format!("load/{name}/{span}"), format!("{load:.2}")))
        });
        let version = concat!("midge version ", env!("CARGO_PKG_VERSION"));
        let others = [
            ("version", version.to_string()),
            ("uptime", format!("{} seconds", snapshot.uptime.as_secs())),
            ("clients/maximum", self.connected_max.to_string()),
        ];
        let others = others.into_iter().map(|(topic, text)| (topic.to_string(), text));
        let all = figures.chain(drops).chain(loads).chain(others);
        all.map(|(topic, text)| (format!("$SYS/broker/{topic}"), text)).collect()
    }

    /// Updates the loads, which are exponentially weighted averages like an operating system's.
    fn note(&mut self, snapshot: &Snapshot, now: Instant) {
        self.connected_max = self.connected_max.max(snapshot.usage.connected as u64);
        let values: Vec<_> = Figure::LOADS.iter().map(|(_, value)| value(snapshot)).collect();
        self.loads.resize(values.len(), [0.0; 3]);
        if let Some((at, before)) = &self.last {
            let minutes = (now.duration_since(*at).as_secs_f64() / 60.0).max(1e-6);
            for ((loads, value), before) in self.loads.iter_mut().zip(&values).zip(before) {
                let rate = value.saturating_sub(*before) as f64 / minutes;
                for (load, (_, span)) in loads.iter_mut().zip(Self::MINUTES) {
                    let kept = (-minutes / span).exp();
                    *load = rate + kept * (*load - rate);
                }
            }
        }
        self.last = Some((now, values));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::History;
    use crate::figures::Snapshot;

    #[test]
    fn a_steady_rate_becomes_the_load() {
        let (mut history, start) = (History::default(), Instant::now());
        let mut snapshot = Snapshot::default();
        let mut topics = Vec::new();
        for tick in 0..=600 {
            snapshot.counters.bytes_received = tick * 50;
            topics = history.topics(&snapshot, start + Duration::from_secs(tick * 10));
        }
        let load = |span: &str| {
            let topic = format!("$SYS/broker/load/bytes/received/{span}");
            topics.iter().find(|(name, _)| *name == topic).map(|(_, text)| text.as_str())
        };
        // 5 bytes a second, for 100 minutes.
        assert_eq!((load("1min"), load("5min")), (Some("300.00"), Some("300.00")));
        assert_eq!(load("15min"), Some("299.62"));
    }
}
