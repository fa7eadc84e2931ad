//! What a broker has counted and holds: one snapshot of all workers, and one list of names.
//!
//! Whatever shows figures (the topics below `$SYS`, later the metrics) takes them from here, so
//! that a figure has one name, one meaning and one value everywhere.

use std::time::Duration;

use midge_codec::PacketType;
use midge_core::{Counters, DropReason, Usage};
use midge_store::StoreUsage;

/// A broker at one moment, all workers together.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Since the start.
    pub uptime: Duration,
    /// What was counted since the start.
    pub counters: Counters,
    /// What there is now.
    pub usage: Usage,
    /// What the store holds; `None` if everything is in memory only.
    pub store: Option<StoreUsage>,
}

/// One figure of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its topic below `$SYS/broker/`: mosquitto's, where it has the same figure.
    pub topic: &'static str,
    /// Whether it only grows, or goes up and down.
    pub is_counter: bool,
    /// What it is.
    pub meaning: &'static str,
    /// Its value.
    pub value: fn(&Snapshot) -> u64,
}

const fn counter(topic: &'static str, meaning: &'static str, value: Value) -> Figure {
    Figure { topic, is_counter: true, meaning, value }
}

const fn gauge(topic: &'static str, meaning: &'static str, value: Value) -> Figure {
    Figure { topic, is_counter: false, meaning, value }
}

type Value = fn(&Snapshot) -> u64;

impl Figure {
    /// All figures but those of dropped messages by reason, which are [`DropReason::ALL`].
    pub const ALL: &[Self] = &[
        counter("bytes/received", "Bytes of packets received.", |it| it.counters.bytes_received),
        counter("bytes/sent", "Bytes of packets sent.", |it| it.counters.bytes_sent),
        gauge("clients/connected", "Clients that are connected.", |it| it.usage.connected as u64),
        gauge("clients/active", "The same, under an older name.", |it| it.usage.connected as u64),
        gauge("clients/disconnected", "Sessions whose Clients are away.", Snapshot::away),
        gauge("clients/inactive", "The same, under an older name.", Snapshot::away),
        gauge("clients/total", "Sessions, connected or not.", Snapshot::sessions),
        counter("clients/expired", "Sessions whose expiry interval passed.", |it| {
            it.counters.sessions_expired
        }),
        counter("clients/taken_over", "Sessions that a new connection took over.", |it| {
            it.counters.sessions_taken_over
        }),
        counter("connections/opened", "Network Connections opened.", |it| {
            it.counters.connections_opened
        }),
        counter("connections/refused", "CONNECT packets refused.", |it| {
            it.counters.connects_refused
        }),
        counter("connections/protocol_violations", "Connections ended for a broken rule.", |it| {
            it.counters.protocol_violations
        }),
        counter("connections/keep_alive_timeouts", "Connections ended for silence.", |it| {
            it.counters.keep_alive_timeouts
        }),
        counter("connections/connect_timeouts", "Connections without a CONNECT in time.", |it| {
            it.counters.connect_timeouts
        }),
        gauge("connections/socket/count", "Network Connections that are open.", |it| {
            it.usage.connections.saturating_sub(it.usage.local_subscribers) as u64
        }),
        counter("limits/exceeded", "Requests beyond a limit of any kind.", |it| {
            it.counters.limits_exceeded
        }),
        counter("messages/received", "Packets of all types received.", |it| {
            it.counters.packets_received.iter().sum()
        }),
        counter("messages/sent", "Packets of all types sent.", |it| {
            it.counters.packets_sent.iter().sum()
        }),
        gauge("messages/stored", "Messages kept: retained, delayed, queued in the store.", |it| {
            it.kept_messages()
        }),
        gauge("store/messages/count", "The same, under its newer name.", Snapshot::kept_messages),
        counter("publish/messages/received", "PUBLISH packets received.", |it| {
            it.counters.packets_received[PacketType::Publish as usize]
        }),
        counter("publish/messages/sent", "PUBLISH packets sent.", |it| {
            it.counters.packets_sent[PacketType::Publish as usize]
        }),
        counter(
            "publish/messages/dropped",
            "Messages dropped that somebody should have had.",
            |it| it.counters.lost(),
        ),
        counter("publish/messages/unmatched", "Messages that nobody had subscribed to.", |it| {
            it.counters.dropped_for(DropReason::NoSubscriber)
        }),
        counter("publish/bytes/received", "Bytes of the payloads that were accepted.", |it| {
            it.counters.payload_bytes_received
        }),
        counter("publish/bytes/sent", "Bytes of the payloads that were sent.", |it| {
            it.counters.payload_bytes_delivered
        }),
        counter("publish/wills", "Will Messages published.", |it| it.counters.wills_published),
        gauge("publish/delayed/count", "Messages that wait for their $delayed time.", |it| {
            it.usage.delayed_messages as u64
        }),
        gauge("retained messages/count", "Retained messages.", |it| it.usage.retained_messages),
        gauge("retained messages/bytes", "Their bytes.", |it| it.usage.retained_bytes),
        gauge(
            "shared_subscriptions/count",
            "Shared subscriptions, whatever their members.",
            |it| it.usage.shared_subscriptions as u64,
        ),
        gauge("subscriptions/count", "Subscriptions.", |it| it.usage.subscriptions as u64),
        gauge("store/bytes_on_disk", "Bytes of the files of the store.", |it| {
            it.store.map_or(0, |store| store.bytes_on_disk)
        }),
        gauge("store/queued_messages", "Messages that wait in the store for a Session.", |it| {
            it.store.map_or(0, |store| store.queued_messages)
        }),
        counter("store/damaged", "Places of the store that turned out to be damaged.", |it| {
            it.store.map_or(0, |store| store.damaged)
        }),
    ];

