//! The history of a run: what every Client asked for, what it was told, and what was done to the
//! broker, each with the moment at which it happened. Nothing here judges; see `check`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use midge_codec::{QoS, ReasonCode, SubscriptionOptions};
use nix::time::{ClockId, clock_gettime};

use crate::common::disk_calls::DiskCalls;

/// Microseconds since the run began.
pub(crate) type Micros = u64;
/// Indexes into the tables of [`Tables`].
pub(crate) type ClientId = usize;
pub(crate) type MessageId = usize;
pub(crate) type SessionId = usize;
pub(crate) type ConnectionId = usize;

pub(crate) const SECOND: Micros = 1_000_000;

/// Later than any moment.
pub(crate) const FAR: Micros = 1 << 50;

/// Everything that has happened, shared by all threads.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    /// The same moment as the machine's monotonic clock shows it.
    began_at: Micros,
    /// In which calls of the broker this machine's own disk took long.
    calls: Arc<DiskCalls>,
    tables: Mutex<Tables>,
}

/// Everything that has happened, in tables. Rows are only added and completed.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) clients: Vec<Actor>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) messages: Vec<Message>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) outages: Vec<Outage>,
    /// How many slow calls of the disk have been looked at, counted or not.
    pub(crate) disk_calls: usize,
    pub(crate) events: Vec<Event>,
    pub(crate) violations: Vec<Violation>,
}

/// A Client, as far as its habits matter to the judgement.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) id: String,
    /// Whether it handles and acknowledges at once what arrives, so that times mean something.
    pub(crate) is_prompt: bool,
    pub(crate) is_v5: bool,
}

/// A Session, as its Client knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) client: ClientId,
    pub(crate) expiry_seconds: u32,
    /// When the broker first promised to keep it.
    pub(crate) promised: Option<Micros>,
    /// The earliest time at which it may have ended.
    pub(crate) over: Option<Micros>,
}

/// A Network Connection on which a CONNECT was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) client: ClientId,
    pub(crate) session: Option<SessionId>,
    pub(crate) asked: Micros,
    pub(crate) answered: Option<Micros>,
    pub(crate) is_clean: bool,
    /// Its Will Message, and the delay of that in seconds.
    pub(crate) will: Option<(MessageId, u32)>,
    pub(crate) expiry_seconds: u32,
    /// When something was acknowledged that makes the Session, with this Will Message, durable.
    pub(crate) promised: Option<Micros>,
    pub(crate) end: Option<(End, Micros)>,
}

/// How a Network Connection ended. The moment stored with it is when its Client did or saw that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By a DISCONNECT without Will Message.
    Goodbye,
    /// By anything else that the Client does: a DISCONNECT with Will Message, a cut, a takeover.
    Left,
    /// Because the broker has ended, or has ended it.
    ByBroker,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) publisher: ClientId,
    /// What orders it: a Session, or a Network Connection if the Session ends with that.
    pub(crate) line: (Option<SessionId>, ConnectionId),
    /// The topic as subscribers see it.
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) is_will: bool,
    /// The size of the payload; 0: it removes the retained message.
    pub(crate) payload_bytes: usize,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) delay_seconds: u32,
    /// Each time it was sent, DUP included.
    pub(crate) sent: Vec<Micros>,
    pub(crate) acknowledged: Option<Micros>,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) client: ClientId,
    pub(crate) session: SessionId,
    pub(crate) filter: String,
    pub(crate) options: SubscriptionOptions,
    pub(crate) asked: Micros,
    pub(crate) granted: Option<Micros>,
    /// When the UNSUBSCRIBE was sent, and when the UNSUBACK arrived.
    pub(crate) leaving: Option<Micros>,
    pub(crate) gone: Option<Micros>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) client: ClientId,
    pub(crate) session: SessionId,
    pub(crate) connection: ConnectionId,
    pub(crate) at: Micros,
    pub(crate) message: MessageId,
    pub(crate) qos: QoS,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// Whether its Packet Identifier was already waiting for PUBREL: then it is no new message.
    pub(crate) is_repetition: bool,
    pub(crate) expiry_seconds: Option<u32>,
}

