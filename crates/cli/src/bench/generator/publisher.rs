//! The sending half of a flow: how much may be sent now, and what became of it.
//!
//! A state machine without I/O. A saturated publisher keeps at most `window` messages that some
//! receiver does not have yet, and at most `window` that are not acknowledged. It sends in batches
//! of at least half a window, so that a broker gets several packets in one read, as it does when it
//! is busy.

use std::collections::VecDeque;

use super::super::error::BenchError;
use super::wire::{self, Frame, Template};

/// What has to happen to a message before the next one may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Its receivers have it (and, above QoS 0, it is acknowledged).
    Received,
    /// It is acknowledged; it needs no receivers.
    Acknowledged,
    /// Nothing: messages are sent when they are due.
    Scheduled,
}

/// One publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Its number among all publishers of the run.
    pub(crate) index: usize,
    template: Template,
    pace: Pace,
    window: u64,
    sent: u64,
    /// The most messages to send in all; `None` before the start.
    quota: Option<u64>,
    /// Messages that were lost and are no longer waited for.
    written_off: u64,
    identifiers: Option<Identifiers>,
    /// The intended send times of messages for which no Packet Identifier was free.
    overdue: VecDeque<u64>,
    /// Whether [`Publisher::take_finished`] has returned `true`.
    finish_told: bool,
    /// How many messages were done at the last look; see [`Publisher::write_off_if_stalled`].
    stalled_at: Option<u64>,
}

impl Publisher {
    /// Makes a publisher of `template`s at `qos`, with at most `window` (1 to 65,535) under way.
    pub(crate) fn new(index: usize, template: Template, qos: u8, window: u16, pace: Pace) -> Self {
        let identifiers = (qos > 0).then(|| Identifiers::new(qos, window));
        Self {
            index,
            template,
            pace,
            window: u64::from(window),
            sent: 0,
            quota: None,
            written_off: 0,
            identifiers,
            overdue: VecDeque::new(),
            finish_told: false,
            stalled_at: None,
        }
    }

