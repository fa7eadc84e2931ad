//! The receiving half of a flow: counts what arrives and acknowledges it.
//!
//! A state machine without I/O. It never looks further into a message than the scenario needs.

use super::super::error::BenchError;
use super::super::measure::histogram::Histogram;
use super::wire::{self, Frame};

/// How an arrived message is credited to its publisher, whose window it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Every message comes from this publisher.
    Only(usize),
    /// Every message comes from publisher 0 and has to reach all subscribers.
    Broadcast,
    /// The payload is marked with the publisher's number.
    Marked,
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) source: Source,
    /// Messages that arrived, without the repetitions that can be recognised with QoS 2.
    pub(crate) received: u64,
    /// How many of these were credited to their publisher.
    credited: u64,
    payload_bytes: usize,
    held: PacketIdentifierSet,
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival<'a> {
    /// A new message, with its payload.
    Message(&'a [u8]),
    /// A QoS 2 message that was received before.
    Duplicate,
    /// Not a PUBLISH, but part of an exchange.
    Exchange,
}

impl Subscriber {
    pub(crate) fn new(source: Source, payload_bytes: usize) -> Self {
        Self {
            source,
            received: 0,
            credited: 0,
            payload_bytes,
            held: PacketIdentifierSet::default(),
        }
    }

    /// Whether the broker has released every QoS 2 message that arrived.
    pub(crate) fn is_settled(&self) -> bool {
        self.held.count == 0
    }

    /// Returns how many messages have arrived since the last call.
    pub(crate) fn take_uncredited(&mut self) -> u64 {
        self.received - std::mem::replace(&mut self.credited, self.received)
    }

    /// Takes one packet, and appends the answer that it asks for.
    #[inline]
    pub(crate) fn handle<'a>(
        &mut self,
        frame: Frame<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Arrival<'a>, BenchError> {
        match (frame.kind(), frame.qos()) {
            (wire::PUBLISH, 0) => {}
            (wire::PUBLISH, 1) => wire::acknowledge(wire::PUBACK, frame.publish_packet_id()?, out),
            (wire::PUBLISH, 2) => {
                let packet_id = frame.publish_packet_id()?;
                wire::acknowledge(wire::PUBREC, packet_id, out);
                if !self.held.insert(packet_id) {
                    return Ok(Arrival::Duplicate);
                }
            }
            (wire::PUBREL, _) => {
                let packet_id = frame.acknowledged_packet_id()?;
                self.held.remove(packet_id);
                wire::acknowledge(wire::PUBCOMP, packet_id, out);
                return Ok(Arrival::Exchange);
            }
            (kind, _) => {
                return Err(BenchError::run(format!("a subscriber got a packet of type {kind}")));
            }
        }
        self.received += 1;
        frame.payload(self.payload_bytes).map(Arrival::Message)
    }
}

/// Records how long the message in `payload` was under way at `now`, both in nanoseconds.
pub(crate) fn record_latency(
    payload: &[u8],
    now: u64,
    latency: &mut Histogram,
) -> Result<(), BenchError> {
    let intended = wire::stamp_of(payload)?;
    latency.record(now.saturating_sub(intended));
    Ok(())
}

/// The Packet Identifiers of QoS 2 messages whose PUBREL is still to come.
#[derive(Debug, Default)]
struct PacketIdentifierSet {
    words: Vec<u64>,
    count: usize,
}

impl PacketIdentifierSet {
    /// Adds an identifier. Returns `false` if it was there already.
    fn insert(&mut self, packet_id: u16) -> bool {
        let (word, bit) = position(packet_id);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(is_new);
        is_new
    }

    fn remove(&mut self, packet_id: u16) {
        let (word, bit) = position(packet_id);
        if let Some(word) = self.words.get_mut(word)
            && *word & bit != 0
        {
            *word &= !bit;
            self.count -= 1;
        }
    }
}

fn position(packet_id: u16) -> (usize, u64) {
    (usize::from(packet_id / 64), 1 << (packet_id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber() -> Subscriber {
        Subscriber::new(Source::Only(0), 2)
    }

    fn publish(qos: u8, packet_id: u8) -> Vec<u8> {
        let mut body = vec![0, 1, b't'];
        body.extend_from_slice(if qos > 0 { &[0] } else { &[] });
        body.extend((qos > 0).then_some(packet_id));
        body.extend_from_slice(b"ok");
        [vec![0x30 | qos << 1, body.len() as u8], body].concat()
    }

    fn handle(subscriber: &mut Subscriber, bytes: &[u8]) -> (bool, Vec<u8>) {
        let mut out = Vec::new();
        let (frame, _) = Frame::next(bytes).unwrap().unwrap();
        let arrival = subscriber.handle(frame, &mut out).unwrap();
        (arrival == Arrival::Message(b"ok"), out)
    }

    #[test]
    fn each_qos_is_acknowledged_in_its_way() {
        let mut subscriber = subscriber();
        assert_eq!(handle(&mut subscriber, &publish(0, 0)), (true, vec![]));
        assert_eq!(handle(&mut subscriber, &publish(1, 5)), (true, vec![0x40, 2, 0, 5]));
        assert_eq!(handle(&mut subscriber, &publish(2, 6)), (true, vec![0x50, 2, 0, 6]));
        assert_eq!(handle(&mut subscriber, &[0x62, 2, 0, 6]), (false, vec![0x70, 2, 0, 6]));
        assert_eq!(subscriber.received, 3);
    }

    #[test]
    fn a_repeated_qos_2_message_counts_once_until_it_is_released() {
        let mut subscriber = subscriber();
        assert!(handle(&mut subscriber, &publish(2, 6)).0);
        assert_eq!(handle(&mut subscriber, &publish(2, 6)), (false, vec![0x50, 2, 0, 6]));
        assert!(!subscriber.is_settled());
        handle(&mut subscriber, &[0x62, 2, 0, 6]);
        handle(&mut subscriber, &[0x62, 2, 0, 6]);
        assert!(subscriber.is_settled());
        assert!(handle(&mut subscriber, &publish(2, 6)).0);
        assert_eq!(subscriber.received, 2);
    }

    #[test]
    fn latency_counts_from_the_stamp() {
        let mut latency = Histogram::new();
        let mut payload = vec![0; 4];
        payload.extend_from_slice(&1_000_u64.to_be_bytes());
        record_latency(&payload, 1_100, &mut latency).unwrap();
        assert_eq!((latency.len(), latency.max()), (1, 100));
        assert!(record_latency(&payload[..8], 1_100, &mut latency).is_err());
    }

    #[test]
    fn other_packets_are_refused() {
        let (frame, _) = Frame::next(&[0x40, 2, 0, 1]).unwrap().unwrap();
        assert!(subscriber().handle(frame, &mut Vec::new()).is_err());
    }
}