/// Something that was done to the broker; `until` is when it was over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) kind: OutageKind,
    pub(crate) from: Micros,
    pub(crate) until: Option<Micros>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutageKind {
    /// From a SIGKILL until the next broker accepts connections.
    Kill,
    /// From a SIGTERM until the next broker accepts connections.
    Term,
    /// From a SIGSTOP until the SIGCONT.
    Stop,
    /// No sync completes.
    Stall,
    /// This machine's own disk takes long for a call of the broker.
    Disk,
}

/// A line in the story of a violation.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Micros,
    /// The Client; `None`: the broker.
    pub(crate) client: Option<ClientId>,
    pub(crate) message: Option<MessageId>,
    pub(crate) packet_id: u16,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Connect {
        clean: bool,
        takeover: bool,
    },
    ConnAck {
        session_present: bool,
        code: ReasonCode,
    },
    Gone,
    Cut,
    CutInsideAPacket,
    DisconnectSent(ReasonCode),
    LeavesForGood,
    Disconnected(ReasonCode),
    Publish {
        dup: bool,
        qos: QoS,
    },
    PubAck(ReasonCode),
    PubRec(ReasonCode),
    PubRelSent,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Received {
        dup: bool,
        qos: QoS,
        retain: bool,
    },
    PubAckSent,
    PubRecSent,
    PubRel,
    PubCompSent,
    StopsReading,
    Begins(OutageKind),
    Ends(OutageKind),
    /// Each sync takes this many milliseconds.
    Pace(u32),
}

/// Something that must not have happened.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) at: Micros,
    pub(crate) text: String,
    pub(crate) clients: Vec<ClientId>,
    pub(crate) messages: Vec<MessageId>,
}