    /// Keeps to the broker's Receive Maximum.
    pub(crate) fn limit_in_flight(&mut self, receive_maximum: u16) {
        if let Some(identifiers) = &mut self.identifiers {
            identifiers.limit(receive_maximum);
            if self.pace != Pace::Scheduled {
                self.window = self.window.min(u64::from(receive_maximum));
            }
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Starts to send, for now without an end.
    pub(crate) fn start(&mut self) {
        self.quota = Some(u64::MAX);
    }

    /// Sends `count` more messages and then no more.
    pub(crate) fn send_only(&mut self, count: u64) {
        self.quota = Some(self.sent + count);
    }

    /// Whether everything that was to be sent has been sent.
    pub(crate) fn is_finished(&self) -> bool {
        self.quota.is_some_and(|quota| self.sent >= quota) && self.overdue.is_empty()
    }

    /// Returns `true` once, when everything that was to be sent has been sent.
    pub(crate) fn take_finished(&mut self) -> bool {
        self.is_finished() && !std::mem::replace(&mut self.finish_told, true)
    }

    /// Returns how many messages above QoS 0 are not fully acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.identifiers.as_ref().map_or(0, Identifiers::in_flight)
    }

    /// Appends the messages that may be sent now; `done` messages have reached their receivers.
    /// They have to be written at once: `clock` is read once for all of them, in nanoseconds.
    pub(crate) fn publish(&mut self, done: u64, clock: impl FnOnce() -> u64, out: &mut Vec<u8>) {
        let Some(quota) = self.quota else { return };
        let room = self.room(done);
        let left = quota.saturating_sub(self.sent);
        if room < self.window.div_ceil(2).min(left) {
            return;
        }
        let now = if self.identifiers.is_some() { clock() } else { 0 };
        for _ in 0..room.min(left) {
            self.append(0, now, out);
        }
    }

    /// Appends the message that was to be sent at `due` and is written `now`, or keeps it until a
    /// Packet Identifier is free. Does nothing once everything that was to be sent has been sent.
    pub(crate) fn publish_scheduled(&mut self, due: u64, now: u64, out: &mut Vec<u8>) {
        let taken = self.sent + self.overdue.len() as u64;
        if self.quota.is_none_or(|quota| taken >= quota) {
            return;
        }
        if !self.overdue.is_empty() || !self.append(due, now, out) {
            self.overdue.push_back(due);
        }
    }

    /// Takes an acknowledgement that came at `now`, and answers a PUBREC. Returns the time at which
    /// the message was written if this is the broker's promise to have it: PUBACK or PUBREC.
    pub(crate) fn handle(
        &mut self,
        frame: Frame<'_>,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<u64>, BenchError> {
        let Some(identifiers) = &mut self.identifiers else { return Err(unexpected(frame.kind())) };
        let packet_id = frame.acknowledged_packet_id()?;
        let written_at = identifiers.acknowledge(frame.kind(), packet_id)?;
        if frame.kind() == wire::PUBREC {
            wire::acknowledge(wire::PUBREL, packet_id, out);
        }
        while let Some(&due) = self.overdue.front() {
            if !self.append(due, now, out) {
                break;
            }
            self.overdue.pop_front();
        }
        Ok(written_at)
    }

    /// Gives up on missing messages if nothing has moved since the last call, so that a lossy QoS 0
    /// run goes on. It has to be called now and then. The messages stay lost in the result.
    pub(crate) fn write_off_if_stalled(&mut self, done: u64) -> bool {
        let blocked = self.pace == Pace::Received && self.room(done) < self.window.div_ceil(2);
        let stalled = blocked && self.unacknowledged() == 0 && self.stalled_at == Some(done);
        if stalled {
            self.written_off = self.sent.saturating_sub(done);
        }
        self.stalled_at = blocked.then_some(done);
        stalled
    }

    /// Returns how many messages the window has room for.
    fn room(&self, done: u64) -> u64 {
        let unreceived = match self.pace {
            Pace::Received => self.sent.saturating_sub(done + self.written_off),
            Pace::Acknowledged => 0,
            Pace::Scheduled => return 0,
        };
        self.window.saturating_sub(unreceived.max(self.unacknowledged()))
    }

    /// Appends one message. Returns `false` if no Packet Identifier is free for it.
    #[inline]
    fn append(&mut self, stamp: u64, now: u64, out: &mut Vec<u8>) -> bool {
        let packet_id = match &mut self.identifiers {
            None => 0,
            Some(identifiers) => match identifiers.take(now) {
                Some(packet_id) => packet_id,
                None => return false,
            },
        };
        self.template.append(packet_id, stamp, out);
        self.sent += 1;
        true
    }
}

/// Where a Packet Identifier is in its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Free,
    /// PUBACK or PUBREC, whichever the QoS asks for.
    AwaitsAnswer,
    AwaitsPubComp,
}

/// The Packet Identifiers from 1 to the window.
#[derive(Debug)]
struct Identifiers {
    qos: u8,
    free: Vec<u16>,
    exchanges: Vec<Exchange>,
    /// By Packet Identifier: when its message was written, in nanoseconds.
    written_at: Vec<u64>,
}

impl Identifiers {
    fn new(qos: u8, count: u16) -> Self {
        let exchanges = vec![Exchange::Free; usize::from(count) + 1];
        let written_at = vec![0; exchanges.len()];
        Self { qos, free: (1..=count).rev().collect(), exchanges, written_at }
    }

    /// Keeps only the first `count`. It has to be called before anything is sent.
    fn limit(&mut self, count: u16) {
        self.free.retain(|&packet_id| packet_id <= count);
        self.exchanges.truncate(usize::from(count) + 1);
    }

    fn in_flight(&self) -> u64 {
        (self.exchanges.len() - 1 - self.free.len()) as u64
    }

    /// Takes a free Packet Identifier, for a message that is written `now`.
    fn take(&mut self, now: u64) -> Option<u16> {
        let packet_id = self.free.pop()?;
        self.exchanges[usize::from(packet_id)] = Exchange::AwaitsAnswer;
        self.written_at[usize::from(packet_id)] = now;
        Some(packet_id)
    }

    /// Takes an acknowledgement. Returns when the message was written if this is the broker's first
    /// answer to it.
    fn acknowledge(&mut self, kind: u8, packet_id: u16) -> Result<Option<u64>, BenchError> {
        let exchange = self.exchanges.get_mut(usize::from(packet_id));
        let exchange = exchange.ok_or_else(|| unexpected(kind))?;
        let written_at = Some(self.written_at[usize::from(packet_id)]);
        match (kind, self.qos, *exchange) {
            (wire::PUBREC, 2, Exchange::AwaitsAnswer) => {
                *exchange = Exchange::AwaitsPubComp;
                Ok(written_at)
            }
            (wire::PUBACK, 1, Exchange::AwaitsAnswer)
            | (wire::PUBCOMP, 2, Exchange::AwaitsPubComp) => {
                *exchange = Exchange::Free;
                self.free.push(packet_id);
                Ok(written_at.filter(|_| kind == wire::PUBACK))
            }
            _ => Err(unexpected(kind)),
        }
    }
}

