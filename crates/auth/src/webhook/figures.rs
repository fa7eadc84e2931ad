//! What a webhook counts. Each count is on its own: a snapshot is not of one moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::member::Verdict;

#[derive(Debug, Default)]
pub(super) struct Counters {
    asked: AtomicU64,
    not_asked: AtomicU64,
    cached: AtomicU64,
    allowed: AtomicU64,
    denied: AtomicU64,
    not_mine: AtomicU64,
    failed: AtomicU64,
    latency_us: AtomicU64,
    latency_max_us: AtomicU64,
}

/// What a webhook has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookFigures {
    /// How often the server was asked.
    pub asked: u64,
    /// How often it was not asked, because it did not answer lately.
    pub not_asked: u64,
    /// How often an earlier answer was used again.
    pub cached: u64,
    /// Logins that were allowed.
    pub allowed: u64,
    /// Logins that were denied.
    pub denied: u64,
    /// Logins that are left to other members.
    pub not_mine: u64,
    /// Logins about which nothing could be decided.
    pub failed: u64,
    /// The time of all requests together, in microseconds.
    pub latency_us: u64,
    /// The time of the longest request, in microseconds.
    pub latency_max_us: u64,
}

impl Counters {
    pub(super) fn note_asked(&self, latency: Duration) {
        let latency = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.latency_us.fetch_add(latency, Ordering::Relaxed);
        self.latency_max_us.fetch_max(latency, Ordering::Relaxed);
    }

    pub(super) fn note_not_asked(&self) {
        self.not_asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_cached(&self) {
        self.cached.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_verdict(&self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Allow(_) => &self.allowed,
            Verdict::Deny(_) => &self.denied,
            Verdict::NotMine => &self.not_mine,
            Verdict::Failed(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> WebhookFigures {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WebhookFigures {
            asked: value(&self.asked),
            not_asked: value(&self.not_asked),
            cached: value(&self.cached),
            allowed: value(&self.allowed),
            denied: value(&self.denied),
            not_mine: value(&self.not_mine),
            failed: value(&self.failed),
            latency_us: value(&self.latency_us),
            latency_max_us: value(&self.latency_max_us),
        }
    }
}
