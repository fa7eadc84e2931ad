//! What a client has sent and received, kept small, so that a failure can be told packet by packet.

use std::collections::HashSet;
use std::fmt::Write;

use crate::message::Key;

/// When something happened: a round, and microseconds since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) round: u32,
    pub(crate) micros: u32,
}

/// What happened. The packets of a message are found by its Packet Identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connected,
    ConnectedAnew,
    Gone,
    // The flow of a message that the client publishes.
    PublishSent,
    PublishSentAgain,
    PubAckReceived,
    PubRecReceived,
    PubRelSent,
    PubCompReceived,
    // The flow of a message that the client receives.
    PublishReceived,
    PublishReceivedWithDup,
    PublishOfUnreleasedReceived,
    PubAckSent,
    PubRecSent,
    PubRelReceived,
    PubCompSent,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Moment,
    event: Event,
    packet_id: u16,
    key: Option<Key>,
}

/// What a client has sent and received.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    entries: Vec<Entry>,
    /// What happened before the last [`Trace::forget`].
    earlier: Vec<Entry>,
}

/// More lines help nobody.
const LINES_MAX: usize = 60;

impl Trace {
    pub(crate) fn note(&mut self, at: Moment, event: Event, packet_id: u16, key: Option<Key>) {
        self.entries.push(Entry { at, event, packet_id, key });
    }

    /// Notes that all is well so far: what happened before the previous call is no longer needed.
    pub(crate) fn forget(&mut self) {
        self.earlier = std::mem::take(&mut self.entries);
    }

    /// Returns everything that belongs to a message: its packets, those with the same Packet
    /// Identifiers in the same rounds, and how its client connected and left meanwhile.
    pub(crate) fn describe(&self, key: Key) -> String {
        let all = || self.earlier.iter().chain(&self.entries);
        let own = || all().filter(|entry| entry.key == Some(key));
        let (Some(first), Some(last)) = (own().next(), own().next_back()) else {
            return "    nothing\n".to_owned();
        };
        let packet_ids: HashSet<_> = own().map(|entry| (entry.packet_id, entry.is_own())).collect();
        let rounds = first.at.round..=last.at.round + 1;
        let belongs = |entry: &&Entry| {
            rounds.contains(&entry.at.round)
                && (entry.packet_id == 0 || packet_ids.contains(&(entry.packet_id, entry.is_own())))
        };
        let mut text = String::new();
        for entry in all().filter(belongs).take(LINES_MAX) {
            let Entry { at, event, packet_id, key } = entry;
            let milliseconds = f64::from(at.micros) / 1000.0;
            let _ = write!(text, "    round {} {milliseconds:8.3} ms {event:?}", at.round);
            if *packet_id > 0 {
                let _ = write!(text, ", packet {packet_id}");
            }
            let _ = match key {
                Some(key) => writeln!(text, ", {key}"),
                None => writeln!(text),
            };
        }
        text
    }
}

impl Entry {
    /// Returns whether it belongs to a message that the client publishes.
    fn is_own(&self) -> bool {
        use Event as E;
        matches!(
            self.event,
            E::PublishSent
                | E::PublishSentAgain
                | E::PubAckReceived
                | E::PubRecReceived
                | E::PubRelSent
                | E::PubCompReceived
        )
    }
}