fn unexpected(kind: u8) -> BenchError {
    BenchError::run(format!("the broker sent a packet (type {kind}) that answers no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(qos: u8, window: u16, pace: Pace) -> Publisher {
        let mut frame = vec![0x30 | qos << 1, if qos > 0 { 17 } else { 15 }, 0, 1, b't'];
        frame.extend_from_slice(if qos > 0 { &[0, 1] } else { &[] });
        frame.extend_from_slice(&[0; 12]);
        let template = Template::new(frame, 12, pace == Pace::Scheduled).unwrap();
        let mut publisher = Publisher::new(0, template, qos, window, pace);
        publisher.publish(0, || 0, &mut Vec::new());
        assert_eq!((publisher.sent(), publisher.is_finished()), (0, false), "not started");
        publisher.start();
        publisher
    }

    fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        while let Some((frame, length)) = Frame::next(bytes).unwrap() {
            frames.push(frame);
            bytes = &bytes[length..];
        }
        frames
    }

    fn acknowledgement(kind: u8, packet_id: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::acknowledge(kind, packet_id, &mut bytes);
        bytes
    }

    fn handle(publisher: &mut Publisher, kind: u8, packet_id: u16) -> Result<Vec<u8>, BenchError> {
        let mut out = Vec::new();
        let bytes = acknowledgement(kind, packet_id);
        publisher.handle(frames(&bytes)[0], 0, &mut out)?;
        Ok(out)
    }

    #[test]
    fn fills_the_window_and_then_waits_for_half_of_it() {
        let mut publisher = publisher(0, 10, Pace::Received);
        let mut out = Vec::new();
        publisher.publish(0, || 0, &mut out);
        assert_eq!(frames(&out).len(), 10);
        for done in 0..5 {
            publisher.publish(done, || 0, &mut out);
            assert_eq!(publisher.sent(), 10);
        }
        publisher.publish(5, || 0, &mut out);
        assert_eq!(publisher.sent(), 15);
    }

    #[test]
    fn an_unacknowledged_message_holds_the_window_too() {
        let mut publisher = publisher(1, 2, Pace::Received);
        let mut out = Vec::new();
        publisher.publish(0, || 0, &mut out);
        publisher.publish(2, || 0, &mut out);
        assert_eq!(publisher.sent(), 2);
        handle(&mut publisher, wire::PUBACK, 1).unwrap();
        publisher.publish(2, || 0, &mut out);
        assert_eq!((publisher.sent(), publisher.unacknowledged()), (3, 2));
    }

    #[test]
    fn qos_2_takes_the_whole_exchange() {
        let mut publisher = publisher(2, 1, Pace::Acknowledged);
        publisher.publish(0, || 0, &mut Vec::new());
        assert_eq!(handle(&mut publisher, wire::PUBREC, 1).unwrap(), [0x62, 2, 0, 1]);
        assert_eq!(publisher.unacknowledged(), 1);
        assert!(handle(&mut publisher, wire::PUBCOMP, 1).unwrap().is_empty());
        assert_eq!(publisher.unacknowledged(), 0);
    }

    #[test]
    fn the_first_answer_tells_when_the_message_was_written() {
        let written_at = |publisher: &mut Publisher, kind| {
            let bytes = acknowledgement(kind, 1);
            publisher.handle(frames(&bytes)[0], 99, &mut Vec::new()).unwrap()
        };
        let mut at_qos_1 = publisher(1, 1, Pace::Acknowledged);
        at_qos_1.publish(0, || 7, &mut Vec::new());
        assert_eq!(written_at(&mut at_qos_1, wire::PUBACK), Some(7));
        at_qos_1.publish(0, || 8, &mut Vec::new());
        assert_eq!(
            written_at(&mut at_qos_1, wire::PUBACK),
            Some(8),
            "the identifier is used again"
        );
        let mut at_qos_2 = publisher(2, 1, Pace::Acknowledged);
        at_qos_2.publish(0, || 7, &mut Vec::new());
        assert_eq!(written_at(&mut at_qos_2, wire::PUBREC), Some(7));
        assert_eq!(written_at(&mut at_qos_2, wire::PUBCOMP), None);
    }

    #[test]
    fn a_late_message_counts_from_when_it_was_written_and_not_from_when_it_was_due() {
        let mut publisher = publisher(1, 1, Pace::Scheduled);
        let mut out = Vec::new();
        publisher.publish_scheduled(11, 12, &mut out);
        publisher.publish_scheduled(22, 23, &mut out);
        let bytes = acknowledgement(wire::PUBACK, 1);
        assert_eq!(publisher.handle(frames(&bytes)[0], 40, &mut out).unwrap(), Some(12));
        assert_eq!(publisher.handle(frames(&bytes)[0], 50, &mut out).unwrap(), Some(40));
    }

    #[test]
    fn a_schedule_ends_with_the_last_message_that_was_to_be_sent() {
        let mut publisher = publisher(1, 1, Pace::Scheduled);
        publisher.send_only(2);
        (0..3).for_each(|due| publisher.publish_scheduled(due, due, &mut Vec::new()));
        handle(&mut publisher, wire::PUBACK, 1).unwrap();
        handle(&mut publisher, wire::PUBACK, 1).unwrap();
        assert_eq!((publisher.sent(), publisher.unacknowledged()), (2, 0));
    }

    #[test]
    fn acknowledgements_out_of_place_are_protocol_errors() {
        let mut idle = publisher(1, 4, Pace::Received);
        assert!(handle(&mut idle, wire::PUBACK, 1).is_err(), "never sent");
        assert!(handle(&mut idle, wire::PUBACK, 500).is_err(), "out of range");
        idle.publish(0, || 0, &mut Vec::new());
        assert!(handle(&mut idle, wire::PUBREC, 1).is_err(), "QoS 1");
        handle(&mut idle, wire::PUBACK, 1).unwrap();
        assert!(handle(&mut idle, wire::PUBACK, 1).is_err(), "twice");
        let mut unacknowledged = publisher(0, 4, Pace::Received);
        assert!(handle(&mut unacknowledged, wire::PUBACK, 1).is_err(), "QoS 0");
    }

    #[test]
    fn the_last_batch_may_be_small() {
        let mut publisher = publisher(0, 10, Pace::Received);
        publisher.send_only(12);
        publisher.publish(0, || 0, &mut Vec::new());
        publisher.publish(1, || 0, &mut Vec::new());
        assert_eq!(publisher.sent(), 10);
        publisher.publish(2, || 0, &mut Vec::new());
        assert_eq!((publisher.sent(), publisher.take_finished()), (12, true));
    }

    #[test]
    fn a_receive_maximum_narrows_the_window() {
        let mut publisher = publisher(1, 100, Pace::Received);
        publisher.limit_in_flight(20);
        publisher.publish(0, || 0, &mut Vec::new());
        assert_eq!((publisher.sent(), publisher.unacknowledged()), (20, 20));
    }

    #[test]
    fn losses_are_written_off_only_after_standing_still() {
        let mut publisher = publisher(0, 4, Pace::Received);
        publisher.publish(0, || 0, &mut Vec::new());
        assert!(!publisher.write_off_if_stalled(1));
        assert!(publisher.write_off_if_stalled(1));
        publisher.publish(1, || 0, &mut Vec::new());
        assert_eq!(publisher.sent(), 8);
        assert!(!publisher.write_off_if_stalled(2), "something moved");
    }

    #[test]
    fn scheduled_messages_keep_their_intended_time_while_no_identifier_is_free() {
        let mut publisher = publisher(1, 1, Pace::Scheduled);
        let mut out = Vec::new();
        publisher.publish_scheduled(11, 12, &mut out);
        publisher.publish_scheduled(22, 23, &mut out);
        publisher.send_only(0);
        assert_eq!((publisher.sent(), publisher.take_finished()), (1, false));
        let late = handle(&mut publisher, wire::PUBACK, 1).unwrap();
        let payload = frames(&late)[0].payload(12).unwrap().to_vec();
        assert_eq!(wire::stamp_of(&payload).unwrap(), 22);
        assert!(publisher.take_finished());
        assert!(!publisher.take_finished(), "told once");
    }
}