impl History {
    pub(crate) fn new(calls: Arc<DiskCalls>) -> Self {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let began_at = now.as_micros() as Micros;
        Self { began: Instant::now(), began_at, calls, tables: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Micros {
        self.began.elapsed().as_micros() as Micros
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Records what has just happened to a Client, or is about to.
    pub(crate) fn note(&self, client: ClientId, message: Option<MessageId>, id: u16, what: What) {
        let at = self.now();
        self.lock().note(at, client, message, id, what);
    }

    pub(crate) fn begin_outage(&self, kind: OutageKind) {
        let from = self.now();
        let mut tables = self.lock();
        tables.outages.push(Outage { kind, from, until: None });
        tables.events.push(Event::of_broker(from, What::Begins(kind)));
    }

    /// Records in which calls of the broker this machine's disk has taken long.
    pub(crate) fn look_at_disk(&self) {
        let mut tables = self.lock();
        for call in self.calls.took_long(tables.disk_calls) {
            let [from, until] = [call.from, call.until].map(|it| it.saturating_sub(self.began_at));
            tables.disk_calls += 1;
            tables.add_disk_outage(from, until);
        }
    }

    /// Ends the last outage of this kind.
    pub(crate) fn end_outage(&self, kind: OutageKind) {
        let now = self.now();
        let mut tables = self.lock();
        let mut open = tables.outages.iter_mut().rev();
        if let Some(outage) = open.find(|it| it.kind == kind && it.until.is_none()) {
            outage.until = Some(now);
        }
        tables.events.push(Event::of_broker(now, What::Ends(kind)));
    }
}

impl Tables {
    /// Adds the time of a call in which the disk took long. A call that a kill cut off was written
    /// down as if it had lasted until the next start: it ends with the kill, and is left out if it
    /// was short until then.
    fn add_disk_outage(&mut self, from: Micros, until: Micros) {
        let is_cut_off =
            |it: &&Outage| it.kind == OutageKind::Kill && (from..until).contains(&it.from);
        let end = self.outages.iter().filter(is_cut_off).map(|it| it.from).min();
        let until = end.unwrap_or(until);
        if until - from >= DiskCalls::LONG_MICROS {
            self.add_outage(OutageKind::Disk, from, until);
        }
    }

    /// Adds an outage that is over, and of which nobody knew while it lasted.
    pub(crate) fn add_outage(&mut self, kind: OutageKind, from: Micros, until: Micros) {
        self.outages.push(Outage { kind, from, until: Some(until) });
        for (at, what) in [(from, What::Begins(kind)), (until, What::Ends(kind))] {
            let place = self.events.partition_point(|it| it.at <= at);
            self.events.insert(place, Event::of_broker(at, what));
        }
    }

    pub(crate) fn note(
        &mut self,
        at: Micros,
        client: ClientId,
        message: Option<MessageId>,
        packet_id: u16,
        what: What,
    ) {
        self.events.push(Event { at, client: Some(client), message, packet_id, what });
    }

    /// Records something that must not have happened.
    pub(crate) fn find(
        &mut self,
        rule: &'static str,
        at: Micros,
        text: String,
        clients: &[ClientId],
        messages: &[MessageId],
    ) {
        let (clients, messages) = (clients.to_vec(), messages.to_vec());
        self.violations.push(Violation { rule, at, text, clients, messages });
    }

    /// Returns whether an outage for whose kind `counts` returns true overlaps this interval.
    pub(crate) fn was_out(
        &self,
        from: Micros,
        until: Micros,
        counts: impl Fn(OutageKind) -> bool,
    ) -> bool {
        self.outages.iter().any(|outage| {
            counts(outage.kind)
                && outage.from <= until
                && outage.until.is_none_or(|end| end >= from)
        })
    }

    /// Returns for how much of this interval the broker could do nothing. Overlapping outages count
    /// twice, which only excuses more.
    pub(crate) fn excused(&self, from: Micros, until: Micros) -> Micros {
        let overlap = |outage: &Outage| {
            let end = outage.until.unwrap_or(FAR).min(until);
            end.saturating_sub(outage.from.max(from))
        };
        self.outages.iter().map(overlap).sum()
    }

    /// Returns the story of some Clients and messages, in the order of time.
    pub(crate) fn story(&self, violation: &Violation, lines_max: usize) -> String {
        let ids = &violation.messages;
        let is_own = |event: &&Event| match (event.client, event.message) {
            (None, _) => true,
            (_, Some(message)) if ids.contains(&message) => true,
            (Some(client), message) => {
                violation.clients.contains(&client) && message.is_none() && event.is_of_client()
            }
        };
        let lines: Vec<_> = self.events.iter().filter(is_own).collect();
        let close = |event: &&&Event| event.at <= violation.at + 2 * SECOND;
        let lines: Vec<_> = lines.iter().filter(close).collect();
        let mut text = String::new();
        for event in &lines[lines.len().saturating_sub(lines_max)..] {
            text += &self.line(event);
        }
        text
    }

    pub(crate) fn line(&self, event: &Event) -> String {
        let mut text = format!("{:12.6} s  ", event.at as f64 / 1e6);
        let name = event.client.map_or("broker", |client| &self.clients[client].id);
        let _ = write!(text, "{name:<16} {:?}", event.what);
        if event.packet_id > 0 {
            let _ = write!(text, " packet {}", event.packet_id);
        }
        if let Some(message) = event.message {
            let _ = write!(text, " message {message} to {}", self.messages[message].topic);
        }
        text.push('\n');
        text
    }
}

impl Event {
    pub(crate) fn of_broker(at: Micros, what: What) -> Self {
        Self { at, client: None, message: None, packet_id: 0, what }
    }

    /// Returns whether it tells the state of a Client: connected, subscribed.
    fn is_of_client(&self) -> bool {
        use What::*;
        matches!(
            self.what,
            Connect { .. }
                | ConnAck { .. }
                | Gone
                | Cut
                | CutInsideAPacket
                | DisconnectSent(_)
                | LeavesForGood
                | Disconnected(_)
                | Subscribe
                | SubAck
                | Unsubscribe
                | UnsubAck
                | StopsReading
        )
    }
}

impl Tables {
    /// Notes that a Session is durable now, and so is the Will Message of this Network Connection.
    pub(crate) fn promise(
        &mut self,
        session: SessionId,
        connection: Option<ConnectionId>,
        now: Micros,
    ) {
        if self.sessions[session].expiry_seconds > 0 {
            self.sessions[session].promised.get_or_insert(now);
            if let Some(connection) = connection {
                self.connections[connection].promised.get_or_insert(now);
            }
        }
    }

    /// Returns when the broker knows, at the latest, that a Client that left at `left` is absent.
    /// If it is killed before it has written that down, the absence begins at its next start.
    pub(crate) fn absent_since(&self, left: Micros) -> Micros {
        let mut since = self.heard(left);
        while let Some(outage) = self.unsettled_by(since) {
            let Some(until) = outage.until else {
                return FAR;
            };
            since = until.max(since) + 1;
        }
        since
    }

    /// Returns the end of the broker that came before it had surely written down what happened at
    /// `at`: until that end, nothing that was sent later had been acknowledged.
    pub(crate) fn unsettled_by(&self, at: Micros) -> Option<&Outage> {
        let at = self.heard(at);
        let ends = self.outages.iter().filter(|it| {
            let is_end = matches!(it.kind, OutageKind::Kill | OutageKind::Term);
            is_end && it.until.is_none_or(|until| until >= at)
        });
        let next = ends.min_by_key(|it| it.from)?;
        let shows = |it: &&Message| {
            it.qos != QoS::AtMostOnce
                && it.topic.starts_with("t/")
                && it.sent.first().is_some_and(|sent| *sent > at + SECOND / 5)
                && it.acknowledged.is_some_and(|taken| taken < next.from)
        };
        let is_written = self.messages.iter().rev().any(|it| shows(&it));
        (!is_written).then_some(next)
    }

    /// Returns when the broker, which may have been stopped, learned of what a Client did at `at`.
    fn heard(&self, at: Micros) -> Micros {
        let stops = self.outages.iter().filter(|it| it.kind == OutageKind::Stop && it.from <= at);
        stops.map(|it| it.until.unwrap_or(FAR)).fold(at, Micros::max)
    }
}

#[test]
fn a_call_that_a_kill_cuts_off_ends_with_the_kill() {
    let mut tables = Tables::default();
    tables.add_outage(OutageKind::Kill, 10 * SECOND, 14 * SECOND);
    let of_disk = |tables: &Tables| {
        let of_disk = tables.outages.iter().filter(|it| it.kind == OutageKind::Disk);
        of_disk.map(|it| (it.from, it.until)).collect::<Vec<_>>()
    };
    tables.add_disk_outage(10 * SECOND - 200_000, 14 * SECOND);
    assert_eq!(of_disk(&tables), [], "it was short until the kill");
    tables.add_disk_outage(9 * SECOND, 14 * SECOND);
    assert_eq!(of_disk(&tables), [(9 * SECOND, Some(10 * SECOND))]);
    tables.add_disk_outage(15 * SECOND, 16 * SECOND);
    assert_eq!(of_disk(&tables)[1], (15 * SECOND, Some(16 * SECOND)), "nothing cut it off");
}

#[test]
fn a_call_in_which_the_disk_takes_long_is_an_outage() {
    use std::process::Command;

    use crate::common::slow_sync::{Pace, SlowDisk};

    let calls = Arc::new(DiskCalls::new());
    let history = History::new(Arc::clone(&calls));
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("slow-calls");
    std::fs::create_dir_all(&directory).unwrap();
    let sync_at = |pace| {
        let mut command = Command::new("sync");
        SlowDisk::new(&directory, pace).slow_down(&mut command);
        calls.watch(&mut command);
        assert!(command.arg(&directory).status().unwrap().success());
    };
    sync_at(Pace::each(400));
    history.look_at_disk();
    let slow = |tables: &Tables| {
        tables.outages.iter().map(|it| it.until.unwrap() - it.from).collect::<Vec<_>>()
    };
    let [took] = slow(&history.lock())[..] else { panic!("{:?}", history.lock().outages) };
    assert!((400_000..history.now()).contains(&took), "{took}");
    history.look_at_disk();
    assert_eq!(history.lock().outages.len(), 1, "none is counted twice");
    assert_eq!(history.lock().events.len(), 2);
}
