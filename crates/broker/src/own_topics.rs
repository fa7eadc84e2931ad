//! The thread that tells all workers what the topics below `$SYS` say.
//!
//! It asks the workers for their figures at an interval, and is asked by nobody. What it makes of
//! them is retained by the workers themselves; only what has changed goes to subscribers.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::{Figure, Snapshot};
use crate::handle::BrokerHandle;
use crate::inbox::Letter;

/// The topics with what they say.
pub(crate) type Topics = Arc<[(String, String)]>;

/// The running thread, until it is dropped. It is not waited for: a worker may be slow to answer.
pub(crate) struct OwnTopics {
    _end: Sender<()>,
}

/// What the thread remembers from one time to the next.
#[derive(Debug, Default)]
struct History {
    /// When the last snapshot was taken, and the values that loads are made of.
    last: Option<(Instant, Vec<u64>)>,
    /// The loads of 1, 5 and 15 minutes, in the order of [`Figure::LOADS`].
    loads: Vec<[f64; 3]>,
    connected_max: u64,
}

impl OwnTopics {
    /// Begins to tell, at once and then each `interval`.
    pub(crate) fn start(handle: BrokerHandle, interval: Duration) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let tell = move || {
            let mut history = History::default();
            loop {
                let Ok(snapshot) = handle.snapshot() else {
                    return;
                };
                let topics: Topics = history.topics(&snapshot, Instant::now()).into();
                for inbox in handle.inboxes.iter() {
                    inbox.send(Letter::OwnTopics(Arc::clone(&topics)));
                }
                if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        thread::Builder::new().name("midge-figures".into()).spawn(tell)?;
        Ok(Self { _end: end })
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

    /// Exponentially weighted averages, as those of an operating system.
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