    /// What is told as a rate for one minute, averaged over 1, 5 and 15 of them, below `load/`.
    pub(crate) const LOADS: &[(&'static str, Value)] = &[
        ("messages/received", |it| it.counters.packets_received.iter().sum()),
        ("messages/sent", |it| it.counters.packets_sent.iter().sum()),
        ("publish/received", |it| it.counters.packets_received[PacketType::Publish as usize]),
        ("publish/sent", |it| it.counters.packets_sent[PacketType::Publish as usize]),
        ("publish/dropped", |it| it.counters.lost()),
        ("bytes/received", |it| it.counters.bytes_received),
        ("bytes/sent", |it| it.counters.bytes_sent),
        ("sockets", |it| it.counters.connections_opened),
        ("connections", |it| it.counters.packets_received[PacketType::Connect as usize]),
    ];
}

impl Snapshot {
    /// How many messages were dropped for each reason that is a loss.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        let losses = DropReason::ALL.into_iter().filter(|reason| reason.is_loss());
        losses.map(|reason| (reason, self.counters.dropped_for(reason)))
    }

    fn sessions(&self) -> u64 {
        self.usage.sessions.saturating_sub(self.usage.local_subscribers) as u64
    }

    fn away(&self) -> u64 {
        self.sessions().saturating_sub(self.usage.connected as u64)
    }

    fn kept_messages(&self) -> u64 {
        let queued = self.store.map_or(0, |store| store.queued_messages);
        self.usage.retained_messages + self.usage.delayed_messages as u64 + queued
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use midge_core::DropReason;

    use super::Figure;

    const PAGE: &str = include_str!("../../../docs/statistics.md");

    #[test]
    fn the_documentation_has_every_figure_once() {
        let mut topics = BTreeSet::new();
        for Figure { topic, meaning, is_counter, .. } in Figure::ALL {
            assert!(topics.insert(*topic), "{topic} is there twice");
            let kind = if *is_counter { "counter" } else { "gauge" };
            let row = format!("| `{topic}` | {kind} | {meaning} |\n");
            assert!(PAGE.contains(&row), "docs/statistics.md lacks: {row}");
        }
        for (topic, _) in Figure::LOADS {
            assert!(PAGE.contains(&format!("`load/{topic}/1min`")), "load/{topic}");
        }
        for reason in DropReason::ALL.into_iter().filter(|reason| reason.is_loss()) {
            assert!(PAGE.contains(&format!("`{}`", reason.name())), "{}", reason.name());
        }
    }
}
