//! Large fan-outs, spread over several turns so that no turn is long.

use std::collections::VecDeque;

use crate::base::identity::ConnectionId;
use crate::base::limits::Limits;
use crate::base::message::Message;
use crate::boundary::store_records::Round;
use crate::route::routing::Target;

/// A publication and the receivers that it still has to reach.
pub(crate) struct Routing {
    pub(crate) message: Message,
    pub(crate) targets: Vec<Target>,
    pub(crate) next: usize,
    /// Messages that the store keeps on the way count with this round.
    pub(crate) round: Option<Round>,
}

/// Routings in the order in which they were published, and the publishers that have to wait.
pub(crate) struct PutOff {
    routings: VecDeque<Routing>,
    bytes: usize,
    bytes_max: usize,
    deliveries_left: usize,
    deliveries_max: usize,
    /// Bytes of messages that may still be written in this turn; a message counts once for each
    /// receiver.
    bytes_left: usize,
    turn_bytes_max: usize,
    held_back: Vec<ConnectionId>,
    pushed: u64,
    /// How many receivers the packets of the turn's present share have put off.
    put_off: usize,
}

impl PutOff {
    /// A turn ends once it has put off this many receivers: noting down the receivers of a message
    /// costs more than writing the message once the ones before it have gone.
    const TURN_PUT_OFF_MAX: usize = 512;
    /// The most bytes that a turn writes, however much memory there is.
    const TURN_BYTES_MAX: u64 = 64 * 1024 * 1024;

    pub(crate) fn new(limits: &Limits, workers: usize) -> Self {
        let turn_bytes_max = limits.turn_bytes_max(workers, Self::TURN_BYTES_MAX) as usize;
        let deliveries_max = limits.turn_deliveries_max.max(1) as usize;
        Self {
            routings: VecDeque::new(),
            bytes: 0,
            bytes_max: limits.backlog_bytes_max as usize,
            deliveries_left: deliveries_max,
            deliveries_max,
            bytes_left: turn_bytes_max,
            turn_bytes_max,
            held_back: Vec::new(),
            pushed: 0,
            put_off: 0,
        }
    }

    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        self.deliveries_max = limits.turn_deliveries_max.max(1) as usize;
        self.bytes_max = limits.backlog_bytes_max as usize;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.routings.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Whether `count` deliveries of `bytes` each may be made at once: nothing waits that they
    /// would overtake, and this turn has room for them. If so, takes them off this turn's share.
    #[inline]
    pub(crate) fn admits(&mut self, count: usize, bytes: usize) -> bool {
        let all = count * bytes;
        let admitted =
            self.routings.is_empty() && count <= self.deliveries_left && all <= self.bytes_left;
        if admitted {
            self.deliveries_left -= count;
            self.bytes_left -= all;
        }
        admitted
    }

    /// Takes deliveries of `bytes` each off this turn's share: up to `wanted`, as far as there is
    /// room. Returns how many.
    pub(crate) fn take_deliveries(&mut self, wanted: usize, bytes: usize) -> usize {
        let fitting = self.bytes_left.div_ceil(bytes.max(1));
        let count = wanted.min(self.deliveries_left).min(fitting);
        self.deliveries_left -= count;
        self.bytes_left = self.bytes_left.saturating_sub(count * bytes);
        count
    }

    /// Whether this turn has written as much as it may.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.deliveries_left == 0 || self.bytes_left == 0
    }

    /// How many bytes the put-off messages take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn begin_turn(&mut self) {
        self.deliveries_left = self.deliveries_max;
        self.bytes_left = self.turn_bytes_max;
        self.put_off = 0;
    }

    /// Gives the packets that follow a share of their own, whatever was put off before them.
    pub(crate) fn begin_share(&mut self) {
        self.put_off = 0;
    }

    /// Whether this turn has put off so much that further packets had better wait where they are.
    #[inline]
    pub(crate) fn has_put_off_enough(&self) -> bool {
        self.put_off >= Self::TURN_PUT_OFF_MAX
    }

    pub(crate) fn push(&mut self, message: Message, targets: Vec<Target>, round: Option<Round>) {
        self.bytes += size(&message, &targets);
        self.pushed += 1;
        self.put_off += targets.len();
        self.routings.push_back(Routing { message, targets, next: 0, round });
    }

    /// How many receivers the put-off messages still have to reach.
    pub(crate) fn receivers_left(&self) -> usize {
        self.routings.iter().map(|routing| routing.targets.len() - routing.next).sum()
    }

    /// How many messages were put off so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of the put-off messages are done.
    pub(crate) fn done(&self) -> u64 {
        self.pushed - self.routings.len() as u64
    }

    /// Takes out the oldest put-off message. Unless it is done then, the caller puts it back with
    /// [`PutOff::put_back`].
    pub(crate) fn take(&mut self) -> Option<Routing> {
        let routing = self.routings.pop_front()?;
        self.bytes -= size(&routing.message, &routing.targets);
        Some(routing)
    }

    pub(crate) fn put_back(&mut self, routing: Routing) {
        self.bytes += size(&routing.message, &routing.targets);
        self.routings.push_front(routing);
    }

    /// Notes a publisher that is not read until there is room again.
    pub(crate) fn hold_back(&mut self, publisher: ConnectionId) {
        self.held_back.push(publisher);
    }

    /// Whether any publisher is held back.
    pub(crate) fn has_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// Takes the publishers that can be read again: all of them once the backlog is at most half
    /// full, none before.
    pub(crate) fn take_resumed(&mut self) -> Vec<ConnectionId> {
        if self.bytes * 2 > self.bytes_max {
            return Vec::new();
        }
        std::mem::take(&mut self.held_back)
    }
}

fn size(message: &Message, targets: &[Target]) -> usize {
    size_of::<Routing>() + message.held_bytes() + size_of_val(targets)
}
